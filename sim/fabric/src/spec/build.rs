//! Compiling a machine into nodes, links and engines.

use peerbus_machine::Registers;
use std::collections::BTreeMap;

use peerbus_machine::model::{Arbitration, FunctionIndex, Machine, Member, Role};
use peerbus_machine::part::{Buffers, Credits};
use peerbus_units::{Picos, Rate};

use super::{
    AtcSpec, EngineId, EngineSpec, FIRST_SOURCE, HandlingSpec, LinkId, LinkSpec, MAX_INPUTS, MAX_SOURCES,
    MemorySpec, NodeId, NodeKind, NodeSpec, Options, PAGE, PortSpec, Spec,
};
use crate::arbitration::phases;
use crate::cause::{Cause, pipeline_between};
use crate::link_layer::{FLIT_TLP_BYTES, Framing, LinkLayer, dllp_interval, tlp_rate};
use crate::requester::Direction;
use crate::tlp::Attributes;
use crate::wire::flit_time;

/// Time from a freed buffer to the sender's knowledge of it beyond the link's own pipeline: assembling, sending
/// and checking an UpdateFC DLLP. Assumed; buffers of real parts are sized to cover it.
const CREDIT_UPDATE: Picos = Picos::nanos(30);

/// Completion timeout of a device whose part says nothing: the end of the specification's default range, 50 µs to 50 ms.
pub const COMPLETION_TIMEOUT: Picos = Picos::nanos(50_000_000);

