//! A machine with a card in another slot: what someone does with a screwdriver, and the firmware afterwards.
//!
//! A slot is a port with a link: a root port or a downstream port of a switch that software can see. What is in it is a
//! card: a device, or a device behind a bridge of two ports, which is soldered on its card. A device keeps its short name
//! and all that its part says; paths, buses and the link follow the new port. Firmware then runs again below the host
//! bridges concerned, since addresses that the description fixed there were those of the old arrangement; bus numbers
//! change only where a card brings bridges with it. Whether a card fits into a slot is for a person to know.

use petgraph::Direction;
use petgraph::visit::EdgeRef;

use crate::firmware;
use crate::model::{Attachment, Function, FunctionIndex, Machine, Role, Stated};

/// Ports of a bridge that is part of a card: one up, one down.
const ON_CARD: u8 = 2;

/// What is in a slot.
struct Card {
    /// Its link to the slot.
    link: usize,
    /// The functions directly below the port.
    functions: Vec<FunctionIndex>,
    /// True when it brings buses of its own.
    has_bridge: bool,
}

impl Machine {
    /// The port whose slot the card of `device` occupies; `None` for one without a link, or below a port that software
    /// cannot see.
    pub fn slot(&self, device: usize) -> Option<FunctionIndex> {
        self.links[self.card(device)?.link].upper
    }

    fn card(&self, device: usize) -> Option<Card> {
        let device = self.devices.get(device)?;
        let mut card = Card { link: device.link?, functions: device.functions.clone(), has_bridge: false };
        while let Some(Role::SwitchDownstream(switch)) =
            self.links[card.link].upper.map(|port| self.functions[port].role)
            && self.switches[switch].part.ports == ON_CARD
        {
            let upstream = self.switches[switch].upstream;
            let link = self.links.iter().position(|link| link.lower == upstream)?;
            card = Card { link, functions: vec![upstream], has_bridge: true };
        }
        Some(card)
    }

    /// Ports with nothing below, but for those that state they have no slot.
    pub fn free_slots(&self) -> Vec<FunctionIndex> {
        let is_slot = |index: &FunctionIndex| match self.functions[*index].role {
            Role::RootPort => true,
            Role::SwitchDownstream(switch) => self.switches[switch].part.ports != ON_CARD,
            _ => false,
        };
        let is_free = |index: &FunctionIndex| {
            let stated = self.functions[*index].config.express.get();
            self.functions.neighbors(*index).next().is_none() && stated.is_none_or(|stated| stated.slot)
        };
        self.functions.node_indices().filter(is_slot).filter(is_free).collect()
    }

    /// The machine with the card of `device` in the free slot of `port`; `None` where either is not what it must be.
    pub fn with_device_moved(&self, device: usize, port: FunctionIndex) -> Option<Machine> {
        let card = self.card(device)?;
        let from = self.links[card.link].upper?;
        if !self.free_slots().contains(&port) {
            return None;
        }
        let mut moved = self.clone();
        moved.plug(&card, port);
        moved.power_cycle(&[from, port], card.has_bridge);
        Some(moved)
    }

    /// The machine with the cards of two devices in each other's slots; `None` where one has no slot, or both are on
    /// one card.
    pub fn with_devices_exchanged(&self, device: usize, other: usize) -> Option<Machine> {
        let (first, second) = (self.card(device)?, self.card(other)?);
        let (here, there) = (self.links[first.link].upper?, self.links[second.link].upper?);
        if here == there {
            return None;
        }
        let mut exchanged = self.clone();
        exchanged.plug(&first, there);
        exchanged.plug(&second, here);
        exchanged.power_cycle(&[here, there], first.has_bridge || second.has_bridge);
        Some(exchanged)
    }

