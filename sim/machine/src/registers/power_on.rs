//! Building the registers of a machine, and what its firmware has programmed before the operating system starts.
//!
//! Firmware programs payload sizes always; bus numbers, windows and addresses only where the machine's
//! description states them. Everything else is as after reset.

use peerbus_units::{Address, BusAddr, Bytes, Range};

use super::capability::{self, Capability, LinkState};
use super::header;
use super::layout::*;
use super::space::{ConfigSpace, high, low};
use super::tags;
use super::wiring::Wiring;
use crate::model::{Bar, BridgeFirmware, Function, FunctionIndex, Machine, PortKind, Role, Stated};
use crate::part::ResourceKind;

/// Base class and subclass of a host bridge.
const CLASS_HOST_BRIDGE: u32 = 0x0600;

/// Configuration space of every function, in order of index.
pub(crate) fn spaces(machine: &Machine, wiring: &Wiring) -> Vec<ConfigSpace> {
    let payloads = payloads(machine);
    let build = |index: FunctionIndex| {
        let mut space = hardware(machine, wiring, index);
        if space.is_express() {
            let stated = machine.functions[index].config.express.get();
            let payload = stated.and_then(|stated| stated.payload).unwrap_or(payloads[index.index()]);
            let request = stated.and_then(|stated| stated.read_request);
            let request = request.unwrap_or_else(|| read_request(machine, index));
            capability::set_transfer_sizes(&mut space, payload, request);
            tags::enable(&mut space, tag_bits(machine, index));
            if let Role::Endpoint(device) = machine.functions[index].role {
                capability::set_ordering(&mut space, machine.devices[device].ordering);
            }
        }
        firmware(&mut space, machine, wiring, index);
        space
    };
    machine.functions.node_indices().map(build).collect()
}

/// The space as after reset.
fn hardware(machine: &Machine, wiring: &Wiring, index: FunctionIndex) -> ConfigSpace {
    let function = &machine.functions[index];
    let mut space = ConfigSpace::new();
    let is_bridge = is_bridge(function);
    header::build(&mut space, function, is_bridge, wiring.is_multi_function(index));
    let port = match function.config.express {
        Stated::Present(stated) => Some((stated.port, Some(stated))),
        Stated::Absent => None,
        Stated::ByRole => port_kind(machine, index).map(|port| (port, None)),
    };
    if let Some((port, stated)) = port {
        let link = link_state(machine, index);
        let capability = Capability { port, max_payload: function.max_payload, link, stated };
        capability::express(&mut space, &capability);
        let registers = if is_bridge { 2 } else { 6 };
        capability::extended(
            &mut space,
            function,
            registers,
            tag_bits(machine, index),
            translates(machine, index),
        );
    }
    space
}

/// True for the first function of a device that keeps translations.
fn translates(machine: &Machine, index: FunctionIndex) -> bool {
    let Role::Endpoint(device) = machine.functions[index].role else { return false };
    let device = &machine.devices[device];
    device.part.atc.is_some() && device.functions.first() == Some(&index)
}

fn is_bridge(function: &Function) -> bool {
    matches!(function.role, Role::RootPort | Role::SwitchUpstream(_) | Role::SwitchDownstream(_))
}

/// `None` for a function without PCI Express capability: heads of root buses that call themselves host bridges,
/// as on AMD's and QEMU's. Other heads are integrated endpoints, as on Intel's.
fn port_kind(machine: &Machine, index: FunctionIndex) -> Option<PortKind> {
    let function = &machine.functions[index];
    match function.role {
        Role::RootBusHead if function.class >> 8 == CLASS_HOST_BRIDGE => None,
        Role::RootBusHead => Some(PortKind::Integrated),
        Role::RootPort => Some(PortKind::RootPort),
        Role::SwitchUpstream(_) => Some(PortKind::Upstream),
        Role::SwitchDownstream(_) => Some(PortKind::Downstream),
        Role::Endpoint(_) if machine.parent(index).is_none() => Some(PortKind::Integrated),
        Role::Endpoint(_) => Some(PortKind::Endpoint),
    }
}

/// The link of a function: for a root port or a switch's downstream port the one below, else the one above.
fn link_state(machine: &Machine, index: FunctionIndex) -> Option<LinkState> {
    let function = &machine.functions[index];
    let (max_generation, max_lanes) = match function.role {
        Role::RootPort => {
            let cpu = &machine.cpus[machine.host_bridges[function.host_bridge].cpu].part;
            (cpu.generation, cpu.lanes)
        }
        Role::SwitchUpstream(switch) | Role::SwitchDownstream(switch) => {
            let part = &machine.switches[switch].part;
            (part.generation, part.lanes)
        }
        Role::Endpoint(device) if machine.devices[device].link.is_some() => {
            let part = &machine.devices[device].part;
            (part.generation, part.lanes)
        }
        Role::Endpoint(_) | Role::RootBusHead => return None,
    };
    let link = match function.role {
        Role::RootPort | Role::SwitchDownstream(_) => {
            machine.links.iter().find(|link| link.upper == Some(index))
        }
        Role::Endpoint(device) => machine.devices[device].link.map(|link| &machine.links[link]),
        _ => machine.links.iter().find(|link| link.lower == index),
    };
    let negotiated = link.map(|link| (link.generation, link.lanes));
    let stated = function.config.express.get();
    let max_generation = stated.and_then(|stated| stated.generation).unwrap_or(max_generation);
    let max_lanes = stated.and_then(|stated| stated.lanes).unwrap_or(max_lanes);
    Some(LinkState { max_generation, max_lanes, negotiated })
}

