//! [`Spec`]: the nodes and directed links of a machine, compiled once and never changed.
//!
//! ```text
//! device ⇄ switch ⇄ … ⇄ root (one per host bridge) ⇄ cpu (its internal network and memory) ⇄ other cpus
//! ```
//!
//! Every connection is two directed links, and everything that takes time to pass bytes is one: a PCIe link, the
//! path between a host bridge and the CPU's internal network, a link between CPU packages. A node moves TLPs from
//! its input links to its output links through queues per (input, output). Memory belongs to devices and CPUs.
//! Latencies are charged on entry: a link's latency is the pipeline of the node it leads to.

use peerbus_machine::Registers;
use std::collections::BTreeMap;

use peerbus_machine::model::{FunctionIndex, Machine, Role};
use peerbus_machine::part::{Buffers, Credits};
use peerbus_units::{Picos, Rate};

use crate::limits::Resource;
use crate::link_layer::{Framing, LinkLayer, dllp_interval, tlp_rate};

/// A node's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

/// A directed link's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u32);

/// A DMA engine's number: two per device, the writer first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EngineId(pub u32);

/// A flow's number, as [`crate::Fabric::add_flow`] returned it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowId(pub u16);

macro_rules! index {
    ($($name:ident),*) => {$(
        impl $name {
            #[inline]
            pub(crate) fn at(self) -> usize {
                self.0 as usize
            }
            pub(crate) fn from_index(index: usize) -> $name {
                $name(u32::try_from(index).expect("numbers of nodes, links and engines fit in 32 bits"))
            }
        }
    )*};
}
index!(NodeId, LinkId, EngineId);

/// A capacity multiplied for a "what if" run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scaling {
    /// Which capacity.
    pub resource: Resource,
    /// Multiplied by this …
    pub numerator: u64,
    /// … and divided by this; counts (tags, credits) are rounded up.
    pub denominator: u64,
}

/// How to compile a machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// How DLLPs and skip ordered sets are charged.
    pub link_layer: LinkLayer,
    /// Capacities that differ from the parts'.
    pub scaling: Vec<Scaling>,
}

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// Device with that index in the machine.
    Device(usize),
    /// Switch with that index.
    Switch(usize),
    /// Root complex side of the host bridge with that index.
    Root(usize),
    /// CPU package with that index: internal network and memory.
    Cpu(usize),
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Name for reports.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Links that lead to it, in order of input number.
    pub inputs: Vec<LinkId>,
    /// Links that leave it, in order of output number.
    pub outputs: Vec<LinkId>,
    /// Ports towards devices and switches (of a switch or a root).
    pub ports: Vec<PortSpec>,
    /// Link towards the root (of a device or a switch) or towards the CPU (of a root).
    pub upstream: Option<LinkId>,
    /// The upstream port's function, of a switch.
    pub function: Option<FunctionIndex>,
    /// Its memory.
    pub memory: Option<MemorySpec>,
    /// Number of its first queue.
    pub first_queue: u32,
}

/// A port of a switch or a root.
#[derive(Clone, Debug)]
pub struct PortSpec {
    /// Its function; `None` for a port that software cannot see or for a device on a root bus.
    pub function: Option<FunctionIndex>,
    /// The link that leaves through it.
    pub down: LinkId,
    /// The link that arrives through it.
    pub up: LinkId,
    /// The node behind it.
    pub child: NodeId,
    /// Functions at the lower end: of the device, or the upstream port of the switch.
    pub behind: Vec<FunctionIndex>,
    /// Functions that answer on this node's bus itself, when the port has no function of its own.
    pub direct: Vec<FunctionIndex>,
}

/// Memory of a device or a CPU.
#[derive(Clone, Copy, Debug)]
pub struct MemorySpec {
    /// Rate for reads and writes together.
    pub rate: Rate,
    /// From a read request's arrival to its first completion.
    pub read_latency: Picos,
    /// Completions are cut at multiples of this.
    pub read_completion_boundary: u64,
}