    /// Hangs a card below `port`, by the fastest and widest link that both ends support.
    fn plug(&mut self, card: &Card, port: FunctionIndex) {
        for &function in &card.functions {
            let above = self.functions.edges_directed(function, Direction::Incoming).next();
            if let Some(edge) = above.map(|edge| edge.id()) {
                self.functions.remove_edge(edge);
            }
            self.functions.add_edge(port, function, Attachment::Link(card.link));
            self.rename(function, port);
        }
        let (above, below) = (self.limits(port), self.limits(self.links[card.link].lower));
        let link = &mut self.links[card.link];
        (link.upper, link.generation, link.lanes) = (Some(port), above.0.min(below.0), above.1.min(below.1));
        for link in &mut self.links {
            link.name.clone_from(&self.functions[link.lower].name);
        }
        for switch in &mut self.switches {
            switch.name.clone_from(&self.functions[switch.upstream].name);
        }
    }

    /// Path and host bridge of `function` and all below it, by those of `parent`.
    fn rename(&mut self, function: FunctionIndex, parent: FunctionIndex) {
        let (path, host_bridge) = (self.functions[parent].name.clone(), self.functions[parent].host_bridge);
        let renamed = &mut self.functions[function];
        let own = renamed.name.rsplit('/').next().unwrap_or_default();
        renamed.name = format!("{path}/{own}");
        renamed.host_bridge = host_bridge;
        for child in self.children(function) {
            self.rename(child, function);
        }
    }

    /// Generation and lanes that the part of a function's port supports.
    fn limits(&self, function: FunctionIndex) -> (u8, u8) {
        match self.functions[function].role {
            Role::SwitchDownstream(switch) | Role::SwitchUpstream(switch) => {
                (self.switches[switch].part.generation, self.switches[switch].part.lanes)
            }
            Role::Endpoint(device) => (self.devices[device].part.generation, self.devices[device].part.lanes),
            Role::RootPort | Role::RootBusHead => {
                let part = &self.cpus[self.host_bridges[self.functions[function].host_bridge].cpu].part;
                (part.generation, part.lanes)
            }
        }
    }

    /// Firmware places everything below the host bridges of these functions anew, and numbers buses anew if asked to.
    fn power_cycle(&mut self, below: &[FunctionIndex], renumber: bool) {
        let bridges: Vec<usize> = below.iter().map(|port| self.functions[*port].host_bridge).collect();
        for function in self.functions.node_weights_mut() {
            if !bridges.contains(&function.host_bridge) {
                continue;
            }
            forget(function);
            if renumber {
                function.firmware = None;
            } else if let Some(firmware) = &mut function.firmware {
                firmware.windows.clear();
            }
        }
        for bridge in bridges {
            self.host_bridges[bridge].placed = false;
        }
        firmware::run(self);
        for index in self.functions.node_indices() {
            let Some(parent) = self.parent(index) else { continue };
            let secondary = self.functions[parent].firmware.as_ref().map(|firmware| firmware.secondary);
            let domain = self.host_bridges[self.functions[index].host_bridge].domain;
            let function = &mut self.functions[index];
            // Without numbers from firmware the device number, which is wired, is all that counts.
            if let (Some(id), Some(bus)) = (&mut function.id, secondary) {
                (id.domain, id.bus) = (domain, bus);
            }
        }
    }
}

