//! Which devices a pattern stands for, and which flows a workload makes.
//!
//! Loaders check expectations against these names before a run, and the run uses the same functions, so the two
//! cannot disagree. The order is that of the scenario, and within a pattern that of the machine.

use peerbus_machine::Machine;
use peerbus_units::Bytes;

use crate::peer_memory::{Choose, PeerMemory, TargetMemory, Transfer};
use crate::run::Role;
use crate::shared_buffer::{ExporterDriver, SharedBuffer};
use crate::shared_virtual::{GpuPages, SharedVirtual};
use crate::workload::{AccessKind, CpuAccess, HostDirection, HostDma, NicCommand, NvmeCommand, Workload};

/// A text in which `*` stands for any characters, none included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    pieces: Vec<String>,
}

impl Pattern {
    /// The pattern as people write it.
    pub fn new(text: &str) -> Pattern {
        Pattern { pieces: text.split('*').map(str::to_owned).collect() }
    }

    /// Number of `*`.
    pub fn wildcards(&self) -> usize {
        self.pieces.len() - 1
    }

    /// What each `*` stands for in `text`, each as short as possible from the left; `None` when `text` does not
    /// fit the pattern.
    pub fn captures<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        let (first, others) = self.pieces.split_first()?;
        let mut rest = text.strip_prefix(first.as_str())?;
        let Some((last, middle)) = others.split_last() else {
            return rest.is_empty().then(Vec::new);
        };
        let mut captured = Vec::new();
        for piece in middle {
            let at = rest.find(piece.as_str())?;
            captured.push(&rest[..at]);
            rest = &rest[at + piece.len()..];
        }
        captured.push(rest.strip_suffix(last.as_str())?);
        Some(captured)
    }

    /// True when `text` fits the pattern.
    pub fn matches(&self, text: &str) -> bool {
        self.captures(text).is_some()
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.pieces.join("*"))
    }
}

/// Indices of the devices that `pattern` names, by short name or by path, in the machine's order.
pub fn devices(machine: &Machine, pattern: &str) -> Vec<usize> {
    let pattern = Pattern::new(pattern);
    let path = |index: usize| machine.functions[machine.devices[index].functions[0]].name.as_str();
    let named =
        |index: &usize| pattern.matches(&machine.devices[*index].name) || pattern.matches(path(*index));
    (0..machine.devices.len()).filter(named).collect()
}

/// The devices of several patterns: in the patterns' order, each device once.
pub fn device_list(machine: &Machine, patterns: &[String]) -> Vec<usize> {
    let mut found = Vec::new();
    for index in patterns.iter().flat_map(|pattern| devices(machine, pattern)) {
        if !found.contains(&index) {
            found.push(index);
        }
    }
    found
}

/// Between what a flow runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// From one device to another, by index in [`Machine::devices`].
    Devices {
        /// Where the data come from.
        from: usize,
        /// Where they go.
        to: usize,
    },
    /// Between a device and host memory.
    Host {
        /// The device, by index in [`Machine::devices`].
        device: usize,
        /// Bytes of one transfer; `None` where they vary.
        size: Option<Bytes>,
        /// True when the device writes.
        writes: bool,
    },
    /// In memory of a process, or in a buffer, wherever that is.
    Process,
    /// Between cores of a CPU and a device.
    Cores {
        /// The device, by index in [`Machine::devices`].
        device: usize,
        /// True when the cores store.
        stores: bool,
    },
}

/// A flow that a workload makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedFlow {
    /// Its name, unique when the names of workloads are, and sizes within one workload.
    pub name: String,
    /// Index of its workload.
    pub workload: usize,
    /// Between what it runs.
    pub ends: Ends,
}

/// The flows of all `workloads`, in order. A workload whose devices the machine does not have makes none: loaders
/// refuse it.
pub fn flows(machine: &Machine, workloads: &[Workload]) -> Vec<PlannedFlow> {
    let mut planned = Vec::new();
    for (workload, item) in workloads.iter().enumerate() {
        let named = flows_of(machine, item, workloads);
        planned.extend(named.into_iter().map(|(name, ends)| PlannedFlow { name, workload, ends }));
    }
    planned
}

