//! Pages on their way home: because a CPU touched one, or to make room.

use peerbus_units::Pfn;

use super::moving::{Moving, copied};
use super::{Driver, Part, Work, own_pages};
use crate::migrate;
use crate::mm::{DeviceId, Mm, SpaceId, Vpn};
use crate::test_device::{Phase, Way};

/// Pages of one device on their way to system memory.
#[derive(Clone, Debug)]
pub struct HomeComing {
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// The answer to a CPU fault, one of [`Mm`]'s jobs by its number; what has been told of it.
    Fault(u64, Told),
    /// An eviction.
    Eviction(Moving),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Told {
    Nothing,
    Collected,
    Unmapped,
    ShotDown,
    Allocated,
    Copied,
    Finishing,
}

impl HomeComing {
    /// Brings `pages`, the first pages of folios of `device`, home.
    pub(super) fn evict(mm: &mut Mm, device: DeviceId, pages: &[Pfn]) -> HomeComing {
        let migration = migrate::setup_pages(mm, device, pages);
        HomeComing { what: What::Eviction(Moving::collected(migration, Way::ToSystem)) }
    }

    /// Brings home what the device of `driver` has of pages `from..to`, without any fault: somebody asked for it. `None`: it has
    /// none of them.
    pub fn of_range(mm: &mut Mm, driver: &Driver, space: SpaceId, from: Vpn, to: Vpn) -> Option<HomeComing> {
        let pages = own_pages(mm, driver.device, space, from, to);
        (!pages.is_empty()).then(|| HomeComing::evict(mm, driver.device, &pages))
    }

    /// Answers the CPU fault that was met last, where answers are left to the caller ([`Mm::defer_driver_work`]).
    pub fn of_last_fault(mm: &Mm) -> Option<HomeComing> {
        let job = mm.last_driver_job()?;
        Some(HomeComing { what: What::Fault(job, Told::Nothing) })
    }

    /// Goes on. `Done` tells how many pages came home.
    pub fn go_on(&mut self, mm: &mut Mm) -> Work<u64> {
        match &mut self.what {
            What::Eviction(moving) => match moving.go_on(mm) {
                Work::Done(()) => Work::Done(came_home(&moving.migration)),
                Work::Kernel(part, pieces) => Work::Kernel(part, pieces),
                Work::Copy(pieces) => Work::Copy(pieces),
                Work::Wait(wait) => Work::Wait(wait),
            },
            What::Fault(job, told) => answer(mm, *job, told),
        }
    }
}

/// Pages that moved.
fn came_home(migration: &migrate::Migration) -> u64 {
    let moved = migration.src.iter().filter(|word| word.is_valid() && word.moves());
    moved.map(|word| if word.is_compound() { 512 } else { 1 }).sum()
}

fn answer(mm: &mut Mm, job: u64, told: &mut Told) -> Work<u64> {
    let left = |mm: &Mm| mm.driver_job(job).map_or(0, |found| found.pieces());
    let goes_on = |mm: &mut Mm, phase: fn(Phase) -> bool| {
        while mm.driver_job(job).is_some_and(|found| phase(found.phase())) {
            mm.step_driver_job(job);
        }
    };
    match *told {
        Told::Nothing => {
            *told = Told::Collected;
            Work::Kernel(Part::Collect, left(mm))
        }
        Told::Collected => {
            goes_on(mm, |phase| matches!(phase, Phase::Unmap(_)));
            *told = Told::Unmapped;
            Work::Kernel(Part::Unmap, left(mm))
        }
        Told::Unmapped => {
            *told = Told::ShotDown;
            Work::Kernel(Part::Shootdown, 1)
        }
        Told::ShotDown => {
            *told = Told::Allocated;
            Work::Kernel(Part::Allocate, left(mm))
        }
        Told::Allocated => {
            goes_on(mm, |phase| matches!(phase, Phase::Copy(_)));
            *told = Told::Copied;
            let pieces = mm.driver_job(job).map(|found| copied(mm, found.migration(), Way::ToSystem));
            Work::Copy(pieces.unwrap_or_default())
        }
        Told::Copied => {
            *told = Told::Finishing;
            Work::Kernel(Part::Finish, left(mm))
        }
        Told::Finishing => {
            goes_on(mm, |phase| phase == Phase::Pages);
            let moved = mm.driver_job(job).map_or(0, |found| came_home(found.migration()));
            goes_on(mm, |_| true);
            Work::Done(moved)
        }
    }
}
