//! The machine file of a planned hierarchy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use peerbus_units::FunctionId;

use super::choose::{Choice, Parts};
use super::root::HostBridge;
use super::tree::{Below, Endpoint, Piece, Port, Switch};
use super::xml::Function;
use crate::file::{self, Leaf};
use crate::import::Note;
use crate::model::Fact;
use crate::part::{DevicePart, PciId, SwitchPart};

/// What one end of a link can do.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    /// The part, for notes.
    pub part: &'a str,
    /// Fastest generation.
    pub generation: u8,
    /// Widest link.
    pub lanes: u8,
}

/// Turns planned pieces into elements of a machine file.
pub(super) struct Builder<'a, 'c> {
    /// The catalogue.
    pub parts: Parts<'c>,
    /// Names of devices by function 0.
    pub names: &'a BTreeMap<FunctionId, String>,
    /// What was chosen.
    pub notes: &'a mut Vec<Note>,
}

impl<'c> Builder<'_, 'c> {
    fn note(&mut self, subject: impl fmt::Display, text: impl Into<String>) {
        self.notes.push(Note::new(subject, text));
    }

    /// A root bus with everything below it.
    pub fn host_bridge(&mut self, bridge: &HostBridge, above: End) -> file::HostBridge {
        let root_bus = format!("{:04x}:{:02x}", bridge.domain, bridge.bus);
        if let Some(ports) = list_ports(&bridge.ports) {
            self.note(&root_bus, format!("root bus and root ports are not listed; chosen: {ports}"));
        }
        for device in &bridge.devices {
            self.note(
                device.id,
                "no bus number is left for a root port above it; it sits on its root bus as listed",
            );
        }
        let assumed = if bridge.ports.is_empty() {
            [Fact::Windows].into()
        } else {
            [Fact::HostBridge, Fact::Windows].into()
        };
        file::HostBridge {
            cpu: leaf(bridge.cpu),
            domain: leaf(bridge.domain),
            bus: leaf(bridge.bus),
            ports: bridge.ports.iter().map(|port| self.port(port, above)).collect(),
            devices: bridge.devices.iter().map(|device| self.device_with_link(device, above)).collect(),
            assumed: facts(&assumed),
            ..file::HostBridge::default()
        }
    }

    fn port(&mut self, port: &Port, above: End) -> file::Port {
        let (below, below_end, listed) = self.below(&port.piece);
        let link = self.link(listed, above, below_end.end());
        let mut assumed = BTreeSet::from([Fact::Acs, Fact::Function]);
        assumed.extend(link.assumed());
        file::Port {
            id: leaf(port.id),
            link: link.stated(),
            below: Some(Box::new(below)),
            inserted: true,
            assumed: facts(&assumed),
            ..file::Port::default()
        }
    }

    fn below<'x>(&mut self, piece: &Piece<'x>) -> (file::Below, OwnedEnd, &'x Function) {
        match &piece.below {
            Below::Device(device) => {
                let (built, part) = self.device(device);
                (
                    file::Below::Device(Box::new(built)),
                    OwnedEnd::new(&part.id, part.generation, part.lanes),
                    piece.listed(),
                )
            }
            Below::Switch(switch) => {
                let (built, end) = self.switch(switch);
                (file::Below::Switch(Box::new(built)), end, switch.listed)
            }
        }
    }

    fn switch(&mut self, switch: &Switch) -> (file::Switch, OwnedEnd) {
        let listed = switch.listed;
        let inserted = listed.is_pseudo();
        let Choice { part, guess } = self.switch_part(switch);
        let mut assumed = BTreeSet::new();
        if inserted {
            assumed.insert(Fact::Function);
            self.note(
                listed.id,
                format!("a stand-in without a function behind it; a switch at {} takes its place", switch.id),
            );
        }
        if let Some(why) = guess {
            assumed.insert(Fact::Part);
            self.note(switch.id, why);
        }
        if let Some(ports) = list_ports(&switch.ports) {
            self.note(switch.id, format!("downstream ports are not listed; chosen: {ports}"));
        }
        if !switch.devices.is_empty() {
            let devices: Vec<_> = switch.devices.iter().map(|device| device.id.to_string()).collect();
            let text = format!(
                "no downstream port can lead to {}; behind ports that software does not see",
                devices.join(", ")
            );
            self.note(switch.id, text);
        }
        let end = OwnedEnd::new(&part.id, part.generation, part.lanes);
        let built = file::Switch {
            part: leaf(part.id.clone()),
            id: leaf(switch.id),
            pci: listed.pci.filter(|pci| !inserted && part.pci.first() != Some(pci)).map(Leaf::new),
            ports: switch.ports.iter().map(|port| self.port(port, end.end())).collect(),
            devices: switch.devices.iter().map(|device| self.device_with_link(device, end.end())).collect(),
            inserted,
            assumed: facts(&assumed),
            ..file::Switch::default()
        };
        (built, end)
    }

    /// The part the file names, unless more is connected to it than it has ports or lanes for.
    fn switch_part(&self, switch: &Switch) -> Choice<'c, SwitchPart> {
        let choice = self.parts.switch(switch.listed);
        let part = choice.part;
        let below = switch.ports.iter().map(|port| port.piece.listed());
        let below: Vec<_> = below.chain(switch.devices.iter().map(|device| device.functions[0])).collect();
        let lanes = |function: &Function| {
            let end = if function.is_bridge() { part.lanes } else { self.parts.device(function).part.lanes };
            u32::from(function.lanes.unwrap_or(end).min(end).min(part.lanes))
        };
        let ports = 1 + below.len();
        let lanes: u32 = lanes(switch.listed) + below.iter().map(|function| lanes(function)).sum::<u32>();
        if ports <= usize::from(part.ports) && lanes <= u32::from(part.total_lanes) {
            return choice;
        }
        let generic = self.parts.generic_switch();
        let guess = format!(
            "{ports} ports with {lanes} lanes are more than {} has; taken as {}",
            part.id, generic.id
        );
        Choice { part: generic, guess: Some(guess) }
    }

    fn device_with_link(&mut self, device: &Endpoint, above: End) -> file::Device {
        let (mut built, part) = self.device(device);
        let end = OwnedEnd::new(&part.id, part.generation, part.lanes);
        let link = self.link(device.functions[0], above, end.end());
        built.assumed.extend(link.assumed().map(Leaf::new));
        built.assumed.sort_by_key(|fact| fact.get().copied());
        // Without a link it would be taken as a device inside the CPU's package.
        built.link = Some(file::Link {
            generation: leaf(link.generation.unwrap_or(link.most.0)),
            lanes: leaf(link.lanes.unwrap_or(link.most.1)),
            ..file::Link::default()
        });
        built
    }

    fn device(&mut self, device: &Endpoint) -> (file::Device, DevicePart) {
        let listed = device.functions[0];
        let Choice { part, guess } = self.parts.device(listed);
        let mut assumed = BTreeSet::from([Fact::Acs, Fact::Bars]);
        if part.memory.is_some() {
            assumed.insert(Fact::Memory);
        }
        if let Some(why) = guess {
            assumed.insert(Fact::Part);
            self.note(listed.id, why);
        }
        let headless = listed.id != device.id;
        if headless {
            assumed.insert(Fact::Function);
            self.note(listed.id, format!("function {} must exist too, but is not listed", device.id));
        }
        let further = if headless { &device.functions[..] } else { &device.functions[1..] };
        let built = file::Device {
            name: self.names.get(&device.id).cloned().map(Leaf::new),
            part: leaf(part.id.clone()),
            id: leaf(device.id),
            pci: listed.pci.filter(|pci| part.pci.first() != Some(pci)).map(Leaf::new),
            subsystem: listed.subsystem.map(Leaf::new),
            class: Some(listed.class).filter(|class| *class != part.class).map(Leaf::new),
            functions: further.iter().map(|function| further_function(function, listed)).collect(),
            assumed: facts(&assumed),
            ..file::Device::default()
        };
        (built, part.clone())
    }

    /// The link above `listed`, as stated, but no more than both ends can do.
    fn link(&mut self, listed: &Function, above: End, below: End) -> Link {
        let most = (above.generation.min(below.generation), above.lanes.min(below.lanes));
        let generation = listed.generation.map(|stated| stated.min(most.0));
        let lanes = listed.lanes.map(|stated| stated.min(most.1));
        if generation != listed.generation || lanes != listed.lanes {
            let stated = describe(listed.generation, listed.lanes);
            let kept = describe(generation, lanes);
            self.note(
                listed.id,
                format!(
                    "its link is said to be {stated}, more than {} and {} support; taken as {kept}",
                    above.part, below.part
                ),
            );
        }
        let link = Link { generation, lanes, most };
        if link.assumed().is_some() {
            let text =
                "the speed or width of its link is not stated; taken as the best that both ends support";
            self.note(listed.id, text);
        }
        link
    }
}