fn flows_of(machine: &Machine, workload: &Workload, all: &[Workload]) -> Vec<(String, Ends)> {
    match workload {
        Workload::Copy(copy) => {
            let ends = single(machine, &copy.from).zip(single(machine, &copy.to));
            ends.map(|(from, to)| (copy.name.clone(), Ends::Devices { from, to })).into_iter().collect()
        }
        Workload::PairMatrix(matrix) => pairs(machine, &matrix.name, &matrix.devices),
        Workload::AllToAll(exchange) => pairs(machine, &exchange.name, &exchange.devices),
        Workload::HostDma(dma) => {
            single(machine, &dma.device).map(|device| transfers(device, dma)).unwrap_or_default()
        }
        Workload::PeerMemory(memory) => {
            let flows = peer_memory_flows(machine, memory, all);
            flows.into_iter().map(|flow| (flow.name.clone(), flow.ends())).collect()
        }
        Workload::CpuAccess(access) => {
            single(machine, &access.device).map(|device| core_flows(device, access)).unwrap_or_default()
        }
        Workload::DeviceAccess(access) => {
            let ends = single(machine, &access.device).zip(single(machine, &access.memory));
            let Some((device, memory)) = ends else { return Vec::new() };
            let (from, to) =
                if access.kind == AccessKind::Load { (memory, device) } else { (device, memory) };
            sized(&access.name, &access.sizes, |_| Ends::Devices { from, to })
        }
        Workload::NvmeIo(io) => {
            let writes = io.command == NvmeCommand::Read;
            commands(machine, &io.drive, io.memory.as_deref(), writes, (&io.name, &io.sizes))
        }
        Workload::SharedVirtual(shared) => shared_flows(machine, shared),
        Workload::SharedBuffer(buffer) => buffer_flows(machine, buffer),
        Workload::NicIo(io) => {
            let writes = io.command == NicCommand::Receive;
            commands(machine, &io.adapter, io.memory.as_deref(), writes, (&io.name, &io.sizes))
        }
    }
}

/// Flows of a workload on shared memory: traffic of its devices, and its activities.
fn shared_flows(machine: &Machine, shared: &SharedVirtual) -> Vec<(String, Ends)> {
    let patterns: Vec<String> = shared.gpus.iter().map(|gpu| gpu.device.clone()).collect();
    let mut found = Vec::new();
    for device in patterns.iter().flat_map(|pattern| devices(machine, pattern)) {
        if !found.contains(&device) {
            found.push(device);
        }
    }
    for activity in shared.phases.iter().flatten() {
        if let Some(device) = single(machine, &activity.by).filter(|device| !found.contains(device)) {
            found.push(device);
        }
    }
    let mut flows = Vec::new();
    for device in found {
        for (role, word) in Role::ALL {
            let writes = matches!(role, Role::Leave | Role::Writes);
            let name = format!("{}.{}.{word}", shared.name, machine.devices[device].name);
            flows.push((name, Ends::Host { device, size: None, writes }));
        }
    }
    for cpu in shared.cpus() {
        let coherent = shared.gpus.iter().filter(|gpu| gpu.pages == GpuPages::Coherent);
        for device in coherent.flat_map(|gpu| devices(machine, &gpu.device)) {
            let name = format!("{}.cpu{cpu}.{}", shared.name, machine.devices[device].name);
            for (stores, word) in [(false, "loads"), (true, "stores")] {
                flows.push((format!("{name}.{word}"), Ends::Cores { device, stores }));
            }
        }
    }
    let activities = shared.phases.iter().flatten();
    flows.extend(activities.map(|what| (format!("{}.{}", shared.name, what.name), Ends::Process)));
    flows
}

/// Flows of a shared buffer: its importers, wherever it is, and its moves.
fn buffer_flows(machine: &Machine, buffer: &SharedBuffer) -> Vec<(String, Ends)> {
    let importers = buffer.importers.iter();
    let mut flows: Vec<(String, Ends)> =
        importers.map(|importer| (format!("{}.{}", buffer.name, importer.name), Ends::Process)).collect();
    let exporter = single(machine, &buffer.exporter.device);
    if let Some(device) = exporter.filter(|_| buffer.exporter.driver != ExporterDriver::Vfio) {
        let name = &machine.devices[device].name;
        for (word, writes) in [("leave", true), ("arrive", false)] {
            let ends = Ends::Host { device, size: None, writes };
            flows.push((format!("{}.{name}.{word}", buffer.name), ends));
        }
    }
    flows
}

fn sized(name: &str, sizes: &[Bytes], ends: impl Fn(Bytes) -> Ends) -> Vec<(String, Ends)> {
    sizes.iter().map(|size| (format!("{name}.{size}"), ends(*size))).collect()
}

