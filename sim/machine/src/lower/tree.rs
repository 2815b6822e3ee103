//! From the nested file to the tree of functions: host bridges, ports and switches. Devices are in `device`.

use peerbus_units::{BitErrorRate, Bytes, FunctionId, Picos};

use super::context::{Context, Place};
use super::draft::{Draft, DraftBridge, DraftSwitch};
use super::facts::{assumed, is_assumed, timing};
use super::link::{self, End};
use super::{arbitration, config, function};
use crate::codes;
use crate::file::{self, Below};
use crate::model::{Attachment, Config, Fact, Facts, Function, FunctionIndex, Link, Role};
use crate::part::{CpuPart, PciId, SwitchPart};

/// Class code of a PCI-to-PCI bridge.
const CLASS_BRIDGE: u32 = 0x06_0400;
/// Class code of a host bridge.
pub(super) const CLASS_HOST_BRIDGE: u32 = 0x06_0000;
/// Stands for ids that are not known.
pub(super) const NO_ID: PciId = PciId { vendor: 0, device: 0 };
/// Stands for the id of a generic part: QEMU's PCI test device, which takes the place of real devices in recorded
/// boots too. A vendor id of 0 would mean that no function answers.
pub(super) const STAND_IN: PciId = PciId { vendor: 0x1b36, device: 0x0005 };

const PCI: &str = "vendor and device, such as `(vendor: 0x10de, device: 0x20b2)`";
const ID: &str = "a function such as \"0000:1b:00.0\"";

/// Builds a [`Draft`]; the steps before and after are in the parent module.
pub(super) struct Builder<'c, 'a> {
    pub ctx: &'c mut Context<'a>,
    pub draft: Draft,
}

/// What hangs where: the host bridge, and the function above with how it is joined; `None` on a root bus.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub bridge: usize,
    pub above: Option<(FunctionIndex, Attachment)>,
}

/// What something is being connected to.
struct Upper {
    bridge: usize,
    /// Upper end of the link.
    joint: Joint,
    /// The function above; `None` on a root bus.
    above: Option<FunctionIndex>,
}

impl Upper {
    /// A port with its function.
    fn port(bridge: usize, function: FunctionIndex, end: Option<End>) -> Upper {
        let joint = Joint { upper: Some(function), hidden_below: None, end };
        Upper { bridge, joint, above: Some(function) }
    }

    /// Where what hangs below is, when its link is the one with index `link`.
    fn spot(&self, link: usize) -> Spot {
        let attachment = match self.joint.upper {
            Some(_) => Attachment::Link(link),
            None => Attachment::Internal,
        };
        Spot { bridge: self.bridge, above: self.above.map(|above| (above, attachment)) }
    }
}

/// A function of which only the most necessary is known.
pub(super) fn plain_function(bridge: usize, role: Role, pci: PciId) -> Function {
    Function {
        name: String::new(),
        id: None,
        host_bridge: bridge,
        role,
        pci,
        subsystem: NO_ID,
        class: CLASS_BRIDGE,
        bars: Vec::new(),
        acs: None,
        max_payload: Bytes(128),
        firmware: None,
        config: Config::default(),
        inserted: false,
        assumed: Facts::new(),
    }
}

/// What the part of a port gives to its function.
struct PortPart {
    pci: PciId,
    max_payload: Bytes,
    acs: Option<u16>,
    acs_assumed: bool,
}

impl PortPart {
    fn of_cpu(part: Option<&CpuPart>) -> PortPart {
        PortPart {
            pci: part.map_or(STAND_IN, |part| part.root_port),
            max_payload: part.map_or(Bytes(128), |part| part.max_payload),
            acs: part.and_then(|part| part.acs),
            acs_assumed: part.is_some_and(|part| is_assumed(&part.sources, "acs")),
        }
    }

