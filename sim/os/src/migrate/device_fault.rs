//! A CPU touches a private page: its driver brings it back.
//!
//! The work is done at once, or left to the caller as a [`BringBack`] when [`Mm::defer_driver_work`] was asked for:
//! others then run wherever a driver could sleep, as they do in a kernel while it copies.

use peerbus_units::Pfn;

use super::{Migration, Request, Selectors};
use crate::mm::frame::{At, HUGE, Place};
use crate::mm::{DeviceId, Fault, FaultError, Mm, SpaceId, Vpn, Wait};
use crate::test_device::{Granule, Phase, Way};

/// A private page on its way back to system memory.
#[derive(Clone, Debug)]
pub struct BringBack {
    number: u64,
    space: SpaceId,
    pfn: Pfn,
    locks: bool,
    migration: Migration,
    phase: Phase,
    moved: bool,
}

impl BringBack {
    /// Where it is.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// What it moves.
    pub(crate) fn migration(&self) -> &Migration {
        &self.migration
    }

    /// Pages and huge folios that may still move.
    pub(crate) fn pieces(&self) -> u64 {
        self.migration.src.iter().filter(|word| word.moves()).count() as u64
    }

    /// Goes on to the next point where the driver could sleep; true when it is over.
    pub fn step(&mut self, mm: &mut Mm) -> bool {
        let handed_over = self.phase == Phase::Pages;
        let next = self.phase.step(mm, &mut self.migration, Way::ToSystem);
        if handed_over {
            self.moved = self.migration.moved() > 0;
        }
        let Some(next) = next else {
            if self.locks {
                mm.frames.unlock(self.pfn);
            }
            mm.put(self.pfn);
            mm.unlock_mappings(self.space);
            return true;
        };
        self.phase = next;
        false
    }
}

/// Answers a fault at `at` on the private page `pfn`: alone if a small entry led to it, with its whole folio if a
/// huge one did.
///
/// # Errors
///
/// `Bus` if the driver could not bring it back.
pub fn to_ram(mm: &mut Mm, at: At, pfn: Pfn) -> Result<Fault, FaultError> {
    let Place::Private(device) = mm.frames.place(pfn) else { return Err(FaultError::Bus) };
    let head = mm.frames.head(pfn);
    let stays = mm.devices.get(&device).and_then(|memory| memory.stays_until(head));
    if let Some(until) = stays.filter(|until| mm.now < *until) {
        return Ok(Fault::Wait(Wait::TimeSlice(until)));
    }
    let locks = mm.rules.private_fault_locks;
    let free = if locks { mm.frames.try_lock(pfn) } else { !mm.frames.locked(pfn) };
    if !free {
        return Ok(Fault::Wait(Wait::PageLock(pfn)));
    }
    mm.frames.get(pfn);
    let (from, to) = brought_back(mm, at, device);
    let compound = to - from >= HUGE;
    let request = Request {
        space: at.space,
        from,
        to,
        by: device,
        select: Selectors { system: false, private: true, coherent: false, compound },
        fault_page: Some(pfn),
    };
    let Ok(migration) = super::setup(mm, &request) else {
        if locks {
            mm.frames.unlock(pfn);
        }
        mm.put(pfn);
        return Err(FaultError::Bus);
    };
    assert!(mm.lock_mappings(at.space), "no mapping changes while a fault is handled");
    let number = mm.fresh_job();
    let mut job =
        BringBack { number, space: at.space, pfn, locks, migration, phase: Phase::START, moved: false };
    if mm.driver_work_deferred() {
        mm.jobs.push(job);
        return Ok(Fault::Wait(Wait::Driver));
    }
    while !job.step(mm) {}
    if job.moved { Ok(Fault::Done) } else { Err(FaultError::Bus) }
}

/// The pages that the driver of `device` brings home for one at `at`.
fn brought_back(mm: &Mm, at: At, device: DeviceId) -> (Vpn, Vpn) {
    let slot = at.page / HUGE * HUGE;
    let folio = match mm.space(at.space).table.huge(at.page) {
        Some(_) => (slot, slot + HUGE),
        None => (at.page, at.page + 1),
    };
    let granule = mm.devices.get(&device).map_or(Granule::Folio, |memory| memory.brings_back);
    match (granule, mm.vma(at.space, at.page)) {
        (Granule::Aligned(pages), Some(vma)) => {
            let first = at.page / pages * pages;
            (first.max(vma.start).min(folio.0), (first + pages).min(vma.end).max(folio.1))
        }
        _ => folio,
    }
}

impl Mm {
    /// Whether drivers' answers to CPU faults are left to the caller, who then calls [`Mm::step_driver_work`].
    pub fn defer_driver_work(&mut self, on: bool) {
        self.defers = on;
    }

    fn driver_work_deferred(&self) -> bool {
        self.defers
    }

    /// Number of answers to CPU faults under way.
    pub fn driver_work(&self) -> usize {
        self.jobs.len()
    }

    /// The number of the answer that was begun last.
    pub(crate) fn last_driver_job(&self) -> Option<u64> {
        self.jobs.last().map(|job| job.number)
    }

    /// One of the answers under way.
    pub(crate) fn driver_job(&self, number: u64) -> Option<&BringBack> {
        self.jobs.iter().find(|job| job.number == number)
    }

    /// Goes on with one of them.
    pub(crate) fn step_driver_job(&mut self, number: u64) {
        if let Some(index) = self.jobs.iter().position(|job| job.number == number) {
            self.step_driver_work(index);
        }
    }

    /// Goes on with one of them.
    pub fn step_driver_work(&mut self, index: usize) {
        if index >= self.jobs.len() {
            return;
        }
        let mut job = self.jobs.remove(index);
        if !job.step(self) {
            self.jobs.insert(index, job);
        }
    }
}