/// A directed link.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    /// Path of its lower end and the direction: `host0/rp0/gpu0:up`.
    pub name: String,
    /// Where it starts.
    pub from: NodeId,
    /// Where it leads.
    pub to: NodeId,
    /// Its number among the inputs of `to`.
    pub input: u32,
    /// Its number among the outputs of `from`.
    pub output: u32,
    /// The link the other way.
    pub reverse: LinkId,
    /// Generation and lanes of a PCIe link; `None` inside or between CPUs.
    pub pcie: Option<(u8, u8)>,
    /// Rate for the bytes of TLPs.
    pub rate: Rate,
    /// Payload rate that the port at one end sustains, if lower matters.
    pub port_rate: Option<Rate>,
    /// Cost of a TLP.
    pub framing: Framing,
    /// From the head entering the link to the head ready to leave the node behind it.
    pub latency: Picos,
    /// The function of the port or device at its end, where software can see one.
    pub receiver: Option<FunctionIndex>,
    /// Largest payload that the receiver accepts; inside a CPU, and where no function says, there is no limit.
    pub receiver_limit: u64,
    /// Largest payload that leaves a root complex by this link; no limit for others, which send what they got.
    pub sender_limit: u64,
    /// Credits the receiver grants: posted, non-posted, completion.
    pub credits: [Credits; 3],
    /// From a buffer becoming free to the sender knowing it.
    pub credit_latency: Picos,
    /// Bytes received per DLLP of each kind sent back; 0 for none.
    pub dllp_interval: u64,
}

/// A DMA engine of a device.
#[derive(Clone, Debug)]
pub struct EngineSpec {
    /// Name for reports: `gpu0/writer`.
    pub name: String,
    /// Its device's node.
    pub node: NodeId,
    /// Its device in the machine.
    pub device: usize,
    /// The device's link towards the root.
    pub link: LinkId,
    /// Payload rate.
    pub rate: Rate,
    /// Read requests outstanding; unused by a writer.
    pub tags: u16,
    /// Largest payload of a write.
    pub max_payload: u64,
    /// Largest read request.
    pub max_read_request: u64,
    /// From being given a descriptor to the first request.
    pub request_latency: Picos,
}

/// A compiled machine.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Nodes: devices, switches, roots, CPUs.
    pub nodes: Vec<NodeSpec>,
    /// Directed links.
    pub links: Vec<LinkSpec>,
    /// DMA engines: per device a writer and a reader.
    pub engines: Vec<EngineSpec>,
    /// Queues in all nodes.
    pub queues: u32,
    devices: usize,
    switches: usize,
    roots: usize,
}

/// Inputs of one output: links and local sources are bits of one mask.
pub(crate) const MAX_INPUTS: usize = 120;

/// Time from a freed buffer to the sender's knowledge of it beyond the link's own pipeline: assembling, sending
/// and checking an UpdateFC DLLP. Assumed; buffers of real parts are sized to cover it.
const CREDIT_UPDATE: Picos = Picos::nanos(30);

/// Buffers between a host bridge and the CPU's internal network: deep enough never to limit. Assumed.
const INTERNAL: Credits = Credits { header: 512, data: 8192 };

/// Whether the packet grain can hold `machine`.
///
/// # Errors
///
/// A switch, host bridge or CPU with more ports than arbitration can hold.
pub fn supports(machine: &Machine) -> Result<(), String> {
    let mut ports: BTreeMap<&str, usize> = BTreeMap::new();
    for link in &machine.links {
        let upper = link.upper.map(|function| machine.functions[function].role);
        let name = match (upper, link.hidden_below) {
            (Some(Role::SwitchDownstream(switch)), _) | (None, Some(switch)) => {
                &machine.switches[switch].name
            }
            _ => &machine.host_bridges[machine.functions[link.lower].host_bridge].name,
        };
        *ports.entry(name).or_default() += 1;
    }
    for bridge in &machine.host_bridges {
        *ports.entry(&machine.cpus[bridge.cpu].name).or_default() += 1;
    }
    for link in &machine.cpu_links {
        for end in [link.from, link.to] {
            *ports.entry(&machine.cpus[end].name).or_default() += 1;
        }
    }
    // One more input: from above.
    match ports.iter().find(|(_, ports)| **ports >= MAX_INPUTS) {
        Some((name, ports)) => {
            Err(format!("{name} has {ports} ports; at most {} can be simulated", MAX_INPUTS - 1))
        }
        None => Ok(()),
    }
}

