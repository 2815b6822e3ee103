//! [`IovaTree`]: which page numbers of one I/O address space are taken, and the search for free ones.
//!
//! The search goes downwards, first fit from a remembered place, so new ranges lie below earlier ones. Results are
//! those of the kernel's tree; the structure is an ordered map from the first to the last page of each range, with an
//! anchor at the largest page number that is never given out.
//!
//! Rules, for `n` pages below `limit`:
//!
//! * a range starts at a multiple of `n` rounded up to a power of two, whatever the size: 3 pages lie on a multiple
//!   of 4, 33 pages on a multiple of 64;
//! * the search starts at the range placed last (there is one memory for ranges below 4 GiB and one for all) and
//!   looks again at what is above that place only if nothing was free below;
//! * after a failure, requests below 4 GiB of that size or more fail at once until a range below 4 GiB is freed.
//!
//! Invariants: ranges never overlap; both remembered places name existing ranges.

use alloc::collections::BTreeMap;

use super::DmaWork;

/// Page number of the anchor.
const ANCHOR: u64 = u64::MAX;

/// The taken page numbers of one I/O address space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IovaTree {
    /// Last page by first page.
    ranges: BTreeMap<u64, u64>,
    /// Lowest page given out.
    start: u64,
    /// First page at or above 4 GiB.
    four_gib: u64,
    /// First page of the range where searches with a limit above 4 GiB begin.
    recent: u64,
    /// The same for limits up to 4 GiB.
    recent_low: u64,
    /// Requests below 4 GiB of at least this many pages fail unseen.
    hopeless: u64,
}

impl IovaTree {
    /// An empty space from page `start` on, in pages of which `four_gib` fill 4 GiB. `reserved` ranges (first and
    /// last page) may overlap each other; pages of 2^52 or more and empty ranges are ignored.
    pub fn new(start: u64, four_gib: u64, reserved: impl IntoIterator<Item = (u64, u64)>) -> IovaTree {
        let mut ranges = BTreeMap::from([(ANCHOR, ANCHOR)]);
        for (first, last) in reserved {
            if first <= last && last < 1 << 52 {
                join(&mut ranges, first, last);
            }
        }
        IovaTree { ranges, start, four_gib, recent: ANCHOR, recent_low: ANCHOR, hopeless: four_gib }
    }

    /// Takes `pages` pages below page `limit`; the first of them, or `None`.
    pub fn take(&mut self, pages: u64, limit: u64, work: &mut DmaWork) -> Option<u64> {
        let low = limit <= self.four_gib;
        // 2^52 pages of 4 KiB are all of 64 bits; beyond that the arithmetic below has no meaning.
        if pages == 0 || pages > 1 << 52 || low && pages >= self.hopeless {
            return None;
        }
        work.tree_searches += 1;
        let from = if low { self.recent_low } else { self.recent };
        let above = self.ranges.get(&from).copied().unwrap_or(ANCHOR);
        let found = self.descend(from, pages, limit, self.start, work).or_else(|| {
            let from = if limit > self.four_gib { ANCHOR } else { self.at_or_above(limit) };
            (above < limit).then(|| self.descend(from, pages, limit, above + 1, work)).flatten()
        });
        let Some(first) = found else {
            self.hopeless = pages;
            return None;
        };
        let last = first + (pages - 1);
        assert!(self.ranges.insert(first, last).is_none(), "pages {first:#x}-{last:#x} were taken already");
        let recent = if last < self.four_gib { &mut self.recent_low } else { &mut self.recent };
        *recent = first;
        work.tree_changes += 1;
        Some(first)
    }

    /// The highest place for `pages` pages below `limit`, at or above `low`, looking at the gaps below `from`
    /// downwards.
    fn descend(&self, from: u64, pages: u64, limit: u64, low: u64, work: &mut DmaWork) -> Option<u64> {
        let mask = !(pages.next_power_of_two() - 1);
        let mut high = limit;
        let mut ranges = self.ranges.range(..=from).rev().peekable();
        while let Some((first, _)) = ranges.next() {
            work.tree_steps += 1;
            high = high.min(*first);
            // Below 0 it wraps to a number above every range; `high < pages` tells.
            let place = high.wrapping_sub(pages) & mask;
            let blocked = ranges.peek().is_some_and(|(_, last)| place <= **last);
            if !blocked || place < low {
                return (high >= pages && place >= low).then_some(place);
            }
        }
        None
    }

    fn at_or_above(&self, page: u64) -> u64 {
        self.ranges.range(page..).next().map_or(ANCHOR, |(first, _)| *first)
    }

