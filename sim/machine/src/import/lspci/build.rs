//! The machine file of a capture: root buses with everything below them.
//!
//! What a function is to the machine follows from its place: a bridge on a root bus is a root port, one at the end of
//! a link the upstream port of a switch, one inside a switch a downstream port. Bridges without PCI Express, and what
//! is behind those to conventional buses, stand among `bridges`. What the registers say of themselves is stated beside.

use std::collections::BTreeSet;

use peerbus_units::{BusAddr, Bytes, CpuAddr, FunctionId};

use super::apertures::{Aperture, Apertures};
use super::bars::{self, Guesses};
use super::choose::{Choice, Parts};
use super::facts::{Facts, Known, Windows, port_type};
use super::stated::{LANES, acs, config, leaf, link};
use super::topology::{Bus, Functions, Topology};
use crate::file::{self, Below, Leaf};
use crate::import::Note;
use crate::model::Fact;
use crate::part::{CpuPart, DevicePart, PciId, ResourceKind, SwitchPart};

/// A generation and a number of lanes.
type Limit = (u8, u8);

/// Turns a capture into elements of a machine file.
pub struct Builder<'a> {
    /// Everything shown.
    pub functions: &'a Functions,
    /// How it hangs together.
    pub topology: &'a Topology,
    /// Windows of host bridges.
    pub apertures: &'a Apertures,
    /// Sizes that are not shown.
    pub guesses: &'a Guesses,
    /// The catalogue.
    pub parts: Parts<'a>,
    /// What was chosen.
    pub notes: &'a mut Vec<Note>,
}

