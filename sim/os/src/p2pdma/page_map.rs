//! [`PageMaps`]: which physical addresses of BARs have pages, since when, and who holds on to them.
//!
//! Registering peer memory gives its pages structs ([`pagemap`](crate::pagemap)); here each page map also has the
//! function whose BAR it lies in and the provider that is asked for map types, and counts only what peer memory counts:
//! allocations, and pages in use by user space.

use alloc::collections::BTreeMap;

use peerbus_units::{Bytes, CpuAddr, FunctionId, Range};

use crate::dma::ProviderId;
use crate::pagemap::{
    Callbacks, KernelMemory, MemoryLayout, MemoryType, NoPageMap, PageMapId, PageMapRequest, PageMapRules,
    Place, Unmap, VmemmapShape,
};
use crate::pagemap::{PageMap as AnyPageMap, PageMaps as AllPageMaps};

/// What decides whether physical addresses may get pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhysicalMemory<'a> {
    /// System RAM.
    pub system_ram: &'a [Range<CpuAddr>],
    /// What the architecture's linear mapping can reach.
    pub mappable: Range<CpuAddr>,
}

impl PhysicalMemory<'_> {
    fn layout(&self, page: Bytes) -> MemoryLayout {
        MemoryLayout {
            system_ram: self.system_ram.to_vec(),
            mappable: Some(self.mappable),
            limit: CpuAddr(u64::MAX),
            shape: VmemmapShape { page, ..VmemmapShape::X86 },
            nearest_node: 0,
            private_built: false,
        }
    }
}

/// One registered range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageMap {
    /// Its name.
    pub id: PageMapId,
    /// Its pages.
    pub range: Range<CpuAddr>,
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
    all: AllPageMaps,
    providers: BTreeMap<PageMapId, (FunctionId, ProviderId)>,
    page: Bytes,
}

impl PageMaps {
    /// Gives `range` pages of `page` bytes.
    pub fn add(
        &mut self,
        rules: &PageMapRules,
        memory: &PhysicalMemory<'_>,
        page: Bytes,
        range: Range<CpuAddr>,
        function: FunctionId,
        provider: ProviderId,
    ) -> Result<PageMapId, NoPageMap> {
        let request = PageMapRequest {
            kind: MemoryType::PciP2pdma,
            ranges: [range].into(),
            owner: None,
            callbacks: Callbacks::default(),
            compound_order: 0,
            altmap: false,
            node: None,
        };
        let mut unlimited = KernelMemory::UNLIMITED;
        let id = self.all.memremap(rules, &memory.layout(page), &mut unlimited, &request)?;
        self.page = page;
        self.providers.insert(id, (function, provider));
        Ok(id)
    }

    /// The range that the page at `address` belongs to.
    pub fn owner(&self, address: CpuAddr) -> Option<PageMap> {
        self.get(self.all.find(address)?.map)
    }

    /// The range of that name, while it exists.
    pub fn get(&self, id: PageMapId) -> Option<PageMap> {
        self.view(self.all.get(id)?)
    }

    /// All ranges, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = PageMap> + '_ {
        self.all.iter().filter_map(|map| self.view(map))
    }

    fn view(&self, map: &AnyPageMap) -> Option<PageMap> {
        let (function, provider) = *self.providers.get(&map.id)?;
        let Place::Physical(ranges) = &map.place else { return None };
        let range = *ranges.first()?;
        let references = map.references - map.resting;
        Some(PageMap { id: map.id, range, function, provider, references, dying: map.dying })
    }

    /// Takes a reference, unless the range is dying.
    pub(super) fn try_get(&mut self, id: PageMapId) -> bool {
        self.all.try_get(id)
    }

    /// Drops a reference; false when there is none to drop.
    pub(super) fn put(&mut self, id: PageMapId) -> bool {
        self.all.put(id).is_ok()
    }

    /// Makes the range dying; true and gone when nobody holds on to it.
    pub(super) fn kill(&mut self, id: PageMapId) -> bool {
        let shape = VmemmapShape { page: self.page, ..VmemmapShape::X86 };
        let mut unlimited = KernelMemory::UNLIMITED;
        let gone = !matches!(self.all.memunmap(&shape, &mut unlimited, id), Ok(Unmap::Wait { .. }));
        if gone {
            self.providers.remove(&id);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pagemap::SUB_SECTION;

    /// Of A19: first and last page are asked for by themselves, and only a live owner is in the way.
    #[test]
    fn a_dying_range_hides_no_live_one() {
        let sub = |first: u64, count: u64| {
            Range::new(CpuAddr(first * SUB_SECTION), CpuAddr((first + count) * SUB_SECTION - 1)).unwrap()
        };
        let memory = PhysicalMemory { system_ram: &[], mappable: sub(0, 1 << 20) };
        let (id, provider) = (FunctionId::new(0, 1, 0, 0), ProviderId(0));
        let mut maps = PageMaps::default();
        let add = |maps: &mut PageMaps, range| {
            maps.add(&PageMapRules::LINUX_7_3, &memory, Bytes::kib(4), range, id, provider)
        };
        let dying = add(&mut maps, sub(0, 1)).unwrap();
        assert!(maps.try_get(dying) && !maps.kill(dying));
        assert!(add(&mut maps, sub(4, 1)).is_ok());
        let owned = Err(NoPageMap::Owned { by: PageMapId(1) });
        assert_eq!(add(&mut maps, sub(0, 5)), owned, "the last page is owned");
        assert_eq!(add(&mut maps, sub(4, 2)), owned, "the first page is owned");
        assert!(add(&mut maps, sub(0, 6)).is_ok(), "the interior is not compared");
    }

    #[test]
    fn a_range_over_another_takes_its_pages_with_it() {
        let sub = |first: u64, count: u64| {
            Range::new(CpuAddr(first * SUB_SECTION), CpuAddr((first + count) * SUB_SECTION - 1)).unwrap()
        };
        let memory = PhysicalMemory { system_ram: &[], mappable: sub(0, 1 << 20) };
        let (id, provider) = (FunctionId::new(0, 1, 0, 0), ProviderId(0));
        let mut maps = PageMaps::default();
        let add = |maps: &mut PageMaps, range| {
            maps.add(&PageMapRules::LINUX_7_3, &memory, Bytes::kib(4), range, id, provider)
        };
        let owner = |maps: &PageMaps, at: u64| maps.owner(CpuAddr(at * SUB_SECTION)).map(|map| map.id);
        let inner = add(&mut maps, sub(2, 4)).unwrap();
        // Both ends free: it is entered over the middle of the first.
        let outer = add(&mut maps, sub(1, 6)).unwrap();
        let expect = [None, Some(outer), Some(outer), Some(outer), Some(outer)];
        assert_eq!([0, 1, 2, 5, 6].map(|at| owner(&maps, at)), expect);
        assert!(maps.kill(outer));
        assert_eq!([1, 2, 5].map(|at| owner(&maps, at)), [None; 3], "nobody's now");
        assert!(maps.get(inner).is_some(), "the older range is still registered");
        assert!(add(&mut maps, sub(2, 4)).is_ok(), "its pages can be taken");
    }
}
