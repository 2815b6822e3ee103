//! What PC firmware does before the operating system starts: numbers buses and places BARs and bridge windows.
//!
//! An x86 kernel finds addresses in place and keeps what it can claim; only a machine without such firmware lets
//! the kernel choose everything. A file that gives addresses is taken at its word. Where it gives none, this
//! module does what BIOSes do in the simplest way that always packs: largest alignment first, every window at a
//! multiple of the largest alignment inside it. Which address a real BIOS would choose is not known, hence the
//! machine's windows are marked assumed wherever they were laid out by rule; that everything which fits is placed
//! is what matters.
//!
//! What finds no room stays without an address, and the operating system tries its own way.

use peerbus_units::{Address, BusAddr, Bytes, Range};

use crate::model::{BridgeFirmware, FunctionIndex, Machine, Role};
use crate::part::ResourceKind;

/// Granule of a bridge's memory windows (PCI-to-PCI Bridge Architecture).
const GRANULE: u64 = 1 << 20;

/// Which addresses a resource goes into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pool {
    /// 64-bit prefetchable windows.
    High,
    /// Everything else: a bridge has only one more memory window, and it is 32-bit.
    Low,
}

impl Pool {
    fn of(kind: ResourceKind) -> Option<Pool> {
        match kind {
            ResourceKind::Io => None,
            ResourceKind::Mem64Prefetch => Some(Pool::High),
            ResourceKind::Mem32 | ResourceKind::Mem32Prefetch | ResourceKind::Mem64 => Some(Pool::Low),
        }
    }

    fn window_kind(self) -> ResourceKind {
        match self {
            Pool::High => ResourceKind::Mem64Prefetch,
            Pool::Low => ResourceKind::Mem32,
        }
    }
}

#[derive(Clone, Copy)]
enum Item {
    /// A BAR by function and position in its list.
    Bar(FunctionIndex, usize),
    /// The window of a bridge.
    Window(FunctionIndex),
}

#[derive(Clone, Copy)]
struct Demand {
    item: Item,
    size: u64,
    align: u64,
}

/// Numbers buses and places addresses below every host bridge of an x86 machine whose description gives none.
pub(crate) fn run(machine: &mut Machine) {
    for bridge in 0..machine.host_bridges.len() {
        let vendor = &machine.cpus[machine.host_bridges[bridge].cpu].part.vendor;
        // A CPU that nobody named is taken for a PC, as the operating system takes it.
        let is_pc = ["AuthenticAMD", "GenuineIntel", "HygonGenuine", "unknown"].contains(&vendor.as_str());
        let mut below = machine.functions.node_weights().filter(|function| function.host_bridge == bridge);
        if machine.host_bridges[bridge].placed || !is_pc || below.any(has_addresses) {
            continue;
        }
        let roots = machine.host_bridges[bridge].functions.clone();
        number_buses(machine, bridge, &roots);
        for pool in [Pool::High, Pool::Low] {
            place(machine, bridge, &roots, pool);
        }
    }
}

fn has_addresses(function: &crate::model::Function) -> bool {
    let windows = function.firmware.as_ref().is_some_and(|firmware| !firmware.windows.is_empty());
    windows || function.config.windows_stated || function.bars.iter().any(|bar| bar.address.is_some())
}

fn is_bridge(machine: &Machine, function: FunctionIndex) -> bool {
    matches!(
        machine.functions[function].role,
        Role::RootPort | Role::SwitchUpstream(_) | Role::SwitchDownstream(_)
    )
}

/// Numbers buses depth first, unless the description has numbered some.
fn number_buses(machine: &mut Machine, bridge: usize, roots: &[FunctionIndex]) {
    let numbered =
        |function: &crate::model::Function| function.host_bridge == bridge && function.firmware.is_some();
    if machine.functions.node_weights().any(numbered) {
        return;
    }
    let (first, last) = (machine.host_bridges[bridge].bus, machine.host_bridges[bridge].bus_last);
    let bridges = machine.functions.node_indices().filter(|function| {
        machine.functions[*function].host_bridge == bridge && is_bridge(machine, *function)
    });
    // Too few numbers: the operating system reports what it cannot reach.
    if bridges.count() > usize::from(last - first) {
        return;
    }
    let mut next = first;
    number_below(machine, roots, &mut next);
}

