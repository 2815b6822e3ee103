//! Writes to pages that are write-protected: taken over when nobody else has them, copied otherwise.

use peerbus_units::Pfn;

use super::fault::{Fault, FaultError};
use super::frame::{At, Content, HUGE};
use super::rules::HugeReuse;
use super::table::{Entry, Huge};
use super::vma::Vma;
use super::{Mm, Wait};
use crate::notifier::Event;

impl Mm {
    /// A write to a present page that is not writable.
    pub(crate) fn write_protected(&mut self, at: At, vma: &Vma, pfn: Pfn) -> Result<Fault, FaultError> {
        if vma.shared {
            self.table(at.space).set(at.page, Some(Entry::Page { pfn, write: true }));
            return Ok(Fault::Done);
        }
        if self.is_taken_over(at, pfn) {
            self.take_over(pfn, vma);
            self.frames.set_exclusive(pfn, true);
            self.table(at.space).set(at.page, Some(Entry::Page { pfn, write: true }));
            return Ok(Fault::Done);
        }
        self.copy_on_write(at, vma, Some(pfn))
    }

    /// Whether a write-protected page of private memory is written without a copy.
    fn is_taken_over(&self, at: At, pfn: Pfn) -> bool {
        self.is_anonymous(pfn) && (self.frames.exclusive(pfn) || self.reusable(at, pfn))
    }

    /// What a write to the page has to copy first: the entry there, if it leads to a page that others have too or to the
    /// page of zeros.
    pub(crate) fn copied_by_write(&self, at: At, vma: &Vma) -> Option<Entry> {
        let entry = self.space(at.space).table.get(at.page)?;
        let copied = match entry {
            Entry::Zero => true,
            Entry::Page { pfn, write: false } => vma.is_private() && !self.is_taken_over(at, pfn),
            _ => false,
        };
        copied.then_some(entry)
    }

    /// Whether the only references to an anonymous page are this process's own mappings.
    fn reusable(&self, at: At, pfn: Pfn) -> bool {
        if self.frames.locked(pfn) {
            return false;
        }
        let huge = self.frames.is_huge(pfn);
        match self.rules.huge_reuse {
            HugeReuse::Never if huge => return false,
            HugeReuse::OneProcess if huge => {}
            _ => return self.frames.references(pfn) == 1,
        }
        let mappings = u32::try_from(self.frames.folio_mapcount(pfn)).unwrap_or(u32::MAX);
        let head = self.frames.head(pfn);
        let mine = |at_other: &At| at_other.space == at.space;
        mappings == self.frames.references(pfn)
            && self.frames.huge_maps(head).iter().all(mine)
            && (0..HUGE).all(|index| self.frames.maps(Pfn(head.0 + index)).iter().all(mine))
    }

    /// Replaces a page (`None`: the page of zeros) by a copy of the process's own.
    pub(crate) fn copy_on_write(&mut self, at: At, vma: &Vma, old: Option<Pfn>) -> Result<Fault, FaultError> {
        let new = self.make_copy(at, old)?;
        self.invalidate(at.space, at.page, at.page + 1, Event::Clear);
        self.install_copy(at, vma, old, new);
        Ok(Fault::Done)
    }

    /// A page of the process's own with the contents of `old` (`None`: zeros), mapped nowhere yet.
    pub(crate) fn make_copy(&mut self, at: At, old: Option<Pfn>) -> Result<Pfn, FaultError> {
        self.prepare_group(at.space, at.page);
        let new = self.frames.allocate(Content::Anonymous).ok_or(FaultError::NoMemory)?;
        if let Some(old) = old {
            self.frames.copy(old, new, 1);
        }
        Ok(new)
    }

    /// Puts the copy in the place of `old`. Devices have been told.
    pub(crate) fn install_copy(&mut self, at: At, vma: &Vma, old: Option<Pfn>, new: Pfn) {
        self.install_new(at, Entry::Page { pfn: new, write: vma.write });
        if let Some(old) = old {
            self.frames.unmap(old, at);
            self.put(old);
        }
    }

    /// A page that only one process has left becomes a page of that process's mappings alone.
    fn take_over(&mut self, pfn: Pfn, vma: &Vma) {
        if !self.frames.exclusive(pfn)
            && let Some(group) = vma.group
        {
            self.frames.set_group(pfn, group);
        }
    }

    /// A fault where a huge entry is.
    pub(crate) fn huge_fault(
        &mut self,
        at: At,
        vma: &Vma,
        huge: Huge,
        write: bool,
    ) -> Result<Fault, FaultError> {
        let slot = At { page: at.page / HUGE * HUGE, ..at };
        match huge {
            Huge::Zero if write => self.huge_zero_write(at, slot, vma),
            Huge::Page { pfn, write: false } if write => Ok(self.huge_write_protected(slot, vma, pfn)),
            Huge::Zero | Huge::Page { .. } => Ok(Fault::Done),
            Huge::Private { pfn, .. } => crate::migrate::to_ram(self, at, Pfn(pfn.0 + at.page - slot.page)),
            Huge::Migration { pfn, .. } => Ok(Fault::Wait(Wait::Migration(pfn))),
        }
    }

    fn huge_zero_write(&mut self, at: At, slot: At, vma: &Vma) -> Result<Fault, FaultError> {
        let head = match self.rules.huge_zero_write_is_huge && self.huge_allowed(vma, at.page) {
            true => self.frames.allocate_huge(Content::Anonymous),
            false => None,
        };
        match head {
            Some(head) => {
                self.invalidate(slot.space, slot.page, slot.page + HUGE, Event::Clear);
                self.install_new_huge(slot, Huge::Page { pfn: head, write: vma.write });
            }
            None => self.split_entry(slot.space, slot.page),
        }
        Ok(Fault::Done)
    }

    fn huge_write_protected(&mut self, slot: At, vma: &Vma, head: Pfn) -> Fault {
        let alone = self.frames.references(head) == 1 && !self.frames.locked(head);
        if self.frames.exclusive(head) || alone {
            self.take_over(head, vma);
            self.frames.set_folio_exclusive(head, true);
            self.table(slot.space).set_huge(slot.page, Huge::Page { pfn: head, write: true });
        } else {
            self.split_entry(slot.space, slot.page);
        }
        Fault::Done
    }

    /// A page that was a device's own becomes an ordinary one again.
    pub(crate) fn restore_exclusive(&mut self, at: At, vma: &Vma) {
        let Some(Entry::Exclusive { pfn, write }) = self.space(at.space).table.get(at.page) else { return };
        self.invalidate(at.space, at.page, at.page + 1, Event::Exclusive);
        let stays_mapped = self.exclusive_stays_mapped();
        let write = vma.write && if stays_mapped { self.frames.exclusive(pfn) } else { write };
        if !stays_mapped {
            self.frames.map(pfn, at);
        }
        self.table(at.space).set(at.page, Some(Entry::Page { pfn, write }));
    }

    /// Whether a device-exclusive page counts as mapped.
    pub(crate) fn exclusive_stays_mapped(&self) -> bool {
        self.rules.exclusive == super::rules::ExclusiveRule::ByPage
    }
}
