//! A device touches a page that its table does not have.

use alloc::vec::Vec;

use super::home::HomeComing;
use super::moving::Moving;
use super::policy::ATOMIC_TRIES;
use super::{Driver, Part, Work, own_pages};
use crate::hmm::{Flags, Range, RangeFault, Step};
use crate::migrate::{self, Refusal, Request};
use crate::mm::frame::Place;
use crate::mm::{Errno, Mm, SpaceId, Vpn, Wait};
use crate::notifier::{DeviceEntry, Tag, WatchId};
use crate::test_device::{Way, enter_moved};
use peerbus_units::Picos;

/// What a device wants with a page.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DeviceAccess {
    /// It writes.
    pub write: bool,
    /// The page's block is to come to the device; else it is entered where it is.
    pub migrates: bool,
    /// It reads and writes at once, which some devices can do in their own memory only ([`super::Policy::time_slice`]).
    pub atomic: bool,
}

/// What came of a fault.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Served {
    /// Pages that moved to the device.
    pub moved: u64,
    /// Pages that were brought home to make room.
    pub evicted: u64,
    /// Pages that did not move, with the reason of each kind and how many.
    pub refused: Vec<(Refusal, u64)>,
    /// The block stayed because some of it could not move.
    pub stayed_whole: bool,
    /// Times that pages changed meanwhile, and the walk began again.
    pub retries: u64,
    /// Times that an atomic access was tried again because its page was not on the device.
    pub atomic_retries: u32,
    /// Why the device has no page after all.
    pub error: Option<Errno>,
}

/// What is under way.
#[derive(Clone, Debug)]
enum Stage {
    MakeRoom,
    Evicting(HomeComing),
    Collect,
    Moving(Moving),
    /// Whatever could come has come.
    Moved,
    Watch,
    Walking(RangeFault, WatchId, u64),
    Store(RangeFault, WatchId, u64),
    End,
}

/// The answer to a device's fault: moves the block around the page to the device if it should, then enters it into its table.
#[derive(Clone, Debug)]
pub struct DeviceFault {
    space: SpaceId,
    from: Vpn,
    to: Vpn,
    page: Vpn,
    access: DeviceAccess,
    stage: Stage,
    served: Served,
}

impl DeviceFault {
    /// A fault at `page`.
    ///
    /// # Errors
    ///
    /// `Fault`: nothing is mapped there, or not for writing.
    pub fn new(
        mm: &Mm,
        driver: &Driver,
        space: SpaceId,
        page: Vpn,
        access: DeviceAccess,
    ) -> Result<DeviceFault, Errno> {
        let allowed = |write: bool| !(access.write || access.atomic) || write;
        let vma = mm.vma(space, page).filter(|vma| vma.read && allowed(vma.write)).ok_or(Errno::Fault)?;
        let policy = &driver.policy;
        let there = |page: Vpn| mm.page_behind(space, page).is_some();
        let fits = |pages: u64| {
            let from = page / pages * pages;
            let to = from + pages;
            let smallest = policy.blocks.last() == Some(&pages);
            let taken = pages > policy.checked || smallest || (from..to).all(there);
            let apart = smallest || !driver.overlaps(space, from, to);
            (vma.start <= from && to <= vma.end && taken && apart).then_some((from, to))
        };
        let block = policy.blocks.iter().find_map(|pages| fits(*pages));
        let whole = policy.blocks.first().copied().unwrap_or(1);
        // Where no block lies in the mapping, the largest as far as the mapping goes.
        let first = page / whole * whole;
        let (from, to) = block.unwrap_or((first.max(vma.start), (first + whole).min(vma.end)));
        let stage = if access.migrates { Stage::MakeRoom } else { Stage::Watch };
        Ok(DeviceFault { space, from, to, page, access, stage, served: Served::default() })
    }

    /// The pages of its block.
    pub fn block(&self) -> (Vpn, Vpn) {
        (self.from, self.to)
    }

    /// Goes on.
    pub fn go_on(&mut self, mm: &mut Mm, driver: &mut Driver) -> Work<Served> {
        loop {
            let stage = core::mem::replace(&mut self.stage, Stage::End);
            let (next, work) = self.stage(mm, driver, stage);
            self.stage = next;
            if let Some(work) = work {
                return work;
            }
        }
    }

