//! Windows of host bridges and of bridges: settled when the machine has come up.
//!
//! Taken of a window is what lies directly in it: BARs of functions on its bus, and windows of bridges there. What these take
//! beyond the BARs anywhere below is slack: by granule, because windows of bridges are multiples of 1 MiB (of 4 KiB for
//! ports), the rest by alignment.

use std::collections::BTreeMap;

use peerbus_machine::Machine;
use peerbus_machine::part::ResourceKind;
use peerbus_os::Tree;
use peerbus_os::pci::resource::{IO_WINDOW, is_window};
use peerbus_os::pci::{self, ConsideredWindow, FunctionIndex, Parent, Rejection, ResourceRef, WhyNot};
use peerbus_units::{BusAddr, Bytes, CpuAddr, Range};

use super::{Cause, Part, Space, SpaceKind, SpaceRefusal};
use crate::boot::Booted;
use crate::resource::{index_name, kind_name, kind_word};

/// Windows of bridges are multiples of this: of memory, of ports.
const GRANULES: (u64, u64) = (1 << 20, 1 << 12);

/// A window as a space, and what plans show of it besides.
pub(crate) struct WindowSpace {
    pub space: Space,
    /// Name of its host bridge.
    pub host_bridge: String,
    /// `io`, `mem32`, …
    pub kind: &'static str,
    /// CPU addresses.
    pub range: Range<CpuAddr>,
    /// First bus address.
    pub bus: BusAddr,
    /// Bytes of BARs anywhere below.
    pub bars: u64,
}

/// Windows of host bridges, then those of bridges in the order in which they were found.
pub fn windows(machine: &Machine, booted: &Booted) -> Vec<Space> {
    let of_hosts = host_windows(machine, booted).into_iter().map(|window| window.space);
    of_hosts.chain(bridge_windows(machine, booted)).collect()
}

/// Windows of host bridges.
pub(crate) fn host_windows(machine: &Machine, booted: &Booted) -> Vec<WindowSpace> {
    let look = Look::new(machine, booted);
    let mut found = Vec::new();
    for (number, bridge) in machine.host_bridges.iter().enumerate() {
        let of_bridge = |at: &FunctionIndex| booted.tree[booted.tree[*at].bus].host_bridge == number;
        let below: Vec<FunctionIndex> = booted.tree.iter().map(|(at, _)| at).filter(of_bridge).collect();
        let on_root = |at: &&FunctionIndex| booted.tree[booted.tree[**at].bus].is_root();
        let on_root: Vec<FunctionIndex> = below.iter().filter(on_root).copied().collect();
        for window in &bridge.windows {
            let io = window.kind == ResourceKind::Io;
            let name = format!("{} {} {}", bridge.name, kind_word(window.kind), span(window.cpu));
            let (mut space, bars) =
                look.window(SpaceKind::HostBridgeWindow, name, (window.cpu, io), &on_root, &below);
            look.refuse(
                &mut space,
                window.cpu,
                |parent| matches!(parent, Parent::HostBridge { host_bridge, .. } if host_bridge == number),
            );
            found.push(WindowSpace {
                space,
                host_bridge: bridge.name.clone(),
                kind: kind_word(window.kind),
                range: window.cpu,
                bus: window.bus,
                bars,
            });
        }
    }
    found
}

fn bridge_windows(machine: &Machine, booted: &Booted) -> Vec<Space> {
    let look = Look::new(machine, booted);
    let mut found = Vec::new();
    for (index, function) in booted.tree.iter() {
        let windows = function.resources.iter().enumerate().filter(|(number, _)| is_window(*number));
        for (number, resource) in windows {
            let Some(range) = resource.range() else { continue };
            let io = resource.flags.is_io();
            let kind = if number == IO_WINDOW { "io" } else { kind_name(resource.flags) };
            let name = format!("{} {kind} window {}", look.name(index), span(range));
            let (directly, below) = (look.directly(index), look.below(index));
            let (mut space, _) = look.window(SpaceKind::BridgeWindow, name, (range, io), directly, &below);
            let own = ResourceRef { function: index, number };
            look.refuse(&mut space, range, |parent| parent == Parent::Window(own));
            found.push(space);
        }
    }
    found
}

/// First and last address.
pub(crate) fn span(range: Range<CpuAddr>) -> String {
    format!("{:#x}-{:#x}", range.first().0, range.last().0)
}

/// A machine that has come up.
struct Look<'a> {
    machine: &'a Machine,
    booted: &'a Booted,
    /// Functions on the bus that a bridge leads to.
    behind: BTreeMap<usize, Vec<FunctionIndex>>,
}

impl<'a> Look<'a> {
    fn new(machine: &'a Machine, booted: &'a Booted) -> Look<'a> {
        let mut behind: BTreeMap<usize, Vec<FunctionIndex>> = BTreeMap::new();
        for (index, function) in booted.tree.iter() {
            if let Some(bridge) = booted.tree[function.bus].bridge {
                behind.entry(bridge.0).or_default().push(index);
            }
        }
        Look { machine, booted, behind }
    }
}

