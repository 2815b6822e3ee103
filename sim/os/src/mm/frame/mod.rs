//! Page frames: who refers to each, who maps it, and what is in it.
//!
//! Frames live in blocks of 512 (2 MiB). A block is either one huge folio or 512 pages of their own; a huge folio
//! can be split, and a block whose pages are all free is given back whole. Every mapping of a page is known by
//! place, so that reverse walks need no search. Contents are one word per page: enough to tell whether a page
//! was lost, doubled or exchanged.
//!
//! Invariants: a free page has no reference and no mapping; references of a folio are never fewer than its
//! mappings. Blocks of a device never change their place.

mod block;
mod contents;
mod maps;
mod state;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops;

use peerbus_units::{CpuAddr, Pfn, Range};

use super::{DeviceId, FileId, SpaceId, Vpn};
use block::{
    Block, FREE_PAGE, Page, Pages, bit, empty_pages, first_clear, folio, set_bit, small_of, split_number,
};

/// Pages of a huge entry and of a huge folio.
pub const HUGE: u64 = 512;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// The shared page of zeros. Nothing is ever stored there.
pub const ZERO_PAGE: Pfn = Pfn(0);

/// The shared huge page of zeros.
pub const HUGE_ZERO_PAGE: Pfn = Pfn(HUGE);

/// Where a frame's memory is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// Memory of the machine.
    System,
    /// Memory of a device that a CPU cannot reach.
    Private(DeviceId),
    /// Memory of a device that a CPU reaches like its own.
    Coherent(DeviceId),
}

/// Whose contents a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Content {
    /// Anonymous memory of processes.
    Anonymous,
    /// A page of a file; the page cache holds one reference.
    File(FileId, u64),
    /// A page of the pool of huge pages.
    Hugetlb,
    /// A page that belongs to a driver and is only inserted into mappings.
    Driver,
}

/// One mapping: a virtual page of an address space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct At {
    /// The address space.
    pub space: SpaceId,
    /// The virtual page; of a huge mapping its first.
    pub page: Vpn,
}

/// What became of a folio whose last reference went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Freed {
    /// Its first page.
    pub head: Pfn,
    /// How many pages it had: 1 or 512.
    pub pages: u64,
    /// Where it was: a device's driver gets its pages back.
    pub place: Place,
}

/// Blocks at the beginning that are not handed out: the shared pages of zeros are there.
const ZERO_BLOCKS: u64 = 2;

/// All page frames in use.
#[derive(Clone, Debug)]
pub struct Frames {
    blocks: BTreeMap<u64, Block>,
    /// Blocks of system memory with pages to hand out.
    partial: BTreeSet<u64>,
    free_blocks: Vec<u64>,
    /// Blocks of RAM that were never used, the lowest last.
    fresh_blocks: Vec<ops::Range<u64>>,
    in_use: u64,
    /// Allocations of system memory that fail: the next after so many successes.
    fail_after: Option<u64>,
}

impl Frames {
    /// No page in use. System memory is `ram`, as far as it has whole blocks.
    pub fn new(ram: &[Range<CpuAddr>]) -> Frames {
        let block = HUGE * PAGE;
        let mut fresh_blocks: Vec<ops::Range<u64>> = ram
            .iter()
            .map(|range| {
                let first = range.first().0.div_ceil(block).max(ZERO_BLOCKS);
                first..(range.last().0 / block + u64::from(range.last().0 % block == block - 1)).max(first)
            })
            .collect();
        fresh_blocks.sort_by_key(|blocks| core::cmp::Reverse(blocks.start));
        Frames {
            blocks: BTreeMap::new(),
            partial: BTreeSet::new(),
            free_blocks: Vec::new(),
            fresh_blocks,
            in_use: 0,
            fail_after: None,
        }
    }

    /// Pages of system memory in use.
    pub fn in_use(&self) -> u64 {
        self.in_use
    }

    /// Lets one allocation of system memory fail, after `successes` more that do not.
    pub fn fail_after(&mut self, successes: u64) {
        self.fail_after = Some(successes);
    }