impl Spec {
    /// Compiles `machine` with MPS and MRRS as programmed in `registers`.
    pub fn new(machine: &Machine, registers: &Registers, options: &Options) -> Spec {
        let mut spec = Spec {
            nodes: Vec::new(),
            links: Vec::new(),
            engines: Vec::new(),
            queues: 0,
            devices: machine.devices.len(),
            switches: machine.switches.len(),
            roots: machine.host_bridges.len(),
        };
        spec.add_nodes(machine);
        spec.add_pcie_links(machine, registers, options);
        spec.add_internal_links(machine);
        spec.number_ports();
        spec.add_engines(machine, registers);
        spec.admit_packets(machine, registers);
        for scaling in &options.scaling {
            spec.scale(scaling);
        }
        spec
    }

    /// Lets every finite buffer hold one packet of the largest size that anyone is programmed to send: without the
    /// credits for it a sender would wait for ever, even for a receiver that throws it away.
    fn admit_packets(&mut self, machine: &Machine, registers: &Registers) {
        let sizes = machine.functions.node_indices().map(|function| registers.max_payload(function).0);
        let least = u16::try_from(sizes.max().unwrap_or(0).div_ceil(16)).unwrap_or(u16::MAX);
        for credits in self.links.iter_mut().flat_map(|link| &mut link.credits) {
            if credits.data != 0 {
                credits.data = credits.data.max(least);
            }
        }
    }

    /// Node of a device.
    pub fn device(&self, index: usize) -> NodeId {
        NodeId::from_index(index)
    }

    /// Node of a switch.
    pub fn switch(&self, index: usize) -> NodeId {
        NodeId::from_index(self.devices + index)
    }

    /// Node of a host bridge's root.
    pub fn root(&self, index: usize) -> NodeId {
        NodeId::from_index(self.devices + self.switches + index)
    }

    /// Node of a CPU.
    pub fn cpu(&self, index: usize) -> NodeId {
        NodeId::from_index(self.devices + self.switches + self.roots + index)
    }

    /// The engine of `device` that writes.
    pub fn writer(&self, device: usize) -> EngineId {
        EngineId::from_index(2 * device)
    }

    /// The engine of `device` that reads.
    pub fn reader(&self, device: usize) -> EngineId {
        EngineId::from_index(2 * device + 1)
    }

    /// The link from `from` to `to`, if there is one.
    pub fn link_between(&self, from: NodeId, to: NodeId) -> Option<LinkId> {
        self.nodes[from.at()].outputs.iter().copied().find(|link| self.links[link.at()].to == to)
    }

    /// Whether a device's node has a link to anything.
    pub fn is_linked(&self, node: NodeId) -> bool {
        self.nodes[node.at()].upstream.is_some()
    }

    /// Number of the queue of TLPs that came in by `input` and leave by `output`, two links of one node.
    pub(crate) fn queue(&self, input: LinkId, output: LinkId) -> u32 {
        let (input, output) = (&self.links[input.at()], &self.links[output.at()]);
        let node = &self.nodes[output.from.at()];
        let outputs = u32::try_from(node.outputs.len()).unwrap_or(u32::MAX);
        node.first_queue + input.input * outputs + output.output
    }