    fn stage(&mut self, mm: &mut Mm, driver: &mut Driver, stage: Stage) -> (Stage, Option<Work<Served>>) {
        match stage {
            Stage::MakeRoom => (self.make_room(mm, driver), None),
            Stage::Moved => (self.after_moving(mm, driver), None),
            Stage::Evicting(mut home) => match home.go_on(mm) {
                Work::Done(pages) => {
                    self.served.evicted += pages;
                    (Stage::MakeRoom, None)
                }
                Work::Kernel(part, pieces) => (Stage::Evicting(home), Some(Work::Kernel(part, pieces))),
                Work::Copy(pieces) => (Stage::Evicting(home), Some(Work::Copy(pieces))),
                Work::Wait(wait) => (Stage::Evicting(home), Some(Work::Wait(wait))),
            },
            Stage::Collect => self.collect(mm, driver),
            Stage::Moving(mut moving) => match moving.go_on(mm) {
                Work::Done(()) => {
                    self.moved(mm, driver, &moving);
                    (Stage::Moved, None)
                }
                Work::Kernel(part, pieces) => (Stage::Moving(moving), Some(Work::Kernel(part, pieces))),
                Work::Copy(pieces) => (Stage::Moving(moving), Some(Work::Copy(pieces))),
                Work::Wait(wait) => (Stage::Moving(moving), Some(Work::Wait(wait))),
            },
            Stage::Watch => self.watch(mm, driver),
            Stage::Walking(fault, watch, sequence) => self.walk(mm, fault, watch, sequence),
            Stage::Store(fault, watch, sequence) => self.store(mm, driver, &fault, watch, sequence),
            Stage::End => (Stage::End, Some(Work::Done(self.served.clone()))),
        }
    }

    /// Whether a page is on the device.
    fn is_own(&self, mm: &Mm, driver: &Driver, page: Vpn) -> bool {
        mm.page_behind(self.space, page).is_some_and(|pfn| {
            let own = [Place::Private(driver.device), Place::Coherent(driver.device)];
            mm.frames.is_used(pfn) && own.contains(&mm.frames.place(pfn))
        })
    }

    /// Pages of the block that are not on the device yet.
    fn missing(&self, mm: &Mm, driver: &Driver) -> u64 {
        (self.from..self.to).filter(|page| !self.is_own(mm, driver, *page)).count() as u64
    }

    /// The device can do without its page, or has it: its table is next. Otherwise everything is tried again.
    fn after_moving(&mut self, mm: &Mm, driver: &Driver) -> Stage {
        let needs = self.access.atomic && driver.policy.time_slice > Picos::ZERO;
        if !needs || self.is_own(mm, driver, self.page) {
            return Stage::Watch;
        }
        self.served.atomic_retries += 1;
        if self.served.atomic_retries < ATOMIC_TRIES {
            return Stage::MakeRoom;
        }
        self.served.error = Some(Errno::Busy);
        Stage::End
    }

    /// How long the block stays that comes now.
    fn time_slice(&self, driver: &Driver) -> Option<Picos> {
        let slice = driver.policy.time_slice.0 << self.served.atomic_retries.min(ATOMIC_TRIES);
        (self.access.atomic && slice > 0).then_some(Picos(slice))
    }

    fn make_room(&mut self, mm: &mut Mm, driver: &mut Driver) -> Stage {
        let missing = self.missing(mm, driver);
        if missing == 0 {
            return Stage::Watch;
        }
        if driver.room(mm) >= missing {
            return Stage::Collect;
        }
        match driver.victim(mm, (self.space, self.from)) {
            Some(pages) => Stage::Evicting(HomeComing::evict(mm, driver.device, &pages)),
            // Nothing left to evict: what fits moves.
            None => Stage::Collect,
        }
    }

    fn collect(&mut self, mm: &mut Mm, driver: &Driver) -> (Stage, Option<Work<Served>>) {
        if !mm.lock_mappings(self.space) {
            return (Stage::Collect, Some(Work::Wait(Wait::MapLock)));
        }
        let request = Request {
            space: self.space,
            from: self.from,
            to: self.to,
            by: driver.device,
            select: driver.policy.select,
            fault_page: None,
        };
        let Ok(mut migration) = migrate::setup(mm, &request) else {
            mm.unlock_mappings(self.space);
            return (Stage::Moved, Some(Work::Kernel(Part::Collect, 0)));
        };
        if driver.policy.all_or_nothing && pages_of(&migration) < self.to - self.from {
            self.served.stayed_whole = true;
            self.note_refusals(&migration);
            let pieces = migration.src.iter().filter(|word| word.moves()).count() as u64;
            migrate::unmap(mm, &mut migration);
            migrate::finalize(mm, &mut migration);
            mm.unlock_mappings(self.space);
            return (Stage::Moved, Some(Work::Kernel(Part::Collect, pieces)));
        }
        (Stage::Moving(Moving::collected(migration, Way::ToDevice)), None)
    }

