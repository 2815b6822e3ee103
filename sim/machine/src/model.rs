//! The machine model: what a file or an importer describes, with parts looked up and every reference resolved.
//!
//! [`Machine`] is a description and never changes during a run. What software can program lives in
//! [`crate::Registers`]. PCI functions are the nodes of a [`petgraph`] tree whose roots are the functions on root
//! buses; an edge leads from a function to one below it and says how the two are joined.
//!
//! Invariants, established by `lower` and asserted nowhere else: device names are unique, every index is valid,
//! every link's generation and width are within what the parts at both ends support, BAR sizes are powers of two,
//! host-bridge windows do not overlap.

use std::collections::BTreeSet;

use peerbus_units::{BitErrorRate, BusAddr, Bytes, CpuAddr, FunctionId, Picos, Range};
use petgraph::graph::{Graph, NodeIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::config::{Config, Express, PortKind, Rom, Sriov, Stated, UnsizedBar, WindowWidth};
use crate::part::{
    AperturePart, CpuLinkPart, CpuPart, DevicePart, InterconnectPart, PciId, ResourceKind, SwitchPart,
};

/// Node of the function tree.
pub type FunctionIndex = NodeIndex<u32>;

/// Something a source did not say, so that a default stands for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// ACS capability and control words.
    Acs,
    /// Number, size and kind of base address registers.
    Bars,
    /// CPU model.
    Cpu,
    /// Which functions share a host bridge, and its bus number.
    HostBridge,
    /// That a function exists or where it sits.
    Function,
    /// Latencies and rates of a part.
    Timing,
    /// Link generation or width.
    Link,
    /// Amount of device or host memory.
    Memory,
    /// Which product it is; a generic part stands for it.
    Part,
    /// Address windows of a host bridge.
    Windows,
}

impl Fact {
    /// The word files and reports use.
    pub fn word(self) -> &'static str {
        match self {
            Fact::Acs => "acs",
            Fact::Bars => "bars",
            Fact::Cpu => "cpu",
            Fact::HostBridge => "host_bridge",
            Fact::Function => "function",
            Fact::Timing => "timing",
            Fact::Link => "link",
            Fact::Memory => "memory",
            Fact::Part => "part",
            Fact::Windows => "windows",
        }
    }
}

/// The facts about one element that its source did not state.
pub type Facts = BTreeSet<Fact>;

/// A whole machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name for reports.
    pub name: String,
    /// Where its description comes from; empty when not said.
    pub source: String,
    /// CPU packages (or NUMA nodes, where a source only knows those).
    pub cpus: Vec<Cpu>,
    /// Links between CPU packages.
    pub cpu_links: Vec<CpuLink>,
    /// Host bridges, in order of domain and bus.
    pub host_bridges: Vec<HostBridge>,
    /// Switch chips.
    pub switches: Vec<Switch>,
    /// Devices.
    pub devices: Vec<Device>,
    /// Physical PCIe links.
    pub links: Vec<Link>,
    /// All PCI functions; edges lead downstream.
    pub functions: Graph<Function, Attachment>,
    /// Non-transparent bridges: the devices that are their two sides.
    pub ntbs: Vec<(usize, usize)>,
    /// Private interconnects between devices, or devices and CPUs.
    pub interconnects: Vec<Interconnect>,
    /// What only captures of real machines say.
    pub capture: Capture,
    /// What the source did not say about the machine as a whole.
    pub assumed: Facts,
}

/// What a capture says about a machine as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Capture {
    /// Command line of the kernel that ran.
    pub cmdline: Option<String>,
    /// How it used an IOMMU.
    pub iommu: Option<IommuMode>,
    /// A kernel was running: ACS words and payload sizes are those it had set.
    pub running: bool,
    /// Where memory lies: index of the CPU, and the range. Empty where only sizes are known.
    pub memory: Vec<(usize, Range<CpuAddr>)>,
}

/// How a kernel uses an IOMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum IommuMode {
    /// There is none, or it is off.
    None,
    /// It is on, and devices see CPU addresses.
    Passthrough,
    /// It translates.
    Translate,
}

impl IommuMode {
    /// True when an IOMMU driver runs, and so asks for ACS.
    pub fn is_on(self) -> bool {
        self != IommuMode::None
    }
}

/// A CPU package.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// `cpu0`, `cpu1`, …
    pub name: String,
    /// What it is.
    pub part: CpuPart,
    /// Its local memory.
    pub memory: Bytes,
    /// What its source did not say.
    pub assumed: Facts,
}

/// A link between two CPU packages.
#[derive(Clone, Debug)]
pub struct CpuLink {
    /// Index of one end in [`Machine::cpus`].
    pub from: usize,
    /// Index of the other end.
    pub to: usize,
    /// What it is.
    pub part: CpuLinkPart,
}

