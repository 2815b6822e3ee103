//! [`PageMaps`]: all page maps of a machine.
//!
//! The kernel keeps an index from pages to page maps. A new range is refused when its *first* or its *last* page
//! belongs to a live map. Its interior is not looked at: entering the range overwrites what the index says there, and
//! when the range goes, or is refused after all, the pages in between belong to nobody, although the older map is
//! still there.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::{Bytes, CpuAddr, DevicePage, Range};

use super::index::RangeIndex;
use super::vmemmap::{Making, Populated};
use super::{
    Callbacks, KernelMemory, MemoryLayout, MemoryType, NoPageMap, PageMapRequest, PageMapRules, PageStructs,
    SUB_SECTION, Vmemmap,
};
use crate::device_private::PrivateDesign;

/// Whose device memory it is: a device, or a group of devices that reach each other's memory privately. Drivers choose
/// the number; equal numbers are one owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Owner(pub u64);

/// Names one page map; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageMapId(pub u32);

/// One page of a page map: the kernel's pointer to its page struct.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MapPage {
    /// Of which map.
    pub map: PageMapId,
    /// Position in it, counted over all its ranges.
    pub index: u64,
}

/// Where the pages of a map are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// At physical addresses.
    Physical(Vec<Range<CpuAddr>>),
    /// In the separate space of private memory.
    Offsets(Range<DevicePage>),
}

/// One page map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageMap {
    /// Its name.
    pub id: PageMapId,
    /// What its memory is.
    pub kind: MemoryType,
    /// Whose memory it is.
    pub owner: Option<Owner>,
    /// Its node.
    pub node: u32,
    /// Where it is.
    pub place: Place,
    /// Pages.
    pub pages: u64,
    /// Size of one.
    pub page: Bytes,
    /// Base-2 logarithm of the pages in one compound page.
    pub compound_order: u32,
    /// Kernel memory of its page structs.
    pub cost: PageStructs,
    /// References that it holds on itself as long as it lives.
    pub resting: u64,
    /// All references: the resting ones, and those of pages handed out.
    pub references: u64,
    /// Gives no new references.
    pub dying: bool,
    pub(super) populated: Vec<Populated>,
}

/// All page maps of a machine.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PageMaps {
    pub(super) maps: BTreeMap<PageMapId, PageMap>,
    /// By page address of physical memory.
    pub(super) index: RangeIndex<CpuAddr, PageMapId>,
    pub(super) vmemmap: Vmemmap,
    next: u32,
}

