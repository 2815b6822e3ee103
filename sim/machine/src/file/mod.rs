//! The machine file: the shape people write and importers produce.
//!
//! Every field is optional here and every scalar is a [`Leaf`], so that reading never stops at the first
//! problem: what is missing, dangling or impossible is found when the file is lowered into
//! [`crate::model::Machine`], all of it at once and each with its place in the text.

mod config;
mod leaf;

pub use config::{BridgeWindow, Buses, Config, Express, Rom, Sriov};
pub use leaf::Leaf;
pub(crate) use leaf::ron_options;

use peerbus_units::{BitErrorRate, BusAddr, Bytes, CpuAddr, FunctionId, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Arbitration, Fact, IommuMode, VirtualChannel};
use crate::part::{AperturePart, Part, PciId, ResourceKind};

/// A machine as written in a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// Name for reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Where the facts come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Leaf<String>>,
    /// Parts defined here, beside those of the catalogue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Leaf<Part>>,
    /// CPU packages, or NUMA nodes where only those are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<Cpu>,
    /// Links between CPU packages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpu_links: Vec<CpuLink>,
    /// Host bridges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_bridges: Vec<HostBridge>,
    /// Private interconnects between devices, or devices and CPUs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interconnects: Vec<Interconnect>,
    /// Non-transparent bridges between two hierarchies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ntbs: Vec<Ntb>,
    /// How the kernel of a capture was told to behave; counts where neither a scenario nor the command line says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// Facts about the whole machine that the source does not state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<Leaf<Fact>>,
}

/// What a capture says of the kernel that ran.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// True when ACS words and payload sizes are those that the kernel had set, so that nothing is to be set again.
    #[serde(skip_serializing_if = "is_false")]
    pub running: bool,
    /// Its command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Leaf<String>>,
    /// How it used an IOMMU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iommu: Option<Leaf<IommuMode>>,
}

/// A CPU package.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cpu {
    /// CPU part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Leaf<String>>,
    /// Local memory; default the sum of `ranges`, or else 64GiB, then marked assumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<Bytes>>,
    /// Where its memory lies; around address windows when not given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<MemoryRange>,
    /// Facts the source does not state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<Leaf<Fact>>,
}

/// A piece of memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryRange {
    /// First address as the CPU sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Leaf<CpuAddr>>,
    /// Size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
}

/// A link between two CPU packages.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CpuLink {
    /// Index of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Leaf<usize>>,
    /// Index of the other CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Leaf<usize>>,
    /// CPU link part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Leaf<String>>,
}

/// A host bridge.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostBridge {
    /// Index of the CPU it belongs to; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Leaf<usize>>,
    /// PCI domain; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Leaf<u32>>,
    /// Root bus number; chosen so that the buses below fit when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<Leaf<u8>>,
    /// Highest bus number below it; up to the next host bridge of the domain when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus_last: Option<Leaf<u8>>,
    /// Address windows; laid out by rule when not given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// First function of the root bus, when it is not a root port; default: what the CPU part has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Further functions of the root bus that are neither ports nor devices of interest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<Head>,
    /// True when every function of the root bus is described, so that the CPU part adds no head.
    #[serde(skip_serializing_if = "is_false")]
    pub complete: bool,
    /// True when a running kernel had placed everything below that it could: what has no address is left without.
    #[serde(skip_serializing_if = "is_false")]
    pub placed: bool,
    /// Root ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Devices directly on the root bus: integrated in the CPU package, or, with a `link`, behind a root port that
    /// software cannot see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Bridges from the root bus to conventional PCI buses: what is below them is their `devices` and `bridges`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<Switch>,
    /// Facts the source does not state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<Leaf<Fact>>,
}

/// The first function of a root bus.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Head {
    /// Where it is; default device 0, function 0 of the root bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Leaf<FunctionId>>,
    /// Vendor and device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci: Option<Leaf<PciId>>,
    /// Class code, 24 bits; default 0x060000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Leaf<u32>>,
    /// Subsystem vendor and device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subsystem: Option<Leaf<PciId>>,
    /// What a source shows of its configuration space beyond what its role implies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<Config>>,
}

