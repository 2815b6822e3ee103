//! From the nested file to the tree of functions: host bridges, ports and switches. Devices are in `device`.

use peerbus_units::{Bytes, FunctionId};
use petgraph::graph::NodeIndex;

use super::context::{Context, Place};
use super::draft::{Draft, DraftBridge, DraftSwitch};
use super::facts::{assumed, is_assumed, timing};
use super::function;
use super::limits::LANES;
use super::link::{self, End};
use crate::codes;
use crate::file::{self, Below, Leaf};
use crate::model::{Acs, Attachment, Fact, Facts, Function, FunctionIndex, Link, Role};
use crate::part::{CpuPart, PciId, SwitchPart};

/// Class code of a PCI-to-PCI bridge.
const CLASS_BRIDGE: u32 = 0x06_0400;
/// Class code of a host bridge.
const CLASS_HOST_BRIDGE: u32 = 0x06_0000;

/// Builds a [`Draft`]; the steps before and after are in the parent module.
pub(super) struct Builder<'c, 'a> {
    pub ctx: &'c mut Context<'a>,
    pub draft: Draft,
}

/// What hangs where: the host bridge, and the function above with how it is joined. `None` on a root bus.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub bridge: usize,
    pub above: Option<(FunctionIndex, Attachment)>,
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
        let cpu = match &given.cpu {
            Some(leaf) => ctx.read(leaf, &place.field("cpu"), "the index of a CPU, counted from 0"),
            None => Some(0),
        };
        let cpu = cpu.filter(|cpu| cpu_exists(ctx, *cpu, self.draft.cpus.len(), &place.field("cpu")));
        let bridge = DraftBridge {
            place: place.clone(),
            cpu,
            domain: ctx.take(&given.domain, place, "domain", "a PCI domain number such as 0"),
            bus: ctx.take(&given.bus, place, "bus", "a bus number from 0x00 to 0xff"),
            bus_last: ctx.take(&given.bus_last, place, "bus_last", "a bus number from 0x00 to 0xff"),
            windows: Vec::new(),
            windows_given: !given.windows.is_empty() || ctx.hole_below(&place.field("windows")),
            functions: Vec::new(),
            assumed: ctx.facts(&given.assumed, place),
        };
        self.draft.bridges.push(bridge);
        self.draft.bridges[index].windows = super::windows::given(self.ctx, &given.windows, place);
        let part = cpu.and_then(|cpu| self.draft.cpus[cpu].part.clone());
        self.head(index, given, part.as_ref(), place);
        for (position, port) in given.ports.iter().enumerate() {
            self.root_port(index, port, part.as_ref(), &place.element("ports", position));
        }
        for (position, device) in given.devices.iter().enumerate() {
            let place = place.element("devices", position);
            if let Some(link) = &device.link {
                let message = "a device on a root bus has no link".to_owned();
                let help = "drop `link`, or put the device below one of the `ports`";
                self.ctx.error(codes::LINK_ON_ROOT_BUS, &place.field("link"), message, help);
                link::resolve(self.ctx, Some(link), &place.field("link"), &[]);
            }
            self.device(device, &place, Spot { bridge: index, above: None }, None);
        }
    }

    /// The head that is described, or else the one of the CPU part, unless its place is given to a port.
    fn head(&mut self, index: usize, given: &file::HostBridge, part: Option<&CpuPart>, place: &Place) {
        let default = part.and_then(|part| part.root_bus_head);
        let function = match &given.head {
            Some(head) => {
                let place = place.field("head");
                let id = self.ctx.take(&head.id, &place, "id", "a function such as \"0000:00:00.0\"");
                let pci = match default {
                    Some(default) if head.pci.is_none() => Some(default.id),
                    _ => self.ctx.require(&head.pci, &place, "pci", "vendor and device, `(vendor: 0x8086, device: 0x2f00)`"),
                };
                let class = function::class(self.ctx, &head.class, &place);
                let new = function_at(index, Role::RootBusHead, pci.unwrap_or_default_id());
                Function { id, class: class.unwrap_or(CLASS_HOST_BRIDGE), ..new }
            }
            None => {
                let ids = given.ports.iter().map(|port| &port.id).chain(given.devices.iter().map(|device| &device.id));
                let taken = ids.flatten().any(|id| id.get().is_some_and(|id: &FunctionId| id.devfn == 0));
                let Some(head) = default.filter(|_| !taken) else { return };
                let new = function_at(index, Role::RootBusHead, head.id);
                let facts = part.map(|part| assumed(&part.sources, &["root_bus_head"])).unwrap_or_default();
                Function { class: head.class, assumed: facts, ..new }
            }
        };
        self.add(function, Spot { bridge: index, above: None }, &place.field("head"));
    }

    fn root_port(&mut self, bridge: usize, given: &file::Port, part: Option<&CpuPart>, place: &Place) {
        let mut function = function_at(bridge, Role::RootPort, part.map_or(NO_ID, |part| part.root_port));
        function.max_payload = part.map_or(Bytes(128), |part| part.max_payload);
        let acs_assumed = part.is_some_and(|part| is_assumed(&part.sources, "acs"));
        self.port(given, place, function, part.and_then(|part| part.acs), acs_assumed);
        let index = self.add_port(given, place, Spot { bridge, above: None });
        self.below(given, place, bridge, index, part.map(End::root_port));
    }

    /// Fills `self.pending` with a port's function: what the file says over what the part has.
    fn port(&mut self, given: &file::Port, place: &Place, base: Function, acs: Option<u16>, acs_assumed: bool) {
        let ctx = &mut *self.ctx;
        let id = ctx.take(&given.id, place, "id", "a function such as \"0000:00:01.0\"");
        let pci = ctx.take(&given.pci, place, "pci", "vendor and device, `(vendor: 0x8086, device: 0x347a)`");
        let (acs, part_acs): (Option<Acs>, bool) = function::acs(ctx, given.acs.as_ref(), place, acs);
        let mut facts = ctx.facts(&given.assumed, place);
        if part_acs && acs_assumed {
            facts.insert(Fact::Acs);
        }
        let pci = pci.unwrap_or(base.pci);
        self.draft.pending = Some(Function { id, pci, acs, assumed: facts, inserted: given.inserted, ..base });
    }
}
