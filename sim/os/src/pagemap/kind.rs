//! [`MemoryType`]: what kind of memory gets page structs.

use core::fmt;

use super::PageMapRules;

/// The kinds of memory that page maps are made for, with the kernel's numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemoryType {
    /// A device's memory that the CPU cannot reach.
    Private,
    /// A device's memory that the CPU reaches coherently.
    Coherent,
    /// Persistent memory that a file system shows to user space.
    FsDax,
    /// Anything that is to look like ordinary memory, such as device DAX.
    Generic,
    /// Peer memory in a BAR.
    PciP2pdma,
}

impl MemoryType {
    /// All types, in the order of their numbers.
    pub const ALL: [MemoryType; 5] = [
        MemoryType::Private,
        MemoryType::Coherent,
        MemoryType::FsDax,
        MemoryType::Generic,
        MemoryType::PciP2pdma,
    ];

    /// The kernel's number.
    pub const fn number(self) -> u32 {
        match self {
            MemoryType::Private => 1,
            MemoryType::Coherent => 2,
            MemoryType::FsDax => 3,
            MemoryType::Generic => 4,
            MemoryType::PciP2pdma => 5,
        }
    }

    /// Its pages take references on the page map when they are handed out. Pages of the other types hold one from the
    /// beginning.
    pub const fn referenced_when_handed_out(self) -> bool {
        matches!(self, MemoryType::Private | MemoryType::Coherent)
    }

    /// The CPU can load and store: the memory gets a linear mapping.
    pub const fn is_mapped(self) -> bool {
        !matches!(self, MemoryType::Private)
    }

    /// The count of a page struct of this type right after it was initialised.
    pub const fn first_references(self, rules: &PageMapRules) -> u32 {
        match self {
            MemoryType::Private | MemoryType::Coherent => 0,
            MemoryType::Generic => 1,
            MemoryType::FsDax => rules.resting_dax_references,
            MemoryType::PciP2pdma => rules.resting_peer_references,
        }
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            MemoryType::Private => "DEVICE_PRIVATE",
            MemoryType::Coherent => "DEVICE_COHERENT",
            MemoryType::FsDax => "FS_DAX",
            MemoryType::Generic => "GENERIC",
            MemoryType::PciP2pdma => "PCI_P2PDMA",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_references_are_those_of_the_kernels() {
        let check = |rules: PageMapRules, expect: [u32; 5]| {
            assert_eq!(MemoryType::ALL.map(|kind| kind.first_references(&rules)), expect);
        };
        check(PageMapRules::LINUX_6_1, [0, 0, 1, 1, 1]);
        check(PageMapRules::LINUX_6_12, [0, 0, 1, 1, 1]);
        check(PageMapRules::LINUX_7_3, [0, 0, 0, 1, 0]);
        assert_eq!(MemoryType::ALL.map(MemoryType::number), [1, 2, 3, 4, 5]);
    }
}
