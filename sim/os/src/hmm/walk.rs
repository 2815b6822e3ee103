//! The walk: from page-table entries to words, in the order of the kernel's tests.

use peerbus_units::Pfn;

use super::Range;
use super::word::{Need, Word, need};
use crate::device_private::HmmLayout;
use crate::mm::frame::{Content, HUGE, HUGE_ZERO_PAGE, ZERO_PAGE};
use crate::mm::table::{Entry, Huge, SlotKind};
use crate::mm::vma::Vma;
use crate::mm::{Errno, Mm, Vpn, Wait};

/// Where a walk ended.
pub(super) enum Walked {
    /// At the end.
    Done,
    /// These pages have to be faulted.
    Fault { from: Vpn, to: Vpn, write: bool },
    /// It goes on at this page after a wait.
    Wait(Vpn, Wait),
    /// Refused.
    Error(Errno),
}

/// Walks pages from `next` to the end of the range.
pub(super) fn walk(mm: &mut Mm, range: &mut Range, next: Vpn, walked: &mut u64) -> Walked {
    let to = range.to();
    let mut page = next;
    while page < to {
        let vma = mm.vma(range.space, page);
        let end = match vma {
            Some(vma) => vma.end.min(to).min(page / HUGE * HUGE + HUGE),
            None => gap_end(mm, range, page),
        };
        *walked += end - page;
        let stop = match vma {
            Some(vma) if vma.read => Walk { mm, range, vma, end }.slot(page),
            _ => refused(range, page, end),
        };
        if let Some(stop) = stop {
            return stop;
        }
        page = end;
    }
    Walked::Done
}

fn gap_end(mm: &Mm, range: &Range, page: Vpn) -> Vpn {
    let behind = mm
        .spaces
        .get(&range.space)
        .and_then(|space| space.vmas.overlapping(page, range.to()).first().map(|vma| vma.start));
    behind.unwrap_or(range.to())
}

/// Pages no device may reach: an error word each, and an error if any was asked for.
fn refused(range: &mut Range, from: Vpn, to: Vpn) -> Option<Walked> {
    if range_need(range, from, to, false, false).fault {
        return Some(Walked::Error(Errno::Fault));
    }
    fill(range, from, to, Word::error());
    None
}

fn fill(range: &mut Range, from: Vpn, to: Vpn, word: Word) {
    let (first, last) = (range.index(from), range.index(to));
    range.words[first..last].fill(word);
}

fn page_need(range: &Range, page: Vpn, valid: bool, writable: bool) -> Need {
    need(range.words[range.index(page)], range.default_flags, range.mask, valid, writable)
}

fn range_need(range: &Range, from: Vpn, to: Vpn, valid: bool, writable: bool) -> Need {
    let mut sum = Need::default();
    for page in from..to {
        let need = page_need(range, page, valid, writable);
        sum.fault |= need.fault;
        sum.write |= need.write;
        if sum.fault && sum.write {
            break;
        }
    }
    sum
}

struct Walk<'a> {
    mm: &'a mut Mm,
    range: &'a mut Range,
    vma: Vma,
    /// End of what one visit of the walk covers: of the slot, the mapping, the range.
    end: Vpn,
}

