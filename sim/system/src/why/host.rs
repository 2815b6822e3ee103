//! What the kernel knows about the CPU and the host bridges of a pair, and whether it asks.

use peerbus_machine::Machine;
use peerbus_os::p2pdma::{allowed_row, head, root_device};
use peerbus_os::pci;
use peerbus_units::FunctionId;
use serde::Serialize;

use crate::boot::Booted;

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HostRules {
    /// False for a pair that is direct: then nothing of this matters.
    pub asked: bool,
    /// The CPU; asked first.
    pub cpu: CpuRule,
    /// The provider's host bridge, and the client's where it is another. Asked when the CPU does not decide.
    pub bridges: Vec<HostBridgeRule>,
}

/// What the kernel concludes from the CPU it runs on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CpuRule {
    /// The part's id.
    pub part: String,
    /// Vendor as in `/proc/cpuinfo`.
    pub vendor: String,
    /// Family.
    pub family: u32,
    /// True for AMD from family 0x17 on, on an x86 kernel: every path through host bridges is allowed.
    pub forwards: bool,
}

/// Whether and why a function stands for its host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is at 00.0.
    At00,
    /// It is a root port.
    RootPort,
    /// It is the first function of the root bus, but neither: nothing stands for the host bridge.
    Neither,
    /// The root bus is empty.
    Empty,
}

/// A row of the kernel's table of host bridges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// Vendor id.
    pub vendor: u16,
    /// Device id; `None` matches all of the vendor's.
    pub device: Option<u16>,
    /// Both sides must lie below this host bridge.
    pub same_host_bridge: bool,
}

/// What the kernel concludes about one host bridge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HostBridgeRule {
    /// Its name.
    pub name: String,
    /// Its root bus: domain and number.
    pub root_bus: String,
    /// First function of the root bus in the order of discovery.
    pub first: Option<FunctionId>,
    /// Its vendor and device, as `8086:09a2`.
    pub pci: Option<String>,
    /// Whether that one stands for the host bridge.
    pub standing: Standing,
    /// The row that its ids select.
    pub row: Option<Row>,
    /// Whether that allows this pair.
    pub allows: bool,
}

/// The rules as they apply to a pair.
pub(super) fn rules(
    machine: &Machine,
    booted: &Booted,
    provider: pci::FunctionIndex,
    client: pci::FunctionIndex,
    asked: bool,
) -> HostRules {
    let below = |function: pci::FunctionIndex| booted.tree[booted.tree[function].bus].host_bridge;
    let (first, second) = (below(provider), below(client));
    let mut bridges = vec![bridge(machine, booted, first, first == second)];
    if first != second {
        bridges.push(bridge(machine, booted, second, false));
    }
    let cpu = machine.cpus.first().map(|cpu| &cpu.part);
    let cpu = CpuRule {
        part: cpu.map_or(String::new(), |part| part.id.clone()),
        vendor: cpu.map_or(String::new(), |part| part.vendor.clone()),
        family: booted.cpu.family,
        forwards: booted.cpu.forwards_peer_to_peer(),
    };
    HostRules { asked, cpu, bridges }
}

fn bridge(machine: &Machine, booted: &Booted, index: usize, same: bool) -> HostBridgeRule {
    let tree = &booted.tree;
    let (first, stands) = (head(tree, index), root_device(tree, index).is_some());
    let standing = match first {
        None => Standing::Empty,
        Some(_) if !stands => Standing::Neither,
        Some(first) if tree[first].id.devfn == 0 => Standing::At00,
        Some(_) => Standing::RootPort,
    };
    let row = first.filter(|_| stands).and_then(|first| {
        let row = allowed_row(&booted.rules, tree[first].vendor, tree[first].device)?;
        Some(Row { vendor: row.vendor, device: row.device, same_host_bridge: row.same_host_bridge })
    });
    let host_bridge = &machine.host_bridges[index];
    HostBridgeRule {
        name: host_bridge.name.clone(),
        root_bus: format!("{:04x}:{:02x}", host_bridge.domain, host_bridge.bus),
        first: first.map(|first| tree[first].id),
        pci: first.map(|first| format!("{:04x}:{:04x}", tree[first].vendor, tree[first].device)),
        standing,
        row,
        allows: row.is_some_and(|row| same || !row.same_host_bridge),
    }
}
