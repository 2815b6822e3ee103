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

use peerbus_machine::model::{FunctionIndex, Machine, Role};
use peerbus_machine::part::{CachePart, CopyPart, Credits, IommuPart, PeerLimits};
use peerbus_units::{BitErrorRate, Bytes, Picos, Rate};

use crate::cause::Cause;
use crate::cursor::AddressKind;
use crate::limits::Resource;
use crate::link_layer::{Framing, LinkLayer};
use crate::requester::Direction;
use crate::tlp::Attributes;

mod build;
mod channels;
mod memory;
mod ntb;
mod private;
mod scale;

pub use build::{COMPLETION_TIMEOUT, supports};
pub use channels::{Sharing, Turns};
pub(crate) use memory::MemoryWay;
pub use private::private_addr;
pub(crate) use private::{LAST_HOST_ADDR, Owner, private_owner, private_range};

/// A node's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

/// A directed link's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u32);

/// An engine's number. The first are two per device, its writer and its reader.
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
    /// Switch of the private interconnect with that index.
    Exchange(usize),
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
    /// From a read request of CXL.mem to its first data, of a device with such memory.
    pub line_latency: Picos,
    /// The IOMMU that requests from below meet, of a root.
    pub iommu: Option<IommuPart>,
    /// Inputs in the order in which each may send a packet to the same output; empty: in turn.
    pub phases: Vec<u8>,
    /// A packet is sent on only when all of it is there.
    pub store_and_forward: bool,
    /// Its completions have ID-based Ordering, of a device.
    pub completes_by_id: bool,
    /// The cache of translations of a device that is told to have one.
    pub atc: Option<AtcSpec>,
    /// Limits for requests between its ports, of a CPU.
    pub peer_limits: Option<PeerLimits>,
    /// Reads that it answers in turn, a completion of each; 0 and 1: one after the other.
    pub reads_in_turn: u8,
    /// What came in by one input leaves in that order, of a switch.
    pub in_order: bool,
    /// Number of its first queue.
    pub first_queue: u32,
}

/// A device's cache of translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtcSpec {
    /// Pages it keeps.
    pub entries: u16,
    /// Pages that are not there that it asks for at a time; 0: it cannot.
    pub page_requests: u16,
    /// The engine that sends its translation requests.
    pub engine: EngineId,
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
    /// Rate of writes, if lower.
    pub write_rate: Rate,
    /// From a read request's arrival to its first completion.
    pub read_latency: Picos,
    /// Completions are cut at multiples of this.
    pub read_completion_boundary: u64,
    /// What finding the page that a BAR shows adds, of a device with a table for that.
    pub look_up: Picos,
    /// Cache in front of it.
    pub cache: Option<CachePart>,
    /// From a read request's arrival to its first completion, when the cache has all of it.
    pub cache_latency: Picos,
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
    /// The link that acknowledgements and credits for what it carries travel on: the other way, whatever the channel.
    pub dllps_to: LinkId,
    /// The other virtual channel on the same wires.
    pub sharing: Option<Sharing>,
    /// Generation and lanes of a PCIe link; `None` inside or between CPUs.
    pub pcie: Option<(u8, u8)>,
    /// A link of a private interconnect.
    pub private: bool,
    /// It carries CXL.mem.
    pub memory: bool,
    /// Leads from one side of a non-transparent bridge to the other.
    pub bridge: bool,
    /// Rate for the bytes of TLPs.
    pub rate: Rate,
    /// Payload rate that the port at one end sustains, if lower matters.
    pub port_rate: Option<Rate>,
    /// Rate of what is between devices, of a link between CPUs, if lower matters.
    pub peer_rate: Option<Rate>,
    /// Cost of a TLP.
    pub framing: Framing,
    /// True in flit mode, which is agreed on when the link first comes up and stays at lower rates.
    pub flits: bool,
    /// Bytes of TLPs, or of CXL.mem, in a flit; 0 for a link that has none.
    pub flit: u64,
    /// Along wires and through retimers.
    pub propagation: Picos,
    /// How often bits arrive wrong.
    pub bit_errors: BitErrorRate,
    /// From the head at the end of the link to the head ready to leave the node behind it.
    pub latency: Picos,
    /// What that latency is.
    pub pipeline: Cause,
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
    /// The payload size that `dllp_interval` follows from.
    pub dllp_payload: Bytes,
    /// Engines that send on it; they take part in its arbitration like inputs.
    pub sources: Vec<EngineId>,
}

impl LinkSpec {
    /// A link without PCIe's link layer: packets without headers or framing, endless buffers, no limits, no latency.
    fn plain(name: String, from: NodeId, to: NodeId, rate: Rate) -> LinkSpec {
        let endless = Credits { header: 0, data: 0 };
        LinkSpec {
            name,
            from,
            to,
            input: 0,
            output: 0,
            reverse: LinkId(0),
            dllps_to: LinkId(0),
            sharing: None,
            pcie: None,
            private: false,
            memory: false,
            bridge: false,
            rate,
            port_rate: None,
            peer_rate: None,
            framing: Framing::none(),
            flits: false,
            flit: 0,
            propagation: Picos::ZERO,
            bit_errors: BitErrorRate::ZERO,
            latency: Picos::ZERO,
            pipeline: Cause::Device,
            receiver: None,
            receiver_limit: u64::MAX,
            sender_limit: u64::MAX,
            credits: [endless; 3],
            credit_latency: Picos::ZERO,
            dllp_interval: 0,
            dllp_payload: Bytes::ZERO,
            sources: Vec::new(),
        }
    }
}

