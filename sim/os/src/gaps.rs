//! [`Gaps`]: what is free of a space that is filled from the bottom.

use alloc::collections::BTreeMap;

/// Free runs of pages, never touching one another.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Gaps {
    /// Length by first page.
    runs: BTreeMap<u64, u64>,
}

impl Gaps {
    /// `pages` pages from 0, all free.
    pub fn new(pages: u64) -> Gaps {
        Gaps { runs: [(0, pages)].into_iter().filter(|(_, length)| *length > 0).collect() }
    }

    /// Takes the lowest `pages` (at least one) that are free in one run.
    pub fn take(&mut self, pages: u64) -> Option<u64> {
        let (first, length) =
            self.runs.iter().map(|(first, length)| (*first, *length)).find(|run| run.1 >= pages)?;
        self.runs.remove(&first);
        if length > pages {
            self.runs.insert(first + pages, length - pages);
        }
        Some(first)
    }

    /// Gives back what was taken, or more that is free.
    pub fn give_back(&mut self, first: u64, pages: u64) {
        let (mut first, mut pages) = (first, pages);
        if let Some(length) = self.runs.remove(&(first + pages)) {
            pages += length;
        }
        let below = self.runs.range(..first).next_back().map(|(below, length)| (*below, *length));
        if let Some((below, length)) = below.filter(|(below, length)| below + length == first) {
            self.runs.remove(&below);
            (first, pages) = (below, length + pages);
        }
        self.runs.insert(first, pages);
    }

    /// Length of the longest run.
    pub fn longest(&self) -> u64 {
        self.runs.values().copied().max().unwrap_or(0)
    }

    /// Pages that are free.
    pub fn free(&self) -> u64 {
        self.runs.values().sum()
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.runs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_gap_is_taken_and_gaps_merge() {
        let mut gaps = Gaps::new(100);
        assert_eq!([10, 20, 30].map(|pages| gaps.take(pages)), [Some(0), Some(10), Some(30)]);
        gaps.give_back(10, 20);
        assert_eq!([21, 5].map(|pages| gaps.take(pages)), [Some(60), Some(10)]);
        assert_eq!((gaps.longest(), gaps.len(), gaps.take(20)), (19, 2, None));
        gaps.give_back(30, 30);
        gaps.give_back(10, 5);
        gaps.give_back(0, 10);
        assert_eq!((gaps.longest(), gaps.len()), (60, 2));
        gaps.give_back(60, 21);
        assert_eq!((gaps.longest(), gaps.len()), (100, 1));
    }
}
