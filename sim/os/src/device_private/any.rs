//! [`AnyDesign`]: the design that a kernel has.

use super::{
    DevicePrivate, Frame, Looked, NotReserved, OwnFrames, PhysicalFrames, Platform, PrivateDesign,
    PrivateRequest, Reserved,
};
use crate::pagemap::{MapPage, PageMapId, ReferenceBug, Unmap};

/// One of the designs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnyDesign {
    /// In physical space.
    Physical(PhysicalFrames),
    /// In a space of its own.
    Own(OwnFrames),
}

/// The design of `platform`'s kernel, with nothing reserved.
pub fn design_of(platform: &Platform) -> AnyDesign {
    match platform.rules.pagemap.private_design {
        PrivateDesign::PhysicalSpace => AnyDesign::Physical(PhysicalFrames::default()),
        PrivateDesign::OwnSpace => AnyDesign::Own(OwnFrames::new(platform.entry_bits)),
    }
}

impl AnyDesign {
    fn get(&self) -> &dyn DevicePrivate {
        match self {
            AnyDesign::Physical(frames) => frames,
            AnyDesign::Own(frames) => frames,
        }
    }

    fn get_mut(&mut self) -> &mut dyn DevicePrivate {
        match self {
            AnyDesign::Physical(frames) => frames,
            AnyDesign::Own(frames) => frames,
        }
    }
}

impl DevicePrivate for AnyDesign {
    fn design(&self) -> PrivateDesign {
        self.get().design()
    }

    fn reserve(
        &mut self,
        platform: &mut Platform,
        request: &PrivateRequest,
    ) -> Result<Reserved, NotReserved> {
        self.get_mut().reserve(platform, request)
    }

    fn release(&mut self, platform: &mut Platform, map: PageMapId) -> Result<Unmap, ReferenceBug> {
        self.get_mut().release(platform, map)
    }

    fn frame(&self, platform: &Platform, page: MapPage) -> Option<Looked<Frame>> {
        self.get().frame(platform, page)
    }

    fn page(&self, platform: &Platform, frame: Frame) -> Option<Looked<MapPage>> {
        self.get().page(platform, frame)
    }
}
