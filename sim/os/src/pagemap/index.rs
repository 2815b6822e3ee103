//! [`RangeIndex`]: which of several owners an address belongs to.
//!
//! Entries never overlap. Setting a range overwrites whatever was there, also the middle of an older entry, of which
//! the parts on both sides remain.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::{Address, Range};

/// Values of ranges of addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeIndex<A, T> {
    /// By first address: the last one, and the value.
    entries: BTreeMap<A, (A, T)>,
}

impl<A, T> Default for RangeIndex<A, T> {
    fn default() -> RangeIndex<A, T> {
        RangeIndex { entries: BTreeMap::new() }
    }
}

impl<A: Address, T: Copy + PartialEq> RangeIndex<A, T> {
    /// The entry that `address` lies in.
    pub fn get(&self, address: A) -> Option<(Range<A>, T)> {
        let (first, (last, value)) = self.entries.range(..=address).next_back()?;
        let range = Range::new(*first, *last).filter(|range| range.contains(address))?;
        Some((range, *value))
    }

    /// Gives all of `range` the value.
    pub fn set(&mut self, range: Range<A>, value: T) {
        self.cut(range, |_| true);
        self.entries.insert(range.first(), (range.last(), value));
    }

    /// Leaves nothing in `range`.
    pub fn clear(&mut self, range: Range<A>) {
        self.cut(range, |_| true);
    }

    /// Leaves nothing in `range` that has the value.
    pub fn clear_value(&mut self, range: Range<A>, value: T) {
        self.cut(range, |other| other == value);
    }

    fn cut(&mut self, range: Range<A>, wanted: impl Fn(T) -> bool) {
        let met: Vec<(Range<A>, T)> = self.overlapping(range).filter(|(_, value)| wanted(*value)).collect();
        for (entry, value) in met {
            self.entries.remove(&entry.first());
            let (below, above) = entry.without(range);
            for part in below.into_iter().chain(above) {
                self.entries.insert(part.first(), (part.last(), value));
            }
        }
    }

    /// Entries that share an address with `range`, in order of address.
    pub fn overlapping(&self, range: Range<A>) -> impl Iterator<Item = (Range<A>, T)> + '_ {
        let from = self.get(range.first()).map_or(range.first(), |(entry, _)| entry.first());
        let entries = self.entries.range(from..=range.last());
        entries.filter_map(|(first, (last, value))| Some((Range::new(*first, *last)?, *value)))
    }

    /// The parts of `range` that have no value, in order of address.
    pub fn uncovered(&self, range: Range<A>) -> Vec<Range<A>> {
        let mut rest = Some(range);
        let mut gaps = Vec::new();
        for (entry, _) in self.overlapping(range) {
            let Some(left) = rest else { break };
            let (below, above) = left.without(entry);
            gaps.extend(below);
            rest = above;
        }
        gaps.extend(rest);
        gaps
    }

    /// All entries, in order of address.
    pub fn iter(&self) -> impl Iterator<Item = (Range<A>, T)> + '_ {
        self.entries.iter().filter_map(|(first, (last, value))| Some((Range::new(*first, *last)?, *value)))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerbus_units::Pfn;

    fn range(first: u64, last: u64) -> Range<Pfn> {
        Range::new(Pfn(first), Pfn(last)).unwrap()
    }

    fn owners(index: &RangeIndex<Pfn, char>) -> alloc::string::String {
        (0..10).map(|page| index.get(Pfn(page)).map_or('.', |(_, value)| value)).collect()
    }

    #[test]
    fn a_new_range_overwrites_and_leaves_the_rest() {
        let mut index = RangeIndex::default();
        index.set(range(2, 7), 'a');
        index.set(range(4, 5), 'b');
        assert_eq!(owners(&index), "..aabbaa..");
        assert_eq!(index.uncovered(range(0, 9)), [range(0, 1), range(8, 9)]);
        index.clear_value(range(0, 9), 'b');
        assert_eq!(owners(&index), "..aa..aa..");
        assert_eq!(index.uncovered(range(3, 6)), [range(4, 5)]);
        index.set(range(1, 9), 'c');
        index.clear(range(0, 4));
        assert_eq!((owners(&index).as_str(), index.len()), (".....ccccc", 1));
        assert_eq!(index.uncovered(range(6, 8)), []);
    }
}
