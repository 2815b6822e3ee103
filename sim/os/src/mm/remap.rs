//! Moving mappings with their pages.

use super::frame::{At, HUGE};
use super::table::{Entry, Huge, SlotKind};
use super::vma::{Source, Vma};
use super::{Errno, Mm, SpaceId, Vpn};
use crate::notifier::Event;

/// What to move where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// First page.
    pub from: Vpn,
    /// Number of pages.
    pub pages: u64,
    /// First page of the target; what is there is unmapped.
    pub to: Vpn,
    /// The old mapping stays, empty.
    pub keep: bool,
}

impl Mm {
    /// Moves a range to a fixed place without changing its size.
    ///
    /// # Errors
    ///
    /// `Invalid` for an empty range or overlapping places; `Fault` where nothing is mapped or, on kernels that
    /// move one mapping only, more than one is: the target is unmapped by then. `Again` while somebody holds the lock.
    pub fn remap(&mut self, space: SpaceId, what: Move) -> Result<(), Errno> {
        self.check_changeable(space)?;
        let end = what.from.checked_add(what.pages).ok_or(Errno::Invalid)?;
        let target_end = what.to.checked_add(what.pages).ok_or(Errno::Invalid)?;
        if self.rules.move_finds_mapping_first && self.vma(space, what.from).is_none() {
            return Err(Errno::Fault);
        }
        if what.pages == 0 || (what.from < target_end && what.to < end) {
            return Err(Errno::Invalid);
        }
        let first = self.vma(space, what.from).ok_or(Errno::Fault)?;
        if !self.rules.moves_several_mappings {
            self.unmap(space, what.to, target_end)?;
            if end > first.end {
                return Err(Errno::Fault);
            }
            self.move_one(space, what);
            return Ok(());
        }
        for vma in self.space(space).vmas.overlapping(what.from, end) {
            let start = vma.start.max(what.from);
            let pages = vma.end.min(end) - start;
            let to = what.to + (start - what.from);
            self.unmap(space, to, to + pages)?;
            self.move_one(space, Move { from: start, pages, to, keep: what.keep });
        }
        Ok(())
    }

    /// Moves a part of one mapping to free room.
    fn move_one(&mut self, space: SpaceId, what: Move) {
        let old = self.vma(space, what.from).expect("the caller looked");
        let end = what.from + what.pages;
        let untouched = old.is_anonymous() && old.group.is_none();
        let offset = if untouched { what.to } else { old.backing_page(what.from) };
        let new = Vma { start: what.to, end: what.to + what.pages, offset, ..old };
        let rules = self.merge_rules();
        let inherited = old.group.is_some() && old.groups > 1;
        let source = Source { inherited, stays: what.keep.then_some(what.from) };
        self.space_mut(space).vmas.insert(new, rules, source);
        self.mirrors.begin(space, what.from, end, Event::Unmap);
        self.move_entries(space, what);
        self.mirrors.end(space, what.from, end);
        if what.keep {
            let whole = self.vma(space, what.from).filter(|vma| vma.start == what.from && vma.end == end);
            if whole.is_some() {
                let anew = self.rules.left_mapping_starts_anew;
                self.space_mut(space).vmas.forget_group(what.from, anew);
            }
        } else {
            self.announce_cuts(space, what.from, end);
            self.space_mut(space).vmas.take(what.from, end);
            self.free_tables(space, what.from, end);
        }
    }

    fn move_entries(&mut self, space: SpaceId, what: Move) {
        let end = what.from + what.pages;
        let aligned = what.from % HUGE == what.to % HUGE;
        for slot in self.space(space).table.slots(what.from, end) {
            let (start, stop) = (slot.max(what.from), (slot + HUGE).min(end));
            let to = what.to + (start - what.from);
            let whole = aligned && start == slot && stop == slot + HUGE;
            match self.space(space).table.slot(slot) {
                SlotKind::Huge(huge) if whole => self.move_huge(space, slot, to, huge),
                SlotKind::Huge(_) => {
                    self.split_entry(space, slot);
                    self.move_small(space, start, stop, to);
                }
                SlotKind::Table if whole => {
                    self.table(space).make_table(to);
                    self.move_small(space, start, stop, to);
                    self.table(space).clear_slot(slot);
                }
                _ => self.move_small(space, start, stop, to),
            }
        }
    }

    fn move_huge(&mut self, space: SpaceId, from: Vpn, to: Vpn, huge: Huge) {
        let (old, new) = (At { space, page: from }, At { space, page: to });
        self.table(space).clear_slot(from);
        // The room was just unmapped, but a neighbour may have kept its table.
        if self.space(space).table.is_empty_table(to) {
            self.table(space).clear_slot(to);
        }
        self.table(space).set_huge(to, huge);
        match huge {
            Huge::Zero => {}
            Huge::Page { pfn, .. } | Huge::Private { pfn, .. } => {
                self.frames.unmap_huge(pfn, old);
                self.frames.map_huge(pfn, new);
            }
            Huge::Migration { pfn, .. } => {
                self.no_longer_awaited(old, pfn, true);
                self.awaited_huge.entry(pfn).or_default().push(new);
            }
        }
    }

    fn move_small(&mut self, space: SpaceId, from: Vpn, end: Vpn, to: Vpn) {
        self.table(space).make_table(to);
        self.table(space).make_table(to + (end - from) - 1);
        for (page, entry) in self.space(space).table.entries(from, end) {
            let (old, new) = (At { space, page }, At { space, page: to + (page - from) });
            self.table(space).set(page, None);
            self.table(space).set(new.page, Some(entry));
            match entry {
                Entry::Zero | Entry::Marker => {}
                Entry::Page { pfn, .. } | Entry::Private { pfn, .. } => {
                    self.frames.unmap(pfn, old);
                    self.frames.map(pfn, new);
                }
                Entry::Exclusive { pfn, .. } => {
                    if self.exclusive_stays_mapped() {
                        self.frames.unmap(pfn, old);
                        self.frames.map(pfn, new);
                    }
                }
                Entry::Migration { pfn, .. } => {
                    self.no_longer_awaited(old, pfn, false);
                    self.awaited.entry(pfn).or_default().push(new);
                }
            }
        }
    }
}
