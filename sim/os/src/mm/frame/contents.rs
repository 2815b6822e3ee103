//! What is in a page, and pages out of huge folios.

use alloc::boxed::Box;
use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::block::{Mappings, Page, Pages, bit, empty_pages, heads, split_number};
use super::{Frames, Freed, HUGE};

impl Frames {
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

    /// First pages of the folios in use among `pages` pages from `first` on: whole blocks.
    pub fn folios_in(&self, first: Pfn, pages: u64) -> Vec<Pfn> {
        let blocks = self.blocks.range(first.0 / HUGE..(first.0 + pages) / HUGE);
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