    fn admit(&mut self) -> bool {
        match &mut self.fail_after {
            Some(0) => {
                self.fail_after = None;
                return false;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        true
    }

    /// A zeroed page of system memory with one reference, or `None` when there is none left.
    pub fn allocate(&mut self, content: Content) -> Option<Pfn> {
        if !self.admit() {
            return None;
        }
        let number = match self.partial.first() {
            Some(number) => *number,
            None => {
                let number = self.fresh_block()?;
                self.blocks
                    .insert(number, Block { place: Place::System, pages: Pages::Small(empty_pages()) });
                self.partial.insert(number);
                number
            }
        };
        let pfn = self.take_page(number, content);
        self.in_use += 1;
        Some(pfn)
    }

    fn fresh_block(&mut self) -> Option<u64> {
        if let Some(number) = self.free_blocks.pop() {
            return Some(number);
        }
        let blocks = self.fresh_blocks.last_mut()?;
        match blocks.next() {
            Some(number) => Some(number),
            None => {
                self.fresh_blocks.pop();
                self.fresh_block()
            }
        }
    }

    fn take_page(&mut self, number: u64, content: Content) -> Pfn {
        let small = small_of(&mut self.blocks, number);
        let index = first_clear(&small.used).expect("a partial block has a free page");
        set_bit(&mut small.used, index, true);
        small.pages[index] = Page { references: 1, content, ..FREE_PAGE };
        if first_clear(&small.used).is_none() {
            self.partial.remove(&number);
        }
        Pfn(number * HUGE + index as u64)
    }

    /// A zeroed huge folio of system memory with one reference.
    pub fn allocate_huge(&mut self, content: Content) -> Option<Pfn> {
        if !self.admit() {
            return None;
        }
        let number = self.fresh_block()?;
        self.blocks
            .insert(number, Block { place: Place::System, pages: Pages::Huge(Box::new(folio(content))) });
        self.in_use += HUGE;
        Some(Pfn(number * HUGE))
    }

    /// A free page of a device, chosen by its driver, becomes a zeroed page with one reference.
    pub fn enter(&mut self, pfn: Pfn, place: Place) {
        let (number, index) = split_number(pfn);
        let block =
            self.blocks.entry(number).or_insert_with(|| Block { place, pages: Pages::Small(empty_pages()) });
        assert_eq!(block.place, place, "a block belongs to one device");
        let Pages::Small(small) = &mut block.pages else { panic!("a page inside a huge folio is not free") };
        assert!(!bit(&small.used, index), "a page handed out was free");
        set_bit(&mut small.used, index, true);
        small.pages[index] = Page { references: 1, ..FREE_PAGE };
    }

    /// 512 free pages of a device become one huge folio with one reference.
    pub fn enter_huge(&mut self, head: Pfn, place: Place) {
        let (number, index) = split_number(head);
        assert_eq!(index, 0, "a huge folio is aligned");
        let block = Block { place, pages: Pages::Huge(Box::new(folio(Content::Anonymous))) };
        let before = self.blocks.insert(number, block);
        assert!(before.is_none_or(|old| matches!(old.pages, Pages::Small(small) if small.used == [0; 8])));
    }

    fn block(&self, pfn: Pfn) -> &Block {
        self.blocks.get(&(pfn.0 / HUGE)).expect("a frame in use has a block")
    }

    fn block_mut(&mut self, pfn: Pfn) -> &mut Block {
        self.blocks.get_mut(&(pfn.0 / HUGE)).expect("a frame in use has a block")
    }

    /// Where the frame's memory is.
    pub fn place(&self, pfn: Pfn) -> Place {
        self.block(pfn).place
    }

    /// Whether the page is part of a huge folio.
    pub fn is_huge(&self, pfn: Pfn) -> bool {
        matches!(self.block(pfn).pages, Pages::Huge(_))
    }

    /// Whether a driver or process holds the page at all.
    pub fn is_used(&self, pfn: Pfn) -> bool {
        let (number, index) = split_number(pfn);
        self.blocks.get(&number).is_some_and(|block| match &block.pages {
            Pages::Huge(_) => true,
            Pages::Small(small) => bit(&small.used, index),
        })
    }

    /// First page of the folio the page belongs to.
    pub fn head(&self, pfn: Pfn) -> Pfn {
        if self.is_huge(pfn) { Pfn(pfn.0 / HUGE * HUGE) } else { pfn }
    }

    /// Number of pages of its folio.
    pub fn folio_pages(&self, pfn: Pfn) -> u64 {
        if self.is_huge(pfn) { HUGE } else { 1 }
    }

    /// References of the folio.
    pub fn references(&self, pfn: Pfn) -> u32 {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => folio.references,
            Pages::Small(small) => small.pages[split_number(pfn).1].references,
        }
    }

    fn references_mut(&mut self, pfn: Pfn) -> &mut u32 {
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => &mut folio.references,
            Pages::Small(small) => &mut small.pages[split_number(pfn).1].references,
        }
    }

    /// One more reference to the folio.
    pub fn get(&mut self, pfn: Pfn) {
        *self.references_mut(pfn) += 1;
    }

    /// One reference less; says so when it was the last and the folio is free.
    pub fn put(&mut self, pfn: Pfn) -> Option<Freed> {
        let references = self.references_mut(pfn);
        *references = references.checked_sub(1).expect("a reference that is dropped was held");
        if *references > 0 {
            return None;
        }
        let freed = Freed { head: self.head(pfn), pages: self.folio_pages(pfn), place: self.place(pfn) };
        assert_eq!(self.folio_mapcount(pfn), 0, "a free folio is mapped nowhere");
        self.free(freed);
        Some(freed)
    }

    fn free(&mut self, freed: Freed) {
        let (number, index) = split_number(freed.head);
        let whole = match &mut self.block_mut(freed.head).pages {
            Pages::Huge(_) => true,
            Pages::Small(small) => {
                set_bit(&mut small.used, index, false);
                small.pages[index].exclusive = false;
                small.pages[index].locked = false;
                small.used == [0; 8]
            }
        };
        let system = freed.place == Place::System;
        if system {
            self.in_use -= freed.pages;
        }
        if whole {
            self.blocks.remove(&number);
            self.partial.remove(&number);
            if system {
                self.free_blocks.push(number);
            }
        } else if system {
            self.partial.insert(number);
        }
    }
}
