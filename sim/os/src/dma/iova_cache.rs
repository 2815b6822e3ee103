//! [`IovaCaches`]: freed ranges of up to 32 pages, kept for the next request of their size.
//!
//! Per size (a power of two) each CPU has two magazines of 127 places, the loaded one and the previous one; full
//! magazines go to a common depot. A cached range stays taken in the tree: to everyone else it is in use. The order
//! is last in, first out, except that a place above the request's limit is passed over.
//!
//! Where the depot has no limit, a worker comes 100 ms after a magazine was put there, and takes one out for every
//! 100 ms while there are more of them than CPUs.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;

use peerbus_units::Picos;

/// Places in a magazine.
pub const MAGAZINE: usize = 127;

/// Sizes that are cached: 1, 2, 4, 8, 16 and 32 pages.
pub const ORDERS: usize = 6;

/// Time between visits of the depot's worker.
pub const WORKER_PERIOD: Picos = Picos(100_000_000_000);

type Magazine = Vec<u64>;

#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct CpuMagazines {
    loaded: Magazine,
    previous: Magazine,
}

/// One size.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct SizeCache {
    cpus: BTreeMap<u32, CpuMagazines>,
    depot: Vec<Magazine>,
    /// When the worker comes next.
    worker: Option<Picos>,
}

/// Freed ranges by size and CPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IovaCaches {
    sizes: [SizeCache; ORDERS],
    cpus: usize,
    depot_limit: Option<usize>,
}

impl IovaCaches {
    /// Empty caches of a machine with `cpus` CPUs online.
    pub fn new(cpus: usize, depot_limit: Option<usize>) -> IovaCaches {
        IovaCaches { sizes: Default::default(), cpus, depot_limit }
    }

    /// A range of 2^`order` pages that starts at `highest` or below.
    pub fn get(&mut self, order: usize, cpu: u32, highest: u64) -> Option<u64> {
        let size = self.sizes.get_mut(order)?;
        let own = size.cpus.entry(cpu).or_default();
        if own.loaded.is_empty() {
            if !own.previous.is_empty() {
                mem::swap(&mut own.loaded, &mut own.previous);
            } else {
                own.loaded = size.depot.pop()?;
            }
        }
        let index = own.loaded.iter().rposition(|first| *first <= highest)?;
        Some(own.loaded.swap_remove(index))
    }

    /// Keeps the range of 2^`order` pages at `first`. Returns ranges that must go to the tree instead: those of a
    /// magazine for which a limited depot had no room, or `first` itself if its size is not cached.
    pub fn put(&mut self, order: usize, cpu: u32, first: u64, now: Picos) -> Vec<u64> {
        let Some(size) = self.sizes.get_mut(order) else { return Vec::from([first]) };
        let own = size.cpus.entry(cpu).or_default();
        let mut surplus = Vec::new();
        if own.loaded.len() == MAGAZINE {
            if own.previous.len() < MAGAZINE {
                mem::swap(&mut own.loaded, &mut own.previous);
            } else {
                let full = mem::take(&mut own.loaded);
                match self.depot_limit {
                    Some(limit) if size.depot.len() >= limit => surplus = full,
                    Some(_) => size.depot.push(full),
                    None => {
                        size.depot.push(full);
                        size.worker.get_or_insert(Picos(now.0.saturating_add(WORKER_PERIOD.0)));
                    }
                }
            }
        }
        own.loaded.push(first);
        surplus
    }

    /// Everything the worker has taken out of the depots by `now`.
    pub fn thin_out(&mut self, now: Picos) -> Vec<u64> {
        let mut freed = Vec::new();
        for size in &mut self.sizes {
            while let Some(due) = size.worker.filter(|due| *due <= now) {
                size.worker = None;
                if size.depot.len() > self.cpus {
                    freed.extend(size.depot.pop().into_iter().flatten());
                    size.worker = Some(Picos(due.0.saturating_add(WORKER_PERIOD.0)));
                }
            }
        }
        freed
    }