/// Drops what the description says was programmed into a function, but for bus numbers and windows.
fn forget(function: &mut Function) {
    function.bars.iter_mut().for_each(|bar| bar.address = None);
    let config = &mut function.config;
    (config.command, config.windows_stated) = (None, false);
    if let Some(rom) = &mut config.rom {
        rom.address = None;
    }
    if let Stated::Present(express) = &mut config.express {
        (express.payload, express.read_request) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::ResourceKind;
    use crate::{Catalogue, Registers, load_machine};

    const TEXT: &str = r#"Machine(cpus: [(part: "amd-rome")], host_bridges: [(ports: [
        (below: Switch(part: "pex88096", ports: [
            (below: Device(name: "gpu0", part: "a100-pcie-80g", id: "0000:03:00.0")), (),
            (below: Device(name: "nic0", part: "connectx-6")),
        ])),
        (below: Device(name: "gpu1", part: "generic-gpu")),
    ])])"#;

    fn machine() -> Machine {
        let (machine, problems) = load_machine(TEXT, "test.ron", &Catalogue::embedded());
        machine.unwrap_or_else(|| panic!("{problems:?}"))
    }

    /// Exchanging cards that bring bridges numbers buses anew.
    #[test]
    fn a_bridge_on_the_card_goes_with_it() {
        let text = r#"Machine(cpus: [(part: "amd-rome")], host_bridges: [(ports: [
            (below: Switch(part: "amd-gpu-bridge", id: "0000:01:00.0", ports: [(below: Device(part: "mi50"))])),
            (below: Switch(part: "pex88096", ports: [(below: Device(part: "connectx-6"))])), (),
        ])])"#;
        let (machine, problems) = load_machine(text, "test.ron", &Catalogue::embedded());
        let machine = machine.unwrap_or_else(|| panic!("{problems:?}"));
        let exchanged = machine.with_devices_exchanged(0, 1).unwrap();
        assert_eq!(path(&exchanged, "gpu0"), "host0/rp1/sw1/p0/sw0/p0/gpu0");
        assert_eq!(path(&exchanged, "nic0"), "host0/rp0/nic0");
        check(&exchanged);
        let moved = machine.with_device_moved(0, machine.free_slots()[0]).unwrap();
        assert_eq!(path(&moved, "gpu0"), "host0/rp2/sw0/p0/gpu0");
        assert_eq!(moved.switches[0].name, "host0/rp2/sw0");
        check(&moved);
    }

    fn path(machine: &Machine, device: &str) -> String {
        let device = machine.device(device).unwrap();
        machine.functions[machine.devices[device].functions[0]].name.clone()
    }

    /// Every function answers somewhere, and the machine is one that `lower` could have made.
    fn check(machine: &Machine) {
        let registers = Registers::power_on(machine);
        for index in machine.functions.node_indices() {
            let function = &machine.functions[index];
            assert!(registers.id(index).is_some(), "{} does not answer", function.name);
            assert!(function.id.is_none_or(|id| registers.id(index) == Some(id)), "{}", function.name);
            // Firmware does not place I/O ports.
            let mut memory = function.bars.iter().filter(|bar| bar.kind != ResourceKind::Io);
            assert!(memory.all(|bar| bar.address.is_some()), "{}", function.name);
        }
        for link in &machine.links {
            assert_eq!(link.upper, machine.parent(link.lower));
            assert_eq!(link.name, machine.functions[link.lower].name);
        }
    }

    #[test]
    fn a_device_moves_to_a_free_slot_and_back() {
        let machine = machine();
        let (gpu1, free) = (machine.device("gpu1").unwrap(), machine.free_slots());
        assert_eq!(
            free.iter().map(|port| &*machine.functions[*port].name).collect::<Vec<_>>(),
            ["host0/rp0/sw0/p1"]
        );
        let moved = machine.with_device_moved(gpu1, free[0]).unwrap();
        assert_eq!(path(&moved, "gpu1"), "host0/rp0/sw0/p1/gpu1");
        assert_eq!(moved.free_slots(), [machine.slot(gpu1).unwrap()]);
        check(&moved);
        let back = moved.with_device_moved(gpu1, machine.slot(gpu1).unwrap()).unwrap();
        assert_eq!(path(&back, "gpu1"), path(&machine, "gpu1"));
        check(&back);
        assert!(machine.with_device_moved(gpu1, machine.slot(0).unwrap()).is_none(), "the slot is taken");
    }

    #[test]
    fn devices_exchange_their_slots() {
        let machine = machine();
        let [gpu0, gpu1] = ["gpu0", "gpu1"].map(|name| machine.device(name).unwrap());
        let exchanged = machine.with_devices_exchanged(gpu0, gpu1).unwrap();
        assert_eq!(path(&exchanged, "gpu0"), "host0/rp1/gpu0");
        assert_eq!(path(&exchanged, "gpu1"), "host0/rp0/sw0/p0/gpu1");
        check(&exchanged);
        assert!(machine.with_devices_exchanged(gpu0, gpu0).is_none());
    }
}
