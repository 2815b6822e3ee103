//! The two words of the capability.
//!
//! Only the control word matters to peer-to-peer decisions; the capability word says which of its bits can be set.

use core::ops::{BitAnd, BitOr, Not};

use crate::pci::regs;
use crate::pci::tree::{FunctionIndex, Tree};
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
    /// SV, RR, CR and UF: what an IOMMU driver asks for, and what makes a group of its own.
    pub const ISOLATION: AcsWord = AcsWord(0x1d);
    /// Every bit a command line can name, SV to DT.
    pub const NAMED: AcsWord = AcsWord(0x7f);

    /// True when any redirecting bit is set.
    pub const fn redirects(self) -> bool {
        self.0 & AcsWord::REDIRECT.0 != 0
    }

    /// True when all bits of `other` are set.
    pub const fn contains(self, other: AcsWord) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for AcsWord {
    type Output = AcsWord;
    fn bitor(self, other: AcsWord) -> AcsWord {
        AcsWord(self.0 | other.0)
    }
}

impl BitAnd for AcsWord {
    type Output = AcsWord;
    fn bitand(self, other: AcsWord) -> AcsWord {
        AcsWord(self.0 & other.0)
    }
}

impl Not for AcsWord {
    type Output = AcsWord;
    fn not(self) -> AcsWord {
        AcsWord(!self.0)
    }
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

/// Vendor of switches whose source validation refuses requests it should let pass.
const IDT: u16 = 0x111d;

/// What counts as the capability of `function` when words are set and isolation is judged. Kernels that keep the word
/// of enumeration drop SV from it on IDT's switches.
pub(super) fn usable_capability(
    tree: &Tree,
    cs: &impl ConfigSpace,
    function: FunctionIndex,
) -> Option<AcsWord> {
    let word = acs_capability(tree, cs, function)?;
    let broken = tree.acs.capability_kept && tree[function].vendor == IDT && tree[function].is_bridge();
    Some(if broken { word & !AcsWord::SV } else { word })
}
