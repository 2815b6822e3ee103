//! What devices know of address spaces, and how they are told to forget it.
//!
//! A [`Mirror`] is one device's copy of a part of a page table. Every change of an entry that a device may have
//! copied is announced as an [`Event`] for a range; the mirror drops its entries there, except that a device
//! ignores the migrations it does itself. A watched interval has a sequence number: odd while an invalidation
//! that overlaps it runs, raised by each. A device that copies entries reads the number first and starts over when
//! it changed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::Pfn;

use crate::mm::{DeviceId, SpaceId, Vpn};

/// Why entries go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A mapping is removed.
    Unmap,
    /// Entries are cleared or replaced.
    Clear,
    /// Permissions change.
    Protect,
    /// Pages migrate on behalf of this device.
    Migrate(DeviceId),
    /// A page becomes a device's own, or stops being so.
    Exclusive,
}

/// What a device may do with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    /// Read.
    Read,
    /// Read and write.
    Write,
    /// Use it atomically: nobody else has it mapped.
    Atomic,
}

/// An entry of a device's page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceEntry {
    /// The page.
    pub pfn: Pfn,
    /// What is allowed.
    pub tag: Tag,
}

/// One device's copy of one address space.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Of which space.
    pub space: SpaceId,
    /// Which device.
    pub device: DeviceId,
    /// How many pages beyond an invalidated range the driver drops too.
    pub drops_beyond: u64,
    /// Its entries.
    pub table: BTreeMap<Vpn, DeviceEntry>,
}

/// A mirror's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MirrorId(pub u32);

/// A watched interval's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WatchId(pub u64);

#[derive(Clone, Debug)]
struct Watch {
    space: SpaceId,
    from: Vpn,
    to: Vpn,
    sequence: u64,
    running: u32,
}

/// All mirrors and watched intervals.
#[derive(Clone, Default, Debug)]
pub struct Mirrors {
    mirrors: BTreeMap<MirrorId, Mirror>,
    watches: BTreeMap<WatchId, Watch>,
    /// Invalidations that run: who watches from now on has to wait for them too.
    running: Vec<(SpaceId, Vpn, Vpn)>,
    fresh_mirror: u32,
    fresh_watch: u64,
}

impl Mirrors {
    /// A device starts to follow an address space.
    pub fn open(&mut self, space: SpaceId, device: DeviceId, drops_beyond: u64) -> MirrorId {
        let id = MirrorId(self.fresh_mirror);
        self.fresh_mirror += 1;
        self.mirrors.insert(id, Mirror { space, device, drops_beyond, table: BTreeMap::new() });
        id
    }

    /// It stops.
    pub fn close(&mut self, id: MirrorId) {
        self.mirrors.remove(&id);
    }

    /// All mirrors of a device stop.
    pub fn close_all(&mut self, device: DeviceId) {
        self.mirrors.retain(|_, mirror| mirror.device != device);
    }

    /// One mirror.
    pub fn get(&self, id: MirrorId) -> Option<&Mirror> {
        self.mirrors.get(&id)
    }

    /// One mirror, to change.
    pub fn get_mut(&mut self, id: MirrorId) -> Option<&mut Mirror> {
        self.mirrors.get_mut(&id)
    }

    /// All mirrors.
    pub fn iter(&self) -> impl Iterator<Item = (MirrorId, &Mirror)> {
        self.mirrors.iter().map(|(id, mirror)| (*id, mirror))
    }

    /// A device forgets its entries of `from..to` in all its mirrors of a space.
    pub fn forget(&mut self, space: SpaceId, device: DeviceId, from: Vpn, to: Vpn) {
        let mine = |mirror: &&mut Mirror| mirror.space == space && mirror.device == device;
        for mirror in self.mirrors.values_mut().filter(mine) {
            let gone: Vec<Vpn> = mirror.table.range(from..to).map(|(page, _)| *page).collect();
            for page in gone {
                mirror.table.remove(&page);
            }
        }
    }

    /// Watches pages `from..to` of a space.
    pub fn watch(&mut self, space: SpaceId, from: Vpn, to: Vpn) -> WatchId {
        let id = WatchId(self.fresh_watch);
        self.fresh_watch += 1;
        let affects = |one: &&(SpaceId, Vpn, Vpn)| one.0 == space && one.1 < to && from < one.2;
        let running = u32::try_from(self.running.iter().filter(affects).count()).expect("they are few");
        self.watches.insert(id, Watch { space, from, to, sequence: u64::from(running > 0), running });
        id
    }

    /// Stops watching.
    pub fn unwatch(&mut self, id: WatchId) {
        self.watches.remove(&id);
    }