    fn of_switch(part: Option<&SwitchPart>) -> PortPart {
        PortPart {
            pci: part.and_then(|part| part.pci.first().copied()).unwrap_or(STAND_IN),
            max_payload: part.map_or(Bytes(128), |part| part.max_payload),
            acs: part.and_then(|part| part.acs),
            acs_assumed: part.is_some_and(|part| is_assumed(&part.sources, "acs")),
        }
    }
}

impl Builder<'_, '_> {
    /// Adds all host bridges with everything below them.
    pub fn host_bridges(&mut self, bridges: &[file::HostBridge]) {
        for (index, bridge) in bridges.iter().enumerate() {
            let place = Place::default().element("host_bridges", index);
            self.host_bridge(index, bridge, &place);
        }
    }

    fn host_bridge(&mut self, index: usize, given: &file::HostBridge, place: &Place) {
        let ctx = &mut *self.ctx;
        let cpu = given.cpu.as_ref().map_or(Some(0), |leaf| {
            ctx.read(leaf, &place.field("cpu"), "the index of a CPU, counted from 0")
        });
        let cpus = self.draft.cpus.len();
        let bridge = DraftBridge {
            place: place.clone(),
            cpu: cpu.filter(|cpu| super::cpu::exists(ctx, *cpu, cpus, &place.field("cpu"))),
            domain: ctx.take(&given.domain, place, "domain", "a PCI domain number such as 0"),
            bus: ctx.take(&given.bus, place, "bus", "a bus number from 0x00 to 0xff"),
            bus_last: ctx.take(&given.bus_last, place, "bus_last", "a bus number from 0x00 to 0xff"),
            windows: super::windows::given(ctx, given, place),
            windows_given: !given.windows.is_empty() || ctx.left_out(place, "windows"),
            functions: Vec::new(),
            placed: given.placed,
            assumed: ctx.facts(&given.assumed, place),
        };
        let part = bridge.cpu.and_then(|cpu| self.draft.cpus[cpu].part.clone());
        self.draft.bridges.push(bridge);
        self.head(index, given, part.as_ref(), place);
        for (position, port) in given.ports.iter().enumerate() {
            self.root_port(index, port, part.as_ref(), &place.element("ports", position));
        }
        for (position, device) in given.devices.iter().enumerate() {
            self.on_root_bus(index, device, part.as_ref(), &place.element("devices", position));
        }
        for (position, head) in given.heads.iter().enumerate() {
            let place = place.element("heads", position);
            let function = self.stated_head(index, head, None, &place);
            self.add(function, Spot { bridge: index, above: None }, &place);
        }
        for (position, conventional) in given.bridges.iter().enumerate() {
            let upper = Upper {
                bridge: index,
                joint: Joint::hidden(None, part.as_ref().map(End::root_port)),
                above: None,
            };
            self.switch(conventional, &place.element("bridges", position), upper, None, &Place::default());
        }
    }

    /// The head that is described, or else the one of the CPU part, unless its place is given to something.
    fn head(&mut self, index: usize, given: &file::HostBridge, part: Option<&CpuPart>, place: &Place) {
        let default = part.and_then(|part| part.root_bus_head);
        let place = place.field("head");
        let function = if let Some(head) = &given.head {
            self.stated_head(index, head, default.map(|default| default.id), &place)
        } else {
            if given.complete {
                return;
            }
            let ports = given.ports.iter().map(|port| &port.id);
            let ids = ports.chain(given.devices.iter().map(|device| &device.id)).flatten();
            let taken = ids.filter_map(|id| id.get()).any(|id: &FunctionId| id.devfn == 0);
            let Some(head) = default.filter(|_| !taken) else { return };
            let facts = part.map(|part| assumed(&part.sources, &["root_bus_head"])).unwrap_or_default();
            let plain = plain_function(index, Role::RootBusHead, head.id);
            Function { class: head.class, assumed: facts, ..plain }
        };
        self.add(function, Spot { bridge: index, above: None }, &place);
    }