fn number_below(machine: &mut Machine, functions: &[FunctionIndex], next: &mut u8) {
    for function in
        functions.iter().copied().filter(|function| is_bridge(machine, *function)).collect::<Vec<_>>()
    {
        *next += 1;
        let secondary = *next;
        number_below(machine, &machine.children(function), next);
        let firmware = BridgeFirmware { secondary, subordinate: *next, windows: Vec::new() };
        machine.functions[function].firmware = Some(firmware);
    }
}

/// What the functions of one bus ask for, largest alignment first.
fn demands(machine: &Machine, functions: &[FunctionIndex], pool: Pool) -> Vec<Demand> {
    let mut demands = Vec::new();
    for function in functions {
        for (position, bar) in machine.functions[*function].bars.iter().enumerate() {
            if Pool::of(bar.kind) == Some(pool) {
                let size = bar.size.0;
                demands.push(Demand { item: Item::Bar(*function, position), size, align: size.max(4096) });
            }
        }
        if is_bridge(machine, *function) {
            let (size, align) = extent(&self::demands(machine, &machine.children(*function), pool));
            if size > 0 {
                let size = size.next_multiple_of(GRANULE);
                demands.push(Demand { item: Item::Window(*function), size, align: align.max(GRANULE) });
            }
        }
    }
    demands.sort_by_key(|demand| std::cmp::Reverse(demand.align));
    demands
}

/// Offsets of demands laid out in order from an address aligned for the first.
fn offsets(demands: &[Demand]) -> Vec<u64> {
    let mut end = 0u64;
    let place = |demand: &Demand| {
        let start = end.next_multiple_of(demand.align);
        end = start + demand.size;
        start
    };
    demands.iter().map(place).collect()
}

/// Size and alignment of demands laid out in order.
fn extent(demands: &[Demand]) -> (u64, u64) {
    let end = offsets(demands).last().zip(demands.last()).map_or(0, |(start, last)| start + last.size);
    (end, demands.iter().map(|demand| demand.align).max().unwrap_or(1))
}

/// Places everything of one pool in the windows of a host bridge, first fit, largest alignment first.
fn place(machine: &mut Machine, bridge: usize, roots: &[FunctionIndex], pool: Pool) {
    let windows =
        machine.host_bridges[bridge].windows.iter().filter(|window| Pool::of(window.kind) == Some(pool));
    let mut free: Vec<Range<BusAddr>> =
        windows.filter_map(|window| Range::sized(window.bus, window.cpu.size())).collect();
    for demand in demands(machine, roots, pool) {
        let fit = |range: &Range<BusAddr>| range.fit_low(Bytes(demand.size), demand.align);
        let Some((position, found)) = free.iter().enumerate().find_map(|(at, range)| Some((at, fit(range)?)))
        else {
            continue;
        };
        let (below, above) = free[position].without(found);
        free.splice(position..=position, below.into_iter().chain(above));
        assign(machine, demand, found, pool);
    }
}

fn assign(machine: &mut Machine, demand: Demand, at: Range<BusAddr>, pool: Pool) {
    match demand.item {
        Item::Bar(function, position) => {
            machine.functions[function].bars[position].address = Some(at.first())
        }
        Item::Window(function) => {
            if let Some(firmware) = &mut machine.functions[function].firmware {
                firmware.windows.push((pool.window_kind(), at));
            }
            let inside = demands(machine, &machine.children(function), pool);
            for (demand, offset) in inside.iter().zip(offsets(&inside)) {
                let start = at.first().checked_add(offset);
                if let Some(range) = start.and_then(|start| Range::sized(start, Bytes(demand.size))) {
                    assign(machine, *demand, range, pool);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_alignment_first_leaves_no_gap_in_front() {
        let demand = |size: u64, align: u64| {
            let item = Item::Bar(FunctionIndex::new(0), 0);
            Demand { item, size, align }
        };
        let demands = [demand(0x300, 0x200), demand(0x100, 0x100), demand(0x10, 0x10)];
        assert_eq!(offsets(&demands), [0, 0x300, 0x400]);
        assert_eq!(extent(&demands), (0x410, 0x200));
        assert_eq!(extent(&[]), (0, 1));
    }
}