/// A host bridge: the top of one PCI hierarchy.
#[derive(Clone, Debug)]
pub struct HostBridge {
    /// `host0`, `host1`, …
    pub name: String,
    /// Index of the CPU it belongs to.
    pub cpu: usize,
    /// PCI domain.
    pub domain: u32,
    /// Root bus number.
    pub bus: u8,
    /// Highest bus number below it.
    pub bus_last: u8,
    /// Address windows.
    pub windows: Vec<Window>,
    /// Functions on the root bus, in device order.
    pub functions: Vec<FunctionIndex>,
    /// A running kernel had placed everything below that it could: what has no address has none.
    pub placed: bool,
    /// What its source did not say.
    pub assumed: Facts,
}

/// An address window of a host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Where the CPU sees it.
    pub cpu: Range<CpuAddr>,
    /// Bus address of its first byte.
    pub bus: BusAddr,
    /// What may be placed in it.
    pub kind: ResourceKind,
}

/// A switch chip.
#[derive(Clone, Debug)]
pub struct Switch {
    /// Path, such as `host0/rp1/sw0`.
    pub name: String,
    /// What it is.
    pub part: SwitchPart,
    /// Its upstream port's function.
    pub upstream: FunctionIndex,
    /// Its downstream ports' functions, in device order.
    pub downstream: Vec<FunctionIndex>,
    /// How it chooses between its ports.
    pub arbitration: Arbitration,
    /// What its source did not say.
    pub assumed: Facts,
}

/// Virtual channel 1 of a link: buffers of its own at both ends, for some traffic classes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualChannel {
    /// Traffic classes that take it, of 1 to 7; all others take virtual channel 0.
    pub traffic_classes: Vec<u8>,
    /// Its share of the receive buffers in hundredths, 1 to 99.
    pub buffers: u8,
    /// True when it goes first whenever it has something; false when both channels take turns. Default true, as after reset.
    #[serde(default = "always")]
    pub strict: bool,
}

fn always() -> bool {
    true
}

/// How a switch chooses which of its ports may send next to the same port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Arbitration {
    /// One packet of each that has one, in turn.
    #[default]
    RoundRobin,
    /// That many packets of each: of the upstream port, then of the downstream ports in the order of the file; 1 where
    /// none is given. Each at least 1, together at most 256.
    WeightedRoundRobin(Vec<u16>),
}

/// Which orderings other than the strict one a device is allowed to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderingEnables {
    /// Relaxed Ordering of its requests.
    pub relaxed: bool,
    /// ID-based Ordering of its requests and completions.
    pub id_based: bool,
}

impl Default for OrderingEnables {
    /// As after reset.
    fn default() -> OrderingEnables {
        OrderingEnables { relaxed: true, id_based: false }
    }
}

/// A device with one or more functions.
#[derive(Clone, Debug)]
pub struct Device {
    /// Unique short name, such as `gpu0`.
    pub name: String,
    /// What it is.
    pub part: DevicePart,
    /// Its functions; the first carries the BARs of the part.
    pub functions: Vec<FunctionIndex>,
    /// Local memory behind its largest BAR.
    pub memory: Option<Bytes>,
    /// Its link; `None` for a device integrated in the CPU package.
    pub link: Option<usize>,
    /// Largest read request it is programmed for at power on.
    pub max_read_request: Bytes,
    /// What it is programmed for at power on of what packets may do with others.
    pub ordering: OrderingEnables,
    /// The table by which its largest memory BAR shows its memory, if it has one.
    pub aperture: Option<AperturePart>,
    /// What its source did not say.
    pub assumed: Facts,
}

/// A physical PCIe link.
#[derive(Clone, Debug)]
pub struct Link {
    /// Path of the port or device at its lower end.
    pub name: String,
    /// The function at its upper end: a root port or a switch downstream port. `None` for a port that software
    /// cannot see: of the switch [`Link::hidden_below`], or else of the host bridge of [`Link::lower`].
    pub upper: Option<FunctionIndex>,
    /// The switch whose invisible port is its upper end. `None` with [`Link::upper`] also `None` for an invisible
    /// root port, as virtual machines show the devices they are given: then [`Link::lower`] is on a root bus.
    pub hidden_below: Option<usize>,
    /// First function at its lower end: a switch upstream port or a device's first function.
    pub lower: FunctionIndex,
    /// PCIe generation, 1–7.
    pub generation: u8,
    /// Lanes: 1, 2, 4, 8, 12, 16 or 32.
    pub lanes: u8,
    /// A second virtual channel, if it has one.
    pub virtual_channel: Option<VirtualChannel>,
    /// Time along wires and through retimers, each direction.
    pub propagation: Picos,
    /// How often a bit arrives wrong.
    pub bit_errors: BitErrorRate,
    /// What its source did not say.
    pub assumed: Facts,
}

/// How a function hangs below the one above it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attachment {
    /// Across the link with that index in [`Machine::links`].
    Link(usize),
    /// Inside a switch: from its upstream port to a downstream port or to an endpoint behind an invisible port.
    Internal,
}