/// An address window of a host bridge.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Window {
    /// First address as the CPU sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Leaf<CpuAddr>>,
    /// Bus address of that byte; default the same number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<Leaf<BusAddr>>,
    /// Size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
    /// What may be placed in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Leaf<ResourceKind>>,
}

/// A root port or a switch downstream port, and what hangs below it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Port {
    /// Where the port's function is; chosen in order when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Leaf<FunctionId>>,
    /// Vendor and device; default: what the CPU or switch part has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci: Option<Leaf<PciId>>,
    /// Class code, 24 bits; default 0x060400.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Leaf<u32>>,
    /// Base address registers of the port itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<Bar>,
    /// ACS words; default: the part's capability and a cleared control word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs: Option<Acs>,
    /// What a source shows of its configuration space beyond what its role implies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<Config>>,
    /// The link below the port; default: the fastest and widest that both ends support.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// What is connected; nothing when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<Box<Below>>,
    /// What else is at the end of the same link: further functions that are no part of what is `below`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Below>,
    /// True when no source mentions this port.
    #[serde(skip_serializing_if = "is_false")]
    pub inserted: bool,
    /// Facts the source does not state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<Leaf<Fact>>,
}

pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

/// What a port's link leads to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Below {
    /// A switch.
    Switch(Box<Switch>),
    /// A device.
    Device(Box<Device>),
}

/// ACS words of a function.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Acs {
    /// Capability word; 0 for a function without the capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<Leaf<u16>>,
    /// Control word that firmware leaves; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Leaf<u16>>,
}

/// A PCIe link. In files, `gen` stands for the generation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// PCIe generation, 1–7.
    #[serde(rename = "gen", skip_serializing_if = "Option::is_none")]
    pub generation: Option<Leaf<u8>>,
    /// Lanes: 1, 2, 4, 8, 12, 16 or 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<Leaf<u8>>,
    /// Retimers on the way, 0 to 2; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retimers: Option<Leaf<u8>>,
    /// What one retimer adds in each direction, at most 1us; default 20ns (assumed: products state 10 to 50 ns, and the
    /// specification allows 64 ns from 5 GT/s on).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retimer_latency: Option<Leaf<Picos>>,
    /// Along the wires in each direction, at most 1us; default 0, about 2ns per 30 cm of board and 5ns per metre of cable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<Leaf<Picos>>,
    /// Virtual channel 1, such as `(traffic_classes: [7], buffers: 25)`: those classes have 25 of 100 receive buffers to
    /// themselves in both directions, and go first unless `strict: false`. Default: one channel for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_channel: Option<Leaf<VirtualChannel>>,
    /// How often a bit arrives wrong, in each direction, at most 1e-4; default 0. The specification asks for 1e-12 up to
    /// 32 GT/s, and for 1e-6 before error correction from 64 GT/s on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_error_rate: Option<Leaf<BitErrorRate>>,
}

/// A switch chip.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Switch {
    /// Switch part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Leaf<String>>,
    /// Where its upstream port's function is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Leaf<FunctionId>>,
    /// Vendor and device of the upstream port; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci: Option<Leaf<PciId>>,
    /// Class code of the upstream port, 24 bits; default 0x060400.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Leaf<u32>>,
    /// Base address registers of the upstream port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<Bar>,
    /// ACS words of the upstream port; default: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs: Option<Acs>,
    /// What a source shows of its upstream port's configuration space beyond what its role implies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<Config>>,
    /// Name of the chip of which it is one of several partitions (virtual switches): their ports and lanes together are those
    /// of the part, and traffic between them goes by way of their roots. Default: a chip of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chip: Option<Leaf<String>>,
    /// How it chooses between ports that send to the same one; default `RoundRobin`. `WeightedRoundRobin([1, 3, 1])` gives
    /// a number of packets in turn to the upstream port, then to each of `ports`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arbitration: Option<Leaf<Arbitration>>,
    /// Downstream ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Devices behind ports that software cannot see: they answer on the switch's internal bus.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Bridges on its internal bus that lead to conventional PCI buses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<Switch>,
    /// True when no source mentions this switch as a function.
    #[serde(skip_serializing_if = "is_false")]
    pub inserted: bool,
    /// Facts the source does not state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<Leaf<Fact>>,
}

