//! A second opinion on numbering: walks a machine file as configuration requests would.

use std::collections::BTreeSet;

use peerbus_units::FunctionId;

use super::get;
use crate::file::{Below, Device, Machine, Port, Switch};

/// Every function with its depth below the root bus, and every rule that is broken.
#[derive(Default)]
pub(super) struct Walk {
    /// Functions in order of the walk with the number of functions above each.
    pub functions: Vec<(FunctionId, usize)>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// Walks `machine`.
pub(super) fn walk(machine: &Machine) -> Walk {
    let mut walk = Walk::default();
    let mut before: Option<(u32, u8)> = None;
    for bridge in &machine.host_bridges {
        let (Some(domain), Some(bus)) = (get(&bridge.domain).copied(), get(&bridge.bus).copied()) else {
            walk.problems.push("a host bridge has no number".to_owned());
            continue;
        };
        if before.is_some_and(|(other, last)| other == domain && last >= bus) {
            walk.problems.push(format!("root bus {domain:04x}:{bus:02x} lies within the one before"));
        }
        let mut end = bus;
        for device in &bridge.devices {
            walk.device(device, domain, bus, 0);
        }
        for port in &bridge.ports {
            end = walk.port(port, domain, bus, end, 0);
        }
        before = Some((domain, end));
    }
    let ids: Vec<FunctionId> = walk.functions.iter().map(|(id, _)| *id).collect();
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        walk.problems.push("two functions have one id".to_owned());
    }
    walk
}

impl Walk {
    fn on_bus(&mut self, id: Option<&FunctionId>, domain: u32, bus: u8, depth: usize) -> FunctionId {
        let id = id.copied().unwrap_or(FunctionId::new(u32::MAX, 0, 0, 0));
        if (id.domain, id.bus) != (domain, bus) {
            self.problems.push(format!("{id} is not on bus {domain:04x}:{bus:02x}"));
        }
        self.functions.push((id, depth));
        id
    }

    fn device(&mut self, device: &Device, domain: u32, bus: u8, depth: usize) {
        let first = self.on_bus(get(&device.id), domain, bus, depth);
        for function in &device.functions {
            let id = self.on_bus(get(&function.id), domain, bus, depth);
            if id.device() != first.device() || first.function() != 0 {
                self.problems.push(format!("{id} is not a further function of {first}"));
            }
        }
    }

    /// A port on `bus`; the buses below it begin above `end`. Returns the last one.
    fn port(&mut self, port: &Port, domain: u32, bus: u8, end: u8, depth: usize) -> u8 {
        let id = self.on_bus(get(&port.id), domain, bus, depth);
        let top = match port.below.as_deref() {
            Some(Below::Device(device)) => get(&device.id),
            Some(Below::Switch(switch)) => get(&switch.id),
            None => None,
        };
        let Some(top) = top.copied() else { return end };
        if top.bus <= end || top.devfn != 0 {
            self.problems.push(format!("{top} cannot hang below {id}: buses up to {end:02x} are taken"));
        }
        match port.below.as_deref() {
            Some(Below::Device(device)) => {
                self.device(device, domain, top.bus, depth + 1);
                top.bus
            }
            Some(Below::Switch(switch)) => self.switch(switch, domain, top.bus, depth + 1),
            None => end,
        }
    }

    fn switch(&mut self, switch: &Switch, domain: u32, bus: u8, depth: usize) -> u8 {
        self.on_bus(get(&switch.id), domain, bus, depth);
        let on_internal = switch.ports.iter().filter_map(|port| get(&port.id));
        let on_internal = on_internal.chain(switch.devices.iter().filter_map(|device| get(&device.id)));
        let Some(internal) = on_internal.map(|id| id.bus).next() else { return bus };
        if internal <= bus {
            self.problems.push(format!("internal bus {internal:02x} is not above bus {bus:02x}"));
        }
        for device in &switch.devices {
            self.device(device, domain, internal, depth + 1);
        }
        let mut end = internal;
        for port in &switch.ports {
            end = self.port(port, domain, internal, end, depth + 1);
        }
        end
    }
}
