//! [`Range`]: an inclusive interval of addresses, and all interval arithmetic.

use core::fmt;

use crate::{Address, Bytes};

/// The addresses `first..=last`. Inclusive, so the top of the address space can be named, and never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range<A> {
    first: A,
    last: A,
}

impl<A: Address> Range<A> {
    /// `first..=last`; `None` when `last` lies below `first`.
    pub fn new(first: A, last: A) -> Option<Range<A>> {
        (first <= last).then_some(Range { first, last })
    }

    /// `size` bytes from `first`; `None` for size 0 or beyond the end of the space.
    pub fn sized(first: A, size: Bytes) -> Option<Range<A>> {
        // size - 1 cannot underflow after the filter; the sum may exceed 64 bits and is checked.
        let last = size.0.checked_sub(1).and_then(|above| first.checked_add(above))?;
        Some(Range { first, last })
    }

    /// Lowest address.
    pub fn first(self) -> A {
        self.first
    }

    /// Highest address, included.
    pub fn last(self) -> A {
        self.last
    }

    /// Number of bytes. Saturates for the whole 64-bit space, which holds one more than fits.
    pub fn size(self) -> Bytes {
        Bytes((self.last.raw() - self.first.raw()).saturating_add(1))
    }

    /// True when `addr` lies inside.
    pub fn contains(self, addr: A) -> bool {
        self.first <= addr && addr <= self.last
    }

    /// True when all of `other` lies inside.
    pub fn covers(self, other: Range<A>) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// True when the two share at least one address.
    pub fn overlaps(self, other: Range<A>) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The addresses in both.
    pub fn intersection(self, other: Range<A>) -> Option<Range<A>> {
        Range::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// What is left of this range below and above `hole`.
    pub fn without(self, hole: Range<A>) -> (Option<Range<A>>, Option<Range<A>>) {
        // hole.first > self.first implies hole.first >= 1, and hole.last < self.last implies room above:
        // neither ±1 can wrap.
        let below = (hole.first > self.first)
            .then(|| Range::new(self.first, self.last.min(A::from_raw(hole.first.raw() - 1))))
            .flatten();
        let above = (hole.last < self.last)
            .then(|| Range::new(self.first.max(A::from_raw(hole.last.raw() + 1)), self.last))
            .flatten();
        (below, above)
    }

    /// The lowest `size` bytes of this range whose start is a multiple of `align` (a power of two).
    pub fn fit_low(self, size: Bytes, align: u64) -> Option<Range<A>> {
        assert!(align.is_power_of_two(), "alignment {align:#x} is not a power of two");
        let first = self.first.raw().checked_add(align - 1)? & !(align - 1);
        let fit = Range::sized(A::from_raw(first), size)?;
        self.covers(fit).then_some(fit)
    }
}

impl<A: Address> fmt::Debug for Range<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}-{:#x}]", self.first.raw(), self.last.raw())
    }
}

impl<A: Address> fmt::Display for Range<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}-{:#x}]", self.first.raw(), self.last.raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CpuAddr;

    fn range(first: u64, last: u64) -> Range<CpuAddr> {
        Range::new(CpuAddr(first), CpuAddr(last)).unwrap()
    }

    #[test]
    fn the_top_of_the_space_can_be_named() {
        let top = Range::sized(CpuAddr(u64::MAX - 0xfff), Bytes(0x1000)).unwrap();
        assert_eq!(top.last(), CpuAddr(u64::MAX));
        assert_eq!(Range::sized(CpuAddr(u64::MAX), Bytes(2)), None);
        assert_eq!(Range::sized(CpuAddr(0), Bytes(0)), None);
    }

    #[test]
    fn without_cuts_every_way() {
        let whole = range(10, 20);
        assert_eq!(whole.without(range(12, 15)), (Some(range(10, 11)), Some(range(16, 20))));
        assert_eq!(whole.without(range(0, 12)), (None, Some(range(13, 20))));
        assert_eq!(whole.without(range(18, 99)), (Some(range(10, 17)), None));
        assert_eq!(whole.without(range(0, 99)), (None, None));
        assert_eq!(whole.without(range(30, 40)), (Some(whole), None));
        assert_eq!(whole.without(range(0, 5)), (None, Some(whole)));
    }

    #[test]
    fn fit_low_aligns_up() {
        assert_eq!(range(0x1100, 0x3fff).fit_low(Bytes(0x1000), 0x1000), Some(range(0x2000, 0x2fff)));
        assert_eq!(range(0x1100, 0x2ffe).fit_low(Bytes(0x1000), 0x1000), None);
    }
}