impl<'a> Builder<'a> {
    fn facts(&self, id: FunctionId) -> &'a Facts {
        &self.functions[&id]
    }

    fn note(&mut self, id: FunctionId, text: impl Into<String>) {
        self.notes.push(Note::new(id, text));
    }

    fn root(&self, id: FunctionId) -> Bus {
        self.topology.root_of((id.domain, id.bus))
    }

    /// A root bus with everything below it.
    pub fn host_bridge(&mut self, bus: Bus, cpu: usize, part: &CpuPart) -> file::HostBridge {
        let shown = self.topology.roots.get(&bus).copied().unwrap_or(false);
        let mut assumed = BTreeSet::new();
        if self.apertures.derived.contains(&bus) {
            assumed.insert(Fact::Windows);
        }
        if !shown {
            assumed.insert(Fact::HostBridge);
            let text = "no bridge that leads to it is listed; taken for a root bus";
            self.notes.push(Note::new(format!("bus {:04x}:{:02x}", bus.0, bus.1), text));
        }
        let windows = self.apertures.by_root.get(&bus).into_iter().flatten();
        let mut built = file::HostBridge {
            cpu: leaf(cpu),
            domain: leaf(bus.0),
            bus: leaf(bus.1),
            windows: windows.filter_map(window).collect(),
            complete: true,
            placed: self.is_placed(bus),
            assumed: facts(&assumed),
            ..file::HostBridge::default()
        };
        let end = (part.generation, part.lanes);
        for &id in self.topology.on(bus) {
            let function = self.facts(id);
            if function.is_bridge() {
                if is_root_port(self, function) {
                    let port = self.port(function, end, &part.id);
                    built.ports.push(port);
                } else {
                    let bridge = self.switch(function, None).0;
                    built.bridges.push(bridge);
                }
            } else if is_head(function) {
                built.heads.push(self.head(function));
            } else {
                let device = self.root_device(function, shown, end);
                built.devices.push(device);
            }
        }
        built
    }

    /// True when the addresses below a root bus are shown, so that what has none has none.
    fn is_placed(&self, root: Bus) -> bool {
        let mut below = self.functions.values().filter(|facts| self.root(facts.id) == root);
        below.any(|facts| facts.detailed && facts.windows != Windows::default() || has_address(facts))
    }

    fn head(&mut self, function: &Facts) -> file::Head {
        file::Head {
            id: leaf(function.id),
            pci: leaf(self.pci(function)),
            class: function.class.map(Leaf::new),
            subsystem: function.subsystem.map(Leaf::new),
            config: config(function, self.root(function.id), self.apertures),
        }
    }

    /// Vendor and device; those of a stand-in where they are not shown.
    fn pci(&mut self, function: &Facts) -> PciId {
        function.pci.unwrap_or_else(|| {
            self.note(function.id, "its vendor and device are not shown");
            STAND_IN
        })
    }

    /// A function of a root bus: inside the root complex, unless it has a link of its own. On a bus whose bridge is
    /// not listed everything has one.
    fn root_device(&mut self, function: &'a Facts, shown: bool, end: Limit) -> file::Device {
        let (mut device, part) = self.device(&[function]);
        let express = function.express.get();
        let endpoint = express
            .is_some_and(|express| matches!(express.port, port_type::ENDPOINT | port_type::LEGACY_ENDPOINT));
        if (endpoint && express.is_some_and(|express| express.status.is_some())) || !shown {
            let most = least(end, limit(function, (part.generation, part.lanes)));
            let (link, text) = link(function, None, most);
            let fastest =
                file::Link { generation: leaf(most.0), lanes: leaf(most.1), ..file::Link::default() };
            let stated = link.unwrap_or(fastest);
            device.link = Some(stated);
            self.link_note(function.id, text, &mut device.assumed);
        }
        device
    }

    fn link_note(&mut self, id: FunctionId, text: Option<&'static str>, assumed: &mut Vec<Leaf<Fact>>) {
        if let Some(text) = text {
            self.note(id, text);
            if assumed.iter().all(|fact| fact.get() != Some(&Fact::Link)) {
                assumed.push(Leaf::new(Fact::Link));
                assumed.sort_by_key(|fact| fact.get().copied());
            }
        }
    }

    /// A root port or a switch's downstream port with what is at the end of its link. `part` is whose port it is.
    fn port(&mut self, function: &'a Facts, end: Limit, part: &str) -> file::Port {
        let own = limit(function, end);
        let stated = self.stated_bars(function);
        let mut built = file::Port {
            id: leaf(function.id),
            pci: leaf(self.pci(function)),
            class: function.class.filter(|class| *class != CLASS_BRIDGE).map(Leaf::new),
            bars: stated.bars,
            acs: acs(function, self.notes),
            config: config(function, self.root(function.id), self.apertures),
            ..file::Port::default()
        };
        let mut assumed = unknown(function, stated.uncertain);
        let mut links = Vec::new();
        for (below, first, most) in self.at_link(function, own) {
            let (link, text) = link(first, Some(function), most);
            links.push(link);
            if let Some(text) = text {
                assumed.insert(Fact::Link);
                self.note(first.id, text);
            }
            match &built.below {
                None => built.below = Some(Box::new(below)),
                Some(_) => built.beside.push(below),
            }
        }
        built.link = links.into_iter().next().flatten();
        built.assumed = facts(&assumed);
        if built.below.is_some() && built.link.is_none() && built.assumed.is_empty() {
            self.note(
                function.id,
                format!("its link is as fast and wide as {part} and what is below support"),
            );
        }
        built
    }

    /// What is at the end of the link below `port`: each with its first function and the best link that both ends can
    /// have. Bridges are chips of their own, other functions of one number a device.
    fn at_link(&mut self, port: &'a Facts, end: Limit) -> Vec<(Below, &'a Facts, Limit)> {
        let Some(buses) = port.buses else { return Vec::new() };
        let mut found = Vec::new();
        for group in self.groups((port.id.domain, buses.secondary)) {
            if group[0].is_bridge() {
                let (switch, part) = self.switch(group[0], Some(end));
                let most = least(end, limit(group[0], (part.generation, part.lanes)));
                found.push((Below::Switch(Box::new(switch)), group[0], most));
            } else {
                let (device, part) = self.device(&group);
                let most = least(end, limit(group[0], (part.generation, part.lanes)));
                found.push((Below::Device(Box::new(device)), group[0], most));
            }
        }
        // A link's speed is that of the least able thing at its end.
        let most = found.iter().map(|(_, _, most)| *most).reduce(least);
        found.iter_mut().for_each(|(_, _, own)| *own = most.unwrap_or(*own));
        found
    }

    /// Functions of a bus: bridges alone, the others by device number.
    fn groups(&self, bus: Bus) -> Vec<Vec<&'a Facts>> {
        let mut groups: Vec<Vec<&Facts>> = Vec::new();
        for &id in self.topology.on(bus) {
            let function = self.facts(id);
            let same =
                |group: &&mut Vec<&Facts>| !group[0].is_bridge() && group[0].id.device() == id.device();
            match groups.iter_mut().find(same).filter(|_| !function.is_bridge()) {
                Some(group) => group.push(function),
                None => groups.push(vec![function]),
            }
        }
        groups
    }

    /// A switch, or a bridge to a conventional bus, with its part.
    fn switch(&mut self, function: &'a Facts, above: Option<Limit>) -> (file::Switch, SwitchPart) {
        let conventional = is_conventional(self, function);
        let groups =
            function.buses.map_or(Vec::new(), |buses| self.groups((function.id.domain, buses.secondary)));
        let lanes = above.map_or(16, |above| above.1);
        let Choice { part, guess } = self.parts.switch(function, conventional, groups.len(), lanes);
        let part = part.clone();
        let mut assumed = unknown(function, false);
        // Upstream ports have no ACS that peer-to-peer looks at unless it is shown.
        assumed.remove(&Fact::Acs);
        if let Some(why) = guess {
            assumed.insert(Fact::Part);
            self.note(function.id, why);
        }
        let stated = self.stated_bars(function);
        assumed.extend(stated.uncertain.then_some(Fact::Bars));
        let mut built = file::Switch {
            part: leaf(part.id.clone()),
            id: leaf(function.id),
            pci: leaf(self.pci(function)),
            class: function.class.filter(|class| *class != CLASS_BRIDGE).map(Leaf::new),
            bars: stated.bars,
            acs: acs(function, self.notes).filter(|_| function.acs != Known::Absent),
            config: config(function, self.root(function.id), self.apertures),
            assumed: facts(&assumed),
            ..file::Switch::default()
        };
        let end = (part.generation, part.lanes);
        for group in groups {
            if !group[0].is_bridge() {
                let (device, below) = self.device(&group);
                built.devices.push(self.with_link(device, group[0], &below, end));
            } else if conventional || is_conventional(self, group[0]) {
                let bridge = self.switch(group[0], None).0;
                built.bridges.push(bridge);
            } else {
                let port = self.port(group[0], end, &part.id);
                built.ports.push(port);
            }
        }
        (built, part)
    }

    /// A device behind a port that is not seen, with the link to it.
    fn with_link(
        &mut self,
        mut device: file::Device,
        function: &Facts,
        part: &DevicePart,
        end: Limit,
    ) -> file::Device {
        let most = least(end, limit(function, (part.generation, part.lanes)));
        let (stated, text) = link(function, None, most);
        device.link = stated;
        if function.express != Known::Absent {
            self.link_note(function.id, text, &mut device.assumed);
        }
        device
    }

    /// A device of the functions of `group`, with its part.
    fn device(&mut self, group: &[&'a Facts]) -> (file::Device, DevicePart) {
        let first = group[0];
        let Choice { part, guess } = self.parts.device(first);
        let part = part.clone();
        let stated = self.stated_bars(first);
        let mut assumed = unknown(first, stated.uncertain || !first.detailed && first.bars.is_empty());
        assumed.extend(part.memory.map(|_| Fact::Memory));
        if let Some(why) = guess {
            assumed.insert(Fact::Part);
            self.note(first.id, why);
        }
        let root = self.root(first.id);
        let headless = self.is_headless(first);
        if headless {
            assumed.insert(Fact::Function);
            self.note(first.id, "function 0 of its device is not listed, and must exist for it to be found");
        }
        let further = if headless { group } else { &group[1..] };
        let functions = further.iter().map(|function| self.further(function, root)).collect();
        let id = if headless { FunctionId { devfn: first.id.devfn & !7, ..first.id } } else { first.id };
        let own = if headless { None } else { config(first, root, self.apertures) };
        let device = file::Device {
            part: leaf(part.id.clone()),
            id: leaf(id),
            pci: leaf(self.pci(first)),
            subsystem: first.subsystem.map(Leaf::new),
            class: first.class.map(Leaf::new),
            bars: Some(if headless { Vec::new() } else { stated.bars }),
            acs: acs(first, self.notes).filter(|_| !headless),
            config: own,
            functions,
            assumed: facts(&assumed),
            ..file::Device::default()
        };
        (device, part)
    }

    /// True when function 0 beside `function`, which is not on a root bus, is not listed.
    fn is_headless(&self, function: &Facts) -> bool {
        let id = function.id;
        let zero = FunctionId { devfn: id.devfn & !7, ..id };
        self.topology.bridge_above((id.domain, id.bus)).is_some() && !self.functions.contains_key(&zero)
    }

    fn further(&mut self, function: &'a Facts, root: Bus) -> file::Function {
        file::Function {
            id: leaf(function.id),
            pci: leaf(self.pci(function)),
            class: function.class.map(Leaf::new),
            subsystem: function.subsystem.map(Leaf::new),
            bars: self.stated_bars(function).bars,
            acs: acs(function, self.notes).filter(|_| function.acs != Known::Absent),
            config: config(function, root, self.apertures),
        }
    }

    fn stated_bars(&mut self, function: &Facts) -> bars::Stated {
        bars::state(function, self.root(function.id), self.apertures, self.guesses, self.notes)
    }
}

