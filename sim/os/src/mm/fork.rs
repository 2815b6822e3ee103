//! A second process with the same memory: private pages are shared read-only until one of the two writes.

use peerbus_units::Pfn;

use super::frame::{At, Content, HUGE};
use super::table::{Access, Entry, Huge};
use super::vma::{Backing, Vma};
use super::{Errno, Mm, Space, SpaceId};
use crate::notifier::Event;

impl Mm {
    /// Copies an address space. Mappings without anonymous pages get no entries: faults find the pages again.
    ///
    /// # Errors
    ///
    /// `NoEntry` for an unknown space; `NoMemory` when a pinned page has to be copied and cannot: the child is
    /// gone then. `Again` while somebody holds the lock of its mappings.
    pub fn fork(&mut self, parent: SpaceId) -> Result<SpaceId, Errno> {
        self.check_changeable(parent)?;
        let found = self.spaces.get(&parent).ok_or(Errno::NoEntry)?;
        let vmas = found.vmas.inherited(&mut self.fresh_group, &mut self.group_parents);
        let list: alloc::vec::Vec<Vma> = found.vmas.iter().copied().collect();
        let child = self.create_space();
        self.spaces.insert(child, Space { vmas, ..Space::default() });
        for vma in list {
            let copied = vma.group.is_some() || matches!(vma.backing, Backing::Driver | Backing::Hugetlb);
            if !copied {
                continue;
            }
            if vma.is_private() {
                self.invalidate(parent, vma.start, vma.end, Event::Protect);
            }
            if let Err(error) = self.copy_mapping(parent, child, &vma) {
                self.exit(child)?;
                return Err(error);
            }
        }
        Ok(child)
    }

    fn copy_mapping(&mut self, parent: SpaceId, child: SpaceId, vma: &Vma) -> Result<(), Errno> {
        for slot in self.space(parent).table.slots(vma.start, vma.end) {
            if let Some(huge) = self.space(parent).table.huge(slot) {
                self.copy_huge(At { space: parent, page: slot }, At { space: child, page: slot }, huge, vma);
            }
        }
        for (page, entry) in self.space(parent).table.entries(vma.start, vma.end) {
            self.copy_entry(At { space: parent, page }, At { space: child, page }, entry, vma)?;
        }
        Ok(())
    }

    fn copy_huge(&mut self, from: At, to: At, huge: Huge, vma: &Vma) {
        let write_stays = vma.shared;
        let copied = match huge {
            Huge::Zero => Huge::Zero,
            Huge::Page { pfn, write } => {
                if self.frames.exclusive(pfn) && self.may_be_pinned(pfn) {
                    self.split_entry(from.space, from.page);
                    return;
                }
                self.share_huge(pfn, to);
                Huge::Page { pfn, write: write && write_stays }
            }
            Huge::Private { pfn, write } => {
                self.share_huge(pfn, to);
                Huge::Private { pfn, write: write && write_stays }
            }
            Huge::Migration { pfn, .. } => {
                self.awaited_huge.entry(pfn).or_default().push(to);
                Huge::Migration { pfn, access: Access::Read }
            }
        };
        self.table(from.space).set_huge(from.page, copied);
        self.table(to.space).set_huge(to.page, copied);
    }

    fn share_huge(&mut self, pfn: Pfn, to: At) {
        if self.is_anonymous(pfn) {
            self.frames.set_folio_exclusive(pfn, false);
        }
        self.frames.get(pfn);
        self.frames.map_huge(pfn, to);
    }

    fn copy_entry(&mut self, from: At, to: At, entry: Entry, vma: &Vma) -> Result<(), Errno> {
        let entry = match entry {
            Entry::Exclusive { .. } => {
                self.restore_exclusive(from, vma);
                self.space(from.space).table.get(from.page).expect("an exclusive page became an ordinary one")
            }
            other => other,
        };
        let keep = |write: bool| write && vma.shared;
        let copied = match entry {
            Entry::Zero => Entry::Zero,
            Entry::Marker | Entry::Exclusive { .. } => return Ok(()),
            Entry::Page { pfn, write } => {
                let anonymous = self.is_anonymous(pfn);
                if anonymous && self.frames.exclusive(pfn) && self.may_be_pinned(pfn) {
                    return self.copy_pinned(pfn, to, vma);
                }
                Entry::Page { pfn, write: keep(write) }
            }
            Entry::Private { pfn, write } => Entry::Private { pfn, write: keep(write) },
            Entry::Migration { pfn, access } => {
                self.awaited.entry(pfn).or_default().push(to);
                let access = if vma.shared { access } else { Access::Read };
                let copied = Entry::Migration { pfn, access };
                self.table(from.space).set(from.page, Some(copied));
                self.table(to.space).set(to.page, Some(copied));
                return Ok(());
            }
        };
        self.table(from.space).set(from.page, Some(copied));
        match copied.pfn() {
            Some(pfn) => {
                if self.is_anonymous(pfn) {
                    self.frames.set_exclusive(pfn, false);
                }
                self.install(to, copied);
            }
            None => self.table(to.space).set(to.page, Some(copied)),
        }
        Ok(())
    }

    /// The child gets a copy at once of a page that may be written through a pin.
    fn copy_pinned(&mut self, pfn: Pfn, to: At, vma: &Vma) -> Result<(), Errno> {
        let new = self.frames.allocate(Content::Anonymous).ok_or(Errno::NoMemory)?;
        self.frames.copy(pfn, new, 1);
        self.install_new(to, Entry::Page { pfn: new, write: vma.write });
        Ok(())
    }

    /// Number of pages an address space has mapped, by any kind of entry that leads to a page.
    pub fn pages_held(&self, space: SpaceId) -> u64 {
        let Some(found) = self.spaces.get(&space) else { return 0 };
        found
            .table
            .slots(0, u64::MAX / HUGE * HUGE)
            .into_iter()
            .map(|slot| match found.table.huge(slot) {
                Some(Huge::Zero) => 0,
                Some(_) => HUGE,
                None => {
                    let entries = found.table.entries(slot, slot + HUGE);
                    entries.iter().filter(|(_, entry)| entry.pfn().is_some()).count() as u64
                }
            })
            .sum()
    }
}