    fn moved(&mut self, mm: &mut Mm, driver: &mut Driver, moving: &Moving) {
        if let Some(mirror) = driver.mirror(self.space) {
            enter_moved(mm, mirror, &moving.migration);
        }
        mm.unlock_mappings(self.space);
        let migration = &moving.migration;
        let moved =
            migration.src.iter().zip(&migration.dst).filter(|(src, dst)| src.moves() && dst.is_valid());
        self.served.moved += moved.map(|(src, _)| if src.is_compound() { 512 } else { 1 }).sum::<u64>();
        self.note_refusals(migration);
        let until = self.time_slice(driver).map(|slice| Picos(mm.now.0.saturating_add(slice.0)));
        for head in own_pages(mm, driver.device, self.space, self.from, self.to) {
            if let Some(memory) = mm.devices.get_mut(&driver.device) {
                memory.keep_until(head, until);
            }
        }
        driver.arrived(self.space, self.from, self.to);
    }

    fn note_refusals(&mut self, migration: &migrate::Migration) {
        for why in migration.refusals.values() {
            match self.served.refused.iter_mut().find(|(known, _)| known == why) {
                Some((_, count)) => *count += 1,
                None => self.served.refused.push((*why, 1)),
            }
        }
    }

    fn watch(&mut self, mm: &mut Mm, driver: &Driver) -> (Stage, Option<Work<Served>>) {
        let watch = mm.mirrors.watch(self.space, self.from, self.to);
        let Some(sequence) = mm.mirrors.read_begin(watch) else {
            mm.mirrors.unwatch(watch);
            return (Stage::Watch, Some(Work::Wait(Wait::Invalidation)));
        };
        if !mm.lock_mappings(self.space) {
            mm.mirrors.unwatch(watch);
            return (Stage::Watch, Some(Work::Wait(Wait::MapLock)));
        }
        let flags = if self.access.write || self.access.atomic { Flags::WRITE_FAULT } else { Flags::FAULT };
        let owner = mm.devices.get(&driver.device).map(|memory| memory.owner());
        let mut range = Range::new(self.space, self.from, self.to - self.from, flags, owner);
        range.takes_peer_pages = mm.devices.get(&driver.device).is_some_and(|memory| memory.takes_peer_pages);
        range.watch = Some((watch, sequence));
        (Stage::Walking(RangeFault::new(range), watch, sequence), None)
    }

    fn walk(
        &mut self,
        mm: &mut Mm,
        mut fault: RangeFault,
        watch: WatchId,
        sequence: u64,
    ) -> (Stage, Option<Work<Served>>) {
        loop {
            match fault.step(mm) {
                Step::Go => {}
                Step::Wait(wait) => {
                    return (Stage::Walking(fault, watch, sequence), Some(Work::Wait(wait)));
                }
                Step::Done(Ok(())) => {
                    let work = Work::Kernel(Part::Walk, runs_of(mm, &fault));
                    return (Stage::Store(fault, watch, sequence), Some(work));
                }
                Step::Done(Err(error)) => {
                    mm.mirrors.unwatch(watch);
                    mm.unlock_mappings(self.space);
                    if error == Errno::Busy {
                        self.served.retries += 1;
                        return (Stage::Watch, Some(Work::Wait(Wait::Invalidation)));
                    }
                    self.served.error = Some(error);
                    return (Stage::End, None);
                }
            }
        }
    }

    fn store(
        &mut self,
        mm: &mut Mm,
        driver: &Driver,
        fault: &RangeFault,
        watch: WatchId,
        sequence: u64,
    ) -> (Stage, Option<Work<Served>>) {
        let stale = mm.mirrors.read_retry(watch, sequence);
        mm.mirrors.unwatch(watch);
        mm.unlock_mappings(self.space);
        if stale {
            self.served.retries += 1;
            return (Stage::Watch, None);
        }
        let layout = mm.hmm_words();
        let runs = runs_of(mm, fault);
        if let Some(found) = driver.mirror(self.space).and_then(|mirror| mm.mirrors.get_mut(mirror)) {
            for (page, word) in
                (fault.range.from..).zip(&fault.range.words).filter(|(_, word)| word.is_valid())
            {
                let tag = if word.is_writable() { Tag::Write } else { Tag::Read };
                found.table.insert(page, DeviceEntry { pfn: word.pfn(layout), tag });
            }
        }
        (Stage::End, Some(Work::Kernel(Part::Bind, runs)))
    }
}

/// Pages that a migration has collected.
fn pages_of(migration: &migrate::Migration) -> u64 {
    let moving = migration.src.iter().filter(|word| word.moves());
    moving.map(|word| if word.is_compound() { 512 } else { 1 }).sum()
}

/// Entries that a walk found: one for a huge mapping, else one per page.
fn runs_of(mm: &Mm, fault: &RangeFault) -> u64 {
    let layout = mm.hmm_words();
    let huge =
        fault.range.words.iter().filter(|word| word.is_valid() && word.order(layout) >= 9).count() as u64;
    fault.range.words.len() as u64 - huge + huge.div_ceil(512)
}