/// Class code of a PCI-to-PCI bridge.
const CLASS_BRIDGE: u32 = 0x06_0400;
/// Stands for ids that are not shown: QEMU's PCI test device, as in machine files.
const STAND_IN: PciId = PciId { vendor: 0x1b36, device: 0x0005 };

fn facts(facts: &BTreeSet<Fact>) -> Vec<Leaf<Fact>> {
    facts.iter().copied().map(Leaf::new).collect()
}

/// What a listing read without rights, or in few words, does not show of a function.
fn unknown(function: &Facts, bars: bool) -> BTreeSet<Fact> {
    let mut unknown = BTreeSet::new();
    unknown.extend((function.acs == Known::Unknown).then_some(Fact::Acs));
    unknown.extend(bars.then_some(Fact::Bars));
    unknown
}

/// The link a function can have: what it says, else what its part can.
fn limit(function: &Facts, part: Limit) -> Limit {
    let capable = function.express.get().and_then(|express| express.capable);
    let lanes = capable.map(|link| link.lanes).filter(|lanes| LANES.contains(lanes));
    (capable.map_or(part.0, |link| link.generation), lanes.unwrap_or(part.1))
}

fn least(a: Limit, b: Limit) -> Limit {
    (a.0.min(b.0), a.1.min(b.1))
}

