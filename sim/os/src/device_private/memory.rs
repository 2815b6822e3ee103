//! [`PrivateMemory`]: the device memory of a machine for those who only want pages.
//!
//! Memory management names every page by one number, whatever memory it is in. Pages in physical space have the number of
//! their frame; those of a space of their own are numbered from 2^52 on, where no physical page is. The number leaves
//! memory management only as a [`Frame`]: in words and page-table entries.
//!
//! Coherent memory stands beside private memory, at its real addresses.

use peerbus_units::{CpuAddr, DevicePage, Pfn, Range};

use super::{
    AnyDesign, DevicePrivate, Frame, NotReserved, Platform, PrivateRequest, ReserveWork, Reserved, design_of,
};
use crate::pagemap::{MapPage, MemoryType, Owner, PageMapId, PageMapRequest, ReferenceBug, Unmap};

/// Number of the first page of a space of its own: beyond the pages of 64 bits of physical addresses.
const OWN_FIRST: u64 = 1 << 52;

/// Private memory, and the machine around it.
#[derive(Clone, Debug)]
pub struct PrivateMemory {
    /// The machine.
    pub platform: Platform,
    design: AnyDesign,
}

impl PrivateMemory {
    /// That of a machine, with nothing reserved, in its kernel's design.
    pub fn new(platform: Platform) -> PrivateMemory {
        let design = design_of(&platform);
        PrivateMemory { platform, design }
    }

    /// Reserves pages for a driver's memory; the first has the number [`PrivateMemory::number`] of the first frame, and
    /// the others follow.
    pub fn reserve(&mut self, request: &PrivateRequest) -> Result<Reserved, NotReserved> {
        self.design.reserve(&mut self.platform, request)
    }

    /// Gives device memory at `range` page structs: coherent memory, or a BAR that peers reach.
    pub fn reserve_at(
        &mut self,
        kind: MemoryType,
        range: Range<CpuAddr>,
        owner: Owner,
    ) -> Result<Reserved, NotReserved> {
        let request = PageMapRequest::device(kind, range, owner);
        let Platform { rules, layout, page_maps, memory, .. } = &mut self.platform;
        let map =
            page_maps.memremap(&rules.pagemap, layout, memory, &request).map_err(NotReserved::PageMap)?;
        let (pages, cost) = page_maps.get(map).map_or((0, Default::default()), |map| (map.pages, map.cost));
        let first = Frame::Physical(Pfn(range.first().0 / layout.shape.page.0));
        Ok(Reserved { map, first, pages, cost, work: ReserveWork { pages, ..ReserveWork::default() } })
    }

    /// Gives a reservation back, after its last page is.
    pub fn release(&mut self, map: PageMapId) -> Result<Unmap, ReferenceBug> {
        let Platform { layout, page_maps, memory, .. } = &mut self.platform;
        match page_maps.get(map).map(|map| map.kind) {
            Some(MemoryType::Private) | None => self.design.release(&mut self.platform, map),
            Some(_) => page_maps.memunmap(&layout.shape, memory, map),
        }
    }

    /// The number of a frame.
    pub fn number(frame: Frame) -> Pfn {
        match frame {
            Frame::Physical(pfn) => pfn,
            Frame::Offset(page) => Pfn(OWN_FIRST.saturating_add(page.0)),
        }
    }

    /// The frame of the page with that number.
    pub fn frame(number: Pfn) -> Frame {
        match number.0.checked_sub(OWN_FIRST) {
            Some(page) => Frame::Offset(DevicePage(page)),
            None => Frame::Physical(number),
        }
    }

    /// The page with that number; `None` where there is no private page.
    pub fn page(&self, number: Pfn) -> Option<MapPage> {
        let looked = self.design.page(&self.platform, PrivateMemory::frame(number))?;
        Some(looked.found)
    }

    /// The page with that number in any device's memory, private or at physical addresses.
    pub fn device_page(&self, number: Pfn) -> Option<MapPage> {
        match PrivateMemory::frame(number) {
            Frame::Offset(_) => self.page(number),
            Frame::Physical(Pfn(pfn)) => {
                let address = pfn.checked_mul(self.platform.layout.shape.page.0)?;
                self.platform.page_maps.find(CpuAddr(address))
            }
        }
    }

    /// The number of a page.
    pub fn number_of(&self, page: MapPage) -> Option<Pfn> {
        let map = self.platform.page_maps.get(page.map)?;
        match map.offset_of(page.index) {
            Some(offset) => Some(PrivateMemory::number(Frame::Offset(offset))),
            None => Some(Pfn(map.address_of(page.index)?.0 / map.page.0)),
        }
    }

    /// Whose memory the page with that number is.
    pub fn owner(&self, number: Pfn) -> Option<Owner> {
        self.platform.page_maps.get(self.device_page(number)?.map)?.owner
    }

    /// A driver hands out 2^`order` pages.
    pub fn hand_out(&mut self, number: Pfn, order: u32) -> Result<(), ReferenceBug> {
        let page = self.device_page(number).ok_or(ReferenceBug::NoPage)?;
        let rules = self.platform.rules.pagemap;
        self.platform.page_maps.hand_out(&rules, page, order)
    }

    /// A driver gets 2^`order` pages back.
    pub fn free(&mut self, number: Pfn, order: u32) -> Result<(), ReferenceBug> {
        let page = self.device_page(number).ok_or(ReferenceBug::NoPage)?;
        self.platform.page_maps.free(page, order)
    }
}
