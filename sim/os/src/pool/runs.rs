//! [`FreeRuns`]: the maximal runs of free granules of one chunk, ordered by place and searchable by length.
//!
//! A treap in an arena: each node is a run and knows the longest run below it, so "the first run of at least n
//! granules at or after x" takes O(log runs) steps. Memory follows the number of runs, not the size of the chunk.
//! Priorities are a fixed function of a node's place in the arena, so the shape depends on the calls alone. Nodes
//! of removed runs are used again; a call allocates only when there are more runs than ever before.
//!
//! Invariant: runs are not empty, do not overlap and do not touch, and end at or below `granules`.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// `count` free granules from `first`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub first: u64,
    pub count: u64,
}

impl Run {
    /// The granule behind the run. Cannot overflow: a chunk has at most 2^64 − 1 granules.
    pub fn end(self) -> u64 {
        self.first + self.count
    }
}

/// Position in the arena; [`NONE`] for no node.
type Link = usize;
const NONE: Link = usize::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Node {
    run: Run,
    /// Largest count in this subtree.
    longest: u64,
    left: Link,
    right: Link,
}

/// The free granules of a chunk.
#[derive(Clone, Debug)]
pub(super) struct FreeRuns {
    nodes: Vec<Node>,
    unused: Vec<Link>,
    root: Link,
    granules: u64,
    free: u64,
}

impl PartialEq for FreeRuns {
    /// Equal when the same granules are free, whatever happened before.
    fn eq(&self, other: &FreeRuns) -> bool {
        let mut from = Some(0);
        while let Some(at) = from {
            let (here, there) = (self.at_least(0, at), other.at_least(0, at));
            if here != there {
                return false;
            }
            from = here.map(Run::end);
        }
        self.granules == other.granules
    }
}

impl Eq for FreeRuns {}

