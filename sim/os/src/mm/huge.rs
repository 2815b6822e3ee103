//! Splitting: a huge entry into small ones, a huge folio into pages.
//!
//! The two are apart: when a part of a huge page is unmapped or protected only the entry is split, and small
//! entries then share one folio. The folio itself is split when its pages must go different ways.

use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::frame::{At, HUGE, Place};
use super::table::{Access, Entry, Huge};
use super::{Mm, SpaceId, Vpn};
use crate::notifier::Event;

impl Mm {
    /// Splits the huge entry around `page`, if there is one, into 512 small ones.
    pub(crate) fn split_entry(&mut self, space: SpaceId, page: Vpn) {
        let slot = page / HUGE * HUGE;
        let Some(huge) = self.space(space).table.huge(slot) else { return };
        self.invalidate(space, slot, slot + HUGE, Event::Clear);
        self.table(space).clear_slot(slot);
        let at = At { space, page: slot };
        match huge {
            Huge::Zero => {
                for index in 0..HUGE {
                    self.table(space).set(slot + index, Some(Entry::Zero));
                }
            }
            Huge::Page { pfn, write } => self.spread(at, pfn, |pfn| Entry::Page { pfn, write }),
            Huge::Private { pfn, write } => self.spread(at, pfn, |pfn| Entry::Private { pfn, write }),
            Huge::Migration { pfn, access } => self.spread_migration(at, pfn, access),
        }
    }

    fn spread(&mut self, slot: At, head: Pfn, entry: impl Fn(Pfn) -> Entry) {
        let exclusive = self.frames.exclusive(head);
        self.frames.set_folio_exclusive(head, exclusive);
        self.frames.unmap_huge(head, slot);
        for index in 0..HUGE {
            self.install(At { page: slot.page + index, ..slot }, entry(Pfn(head.0 + index)));
        }
        self.put(head);
    }

    fn spread_migration(&mut self, slot: At, head: Pfn, access: Access) {
        if let Some(list) = self.awaited_huge.get_mut(&head) {
            list.retain(|at| *at != slot);
            if list.is_empty() {
                self.awaited_huge.remove(&head);
            }
        }
        for index in 0..HUGE {
            let at = At { page: slot.page + index, ..slot };
            let pfn = Pfn(head.0 + index);
            self.awaited.entry(pfn).or_default().push(at);
            self.table(at.space).set(at.page, Some(Entry::Migration { pfn, access }));
        }
    }

    /// Splits a huge folio that the caller has locked and holds one reference to; false if somebody else holds one
    /// too. Pages of zeros may become the page of zeros where they are mapped; pages nobody maps are freed. The
    /// caller's reference and lock go.
    pub(crate) fn split_folio(&mut self, pfn: Pfn) -> bool {
        self.split_folio_for(pfn, None)
    }

    /// The same where a fault handler has locked the folio for its page `fault` and holds a reference for it: lock
    /// and reference stay, with that page.
    pub(crate) fn split_folio_for(&mut self, pfn: Pfn, fault: Option<Pfn>) -> bool {
        let head = self.frames.head(pfn);
        let splits = !self.frames.is_huge(head) || self.can_split(head, fault);
        if splits && self.frames.is_huge(head) {
            for at in self.frames.huge_maps(head).to_vec() {
                self.split_entry(at.space, at.page);
            }
            self.unmap_to_migration(head);
            let anonymous_system = self.is_anonymous(head) && self.frames.place(head) == Place::System;
            let waiting = self.split_awaited(head);
            let zeros = self.rules.split_finds_zero_pages && anonymous_system;
            for (pfn, list) in waiting {
                for at in list {
                    self.after_split(pfn, at, zeros);
                }
            }
            self.pass_to_fault_page(head, fault);
        }
        if fault.is_none() {
            self.frames.unlock(head);
        }
        self.put(head);
        splits
    }

    fn can_split(&self, head: Pfn, fault: Option<Pfn>) -> bool {
        let mapped = u32::try_from(self.frames.folio_mapcount(head)).unwrap_or(u32::MAX);
        let held = 1 + u32::from(fault.is_some());
        self.frames.references(head) == mapped.saturating_add(held) && !self.may_be_pinned(head)
    }

    /// Makes pages of a folio all of whose mappings are migration entries. Each page that is awaited has a
    /// reference and a mapping per entry; the first also the caller's reference, and the lock.
    fn split_awaited(&mut self, head: Pfn) -> Vec<(Pfn, Vec<At>)> {
        let pages = (0..HUGE).map(|index| Pfn(head.0 + index));
        let waiting: Vec<(Pfn, Vec<At>)> = pages.filter_map(|pfn| self.awaited.remove_entry(&pfn)).collect();
        for (pfn, list) in &waiting {
            for at in list {
                self.frames.map(*pfn, *at);
            }
        }
        for freed in self.frames.split(head, 1) {
            self.freed(freed);
        }
        waiting
    }

    fn pass_to_fault_page(&mut self, head: Pfn, fault: Option<Pfn>) {
        let Some(fault) = fault else { return };
        self.frames.get(fault);
        if fault != head {
            self.frames.unlock(head);
            self.frames.try_lock(fault);
        }
    }

    /// Splits a folio under migration, which nothing maps, so that each of its pages is under migration: with a
    /// reference and a lock of its own. A fault handler's reference stays with its page.
    pub(crate) fn split_awaited_for_pages(&mut self, head: Pfn, fault: Option<Pfn>) {
        for at in self.awaited_huge.get(&head).cloned().unwrap_or_default() {
            self.split_entry(at.space, at.page);
        }
        self.frames.split_all_held(head);
        if let Some(fault) = fault {
            self.frames.get(fault);
        }
    }

    fn after_split(&mut self, pfn: Pfn, at: At, zeros: bool) {
        let Some(Entry::Migration { access, .. }) = self.space(at.space).table.get(at.page) else { return };
        let Some(vma) = self.vma(at.space, at.page) else { return };
        if zeros && self.frames.data(pfn) == 0 {
            self.table(at.space).set(at.page, Some(Entry::Zero));
            self.frames.unmap(pfn, at);
            self.put(pfn);
            return;
        }
        let entry = self.entry_after_migration(&vma, pfn, access);
        self.table(at.space).set(at.page, Some(entry));
    }
}
