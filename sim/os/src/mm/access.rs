//! What a CPU does: read and write pages, with the faults that takes.

use peerbus_units::Pfn;

use super::fault::{Fault, FaultError};
use super::frame::HUGE;
use super::table::{Entry, Huge};
use super::{Mm, SpaceId, Vpn, Wait};

/// What a process gets instead of its page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuError {
    /// A segmentation fault.
    Segv,
    /// A bus error.
    Bus,
    /// It is killed: no memory.
    NoMemory,
    /// It has to wait.
    Wait(Wait),
}

impl From<FaultError> for CpuError {
    fn from(error: FaultError) -> CpuError {
        match error {
            FaultError::Segv => CpuError::Segv,
            FaultError::Bus => CpuError::Bus,
            FaultError::NoMemory => CpuError::NoMemory,
        }
    }
}

/// What a page-table entry lets a CPU do at once.
pub(crate) enum Reach {
    /// The page of zeros.
    Zero,
    /// A page.
    Page(Pfn),
}

impl Mm {
    /// What a CPU reaches without a fault.
    pub(crate) fn reach(&self, space: SpaceId, page: Vpn, write: bool) -> Option<Reach> {
        let table = &self.spaces.get(&space)?.table;
        if let Some(huge) = table.huge(page) {
            return match huge {
                Huge::Zero if !write => Some(Reach::Zero),
                Huge::Page { pfn, write: writable } if writable || !write => {
                    Some(Reach::Page(Pfn(pfn.0 + page % HUGE)))
                }
                _ => None,
            };
        }
        match table.get(page)? {
            Entry::Zero if !write => Some(Reach::Zero),
            Entry::Page { pfn, write: writable } if writable || !write => Some(Reach::Page(pfn)),
            _ => None,
        }
    }

    /// Faults until a CPU reaches the page.
    fn touch(&mut self, space: SpaceId, page: Vpn, write: bool) -> Result<Reach, CpuError> {
        let vma = self.vma(space, page).ok_or(CpuError::Segv)?;
        if !(if write { vma.write } else { vma.read }) {
            return Err(CpuError::Segv);
        }
        if self.space(space).lock.writer {
            return Err(CpuError::Wait(Wait::MapLock));
        }
        loop {
            if let Some(reach) = self.reach(space, page, write) {
                return Ok(reach);
            }
            if let Fault::Wait(wait) = self.fault(space, page, write)? {
                return Err(CpuError::Wait(wait));
            }
        }
    }

    /// Reads a page.
    ///
    /// # Errors
    ///
    /// What the process gets instead.
    pub fn read(&mut self, space: SpaceId, page: Vpn) -> Result<u64, CpuError> {
        Ok(match self.touch(space, page, false)? {
            Reach::Zero => 0,
            Reach::Page(pfn) => self.frames.data(pfn),
        })
    }

    /// Writes a page.
    ///
    /// # Errors
    ///
    /// What the process gets instead.
    pub fn write(&mut self, space: SpaceId, page: Vpn, value: u64) -> Result<(), CpuError> {
        match self.touch(space, page, true)? {
            Reach::Zero => unreachable!("the page of zeros is never writable"),
            Reach::Page(pfn) => self.frames.set_data(pfn, value),
        }
        Ok(())
    }
}
