//! Making and removing mappings.

use peerbus_units::Pfn;

use super::frame::{At, Content, HUGE};
use super::table::Entry;
use super::vma::{Advice, Backing, MergeRules, Source, Vma};
use super::{Errno, FileId, Mm, SpaceId, Vpn};
use crate::notifier::Event;

/// What to map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// What is behind it.
    pub backing: Backing,
    /// Page of a file shown first; ignored for anonymous memory.
    pub offset: u64,
    /// Writes reach the backing.
    pub shared: bool,
    /// Reading is allowed.
    pub read: bool,
    /// Writing is allowed.
    pub write: bool,
}

impl Mapping {
    /// Private memory of the process.
    pub const fn anonymous(read: bool, write: bool) -> Mapping {
        Mapping { backing: Backing::Anonymous, offset: 0, shared: false, read, write }
    }

    /// A file from page `offset` on.
    pub const fn file(file: FileId, offset: u64, shared: bool, read: bool, write: bool) -> Mapping {
        Mapping { backing: Backing::File(file), offset, shared, read, write }
    }
}

impl Mm {
    pub(crate) fn merge_rules(&self) -> MergeRules {
        MergeRules { joins_untouched_neighbour: self.rules.joins_untouched_neighbour }
    }

    /// Maps pages `from..to`, replacing what was there.
    ///
    /// # Errors
    ///
    /// `Invalid` for an empty range or an unknown file; `NoEntry` for an unknown space; `Again` while somebody holds
    /// the lock of its mappings.
    pub fn map(&mut self, space: SpaceId, from: Vpn, to: Vpn, what: Mapping) -> Result<(), Errno> {
        self.check_changeable(space)?;
        let huge_unaligned =
            what.backing == Backing::Hugetlb && !(from.is_multiple_of(HUGE) && to.is_multiple_of(HUGE));
        let unknown = matches!(what.backing, Backing::File(file) if !self.files.exists(file));
        if from >= to || huge_unaligned || unknown {
            return Err(Errno::Invalid);
        }
        self.unmap(space, from, to)?;
        let anonymous = what.backing == Backing::Anonymous;
        let vma = Vma {
            start: from,
            end: to,
            backing: what.backing,
            offset: if anonymous { from } else { what.offset },
            shared: what.shared,
            read: what.read,
            write: what.write,
            account: what.write && !what.shared && what.backing != Backing::Hugetlb,
            advice: Advice::None,
            filled_by_handler: false,
            group: None,
            groups: 0,
        };
        let rules = self.merge_rules();
        self.space_mut(space).vmas.insert(vma, rules, Source::default());
        Ok(())
    }

    /// A mapping of a driver's own pages, inserted at once and read-only, `pages` of them zero.
    ///
    /// # Errors
    ///
    /// As [`Mm::map`]; `NoMemory` without pages.
    pub fn map_driver_pages(&mut self, space: SpaceId, from: Vpn, pages: u64) -> Result<(), Errno> {
        let what = Mapping { backing: Backing::Driver, offset: 0, shared: false, read: true, write: false };
        self.map(space, from, from.saturating_add(pages), what)?;
        for page in from..from + pages {
            let pfn = self.frames.allocate(Content::Driver).ok_or(Errno::NoMemory)?;
            self.install(At { space, page }, Entry::Page { pfn, write: false });
            self.put(pfn);
        }
        Ok(())
    }

    /// Announces that mappings are cut at `from` and `to`. A cut inside a slot that lies in the mapping splits a huge
    /// entry there, and the whole slot is announced even where there is none.
    pub(crate) fn announce_cuts(&mut self, space: SpaceId, from: Vpn, to: Vpn) {
        for (cut, start) in [(from, 0), (to, from)] {
            let slot = cut / HUGE * HUGE;
            let cuts = |vma: &Vma| vma.start.max(start) <= slot && vma.start < cut && slot + HUGE <= vma.end;
            if cut != slot && self.vma(space, cut).is_some_and(|vma| cuts(&vma)) {
                self.invalidate(space, slot, slot + HUGE, Event::Clear);
                self.split_entry(space, slot);
            }
        }
    }

    /// Drops tables of the slots around `from..to` that no mapping overlaps any more.
    pub(crate) fn free_tables(&mut self, space: SpaceId, from: Vpn, to: Vpn) {
        let found = self.space_mut(space);
        for slot in found.table.slots(from, to) {
            if found.vmas.overlapping(slot, slot + HUGE).is_empty() {
                found.table.clear_slot(slot);
            }
        }
    }

    /// Ends an address space.
    ///
    /// # Errors
    ///
    /// `NoEntry` for an unknown space; `Again` while somebody holds the lock of its mappings.
    pub fn exit(&mut self, space: SpaceId) -> Result<(), Errno> {
        self.check_changeable(space)?;
        let vmas = self.space(space).vmas.iter();
        let ranges: alloc::vec::Vec<(Vpn, Vpn)> = vmas.map(|vma| (vma.start, vma.end)).collect();
        for (from, to) in ranges {
            self.invalidate(space, from, to, Event::Unmap);
            self.zap(space, from, to);
        }
        self.spaces.remove(&space);
        self.forget_unused_groups();
        Ok(())
    }

    /// Drops what is known of groups that no mapping is in, nor derived from.
    fn forget_unused_groups(&mut self) {
        let mut used = alloc::collections::BTreeMap::new();
        for group in self.spaces.values().flat_map(|space| space.vmas.iter()).filter_map(|vma| vma.group) {
            let mut next = group;
            while let Some(parent) = self.group_parents.get(&next) {
                used.insert(next, *parent);
                next = *parent;
            }
        }
        self.group_parents = used;
    }

    /// The page that small or huge entries lead to, whatever their kind.
    pub fn page_behind(&self, space: SpaceId, page: Vpn) -> Option<Pfn> {
        let table = &self.spaces.get(&space)?.table;
        match table.huge(page) {
            Some(super::table::Huge::Zero) => None,
            Some(
                super::table::Huge::Page { pfn, .. }
                | super::table::Huge::Private { pfn, .. }
                | super::table::Huge::Migration { pfn, .. },
            ) => Some(Pfn(pfn.0 + page % HUGE)),
            None => table.get(page).and_then(Entry::pfn),
        }
    }
}
