//! Collecting: what may move is locked and taken out of the page table the request names.

use alloc::collections::BTreeMap;
use alloc::vec;

use peerbus_units::Pfn;

use super::{Migration, Refusal, Request, Word};
use crate::mm::frame::{At, Content, HUGE, Place};
use crate::mm::table::{Entry, Huge, SlotKind};
use crate::mm::vma::{Backing, Vma};
use crate::mm::{Errno, Mm, Vpn};
use crate::notifier::Event;

/// Checks a request and collects what may move. [`super::unmap`] is next, also when nothing was found.
///
/// # Errors
///
/// `Invalid`: the range is empty or not inside one mapping of ordinary memory, or the page whose fault is
/// answered is not a private one, or not locked where the kernel wants that.
pub fn setup(mm: &mut Mm, request: &Request) -> Result<Migration, Errno> {
    let vma = mm.vma(request.space, request.from).ok_or(Errno::Invalid)?;
    let special = matches!(vma.backing, Backing::Hugetlb | Backing::Driver);
    if special || request.to <= request.from || request.to > vma.end {
        return Err(Errno::Invalid);
    }
    if let Some(pfn) = request.fault_page {
        let private = mm.frames.is_used(pfn) && matches!(mm.frames.place(pfn), Place::Private(_));
        if !private || (mm.rules.private_fault_locks && !mm.frames.locked(pfn)) {
            return Err(Errno::Invalid);
        }
    }
    let count = usize::try_from(request.to - request.from).map_err(|_| Errno::Invalid)?;
    let mut migration = Migration {
        space: Some(request.space),
        from: request.from,
        by: request.by,
        fault_page: request.fault_page,
        src: vec![Word::NONE; count],
        dst: vec![Word::NONE; count],
        collected: 0,
        refusals: BTreeMap::new(),
        announced: false,
    };
    mm.invalidate(request.space, request.from, request.to, Event::Migrate(request.by));
    let mut collector = Collector { mm, request, vma, migration: &mut migration };
    let mut page = request.from;
    while page < request.to {
        let end = (page / HUGE * HUGE + HUGE).min(request.to);
        collector.slot(page, end);
        page = end;
    }
    Ok(migration)
}

struct Collector<'a> {
    mm: &'a mut Mm,
    request: &'a Request,
    vma: Vma,
    migration: &'a mut Migration,
}

