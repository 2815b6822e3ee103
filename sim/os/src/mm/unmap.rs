//! Removing mappings: devices are told first, then 2 MiB after 2 MiB of page table goes, then the mappings.

use alloc::vec::Vec;

use super::frame::HUGE;
use super::vma::{Backing, Vma};
use super::{Errno, Mm, SpaceId, Vpn};
use crate::notifier::Event;

/// Mappings of a range being removed. It holds the lock of the mappings alone, from the start to the last step; faults,
/// range faults and migrations of the address space wait, evictions do not.
#[derive(Clone, Copy, Debug)]
pub struct Unmapping {
    space: SpaceId,
    from: Vpn,
    to: Vpn,
    /// Page tables are empty up to here.
    next: Vpn,
}

impl Unmapping {
    /// Starts: the lock is taken, devices are told, and range faults that overlap will have to begin again. None: there
    /// is nothing to remove.
    ///
    /// # Errors
    ///
    /// `Again` while somebody holds the lock; `NoEntry` for an unknown space; `Invalid` for an empty range or a part of a
    /// huge page of a pool.
    pub fn start(mm: &mut Mm, space: SpaceId, from: Vpn, to: Vpn) -> Result<Option<Unmapping>, Errno> {
        mm.check_changeable(space)?;
        if from >= to {
            return Err(Errno::Invalid);
        }
        let pieces = mm.space(space).vmas.overlapping(from, to);
        let parted = |vma: &Vma| {
            vma.backing == Backing::Hugetlb
                && !(vma.start.max(from).is_multiple_of(HUGE) && vma.end.min(to).is_multiple_of(HUGE))
        };
        if pieces.iter().any(parted) {
            return Err(Errno::Invalid);
        }
        if pieces.is_empty() {
            return Ok(None);
        }
        mm.announce_cuts(space, from, to);
        mm.mirrors.begin(space, from, to, Event::Unmap);
        mm.space_mut(space).lock.writer = true;
        Ok(Some(Unmapping { space, from, to, next: from }))
    }

    /// Goes on to the next point where Linux could sleep; true when it is over. Pages go while the mappings still say what
    /// they are: an entry that is split needs to know.
    pub fn step(&mut self, mm: &mut Mm) -> bool {
        let (space, to) = (self.space, self.to);
        let left = if self.next < to { mm.space(space).table.slots(self.next, to) } else { Vec::new() };
        if let Some(slot) = left.first().copied() {
            let end = (slot + HUGE).min(to);
            mm.zap(space, slot.max(self.next), end);
            self.next = end;
            return false;
        }
        mm.space_mut(space).vmas.take(self.from, to);
        mm.free_tables(space, self.from, to);
        mm.mirrors.end(space, self.from, to);
        mm.space_mut(space).lock.writer = false;
        true
    }

    /// Goes on to the end.
    pub fn finish(mut self, mm: &mut Mm) {
        while !self.step(mm) {}
    }
}

impl Mm {
    /// Removes mappings of pages `from..to`; there need be none.
    ///
    /// # Errors
    ///
    /// As [`Unmapping::start`].
    pub fn unmap(&mut self, space: SpaceId, from: Vpn, to: Vpn) -> Result<(), Errno> {
        if let Some(unmapping) = Unmapping::start(self, space, from, to)? {
            unmapping.finish(self);
        }
        Ok(())
    }
}
