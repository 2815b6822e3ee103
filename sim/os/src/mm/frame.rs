//! Page frames: who refers to each, who maps it, and what is in it.
//!
//! Frames live in blocks of 512 (2 MiB). A block is either one huge folio or 512 pages of their own; a huge folio
//! can be split, and a block whose pages are all free is given back whole. Every mapping of a page is known by
//! place, so that reverse walks need no search. Contents are one word per page: enough to tell whether a page
//! was lost, doubled or exchanged.
//!
//! Invariants: a free page has no reference and no mapping; references of a folio are never fewer than its
//! mappings. Blocks of a device never change their place.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::{DeviceId, FileId, SpaceId, Vpn};

/// Pages of a huge entry and of a huge folio.
pub const HUGE: u64 = 512;

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

/// Mappings of one page; nearly always none or one.
#[derive(Clone, Default, Debug)]
enum Mappings {
    #[default]
    None,
    One(At),
    Many(Vec<At>),
}

impl Mappings {
    fn as_slice(&self) -> &[At] {
        match self {
            Mappings::None => &[],
            Mappings::One(at) => core::slice::from_ref(at),
            Mappings::Many(list) => list,
        }
    }

    fn add(&mut self, at: At) {
        *self = match core::mem::take(self) {
            Mappings::None => Mappings::One(at),
            Mappings::One(first) => Mappings::Many(alloc::vec![first, at]),
            Mappings::Many(mut list) => {
                list.push(at);
                Mappings::Many(list)
            }
        };
    }

    fn remove(&mut self, at: At) {
        *self = match core::mem::take(self) {
            Mappings::One(first) if first == at => Mappings::None,
            Mappings::Many(mut list) => {
                let index = list.iter().position(|one| *one == at);
                list.remove(index.expect("a mapping that is removed was added"));
                if let [last] = list[..] { Mappings::One(last) } else { Mappings::Many(list) }
            }
            _ => panic!("a mapping that is removed was added"),
        };
    }
}

/// One page of a block that is not a huge folio.
#[derive(Clone, Debug)]
struct Page {
    references: u32,
    maps: Mappings,
    content: Content,
    exclusive: bool,
    locked: bool,
    group: u64,
    data: u64,
}

const FREE_PAGE: Page = Page {
    references: 0,
    maps: Mappings::None,
    content: Content::Anonymous,
    exclusive: false,
    locked: false,
    group: 0,
    data: 0,
};

/// Mappings of single pages of a huge folio, and which of its pages one process has for itself.
#[derive(Clone, Debug)]
struct Parts {
    maps: Vec<Mappings>,
    exclusive: [u64; 8],
}

/// A huge folio.
#[derive(Clone, Debug)]
struct Folio {
    references: u32,
    /// Mappings by a huge entry.
    entire: Mappings,
    /// Present once it was mapped by small entries; until then the first page's exclusiveness is everybody's.
    parts: Option<Box<Parts>>,
    exclusive: bool,
    content: Content,
    locked: bool,
    group: u64,
    /// `None`: all zero.
    data: Option<Box<[u64; 512]>>,
}

#[derive(Clone, Debug)]
struct Small {
    pages: Vec<Page>,
    /// One bit per page handed out.
    used: [u64; 8],
}

#[derive(Clone, Debug)]
enum Pages {
    Huge(Box<Folio>),
    Small(Small),
}

