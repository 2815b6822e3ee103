//! Access Control Services: the control word of a function, and how a kernel sets it.
//!
//! Only the control word matters to peer-to-peer decisions; the capability word says which of its bits can
//! be set.

use core::ops::BitOr;

use super::regs;
use super::tree::{FunctionIndex, Tree};
use crate::{ConfigAccess, ConfigSpace};

/// Capability or control word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct AcsWord(pub u16);

impl AcsWord {
    /// Source validation.
    pub const SV: AcsWord = AcsWord(0x01);
    /// Translation blocking.
    pub const TB: AcsWord = AcsWord(0x02);
    /// Peer-to-peer request redirect.
    pub const RR: AcsWord = AcsWord(0x04);
    /// Peer-to-peer completion redirect.
    pub const CR: AcsWord = AcsWord(0x08);
    /// Upstream forwarding.
    pub const UF: AcsWord = AcsWord(0x10);
    /// Peer-to-peer egress control.
    pub const EC: AcsWord = AcsWord(0x20);
    /// Direct translated peer-to-peer.
    pub const DT: AcsWord = AcsWord(0x40);
    /// The bits that make peer-to-peer traffic take the way over the root.
    pub const REDIRECT: AcsWord = AcsWord(0x2c);
    /// What an IOMMU driver asks for.
    pub const ISOLATION: AcsWord = AcsWord(0x1d);

    /// True when any redirecting bit is set.
    pub const fn redirects(self) -> bool {
        self.0 & AcsWord::REDIRECT.0 != 0
    }
}

impl BitOr for AcsWord {
    type Output = AcsWord;
    fn bitor(self, other: AcsWord) -> AcsWord {
        AcsWord(self.0 | other.0)
    }
}

/// How the kernel sets ACS on all functions.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AcsSetting {
    /// As firmware left it.
    #[default]
    FirmwareDefault,
    /// Nothing redirects: RR, CR and EC are cleared, as `pci=disable_acs_redir` does for every function.
    Off,
    /// As an IOMMU driver requests it: SV, RR, CR and UF, as far as a function can.
    On,
}

/// What `function` can set in its control word; `None` without ACS.
pub fn acs_capability(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> Option<AcsWord> {
    let position = tree[function].capabilities.acs?;
    Some(AcsWord(cs.read_word(tree[function].id, position + regs::ACS_CAPABILITY)))
}

/// The control word of `function`; `None` without ACS. Read anew each time, as in the kernel.
pub fn acs_control(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> Option<AcsWord> {
    let position = tree[function].capabilities.acs?;
    Some(AcsWord(cs.read_word(tree[function].id, position + regs::ACS_CONTROL)))
}

/// Writes the control word of `function`; false without ACS.
pub fn set_acs_control(
    tree: &Tree,
    cs: &mut impl ConfigSpace,
    function: FunctionIndex,
    word: AcsWord,
) -> bool {
    let Some(position) = tree[function].capabilities.acs else { return false };
    cs.write_word(tree[function].id, position + regs::ACS_CONTROL, word.0);
    true
}

/// Sets the control words of all functions.
pub fn apply_acs(tree: &Tree, cs: &mut impl ConfigSpace, setting: AcsSetting) {
    for (index, _) in tree.iter() {
        let (Some(capability), Some(control)) =
            (acs_capability(tree, cs, index), acs_control(tree, cs, index))
        else {
            continue;
        };
        let word = match setting {
            AcsSetting::FirmwareDefault => continue,
            AcsSetting::Off => AcsWord(control.0 & !AcsWord::REDIRECT.0),
            AcsSetting::On => AcsWord(control.0 | capability.0 & AcsWord::ISOLATION.0),
        };
        set_acs_control(tree, cs, index, word);
    }
}
