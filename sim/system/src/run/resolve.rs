//! Addresses for flows, as the operating system gives them.

use peerbus_machine::Machine;
use peerbus_machine::model::Role;
use peerbus_units::{Address, CpuAddr, Range};

use super::flow::Peer;
use crate::boot::Booted;
use crate::iommu::BarMemory;
use crate::p2p::{MapType, Pair, pair_of};

/// What the operating system says about reaching a device's memory.
pub struct Target {
    /// The decision.
    pub peer: Peer,
    /// The BAR and the way to it; `None` when refused.
    pub memory: Option<BarMemory>,
}

/// Asks how `mover` reaches the memory of `target`, both by index in the machine.
pub fn resolve(machine: &Machine, booted: &Booted, target: usize, mover: usize) -> Target {
    let (provider, client) = (machine.devices[target].functions[0], machine.devices[mover].functions[0]);
    let Some(pair) = pair_of(machine, booted, provider, client) else {
        let refusal = format!("the operating system did not find {}", machine.devices[target].name);
        let peer = Peer {
            map_type: "NOT_SUPPORTED".to_owned(),
            distance: 0,
            dma: None,
            refusal: Some(refusal),
            assumed: Vec::new(),
        };
        return Target { peer, memory: None };
    };
    let memory = pair.bar.filter(|_| pair.map_type != MapType::NotSupported).and_then(|bar| {
        let map_type = booted.resolve(provider, client)?.map_type;
        booted.bar_memory(map_type, provider, usize::from(bar))
    });
    let refusal = if memory.is_some() { None } else { Some(refusal(machine, booted, &pair, target)) };
    let peer = Peer {
        map_type: map_type_name(pair.map_type).to_owned(),
        distance: pair.distance,
        // That of a page; the flow's own mapping says what it is given.
        dma: None,
        refusal,
        assumed: pair.assumed.iter().map(|fact| fact.word().to_owned()).collect(),
    };
    Target { peer, memory }
}

fn map_type_name(map_type: MapType) -> &'static str {
    match map_type {
        MapType::BusAddr => "BUS_ADDR",
        MapType::ThruHostBridge => "THRU_HOST_BRIDGE",
        MapType::NotSupported => "NOT_SUPPORTED",
    }
}

/// What the operating system says about `mover` and memory of `target`, whichever part of it; and, for where the way is
/// refused, why.
pub fn peer(machine: &Machine, booted: &Booted, target: usize, mover: usize) -> (Peer, String) {
    let (provider, client) = (machine.devices[target].functions[0], machine.devices[mover].functions[0]);
    let Some(pair) = pair_of(machine, booted, provider, client) else {
        let Target { peer, .. } = resolve(machine, booted, target, mover);
        let reason = peer.refusal.clone().unwrap_or_default();
        return (Peer { refusal: None, ..peer }, reason);
    };
    let peer = Peer {
        map_type: map_type_name(pair.map_type).to_owned(),
        distance: pair.distance,
        dma: None,
        refusal: None,
        assumed: pair.assumed.iter().map(|fact| fact.word().to_owned()).collect(),
    };
    let reason = match pair.map_type {
        MapType::NotSupported => not_supported(machine, booted, &pair),
        _ => "the way is supported".to_owned(),
    };
    (peer, reason)
}

/// Why there is no address, with the functions concerned by name.
fn refusal(machine: &Machine, booted: &Booted, pair: &Pair, target: usize) -> String {
    if pair.map_type != MapType::NotSupported {
        let name = &machine.devices[target].name;
        return format!("{name} has no prefetchable memory BAR with an address");
    }
    not_supported(machine, booted, pair)
}

fn not_supported(machine: &Machine, booted: &Booted, pair: &Pair) -> String {
    let name =
        |id| booted.registers.at(id).map_or_else(|| format!("{id}"), |f| machine.functions[f].name.clone());
    let reasons = pair.reasons.iter().map(|reason| {
        let functions: Vec<String> = reason.functions.iter().map(|id| name(*id)).collect();
        format!("{} ({})", reason.kind, functions.join(", "))
    });
    let reasons: Vec<String> = reasons.collect();
    format!("peer-to-peer is not supported: {}", reasons.join("; "))
}

/// Memory for buffers: taken from the top of each CPU's highest range downwards, where 64-bit addresses are, and in the same
/// way from memory of devices that CPUs use as their own.
pub struct HostMemory {
    /// Per CPU, what is left of its highest range.
    left: Vec<Option<Range<CpuAddr>>>,
    /// Per device, what is left of its highest range that a CPU uses by CXL.
    devices: Vec<Option<Range<CpuAddr>>>,
}

/// Buffers start at multiples of this: a large page, so that no buffer shares one.
const BUFFER_ALIGNMENT: u64 = 2 << 20;

impl HostMemory {
    /// All memory of the machine, unused.
    pub fn new(machine: &Machine) -> HostMemory {
        let mut left = vec![None; machine.cpus.len()];
        for (cpu, range) in machine.memory_ranges() {
            left[cpu] = Some(range);
        }
        let mut devices = vec![None; machine.devices.len()];
        for (device, range) in machine.cxl_ranges() {
            devices[device] = Some(range);
        }
        HostMemory { left, devices }
    }

    /// The CPU a device hangs below.
    pub fn cpu_of(&self, machine: &Machine, device: usize) -> usize {
        let function = machine.devices[device].functions[0];
        debug_assert!(matches!(machine.functions[function].role, Role::Endpoint(_)));
        machine.host_bridges[machine.functions[function].host_bridge].cpu
    }

    /// A buffer of `bytes` in the memory of `cpu`; `None` when it has no room for it.
    pub fn allocate(&mut self, cpu: usize, bytes: u64) -> Option<u64> {
        take_from(self.left.get_mut(cpu)?, bytes)
    }

    /// A buffer of `bytes` in the memory of a device that its CPU uses by CXL; `None` when it has none, or no room for it.
    pub fn allocate_at_device(&mut self, device: usize, bytes: u64) -> Option<u64> {
        take_from(self.devices.get_mut(device)?, bytes)
    }
}

fn take_from(left: &mut Option<Range<CpuAddr>>, bytes: u64) -> Option<u64> {
    let range = (*left)?;
    let end = range.last().raw().checked_add(1)?;
    let start = end.checked_sub(bytes)? / BUFFER_ALIGNMENT * BUFFER_ALIGNMENT;
    let buffer = (start >= range.first().raw()).then_some(start)?;
    *left = start.checked_sub(1).and_then(|last| Range::new(range.first(), CpuAddr(last)));
    Some(buffer)
}