/// A link as the file states it, and the best that its ends support.
struct Link {
    generation: Option<u8>,
    lanes: Option<u8>,
    most: (u8, u8),
}

impl Link {
    fn stated(&self) -> Option<file::Link> {
        let nothing = self.generation.is_none() && self.lanes.is_none();
        let link = file::Link {
            generation: self.generation.map(Leaf::new),
            lanes: self.lanes.map(Leaf::new),
            ..file::Link::default()
        };
        (!nothing).then_some(link)
    }

    fn assumed(&self) -> Option<Fact> {
        (self.generation.is_none() || self.lanes.is_none()).then_some(Fact::Link)
    }
}

/// An [`End`] that lives on its own.
struct OwnedEnd {
    part: String,
    generation: u8,
    lanes: u8,
}

impl OwnedEnd {
    fn new(part: &str, generation: u8, lanes: u8) -> OwnedEnd {
        OwnedEnd { part: part.to_owned(), generation, lanes }
    }

    fn end(&self) -> End<'_> {
        End { part: &self.part, generation: self.generation, lanes: self.lanes }
    }
}

fn leaf<T>(value: T) -> Option<Leaf<T>> {
    Some(Leaf::new(value))
}

fn facts(facts: &BTreeSet<Fact>) -> Vec<Leaf<Fact>> {
    facts.iter().copied().map(Leaf::new).collect()
}

fn further_function(function: &Function, first: &Function) -> file::Function {
    let differs = |pci: &PciId| first.pci != Some(*pci);
    file::Function {
        id: leaf(function.id),
        pci: function.pci.filter(differs).map(Leaf::new),
        class: Some(function.class).filter(|class| *class != first.class).map(Leaf::new),
        ..file::Function::default()
    }
}

/// `17:00.0 above 18:00.0, 17:01.0 above 1c:00.0`
fn list_ports(ports: &[Port]) -> Option<String> {
    let short = |id: FunctionId| format!("{:02x}:{:02x}.{}", id.bus, id.device(), id.function());
    let pairs = ports.iter().map(|port| format!("{} above {:02x}:00", short(port.id), port.piece.first));
    let pairs: Vec<_> = pairs.collect();
    (!pairs.is_empty()).then(|| pairs.join(", "))
}

fn describe(generation: Option<u8>, lanes: Option<u8>) -> String {
    match (generation, lanes) {
        (Some(generation), Some(lanes)) => format!("Gen{generation} x{lanes}"),
        (Some(generation), None) => format!("Gen{generation}"),
        (None, Some(lanes)) => format!("x{lanes}"),
        (None, None) => "of unknown speed".to_owned(),
    }
}