/// A device.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// Unique short name; `gpu0`, `nic1`, … in order when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Device part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Leaf<String>>,
    /// Where its first function is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Leaf<FunctionId>>,
    /// Vendor and device; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci: Option<Leaf<PciId>>,
    /// Subsystem vendor and device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subsystem: Option<Leaf<PciId>>,
    /// Class code, 24 bits; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Leaf<u32>>,
    /// Local memory; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<Bytes>>,
    /// Base address registers; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bars: Option<Vec<Bar>>,
    /// The table by which its largest memory BAR shows its memory, such as `(page: "64KiB")`; default: the part's, and for
    /// a part without one all memory from the first byte on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aperture: Option<Leaf<AperturePart>>,
    /// ACS words of the function; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs: Option<Acs>,
    /// What a source shows of its configuration space beyond what its role implies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<Config>>,
    /// Largest read request it is programmed for; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_read_request: Option<Leaf<Bytes>>,
    /// Whether its device control register lets its requests have Relaxed Ordering; default true, as after reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relaxed_ordering: Option<Leaf<bool>>,
    /// Whether its device control register lets its requests, and makes its completions, have ID-based Ordering; default
    /// false, as after reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_based_ordering: Option<Leaf<bool>>,
    /// Its link, when it is not below a port that states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// Further functions of the same device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<Function>,
    /// Facts the source does not state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<Leaf<Fact>>,
}

/// A further function of a device.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Function {
    /// Where it is; the next function number when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Leaf<FunctionId>>,
    /// Vendor and device; default: those of the first function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci: Option<Leaf<PciId>>,
    /// Class code, 24 bits; default: that of the first function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Leaf<u32>>,
    /// Subsystem vendor and device; default: those of the first function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subsystem: Option<Leaf<PciId>>,
    /// ACS words of the function; default: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs: Option<Acs>,
    /// What a source shows of its configuration space beyond what its role implies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<Config>>,
    /// Base address registers; none when not given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<Bar>,
}

/// A base address register.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bar {
    /// Register number, 0–5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<Leaf<u8>>,
    /// Size, a power of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
    /// True when its source shows that there is such a register and not how large: it is listed, and never placed.
    #[serde(skip_serializing_if = "is_false")]
    pub size_unknown: bool,
    /// Kind of the space it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Leaf<ResourceKind>>,
    /// Address that firmware programs; the operating system chooses one when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Leaf<BusAddr>>,
    /// Sizes of its Resizable BAR capability: bit n set means 2^n MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resizable: Option<Leaf<u64>>,
}

/// A private interconnect.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Interconnect {
    /// Name for reports; `interconnect0`, … when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Interconnect part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Leaf<String>>,
    /// Members of a switched interconnect: names of devices, and of CPUs (`cpu0`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Leaf<String>>,
    /// Links each member of a switched interconnect has; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Leaf<u32>>,
    /// Direct links between pairs of devices, or of a device and a CPU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Pair>,
}

/// A non-transparent bridge: two devices, of parts that are made for it, whose windows lead into each other's hierarchy.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ntb {
    /// The device that is one side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Leaf<String>>,
    /// The device that is the other side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Leaf<String>>,
}

/// Direct private links between two devices, or between a device and a CPU. A part with two rates has `rate` from the first to
/// the second, and `rate_back` the other way.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pair {
    /// A device, or a CPU by its index: `cpu0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Leaf<String>>,
    /// The other one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Leaf<String>>,
    /// Parallel links; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Leaf<u32>>,
}