/// Something that issues requests: a DMA engine of a device, its processors, or the cores of a CPU.
#[derive(Clone, Debug)]
pub struct EngineSpec {
    /// Name for reports: `gpu0/writer`.
    pub name: String,
    /// What it issues.
    pub direction: Direction,
    /// Its device's node, or its CPU's.
    pub node: NodeId,
    /// Whose ID its requests carry; `None` for the cores of a CPU, whose requests a root complex makes.
    pub requester: Option<FunctionIndex>,
    /// The link it sends on; `None` for a device without a link, whose engines refuse everything.
    pub link: Option<LinkId>,
    /// Its bit among the inputs of that link.
    pub source: u32,
    /// Traffic class of its requests and their completions, 0–7.
    pub traffic_class: u8,
    /// What the device control registers let its requests have: Relaxed Ordering, ID-based Ordering, No Snoop.
    pub permits: Attributes,
    /// Payload rate.
    pub rate: Rate,
    /// Read requests outstanding; unused by a writer.
    pub tags: u16,
    /// Largest payload of a write.
    pub max_payload: u64,
    /// Largest read request.
    pub max_read_request: u64,
    /// A read is given up when it is not completed within this time.
    pub completion_timeout: Picos,
    /// Requests never cross a multiple of this power of two: 4 KiB (Base Specification) or less, such as a cache line.
    pub boundary: u64,
    /// Buffers from which it writes and how long each is taken; `None` for a writer that keeps nothing.
    pub write_buffers: Option<WriteBuffers>,
    /// From being given a descriptor to the first request, or where transfers are handled to what comes before it.
    pub request_latency: Picos,
    /// What it does with a transfer beside sending requests; `None` for an engine that takes what arrives at once.
    pub handling: Option<HandlingSpec>,
}

/// How an engine handles transfers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandlingSpec {
    /// From a completion at its pins until it has taken it.
    pub completion_latency: Picos,
    /// Between two of its requests, beside the time of their payload.
    pub gap: Picos,
    /// Copying a transfer whole, before a write or after a read.
    pub copy: CopyPart,
    /// Rate of both directions of its device together.
    pub both_rate: Option<Rate>,
}

/// Buffers of a writer, such as the write-combining buffers of a core. One write takes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteBuffers {
    /// How many; at least 1.
    pub count: u16,
    /// From a write leaving the engine until its buffer is free again.
    pub hold: Picos,
    /// A descriptor ends with a store fence: the next one begins when no buffer is taken any more.
    pub fence: bool,
}

/// Requests never cross multiples of this (Base Specification, Request Rules).
pub const PAGE: u64 = 4096;

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
    /// While compiling: device, link and largest packet of engines still to be made.
    private_engines: Vec<(usize, LinkId, u64)>,
    /// Device memory that CPUs use as their own.
    pub(crate) memory_ways: Vec<MemoryWay>,
}

/// Inputs of one output: links and local sources are bits of one mask of 128.
pub(crate) const MAX_INPUTS: usize = 120;

/// Bit of completions that start at this output's node.
pub(crate) const JOBS: u32 = 120;

/// Bit of the first engine that sends on a link; the others follow.
pub(crate) const FIRST_SOURCE: u32 = 121;

/// Engines that one link can have.
pub(crate) const MAX_SOURCES: usize = 7;

impl Spec {
    /// Node of a device.
    pub fn device(&self, index: usize) -> NodeId {
        NodeId::from_index(index)
    }

    /// Whether there is a device with that index.
    pub(crate) fn is_device(&self, index: usize) -> bool {
        index < self.devices
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

    /// True when addresses of `engine` are translated by its device before they are sent.
    pub(crate) fn translates(&self, engine: &EngineSpec) -> bool {
        let node = &self.nodes[engine.node.at()];
        let own = |atc: AtcSpec| self.engines[atc.engine.at()].source == engine.source;
        node.atc.is_some_and(|atc| !own(atc)) && engine.link == node.upstream && engine.requester.is_some()
    }

    /// What requests of `engine` say of their addresses, as software gave them.
    pub(crate) fn kind_of_addresses(&self, engine: EngineId) -> AddressKind {
        let node = self.engines[engine.at()].node;
        match self.nodes[node.at()].atc {
            Some(atc) if atc.engine == engine => AddressKind::Question,
            _ => AddressKind::Untranslated,
        }
    }

    /// Read requests that `engine` can have outstanding.
    pub(crate) fn tags(&self, engine: EngineId) -> u16 {
        self.engines[engine.at()].tags
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

    /// The node that a function belongs to.
    pub(crate) fn node_of(&self, machine: &Machine, function: FunctionIndex) -> NodeId {
        match machine.functions[function].role {
            Role::Endpoint(device) => self.device(device),
            Role::SwitchUpstream(switch) | Role::SwitchDownstream(switch) => self.switch(switch),
            Role::RootPort | Role::RootBusHead => self.root(machine.functions[function].host_bridge),
        }
    }
}
