//! Which functions redirect: the kernel's `pci_bridge_has_acs_redir`.

use crate::config::{ConfigAccess, ConfigSpace};
use crate::pci::{FunctionIndex, Tree};

/// Control word, from the start of the ACS capability.
const CONTROL: u16 = 6;
/// P2P request redirect (0x04), completion redirect (0x08) and egress control (0x20).
const REDIRECTING: u16 = 0x04 | 0x08 | 0x20;

/// True when the ACS control word of `function` sends peer-to-peer requests or completions upstream, or may.
///
/// Read anew at each call. Any function may have the capability, endpoints too. Egress control counts whatever its
/// vector says; source validation, translation blocking, upstream forwarding and direct translated do not. A function
/// that does not answer reads as all ones, and therefore redirects.
pub fn redirects(tree: &Tree, config_space: &impl ConfigSpace, function: FunctionIndex) -> bool {
    let function = &tree[function];
    function.capabilities.acs.is_some_and(|capability| {
        config_space.read_word(function.id, capability.saturating_add(CONTROL)) & REDIRECTING != 0
    })
}
