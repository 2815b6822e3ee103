//! Page faults: what an access finds missing is made, copied, brought back or refused.
//!
//! One call does what one fault does; the access is then tried again, and may fault again. Permissions of the
//! mapping are the caller's to check, because CPUs, devices and pinning answer differently when they are missing.

use peerbus_units::Pfn;

use super::frame::{At, Content, HUGE};
use super::table::{Entry, Huge, SlotKind};
use super::vma::{Advice, Backing, Vma};
use super::{HugePolicy, Mm, SpaceId, Vpn, Wait};
use crate::migrate;

/// What a fault came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Something was done, or nothing was missing: try the access again.
    Done,
    /// Try again when this is over.
    Wait(Wait),
}

/// Why a fault failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// Nothing is mapped there, or not for this access.
    Segv,
    /// There is no such page: beyond the end of a file, or a device could not give it back.
    Bus,
    /// No memory.
    NoMemory,
}

/// File pages a read fault maps beside the one it needs, if they are cached.
const FAULT_AROUND: u64 = 16;

impl Mm {
    /// Handles a fault at `page`.
    ///
    /// # Errors
    ///
    /// Nothing mapped, no such page, no memory.
    pub fn fault(&mut self, space: SpaceId, page: Vpn, write: bool) -> Result<Fault, FaultError> {
        if self.mappings_change(space) {
            return Ok(Fault::Wait(Wait::MapLock));
        }
        let vma = self.vma(space, page).ok_or(FaultError::Segv)?;
        let at = At { space, page };
        match self.space(space).table.slot(page) {
            SlotKind::Huge(huge) => return self.huge_fault(at, &vma, huge, write),
            SlotKind::Empty => {
                if vma.filled_by_handler && vma.is_anonymous() {
                    return Ok(Fault::Wait(Wait::Handler(at)));
                }
                if vma.backing == Backing::Hugetlb {
                    return self.hugetlb_fault(at, &vma);
                }
                if self.huge_allowed(&vma, page) && self.huge_anonymous(at, &vma, write) {
                    return Ok(Fault::Done);
                }
            }
            SlotKind::Table => {}
        }
        match self.space(space).table.get(page) {
            None | Some(Entry::Marker) => self.missing(at, &vma, write),
            Some(Entry::Zero) if write => self.copy_on_write(at, &vma, None),
            Some(Entry::Page { pfn, write: false }) if write => self.write_protected(at, &vma, pfn),
            Some(Entry::Zero | Entry::Page { .. }) => Ok(Fault::Done),
            Some(Entry::Private { pfn, .. }) => migrate::to_ram(self, at, pfn),
            Some(Entry::Exclusive { pfn, .. }) => {
                if self.frames.locked(pfn) {
                    return Ok(Fault::Wait(Wait::PageLock(pfn)));
                }
                self.restore_exclusive(at, &vma);
                Ok(Fault::Done)
            }
            Some(Entry::Migration { pfn, .. }) => Ok(Fault::Wait(Wait::Migration(pfn))),
        }
    }

    /// Whether the slot around `page` may hold a huge page of anonymous memory.
    pub(crate) fn huge_allowed(&self, vma: &Vma, page: Vpn) -> bool {
        let slot = page / HUGE * HUGE;
        let wanted = match self.rules.huge_policy {
            HugePolicy::Always => vma.advice != Advice::NoHuge,
            HugePolicy::Advised => vma.advice == Advice::Huge,
            HugePolicy::Never => false,
        };
        wanted && vma.is_anonymous() && vma.holds(slot, slot + HUGE)
    }

    /// A huge page, or the huge page of zeros for a read; false without memory for it.
    fn huge_anonymous(&mut self, at: At, vma: &Vma, write: bool) -> bool {
        let slot = At { page: at.page / HUGE * HUGE, ..at };
        self.prepare_group(at.space, at.page);
        if !write {
            self.table(at.space).set_huge(slot.page, Huge::Zero);
            return true;
        }
        let Some(head) = self.frames.allocate_huge(Content::Anonymous) else { return false };
        self.install_new_huge(slot, Huge::Page { pfn: head, write: vma.write });
        true
    }

    /// Puts a new huge folio, whose one reference becomes the mapping's, into a slot.
    pub(crate) fn install_new_huge(&mut self, slot: At, huge: Huge) {
        let (Huge::Page { pfn, .. } | Huge::Private { pfn, .. }) = huge else {
            panic!("a new huge entry leads to a folio");
        };
        self.frames.set_folio_exclusive(pfn, true);
        if let Some(group) = self.vma(slot.space, slot.page).and_then(|vma| vma.group) {
            self.frames.set_group(pfn, group);
        }
        self.frames.map_huge(pfn, slot);
        self.table(slot.space).set_huge(slot.page, huge);
    }