#[derive(Clone, Debug)]
struct Block {
    place: Place,
    pages: Pages,
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

/// First frame number of device memory: above everything a machine has as RAM.
const DEVICE_FIRST_BLOCK: u64 = 1 << 40;

/// All page frames in use.
#[derive(Clone, Debug)]
pub struct Frames {
    blocks: BTreeMap<u64, Block>,
    /// Blocks of system memory with pages to hand out.
    partial: BTreeSet<u64>,
    free_blocks: Vec<u64>,
    next_block: u64,
    next_device_block: u64,
    /// Pages of system memory that may be in use at once.
    limit: u64,
    in_use: u64,
    /// Allocations of system memory that fail: the next after so many successes.
    fail_after: Option<u64>,
}

impl Frames {
    /// No page in use; at most `limit` pages of system memory at once.
    pub fn new(limit: u64) -> Frames {
        Frames {
            blocks: BTreeMap::new(),
            partial: BTreeSet::new(),
            free_blocks: Vec::new(),
            next_block: 2,
            next_device_block: DEVICE_FIRST_BLOCK,
            limit,
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

    fn admit(&mut self, pages: u64) -> bool {
        match &mut self.fail_after {
            Some(0) => {
                self.fail_after = None;
                return false;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.in_use + pages <= self.limit
    }

    /// A zeroed page of system memory with one reference, or `None` when there is none left.
    pub fn allocate(&mut self, content: Content) -> Option<Pfn> {
        if !self.admit(1) {
            return None;
        }
        let number = match self.partial.first() {
            Some(number) => *number,
            None => {
                let number = self.fresh_block();
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

    fn fresh_block(&mut self) -> u64 {
        self.free_blocks.pop().unwrap_or_else(|| {
            self.next_block += 1;
            self.next_block - 1
        })
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
        if !self.admit(HUGE) {
            return None;
        }
        let number = self.fresh_block();
        self.blocks
            .insert(number, Block { place: Place::System, pages: Pages::Huge(Box::new(folio(content))) });
        self.in_use += HUGE;
        Some(Pfn(number * HUGE))
    }

    /// Frame numbers for `blocks` blocks of a device's memory; page structs exist from [`Frames::enter`] on.
    pub fn reserve_device(&mut self, blocks: u64) -> Pfn {
        let first = self.next_device_block;
        self.next_device_block += blocks;
        Pfn(first * HUGE)
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

    /// Whose contents the folio holds.
    pub fn content(&self, pfn: Pfn) -> Content {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => folio.content,
            Pages::Small(small) => small.pages[split_number(pfn).1].content,
        }
    }

    /// Changes whose contents the folio holds.
    pub fn set_content(&mut self, pfn: Pfn, content: Content) {
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => folio.content = content,
            Pages::Small(small) => small.pages[split_number(pfn).1].content = content,
        }
    }

    /// The group of mappings in which the folio's anonymous pages may be found.
    pub fn group(&self, pfn: Pfn) -> u64 {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => folio.group,
            Pages::Small(small) => small.pages[split_number(pfn).1].group,
        }
    }

    /// Moves the folio to another group.
    pub fn set_group(&mut self, pfn: Pfn, group: u64) {
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => folio.group = group,
            Pages::Small(small) => small.pages[split_number(pfn).1].group = group,
        }
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

    /// Mappings of this page: its own and those of its whole folio.
    pub fn mapcount(&self, pfn: Pfn) -> usize {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => {
                let parts = folio.parts.as_ref();
                folio.entire.as_slice().len()
                    + parts.map_or(0, |parts| parts.maps[split_number(pfn).1].as_slice().len())
            }
            Pages::Small(small) => small.pages[split_number(pfn).1].maps.as_slice().len(),
        }
    }

    /// Mappings of any page of the folio.
    pub fn folio_mapcount(&self, pfn: Pfn) -> usize {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => {
                let parts = folio.parts.iter().flat_map(|parts| parts.maps.iter());
                folio.entire.as_slice().len() + parts.map(|maps| maps.as_slice().len()).sum::<usize>()
            }
            Pages::Small(_) => self.mapcount(pfn),
        }
    }

    /// Where this page is mapped by a small entry.
    pub fn maps(&self, pfn: Pfn) -> &[At] {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => {
                folio.parts.as_ref().map_or(&[], |parts| parts.maps[split_number(pfn).1].as_slice())
            }
            Pages::Small(small) => small.pages[split_number(pfn).1].maps.as_slice(),
        }
    }

    /// Where the huge folio is mapped by a huge entry.
    pub fn huge_maps(&self, pfn: Pfn) -> &[At] {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => folio.entire.as_slice(),
            Pages::Small(_) => &[],
        }
    }

    /// Adds a mapping by a small entry. The caller holds the reference for it.
    pub fn map(&mut self, pfn: Pfn, at: At) {
        let (_, index) = split_number(pfn);
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => parts_of(folio).maps[index].add(at),
            Pages::Small(small) => small.pages[index].maps.add(at),
        }
    }

    /// Removes a mapping by a small entry.
    pub fn unmap(&mut self, pfn: Pfn, at: At) {
        let (_, index) = split_number(pfn);
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => parts_of(folio).maps[index].remove(at),
            Pages::Small(small) => small.pages[index].maps.remove(at),
        }
    }

    /// Adds a mapping of the whole folio.
    pub fn map_huge(&mut self, head: Pfn, at: At) {
        self.folio_mut(head).entire.add(at);
    }