/// Buffers between a host bridge and the CPU's internal network: deep enough never to limit. Assumed.
pub(super) const INTERNAL: Credits = Credits { header: 512, data: 8192 };

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
    for interconnect in &machine.interconnects {
        let mut members: Vec<Member> =
            interconnect.edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
        if interconnect.part.switched {
            members.sort_unstable();
            members.dedup();
            *ports.entry(&interconnect.name).or_default() += members.len();
        }
        for member in members {
            let name = match member {
                Member::Device(device) => &machine.devices[device].name,
                Member::Cpu(cpu) => &machine.cpus[cpu].name,
            };
            *ports.entry(name).or_default() += 1;
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
            private_engines: Vec::new(),
            memory_ways: Vec::new(),
        };
        spec.add_nodes(machine, registers);
        spec.add_pcie_links(machine, registers, options);
        spec.add_internal_links(machine);
        spec.add_ntbs(machine);
        spec.add_interconnects(machine);
        spec.divide_links(machine);
        spec.add_memory_channels(machine);
        spec.number_ports();
        spec.weigh_inputs(machine);
        spec.add_engines(machine, registers);
        spec.add_private_engines();
        spec.add_atcs(machine, registers);
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

    fn add_nodes(&mut self, machine: &Machine, registers: &Registers) {
        let node = |name: &str, kind, memory| NodeSpec {
            name: name.to_owned(),
            kind,
            inputs: Vec::new(),
            outputs: Vec::new(),
            ports: Vec::new(),
            upstream: None,
            function: None,
            memory,
            line_latency: Picos::ZERO,
            iommu: None,
            phases: Vec::new(),
            store_and_forward: false,
            completes_by_id: false,
            atc: None,
            peer_limits: None,
            reads_in_turn: 1,
            in_order: false,
            first_queue: 0,
        };
        for (index, device) in machine.devices.iter().enumerate() {
            let memory = MemorySpec {
                rate: device.part.memory_rate,
                write_rate: device.part.memory_rate,
                read_latency: device.part.completer_latency,
                // Base Specification: 128 bytes for everything but a root complex.
                read_completion_boundary: 128,
                look_up: device.aperture.map_or(Picos::ZERO, |aperture| aperture.look_up),
                cache: None,
                cache_latency: Picos::ZERO,
            };
            let [_, completes_by_id] = registers.id_based_ordering(device.functions[0]);
            let plain = node(&device.name, NodeKind::Device(index), Some(memory));
            let line_latency = device.part.cxl.map_or(Picos::ZERO, |cxl| cxl.latency);
            let reads_in_turn = device.part.reads_in_turn.unwrap_or(1);
            self.nodes.push(NodeSpec { completes_by_id, reads_in_turn, line_latency, ..plain });
        }
        for (index, switch) in machine.switches.iter().enumerate() {
            let function = Some(switch.upstream);
            let store_and_forward = switch.part.store_and_forward;
            let in_order = switch.part.in_order;
            let plain = node(&switch.name, NodeKind::Switch(index), None);
            self.nodes.push(NodeSpec { function, store_and_forward, in_order, ..plain });
        }
        for (index, bridge) in machine.host_bridges.iter().enumerate() {
            let iommu = machine.cpus[bridge.cpu].part.iommu;
            self.nodes.push(NodeSpec { iommu, ..node(&bridge.name, NodeKind::Root(index), None) });
        }
        for (index, cpu) in machine.cpus.iter().enumerate() {
            let memory = MemorySpec {
                rate: cpu.part.memory_rate,
                write_rate: cpu.part.memory_write_rate.unwrap_or(cpu.part.memory_rate),
                // The way back across the internal network is part of serving the read: see `add_internal_links`.
                read_latency: cpu.part.memory_latency + cpu.part.network_latency,
                read_completion_boundary: cpu.part.read_completion_boundary.0,
                look_up: Picos::ZERO,
                cache: cpu.part.cache,
                cache_latency: cpu.part.cache.map_or(Picos::ZERO, |cache| cache.latency)
                    + cpu.part.network_latency,
            };
            let peer_limits = cpu.part.peer_limits;
            let reads_in_turn = cpu.part.reads_in_turn.unwrap_or(1);
            self.nodes.push(NodeSpec {
                peer_limits,
                reads_in_turn,
                ..node(&cpu.name, NodeKind::Cpu(index), Some(memory))
            });
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
            let flits = link.generation >= 6;
            let rate = tlp_rate(link.generation, link.lanes, flits, options.link_layer);
            let propagation = link.propagation;
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
                dllps_to: LinkId(0),
                sharing: None,
                pcie: Some((link.generation, link.lanes)),
                private: false,
                memory: false,
                bridge: false,
                rate,
                port_rate: self.port_rate(machine, upper),
                peer_rate: None,
                framing: Framing::new(link.generation, options.link_layer),
                flits,
                flit: if flits { FLIT_TLP_BYTES } else { 0 },
                propagation,
                bit_errors: link.bit_errors,
                latency: self.entry_latency(machine, upper),
                pipeline: Cause::Device,
                receiver: upper_function,
                receiver_limit: limit(upper_function),
                sender_limit: u64::MAX,
                credits: self.receive_credits(machine, upper),
                // In flit mode credits travel in a flit.
                credit_latency: CREDIT_UPDATE
                    + propagation
                    + Picos(if flits { flit_time(rate, FLIT_TLP_BYTES) } else { 0 }),
                dllp_interval: match options.link_layer {
                    LinkLayer::ByRule if !flits => dllp_interval(max_payload, link.lanes),
                    _ => 0,
                },
                dllp_payload: max_payload,
                sources: Vec::new(),
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
                latency: part.network_latency,
                credits: [INTERNAL; 3],
                ..LinkSpec::plain(format!("{}:up", bridge.name), root, cpu, part.host_bridge_rate)
            };
            let down = LinkSpec {
                name: format!("{}:down", bridge.name),
                from: cpu,
                to: root,
                latency: part.root_port_latency,
                sender_limit: part
                    .peer_limits
                    .and_then(|limits| limits.max_payload)
                    .map_or(u64::MAX, |limit| limit.0),
                ..up.clone()
            };
            let (up, _) = self.add_pair(up, down);
            self.nodes[root.at()].upstream = Some(up);
        }
        for link in &machine.cpu_links {
            let [from, to] = [link.from, link.to].map(|cpu| &machine.cpus[cpu].name);
            let (name, from, to) = (format!("{from}-{to}"), self.cpu(link.from), self.cpu(link.to));
            let there = LinkSpec {
                peer_rate: link.part.peer_rate,
                latency: link.part.latency,
                credits: [INTERNAL; 3],
                credit_latency: link.part.latency,
                ..LinkSpec::plain(name, from, to, link.part.rate)
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

    pub(super) fn add_pair(&mut self, mut there: LinkSpec, mut back: LinkSpec) -> (LinkId, LinkId) {
        for link in [&mut there, &mut back] {
            let [from, to] = [link.from, link.to].map(|node| self.nodes[node.at()].kind);
            if !link.private && !link.bridge {
                link.pipeline = pipeline_between(from, to);
            }
        }
        let (first, second) =
            (LinkId::from_index(self.links.len()), LinkId::from_index(self.links.len() + 1));
        (there.reverse, there.dllps_to) = (second, second);
        (back.reverse, back.dllps_to) = (first, first);
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

    /// Weighted arbitration of switches that have it.
    fn weigh_inputs(&mut self, machine: &Machine) {
        for (index, switch) in machine.switches.iter().enumerate() {
            let Arbitration::WeightedRoundRobin(weights) = &switch.arbitration else { continue };
            let node = self.switch(index);
            let this = &self.nodes[node.at()];
            let weight = |input: &LinkId| {
                let input = self.first_channel(*input);
                let port = this.ports.iter().find(|port| port.up == input);
                let place = match port {
                    None => Some(0),
                    Some(port) => {
                        switch.downstream.iter().position(|f| Some(*f) == port.function).map(|p| p + 1)
                    }
                };
                place.and_then(|place| weights.get(place)).copied().unwrap_or(1)
            };
            let weights: Vec<u16> = this.inputs.iter().map(weight).collect();
            self.nodes[node.at()].phases = phases(&weights);
        }
    }

    fn add_engines(&mut self, machine: &Machine, registers: &Registers) {
        for (index, device) in machine.devices.iter().enumerate() {
            let node = self.device(index);
            let part = &device.part;
            let (writer, reader) = ("writer", "reader");
            for (name, direction, rate, copy) in [
                (writer, Direction::Write, part.write_rate, part.dma.map(|dma| dma.write)),
                (reader, Direction::Read, part.read_rate, part.dma.map(|dma| dma.read)),
            ] {
                let handling = part.dma.zip(copy).map(|(dma, copy)| HandlingSpec {
                    completion_latency: dma.completion_latency,
                    gap: if direction == Direction::Write { dma.write_gap } else { Picos::ZERO },
                    copy,
                    both_rate: dma.both_rate,
                });
                self.add_engine(EngineSpec {
                    name: format!("{}/{name}", device.name),
                    direction,
                    node,
                    requester: Some(device.functions[0]),
                    link: self.nodes[node.at()].upstream,
                    source: 0,
                    traffic_class: 0,
                    permits: permitted(registers, device.functions[0]),
                    rate,
                    tags: part.tags.clamp(1, registers.tags(device.functions[0])),
                    max_payload: registers.max_payload(device.functions[0]).0,
                    max_read_request: registers.max_read_request(device.functions[0]).0,
                    completion_timeout: part.completion_timeout.unwrap_or(COMPLETION_TIMEOUT),
                    boundary: PAGE,
                    write_buffers: None,
                    request_latency: part.dma.map_or(part.request_latency, |dma| dma.request_latency),
                    handling,
                });
            }
        }
    }

    /// Caches of translations, where software has enabled them. Their requests are small and nobody's data.
    fn add_atcs(&mut self, machine: &Machine, registers: &Registers) {
        for (index, device) in machine.devices.iter().enumerate() {
            let (node, function) = (self.device(index), device.functions[0]);
            let Some(part) = device.part.atc.filter(|_| registers.ats_enabled(function)) else { continue };
            let engine = EngineSpec {
                name: format!("{}/translations", device.name),
                tags: part.requests.max(1),
                request_latency: Picos::ZERO,
                ..self.engines[self.reader(index).at()].clone()
            };
            let engine = self.add_engine(engine);
            self.nodes[node.at()].atc =
                Some(AtcSpec { entries: part.entries, page_requests: part.page_requests, engine });
        }
    }

    pub(crate) fn add_engine(&mut self, mut engine: EngineSpec) -> EngineId {
        let id = EngineId::from_index(self.engines.len());
        if let Some(link) = engine.link {
            let sources = &mut self.links[link.at()].sources;
            assert!(sources.len() < MAX_SOURCES, "{} has too many engines", engine.name);
            engine.source = FIRST_SOURCE + u32::try_from(sources.len()).unwrap_or(0);
            sources.push(id);
        }
        self.engines.push(engine);
        id
    }

    fn entry_latency(&self, machine: &Machine, node: NodeId) -> Picos {
        match self.nodes[node.at()].kind {
            NodeKind::Device(_) | NodeKind::Cpu(_) | NodeKind::Exchange(_) => Picos::ZERO,
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
            NodeKind::Exchange(_) => unreachable!("a PCIe link leads to no private switch"),
        };
        [buffers.posted, buffers.non_posted, buffers.completion]
    }
}

/// Attributes that the device control registers of `function` let its requests have.
fn permitted(registers: &Registers, function: FunctionIndex) -> Attributes {
    let [by_id, _] = registers.id_based_ordering(function);
    let bits = [
        (registers.relaxed_ordering(function), Attributes::RELAXED),
        (by_id, Attributes::ID_BASED),
        (registers.no_snoop(function), Attributes::NO_SNOOP),
    ];
    bits.iter().filter(|(on, _)| *on).fold(Attributes::NONE, |all, (_, bit)| all.with(*bit))
}