impl Look<'_> {
    fn tree(&self) -> &Tree {
        &self.booted.tree
    }

    fn name(&self, function: FunctionIndex) -> &str {
        &self.machine.functions[self.booted.machine_function(function)].name
    }

    fn directly(&self, bridge: FunctionIndex) -> &[FunctionIndex] {
        self.behind.get(&bridge.0).map_or(&[], Vec::as_slice)
    }

    fn below(&self, bridge: FunctionIndex) -> Vec<FunctionIndex> {
        let mut found = self.directly(bridge).to_vec();
        let mut next = 0;
        while let Some(at) = found.get(next).copied() {
            found.extend_from_slice(self.directly(at));
            next += 1;
        }
        found
    }

    /// Placed resources of functions inside of a window, with the function and the resource's number.
    fn placed<'b>(
        &'b self,
        (window, io): (Range<CpuAddr>, bool),
        functions: &'b [FunctionIndex],
    ) -> impl Iterator<Item = (FunctionIndex, usize, Range<CpuAddr>)> + 'b {
        functions.iter().flat_map(move |index| {
            let resources = self.tree()[*index].resources.iter().enumerate();
            let own = resources.filter(move |(_, resource)| resource.flags.is_io() == io);
            own.filter_map(move |(number, resource)| {
                Some((*index, number, resource.range()?.intersection(window)?))
            })
        })
    }

    /// A window with what the functions `directly` in it have there, its slack, and the bytes of BARs of all that are `below`.
    fn window(
        &self,
        kind: SpaceKind,
        name: String,
        window: (Range<CpuAddr>, bool),
        directly: &[FunctionIndex],
        below: &[FunctionIndex],
    ) -> (Space, u64) {
        let part = |(function, _, part): (FunctionIndex, usize, Range<CpuAddr>)| Part {
            first: part.first().0,
            amount: part.size().0,
            owner: self.name(function).to_owned(),
        };
        let parts: Vec<Part> = self.placed(window, directly).map(part).collect();
        let mut space = Space::still(kind, name, (window.0.first().0, window.0.size().0), &parts);
        let bars = self.placed(window, below).filter(|(_, number, _)| !is_window(*number));
        let bars = sum(bars.map(|(_, _, part)| part));
        let slack = space.used.saturating_sub(bars);
        space.granule = self.rounded(window, below).min(slack);
        space.alignment = slack - space.granule;
        (space, bars)
    }

    /// Bytes by which the granule rounds up what lies directly in the windows of bridges `below`.
    fn rounded(&self, window: (Range<CpuAddr>, bool), below: &[FunctionIndex]) -> u64 {
        let granule = if window.1 { GRANULES.1 } else { GRANULES.0 };
        let windows = self.placed(window, below).filter(|(_, number, _)| is_window(*number));
        let rounded = windows.map(|(bridge, _, inner)| {
            let own = sum(self.placed((inner, window.1), self.directly(bridge)).map(|(_, _, part)| part));
            own.next_multiple_of(granule) - own
        });
        rounded.sum()
    }

    /// What found no room in the window, in the order in which it failed. What has no place because a window above it has none
    /// counts there; a window that is smaller than a request has run out only if no other was large enough.
    fn refuse(&self, space: &mut Space, range: Range<CpuAddr>, is_this: impl Fn(Parent) -> bool) {
        for why in &self.tree().failures {
            let pci::Cause::NoSpace(windows) = &why.cause else { continue };
            if self.tree().cause_chain(why).len() > 1 {
                continue;
            }
            let full = windows.iter().filter(|considered| considered.rejection == Rejection::NoHole);
            let largest = full.clone().map(|considered| considered.range.size()).max();
            let enough = largest.unwrap_or(Bytes::ZERO).min(why.size);
            let full = full.clone().find(|considered| {
                considered.range.size() >= enough
                    && is_this(considered.window)
                    && range.intersection(considered.range).is_some()
            });
            if let Some(full) = full {
                space.refuse(self.refusal(why, full));
            }
        }
    }

    fn refusal(&self, why: &WhyNot, full: &ConsideredWindow) -> SpaceRefusal {
        let ConsideredWindow { range, free, largest_hole, .. } = *full;
        let decided = match why.size {
            size if free < size => "limit",
            size if largest_hole < size => "fragments",
            _ => "alignment",
        };
        let who = format!("{} {}", self.name(why.resource.function), index_name(why.resource.number));
        let granule = match is_window(why.resource.number) {
            true => format!("{} for what lies below, in whole {}", why.size, Bytes(GRANULES.0)),
            false => format!("{}, a power of two", why.size),
        };
        // Whatever stands below was not placed because this was not.
        let below = self.tree().failures.iter().filter(|other| {
            other.resource != why.resource
                && self.tree().cause_chain(other).iter().any(|above| above.resource == why.resource)
        });
        let below: Vec<String> = below
            .map(|other| {
                format!("{} {}", self.name(other.resource.function), index_name(other.resource.number))
            })
            .collect();
        let window = match below.as_slice() {
            [] => format!("it was to lie in {range}"),
            [first, rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                format!("it was to lie in {range}; without it {first}{more} have no place")
            }
        };
        let chain = vec![
            Cause::new("granule", granule),
            Cause::new("alignment", format!("at a multiple of {}", Bytes(why.align))),
            Cause::new("holes", format!("{free} free, the largest hole {largest_hole}")),
            Cause::new("window", window),
            Cause::new("limit", self.limit(full)),
        ];
        SpaceRefusal { time: None, who, amount: why.size.0, decided, chain }
    }

    /// What ends a window.
    fn limit(&self, full: &ConsideredWindow) -> String {
        let size = full.range.size();
        match full.window {
            Parent::HostBridge { host_bridge, .. } => {
                let bridge = &self.machine.host_bridges[host_bridge];
                let bits = self.machine.cpus[bridge.cpu].part.physical_bits;
                format!("firmware gave {} {size}; the CPU has {bits} bits of physical address", bridge.name)
            }
            Parent::Window(at) => format!("the window of {} has {size}", self.name(at.function)),
            Parent::Outside { .. } => format!("{size} in no window"),
        }
    }
}

fn sum(ranges: impl Iterator<Item = Range<CpuAddr>>) -> u64 {
    ranges.map(Range::size).sum::<Bytes>().0
}
