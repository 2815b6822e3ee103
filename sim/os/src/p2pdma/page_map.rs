//! [`PageMaps`]: which physical addresses of BARs have pages, since when, and who holds on to them.
//!
//! Registering peer memory gives its pages structs (`memremap_pages`); the range is then *live* and counts
//! references. A range that goes away is *dying* first: no new references, and it waits for the last old one.
//!
//! The kernel keeps an index from pages to ranges. A new range is refused when its *first* or its *last* page belongs to
//! a live one. Its interior is not looked at: entering it overwrites what the index says there, and when it goes the pages
//! in between belong to nobody, although the older range is still there. The ranges kept here do the same: each has
//! the pages that it is in the index for.

use alloc::vec::Vec;
use core::fmt;

use peerbus_units::{CpuAddr, FunctionId, Range};

use crate::dma::ProviderId;

/// Start and size of registered memory must be multiples of this: the smallest piece of memory the kernel can give
/// page structs to.
pub const SUB_SECTION: u64 = 2 << 20;

/// What decides whether physical addresses may get pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhysicalMemory<'a> {
    /// System RAM.
    pub system_ram: &'a [Range<CpuAddr>],
    /// What the architecture's linear mapping can reach.
    pub mappable: Range<CpuAddr>,
}

/// Why addresses got no pages. The kernel warns of all but [`PageMapError::OutsideMappable`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageMapError {
    /// The first or the last page has an owner already (`ENOMEM`).
    Owned {
        /// The live range it belongs to.
        by: Range<CpuAddr>,
    },
    /// Part of it is system RAM (`ENXIO`).
    OverlapsRam {
        /// The RAM.
        ram: Range<CpuAddr>,
    },
    /// Part of it is beyond what the kernel can map (`EINVAL`).
    OutsideMappable,
    /// Start or size is no multiple of [`SUB_SECTION`] (`EINVAL`).
    NoSubSections,
}

impl PageMapError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            PageMapError::Owned { .. } => "ENOMEM",
            PageMapError::OverlapsRam { .. } => "ENXIO",
            PageMapError::OutsideMappable | PageMapError::NoSubSections => "EINVAL",
        }
    }
}

impl fmt::Display for PageMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PageMapError::Owned { by } => write!(f, "its first or last page belongs to {by} (ENOMEM)"),
            PageMapError::OverlapsRam { ram } => write!(f, "it overlaps system RAM {ram} (ENXIO)"),
            PageMapError::OutsideMappable => f.write_str("the kernel cannot map all of it (EINVAL)"),
            PageMapError::NoSubSections => f.write_str("start or size is no multiple of 2 MiB (EINVAL)"),
        }
    }
}

impl core::error::Error for PageMapError {}

/// Names one registered range; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PageMapId(pub u32);

/// One registered range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageMap {
    /// Its name.
    pub id: PageMapId,
    /// Its pages.
    pub range: Range<CpuAddr>,
    /// The part of them for which it is in the index, in order.
    pub indexed: Vec<Range<CpuAddr>>,
    /// Whose BAR it lies in.
    pub function: FunctionId,
    /// Who is asked for map type and bus offset.
    pub provider: ProviderId,
    /// Allocations and pages in use by user space, each one.
    pub references: u64,
    /// No longer gives references.
    pub dying: bool,
}

/// All registered ranges of a machine, oldest first.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PageMaps {
    maps: Vec<PageMap>,
    next: u32,
}

fn page(address: CpuAddr) -> u64 {
    address.0 >> 12
}

impl PageMap {
    fn owns(&self, address: CpuAddr) -> bool {
        self.indexed.iter().any(|part| (page(part.first())..=page(part.last())).contains(&page(address)))
    }

    /// Another range is entered over this one.
    fn overwrite(&mut self, by: Range<CpuAddr>) {
        let rest = self.indexed.iter().flat_map(|part| {
            let (below, above) = part.without(by);
            below.into_iter().chain(above)
        });
        self.indexed = rest.collect();
    }
}

