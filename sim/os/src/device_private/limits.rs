//! [`EntryBits`]: how large a frame number a page-table entry can hold.
//!
//! Entries of pages that are not present hold a type and an offset. Those that name a page use fewer bits of the offset
//! than there are, so that flags fit above:
//!
//! ```text
//! frame bits = min(bits of the largest physical address - page shift, bits of an offset)
//! ```
//!
//! Example: 46 - 12 = 34 bits on x86-64 with four levels of page tables, 40 with five: device memory of 64 TiB or
//! 4 PiB in all, if it has a space of its own.

use peerbus_units::Bytes;

use crate::iomem::{PageSize, PhysicalSpace};

/// Widths of an architecture's page-table entries that are not present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryBits {
    /// Base-2 logarithm of the page size.
    pub page_shift: u32,
    /// Bits of the offset.
    pub offset: u32,
    /// Bits of the largest physical address that the kernel is made for.
    pub physical: u32,
}

impl EntryBits {
    /// Those of a kernel for this space.
    pub fn of(space: &PhysicalSpace) -> EntryBits {
        let page_shift = page_of(space).0.ilog2();
        let (offset, physical) = match space {
            PhysicalSpace::X86 { paging, .. } => (50, paging.physical_bits()),
            PhysicalSpace::Arm64(arm64) => (50, arm64.configured_pa),
            // The type lies below, the page frame ends at bit 56.
            PhysicalSpace::Ppc64 { physical_bits } => (57 - page_shift, *physical_bits),
            PhysicalSpace::Riscv64 => (GENERIC_OFFSET, 56),
            PhysicalSpace::Loongarch64 => (GENERIC_OFFSET, 48),
            PhysicalSpace::NoSections { .. } => (GENERIC_OFFSET, 63),
        };
        EntryBits { page_shift, offset, physical }
    }

    /// Bits of the number of a page.
    pub fn frame(self) -> u32 {
        self.physical.saturating_sub(self.page_shift).min(self.offset)
    }

    /// Number of pages that have different numbers.
    pub fn frames(self) -> u64 {
        1_u64.checked_shl(self.frame()).unwrap_or(u64::MAX)
    }
}

/// 64 bits less five of type and one.
const GENERIC_OFFSET: u32 = 58;

/// Size of a page of a kernel for this space.
pub(super) fn page_of(space: &PhysicalSpace) -> Bytes {
    match space {
        PhysicalSpace::Arm64(arm64) => match arm64.page {
            PageSize::K4 => Bytes::kib(4),
            PageSize::K16 => Bytes::kib(16),
            PageSize::K64 => Bytes::kib(64),
        },
        PhysicalSpace::Ppc64 { .. } => Bytes::kib(64),
        PhysicalSpace::NoSections { page } => *page,
        _ => Bytes::kib(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameters;
    use peerbus_units::CpuAddr;

    #[test]
    fn frames_have_the_bits_that_physical_pages_have() {
        let check = |space: PhysicalSpace, frame, offset| {
            let bits = EntryBits::of(&space);
            assert_eq!((bits.frame(), bits.offset), (frame, offset), "{space:?}");
        };
        let pc = |la57| PhysicalSpace::pc(&Parameters::default(), 52, la57, CpuAddr(1 << 30));
        check(pc(false), 34, 50);
        check(pc(true), 40, 50);
        check(PhysicalSpace::Ppc64 { physical_bits: 51 }, 35, 41);
        check(PhysicalSpace::Riscv64, 44, 58);
        check(PhysicalSpace::Loongarch64, 36, 58);
        check(PhysicalSpace::NoSections { page: Bytes::kib(4) }, 51, 58);
    }
}
