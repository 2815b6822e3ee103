//! Pages held for direct access (`get_user_pages`, `pin_user_pages`).

use peerbus_units::Pfn;

use super::access::Reach;
use super::fault::{Fault, FaultError};
use super::frame::{Content, Place};
use super::table::Entry;
use super::{Errno, Mm, SpaceId, Vpn};
use crate::migrate;

/// How pages are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pin {
    /// For writing: copies are made first.
    pub write: bool,
    /// A pin: contents are accessed. Otherwise a reference only.
    pub pinned: bool,
    /// Held until told otherwise: pages of devices are moved to system memory first.
    pub long_term: bool,
    /// A huge entry is split first.
    pub split: bool,
}

impl Mm {
    /// Holds the page behind `page` and returns it. A read of untouched memory that is not pinned long makes the
    /// page of zeros a page of its own, since that page cannot be held.
    ///
    /// # Errors
    ///
    /// `Fault` where nothing is mapped for this access, `NoMemory`, `Busy` when the page cannot be moved,
    /// `Again` when something has to be waited for.
    pub fn hold(&mut self, space: SpaceId, page: Vpn, how: Pin) -> Result<Pfn, Errno> {
        if self.mappings_change(space) {
            return Err(Errno::Again);
        }
        let vma = self.vma(space, page).ok_or(Errno::Fault)?;
        if (how.write && !vma.write) || (!how.write && !vma.read) {
            return Err(Errno::Fault);
        }
        if how.split {
            self.split_entry(space, page);
        }
        loop {
            match self.reach(space, page, how.write) {
                Some(Reach::Page(pfn)) => match self.take_hold(space, page, pfn, how)? {
                    Some(pfn) => return Ok(pfn),
                    None => continue,
                },
                // Memory that is only read is unshared by giving it a page, so that a later write is seen.
                Some(Reach::Zero) => return Err(Errno::Fault),
                None => {}
            }
            match self.fault(space, page, how.write) {
                Ok(Fault::Done) => {}
                Ok(Fault::Wait(_)) => return Err(Errno::Again),
                Err(FaultError::NoMemory) => return Err(Errno::NoMemory),
                Err(_) => return Err(Errno::Fault),
            }
            if how.split {
                self.split_entry(space, page);
            }
        }
    }

    /// Takes the reference; `None` when the page had to move first.
    fn take_hold(&mut self, space: SpaceId, page: Vpn, pfn: Pfn, how: Pin) -> Result<Option<Pfn>, Errno> {
        if how.long_term && self.frames.place(pfn) != Place::System {
            migrate::coherent_page_to_ram(self, pfn)?;
            return Ok(None);
        }
        let mine = self.frames.exclusive(pfn) || self.frames.content(pfn) != Content::Anonymous;
        if how.pinned && !mine && !self.unshare(space, page, pfn)? {
            return Ok(None);
        }
        self.frames.get(pfn);
        if how.pinned {
            let head = self.frames.head(pfn);
            *self.pins.entry(head).or_insert(0) += 1;
        }
        Ok(Some(pfn))
    }

    /// A page pinned for reading must be the process's own; says whether it already is.
    fn unshare(&mut self, space: SpaceId, page: Vpn, pfn: Pfn) -> Result<bool, Errno> {
        if self.frames.references(pfn) == 1 {
            self.frames.set_exclusive(pfn, true);
            return Ok(true);
        }
        self.split_entry(space, page);
        let vma = self.vma(space, page).ok_or(Errno::Fault)?;
        let at = super::frame::At { space, page };
        self.copy_on_write(at, &vma, Some(pfn)).map_err(|_| Errno::NoMemory)?;
        if let Some(Entry::Page { pfn, .. }) = self.space(space).table.get(page) {
            self.table(space).set(page, Some(Entry::Page { pfn, write: false }));
        }
        Ok(false)
    }

    /// Lets go of a page held before.
    ///
    /// # Errors
    ///
    /// `Invalid` if it was not pinned that way.
    pub fn release_hold(&mut self, pfn: Pfn, pinned: bool) -> Result<(), Errno> {
        if !self.frames.is_used(pfn) || self.frames.references(pfn) == 0 {
            return Err(Errno::Invalid);
        }
        if pinned {
            let head = self.frames.head(pfn);
            let count = self.pins.get_mut(&head).ok_or(Errno::Invalid)?;
            *count -= 1;
            if *count == 0 {
                self.pins.remove(&head);
            }
        }
        self.put(pfn);
        Ok(())
    }
}