fn core_flows(device: usize, access: &CpuAccess) -> Vec<(String, Ends)> {
    let ends = Ends::Cores { device, stores: access.kind == AccessKind::Store };
    let cores = |size: &Bytes| {
        let base = format!("{}.{size}", access.name);
        match access.cores {
            1 => vec![(base, ends)],
            cores => (0..cores).map(|core| (format!("{base}.{core}"), ends)).collect(),
        }
    };
    access.sizes.iter().flat_map(cores).collect()
}

/// The flows of commands of a device that `writes` its data or reads it.
fn commands(
    machine: &Machine,
    device: &str,
    memory: Option<&str>,
    writes: bool,
    (name, sizes): (&str, &[Bytes]),
) -> Vec<(String, Ends)> {
    let Some(device) = single(machine, device) else { return Vec::new() };
    let Some(memory) = memory else {
        return sized(name, sizes, |size| Ends::Host { device, size: Some(size), writes });
    };
    let Some(memory) = single(machine, memory) else { return Vec::new() };
    let (from, to) = if writes { (device, memory) } else { (memory, device) };
    sized(name, sizes, |_| Ends::Devices { from, to })
}

/// `name` without `/memory`: `gpu0/memory` is the memory of `gpu0`, the only thing of a device that a copy can name.
pub fn device_part(name: &str) -> &str {
    name.strip_suffix("/memory").unwrap_or(name)
}

/// The one device that `name` or a pattern names, with or without `/memory`; `None` when it names none or several.
pub fn single(machine: &Machine, name: &str) -> Option<usize> {
    match devices(machine, device_part(name)).as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

/// Every ordered pair, row by row: all receivers of the first sender, then those of the second.
fn pairs(machine: &Machine, name: &str, patterns: &[String]) -> Vec<(String, Ends)> {
    let members = device_list(machine, patterns);
    let mut flows = Vec::new();
    for &from in &members {
        for &to in members.iter().filter(|to| **to != from) {
            let (sender, receiver) = (&machine.devices[from].name, &machine.devices[to].name);
            flows.push((format!("{name}.{sender}.{receiver}"), Ends::Devices { from, to }));
        }
    }
    flows
}

fn transfers(device: usize, dma: &HostDma) -> Vec<(String, Ends)> {
    let mut flows = Vec::new();
    for &size in &dma.sizes {
        let base = format!("{}.{size}", dma.name);
        let ends = |writes| Ends::Host { device, size: Some(size), writes };
        match dma.direction {
            HostDirection::Read => flows.push((base, ends(false))),
            // The data of the read is what is waited for.
            HostDirection::WriteThenRead => flows.push((base, ends(false))),
            HostDirection::Write => flows.push((base, ends(true))),
            HostDirection::ReadWrite => {
                flows.push((format!("{base}.read"), ends(false)));
                flows.push((format!("{base}.write"), ends(true)));
            }
        }
    }
    flows
}

/// Devices that provide memory for `memory`, in the order of its entries, each once.
pub fn providers(machine: &Machine, memory: &PeerMemory) -> Vec<usize> {
    let patterns: Vec<String> = memory.providers.iter().map(|provider| provider.device.clone()).collect();
    device_list(machine, &patterns)
}

/// The drive of a target's namespace.
pub fn target_drive(machine: &Machine, memory: &PeerMemory) -> Option<usize> {
    single(machine, &memory.target.as_ref()?.namespace)
}

/// Devices whose memory clients of `memory` may get: its own providers, and where the operating system looks for the
/// nearest one, all that any workload publishes.
pub fn reachable(machine: &Machine, memory: &PeerMemory, all: &[Workload]) -> Vec<usize> {
    let mut found = providers(machine, memory);
    match memory.target.as_ref().map(|target| &target.memory) {
        Some(TargetMemory::Off) => return Vec::new(),
        Some(TargetMemory::Named(name)) => return single(machine, name).into_iter().collect(),
        None if memory.choose == Choose::InOrder => return found,
        Some(TargetMemory::Automatic) | None => {}
    }
    for workload in all {
        let Workload::PeerMemory(other) = workload else { continue };
        for device in providers(machine, other) {
            if other.publish && !found.contains(&device) {
                found.push(device);
            }
        }
    }
    found
}

/// A flow of a [`PeerMemory`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerMemoryFlow {
    /// Its name.
    pub name: String,
    /// For whose transfers it counts.
    pub role: PeerMemoryRole,
    /// True when the device that moves the data writes.
    pub writes: bool,
}

