//! [`FlushQueue`]: ranges unmapped from a domain but not yet free, because IOMMUs may still hold their translations.
//!
//! Each CPU has a ring of 256 entries, of which 255 can be used. A *flush* makes all IOMMUs forget the domain's
//! translations; entries queued before it are free after it. They leave a ring oldest first, and only when
//!
//! * the timer fires, which the first entry after its last firing started: it flushes and drains every ring;
//! * an entry finds its ring full: it flushes first;
//! * an entry finds older ones whose flush is done.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use peerbus_units::Picos;

use super::iova_space::Call;

/// Shape of a domain's rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushShape {
    /// Entries of a ring; one of them always stays free.
    pub entries: usize,
    /// A ring for each CPU; otherwise one for all.
    pub per_cpu: bool,
    /// How long an entry may wait.
    pub delay: Picos,
}

impl FlushShape {
    /// Where hardware walks the tables that the kernel writes.
    pub const ORDINARY: FlushShape = FlushShape { entries: 256, per_cpu: true, delay: Picos(10_000_000_000) };
    /// Where a hypervisor shadows the tables (s390) and each flush is expensive.
    pub const SHADOWED: FlushShape =
        FlushShape { entries: 32768, per_cpu: false, delay: Picos(1_000_000_000_000) };
}

/// The kernel's timer, as far as simulated time reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushTimer {
    /// It never fires: all calls happen within the delay, as in a burst.
    Never,
    /// It fires the delay, rounded up to ticks, after the tick in which it was started.
    Ticks {
        /// Length of a tick: 4 ms for a kernel with HZ=250. Zero counts as no rounding.
        tick: Picos,
    },
}

impl FlushTimer {
    fn due(self, now: Picos, delay: Picos) -> Option<Picos> {
        let FlushTimer::Ticks { tick } = self else { return None };
        let tick = tick.0.max(1);
        let ticks = (now.0 / tick).saturating_add(delay.0.div_ceil(tick));
        Some(Picos(ticks.saturating_mul(tick)))
    }
}

/// A range of pages: first page and number.
pub type Pages = (u64, u64);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    pages: Pages,
    /// Flushes done when it was queued.
    stamp: u64,
}

/// What a call let go: ranges that are free now, oldest first, and the flushes that took.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Drained {
    /// Free ranges.
    pub pages: Vec<Pages>,
    /// Flushes of the domain.
    pub flushes: u64,
}

/// The queue of one domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlushQueue {
    shape: FlushShape,
    timer: FlushTimer,
    rings: BTreeMap<u32, VecDeque<Entry>>,
    flushes: u64,
    /// When the timer fires, and the CPU on which it does.
    due: Option<Call>,
}

impl FlushQueue {
    /// An empty queue.
    pub fn new(shape: FlushShape, timer: FlushTimer) -> FlushQueue {
        FlushQueue { shape, timer, rings: BTreeMap::new(), flushes: 0, due: None }
    }

    /// When the timer will fire, and where; `None` while it is not running.
    pub fn due(&self) -> Option<Call> {
        self.due
    }

    /// Fires the timer if its time has come; what it frees is freed on the CPU named by [`FlushQueue::due`] before.
    pub fn fire(&mut self, now: Picos) -> Option<(Call, Drained)> {
        let due = self.due.filter(|due| due.now <= now)?;
        self.due = None;
        Some((due, self.flush_all()))
    }

    /// Flushes and drains every ring, the lowest CPU's first.
    pub fn flush_all(&mut self) -> Drained {
        self.flushes += 1;
        let rings = self.rings.values_mut();
        let pages = rings.flat_map(core::mem::take).map(|entry| entry.pages).collect();
        Drained { pages, flushes: 1 }
    }

    /// Queues `pages`; returns what became free on this occasion, never `pages` themselves.
    pub fn push(&mut self, pages: Pages, call: Call) -> Drained {
        let ring = self.rings.entry(if self.shape.per_cpu { call.cpu } else { 0 }).or_default();
        let mut drained = Drained::default();
        take_flushed(ring, self.flushes, &mut drained.pages);
        if ring.len() + 1 >= self.shape.entries.max(2) {
            self.flushes += 1;
            drained.flushes = 1;
            take_flushed(ring, self.flushes, &mut drained.pages);
        }
        ring.push_back(Entry { pages, stamp: self.flushes });
        if self.due.is_none() {
            self.due = self.timer.due(call.now, self.shape.delay).map(|now| Call { now, ..call });
        }
        drained
    }

    /// Entries waiting, of all CPUs.
    pub fn len(&self) -> usize {
        self.rings.values().map(VecDeque::len).sum()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn take_flushed(ring: &mut VecDeque<Entry>, flushes: u64, freed: &mut Vec<Pages>) {
    while let Some(entry) = ring.front().filter(|entry| entry.stamp < flushes) {
        freed.push(entry.pages);
        ring.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64, cpu: u32) -> Call {
        Call { now: Picos(millis * 1_000_000_000), cpu }
    }

    #[test]
    fn the_256th_entry_drains_the_ring() {
        let mut queue = FlushQueue::new(FlushShape::ORDINARY, FlushTimer::Never);
        for page in 0..255 {
            assert_eq!(queue.push((page, 1), at(0, 0)), Drained::default());
        }
        let drained = queue.push((255, 1), at(0, 0));
        assert_eq!(drained.pages, (0..255).map(|page| (page, 1)).collect::<Vec<_>>());
        assert_eq!((drained.flushes, queue.len(), queue.due()), (1, 1, None));
    }

    #[test]
    fn a_flush_by_one_cpu_frees_the_older_entries_of_another() {
        let mut queue = FlushQueue::new(FlushShape::ORDINARY, FlushTimer::Never);
        queue.push((7, 2), at(0, 1));
        (0..256).for_each(|page| drop(queue.push((page, 1), at(0, 0))));
        queue.push((8, 1), at(0, 2));
        assert_eq!(queue.push((9, 4), at(0, 1)).pages, [(7, 2)]);
        // Queued after the flush: not free yet.
        assert_eq!(queue.push((10, 1), at(0, 2)).pages, []);
        let mut shared = FlushQueue::new(FlushShape::SHADOWED, FlushTimer::Never);
        for cpu in 0..32767 {
            assert_eq!(shared.push((0, 1), at(0, cpu)), Drained::default());
        }
        assert_eq!(shared.push((0, 1), at(0, 9)).pages.len(), 32767);
    }

    #[test]
    fn the_timer_fires_whole_ticks_after_the_first_entry() {
        let tick = Picos(4_000_000_000);
        let mut queue = FlushQueue::new(FlushShape::ORDINARY, FlushTimer::Ticks { tick });
        queue.push((1, 1), at(5, 3));
        queue.push((2, 1), at(9, 0));
        assert_eq!(queue.due(), Some(at(16, 3)), "tick 1 and three ticks for 10 ms");
        assert_eq!(queue.fire(at(15, 0).now), None);
        let (call, drained) = queue.fire(at(40, 0).now).unwrap();
        assert_eq!((call, drained.pages), (at(16, 3), Vec::from([(2, 1), (1, 1)])));
        assert_eq!((queue.fire(at(50, 0).now), queue.due(), queue.is_empty()), (None, None, true));
    }
}