impl PageMaps {
    /// Makes a page map: `memremap_pages`. The checks are the kernel's, in its order.
    pub fn memremap(
        &mut self,
        rules: &PageMapRules,
        layout: &MemoryLayout,
        memory: &mut KernelMemory,
        request: &PageMapRequest,
    ) -> Result<PageMapId, NoPageMap> {
        if request.ranges.is_empty() {
            return Err(NoPageMap::NoRange);
        }
        if rules.largest_compound_order.is_some_and(|largest| request.compound_order > largest) {
            return Err(NoPageMap::CompoundTooLarge);
        }
        if request.kind == MemoryType::Private && rules.private_design == PrivateDesign::OwnSpace {
            return Err(NoPageMap::NotPhysical);
        }
        check_driver(layout, request)?;
        let id = PageMapId(self.next);
        let mut done: Vec<Populated> = Vec::new();
        for (number, range) in request.ranges.iter().enumerate() {
            match self.map_range(layout, memory, request, id, number, *range) {
                Ok(populated) => done.push(populated),
                Err(error) => {
                    self.undo(layout, memory, id, request, &done);
                    return Err(error);
                }
            }
        }
        let size = Bytes(request.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.size().0)));
        let pages = layout.shape.pages(size);
        let place = Place::Physical(request.ranges.clone());
        let cost = done.iter().fold(PageStructs::default(), |sum, part| sum.plus(part.cost()));
        // Kernels that do not check the order shift by any: beyond 64 bits nothing is left.
        let resting = match request.kind.referenced_when_handed_out() {
            true => 0,
            false => pages.checked_shr(request.compound_order).unwrap_or(0),
        };
        Ok(self.enter(PageMap {
            id,
            kind: request.kind,
            owner: request.owner,
            node: request.node.unwrap_or(layout.nearest_node),
            place,
            pages,
            page: layout.shape.page,
            compound_order: request.compound_order,
            cost,
            resting,
            references: resting,
            dying: false,
            populated: done,
        }))
    }

    /// What a driver must bring for private memory in a space of its own: the same as in physical space.
    pub(crate) fn check_own(
        layout: &MemoryLayout,
        owner: Option<Owner>,
        callbacks: Callbacks,
    ) -> Result<(), NoPageMap> {
        let (kind, ranges) = (MemoryType::Private, Vec::new());
        let request =
            PageMapRequest { kind, ranges, owner, callbacks, compound_order: 0, altmap: false, node: None };
        check_driver(layout, &request)
    }

    /// Enters private memory in a space of its own, whose page structs have been allocated.
    pub(crate) fn enter_own(
        &mut self,
        layout: &MemoryLayout,
        owner: Option<Owner>,
        node: Option<u32>,
        offsets: Range<DevicePage>,
        cost: PageStructs,
    ) -> PageMapId {
        self.enter(PageMap {
            id: PageMapId(self.next),
            kind: MemoryType::Private,
            owner,
            node: node.unwrap_or(layout.nearest_node),
            place: Place::Offsets(offsets),
            pages: offsets.size().0,
            page: layout.shape.page,
            compound_order: 0,
            cost,
            resting: 0,
            references: 0,
            dying: false,
            populated: Vec::new(),
        })
    }

    fn enter(&mut self, map: PageMap) -> PageMapId {
        let id = map.id;
        self.next += 1;
        self.maps.insert(id, map);
        id
    }

    fn map_range(
        &mut self,
        layout: &MemoryLayout,
        memory: &mut KernelMemory,
        request: &PageMapRequest,
        id: PageMapId,
        number: usize,
        range: Range<CpuAddr>,
    ) -> Result<Populated, NoPageMap> {
        if request.altmap && number > 0 {
            return Err(NoPageMap::AltmapWithRanges);
        }
        let live = |end| self.live_owner(end);
        if let Some(by) = [range.first(), range.last()].into_iter().find_map(live) {
            return Err(NoPageMap::Owned { by });
        }
        if let Some(ram) = layout.system_ram.iter().find(|ram| ram.overlaps(range)) {
            return Err(NoPageMap::OverlapsRam { ram: *ram });
        }
        self.index.set(range, id);
        let populated = self.populate(layout, memory, request, range);
        if populated.is_err() {
            self.index.clear_value(range, id);
        }
        populated
    }

    fn populate(
        &mut self,
        layout: &MemoryLayout,
        memory: &mut KernelMemory,
        request: &PageMapRequest,
        range: Range<CpuAddr>,
    ) -> Result<Populated, NoPageMap> {
        let allowed = layout.allowed(request.kind);
        if !allowed.is_some_and(|allowed| allowed.covers(range)) {
            return Err(NoPageMap::OutsideAllowed { allowed });
        }
        if !range.first().0.is_multiple_of(SUB_SECTION) || !range.size().0.is_multiple_of(SUB_SECTION) {
            return Err(NoPageMap::NoSubSections);
        }
        let making = Making { compound_order: request.compound_order, altmap: request.altmap };
        let populated = self.vmemmap.populate(&layout.shape, memory, range, making);
        populated.ok_or(NoPageMap::NoMemory)
    }

    /// Takes back the ranges of a request that were mapped before one was refused.
    fn undo(
        &mut self,
        layout: &MemoryLayout,
        memory: &mut KernelMemory,
        id: PageMapId,
        request: &PageMapRequest,
        done: &[Populated],
    ) {
        for (range, populated) in request.ranges.iter().zip(done) {
            self.index.clear_value(*range, id);
            self.vmemmap.depopulate(&layout.shape, memory, populated);
        }
    }

    fn live_owner(&self, address: CpuAddr) -> Option<PageMapId> {
        let (_, id) = self.index.get(address)?;
        self.maps.get(&id).is_none_or(|map| !map.dying).then_some(id)
    }

    /// The map and position of the page at a physical address.
    pub fn find(&self, address: CpuAddr) -> Option<MapPage> {
        let (_, id) = self.index.get(address)?;
        let index = self.maps.get(&id)?.index_of(address)?;
        Some(MapPage { map: id, index })
    }

    /// The map of that name, while it exists.
    pub fn get(&self, id: PageMapId) -> Option<&PageMap> {
        self.maps.get(&id)
    }

    /// Changes whose memory it is, as when devices join an interconnect at run time. False without such a map.
    pub fn set_owner(&mut self, id: PageMapId, owner: Owner) -> bool {
        let map = self.maps.get_mut(&id);
        map.map(|map| map.owner = Some(owner)).is_some()
    }

    /// All maps, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &PageMap> {
        self.maps.values()
    }

    /// What of the map of page structs is populated.
    pub fn vmemmap(&self) -> &Vmemmap {
        &self.vmemmap
    }
}

/// What the driver has to bring, in the kernel's order.
fn check_driver(layout: &MemoryLayout, request: &PageMapRequest) -> Result<(), NoPageMap> {
    let kind = request.kind;
    if !kind.referenced_when_handed_out() {
        return Ok(());
    }
    let private = kind == MemoryType::Private;
    if private && !layout.private_built {
        return Err(NoPageMap::NotBuilt(kind));
    }
    if private && !request.callbacks.migrate_to_ram {
        return Err(NoPageMap::NoMigrateCallback);
    }
    if !request.callbacks.free {
        return Err(NoPageMap::NoFreeCallback);
    }
    if request.owner.is_none() { Err(NoPageMap::NoOwner) } else { Ok(()) }
}

impl PageMap {
    /// Position of the page at a physical address.
    pub fn index_of(&self, address: CpuAddr) -> Option<u64> {
        let Place::Physical(ranges) = &self.place else { return None };
        let mut before = 0;
        for range in ranges {
            if range.contains(address) {
                return Some((before + (address.0 - range.first().0)) / self.page.0);
            }
            before += range.size().0;
        }
        None
    }

    /// Physical address of the page at `index`; `None` outside, and in a space of its own.
    pub fn address_of(&self, index: u64) -> Option<CpuAddr> {
        let Place::Physical(ranges) = &self.place else { return None };
        let mut rest = index.checked_mul(self.page.0)?;
        for range in ranges {
            if rest < range.size().0 {
                return Some(CpuAddr(range.first().0 + rest));
            }
            rest -= range.size().0;
        }
        None
    }

    /// Offset page of the page at `index`; `None` outside, and in physical address space.
    pub fn offset_of(&self, index: u64) -> Option<DevicePage> {
        let Place::Offsets(range) = self.place else { return None };
        (index < self.pages).then(|| DevicePage(range.first().0 + index))
    }
}