impl PageMaps {
    /// Gives `range` pages. The checks in the kernel's order; the interior is not compared with other ranges.
    pub fn add(
        &mut self,
        memory: &PhysicalMemory<'_>,
        range: Range<CpuAddr>,
        function: FunctionId,
        provider: ProviderId,
    ) -> Result<PageMapId, PageMapError> {
        let live = |end| self.owner(end).filter(|map| !map.dying);
        if let Some(map) = [range.first(), range.last()].into_iter().find_map(live) {
            return Err(PageMapError::Owned { by: map.range });
        }
        if let Some(ram) = memory.system_ram.iter().find(|ram| ram.overlaps(range)) {
            return Err(PageMapError::OverlapsRam { ram: *ram });
        }
        if !memory.mappable.covers(range) {
            return Err(PageMapError::OutsideMappable);
        }
        if !range.first().0.is_multiple_of(SUB_SECTION) || !range.size().0.is_multiple_of(SUB_SECTION) {
            return Err(PageMapError::NoSubSections);
        }
        let id = PageMapId(self.next);
        self.next += 1;
        self.maps.iter_mut().for_each(|map| map.overwrite(range));
        let indexed = [range].into();
        self.maps.push(PageMap { id, range, indexed, function, provider, references: 0, dying: false });
        Ok(id)
    }

    /// The range that the page at `address` belongs to.
    pub fn owner(&self, address: CpuAddr) -> Option<&PageMap> {
        self.maps.iter().find(|map| map.owns(address))
    }

    /// The range of that name, while it exists.
    pub fn get(&self, id: PageMapId) -> Option<&PageMap> {
        self.maps.iter().find(|map| map.id == id)
    }

    /// All ranges, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &PageMap> {
        self.maps.iter()
    }

    /// Takes a reference, unless the range is dying.
    pub(super) fn try_get(&mut self, id: PageMapId) -> bool {
        match self.maps.iter_mut().find(|map| map.id == id) {
            Some(map) if !map.dying => {
                map.references += 1;
                true
            }
            _ => false,
        }
    }

    /// Drops a reference; false when there is none to drop.
    pub(super) fn put(&mut self, id: PageMapId) -> bool {
        let map = self.maps.iter_mut().find(|map| map.id == id && map.references > 0);
        map.map(|map| map.references -= 1).is_some()
    }

    /// Makes the range dying; true and gone when nobody holds on to it.
    pub(super) fn kill(&mut self, id: PageMapId) -> bool {
        let Some(at) = self.maps.iter().position(|map| map.id == id) else { return true };
        self.maps[at].dying = true;
        if self.maps[at].references == 0 {
            self.maps.remove(at);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of A19: first and last page are asked for by themselves, and only a live owner is in the way.
    #[test]
    fn a_dying_range_hides_no_live_one() {
        let sub = |first: u64, count: u64| {
            Range::new(CpuAddr(first * SUB_SECTION), CpuAddr((first + count) * SUB_SECTION - 1)).unwrap()
        };
        let memory = PhysicalMemory { system_ram: &[], mappable: sub(0, 1 << 20) };
        let (id, provider) = (FunctionId::new(0, 1, 0, 0), ProviderId(0));
        let mut maps = PageMaps::default();
        let dying = maps.add(&memory, sub(0, 1), id, provider).unwrap();
        assert!(maps.try_get(dying) && !maps.kill(dying));
        assert!(maps.add(&memory, sub(4, 1), id, provider).is_ok());
        let owned = Err(PageMapError::Owned { by: sub(4, 1) });
        assert_eq!(maps.add(&memory, sub(0, 5), id, provider), owned, "the last page is owned");
        assert_eq!(maps.add(&memory, sub(4, 2), id, provider), owned, "the first page is owned");
        assert!(maps.add(&memory, sub(0, 6), id, provider).is_ok(), "the interior is not compared");
    }

    #[test]
    fn a_range_over_another_takes_its_pages_with_it() {
        let sub = |first: u64, count: u64| {
            Range::new(CpuAddr(first * SUB_SECTION), CpuAddr((first + count) * SUB_SECTION - 1)).unwrap()
        };
        let memory = PhysicalMemory { system_ram: &[], mappable: sub(0, 1 << 20) };
        let (id, provider) = (FunctionId::new(0, 1, 0, 0), ProviderId(0));
        let mut maps = PageMaps::default();
        let owner = |maps: &PageMaps, at: u64| maps.owner(CpuAddr(at * SUB_SECTION)).map(|map| map.id);
        let inner = maps.add(&memory, sub(2, 4), id, provider).unwrap();
        // Both ends free: it is entered over the middle of the first.
        let outer = maps.add(&memory, sub(1, 6), id, provider).unwrap();
        let expect = [None, Some(outer), Some(outer), Some(outer), Some(outer)];
        assert_eq!([0, 1, 2, 5, 6].map(|at| owner(&maps, at)), expect);
        assert!(maps.kill(outer));
        assert_eq!([1, 2, 5].map(|at| owner(&maps, at)), [None; 3], "nobody's now");
        assert!(maps.get(inner).is_some(), "the older range is still registered");
        assert!(maps.add(&memory, sub(2, 4), id, provider).is_ok(), "its pages can be taken");
    }
}