    fn add_nodes(&mut self, machine: &Machine) {
        let node = |name: &str, kind, memory| NodeSpec {
            name: name.to_owned(),
            kind,
            inputs: Vec::new(),
            outputs: Vec::new(),
            ports: Vec::new(),
            upstream: None,
            function: None,
            memory,
            first_queue: 0,
        };
        for (index, device) in machine.devices.iter().enumerate() {
            let memory = MemorySpec {
                rate: device.part.memory_rate,
                read_latency: device.part.completer_latency,
                // Base Specification: 128 bytes for everything but a root complex.
                read_completion_boundary: 128,
            };
            self.nodes.push(node(&device.name, NodeKind::Device(index), Some(memory)));
        }
        for (index, switch) in machine.switches.iter().enumerate() {
            let function = Some(switch.upstream);
            self.nodes.push(NodeSpec { function, ..node(&switch.name, NodeKind::Switch(index), None) });
        }
        for (index, bridge) in machine.host_bridges.iter().enumerate() {
            self.nodes.push(node(&bridge.name, NodeKind::Root(index), None));
        }
        for (index, cpu) in machine.cpus.iter().enumerate() {
            let memory = MemorySpec {
                rate: cpu.part.memory_rate,
                // The way back across the internal network is part of serving the read: see `add_internal_links`.
                read_latency: cpu.part.memory_latency + cpu.part.network_latency,
                read_completion_boundary: cpu.part.read_completion_boundary.0,
            };
            self.nodes.push(node(&cpu.name, NodeKind::Cpu(index), Some(memory)));
        }
    }

    fn add_pcie_links(&mut self, machine: &Machine, registers: &Registers, options: &Options) {
        for link in &machine.links {
            let lower = self.node_of(machine, link.lower);
            let upper_function = link.upper;
            let upper = match (upper_function, link.hidden_below) {
                (Some(function), _) => self.node_of(machine, function),
                (None, Some(switch)) => self.switch(switch),
                (None, None) => self.root(machine.functions[link.lower].host_bridge),
            };
            let rate = tlp_rate(link.generation, link.lanes, options.link_layer);
            let max_payload = registers.max_payload(link.lower);
            let limit = |function: Option<FunctionIndex>| {
                let express = function.filter(|function| registers.is_express(*function));
                express.map_or(u64::MAX, |function| registers.max_payload(function).0)
            };
            let base = LinkSpec {
                name: format!("{}:up", link.name),
                from: lower,
                to: upper,
                input: 0,
                output: 0,
                reverse: LinkId(0),
                pcie: Some((link.generation, link.lanes)),
                rate,
                port_rate: self.port_rate(machine, upper),
                framing: Framing::new(link.generation, options.link_layer),
                latency: self.entry_latency(machine, upper),
                receiver: upper_function,
                receiver_limit: limit(upper_function),
                sender_limit: u64::MAX,
                credits: self.receive_credits(machine, upper),
                credit_latency: CREDIT_UPDATE,
                dllp_interval: match options.link_layer {
                    LinkLayer::ByRule if link.generation < 6 => dllp_interval(max_payload, link.lanes),
                    _ => 0,
                },
            };
            let down = LinkSpec {
                name: format!("{}:down", link.name),
                from: upper,
                to: lower,
                latency: self.entry_latency(machine, lower),
                receiver: Some(link.lower),
                receiver_limit: limit(Some(link.lower)),
                sender_limit: match self.nodes[upper.at()].kind {
                    NodeKind::Root(_) => limit(upper_function),
                    _ => u64::MAX,
                },
                credits: self.receive_credits(machine, lower),
                ..base.clone()
            };
            let (up, down) = self.add_pair(base, down);
            self.nodes[lower.at()].upstream = Some(up);
            let behind = match machine.functions[link.lower].role {
                Role::Endpoint(device) => machine.devices[device].functions.clone(),
                _ => vec![link.lower],
            };
            // Where several things share one port, or no port is seen, each claims what is its own.
            let shared = machine.links.iter().filter(|other| other.upper == upper_function).count() > 1;
            let direct = if upper_function.is_none() || shared { behind.clone() } else { Vec::new() };
            let port = PortSpec { function: upper_function, down, up, child: lower, behind, direct };
            self.nodes[upper.at()].ports.push(port);
        }
    }