    /// The sequence number to copy entries by; `None` while an invalidation runs, for which the caller waits.
    pub fn read_begin(&self, id: WatchId) -> Option<u64> {
        self.watches.get(&id).filter(|watch| watch.running == 0).map(|watch| watch.sequence)
    }

    /// Whether what was copied since `read_begin` may be stale.
    pub fn read_retry(&self, id: WatchId, sequence: u64) -> bool {
        self.watches.get(&id).is_none_or(|watch| watch.running > 0 || watch.sequence != sequence)
    }

    /// An invalidation of `from..to` starts: entries go, watched intervals that overlap turn odd.
    pub fn begin(&mut self, space: SpaceId, from: Vpn, to: Vpn, event: Event) {
        for mirror in self.mirrors.values_mut().filter(|mirror| mirror.space == space) {
            if event == Event::Migrate(mirror.device) {
                continue;
            }
            let gone: Vec<Vpn> = mirror
                .table
                .range(from..to.saturating_add(mirror.drops_beyond))
                .map(|(page, _)| *page)
                .collect();
            for page in gone {
                mirror.table.remove(&page);
            }
        }
        self.running.push((space, from, to));
        for watch in self.overlapping(space, from, to) {
            watch.running += 1;
            watch.sequence += watch.sequence % 2 + 1;
        }
    }

    /// It ends.
    pub fn end(&mut self, space: SpaceId, from: Vpn, to: Vpn) {
        let ended = self.running.iter().position(|one| *one == (space, from, to));
        self.running.swap_remove(ended.expect("an invalidation that ends was started"));
        for watch in self.overlapping(space, from, to).filter(|watch| watch.running > 0) {
            watch.running -= 1;
            if watch.running == 0 {
                watch.sequence += watch.sequence % 2;
            }
        }
    }

    /// One that starts and ends without a pause.
    pub fn invalidate(&mut self, space: SpaceId, from: Vpn, to: Vpn, event: Event) {
        self.begin(space, from, to, event);
        self.end(space, from, to);
    }

    fn overlapping(&mut self, space: SpaceId, from: Vpn, to: Vpn) -> impl Iterator<Item = &mut Watch> {
        self.watches
            .values_mut()
            .filter(move |watch| watch.space == space && watch.from < to && from < watch.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_odd_while_an_invalidation_runs() {
        let mut mirrors = Mirrors::default();
        let space = SpaceId(0);
        let watch = mirrors.watch(space, 10, 20);
        let first = mirrors.read_begin(watch).unwrap();
        mirrors.invalidate(space, 0, 10, Event::Unmap);
        assert!(!mirrors.read_retry(watch, first), "an invalidation beside the interval does not count");
        mirrors.begin(space, 19, 30, Event::Unmap);
        assert_eq!(mirrors.read_begin(watch), None);
        mirrors.begin(space, 10, 11, Event::Clear);
        mirrors.end(space, 19, 30);
        assert_eq!(mirrors.read_begin(watch), None, "another one still runs");
        mirrors.end(space, 10, 11);
        assert_eq!(mirrors.read_begin(watch).map(|sequence| sequence % 2), Some(0));
        assert!(mirrors.read_retry(watch, first));
    }

    #[test]
    fn who_watches_during_an_invalidation_waits_for_its_end() {
        let mut mirrors = Mirrors::default();
        let space = SpaceId(0);
        mirrors.begin(space, 10, 20, Event::Clear);
        let (inside, beside) = (mirrors.watch(space, 19, 30), mirrors.watch(space, 20, 30));
        let other = mirrors.watch(SpaceId(1), 10, 20);
        assert_eq!(mirrors.read_begin(inside), None);
        assert!(mirrors.read_begin(beside).is_some() && mirrors.read_begin(other).is_some());
        mirrors.end(space, 10, 20);
        let sequence = mirrors.read_begin(inside).unwrap();
        assert!(sequence % 2 == 0 && !mirrors.read_retry(inside, sequence));
    }

    #[test]
    fn a_device_ignores_its_own_migrations() {
        let mut mirrors = Mirrors::default();
        let (mine, other) =
            (mirrors.open(SpaceId(0), DeviceId(0), 0), mirrors.open(SpaceId(0), DeviceId(1), 0));
        for id in [mine, other] {
            let entry = DeviceEntry { pfn: Pfn(1), tag: Tag::Read };
            mirrors.get_mut(id).unwrap().table.insert(5, entry);
        }
        mirrors.invalidate(SpaceId(0), 0, 9, Event::Migrate(DeviceId(0)));
        assert_eq!(mirrors.get(mine).unwrap().table.len(), 1);
        assert_eq!(mirrors.get(other).unwrap().table.len(), 0);
    }
}
