//! Reverse walks: a page taken out of every page table, and put back there, perhaps as another page.
//!
//! While it is out, migration entries stand for it. They are known by the page they stand for, so that unmapping,
//! moving or copying them meanwhile is seen when it is put back.

use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::frame::{At, Content, HUGE, Place};
use super::table::{Access, Entry, Huge};
use super::vma::Vma;
use super::{Mm, SpaceId, Vpn};
use crate::notifier::Event;

impl Mm {
    fn access(&self, pfn: Pfn, write: bool) -> Access {
        match (write, self.is_anonymous(pfn) && self.frames.exclusive(pfn)) {
            (true, _) => Access::Write,
            (false, true) => Access::ReadExclusive,
            (false, false) => Access::Read,
        }
    }

    /// Where a reverse walk looks for the folio, in its order: in every mapping that shows its pages and is in its
    /// group, whether or not the page is still mapped there, by the first page a mapping shows, then oldest process
    /// first. Nowhere if it is mapped nowhere.
    pub(crate) fn reverse_ranges(&self, pfn: Pfn) -> Vec<(SpaceId, Vpn, Vpn)> {
        let head = self.frames.head(pfn);
        let pages = self.frames.folio_pages(head);
        let huge = self.frames.huge_maps(head).first().map(|at| (*at, 0));
        let small = |index| self.frames.maps(Pfn(head.0 + index)).first().map(|at| (*at, index));
        let Some((at, index)) = huge.or_else(|| (0..pages).find_map(small)) else { return Vec::new() };
        let Some(vma) = self.vma(at.space, at.page) else { return Vec::new() };
        let first = vma.backing_page(at.page).wrapping_sub(index);
        let group = self.is_anonymous(head).then(|| self.frames.group(head));
        let mut ranges = Vec::new();
        for (space, found) in &self.spaces {
            for one in found.vmas.iter().filter(|one| self.shows(one, &vma, group)) {
                let from = first.max(one.offset);
                let to = first.saturating_add(pages).min(one.offset + (one.end - one.start));
                if from < to {
                    let start = one.start + (from - one.offset);
                    ranges.push((one.offset, *space, start, start + (to - from)));
                }
            }
        }
        ranges.sort();
        ranges.into_iter().map(|(_, space, start, end)| (space, start, end)).collect()
    }

    /// Whether a mapping may show pages of a group, or, without one, of the same backing as `like`.
    fn shows(&self, vma: &Vma, like: &Vma, group: Option<u64>) -> bool {
        let Some(group) = group else { return vma.backing == like.backing };
        let mut next = vma.group;
        while let Some(mine) = next {
            if mine == group {
                return true;
            }
            next = self.group_parents.get(&mine).copied();
        }
        false
    }

    /// Replaces every mapping of the folio by a migration entry; those of a pinned anonymous page stay.
    pub(crate) fn unmap_to_migration(&mut self, pfn: Pfn) {
        let head = self.frames.head(pfn);
        for (space, from, to) in self.reverse_ranges(head) {
            if self.frames.folio_mapcount(head) == 0 {
                break;
            }
            self.invalidate(space, from, to, Event::Clear);
            for at in self.mapped_in(head, space, from, to) {
                if self.table(space).huge(at.page).is_some() {
                    self.unmap_huge_to_migration(at);
                } else {
                    self.unmap_one_to_migration(at);
                }
            }
        }
    }

    /// Where pages of a folio are mapped in one range.
    pub(crate) fn mapped_in(&self, head: Pfn, space: SpaceId, from: Vpn, to: Vpn) -> Vec<At> {
        let here = |at: &At| at.space == space && from <= at.page && at.page < to;
        let mut list: Vec<At> = self.frames.huge_maps(head).iter().copied().filter(here).collect();
        for index in 0..self.frames.folio_pages(head) {
            list.extend(self.frames.maps(Pfn(head.0 + index)).iter().copied().filter(here));
        }
        list
    }

    /// Replaces one small entry; says whether it did.
    pub(crate) fn unmap_one_to_migration(&mut self, at: At) -> bool {
        let (pfn, write) = match self.space(at.space).table.get(at.page) {
            Some(Entry::Page { pfn, write } | Entry::Private { pfn, write }) => (pfn, write),
            // An exclusive page comes back as one the CPU reads, and writes after a fault.
            Some(Entry::Exclusive { pfn, .. }) => (pfn, false),
            _ => return false,
        };
        if self.is_anonymous(pfn) && self.frames.exclusive(pfn) && self.may_be_pinned(pfn) {
            return false;
        }
        let access = self.access(pfn, write);
        self.frames.set_exclusive(pfn, false);
        self.table(at.space).set(at.page, Some(Entry::Migration { pfn, access }));
        self.awaited.entry(pfn).or_default().push(at);
        self.frames.unmap(pfn, at);
        self.put(pfn);
        true
    }