    /// Gives back the range that starts at `first`; false if there is none.
    pub fn give_back(&mut self, first: u64, work: &mut DmaWork) -> bool {
        if first == ANCHOR {
            return false;
        }
        let Some(last) = self.ranges.remove(&first) else { return false };
        work.tree_changes += 1;
        let successor = self.at_or_above(first);
        if first == self.recent_low || last < self.four_gib && first >= self.recent_low {
            self.recent_low = successor;
        }
        if first < self.four_gib {
            self.hopeless = self.four_gib;
        }
        if first >= self.recent {
            self.recent = successor;
        }
        true
    }

    /// The taken ranges (first and last page), reserved ones included, lowest first.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.range(..ANCHOR).map(|(first, last)| (*first, *last))
    }
}

/// Adds a range, joined with those it overlaps.
fn join(ranges: &mut BTreeMap<u64, u64>, first: u64, last: u64) {
    let (mut low, mut high) = (first, last);
    let below = ranges.range(..=last).rev().take_while(|(_, end)| **end >= first);
    let overlapped: alloc::vec::Vec<(u64, u64)> = below.map(|(start, end)| (*start, *end)).collect();
    for (start, end) in overlapped {
        (low, high) = (low.min(start), high.max(end));
        ranges.remove(&start);
    }
    ranges.insert(low, high);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const FOUR_GIB: u64 = 1 << 20;

    fn tree(reserved: &[(u64, u64)]) -> IovaTree {
        IovaTree::new(1, FOUR_GIB, reserved.iter().copied())
    }

    fn take(tree: &mut IovaTree, pages: u64, limit: u64) -> Option<u64> {
        tree.take(pages, limit, &mut DmaWork::default())
    }

    #[test]
    fn reserved_ranges_join() {
        let ranges: Vec<_> = tree(&[(10, 20), (30, 40), (15, 32), (5, 5), (7, 6)]).ranges().collect();
        assert_eq!(ranges, [(5, 5), (10, 40)]);
    }

    #[test]
    fn every_size_is_aligned_to_its_power_of_two() {
        for (pages, expect) in [(1, 0xfffff), (2, 0xffffe), (3, 0xffffc), (17, 0xfffe0), (33, 0xfffc0)] {
            assert_eq!(take(&mut tree(&[]), pages, FOUR_GIB), Some(expect), "{pages} pages");
        }
    }

    #[test]
    fn what_was_freed_above_is_found_by_a_second_pass() {
        let mut tree = tree(&[]);
        let places: Vec<_> = (0..4).map(|_| take(&mut tree, 1 << 18, FOUR_GIB)).collect();
        // Page 0 is never given out, so the fourth quarter of 4 GiB is not free.
        assert_eq!(places, [Some(0xc0000), Some(0x80000), Some(0x40000), None]);
        assert!(tree.give_back(0xc0000, &mut DmaWork::default()));
        assert!(!tree.give_back(0xc0000, &mut DmaWork::default()));
        assert_eq!(take(&mut tree, 1 << 18, FOUR_GIB), Some(0xc0000));
    }

    #[test]
    fn a_hopeless_size_is_refused_without_searching() {
        let mut tree = tree(&[]);
        let mut work = DmaWork::default();
        assert_eq!(tree.take(FOUR_GIB, FOUR_GIB, &mut work), None);
        assert_eq!(work.tree_searches, 0, "4 GiB cannot fit below 4 GiB without page 0");
        assert_eq!(tree.take(FOUR_GIB - 1, FOUR_GIB, &mut work), None);
        assert_eq!(work.tree_searches, 1);
        assert_eq!(tree.take(FOUR_GIB - 1, FOUR_GIB, &mut work), None);
        assert_eq!(work.tree_searches, 1);
        assert_eq!(tree.take(1, FOUR_GIB, &mut work), Some(0xfffff));
        tree.give_back(0xfffff, &mut work);
        assert_eq!(tree.take(FOUR_GIB - 1, FOUR_GIB, &mut work), None);
        assert_eq!(work.tree_searches, 3, "freeing below 4 GiB gives new hope");
    }

    #[test]
    fn sizes_without_meaning_are_refused() {
        for pages in [0, (1 << 52) + 1, u64::MAX] {
            assert_eq!(take(&mut tree(&[]), pages, 1 << 52), None);
        }
        for (limit, expect) in [(0, None), (1, None), (2, Some(1))] {
            assert_eq!(take(&mut tree(&[]), 1, limit), expect, "below page {limit}");
        }
        assert!(!tree(&[]).give_back(ANCHOR, &mut DmaWork::default()));
    }
}
