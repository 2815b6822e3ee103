//! The lock of an address space's mappings, as far as it shows: long calls hold it while others run.
//!
//! Faults, migrations and range faults hold it shared; changing mappings takes it alone. A call that finds it taken
//! does nothing and says so.

use super::{Errno, Mm, SpaceId, Vpn};
use crate::notifier::Event;

/// Who holds a space's lock.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MapLock {
    /// Calls that hold it shared.
    pub readers: u32,
    /// A call holds it alone.
    pub writer: bool,
}

impl Mm {
    /// Takes the lock shared; false if a change of mappings is running, or the space is gone.
    pub fn lock_mappings(&mut self, space: SpaceId) -> bool {
        let Some(found) = self.spaces.get_mut(&space).filter(|found| !found.lock.writer) else {
            return false;
        };
        found.lock.readers += 1;
        true
    }

    /// Gives it back.
    pub fn unlock_mappings(&mut self, space: SpaceId) {
        let lock = &mut self.space_mut(space).lock;
        lock.readers = lock.readers.checked_sub(1).expect("a lock given back was taken");
    }

    /// Whether mappings can be changed now.
    ///
    /// # Errors
    ///
    /// `NoEntry` for an unknown space; `Again` while somebody holds the lock.
    pub(crate) fn check_changeable(&self, space: SpaceId) -> Result<(), Errno> {
        let found = self.spaces.get(&space).ok_or(Errno::NoEntry)?;
        if found.lock == MapLock::default() { Ok(()) } else { Err(Errno::Again) }
    }
}

/// Removing mappings, step by step: devices are told first, and may take their time.
#[derive(Clone, Copy, Debug)]
pub struct Unmapping {
    space: SpaceId,
    from: Vpn,
    to: Vpn,
    announced: bool,
}

impl Unmapping {
    /// Starts: the lock is taken, devices are told, and range faults that overlap will have to begin again.
    ///
    /// # Errors
    ///
    /// `Again` while somebody holds the lock; `Invalid` for an empty range.
    pub fn start(mm: &mut Mm, space: SpaceId, from: Vpn, to: Vpn) -> Result<Unmapping, Errno> {
        mm.check_changeable(space)?;
        if from >= to {
            return Err(Errno::Invalid);
        }
        mm.space_mut(space).lock.writer = true;
        mm.mirrors.begin(space, from, to, Event::Unmap);
        Ok(Unmapping { space, from, to, announced: true })
    }

    /// Devices have let go: the pages and mappings go, and the invalidation ends.
    ///
    /// # Errors
    ///
    /// As [`Mm::unmap`].
    pub fn finish(self, mm: &mut Mm) -> Result<(), Errno> {
        debug_assert!(self.announced);
        mm.space_mut(self.space).lock.writer = false;
        let result = mm.unmap(self.space, self.from, self.to);
        mm.mirrors.end(self.space, self.from, self.to);
        result
    }
}