/// Between whom a [`PeerMemoryFlow`] runs; devices by index in [`Machine::devices`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PeerMemoryRole {
    /// A client moves data to or from memory of a provider; or a target's drive does.
    Peer {
        /// The client, or the drive.
        client: usize,
        /// The provider.
        provider: usize,
    },
    /// A client moves data to or from the host memory that stands in for a provider's.
    Client(usize),
    /// A provider, or a target's drive, moves data from or to that host memory.
    Provider(usize),
}

impl PeerMemoryFlow {
    fn ends(&self) -> Ends {
        let host = |device| Ends::Host { device, size: None, writes: self.writes };
        match (self.role, self.writes) {
            (PeerMemoryRole::Peer { client, provider }, true) => Ends::Devices { from: client, to: provider },
            (PeerMemoryRole::Peer { client, provider }, false) => {
                Ends::Devices { from: provider, to: client }
            }
            (PeerMemoryRole::Client(device) | PeerMemoryRole::Provider(device), _) => host(device),
        }
    }
}

/// `NAME.CLIENT.PROVIDER` for every client and every other provider, client by client; when requests may go through
/// host memory, `NAME.CLIENT.host` behind those of a client, and at the end `NAME.host.PROVIDER` for the way on between
/// host memory and the provider. With a target, all goes on to its drive: `NAME.DRIVE.PROVIDER` and `NAME.host.DRIVE`. Where both ways are used, each has two flows: `.write` and `.read` behind the name, as
/// the device that moves the data does.
pub fn peer_memory_flows(
    machine: &Machine,
    memory: &PeerMemory,
    workloads: &[Workload],
) -> Vec<PeerMemoryFlow> {
    let providers = reachable(machine, memory, workloads);
    let name = |device: usize| machine.devices[device].name.as_str();
    let mut flows = Vec::new();
    for client in device_list(machine, &memory.clients) {
        for provider in providers.iter().copied().filter(|provider| *provider != client) {
            let base = format!("{}.{}.{}", memory.name, name(client), name(provider));
            flows.extend(ways(memory, &base, PeerMemoryRole::Peer { client, provider }, true));
        }
        if memory.stages() {
            let base = format!("{}.{}.host", memory.name, name(client));
            flows.extend(ways(memory, &base, PeerMemoryRole::Client(client), true));
        }
    }
    let drive = target_drive(machine, memory);
    for (drive, provider) in drive.into_iter().flat_map(|drive| providers.iter().map(move |to| (drive, *to)))
    {
        if drive != provider {
            let base = format!("{}.{}.{}", memory.name, name(drive), name(provider));
            flows.extend(ways(memory, &base, PeerMemoryRole::Peer { client: drive, provider }, false));
        }
    }
    let others = drive.map_or(providers, |drive| vec![drive]);
    for other in others.into_iter().filter(|_| memory.stages()) {
        let base = format!("{}.host.{}", memory.name, name(other));
        flows.extend(ways(memory, &base, PeerMemoryRole::Provider(other), false));
    }
    flows
}

/// One flow per direction that clients use, if the mover is a client. Others take what clients wrote, and supply what they
/// read.
fn ways(memory: &PeerMemory, base: &str, role: PeerMemoryRole, is_client: bool) -> Vec<PeerMemoryFlow> {
    let way = |client_writes: &bool| {
        let writes = *client_writes == is_client;
        let name = match (memory.transfer, writes) {
            (Transfer::WriteThenRead, true) => format!("{base}.write"),
            (Transfer::WriteThenRead, false) => format!("{base}.read"),
            _ => base.to_owned(),
        };
        PeerMemoryFlow { name, role, writes }
    };
    memory.client_writes().iter().map(way).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_capture_what_stars_stand_for() {
        for (pattern, text, expected) in [
            ("gpu0", "gpu0", Some(vec![])),
            ("gpu0", "gpu01", None),
            ("gpu*", "gpu01", Some(vec!["01"])),
            ("gpu*", "gpu", Some(vec![""])),
            ("*", "m.gpu0", Some(vec!["m.gpu0"])),
            ("m.*.*", "m.gpu0.gpu1", Some(vec!["gpu0", "gpu1"])),
            ("m.*.gpu1", "m.gpu1.gpu0", None),
            ("*ab*", "aab", Some(vec!["a", ""])),
            ("a*a", "a", None),
            ("", "", Some(vec![])),
            ("", "a", None),
        ] {
            assert_eq!(Pattern::new(pattern).captures(text), expected, "{pattern} on {text}");
        }
        assert_eq!(Pattern::new("a*b*").to_string(), "a*b*");
        assert_eq!(Pattern::new("a*b*").wildcards(), 2);
    }
}