    /// Empties the magazines of a CPU that goes offline.
    pub fn cpu_offline(&mut self, cpu: u32) -> Vec<u64> {
        self.cpus = self.cpus.saturating_sub(1);
        let magazines = self.sizes.iter_mut().filter_map(|size| size.cpus.remove(&cpu));
        magazines.flat_map(|own| own.loaded.into_iter().chain(own.previous)).collect()
    }

    /// Empties all magazines, those of the depots last.
    pub fn empty(&mut self) -> Vec<u64> {
        let mut freed = Vec::new();
        for size in &mut self.sizes {
            let magazines = mem::take(&mut size.cpus).into_values();
            freed.extend(magazines.flat_map(|own| own.loaded.into_iter().chain(own.previous)));
        }
        freed.extend(self.sizes.iter_mut().flat_map(|size| mem::take(&mut size.depot)).flatten());
        freed
    }

    /// Number of ranges kept.
    pub fn len(&self) -> usize {
        let magazines = self.sizes.iter().flat_map(|size| {
            size.cpus.values().flat_map(|own| [own.loaded.len(), own.previous.len()]).chain(
                // A depot's magazines are full.
                size.depot.iter().map(Vec::len),
            )
        });
        magazines.sum()
    }

    /// True when nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Picos = Picos(0);

    fn filled(count: u64, depot_limit: Option<usize>) -> IovaCaches {
        let mut caches = IovaCaches::new(1, depot_limit);
        for first in 0..count {
            assert!(caches.put(0, 0, first, NOW).is_empty());
        }
        caches
    }

    #[test]
    fn magazines_are_emptied_from_their_ends_the_depot_last() {
        // Three full magazines: the newest loaded, the oldest previous, the one between in the depot.
        let mut caches = filled(3 * 127, None);
        let order: Vec<_> = (0..3 * 127).map(|_| caches.get(0, 0, u64::MAX).unwrap()).collect();
        let mut expect: Vec<u64> = (254..381).rev().collect();
        expect.extend((0..127).rev());
        expect.extend((127..254).rev());
        assert_eq!((order, caches.get(0, 0, u64::MAX)), (expect, None));
    }

    #[test]
    fn places_above_the_limit_are_passed_over() {
        let mut caches = filled(5, None);
        assert_eq!(caches.get(0, 0, 1), Some(1));
        // The hole was filled with the last place.
        assert_eq!([3, 3, 3, 3].map(|limit| caches.get(0, 0, limit)), [Some(3), Some(2), Some(0), None]);
        assert_eq!(caches.len(), 1);
        assert_eq!((caches.get(0, 1, 9), caches.get(1, 0, 9), caches.get(9, 0, 9)), (None, None, None));
    }

    #[test]
    fn a_limited_depot_overflows_into_the_tree() {
        let mut caches = filled(4 * 127, Some(2));
        assert_eq!(caches.put(0, 0, 1000, NOW), (3 * 127..4 * 127).collect::<Vec<_>>());
        assert_eq!(caches.len(), 3 * 127 + 1);
        assert_eq!(caches.put(ORDERS, 0, 7, NOW), [7]);
    }

    #[test]
    fn the_worker_leaves_as_many_magazines_as_there_are_cpus() {
        let mut caches = filled(6 * 127, None);
        let at = |periods: u64| Picos(WORKER_PERIOD.0 * periods);
        assert!(caches.thin_out(at(1) - Picos(1)).is_empty());
        assert_eq!(caches.thin_out(at(1)).len(), 127);
        assert!(caches.thin_out(at(1)).is_empty());
        assert_eq!(caches.thin_out(at(9)).len(), 2 * 127);
        assert_eq!(caches.len(), 3 * 127);
        assert_eq!(caches.cpu_offline(0).len(), 2 * 127);
        assert_eq!(caches.empty().len(), 127);
        assert!(caches.is_empty());
    }
}