    /// A head as its file describes it; `default` stands for ids that are not given.
    fn stated_head(
        &mut self,
        index: usize,
        head: &file::Head,
        default: Option<PciId>,
        place: &Place,
    ) -> Function {
        let ctx = &mut *self.ctx;
        let id = ctx.take(&head.id, place, "id", ID);
        let pci = match default.filter(|_| head.pci.is_none()) {
            Some(default) => Some(default),
            None => ctx.require(&head.pci, place, "pci", PCI),
        };
        let class = function::class(ctx, &head.class, place).unwrap_or(CLASS_HOST_BRIDGE);
        let subsystem = ctx.take(&head.subsystem, place, "subsystem", PCI).unwrap_or(NO_ID);
        let plain = plain_function(index, Role::RootBusHead, pci.unwrap_or(STAND_IN));
        let mut function = Function { id, class, subsystem, ..plain };
        config::apply(ctx, head.config.as_deref(), &[], place, &mut function);
        function
    }

    /// A device on the root bus: integrated, or, with a link, behind a root port that software cannot see, as
    /// virtual machines show the devices they are given.
    fn on_root_bus(&mut self, bridge: usize, given: &file::Device, part: Option<&CpuPart>, place: &Place) {
        let link = given.link.as_ref().map(|link| {
            let joint = Joint::hidden(None, part.map(End::root_port));
            (self.reserve_link(), joint, Some(link), place.field("link"))
        });
        self.device(given, place, Spot { bridge, above: None }, link);
    }

    fn root_port(&mut self, bridge: usize, given: &file::Port, part: Option<&CpuPart>, place: &Place) {
        let spot = Spot { bridge, above: None };
        let function = self.port(given, place, spot, Role::RootPort, &PortPart::of_cpu(part));
        let end = part.map(|part| End::root_port(part).limited(&self.draft.functions[function].config));
        self.below(given, place, bridge, function, end);
    }

    /// Adds the function of a port: what the file says over what the part has.
    fn port(
        &mut self,
        given: &file::Port,
        place: &Place,
        spot: Spot,
        role: Role,
        part: &PortPart,
    ) -> FunctionIndex {
        let ctx = &mut *self.ctx;
        let id = ctx.take(&given.id, place, "id", ID);
        let pci = ctx.take(&given.pci, place, "pci", PCI).unwrap_or(part.pci);
        let (acs, by_part) = function::acs(ctx, given.acs.as_ref(), place, part.acs);
        let mut facts = ctx.facts(&given.assumed, place);
        if by_part && part.acs_assumed {
            facts.insert(Fact::Acs);
        }
        let plain = plain_function(spot.bridge, role, pci);
        let class = function::class(ctx, &given.class, place).unwrap_or(CLASS_BRIDGE);
        let bars = function::bars(ctx, &given.bars, place);
        let max_payload = part.max_payload;
        let inserted = given.inserted;
        let mut function = Function { id, class, bars, acs, max_payload, inserted, assumed: facts, ..plain };
        config::apply(ctx, given.config.as_deref(), &given.bars, place, &mut function);
        self.add(function, spot, place)
    }

    /// Adds what is connected to the port `function`.
    fn below(
        &mut self,
        given: &file::Port,
        place: &Place,
        bridge: usize,
        function: FunctionIndex,
        end: Option<End>,
    ) {
        let link = given.link.as_ref();
        let at = place.field("link");
        if given.below.is_none()
            && let Some(link) = link.filter(|_| !self.ctx.left_out(place, "below"))
        {
            link::dangling(self.ctx, link, &at, end.clone());
        }
        let first = given.below.iter().map(|below| (&**below, place.field("below")));
        let beside = given.beside.iter().enumerate().map(|(at, below)| (below, place.element("beside", at)));
        for (below, place) in first.chain(beside) {
            let upper = Upper::port(bridge, function, end.clone());
            match below {
                Below::Switch(switch) => self.switch(switch, &place, upper, link, &at),
                Below::Device(device) => {
                    let (link, at) = self.device_link(device, &place, link, at.clone());
                    let index = self.reserve_link();
                    let spot = upper.spot(index);
                    self.device(device, &place, spot, Some((index, upper.joint, link, at)));
                }
            }
        }
    }