fn has_address(function: &Facts) -> bool {
    function.bars.iter().any(|bar| bar.cpu.or(bar.bus).is_some_and(|address| address != 0))
}

/// A host bridge as a function: it stands for its root bus and nothing more.
fn is_head(function: &Facts) -> bool {
    let bare = function.bars.is_empty() && function.rom.is_none() && function.sriov.is_none();
    function.class.is_some_and(|class| class >> 8 == 0x0600) && bare && function.acs.get().is_none()
}

/// Whether a bridge on a root bus is a root port. Without a look at its capabilities it is, unless something behind it
/// has a device number that links do not have.
fn is_root_port(builder: &Builder, function: &Facts) -> bool {
    match function.express {
        Known::Present(express) => express.port != port_type::TO_CONVENTIONAL,
        Known::Absent => false,
        Known::Unknown => function.buses.is_none_or(|buses| {
            let below = builder.topology.on((function.id.domain, buses.secondary));
            below.iter().all(|id| id.device() == 0)
        }),
    }
}

/// Whether a bridge below a link or a switch leads to a conventional bus. Without a look at its capabilities it does
/// when a function behind it is no bridge and not at device 0.
fn is_conventional(builder: &Builder, function: &Facts) -> bool {
    match function.express {
        Known::Present(express) => {
            matches!(express.port, port_type::TO_CONVENTIONAL | port_type::FROM_CONVENTIONAL)
        }
        Known::Absent => true,
        Known::Unknown => {
            let below = function.buses.map(|buses| (function.id.domain, buses.secondary));
            let below = below.map_or(&[][..], |bus| builder.topology.on(bus));
            below.iter().any(|id| !builder.functions[id].is_bridge() && id.device() != 0)
        }
    }
}

/// A window as a file states it; `None` for one that bridges cannot pass on.
fn window(aperture: &Aperture) -> Option<file::Window> {
    let (first, last) = aperture.cpu;
    let size = last.checked_sub(first)?.checked_add(1)?;
    let bus = first.wrapping_sub(aperture.offset);
    let bus_last = bus.checked_add(size - 1)?;
    let kind = match aperture.io {
        true => ResourceKind::Io,
        false if bus_last <= u64::from(u32::MAX) => ResourceKind::Mem32,
        false => ResourceKind::Mem64,
    };
    let whole = kind == ResourceKind::Io && bus_last <= 0xffff
        || kind != ResourceKind::Io && (first | size | bus) & 0xfff == 0;
    whole.then(|| file::Window {
        cpu: leaf(CpuAddr(first)),
        bus: (bus != first).then(|| Leaf::new(BusAddr(bus))),
        size: leaf(Bytes(size)),
        kind: leaf(kind),
    })
}
