//! The lock of an address space's mappings, as far as it shows: long calls hold it while others run.
//!
//! Faults, migrations and range faults hold it shared; changing mappings takes it alone. A call that finds it taken
//! does nothing and says so.

use super::{Errno, Mm, SpaceId};

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

    /// Whether mappings are being changed: who needs the lock shared has to wait.
    pub(crate) fn mappings_change(&self, space: SpaceId) -> bool {
        self.spaces.get(&space).is_some_and(|found| found.lock.writer)
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