impl Walk<'_> {
    fn layout(&self) -> HmmLayout {
        self.mm.hmm_words()
    }

    fn set(&mut self, page: Vpn, word: Word) {
        let index = self.range.index(page);
        let kept = self.range.words[index].0 & self.layout().kept();
        self.range.words[index] = Word(word.0 | kept);
    }

    fn fault(&self, from: Vpn, need: Need) -> Option<Walked> {
        Some(Walked::Fault { from, to: self.end, write: need.write })
    }

    fn slot(&mut self, page: Vpn) -> Option<Walked> {
        match self.mm.space(self.range.space).table.slot(page) {
            SlotKind::Empty => self.nothing(page),
            SlotKind::Huge(Huge::Zero) => self.huge(page, HUGE_ZERO_PAGE, false),
            SlotKind::Huge(Huge::Page { pfn, write }) => self.huge(page, pfn, write),
            SlotKind::Huge(Huge::Private { pfn, write }) => self.huge_private(page, pfn, write),
            SlotKind::Huge(Huge::Migration { pfn, .. }) => {
                if range_need(self.range, page, self.end, false, false).fault {
                    return Some(Walked::Wait(page, Wait::Migration(pfn)));
                }
                fill(self.range, page, self.end, Word::nothing());
                None
            }
            SlotKind::Table => (page..self.end).find_map(|page| self.small(page)),
        }
    }

    fn nothing(&mut self, page: Vpn) -> Option<Walked> {
        let need = range_need(self.range, page, self.end, false, false);
        if need.fault {
            return self.fault(page, need);
        }
        fill(self.range, page, self.end, Word::nothing());
        None
    }

    fn huge(&mut self, page: Vpn, head: Pfn, write: bool) -> Option<Walked> {
        let need = range_need(self.range, page, self.end, true, write);
        if need.fault {
            return self.fault(page, need);
        }
        self.huge_words(page, Pfn(head.0 + page % HUGE), write);
        None
    }

    fn huge_words(&mut self, page: Vpn, first: Pfn, write: bool) {
        let layout = self.layout();
        for (one, pfn) in (page..self.end).zip(first.0..) {
            self.set(one, Word::page(layout, Pfn(pfn), write, 9));
        }
    }

    fn huge_private(&mut self, page: Vpn, head: Pfn, write: bool) -> Option<Walked> {
        if self.owned(head) {
            let offset = if self.mm.rules.huge_private_words_ignore_offset { 0 } else { page % HUGE };
            self.huge_words(page, Pfn(head.0 + offset), write);
            return None;
        }
        let need = range_need(self.range, page, self.end, false, false);
        if need.fault {
            return self.fault(page, need);
        }
        // Small entries of other owners give nothing here; huge ones an error.
        fill(self.range, page, self.end, Word::error());
        None
    }

    fn owned(&self, pfn: Pfn) -> bool {
        self.range.owner.is_some_and(|mine| self.mm.private.owner(pfn) == Some(mine))
    }

    fn small(&mut self, page: Vpn) -> Option<Walked> {
        match self.mm.space(self.range.space).table.get(page) {
            None | Some(Entry::Marker | Entry::Exclusive { .. }) => self.absent(page),
            Some(Entry::Private { pfn, write }) => self.private(page, pfn, write),
            Some(Entry::Migration { pfn, .. }) => {
                if page_need(self.range, page, false, false).fault {
                    return Some(Walked::Wait(page, Wait::Migration(pfn)));
                }
                self.set(page, Word::nothing());
                None
            }
            Some(Entry::Zero) => self.present(page, ZERO_PAGE, false),
            Some(Entry::Page { pfn, write }) => self.present(page, pfn, write),
        }
    }

    fn absent(&mut self, page: Vpn) -> Option<Walked> {
        let need = page_need(self.range, page, false, false);
        if need.fault {
            return self.fault(page, need);
        }
        self.set(page, Word::nothing());
        None
    }

    fn private(&mut self, page: Vpn, pfn: Pfn, write: bool) -> Option<Walked> {
        let layout = self.layout();
        if self.owned(pfn) {
            self.set(page, Word::page(layout, pfn, write, 0));
            return None;
        }
        let peer = self.range.takes_peer_pages.then(|| self.mm.peer_page(pfn)).flatten();
        if let Some(peer) = peer {
            self.set(page, Word::page(layout, peer, write, 0));
            return None;
        }
        self.absent(page)
    }

    fn present(&mut self, page: Vpn, pfn: Pfn, write: bool) -> Option<Walked> {
        debug_assert!(self.vma.read, "unreadable mappings were sorted out");
        let need = page_need(self.range, page, true, write);
        if need.fault {
            return self.fault(page, need);
        }
        let driver = pfn != ZERO_PAGE && self.mm.frames.content(pfn) == Content::Driver;
        let order = 0;
        self.set(page, Word::page(self.layout(), pfn, write && !driver, order));
        None
    }
}
