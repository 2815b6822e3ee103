//! Who maps a page or a folio.

use peerbus_units::Pfn;

use super::block::{Folio, Pages, parts_of, split_number};
use super::{At, Frames};

impl Frames {
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

    pub(super) fn folio_mut(&mut self, head: Pfn) -> &mut Folio {
        match &mut self.block_mut(head).pages {
            Pages::Huge(folio) => folio,
            Pages::Small(_) => panic!("only a huge folio has huge mappings"),
        }
    }
}