    /// Between a host bridge and its CPU, and between CPUs. The internal network's latency is charged on the way
    /// up, the root port's on the way down, so that a peer request pays both ports and the network once.
    fn add_internal_links(&mut self, machine: &Machine) {
        for (index, bridge) in machine.host_bridges.iter().enumerate() {
            let (root, cpu) = (self.root(index), self.cpu(bridge.cpu));
            let part = &machine.cpus[bridge.cpu].part;
            let up = LinkSpec {
                name: format!("{}:up", bridge.name),
                from: root,
                to: cpu,
                input: 0,
                output: 0,
                reverse: LinkId(0),
                pcie: None,
                rate: part.host_bridge_rate,
                port_rate: None,
                framing: Framing::none(),
                latency: part.network_latency,
                receiver: None,
                receiver_limit: u64::MAX,
                sender_limit: u64::MAX,
                credits: [INTERNAL; 3],
                credit_latency: Picos::ZERO,
                dllp_interval: 0,
            };
            let down = LinkSpec {
                name: format!("{}:down", bridge.name),
                from: cpu,
                to: root,
                latency: part.root_port_latency,
                ..up.clone()
            };
            let (up, _) = self.add_pair(up, down);
            self.nodes[root.at()].upstream = Some(up);
        }
        for link in &machine.cpu_links {
            let there = LinkSpec {
                name: format!("{}-{}", machine.cpus[link.from].name, machine.cpus[link.to].name),
                from: self.cpu(link.from),
                to: self.cpu(link.to),
                input: 0,
                output: 0,
                reverse: LinkId(0),
                pcie: None,
                rate: link.part.rate,
                port_rate: None,
                framing: Framing::none(),
                latency: link.part.latency,
                receiver: None,
                receiver_limit: u64::MAX,
                sender_limit: u64::MAX,
                credits: [INTERNAL; 3],
                credit_latency: link.part.latency,
                dllp_interval: 0,
            };
            let back = LinkSpec {
                name: format!("{}-{}", machine.cpus[link.to].name, machine.cpus[link.from].name),
                from: there.to,
                to: there.from,
                ..there.clone()
            };
            self.add_pair(there, back);
        }
    }

    fn add_pair(&mut self, mut there: LinkSpec, mut back: LinkSpec) -> (LinkId, LinkId) {
        let (first, second) =
            (LinkId::from_index(self.links.len()), LinkId::from_index(self.links.len() + 1));
        there.reverse = second;
        back.reverse = first;
        self.links.push(there);
        self.links.push(back);
        (first, second)
    }

    fn number_ports(&mut self) {
        for index in 0..self.links.len() {
            let (from, to) = (self.links[index].from.at(), self.links[index].to.at());
            let count = |links: &Vec<LinkId>| u32::try_from(links.len()).unwrap_or(u32::MAX);
            self.links[index].output = count(&self.nodes[from].outputs);
            self.links[index].input = count(&self.nodes[to].inputs);
            self.nodes[from].outputs.push(LinkId::from_index(index));
            self.nodes[to].inputs.push(LinkId::from_index(index));
        }
        for node in &mut self.nodes {
            assert!(node.inputs.len() <= MAX_INPUTS, "{} has more than {MAX_INPUTS} ports", node.name);
            node.first_queue = self.queues;
            self.queues += u32::try_from(node.inputs.len() * node.outputs.len()).unwrap_or(u32::MAX);
        }
    }