    fn hugetlb_fault(&mut self, at: At, vma: &Vma) -> Result<Fault, FaultError> {
        let slot = At { page: at.page / HUGE * HUGE, ..at };
        let head = self.frames.allocate_huge(Content::Hugetlb).ok_or(FaultError::Bus)?;
        self.install_new_huge(slot, Huge::Page { pfn: head, write: vma.write });
        Ok(Fault::Done)
    }

    fn missing(&mut self, at: At, vma: &Vma, write: bool) -> Result<Fault, FaultError> {
        match vma.backing {
            Backing::Anonymous => self.missing_anonymous(at, vma, write),
            Backing::File(_) if write && vma.is_private() => self.missing_private_file(at, vma),
            Backing::File(_) => self.missing_file(at, vma, write),
            Backing::Driver | Backing::Hugetlb => Err(FaultError::Bus),
        }
    }

    fn missing_anonymous(&mut self, at: At, vma: &Vma, write: bool) -> Result<Fault, FaultError> {
        if vma.filled_by_handler {
            return Ok(Fault::Wait(Wait::Handler(at)));
        }
        if !write {
            self.table(at.space).set(at.page, Some(Entry::Zero));
            return Ok(Fault::Done);
        }
        self.prepare_group(at.space, at.page);
        let pfn = self.frames.allocate(Content::Anonymous).ok_or(FaultError::NoMemory)?;
        self.install_new(at, Entry::Page { pfn, write: vma.write });
        Ok(Fault::Done)
    }

    /// Puts a new anonymous page, whose one reference becomes the mapping's, into a page table.
    pub(crate) fn install_new(&mut self, at: At, entry: Entry) {
        let pfn = entry.pfn().expect("a new page is installed");
        self.frames.set_exclusive(pfn, true);
        if let Some(group) = self.vma(at.space, at.page).and_then(|vma| vma.group) {
            self.frames.set_group(pfn, group);
        }
        self.frames.map(pfn, at);
        self.table(at.space).set(at.page, Some(entry));
    }

    /// The file's page, or an error beyond its end.
    fn file_page(&mut self, vma: &Vma, page: Vpn) -> Result<Pfn, FaultError> {
        let Backing::File(file) = vma.backing else { return Err(FaultError::Bus) };
        let index = vma.backing_page(page);
        if index >= self.files.pages(file) {
            return Err(FaultError::Bus);
        }
        self.files.find_or_make(&mut self.frames, file, index).ok_or(FaultError::NoMemory)
    }

    fn missing_private_file(&mut self, at: At, vma: &Vma) -> Result<Fault, FaultError> {
        self.prepare_group(at.space, at.page);
        let source = self.file_page(vma, at.page)?;
        let pfn = self.frames.allocate(Content::Anonymous).ok_or(FaultError::NoMemory)?;
        self.frames.copy(source, pfn, 1);
        self.install_new(at, Entry::Page { pfn, write: vma.write });
        Ok(Fault::Done)
    }

    fn missing_file(&mut self, at: At, vma: &Vma, write: bool) -> Result<Fault, FaultError> {
        if !write {
            self.map_around(at, vma);
            if self.space(at.space).table.get(at.page).is_some() {
                return Ok(Fault::Done);
            }
        }
        let pfn = self.file_page(vma, at.page)?;
        if self.frames.locked(pfn) {
            return Ok(Fault::Wait(Wait::PageLock(pfn)));
        }
        self.install(at, Entry::Page { pfn, write: vma.shared && vma.write });
        Ok(Fault::Done)
    }

    /// Maps cached pages of the 16 around a read fault: those of the mapping and of one slot.
    fn map_around(&mut self, at: At, vma: &Vma) {
        let Backing::File(file) = vma.backing else { return };
        let slot = at.page / HUGE * HUGE;
        let window = (at.page / FAULT_AROUND * FAULT_AROUND).max(vma.start).max(slot);
        let end = (window + FAULT_AROUND).min(vma.end).min(slot + HUGE);
        for page in window..end {
            let index = vma.backing_page(page);
            if index >= self.files.pages(file) {
                break;
            }
            let Some(pfn) = self.files.cached(file, index) else { continue };
            if self.space(at.space).table.get(page).is_none() && !self.frames.locked(pfn) {
                let here = At { page, ..at };
                self.install(here, Entry::Page { pfn, write: vma.shared && vma.write });
            }
        }
    }
}