/// Splitmix64's output function: a permutation that leaves no trace of the order of its inputs.
fn priority(link: Link) -> u64 {
    let mut z = (link as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl FreeRuns {
    /// `granules` granules, all free.
    pub fn new(granules: u64) -> FreeRuns {
        let mut runs =
            FreeRuns { nodes: Vec::new(), unused: Vec::new(), root: NONE, granules, free: granules };
        if granules > 0 {
            runs.insert(Run { first: 0, count: granules });
        }
        runs
    }

    /// Number of granules, free or not.
    pub fn granules(&self) -> u64 {
        self.granules
    }

    /// True when a granule is not free.
    pub fn any_taken(&self) -> bool {
        self.free < self.granules
    }

    /// Granules in the longest run; 0 without one.
    pub fn longest_run(&self) -> u64 {
        self.longest(self.root)
    }

    /// Number of runs.
    pub fn count(&self) -> usize {
        self.nodes.len() - self.unused.len()
    }

    /// The first run of at least `count` granules that starts at or after `from`.
    pub fn at_least(&self, count: u64, from: u64) -> Option<Run> {
        self.first_in(self.root, count, from)
    }

    /// The run that holds `granule`.
    pub fn holding(&self, granule: u64) -> Option<Run> {
        self.up_to(granule).filter(|run| granule < run.end())
    }

    /// Among runs of at least `count` granules, the shortest; the first of equals. Looks at every run that is long enough,
    /// unless one fits exactly: no pool of peer memory uses best fit, so no index by length is kept for it.
    pub fn shortest(&self, count: u64) -> Option<Run> {
        let mut best = None;
        self.shortest_in(self.root, count, &mut best);
        best
    }

    /// Takes `count` granules from `first`, which must all be free.
    pub fn take(&mut self, first: u64, count: u64) {
        if count == 0 {
            return;
        }
        let run = self.holding(first).filter(|run| count <= run.end() - first);
        let Some(run) = run else {
            assert!(run.is_some(), "granules {first}+{count} are not all free");
            return;
        };
        let rest = Run { first: first + count, count: run.end() - first - count };
        match (first > run.first, rest.count > 0) {
            (false, false) => self.root = self.remove(self.root, run.first),
            (false, true) => self.replace(self.root, run.first, rest),
            (true, more) => {
                self.replace(self.root, run.first, Run { first: run.first, count: first - run.first });
                if more {
                    self.insert(rest);
                }
            }
        }
        self.free -= count;
    }

    /// Frees `count` granules from `first`; false, and nothing happens, unless all exist and are taken.
    pub fn give(&mut self, first: u64, count: u64) -> bool {
        if count == 0 {
            return true;
        }
        let Some(end) = first.checked_add(count).filter(|end| *end <= self.granules) else {
            return false;
        };
        let before = self.up_to(first);
        let after = self.at_least(0, first);
        if before.is_some_and(|run| run.end() > first) || after.is_some_and(|run| run.first < end) {
            return false;
        }
        let before = before.filter(|run| run.end() == first);
        let after = after.filter(|run| run.first == end);
        match (before, after) {
            (None, None) => self.insert(Run { first, count }),
            (Some(before), None) => {
                self.replace(self.root, before.first, Run { count: before.count + count, ..before });
            }
            (None, Some(after)) => {
                self.replace(self.root, after.first, Run { first, count: count + after.count });
            }
            (Some(before), Some(after)) => {
                self.root = self.remove(self.root, after.first);
                let joined = before.count + count + after.count;
                self.replace(self.root, before.first, Run { count: joined, ..before });
            }
        }
        self.free += count;
        true
    }

    /// The last run that starts at or before `granule`.
    fn up_to(&self, granule: u64) -> Option<Run> {
        let (mut at, mut found) = (self.root, None);
        while at != NONE {
            let node = &self.nodes[at];
            if node.run.first <= granule {
                (found, at) = (Some(node.run), node.right);
            } else {
                at = node.left;
            }
        }
        found
    }

    fn longest(&self, at: Link) -> u64 {
        if at == NONE { 0 } else { self.nodes[at].longest }
    }

    fn first_in(&self, at: Link, count: u64, from: u64) -> Option<Run> {
        if at == NONE || self.nodes[at].longest < count {
            return None;
        }
        let node = &self.nodes[at];
        if node.run.first < from {
            return self.first_in(node.right, count, from);
        }
        if let Some(run) = self.first_in(node.left, count, from) {
            return Some(run);
        }
        if node.run.count >= count {
            return Some(node.run);
        }
        self.first_in(node.right, count, from)
    }

    /// In order, so that the first of equals stays; an exact fit ends the search.
    fn shortest_in(&self, at: Link, count: u64, best: &mut Option<Run>) {
        let exact = best.is_some_and(|run| run.count == count);
        if at == NONE || self.nodes[at].longest < count || exact {
            return;
        }
        let node = &self.nodes[at];
        self.shortest_in(node.left, count, best);
        if node.run.count >= count && best.is_none_or(|run| node.run.count < run.count) {
            *best = Some(node.run);
        }
        self.shortest_in(node.right, count, best);
    }

    fn insert(&mut self, run: Run) {
        let node = Node { run, longest: run.count, left: NONE, right: NONE };
        let link = match self.unused.pop() {
            Some(link) => {
                self.nodes[link] = node;
                link
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.root = self.insert_in(self.root, link);
    }

    fn insert_in(&mut self, at: Link, new: Link) -> Link {
        if at == NONE {
            return new;
        }
        let first = self.nodes[new].run.first;
        if priority(new) > priority(at) {
            (self.nodes[new].left, self.nodes[new].right) = self.split(at, first);
            self.update(new);
            return new;
        }
        if first < self.nodes[at].run.first {
            self.nodes[at].left = self.insert_in(self.nodes[at].left, new);
        } else {
            self.nodes[at].right = self.insert_in(self.nodes[at].right, new);
        }
        self.update(at);
        at
    }

    /// The nodes below `first` and those from it on.
    fn split(&mut self, at: Link, first: u64) -> (Link, Link) {
        if at == NONE {
            return (NONE, NONE);
        }
        if self.nodes[at].run.first < first {
            let (left, right) = self.split(self.nodes[at].right, first);
            self.nodes[at].right = left;
            self.update(at);
            (at, right)
        } else {
            let (left, right) = self.split(self.nodes[at].left, first);
            self.nodes[at].left = right;
            self.update(at);
            (left, at)
        }
    }

    /// One tree of two; all of `left` lies before `right`.
    fn join(&mut self, left: Link, right: Link) -> Link {
        if left == NONE || right == NONE {
            return if left == NONE { right } else { left };
        }
        if priority(left) > priority(right) {
            self.nodes[left].right = self.join(self.nodes[left].right, right);
            self.update(left);
            left
        } else {
            self.nodes[right].left = self.join(left, self.nodes[right].left);
            self.update(right);
            right
        }
    }

    fn remove(&mut self, at: Link, first: u64) -> Link {
        assert!(at != NONE, "no run starts at {first}");
        let Node { run, left, right, .. } = self.nodes[at];
        match first.cmp(&run.first) {
            Ordering::Equal => {
                self.unused.push(at);
                return self.join(left, right);
            }
            Ordering::Less => self.nodes[at].left = self.remove(left, first),
            Ordering::Greater => self.nodes[at].right = self.remove(right, first),
        }
        self.update(at);
        at
    }

    /// Changes the run that starts at `first`, without changing its place in the order.
    fn replace(&mut self, at: Link, first: u64, run: Run) {
        assert!(at != NONE, "no run starts at {first}");
        let node = self.nodes[at];
        match first.cmp(&node.run.first) {
            Ordering::Equal => self.nodes[at].run = run,
            Ordering::Less => self.replace(node.left, first, run),
            Ordering::Greater => self.replace(node.right, first, run),
        }
        self.update(at);
    }

    fn update(&mut self, at: Link) {
        let Node { run, left, right, .. } = self.nodes[at];
        self.nodes[at].longest = run.count.max(self.longest(left)).max(self.longest(right));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(taken: &[(u64, u64)]) -> FreeRuns {
        let mut runs = FreeRuns::new(64);
        taken.iter().for_each(|(first, count)| runs.take(*first, *count));
        runs
    }

    #[test]
    fn runs_are_found_by_place_and_length() {
        let runs = runs(&[(5, 3), (11, 2), (16, 1), (20, 44)]);
        let check = |count, from, expect: Option<(u64, u64)>| {
            let expect = expect.map(|(first, count)| Run { first, count });
            assert_eq!(runs.at_least(count, from), expect, "{count} from {from}");
        };
        check(1, 0, Some((0, 5)));
        check(3, 1, Some((8, 3)));
        check(4, 1, None);
        check(3, 9, Some((13, 3)));
        check(0, 14, Some((17, 3)));
        check(6, 0, None);
        assert_eq!(runs.shortest(3), Some(Run { first: 8, count: 3 }));
        assert_eq!(runs.shortest(4), Some(Run { first: 0, count: 5 }));
        assert_eq!(runs.holding(15), Some(Run { first: 13, count: 3 }));
        assert_eq!(runs.holding(16), None);
    }

    #[test]
    fn freed_granules_join_their_neighbours() {
        let whole = FreeRuns::new(64);
        for order in [[(10, 5), (15, 5), (20, 5)], [(10, 5), (20, 5), (15, 5)], [(20, 5), (15, 5), (10, 5)]] {
            let mut runs = runs(&[(10, 15)]);
            assert!(order.iter().all(|(first, count)| runs.give(*first, *count)));
            assert_eq!(runs, whole);
            assert_eq!(runs.at_least(64, 0), Some(Run { first: 0, count: 64 }));
        }
    }

    #[test]
    fn only_taken_granules_can_be_freed() {
        let mut runs = runs(&[(10, 5), (20, 5)]);
        let before = runs.clone();
        for (first, count) in [(9, 2), (14, 2), (10, 15), (0, 1), (63, 2), (64, 1), (20, u64::MAX), (15, 5)] {
            assert!(!runs.give(first, count), "{first}+{count}");
        }
        assert_eq!(runs, before);
        assert!(runs.give(64, 0) && runs.give(22, 1) && runs.any_taken());
    }
}
