//! [`Space`]: one thing that can run out, whatever it is: windows of host bridges and bridges, apertures of BARs, pools of peer
//! memory, physical addresses and private offsets for device memory, RAM for page structs, device memory for pages of processes, I/O
//! virtual addresses, tags.
//!
//! All have a size, what is taken of it by whom, the largest hole that is left, the most that was ever taken, and the first
//! request that got nothing, with the chain of causes that decided. What changes while a run goes on is followed by a
//! [`Level`]; what is settled when the machine has come up is described once (`Space::still`), and its series is one value.
//!
//! Slack is what is taken and used by nobody, told apart by why: *granule*, because it is given in whole pages, sections or
//! megabytes; *alignment*, because something larger than the hole before it begins at a multiple of its own size.
//!
//! Invariants: what is taken and the holes together are no more than the size; the largest hole never was smaller than
//! `least_hole`, nor more taken than `peak`.
//!
//! Modules in reading order: `level` (over time), `windows` (of host bridges and bridges), `devices` (apertures, I/O virtual
//! addresses, tags).

mod devices;
mod level;
mod windows;

use std::collections::BTreeMap;

use peerbus_units::Picos;
use serde::Serialize;

pub(crate) use devices::{IoLevels, followed, io_size};
pub use devices::{apertures, io_addresses, io_level, tags};
pub use level::{Holding, Level};
pub use windows::windows;
pub(crate) use windows::{WindowSpace, host_windows};

/// What a space is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpaceKind {
    /// A window of a host bridge: addresses below it.
    HostBridgeWindow,
    /// A window of a bridge or a switch port.
    BridgeWindow,
    /// What a BAR with a table of pages can show.
    Aperture,
    /// Memory that a device has registered for peers.
    PeerPool,
    /// Physical addresses, up to where the kernel looks for unused ones.
    PhysicalAddresses,
    /// Frame numbers of private memory in a space of their own.
    PrivateOffsets,
    /// RAM for page structs of device memory.
    PageStructMemory,
    /// Memory of a device that pages of processes may move to.
    DeviceMemory,
    /// I/O virtual addresses of an IOMMU group.
    IoAddresses,
    /// Read requests that an engine can have under way.
    Tags,
}

impl SpaceKind {
    /// All of them, with the words that documents and conditions use.
    pub const ALL: [(SpaceKind, &str); 10] = [
        (SpaceKind::HostBridgeWindow, "host_bridge_window"),
        (SpaceKind::BridgeWindow, "bridge_window"),
        (SpaceKind::Aperture, "aperture"),
        (SpaceKind::PeerPool, "peer_pool"),
        (SpaceKind::PhysicalAddresses, "physical_addresses"),
        (SpaceKind::PrivateOffsets, "private_offsets"),
        (SpaceKind::PageStructMemory, "page_struct_memory"),
        (SpaceKind::DeviceMemory, "device_memory"),
        (SpaceKind::IoAddresses, "io_addresses"),
        (SpaceKind::Tags, "tags"),
    ];

    /// As documents and conditions write it.
    pub fn name(self) -> &'static str {
        SpaceKind::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// True when its numbers are pieces, not bytes.
    pub fn is_counted(self) -> bool {
        self == SpaceKind::Tags
    }
}

/// Something that can run out. Amounts are bytes, or pieces where the kind is counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Space {
    /// What it is made of.
    pub kind: SpaceKind,
    /// Name, unique in a run.
    pub name: String,
    /// All there is.
    pub size: u64,
    /// What is taken at the end.
    pub used: u64,
    /// The largest piece that is free at the end.
    pub largest_hole: u64,
    /// The most that was taken at a time.
    pub peak: u64,
    /// The smallest that the largest free piece ever was.
    pub least_hole: u64,
    /// Of what was taken at the peak, slack by alignment.
    pub alignment: u64,
    /// Slack by the granule.
    pub granule: u64,
    /// 1 − largest free piece / all that is free, over time, in millionths.
    pub fragmentation_ppm: u32,
    /// Who had how much when most was taken, the largest first.
    pub owners: Vec<SpaceOwner>,
    /// Requests that got nothing of it.
    pub refusals: u64,
    /// The first of them.
    pub first_refusal: Option<SpaceRefusal>,
    /// Time between two samples; zero for what does not change.
    pub interval: Picos,
    /// Its state at regular times from time 0 on; one for what does not change.
    pub samples: Vec<SpaceSample>,
}

/// Who has part of a space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpaceOwner {
    /// A device, a bridge, or what else it is.
    pub name: String,
    /// How much.
    pub amount: u64,
}

/// State of a space at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpaceSample {
    /// What is taken.
    pub used: u64,
    /// The largest piece that is free.
    pub largest_hole: u64,
}

/// A request that got nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpaceRefusal {
    /// When; `None` when the machine came up.
    pub time: Option<Picos>,
    /// Who asked.
    pub who: String,
    /// What for.
    pub amount: u64,
    /// Which link of the chain decided.
    pub decided: &'static str,
    /// From the granule to the limit.
    pub chain: Vec<Cause>,
}

/// One link of a chain of causes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cause {
    /// `granule`, `alignment`, `holes`, `window`, `aperture`, `limit`, `page structs` or `kernel`.
    pub what: &'static str,
    /// In words, with numbers.
    pub text: String,
}

impl Cause {
    /// A link.
    pub(crate) fn new(what: &'static str, text: String) -> Cause {
        Cause { what, text }
    }
}

