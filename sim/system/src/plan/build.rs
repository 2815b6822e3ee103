//! Collects a [`Plan`] from a booted machine.

use std::collections::BTreeSet;

use peerbus_machine::model::{Attachment, Fact, FunctionIndex, Machine, PortKind, Role, Stated};
use peerbus_machine::part::ResourceKind;
use peerbus_os::pci::resource::{RESOURCES, is_window};
use peerbus_os::pci::{ResourceFlags, ResourceRef, WhyNot};
use peerbus_units::{Address, Bytes};

use super::log::boot_log;
use super::why::explain;
use super::{Plan, PlannedFunction, PlannedHostBridge, PlannedLink, PlannedResource, Space};
use crate::boot::Booted;
use crate::resource::{index_name, kind_name, kind_word};
use crate::space::{WindowSpace, host_windows};

/// The plan of a booted machine.
pub fn plan(machine: &Machine, booted: &Booted) -> Plan {
    let mut functions = Vec::new();
    let mut resources = Vec::new();
    for bridge in &machine.host_bridges {
        for &root in &bridge.functions {
            collect(machine, booted, root, 0, &mut functions, &mut resources);
        }
    }
    Plan {
        schema: "peerbus.plan/1",
        version: env!("CARGO_PKG_VERSION"),
        machine: machine.name.clone(),
        profile: booted.settings.profile,
        resources,
        spaces: window_rows(machine, booted),
        host_bridges: machine.host_bridges.iter().map(|bridge| host_bridge(machine, bridge)).collect(),
        functions,
        log: boot_log(&booted.tree),
    }
}

fn collect(
    machine: &Machine,
    booted: &Booted,
    index: FunctionIndex,
    depth: usize,
    functions: &mut Vec<PlannedFunction>,
    resources: &mut Vec<PlannedResource>,
) {
    functions.push(function(machine, booted, index, depth));
    resources.extend(function_resources(machine, booted, index));
    for child in machine.children(index) {
        collect(machine, booted, child, depth + 1, functions, resources);
    }
}

fn host_bridge(machine: &Machine, bridge: &peerbus_machine::model::HostBridge) -> PlannedHostBridge {
    let cpu = &machine.cpus[bridge.cpu];
    let assumed: BTreeSet<Fact> = bridge.assumed.union(&cpu.assumed).copied().collect();
    PlannedHostBridge {
        name: bridge.name.clone(),
        domain: bridge.domain,
        bus: bridge.bus,
        bus_last: bridge.bus_last,
        cpu: cpu.name.clone(),
        part: cpu.part.id.clone(),
        assumed: assumed.into_iter().collect(),
    }
}

fn function(machine: &Machine, booted: &Booted, index: FunctionIndex, depth: usize) -> PlannedFunction {
    let function = &machine.functions[index];
    let bridge = &machine.host_bridges[function.host_bridge];
    let (role, part) = match function.role {
        Role::RootBusHead => ("root bus head", &machine.cpus[bridge.cpu].part.id),
        Role::RootPort => ("root port", &machine.cpus[bridge.cpu].part.id),
        Role::SwitchUpstream(switch) if is_conventional(function) => {
            ("bridge", &machine.switches[switch].part.id)
        }
        Role::SwitchUpstream(switch) => ("upstream port", &machine.switches[switch].part.id),
        Role::SwitchDownstream(switch) => ("downstream port", &machine.switches[switch].part.id),
        Role::Endpoint(device) => ("device", &machine.devices[device].part.id),
    };
    let link = match function.role {
        // A device behind a port that software cannot see hangs inside the switch, yet has a link.
        Role::Endpoint(device) => machine.devices[device].link,
        _ => match machine.attachment(index) {
            Some(Attachment::Link(link)) => Some(link),
            _ => None,
        },
    };
    let link = link.map(|link| &machine.links[link]);
    let buses = booted.registers.bus_numbers(index).map(|buses| (buses.secondary, buses.subordinate));
    PlannedFunction {
        function: booted.registers.id(index),
        name: function.name.clone(),
        host_bridge: bridge.name.clone(),
        depth,
        role,
        part: part.clone(),
        pci: format!("{:04x}:{:04x}", function.pci.vendor, function.pci.device),
        link: link.map(|link| PlannedLink { generation: link.generation, lanes: link.lanes }),
        buses,
        inserted: function.inserted,
        assumed: booted.facts(machine, index).into_iter().collect(),
    }
}

