//! [`PhysicalFrames`]: private memory gets unused physical addresses.
//!
//! Whole sections are taken, from the top of what the CPU and the kernel can address. The page map covers all of them,
//! so that page structs are paid for pages that the device does not have: 2 MiB of device memory cost 2 MiB of page
//! structs on x86, where its own pages would need 32 KiB.

use alloc::collections::BTreeMap;

use peerbus_units::{CpuAddr, Pfn};

use super::{
    DevicePrivate, Frame, Looked, NotReserved, Platform, PrivateDesign, PrivateRequest, ReserveWork, Reserved,
};
use crate::iomem::{Region, ResourceId};
use crate::pagemap::{MapPage, MemoryType, PageMapId, PageMapRequest, ReferenceBug, Unmap};

/// The design of every kernel released so far.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PhysicalFrames {
    regions: BTreeMap<PageMapId, ResourceId>,
}

impl DevicePrivate for PhysicalFrames {
    fn design(&self) -> PrivateDesign {
        PrivateDesign::PhysicalSpace
    }

    fn reserve(
        &mut self,
        platform: &mut Platform,
        request: &PrivateRequest,
    ) -> Result<Reserved, NotReserved> {
        let root = platform.iomem.root();
        let name = request.name.as_str();
        let searched = platform.iomem.request_free_mem_region(
            &platform.rules,
            &platform.space,
            root,
            request.size,
            name,
        );
        let region = searched.result.map_err(NotReserved::Region)?;
        let map =
            map_region(platform, request, region).inspect_err(|_| release_region(platform, region.id))?;
        self.regions.insert(map, region.id);
        let (pages, cost) =
            platform.page_maps.get(map).map_or((0, Default::default()), |map| (map.pages, map.cost));
        let work = ReserveWork { probes: searched.work.probes, steps: searched.work.siblings, pages };
        Ok(Reserved { map, first: Frame::Physical(pfn(platform, region.range.first())), pages, cost, work })
    }

    fn release(&mut self, platform: &mut Platform, map: PageMapId) -> Result<Unmap, ReferenceBug> {
        let region = *self.regions.get(&map).ok_or(ReferenceBug::NoPage)?;
        let unmap = platform.page_maps.memunmap(&platform.layout.shape, &mut platform.memory, map)?;
        if unmap == Unmap::Done {
            self.regions.remove(&map);
            release_region(platform, region);
        }
        Ok(unmap)
    }

    fn frame(&self, platform: &Platform, page: MapPage) -> Option<Looked<Frame>> {
        let address = platform.page_maps.get(page.map)?.address_of(page.index)?;
        // The place of a page struct is its frame's number.
        Some(Looked { found: Frame::Physical(pfn(platform, address)), steps: 0 })
    }

    fn page(&self, platform: &Platform, frame: Frame) -> Option<Looked<MapPage>> {
        let Frame::Physical(Pfn(number)) = frame else { return None };
        let address = CpuAddr(number.checked_mul(platform.layout.shape.page.0)?);
        let page = platform.page_maps.find(address)?;
        let private = platform.page_maps.get(page.map)?.kind == MemoryType::Private;
        // The frame's number is the place of its page struct.
        private.then_some(Looked { found: page, steps: 0 })
    }
}

fn pfn(platform: &Platform, address: CpuAddr) -> Pfn {
    Pfn(address.0 / platform.layout.shape.page.0)
}

fn map_region(
    platform: &mut Platform,
    request: &PrivateRequest,
    region: Region,
) -> Result<PageMapId, NotReserved> {
    let request = PageMapRequest {
        kind: MemoryType::Private,
        ranges: [region.range].into(),
        owner: request.owner,
        callbacks: request.callbacks,
        compound_order: 0,
        altmap: false,
        node: request.node,
    };
    let Platform { rules, layout, page_maps, memory, .. } = platform;
    page_maps.memremap(&rules.pagemap, layout, memory, &request).map_err(NotReserved::PageMap)
}

fn release_region(platform: &mut Platform, region: ResourceId) {
    let released = platform.iomem.release(region);
    assert!(released.is_ok(), "the region was entered and nobody else releases it");
}