    /// The description of a device's link: the port's, or else the device's own.
    fn device_link<'f>(
        &mut self,
        device: &'f file::Device,
        place: &Place,
        of_port: Option<&'f file::Link>,
        at: Place,
    ) -> (Option<&'f file::Link>, Place) {
        let (Some(port), Some(own)) = (of_port, device.link.as_ref()) else {
            return if of_port.is_some() {
                (of_port, at)
            } else {
                (device.link.as_ref(), place.field("link"))
            };
        };
        let differ = |a: Option<&u8>, b: Option<&u8>| a.is_some() && b.is_some() && a != b;
        let value = |leaf: &Option<file::Leaf<u8>>| leaf.as_ref().and_then(|leaf| leaf.get().copied());
        if differ(value(&port.generation).as_ref(), value(&own.generation).as_ref())
            || differ(value(&port.lanes).as_ref(), value(&own.lanes).as_ref())
        {
            let message = "this differs from what the port above says about the same link".to_owned();
            self.ctx.error(
                codes::LINK_STATED_TWICE,
                &place.field("link"),
                message,
                "drop `link` here; the port's counts",
            );
        }
        (Some(port), at)
    }

    fn switch(
        &mut self,
        given: &file::Switch,
        place: &Place,
        upper: Upper,
        link: Option<&file::Link>,
        at: &Place,
    ) {
        let part: Option<SwitchPart> = self.ctx.part(&given.part, place);
        let index = self.draft.switches.len();
        let link_index = self.reserve_link();
        let mut facts = self.ctx.facts(&given.assumed, place);
        let function = self.upstream(given, place, (upper.bridge, index), part.as_ref(), &facts);
        let own_end = part.as_ref().map(|part| End::switch(part).limited(&function.config));
        let ends = [upper.joint.end.clone(), own_end];
        let resolved = link::resolve(self.ctx, link, at, &ends);
        let upstream = self.add(function, upper.spot(link_index), place);
        self.draft.links[link_index] = upper.joint.link(upstream, resolved, &facts);
        facts.extend(part.iter().flat_map(|part| timing(&part.sources)));
        self.draft.switches.push(DraftSwitch {
            place: place.clone(),
            part: part.clone(),
            upstream,
            downstream: Vec::new(),
            arbitration: arbitration::arbitration(self.ctx, given, place),
            chip: self.ctx.take(&given.chip, place, "chip", "a name such as \"chip0\""),
            ports: 1 + given.ports.len() + given.devices.len() + given.bridges.len(),
            links: vec![link_index],
            assumed: facts,
        });
        self.downstream(index, given, place, part.as_ref(), upper.bridge);
    }

    /// The upstream port of the switch `index` below `bridge`.
    fn upstream(
        &mut self,
        given: &file::Switch,
        place: &Place,
        (bridge, index): (usize, usize),
        part: Option<&SwitchPart>,
        facts: &Facts,
    ) -> Function {
        let ctx = &mut *self.ctx;
        let pci = ctx.take(&given.pci, place, "pci", PCI).unwrap_or(PortPart::of_switch(part).pci);
        let (acs, _) = function::acs(ctx, given.acs.as_ref(), place, None);
        let mut function = Function {
            id: ctx.take(&given.id, place, "id", ID),
            class: function::class(ctx, &given.class, place).unwrap_or(CLASS_BRIDGE),
            bars: function::bars(ctx, &given.bars, place),
            acs,
            max_payload: PortPart::of_switch(part).max_payload,
            inserted: given.inserted,
            assumed: facts.clone(),
            ..plain_function(bridge, Role::SwitchUpstream(index), pci)
        };
        config::apply(ctx, given.config.as_deref(), &given.bars, place, &mut function);
        function
    }

    /// Adds what is below a switch: its ports, and devices behind ports that software cannot see.
    fn downstream(
        &mut self,
        index: usize,
        given: &file::Switch,
        place: &Place,
        part: Option<&SwitchPart>,
        bridge: usize,
    ) {
        let above = Some((self.draft.switches[index].upstream, Attachment::Internal));
        let spot = Spot { bridge, above };
        let end = part.map(End::switch);
        for (position, port) in given.ports.iter().enumerate() {
            let place = place.element("ports", position);
            let function =
                self.port(port, &place, spot, Role::SwitchDownstream(index), &PortPart::of_switch(part));
            self.draft.switches[index].downstream.push(function);
            let first = self.draft.links.len();
            let end = end.clone().map(|end| end.limited(&self.draft.functions[function].config));
            self.below(port, &place, bridge, function, end);
            if self.draft.links.len() > first {
                self.draft.switches[index].links.push(first);
            }
        }
        for (position, device) in given.devices.iter().enumerate() {
            let place = place.element("devices", position);
            let link = self.reserve_link();
            self.draft.switches[index].links.push(link);
            let joint = Joint::hidden(Some(index), end.clone());
            self.device(device, &place, spot, Some((link, joint, device.link.as_ref(), place.field("link"))));
        }
        for (position, conventional) in given.bridges.iter().enumerate() {
            self.draft.switches[index].links.push(self.draft.links.len());
            let joint = Joint::hidden(Some(index), end.clone());
            let upper = Upper { bridge, joint, above: above.map(|(function, _)| function) };
            self.switch(conventional, &place.element("bridges", position), upper, None, &Place::default());
        }
    }

    /// Adds a function to the tree.
    pub fn add(&mut self, function: Function, spot: Spot, place: &Place) -> FunctionIndex {
        let index = self.draft.functions.add_node(function);
        self.draft.places.push(place.clone());
        match spot.above {
            Some((above, attachment)) => {
                self.draft.functions.add_edge(above, index, attachment);
            }
            None => self.draft.bridges[spot.bridge].functions.push(index),
        }
        index
    }

    /// The index of a link that is described once the function at its lower end exists.
    fn reserve_link(&mut self) -> usize {
        self.draft.links.push(Link {
            name: String::new(),
            upper: None,
            hidden_below: None,
            lower: FunctionIndex::end(),
            generation: 0,
            lanes: 0,
            propagation: Picos::ZERO,
            bit_errors: BitErrorRate::ZERO,
            virtual_channel: None,
            assumed: Facts::new(),
        });
        self.draft.links.len() - 1
    }
}

/// The upper end of a link.
pub(super) struct Joint {
    pub upper: Option<FunctionIndex>,
    pub hidden_below: Option<usize>,
    pub end: Option<End>,
}

impl Joint {
    /// An end that software cannot see: of the switch with that index, or else of a root complex.
    fn hidden(below: Option<usize>, end: Option<End>) -> Joint {
        Joint { upper: None, hidden_below: below, end }
    }

    /// The link from here to `lower`, whose source lists `facts` as assumed.
    pub fn link(&self, lower: FunctionIndex, resolved: link::Resolved, facts: &Facts) -> Link {
        let mut assumed = resolved.assumed;
        assumed.extend(facts.iter().copied().filter(|fact| *fact == Fact::Link));
        Link {
            name: String::new(),
            upper: self.upper,
            hidden_below: self.hidden_below,
            lower,
            generation: resolved.generation,
            lanes: resolved.lanes,
            propagation: resolved.propagation,
            bit_errors: resolved.bit_errors,
            virtual_channel: resolved.virtual_channel,
            assumed,
        }
    }
}