/// Largest payload that firmware programs, per function: what all functions of its hierarchy support. A
/// hierarchy is a root port with all below it, or one function on a root bus.
fn payloads(machine: &Machine) -> Vec<Bytes> {
    let mut payloads = vec![Bytes(128); machine.functions.node_count()];
    for root in machine.functions.externals(petgraph::Direction::Incoming) {
        let mut hierarchy = vec![root];
        let mut visited = 0;
        while let Some(index) = hierarchy.get(visited).copied() {
            hierarchy.extend(machine.functions.neighbors(index));
            visited += 1;
        }
        let supported = hierarchy.iter().map(|index| machine.functions[*index].max_payload).min();
        for index in hierarchy {
            payloads[index.index()] = supported.unwrap_or(Bytes(128));
        }
    }
    payloads
}

fn read_request(machine: &Machine, index: FunctionIndex) -> Bytes {
    match machine.functions[index].role {
        Role::Endpoint(device) => machine.devices[device].max_read_request,
        _ => Bytes(512),
    }
}

/// Bits of tags that are stated, or that the part's number of tags needs.
fn tag_bits(machine: &Machine, index: FunctionIndex) -> u8 {
    let function = &machine.functions[index];
    match (tags::bits(function), function.role) {
        (0, Role::Endpoint(device)) => tags::bits_for(machine.devices[device].part.tags),
        (stated, _) => stated,
    }
}

/// What the description says firmware has programmed.
fn firmware(space: &mut ConfigSpace, machine: &Machine, wiring: &Wiring, index: FunctionIndex) {
    let function = &machine.functions[index];
    for bar in &function.bars {
        firmware_bar(space, bar);
    }
    if let Some(settings) = function.firmware.as_ref().filter(|_| is_bridge(function)) {
        let secondary = |parent: FunctionIndex| {
            machine.functions[parent].firmware.as_ref().map_or(0, |firmware| firmware.secondary)
        };
        firmware_bridge(space, settings, wiring.bus(index, secondary));
    }
    if let Some(rom) = function.config.rom.and_then(|rom| rom.address) {
        let register = if is_bridge(function) { ROM_ADDRESS_BRIDGE } else { ROM_ADDRESS };
        space.write(register, 4, low(rom.raw()));
        space.generation = 0;
    }
    if let Some(stated) = function.config.command {
        let others = space.u16(COMMAND) & !(COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER);
        space.write(COMMAND, 2, u32::from(others | stated));
        space.generation = 0;
    }
}

fn firmware_bar(space: &mut ConfigSpace, bar: &Bar) {
    let Some(address) = bar.address.map(Address::raw) else {
        return;
    };
    let offset = BAR0 + 4 * u16::from(bar.index);
    let width = if bar.kind == ResourceKind::Io { COMMAND_IO } else { COMMAND_MEMORY };
    if !bar.kind.is_64bit() && high(address) != 0 {
        // The register cannot hold it; firmware leaves the BAR alone.
        return;
    }
    space.write(offset, 4, low(address));
    if bar.kind.is_64bit() {
        space.write(offset + 4, 4, high(address));
    }
    enable(space, width);
    space.generation = 0;
}

fn enable(space: &mut ConfigSpace, bits: u16) {
    let command = space.u16(COMMAND) | bits;
    space.write(COMMAND, 2, u32::from(command));
}

fn firmware_bridge(space: &mut ConfigSpace, settings: &BridgeFirmware, primary: u8) {
    space.set_u8(PRIMARY_BUS, primary);
    space.set_u8(SECONDARY_BUS, settings.secondary);
    space.set_u8(SUBORDINATE_BUS, settings.subordinate);
    for (kind, range) in &settings.windows {
        firmware_window(space, *kind, *range);
    }
    // Bridges forward their children's requests as soon as bus numbers are set.
    enable(space, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER);
    space.generation = 0;
}

/// Programs a window, widened to what the registers can express. A window the registers cannot hold (more than
/// 32 bits that are not prefetchable) stays closed.
fn firmware_window(space: &mut ConfigSpace, kind: ResourceKind, range: Range<BusAddr>) {
    let (first, last) = (range.first().raw(), range.last().raw());
    let megabytes = |address: u64| low(address >> 16 & 0xfff0);
    match kind {
        ResourceKind::Io if high(last) == 0 => {
            space.write(IO_BASE, 1, low(first >> 8 & 0xf0));
            space.write(IO_LIMIT, 1, low(last >> 8 & 0xf0));
            space.write(IO_BASE_UPPER, 2, low(first >> 16));
            space.write(IO_LIMIT_UPPER, 2, low(last >> 16));
        }
        ResourceKind::Mem32 | ResourceKind::Mem64 if high(last) == 0 => {
            space.write(MEMORY_BASE, 2, megabytes(first));
            space.write(MEMORY_LIMIT, 2, megabytes(last));
        }
        ResourceKind::Mem32Prefetch | ResourceKind::Mem64Prefetch => {
            space.write(PREFETCH_BASE, 2, megabytes(first));
            space.write(PREFETCH_LIMIT, 2, megabytes(last));
            space.write(PREFETCH_BASE_UPPER, 4, high(first));
            space.write(PREFETCH_LIMIT_UPPER, 4, high(last));
        }
        ResourceKind::Io | ResourceKind::Mem32 | ResourceKind::Mem64 => {}
    }
}
