//! Is a path isolated: can requests that arrive at a port leave it in another direction than upwards?
//!
//! Another question than that of peer-to-peer mapping. There any redirecting bit of any function on the path counts, as
//! its register says. Here a port must have *all* the required bits that it can have, a table of devices with known
//! behaviour is asked before the register, and every function up to the root must agree.

use crate::ConfigSpace;
use crate::pci::{AcsWord, FunctionIndex, PcieType, Tree, acs_capability, acs_control};

/// What IOMMU groups require of a path.
pub const REQUIRED: AcsWord = AcsWord::ISOLATION;

/// Devices whose isolation is known, whatever their registers say. `None`: not such a device, ask the register.
pub trait KnownIsolation {
    /// Whether `function` has all of `flags`.
    fn isolates(&self, tree: &Tree, function: FunctionIndex, flags: AcsWord) -> Option<bool>;
}

/// Asks registers alone, except about root-complex integrated endpoints of Intel, which are known to isolate.
#[derive(Clone, Copy, Default, Debug)]
pub struct IntegratedIntel;

/// Vendor id of Intel.
const INTEL: u16 = 0x8086;

impl KnownIsolation for IntegratedIntel {
    fn isolates(&self, tree: &Tree, function: FunctionIndex, flags: AcsWord) -> Option<bool> {
        let known =
            tree[function].vendor == INTEL && tree[function].pcie_type == Some(PcieType::IntegratedEndpoint);
        known.then_some(flags.0 & !REQUIRED.0 == 0)
    }
}

/// Whether `function` has all of `flags`: ports by their registers, single functions always, since nothing but the link
/// leads away from them; what is conventional, or a bridge to conventional PCI, never.
pub fn acs_enabled(
    tree: &Tree,
    cs: &impl ConfigSpace,
    known: &impl KnownIsolation,
    function: FunctionIndex,
    flags: AcsWord,
) -> bool {
    if let Some(answer) = known.isolates(tree, function, flags) {
        return answer;
    }
    let by_register = || register_has(tree, cs, function, flags);
    match tree[function].pcie_type {
        None | Some(PcieType::ToPci | PcieType::FromPci | PcieType::EventCollector) => false,
        Some(PcieType::RootPort | PcieType::Downstream) => by_register(),
        Some(
            PcieType::Endpoint | PcieType::LegacyEndpoint | PcieType::Upstream | PcieType::IntegratedEndpoint,
        ) => !is_multifunction(tree, function) || by_register(),
        Some(PcieType::Unknown(_)) => true,
    }
}

/// A virtual function never counts as one of several.
pub(super) fn is_multifunction(tree: &Tree, function: FunctionIndex) -> bool {
    tree[function].multifunction && tree[function].physical_function.is_none()
}

/// A bit the hardware does not offer counts as set, except egress control: that must be on.
fn register_has(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex, flags: AcsWord) -> bool {
    let words = (acs_capability(tree, cs, function), acs_control(tree, cs, function));
    let (Some(capability), Some(control)) = words else { return false };
    let wanted = flags.0 & (capability | AcsWord::EC).0;
    control.0 & wanted == wanted
}

/// Whether `start` and every bridge above it, to the root bus, has all of `flags`.
pub fn acs_path(
    tree: &Tree,
    cs: &impl ConfigSpace,
    known: &impl KnownIsolation,
    start: FunctionIndex,
    flags: AcsWord,
) -> bool {
    let mut path = core::iter::successors(Some(start), |function| tree.upstream(*function));
    path.all(|function| acs_enabled(tree, cs, known, function, flags))
}
