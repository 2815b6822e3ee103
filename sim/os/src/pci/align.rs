//! Size and alignment of a bridge's memory window from what lies inside.
//!
//! Each content adds `max(size, align)` to the sum, and, unless it is longer than its alignment, its
//! alignment to the bucket of that alignment (1 MiB, 2 MiB, …). A window of alignment `m` can start where a
//! larger content cannot, so both rules ask how much of the room in front of the large contents the small
//! ones fill.
//!
//! * [`WindowSizing::Cumulative`] (6.x) goes up: while what was collected so far, rounded to `m`, is smaller
//!   than the next alignment, half of that alignment becomes `m`; the size is rounded up to `m`.
//! * [`WindowSizing::Head`] (7.x) goes down from the largest alignment and halves it while what is smaller
//!   fills half; the size is rounded up to the granule of 1 MiB only.
//!
//! Example, 256 MiB and 32 MiB: upwards gives 128 MiB and so 384 MiB; downwards 256 MiB and 288 MiB.

use super::space::align_up;
use crate::WindowSizing;

/// Granule of memory windows, 1 MiB, as a power of two.
pub(crate) const GRANULE_ORDER: u32 = 20;

/// Contents of a window by alignment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Contents {
    /// Sum of `max(size, align)`.
    pub size: u64,
    /// Sum of alignments, by power of two from 1 MiB.
    buckets: [u64; 44],
    largest: usize,
}

/// Bucket of an alignment, counted from 1 MiB.
pub(crate) fn order(align: u64) -> u32 {
    align.trailing_zeros().saturating_sub(GRANULE_ORDER)
}

fn alignment(order: usize) -> u64 {
    1 << (GRANULE_ORDER as usize + order)
}

impl Default for Contents {
    fn default() -> Contents {
        Contents { size: 0, buckets: [0; 44], largest: 0 }
    }
}

impl Contents {
    /// Adds one resource; `align` is a power of two.
    pub fn add(&mut self, size: u64, align: u64) {
        let order = order(align) as usize;
        self.size = self.size.saturating_add(size.max(align));
        if size <= align {
            self.buckets[order] = self.buckets[order].saturating_add(align);
        }
        self.largest = self.largest.max(order);
    }

    /// Alignment of the largest content, at least the granule.
    pub fn largest_alignment(&self) -> u64 {
        alignment(self.largest)
    }

    /// The alignment the window gets, at least the granule.
    pub fn alignment(&self, sizing: WindowSizing) -> u64 {
        match sizing {
            WindowSizing::Cumulative => self.cumulative(),
            WindowSizing::Head => self.head(),
        }
    }

    fn cumulative(&self) -> u64 {
        let (mut collected, mut chosen) = (0u64, alignment(0));
        for order in 0..=self.largest {
            let next = alignment(order);
            if collected == 0 {
                chosen = next;
            } else if align_up(collected.saturating_add(chosen), chosen).is_some_and(|sum| sum < next) {
                chosen = next >> 1;
            }
            collected = collected.saturating_add(self.buckets[order]);
        }
        chosen
    }

    fn head(&self) -> u64 {
        let (mut head, mut smaller) = (alignment(self.largest), 0u64);
        for order in (0..self.largest).rev() {
            smaller = smaller.saturating_add(self.buckets[order]);
            while head > alignment(order) && smaller >= head / 2 {
                head /= 2;
                smaller -= head;
            }
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 10;

    /// Contents as (size, alignment) in MiB, then alignment and size by both rules.
    fn check(contents: &[(u64, u64)], cumulative: (u64, u64), head: (u64, u64)) {
        let mut all = Contents::default();
        contents.iter().for_each(|(size, align)| all.add(size * MIB, align * MIB));
        let rounded = |to: u64| align_up(all.size, to).map(|size| size / MIB);
        let align = all.alignment(WindowSizing::Cumulative);
        assert_eq!((align / MIB, rounded(align)), (cumulative.0, Some(cumulative.1)), "6.x {contents:?}");
        let align = all.alignment(WindowSizing::Head);
        assert_eq!((align / MIB, rounded(MIB)), (head.0, Some(head.1)), "7.x {contents:?}");
    }

    fn check_bars(bars: &[u64], cumulative: (u64, u64), head: (u64, u64)) {
        let contents: alloc::vec::Vec<_> = bars.iter().map(|size| (*size, *size)).collect();
        check(&contents, cumulative, head);
    }

    /// The table of executed results in the specification, in MiB.
    ///
    /// Property A24.
    #[test]
    fn both_rules_give_the_kernels_windows() {
        check_bars(&[16], (16, 16), (16, 16));
        check_bars(&[256, 32], (128, 384), (256, 288));
        check_bars(&[256, 16, 32], (128, 384), (256, 304));
        check_bars(&[8 * GIB, 256, 32], (4096, 12288), (8192, 8480));
        check_bars(&[16 * GIB, 16 * GIB], (16384, 32768), (16384, 32768));
        check_bars(&[64 * GIB, 32], (32768, 98304), (65536, 65568));
        check_bars(&[128 * GIB, 64, 32], (65536, 196_608), (131_072, 131_168));
        check_bars(&[256, 256, 32, 32, 16], (128, 640), (256, 592));
        check_bars(&[64, 32], (32, 96), (32, 96));
        check_bars(&[256, 128], (128, 384), (128, 384));
        check(&[(96, 64), (64, 64)], (64, 192), (64, 160));
        check_bars(&[64, 32, 32], (32, 128), (1, 128));
        check_bars(&[256, 128, 64, 64], (64, 512), (1, 512));
        check_bars(&[4 * GIB, 2 * GIB, GIB, 512, 512], (512, 8192), (1, 8192));
    }

    #[test]
    fn small_bars_share_a_granule() {
        let mut contents = Contents::default();
        contents.add(64 << 10, 64 << 10);
        contents.add(64 << 10, 64 << 10);
        for sizing in [WindowSizing::Cumulative, WindowSizing::Head] {
            assert_eq!(contents.alignment(sizing), MIB);
        }
        assert_eq!(align_up(contents.size, MIB), Some(MIB));
    }
}