    fn add_engines(&mut self, machine: &Machine, registers: &Registers) {
        for (index, device) in machine.devices.iter().enumerate() {
            let node = self.device(index);
            let link = self.nodes[node.at()].upstream;
            for (role, rate) in [("writer", device.part.write_rate), ("reader", device.part.read_rate)] {
                self.engines.push(EngineSpec {
                    name: format!("{}/{role}", device.name),
                    node,
                    device: index,
                    // A device without a link has no engine that could ever be used; link 0 is never read.
                    link: link.unwrap_or(LinkId(0)),
                    rate,
                    tags: device.part.tags.max(1),
                    max_payload: registers.max_payload(device.functions[0]).0,
                    max_read_request: registers.max_read_request(device.functions[0]).0,
                    request_latency: device.part.request_latency,
                });
            }
        }
    }

    /// The node that a function belongs to.
    pub(crate) fn node_of(&self, machine: &Machine, function: FunctionIndex) -> NodeId {
        match machine.functions[function].role {
            Role::Endpoint(device) => self.device(device),
            Role::SwitchUpstream(switch) | Role::SwitchDownstream(switch) => self.switch(switch),
            Role::RootPort | Role::RootBusHead => self.root(machine.functions[function].host_bridge),
        }
    }

    fn entry_latency(&self, machine: &Machine, node: NodeId) -> Picos {
        match self.nodes[node.at()].kind {
            NodeKind::Device(_) | NodeKind::Cpu(_) => Picos::ZERO,
            NodeKind::Switch(switch) => machine.switches[switch].part.latency,
            NodeKind::Root(bridge) => machine.cpus[machine.host_bridges[bridge].cpu].part.root_port_latency,
        }
    }

    fn port_rate(&self, machine: &Machine, upper: NodeId) -> Option<Rate> {
        match self.nodes[upper.at()].kind {
            NodeKind::Root(bridge) => machine.cpus[machine.host_bridges[bridge].cpu].part.root_port_rate,
            _ => None,
        }
    }

    fn receive_credits(&self, machine: &Machine, node: NodeId) -> [Credits; 3] {
        let buffers: Buffers = match self.nodes[node.at()].kind {
            NodeKind::Device(device) => machine.devices[device].part.buffers,
            NodeKind::Switch(switch) => machine.switches[switch].part.buffers,
            NodeKind::Root(bridge) => machine.cpus[machine.host_bridges[bridge].cpu].part.buffers,
            NodeKind::Cpu(cpu) => machine.cpus[cpu].part.buffers,
        };
        [buffers.posted, buffers.non_posted, buffers.completion]
    }

    fn scale(&mut self, scaling: &Scaling) {
        let (numerator, denominator) = (scaling.numerator, scaling.denominator.max(1));
        let faster = |rate: Rate| rate.scaled(numerator, denominator).unwrap_or(rate);
        let more = |count: u16| {
            let scaled = (u64::from(count) * numerator).div_ceil(denominator);
            u16::try_from(scaled).unwrap_or(u16::MAX)
        };
        match scaling.resource {
            Resource::Link(link) => self.links[link.at()].rate = faster(self.links[link.at()].rate),
            Resource::Port(link) => {
                let link = &mut self.links[link.at()];
                link.port_rate = link.port_rate.map(faster);
            }
            Resource::Engine(engine) => {
                self.engines[engine.at()].rate = faster(self.engines[engine.at()].rate)
            }
            Resource::Tags(engine) => self.engines[engine.at()].tags = more(self.engines[engine.at()].tags),
            Resource::Memory(node) => {
                if let Some(memory) = &mut self.nodes[node.at()].memory {
                    memory.rate = faster(memory.rate);
                }
            }
            Resource::Credits(link) => {
                // A larger buffer holds at least one more TLP: data credits grow in step with headers.
                for credits in &mut self.links[link.at()].credits {
                    let header = more(credits.header);
                    let data = u64::from(credits.data) * u64::from(header) / u64::from(credits.header.max(1));
                    *credits = Credits { header, data: u16::try_from(data).unwrap_or(u16::MAX) };
                }
            }
            // The window of a workload is not a part of the machine.
            Resource::Window(_) => {}
        }
    }
}
