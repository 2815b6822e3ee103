//! One kernel's answer in one design: every driver asks, in order; what is refused leaves the others what there is.

use peerbus_os::device_private::{
    AnyDesign, DevicePrivate, Platform, PrivateDesign, PrivateRequest, design_of,
};
use peerbus_os::iomem::{Descriptor, IoResource};
use peerbus_os::pagemap::Owner;
use peerbus_units::{Bytes, CpuAddr, Range};

use super::cause::refused;
use super::ground::reach;
use super::{Answer, Asker, Granted, Hole, Question, Reach, ReachedBy, Refused};
use crate::kernel::ProfileName;
use crate::space::Part;

/// What drivers take from: one machine, kernel and design.
pub(super) struct Ground {
    pub platform: Platform,
    pub design: AnyDesign,
    pub reach: Reach,
    /// Requests are rounded up to this.
    pub granule: Bytes,
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
        let page = platform.layout.shape.page;
        let (granule, reach) = match design {
            PrivateDesign::PhysicalSpace => (space.section(), reach(&rules, &space)),
            PrivateDesign::OwnSpace => {
                let bytes = platform.entry_bits.frames().saturating_mul(page.0);
                (page, Reach { last: bytes.saturating_sub(1), by: ReachedBy::EntryBits })
            }
        };
        Ground { design: design_of(&platform), platform, reach, granule, taken: 0 }
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
        let holes = ground.holes();
        Answer {
            profile,
            design: design.into(),
            granule: ground.granule.0,
            reach: ground.reach,
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
        let reserved = reserved.map_err(|error| Box::new(refused(self, asker, free, &error)))?;
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

    /// True when frames are physical addresses.
    pub fn is_physical(&self) -> bool {
        self.design.design() == PrivateDesign::PhysicalSpace
    }

    /// RAM and windows, and what else is no device's memory.
    pub fn others(&self) -> Vec<Part> {
        let iomem = &self.platform.iomem;
        let others = iomem.children(iomem.root()).map(|(_, entry)| entry);
        let others = others.filter(|entry| entry.descriptor != Descriptor::DevicePrivate);
        let part = |entry: &IoResource| Part {
            first: entry.range.first().0,
            amount: entry.range.size().0,
            owner: entry.name.clone(),
        };
        others.map(part).collect()
    }

    /// What is free, lowest first. A space of its own is filled from the bottom without gaps, for nothing is given back.
    pub fn holes(&self) -> Vec<Hole> {
        let whole = self.reach.last.saturating_add(1);
        if !self.is_physical() {
            let left = whole.saturating_sub(self.taken);
            return Vec::from_iter((left > 0).then_some(Hole { first: self.taken, size: left }));
        }
        let iomem = &self.platform.iomem;
        let mut free: Vec<Hole> = Vec::new();
        let mut from = 0u64;
        let taken = iomem.children(iomem.root()).map(|(_, entry)| entry.range);
        let ends = taken.map(|range| (range.first().0.min(whole), range.last().0.saturating_add(1)));
        for (first, after) in ends.chain([(whole, whole)]) {
            if first > from {
                free.push(Hole { first: from, size: first - from });
            }
            from = from.max(after);
        }
        free
    }
}

/// The largest of some holes; of equals the lowest.
pub(super) fn largest(holes: &[Hole]) -> Option<Hole> {
    holes.iter().copied().reduce(|best, hole| if hole.size > best.size { hole } else { best })
}
