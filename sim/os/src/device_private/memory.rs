//! [`PrivateMemory`]: the private memory of a machine for those who only want pages.
//!
//! Memory management names every page by one number, whatever memory it is in. Pages in physical space have the number of
//! their frame; those of a space of their own are numbered from 2^52 on, where no physical page is. The number leaves
//! memory management only as a [`Frame`]: in words and page-table entries.

use peerbus_units::{DevicePage, Pfn};

use super::{AnyDesign, DevicePrivate, Frame, NotReserved, Platform, PrivateRequest, Reserved, design_of};
use crate::pagemap::{MapPage, PageMapId, ReferenceBug, Unmap};

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

    /// Gives a reservation back, after its last page is.
    pub fn release(&mut self, map: PageMapId) -> Result<Unmap, ReferenceBug> {
        self.design.release(&mut self.platform, map)
    }

    /// The number of a page.
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

    /// A driver hands out 2^`order` pages.
    pub fn hand_out(&mut self, number: Pfn, order: u32) -> Result<(), ReferenceBug> {
        let page = self.page(number).ok_or(ReferenceBug::NoPage)?;
        let rules = self.platform.rules.pagemap;
        self.platform.page_maps.hand_out(&rules, page, order)
    }

    /// A driver gets 2^`order` pages back.
    pub fn free(&mut self, number: Pfn, order: u32) -> Result<(), ReferenceBug> {
        let page = self.page(number).ok_or(ReferenceBug::NoPage)?;
        self.platform.page_maps.free(page, order)
    }
}