/// A part that is taken: its first unit, its length, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub first: u64,
    pub amount: u64,
    pub owner: String,
}

impl Space {
    /// A space of `size` units from `first` on that does not change, with what is taken of it. Parts may overlap each other and
    /// the ends; what lies outside does not count.
    pub(crate) fn still(kind: SpaceKind, name: String, (first, size): (u64, u64), parts: &[Part]) -> Space {
        let end = u128::from(first) + u128::from(size);
        let inside = |part: &Part| {
            let from = u128::from(part.first.max(first));
            let to = (u128::from(part.first) + u128::from(part.amount)).min(end);
            (from < to).then_some((from, to))
        };
        let mut taken: Vec<(u128, u128)> = parts.iter().filter_map(inside).collect();
        taken.sort_unstable();
        let (mut at, mut used, mut hole) = (u128::from(first), 0, 0);
        for (from, to) in taken.into_iter().chain([(end, end)]) {
            hole = hole.max(from.saturating_sub(at));
            used += to.saturating_sub(at.max(from));
            at = at.max(to);
        }
        let narrow = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
        let mut owners: BTreeMap<&str, u64> = BTreeMap::new();
        for (part, (from, to)) in parts.iter().filter_map(|part| Some((part, inside(part)?))) {
            let amount = owners.entry(&part.owner).or_insert(0);
            *amount = amount.saturating_add(narrow(to - from));
        }
        Space::settled(kind, name, size, narrow(used), narrow(hole)).owned_by(owners)
    }

    /// A space that does not change, by its numbers.
    pub fn settled(kind: SpaceKind, name: String, size: u64, used: u64, largest_hole: u64) -> Space {
        let free = size.saturating_sub(used);
        let lost = u128::from(free.saturating_sub(largest_hole)) * 1_000_000;
        let fragmentation = lost.checked_div(u128::from(free)).unwrap_or(0);
        Space {
            kind,
            name,
            size,
            used,
            largest_hole,
            peak: used,
            least_hole: largest_hole,
            alignment: 0,
            granule: 0,
            fragmentation_ppm: u32::try_from(fragmentation).unwrap_or(1_000_000),
            owners: Vec::new(),
            refusals: 0,
            first_refusal: None,
            interval: Picos::ZERO,
            samples: vec![SpaceSample { used, largest_hole }],
        }
    }

    /// The same with its owners, the largest first and of equals by name.
    pub fn owned_by<N: Into<String>>(mut self, owners: impl IntoIterator<Item = (N, u64)>) -> Space {
        let owner = |(name, amount): (N, u64)| SpaceOwner { name: name.into(), amount };
        self.owners = owners.into_iter().map(owner).filter(|owner| owner.amount > 0).collect();
        self.owners.sort_by(|a, b| b.amount.cmp(&a.amount).then_with(|| a.name.cmp(&b.name)));
        self
    }

    /// One request more got nothing.
    pub fn refuse(&mut self, refusal: SpaceRefusal) {
        self.refusals = self.refusals.saturating_add(1);
        self.first_refusal.get_or_insert(refusal);
    }

    /// True when what is taken of it changes during a run.
    pub fn is_followed(&self) -> bool {
        self.interval > Picos::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: u64, amount: u64, owner: &str) -> Part {
        Part { first, amount, owner: owner.to_owned() }
    }

    /// What is taken, the largest hole, and fragmentation of 100 units from 1000 on.
    #[track_caller]
    fn check(parts: &[Part], used: u64, hole: u64, fragmentation: u32) {
        let space = Space::still(SpaceKind::Tags, "space".into(), (1000, 100), parts);
        assert_eq!((space.used, space.largest_hole, space.fragmentation_ppm), (used, hole, fragmentation));
        assert_eq!((space.peak, space.least_hole, space.samples.len()), (used, hole, 1));
    }

    #[test]
    fn holes_are_what_no_part_covers() {
        check(&[], 0, 100, 0);
        check(&[part(1000, 100, "a")], 100, 0, 0);
        check(&[part(1040, 20, "a")], 20, 40, 500_000);
        check(&[part(1080, 10, "b"), part(1000, 20, "a")], 30, 60, 142_857);
        // Overlaps count once, and what is outside not at all.
        check(&[part(1000, 50, "a"), part(1010, 60, "b")], 70, 30, 0);
        check(&[part(0, 1010, "a"), part(1090, u64::MAX, "b"), part(5, 5, "c")], 20, 80, 0);
    }

    #[test]
    fn owners_stand_by_what_they_have() {
        let parts = [part(1000, 10, "b"), part(1010, 10, "a"), part(1020, 5, "c"), part(1030, 6, "c")];
        let space = Space::still(SpaceKind::Tags, "space".into(), (1000, 100), &parts);
        let owners: Vec<_> = space.owners.iter().map(|owner| (owner.name.as_str(), owner.amount)).collect();
        assert_eq!(owners, [("c", 11), ("a", 10), ("b", 10)]);
    }

    #[test]
    fn the_first_refusal_stays() {
        let mut space = Space::settled(SpaceKind::Tags, "space".into(), 1, 1, 0);
        for who in ["a", "b"] {
            let who = who.to_owned();
            space.refuse(SpaceRefusal { time: None, who, amount: 1, decided: "limit", chain: vec![] });
        }
        assert_eq!((space.refusals, space.first_refusal.unwrap().who.as_str()), (2, "a"));
    }
}