    /// Removes a mapping of the whole folio.
    pub fn unmap_huge(&mut self, head: Pfn, at: At) {
        self.folio_mut(head).entire.remove(at);
    }

    fn folio_mut(&mut self, head: Pfn) -> &mut Folio {
        match &mut self.block_mut(head).pages {
            Pages::Huge(folio) => folio,
            Pages::Small(_) => panic!("only a huge folio has huge mappings"),
        }
    }

    /// Whether one process has this page for itself, and may write it without a copy.
    pub fn exclusive(&self, pfn: Pfn) -> bool {
        let (_, index) = split_number(pfn);
        match &self.block(pfn).pages {
            Pages::Huge(folio) => {
                folio.parts.as_ref().map_or(folio.exclusive, |parts| bit(&parts.exclusive, index))
            }
            Pages::Small(small) => small.pages[index].exclusive,
        }
    }

    /// Says whether one process has this page for itself.
    pub fn set_exclusive(&mut self, pfn: Pfn, exclusive: bool) {
        let (_, index) = split_number(pfn);
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => set_bit(&mut parts_of(folio).exclusive, index, exclusive),
            Pages::Small(small) => small.pages[index].exclusive = exclusive,
        }
    }

    /// Says so of every page of the folio.
    pub fn set_folio_exclusive(&mut self, pfn: Pfn, exclusive: bool) {
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => {
                folio.exclusive = exclusive;
                if let Some(parts) = &mut folio.parts {
                    parts.exclusive = [if exclusive { u64::MAX } else { 0 }; 8];
                }
            }
            Pages::Small(small) => small.pages[split_number(pfn).1].exclusive = exclusive,
        }
    }

    /// Whether the folio is locked.
    pub fn locked(&self, pfn: Pfn) -> bool {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => folio.locked,
            Pages::Small(small) => small.pages[split_number(pfn).1].locked,
        }
    }

    /// Locks the folio if it is not.
    pub fn try_lock(&mut self, pfn: Pfn) -> bool {
        let locked = self.locked_mut(pfn);
        !core::mem::replace(locked, true)
    }

    /// Unlocks the folio.
    pub fn unlock(&mut self, pfn: Pfn) {
        let locked = self.locked_mut(pfn);
        assert!(core::mem::replace(locked, false), "a folio that is unlocked was locked");
    }

    fn locked_mut(&mut self, pfn: Pfn) -> &mut bool {
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => &mut folio.locked,
            Pages::Small(small) => &mut small.pages[split_number(pfn).1].locked,
        }
    }

    /// The page's contents. A page that was freed reads as zero.
    pub fn data(&self, pfn: Pfn) -> u64 {
        let (number, index) = split_number(pfn);
        match self.blocks.get(&number).map(|block| &block.pages) {
            Some(Pages::Huge(folio)) => folio.data.as_ref().map_or(0, |data| data[index]),
            Some(Pages::Small(small)) => small.pages[index].data,
            None => 0,
        }
    }

    /// Writes the page.
    pub fn set_data(&mut self, pfn: Pfn, value: u64) {
        let (number, index) = split_number(pfn);
        match self.blocks.get_mut(&number).map(|block| &mut block.pages) {
            Some(Pages::Huge(folio)) => match &mut folio.data {
                Some(data) => data[index] = value,
                None if value == 0 => {}
                None => folio.data.insert(Box::new([0; 512]))[index] = value,
            },
            Some(Pages::Small(small)) => small.pages[index].data = value,
            None => {}
        }
    }

    /// Copies `pages` pages.
    pub fn copy(&mut self, from: Pfn, to: Pfn, pages: u64) {
        for index in 0..pages {
            let value = self.data(Pfn(from.0 + index));
            self.set_data(Pfn(to.0 + index), value);
        }
    }

    /// Splits a huge folio into pages; each keeps a reference per mapping it has, the first page also `held`.
    /// The lock stays with the first page; returns the pages nobody refers to any more, which are free.
    pub fn split(&mut self, head: Pfn, held: u32) -> Vec<Freed> {
        let locked = self.locked(head);
        self.split_into(head, |mapped, first| (mapped + if first { held } else { 0 }, locked && first))
    }

    /// Splits a huge folio; `state` gives a page's references and lock from its mappings and whether it is first.
    fn split_into(&mut self, head: Pfn, state: impl Fn(u32, bool) -> (u32, bool)) -> Vec<Freed> {
        let place = self.place(head);
        let folio = self.folio_mut(head);
        assert_eq!(folio.entire.as_slice().len(), 0, "a folio is split when small entries map it");
        let exclusive = folio.exclusive;
        let parts = folio.parts.take();
        let (content, group, data) = (folio.content, folio.group, folio.data.take());
        let mut small = empty_pages();
        let (maps, bits) = match parts {
            Some(parts) => (parts.maps, parts.exclusive),
            None => (alloc::vec![Mappings::None; 512], [if exclusive { u64::MAX } else { 0 }; 8]),
        };
        small.used = [u64::MAX; 8];
        for (index, maps) in maps.into_iter().enumerate() {
            let mapped = u32::try_from(maps.as_slice().len()).expect("mappings are few");
            let (references, locked) = state(mapped, index == 0);
            small.pages[index] = Page {
                references,
                maps,
                content,
                exclusive: bit(&bits, index),
                locked,
                group,
                data: data.as_ref().map_or(0, |data| data[index]),
            };
        }
        let unused: Vec<Freed> = (0..HUGE)
            .filter(|index| {
                small.pages[usize::try_from(*index).expect("an index of a block")].references == 0
            })
            .map(|index| Freed { head: Pfn(head.0 + index), pages: 1, place })
            .collect();
        self.block_mut(head).pages = Pages::Small(small);
        for freed in &unused {
            self.free(*freed);
        }
        unused
    }

    /// Splits a huge folio that nothing maps into pages that are each locked and have one reference.
    pub fn split_all_held(&mut self, head: Pfn) {
        self.split_into(head, |_, _| (1, true));
    }

    /// First pages of the folios in use of one device's memory.
    pub fn device_folios(&self, device: DeviceId) -> Vec<Pfn> {
        let mine = |place| matches!(place, Place::Private(one) | Place::Coherent(one) if one == device);
        let blocks = self.blocks.range(DEVICE_FIRST_BLOCK..).filter(|(_, block)| mine(block.place));
        blocks.flat_map(|(number, block)| heads(*number, block)).collect()
    }

    /// All folios in use, with their references and mappings; for checks.
    pub fn folios(&self) -> Vec<(Pfn, u32, usize)> {
        let mut list = Vec::new();
        for (number, block) in &self.blocks {
            for pfn in heads(*number, block) {
                list.push((pfn, self.references(pfn), self.folio_mapcount(pfn)));
            }
        }
        list
    }
}

