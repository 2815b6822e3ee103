//! Advice: huge pages, pages that are not needed, and who fills missing ones.

use peerbus_units::Pfn;

use super::frame::{At, HUGE};
use super::rules::ShareGuess;
use super::table::{Huge, SlotKind};
use super::vma::Advice;
use super::{Errno, Mm, SpaceId, Vpn};
use crate::notifier::Event;

impl Mm {
    /// Does `apply` to the part of each mapping in `from..to`; a hole is an error after all of them.
    fn each_mapping(
        &mut self,
        space: SpaceId,
        from: Vpn,
        to: Vpn,
        mut apply: impl FnMut(&mut Mm, Vpn, Vpn) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let found = self.spaces.get(&space).ok_or(Errno::NoEntry)?;
        if found.lock.writer {
            return Err(Errno::Again);
        }
        let mut next = from;
        let mut hole = false;
        for vma in found.vmas.overlapping(from, to) {
            hole |= vma.start > next;
            let (start, end) = (vma.start.max(from), vma.end.min(to));
            next = end;
            apply(self, start, end)?;
        }
        if hole || next < to { Err(Errno::NoMemory) } else { Ok(()) }
    }

    /// Says whether huge pages are wanted in `from..to`.
    ///
    /// # Errors
    ///
    /// `NoMemory` where nothing is mapped.
    pub fn advise_huge(&mut self, space: SpaceId, from: Vpn, to: Vpn, advice: Advice) -> Result<(), Errno> {
        self.check_changeable(space)?;
        let rules = self.merge_rules();
        self.each_mapping(space, from, to, |mm, start, end| {
            if mm.vma(space, start).is_some_and(|vma| vma.advice != advice) {
                mm.announce_cuts(space, start, end);
                mm.space_mut(space).vmas.modify(start, end, rules, |vma| vma.advice = advice);
            }
            Ok(())
        })
    }

    /// Lets a userfaultfd handler fill never-touched pages of `from..to`, or no longer.
    ///
    /// # Errors
    ///
    /// `NoMemory` where nothing is mapped.
    pub fn register_handler(&mut self, space: SpaceId, from: Vpn, to: Vpn, on: bool) -> Result<(), Errno> {
        self.check_changeable(space)?;
        let rules = self.merge_rules();
        self.each_mapping(space, from, to, |mm, start, end| {
            mm.announce_cuts(space, start, end);
            mm.space_mut(space).vmas.modify(start, end, rules, |vma| vma.filled_by_handler = on);
            Ok(())
        })
    }

    /// The handler fills a page it was asked for.
    ///
    /// # Errors
    ///
    /// `Exists` if there is a page, `NoMemory` without one to give, `NoEntry` where nothing is registered; `Again` while
    /// mappings are being changed.
    pub fn fill_missing(&mut self, at: At, value: u64) -> Result<(), Errno> {
        if self.mappings_change(at.space) {
            return Err(Errno::Again);
        }
        let vma = self.vma(at.space, at.page).filter(|vma| vma.filled_by_handler).ok_or(Errno::NoEntry)?;
        if matches!(self.space(at.space).table.slot(at.page), SlotKind::Huge(_))
            || self.space(at.space).table.get(at.page).is_some()
        {
            return Err(Errno::Exists);
        }
        self.prepare_group(at.space, at.page);
        let pfn = self.frames.allocate(super::frame::Content::Anonymous).ok_or(Errno::NoMemory)?;
        self.frames.set_data(pfn, value);
        self.install_new(at, super::table::Entry::Page { pfn, write: vma.write });
        Ok(())
    }

    /// Drops the pages of `from..to` (`MADV_DONTNEED`).
    ///
    /// # Errors
    ///
    /// `NoMemory` where nothing is mapped.
    pub fn drop_pages(&mut self, space: SpaceId, from: Vpn, to: Vpn) -> Result<(), Errno> {
        self.each_mapping(space, from, to, |mm, start, end| {
            mm.invalidate(space, start, end, Event::Clear);
            mm.zap(space, start, end);
            if mm.rules.advice_frees_tables {
                mm.free_empty_tables(space, start, end);
            }
            Ok(())
        })
    }

    fn free_empty_tables(&mut self, space: SpaceId, from: Vpn, to: Vpn) {
        let table = self.table(space);
        for slot in table.slots(from, to) {
            if from <= slot && slot + HUGE <= to && table.is_empty_table(slot) {
                table.clear_slot(slot);
            }
        }
    }

    /// Says that the contents of `from..to` may be lost (`MADV_FREE`). Nothing is lost without need, so all that
    /// shows is that huge folios which are only partly meant are split. Private and exclusive pages are skipped.
    ///
    /// # Errors
    ///
    /// `Invalid` for other than anonymous memory, `NoMemory` where nothing is mapped.
    pub fn may_lose(&mut self, space: SpaceId, from: Vpn, to: Vpn) -> Result<(), Errno> {
        self.each_mapping(space, from, to, |mm, start, end| {
            if !mm.vma(space, start).is_some_and(|vma| vma.is_anonymous()) {
                return Err(Errno::Invalid);
            }
            mm.invalidate(space, start, end, Event::Clear);
            for slot in mm.space(space).table.slots(start, end) {
                mm.may_lose_in_slot(space, slot, slot.max(start), (slot + HUGE).min(end));
            }
            Ok(())
        })
    }

    fn may_lose_in_slot(&mut self, space: SpaceId, slot: Vpn, from: Vpn, to: Vpn) {
        match self.space(space).table.huge(slot) {
            Some(Huge::Page { pfn, .. }) if to - from < HUGE => {
                if self.frames.folio_mapcount(pfn) > 1 || !self.frames.try_lock(pfn) {
                    return;
                }
                self.frames.get(pfn);
                if !self.split_folio(pfn) {
                    return;
                }
            }
            Some(_) => return,
            None => {}
        }
        for page in from..to {
            self.may_lose_page(space, page, to);
        }
    }

    /// A page of a huge folio mapped by small entries: the folio is split unless all of it is meant or it is shared.
    fn may_lose_page(&mut self, space: SpaceId, page: Vpn, to: Vpn) {
        let Some(super::table::Entry::Page { pfn, .. }) = self.space(space).table.get(page) else { return };
        if !self.frames.is_huge(pfn) {
            return;
        }
        let head = self.frames.head(pfn);
        let whole = pfn == head
            && page + HUGE <= to
            && (0..HUGE).all(|index| {
                let expected = Pfn(head.0 + index);
                self.space(space).table.get(page + index).and_then(super::table::Entry::pfn) == Some(expected)
            });
        if !whole && !self.counts_as_shared(space, pfn) && self.frames.try_lock(head) {
            self.frames.get(head);
            self.split_folio(head);
        }
    }

    /// Whether a page's huge folio counts as shared with other processes.
    fn counts_as_shared(&self, space: SpaceId, pfn: Pfn) -> bool {
        let head = self.frames.head(pfn);
        let mappings = self.frames.folio_mapcount(head) as u64;
        match self.rules.share_guess {
            ShareGuess::Page => self.frames.mapcount(pfn) != 1,
            ShareGuess::FirstPage => {
                let huge = !self.frames.huge_maps(head).is_empty();
                mappings > 1 && (huge || mappings > HUGE || self.frames.maps(head).len() > 1)
            }
            ShareGuess::Exact => {
                let other = |at: &At| at.space != space;
                let mut pages = (0..HUGE).map(|index| Pfn(head.0 + index));
                self.frames.huge_maps(head).iter().any(other)
                    || pages.any(|one| self.frames.maps(one).iter().any(other))
            }
        }
    }
}