/// True for a bridge to a conventional bus.
fn is_conventional(function: &peerbus_machine::model::Function) -> bool {
    match function.config.express {
        Stated::Absent => true,
        Stated::Present(express) => {
            matches!(express.port, PortKind::ToConventional | PortKind::FromConventional)
        }
        Stated::ByRole => false,
    }
}

/// What a function asked for: what has an address, and what should have one.
fn function_resources(machine: &Machine, booted: &Booted, index: FunctionIndex) -> Vec<PlannedResource> {
    let Some(function) = booted.os_function(index) else {
        return Vec::new();
    };
    let tree = &booted.tree;
    let failure = |at: ResourceRef| tree.failures.iter().find(|why| why.resource == at);
    let planned = |number: usize| {
        let at = ResourceRef { function, number };
        let (resource, why) = (tree.resource(at), failure(at));
        let range = resource.range();
        if range.is_none() && why.is_none() {
            return None;
        }
        // The kernel clears a BAR that found no place; what it asked for stands in the failure.
        let (size, flags) = match (range, why) {
            (Some(range), _) => (range.size(), resource.flags),
            (None, Some(why)) => (why.size, why.flags),
            (None, None) => (resource.size, resource.flags),
        };
        Some(PlannedResource {
            function: tree[function].id,
            name: machine.functions[index].name.clone(),
            index: number,
            flags: resource.flags.0,
            size: Some(size.0),
            kind: kind_name(flags),
            cpu_addr: range.map(|range| range.first().raw()),
            bus_addr: tree.bus_address(at).map(Address::raw),
            why_not: why.filter(|_| range.is_none()).map(|why| explain(tree, why)),
        })
    };
    let mut rows: Vec<PlannedResource> = (0..RESOURCES).filter_map(planned).collect();
    let id = tree[function].id;
    rows.extend(machine.functions[index].config.unsized_bars.iter().map(|bar| PlannedResource {
        function: id,
        name: machine.functions[index].name.clone(),
        index: usize::from(bar.index),
        flags: flags(bar.kind).0,
        size: None,
        kind: kind_word(bar.kind),
        cpu_addr: None,
        bus_addr: None,
        why_not: Some(
            "the kernel that was captured found no place for it, and its size is not known".to_owned(),
        ),
    }));
    rows.sort_by_key(|row| row.index);
    rows
}

/// The kernel's flags for a kind of space.
fn flags(kind: ResourceKind) -> ResourceFlags {
    let space = if kind == ResourceKind::Io { ResourceFlags::IO } else { ResourceFlags::MEM };
    let wide = if kind.is_64bit() { ResourceFlags::MEM_64 } else { ResourceFlags::NONE };
    let prefetch = if kind.is_prefetchable() { ResourceFlags::PREFETCH } else { ResourceFlags::NONE };
    space | wide | prefetch
}

/// Memory BARs that found no place: `gpu0's path BAR1`, the size asked for, and why. I/O BARs are left out: no
/// traffic uses them, and machines commonly have too few ports for all.
pub fn unplaced(machine: &Machine, booted: &Booted) -> Vec<(String, Bytes, String)> {
    let tree = &booted.tree;
    let bars = tree
        .failures
        .iter()
        .filter(|why| !is_window(why.resource.number) && !why.flags.is_io())
        .filter(|why| !tree.resource(why.resource).is_assigned());
    let describe = |why: &WhyNot| {
        let function = &machine.functions[booted.machine_function(why.resource.function)];
        (format!("{} {}", function.name, index_name(why.resource.number)), why.size, explain(tree, why))
    };
    bars.map(describe).collect()
}

/// First and last address.
pub(super) fn span(first: u64, size: u64) -> String {
    format!("{first:#x}-{:#x}", first.saturating_add(size.saturating_sub(1)))
}

/// Every window of every host bridge with what lies in it.
fn window_rows(machine: &Machine, booted: &Booted) -> Vec<Space> {
    let row = |window: WindowSpace| Space {
        host_bridge: window.host_bridge,
        kind: window.kind,
        cpu_addr: window.range.first().raw(),
        bus_addr: window.bus.raw(),
        size: window.space.size,
        used: window.space.used,
        used_by_bars: window.bars,
        largest_hole: window.space.largest_hole,
    };
    host_windows(machine, booted).into_iter().map(row).collect()
}