impl Collector<'_> {
    fn index(&self, page: Vpn) -> usize {
        usize::try_from(page - self.request.from).expect("a page of the request")
    }

    fn collect(&mut self, page: Vpn, word: Word) {
        let index = self.index(page);
        self.migration.src[index] = word;
        self.migration.collected += 1;
    }

    fn refuse(&mut self, from: Vpn, to: Vpn, why: Refusal) {
        for page in from..to {
            let index = self.index(page);
            self.migration.refuse(index, why);
        }
    }

    /// Whether huge folios move whole in this part of the request.
    fn whole(&self, from: Vpn, to: Vpn) -> bool {
        self.mm.rules.huge_migration
            && self.request.select.compound
            && from.is_multiple_of(HUGE)
            && to - from == HUGE
    }

    fn slot(&mut self, from: Vpn, to: Vpn) {
        match self.mm.space(self.request.space).table.slot(from) {
            SlotKind::Empty => self.hole(from, to),
            SlotKind::Huge(Huge::Zero) if self.mm.rules.huge_migration => self.hole(from, to),
            SlotKind::Huge(Huge::Zero) => {
                self.mm.split_entry(self.request.space, from);
                self.small(from, to);
            }
            SlotKind::Huge(Huge::Page { pfn, write } | Huge::Private { pfn, write }) => {
                self.huge(from, to, pfn, write);
            }
            SlotKind::Huge(Huge::Migration { .. }) => self.refuse(from, to, Refusal::Busy),
            SlotKind::Table => self.small(from, to),
        }
    }

    fn hole(&mut self, from: Vpn, to: Vpn) {
        if !self.vma.is_anonymous() {
            return self.refuse(from, to, Refusal::Hole);
        }
        if self.whole(from, to) {
            return self.collect(from, Word::EMPTY.compound());
        }
        for page in from..to {
            self.collect(page, Word::EMPTY);
        }
    }

    /// Whether a page of this kind is asked for.
    fn wanted(&self, pfn: Pfn) -> Result<(), Refusal> {
        let place = self.mm.frames.place(pfn);
        let selected = match place {
            Place::System => self.request.select.system,
            Place::Private(_) => self.request.select.private,
            Place::Coherent(_) => self.request.select.coherent,
        };
        let asks = self.mm.devices.get(&self.request.by).map(|memory| memory.owner());
        match place {
            _ if !selected => Err(Refusal::NotSelected),
            Place::System => Ok(()),
            _ if self.mm.private.owner(pfn) == asks => Ok(()),
            _ => Err(Refusal::ForeignOwner),
        }
    }

    /// Locks the folio for this migration, unless the fault handler did.
    fn lock(&mut self, pfn: Pfn) -> bool {
        self.is_fault_folio(pfn) || self.mm.frames.try_lock(pfn)
    }

    fn is_fault_folio(&self, pfn: Pfn) -> bool {
        self.mm.rules.private_fault_locks
            && self
                .request
                .fault_page
                .is_some_and(|fault| self.mm.frames.head(fault) == self.mm.frames.head(pfn))
    }

    fn huge(&mut self, from: Vpn, to: Vpn, head: Pfn, write: bool) {
        // Kernels that only know small migration split before they look whether the page is wanted.
        if let (true, Err(why)) = (self.mm.rules.huge_migration, self.wanted(head)) {
            return self.refuse(from, to, why);
        }
        if !self.lock(head) {
            return self.refuse(from, to, Refusal::Locked);
        }
        self.mm.frames.get(head);
        if self.whole(from, to) {
            let at = At { space: self.request.space, page: from };
            if self.mm.unmap_huge_to_migration(at) {
                return self.collect(from, Word::source(self.mm.migrate_words(), head, write).compound());
            }
            self.unlock_and_put(head);
            return self.refuse(from, to, Refusal::Pinned);
        }
        if self.split(head) { self.small(from, to) } else { self.refuse(from, to, Refusal::CannotSplit) }
    }

    /// Splits a folio that is locked and referenced for this migration; the lock and the reference go.
    fn split(&mut self, pfn: Pfn) -> bool {
        let fault = self.request.fault_page.filter(|_| self.is_fault_folio(pfn));
        self.mm.split_folio_for(pfn, fault)
    }

    fn unlock_and_put(&mut self, pfn: Pfn) {
        if !self.is_fault_folio(pfn) {
            self.mm.frames.unlock(pfn);
        }
        self.mm.put(pfn);
    }

    fn small(&mut self, from: Vpn, to: Vpn) {
        for page in from..to {
            match self.mm.space(self.request.space).table.get(page) {
                None if self.vma.is_anonymous() => self.collect(page, Word::EMPTY),
                None => self.refuse(page, page + 1, Refusal::Hole),
                Some(Entry::Zero) if self.request.select.system => self.collect(page, Word::EMPTY),
                Some(Entry::Zero) => self.refuse(page, page + 1, Refusal::NotSelected),
                Some(Entry::Page { pfn, .. } | Entry::Private { pfn, .. }) => {
                    if let Err(Stop) = self.page(page, to, pfn) {
                        return;
                    }
                }
                Some(Entry::Exclusive { .. } | Entry::Migration { .. } | Entry::Marker) => {
                    self.refuse(page, page + 1, Refusal::Busy);
                }
            }
        }
    }

    fn page(&mut self, page: Vpn, end: Vpn, pfn: Pfn) -> Result<(), Stop> {
        if let Err(why) = self.wanted(pfn) {
            self.refuse(page, page + 1, why);
            return Ok(());
        }
        if self.mm.frames.content(pfn) == Content::Driver {
            self.refuse(page, page + 1, Refusal::Driver);
            return Ok(());
        }
        if self.mm.frames.is_huge(pfn) && !self.mm.rules.splits_for_migration {
            self.refuse(page, page + 1, Refusal::PartOfHuge);
            return Ok(());
        }
        if !self.lock(pfn) {
            self.refuse(page, page + 1, Refusal::Locked);
            return Ok(());
        }
        self.mm.frames.get(pfn);
        if self.mm.frames.is_huge(pfn) && self.mm.rules.splits_for_migration {
            if !self.split(pfn) {
                self.refuse(page, end, Refusal::CannotSplit);
                return Err(Stop);
            }
            return self.again(page, end);
        }
        let write = matches!(
            self.mm.space(self.request.space).table.get(page),
            Some(Entry::Page { write: true, .. } | Entry::Private { write: true, .. })
        );
        let at = At { space: self.request.space, page };
        if self.mm.unmap_one_to_migration(at) {
            self.collect(page, Word::source(self.mm.migrate_words(), pfn, write));
        } else {
            self.unlock_and_put(pfn);
            self.refuse(page, page + 1, Refusal::Pinned);
        }
        Ok(())
    }

    /// Looks at a page again after its folio was split: it may be the page of zeros now.
    fn again(&mut self, page: Vpn, end: Vpn) -> Result<(), Stop> {
        match self.mm.space(self.request.space).table.get(page) {
            Some(Entry::Page { pfn, .. } | Entry::Private { pfn, .. }) => self.page(page, end, pfn),
            _ => {
                self.small(page, page + 1);
                Ok(())
            }
        }
    }
}

/// Nothing more of this slot moves.
struct Stop;