    /// Replaces one huge entry; says whether it did.
    pub(crate) fn unmap_huge_to_migration(&mut self, at: At) -> bool {
        let (pfn, write) = match self.space(at.space).table.huge(at.page) {
            Some(Huge::Page { pfn, write } | Huge::Private { pfn, write }) => (pfn, write),
            _ => return false,
        };
        if self.frames.exclusive(pfn) && self.may_be_pinned(pfn) {
            return false;
        }
        let access = self.access(pfn, write);
        self.frames.set_folio_exclusive(pfn, false);
        self.table(at.space).set_huge(at.page, Huge::Migration { pfn, access });
        self.awaited_huge.entry(pfn).or_default().push(at);
        self.frames.unmap_huge(pfn, at);
        self.put(pfn);
        true
    }

    /// The entry that leads to a page after migration.
    pub(crate) fn entry_after_migration(&mut self, vma: &Vma, pfn: Pfn, access: Access) -> Entry {
        let anonymous = self.is_anonymous(pfn);
        if anonymous && access != Access::Read {
            self.frames.set_exclusive(pfn, true);
        }
        let write = match anonymous {
            true => access == Access::Write && vma.write,
            false => vma.shared && vma.write,
        };
        match self.frames.place(pfn) {
            Place::Private(_) => Entry::Private { pfn, write },
            Place::System | Place::Coherent(_) => Entry::Page { pfn, write },
        }
    }

    /// Puts `new` wherever `old` is awaited; the two may be the same folio.
    pub(crate) fn put_back(&mut self, old: Pfn, new: Pfn) {
        let (old, new) = (self.frames.head(old), self.frames.head(new));
        for at in self.awaited_huge.remove(&old).unwrap_or_default() {
            self.put_back_huge(at, new);
        }
        for index in 0..self.frames.folio_pages(old) {
            let page = Pfn(old.0 + index);
            for at in self.awaited.remove(&page).unwrap_or_default() {
                self.put_back_one(at, Pfn(new.0 + index));
            }
        }
    }

    fn put_back_one(&mut self, at: At, new: Pfn) {
        let Some(Entry::Migration { access, .. }) = self.space(at.space).table.get(at.page) else { return };
        let Some(vma) = self.vma(at.space, at.page) else { return };
        let entry = self.entry_after_migration(&vma, new, access);
        self.install(at, entry);
    }

    fn put_back_huge(&mut self, at: At, new: Pfn) {
        let Some(Huge::Migration { access, .. }) = self.space(at.space).table.huge(at.page) else { return };
        let Some(vma) = self.vma(at.space, at.page) else { return };
        self.frames.get(new);
        self.frames.map_huge(new, at);
        if access != Access::Read {
            self.frames.set_folio_exclusive(new, true);
        }
        let write = access == Access::Write && vma.write;
        let huge = match self.frames.place(new) {
            Place::Private(_) => Huge::Private { pfn: new, write },
            Place::System | Place::Coherent(_) => Huge::Page { pfn: new, write },
        };
        self.table(at.space).set_huge(at.page, huge);
    }

    /// A migration entry goes without its page coming back.
    pub(crate) fn no_longer_awaited(&mut self, at: At, pfn: Pfn, huge: bool) {
        let map = if huge { &mut self.awaited_huge } else { &mut self.awaited };
        if let Some(list) = map.get_mut(&pfn) {
            list.retain(|one| *one != at);
            if list.is_empty() {
                map.remove(&pfn);
            }
        }
    }

    /// Whether a page's place can be given to another by the page cache or to anonymous mappings.
    pub(crate) fn expected_references(&self, pfn: Pfn) -> u32 {
        match self.frames.content(pfn) {
            Content::File(file, index) => u32::from(self.files.cached(file, index) == Some(pfn)),
            _ => 0,
        }
    }

    /// Removes all entries of pages `from..to` of a space, and the pages' references.
    pub(crate) fn zap(&mut self, space: SpaceId, from: u64, to: u64) {
        for slot in self.space(space).table.slots(from, to) {
            let whole = from <= slot && slot + HUGE <= to;
            match self.space(space).table.huge(slot) {
                Some(huge) if whole => self.zap_huge(At { space, page: slot }, huge),
                Some(_) => self.split_entry(space, slot),
                None => {}
            }
        }
        for (page, entry) in self.space(space).table.entries(from, to) {
            self.zap_one(At { space, page }, entry);
        }
    }

    fn zap_huge(&mut self, at: At, huge: Huge) {
        self.table(at.space).clear_slot(at.page);
        match huge {
            Huge::Zero => {}
            Huge::Page { pfn, .. } | Huge::Private { pfn, .. } => {
                self.frames.unmap_huge(pfn, at);
                self.put(pfn);
            }
            Huge::Migration { pfn, .. } => self.no_longer_awaited(at, pfn, true),
        }
    }

    /// Removes one small entry.
    pub(crate) fn zap_one(&mut self, at: At, entry: Entry) {
        self.table(at.space).set(at.page, None);
        match entry {
            Entry::Zero | Entry::Marker => {}
            Entry::Page { pfn, .. } | Entry::Private { pfn, .. } => {
                self.frames.unmap(pfn, at);
                self.put(pfn);
            }
            Entry::Exclusive { pfn, .. } => {
                if self.exclusive_stays_mapped() {
                    self.frames.unmap(pfn, at);
                }
                self.put(pfn);
            }
            Entry::Migration { pfn, .. } => self.no_longer_awaited(at, pfn, false),
        }
    }
}
