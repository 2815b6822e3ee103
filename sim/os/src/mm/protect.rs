//! Changing permissions.

use super::frame::{At, HUGE};
use super::table::{Entry, Huge, SlotKind};
use super::vma::Vma;
use super::{Errno, Mm, SpaceId, Vpn};
use crate::notifier::Event;

impl Mm {
    /// Sets the permissions of pages `from..to`. What precedes a hole is changed before the hole is an error.
    ///
    /// # Errors
    ///
    /// `NoMemory` where nothing is mapped; `Again` while somebody holds the lock of the mappings.
    pub fn protect(
        &mut self,
        space: SpaceId,
        from: Vpn,
        to: Vpn,
        read: bool,
        write: bool,
    ) -> Result<(), Errno> {
        self.check_changeable(space)?;
        let found = self.space(space);
        let mut next = from;
        for vma in found.vmas.overlapping(from, to) {
            let start = vma.start.max(from);
            if start != next {
                return Err(Errno::NoMemory);
            }
            next = vma.end.min(to);
            if (vma.read, vma.write) != (read, write) {
                self.protect_one(space, start, next, read, write);
            }
        }
        if next < to { Err(Errno::NoMemory) } else { Ok(()) }
    }

    fn protect_one(&mut self, space: SpaceId, from: Vpn, to: Vpn, read: bool, write: bool) {
        self.announce_cuts(space, from, to);
        let rules = self.merge_rules();
        let forgets = self.rules.untouched_read_only_is_not_accounted;
        self.space_mut(space).vmas.modify(from, to, rules, |vma| {
            if write && !vma.write && !vma.shared {
                vma.account = true;
            } else if !write && forgets && vma.is_anonymous() && vma.group.is_none() {
                vma.account = false;
            }
            vma.read = read;
            vma.write = write;
        });
        let vma = self.vma(space, from).expect("the mapping was changed");
        for slot in self.space(space).table.slots(from, to) {
            let start = slot.max(from);
            self.invalidate(space, start, (slot + HUGE).min(to), Event::Protect);
            let whole = from <= slot && slot + HUGE <= to;
            match self.space(space).table.slot(slot) {
                SlotKind::Huge(huge) if whole => self.protect_huge(At { space, page: slot }, &vma, huge),
                SlotKind::Huge(_) => self.split_entry(space, slot),
                _ => {}
            }
        }
        for (page, entry) in self.space(space).table.entries(from, to) {
            if let Some(changed) = self.protected(&vma, entry) {
                self.table(space).set(page, Some(changed));
            }
        }
    }

    /// The entry under new permissions, if it changes. Device entries lose the right to write and do not get it
    /// back: they find out when the page comes back.
    fn protected(&self, vma: &Vma, entry: Entry) -> Option<Entry> {
        match entry {
            Entry::Page { pfn, .. } => {
                let mine = self.is_anonymous(pfn) && self.frames.exclusive(pfn);
                Some(Entry::Page { pfn, write: vma.write && (vma.shared || mine) })
            }
            Entry::Private { pfn, write: true } => Some(Entry::Private { pfn, write: false }),
            Entry::Exclusive { pfn, write: true } => Some(Entry::Exclusive { pfn, write: false }),
            Entry::Migration { pfn, access: super::table::Access::Write } => {
                let access = match self.is_anonymous(pfn) {
                    true => super::table::Access::ReadExclusive,
                    false => super::table::Access::Read,
                };
                Some(Entry::Migration { pfn, access })
            }
            _ => None,
        }
    }

    fn protect_huge(&mut self, at: At, vma: &Vma, huge: Huge) {
        let changed = match huge {
            Huge::Page { pfn, .. } => {
                let write = vma.write && (vma.shared || self.frames.exclusive(pfn));
                Huge::Page { pfn, write }
            }
            Huge::Private { pfn, .. } => Huge::Private { pfn, write: false },
            Huge::Migration { pfn, access: super::table::Access::Write } => {
                Huge::Migration { pfn, access: super::table::Access::ReadExclusive }
            }
            other => other,
        };
        self.table(at.space).set_huge(at.page, changed);
    }
}
