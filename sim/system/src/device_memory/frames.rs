//! [`Frames`]: what numbers of frames are taken from, and what of it is taken: physical addresses, or offsets of a space of their
//! own.

use peerbus_os::device_private::{Platform, PrivateDesign};
use peerbus_os::iomem::{Descriptor, IoResource, PhysicalSpace};
use peerbus_units::Bytes;

use super::cause::limit_text;
use super::ground::reach;
use super::{Hole, Reach, ReachedBy};
use crate::space::{Part, Space, SpaceKind};

/// Where numbers of frames come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Supply {
    /// How far they go.
    pub reach: Reach,
    /// Requests are rounded up to this.
    pub granule: Bytes,
    /// They are physical addresses.
    pub physical: bool,
}

impl Supply {
    /// That of a platform whose physical addresses are `space`.
    pub fn of(platform: &Platform, space: &PhysicalSpace) -> Supply {
        let page = platform.layout.shape.page;
        let physical = platform.rules.pagemap.private_design == PrivateDesign::PhysicalSpace;
        let (granule, reach) = match physical {
            true => (space.section(), reach(&platform.rules, space)),
            false => {
                let bytes = platform.entry_bits.frames().saturating_mul(page.0);
                (page, Reach { last: bytes.saturating_sub(1), by: ReachedBy::EntryBits })
            }
        };
        Supply { reach, granule, physical }
    }
}

/// A supply on its machine, with so many bytes granted.
#[derive(Clone, Copy)]
pub(crate) struct Frames<'a> {
    pub platform: &'a Platform,
    pub supply: Supply,
    /// Bytes granted.
    pub taken: u64,
}

impl Frames<'_> {
    /// RAM and windows, and what else is no device's memory.
    fn others(&self) -> Vec<Part> {
        let iomem = &self.platform.iomem;
        let others = iomem.children(iomem.root()).map(|(_, entry)| entry);
        let others = others.filter(|entry| entry.descriptor != Descriptor::DevicePrivate);
        let part = |entry: &IoResource| Part {
            first: entry.range.first().0,
            amount: entry.range.size().0,
            owner: entry.name.clone(),
        };
        others.filter(|_| self.supply.physical).map(part).collect()
    }

    /// What is free, lowest first. A space of its own is filled from the bottom without gaps, for nothing is given back.
    pub fn holes(&self) -> Vec<Hole> {
        let whole = self.supply.reach.last.saturating_add(1);
        if !self.supply.physical {
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

    /// As one of the spaces that can run out; `own` is what drivers have.
    pub fn space(&self, own: Vec<Part>) -> Space {
        let reach = self.supply.reach;
        let (kind, what) = match self.supply.physical {
            true => (SpaceKind::PhysicalAddresses, "physical addresses"),
            false => (SpaceKind::PrivateOffsets, "private offsets"),
        };
        let name = format!("{what} up to {:#x} ({})", reach.last, limit_text(reach));
        let parts: Vec<Part> = self.others().into_iter().chain(own).collect();
        Space::still(kind, name, (0, reach.last.saturating_add(1)), &parts)
    }
}
