//! One kernel's answer in one design: every driver asks, in order; what is refused leaves the others what there is.

use peerbus_os::device_private::{
    AnyDesign, DevicePrivate, Platform, PrivateDesign, PrivateRequest, design_of,
};
use peerbus_os::pagemap::Owner;
use peerbus_units::{Bytes, CpuAddr, Range};

use super::cause::refused;
use super::frames::{Frames, Supply};
use super::{Answer, Asker, Granted, Hole, Question, Refused};
use crate::kernel::ProfileName;

/// What drivers take from: one machine, kernel and design.
pub(super) struct Ground {
    pub platform: Platform,
    pub design: AnyDesign,
    pub supply: Supply,
    /// What has been granted, in bytes.
    taken: u64,
}

impl Question<'_> {
    /// The ground before anybody asks. `seed` places an arm64 kernel's linear map.
    pub(super) fn ground(
        &self,
        profile: ProfileName,
        design: PrivateDesign,
        ram: &[Range<CpuAddr>],
        seed: u16,
    ) -> Ground {
        let rules = self.rules(profile, design);
        let space = self.space(ram, seed);
        let platform = self.platform(rules, &space, ram);
        let supply = Supply::of(&platform, &space);
        Ground { design: design_of(&platform), platform, supply, taken: 0 }
    }

    pub(super) fn answer(
        &self,
        profile: ProfileName,
        design: PrivateDesign,
        ram: &[Range<CpuAddr>],
    ) -> Answer {
        let mut ground = self.ground(profile, design, ram, 0);
        let (mut granted, mut failed) = (Vec::new(), Vec::new());
        for (number, asker) in (0..).zip(&self.askers) {
            match ground.ask(asker, number) {
                Ok(grant) => granted.push(grant),
                Err(refusal) => failed.push(*refusal),
            }
        }
        let holes = ground.frames().holes();
        Answer {
            profile,
            design: design.into(),
            granule: ground.supply.granule.0,
            reach: ground.supply.reach,
            page_structs: granted.iter().map(|grant| grant.page_structs).sum(),
            free: holes.iter().map(|hole| hole.size).sum(),
            largest_hole: largest(&holes),
            granted,
            refused: failed,
            on_demand: self.conditions.on_demand.then(|| self.on_demand(profile, design, ram)),
        }
    }
}

impl Ground {
    /// A driver asks for page structs of all of its device's memory. Every device is an owner of its own.
    pub fn ask(&mut self, asker: &Asker, owner: u64) -> Result<Granted, Box<Refused>> {
        let request = PrivateRequest::new(Bytes(asker.memory), Owner(owner), asker.device.as_str());
        // A kernel that runs out of memory in the middle keeps what it has made.
        let free = self.platform.memory.free;
        let reserved = self.design.reserve(&mut self.platform, &request);
        let reserved = reserved.map_err(|error| {
            Box::new(refused(&self.frames(), (&asker.device, asker.memory), free, &error))
        })?;
        let shape = &self.platform.layout.shape;
        let size = reserved.pages.saturating_mul(shape.page.0);
        self.taken = self.taken.saturating_add(size);
        Ok(Granted {
            device: asker.device.clone(),
            first: reserved.first.number().saturating_mul(shape.page.0),
            size,
            page_structs: shape.bytes(reserved.cost).0,
        })
    }

    /// What numbers are taken from, as it is now.
    pub fn frames(&self) -> Frames<'_> {
        Frames { platform: &self.platform, supply: self.supply, taken: self.taken }
    }
}

/// The largest of some holes; of equals the lowest.
pub(super) fn largest(holes: &[Hole]) -> Option<Hole> {
    holes.iter().copied().reduce(|best, hole| if hole.size > best.size { hole } else { best })
}