/// What a PCI function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A function on a root bus that is neither a root port nor a device of interest.
    RootBusHead,
    /// A root port.
    RootPort,
    /// Upstream port of the switch with that index.
    SwitchUpstream(usize),
    /// Downstream port of the switch with that index.
    SwitchDownstream(usize),
    /// A function of the device with that index.
    Endpoint(usize),
}

/// A PCI function as built; what software programs into it is in [`crate::Registers`].
#[derive(Clone, Debug)]
pub struct Function {
    /// Path, such as `host0/rp1/sw0/p2` or `host0/rp1/sw0/p2/gpu2`.
    pub name: String,
    /// Where its source says it is. Without one, the device number is chosen when registers are built and bus
    /// numbers by the operating system.
    pub id: Option<FunctionId>,
    /// Index of its host bridge.
    pub host_bridge: usize,
    /// What it is.
    pub role: Role,
    /// Vendor and device.
    pub pci: PciId,
    /// Subsystem vendor and device; zero when not known.
    pub subsystem: PciId,
    /// Class code, 24 bits.
    pub class: u32,
    /// Base address registers.
    pub bars: Vec<Bar>,
    /// ACS capability and the control word at power on.
    pub acs: Option<Acs>,
    /// Largest payload it supports.
    pub max_payload: Bytes,
    /// Bus numbers and windows programmed by firmware, for a bridge.
    pub firmware: Option<BridgeFirmware>,
    /// What its source shows of its configuration space beyond what role and part imply.
    pub config: Config,
    /// True when no source mentions it, and it was added because a hierarchy needs it.
    pub inserted: bool,
    /// What its source did not say.
    pub assumed: Facts,
}

/// A base address register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bar {
    /// Register number, 0–5.
    pub index: u8,
    /// Size, a power of two.
    pub size: Bytes,
    /// Kind of the space it asks for.
    pub kind: ResourceKind,
    /// Sizes of its Resizable BAR capability: bit n set means 2^n MiB.
    pub resizable: Option<u64>,
    /// Address programmed by firmware.
    pub address: Option<BusAddr>,
}

/// ACS words of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acs {
    /// What it can do.
    pub capability: u16,
    /// Control word that firmware leaves.
    pub control: u16,
}

/// What firmware programs into a bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgeFirmware {
    /// Secondary bus number.
    pub secondary: u8,
    /// Subordinate bus number.
    pub subordinate: u8,
    /// Windows: kind and bus addresses.
    pub windows: Vec<(ResourceKind, Range<BusAddr>)>,
}

/// A private interconnect.
#[derive(Clone, Debug)]
pub struct Interconnect {
    /// `interconnect0`, … or the name its file gives.
    pub name: String,
    /// What it is.
    pub part: InterconnectPart,
    /// Who is linked to whom. A switched interconnect lists every pair of members once, lower first, with the links of one
    /// member.
    pub edges: Vec<Edge>,
}

/// A member of a private interconnect, by index; devices come before CPUs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Member {
    /// A device: its memory, and its copy engines.
    Device(usize),
    /// A CPU package: its memory, and its cores.
    Cpu(usize),
}

/// Private links between two members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The member that its file names first: from it the part's `rate` counts, towards it `rate_back`.
    pub from: Member,
    /// The other one.
    pub to: Member,
    /// Parallel links.
    pub links: u32,
}

impl Machine {
    /// The function above `function`, or `None` on a root bus.
    pub fn parent(&self, function: FunctionIndex) -> Option<FunctionIndex> {
        self.functions.neighbors_directed(function, petgraph::Direction::Incoming).next()
    }

    /// How `function` hangs below its parent; `None` on a root bus.
    pub fn attachment(&self, function: FunctionIndex) -> Option<Attachment> {
        let edge = self.functions.edges_directed(function, petgraph::Direction::Incoming).next()?;
        Some(*petgraph::visit::EdgeRef::weight(&edge))
    }

    /// Functions directly below `function`, in order of insertion.
    pub fn children(&self, function: FunctionIndex) -> Vec<FunctionIndex> {
        let mut below: Vec<_> = self.functions.neighbors(function).collect();
        below.sort();
        below
    }

    /// CPUs that share a private interconnect with a device, in order.
    pub fn cpus_beside(&self, device: usize) -> Vec<usize> {
        let edges = self.interconnects.iter().flat_map(|interconnect| &interconnect.edges);
        let beside = edges.filter_map(|edge| match (edge.from, edge.to) {
            (Member::Device(of), Member::Cpu(cpu)) | (Member::Cpu(cpu), Member::Device(of)) => {
                (of == device).then_some(cpu)
            }
            _ => None,
        });
        beside.collect::<std::collections::BTreeSet<usize>>().into_iter().collect()
    }

    /// The device with that short name or with that path.
    pub fn device(&self, name: &str) -> Option<usize> {
        self.devices
            .iter()
            .position(|device| device.name == name || self.functions[device.functions[0]].name == name)
    }
}
