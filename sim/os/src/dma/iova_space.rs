//! [`IovaSpace`]: page numbers of one I/O address space, given out from caches first and the tree second.

use alloc::vec::Vec;

use peerbus_units::Picos;

use super::DmaWork;
use super::iova_cache::{IovaCaches, ORDERS};
use super::iova_tree::IovaTree;

/// Where and when a call is made. The operating system reads no clock: the caller says what time it is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Call {
    /// The time; calls on one object never go back in time.
    pub now: Picos,
    /// The CPU that makes the call.
    pub cpu: u32,
}

/// Pages of this many or more are not rounded to a power of two, and not cached beyond it.
const LARGEST_CACHED: u64 = 1 << (ORDERS - 1);

/// The page numbers of one I/O address space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IovaSpace {
    tree: IovaTree,
    caches: IovaCaches,
}

impl IovaSpace {
    /// A space over `tree`, with empty caches.
    pub fn new(tree: IovaTree, caches: IovaCaches) -> IovaSpace {
        IovaSpace { tree, caches }
    }

    /// `pages` pages of which the last is at most page `limit`; the first of them.
    ///
    /// Fewer than 32 pages are rounded up to a power of two. With `flush`, a failure empties all caches and tries
    /// once more.
    pub fn allocate(
        &mut self,
        pages: u64,
        limit: u64,
        flush: bool,
        call: Call,
        work: &mut DmaWork,
    ) -> Option<u64> {
        if pages == 0 || pages > 1 << 52 {
            return None;
        }
        self.thin_out(call.now, work);
        let pages = if pages < LARGEST_CACHED { pages.next_power_of_two() } else { pages };
        let end = limit.saturating_add(1);
        if let Some(order) = cached_order(pages) {
            // Modulo 2^64 as in the kernel: a limit below the size accepts every cached range.
            let found = self.caches.get(order, call.cpu, end.wrapping_sub(pages));
            let counter = if found.is_some() { &mut work.cache_hits } else { &mut work.cache_misses };
            *counter += 1;
            if found.is_some() {
                return found;
            }
        }
        let found = self.tree.take(pages, end, work);
        if found.is_some() || !flush {
            return found;
        }
        let cached = self.caches.empty();
        self.give_back(cached, work);
        self.tree.take(pages, end, work)
    }

    /// Gives back the `pages` pages (the number asked for) at `first`, to the caches of the calling CPU if they are
    /// few, else to the tree.
    pub fn free(&mut self, first: u64, pages: u64, call: Call, work: &mut DmaWork) {
        self.thin_out(call.now, work);
        let surplus = match cached_order(pages) {
            Some(order) => self.caches.put(order, call.cpu, first, call.now),
            None => Vec::from([first]),
        };
        self.give_back(surplus, work);
    }

    /// Lets the depot's worker do what it would have done by `now`.
    fn thin_out(&mut self, now: Picos, work: &mut DmaWork) {
        let freed = self.caches.thin_out(now);
        self.give_back(freed, work);
    }

    /// Moves what the caches of `cpu` hold to the tree; the CPU goes offline.
    pub fn cpu_offline(&mut self, cpu: u32, work: &mut DmaWork) {
        let freed = self.caches.cpu_offline(cpu);
        self.give_back(freed, work);
    }

    fn give_back(&mut self, ranges: Vec<u64>, work: &mut DmaWork) {
        for first in ranges {
            let existed = self.tree.give_back(first, work);
            assert!(existed, "the range at page {first:#x} was cached but not taken");
        }
    }

    /// The taken ranges (first and last page), lowest first: reserved, live and cached ones.
    pub fn taken(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.tree.ranges()
    }
}

/// Which cache keeps ranges of `pages` pages: log2, rounded up, if it is small enough.
fn cached_order(pages: u64) -> Option<usize> {
    let order = pages.checked_next_power_of_two()?.trailing_zeros();
    usize::try_from(order).ok().filter(|order| *order < ORDERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_up_to_128_kib_are_cached() {
        let orders = [1, 2, 3, 16, 17, 32, 33, 1 << 52].map(cached_order);
        assert_eq!(orders, [Some(0), Some(1), Some(2), Some(4), Some(5), Some(5), None, None]);
    }

    #[test]
    fn a_cached_range_is_reused_and_a_full_space_empties_the_caches() {
        let (tree, caches) = (IovaTree::new(1, 1 << 20, []), IovaCaches::new(1, None));
        let mut space = IovaSpace::new(tree, caches);
        let (call, mut work) = (Call::default(), DmaWork::default());
        let mut take =
            |space: &mut IovaSpace, pages, limit, flush| space.allocate(pages, limit, flush, call, &mut work);
        assert_eq!(take(&mut space, 3, 0xf, true), Some(0xc));
        space.free(0xc, 3, call, &mut DmaWork::default());
        assert_eq!(take(&mut space, 4, 0xf, true), Some(0xc));
        space.free(0xc, 4, call, &mut DmaWork::default());
        // Eight pages fit into 1..=15 only at 8, where the cached range is in the way.
        assert_eq!(take(&mut space, 8, 0xf, false), None);
        assert_eq!(take(&mut space, 8, 0xf, true), Some(8));
        assert_eq!(space.taken().collect::<Vec<_>>(), [(8, 15)]);
        assert_eq!((work.cache_hits, work.cache_misses), (1, 3));
    }
}