/// First pages of a block's folios in use.
fn heads(number: u64, block: &Block) -> Vec<Pfn> {
    match &block.pages {
        Pages::Huge(_) => alloc::vec![Pfn(number * HUGE)],
        Pages::Small(small) => (0..HUGE)
            .filter(|index| bit(&small.used, split_number(Pfn(*index)).1))
            .map(|index| Pfn(number * HUGE + index))
            .collect(),
    }
}

fn folio(content: Content) -> Folio {
    Folio {
        references: 1,
        entire: Mappings::None,
        parts: None,
        exclusive: false,
        content,
        locked: false,
        group: 0,
        data: None,
    }
}

fn empty_pages() -> Small {
    Small { pages: alloc::vec![FREE_PAGE; 512], used: [0; 8] }
}

fn parts_of(folio: &mut Folio) -> &mut Parts {
    let exclusive = [if folio.exclusive { u64::MAX } else { 0 }; 8];
    folio.parts.get_or_insert_with(|| Box::new(Parts { maps: alloc::vec![Mappings::None; 512], exclusive }))
}

fn small_of(blocks: &mut BTreeMap<u64, Block>, number: u64) -> &mut Small {
    match blocks.get_mut(&number).map(|block| &mut block.pages) {
        Some(Pages::Small(small)) => small,
        _ => panic!("a partial block holds small pages"),
    }
}

fn split_number(pfn: Pfn) -> (u64, usize) {
    (pfn.0 / HUGE, usize::try_from(pfn.0 % HUGE).expect("an index of a block"))
}

fn bit(bits: &[u64; 8], index: usize) -> bool {
    bits[index / 64] >> (index % 64) & 1 == 1
}

fn set_bit(bits: &mut [u64; 8], index: usize, value: bool) {
    let mask = 1 << (index % 64);
    if value {
        bits[index / 64] |= mask;
    } else {
        bits[index / 64] &= !mask;
    }
}

fn first_clear(bits: &[u64; 8]) -> Option<usize> {
    let word = bits.iter().position(|word| *word != u64::MAX)?;
    Some(word * 64 + bits[word].trailing_ones() as usize)
}
