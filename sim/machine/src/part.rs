//! Parts: what a data sheet says about a CPU, a switch, a device or an interconnect.
//!
//! A part holds every number the simulator needs about one product, and `sources` names for each field where
//! its number comes from, or the word `assumed`. Machines refer to parts by `id`; importers find them by PCI id
//! or class. Nothing in the simulator branches on a part's name.

use std::collections::BTreeMap;

use peerbus_units::{Bytes, Picos, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod cxl;
mod dma;
mod memory;

use crate::file::is_false;

mod root_complex;

pub use cxl::{CxlMemoryPart, CxlPortPart};
pub use dma::{CopyPart, DmaPart};
pub use memory::{AperturePart, NtbPart};
pub use root_complex::{CachePart, IommuPart, PeerLimits};

/// Where each field's number comes from: field name → source, or `assumed`.
pub type Sources = BTreeMap<String, String>;

/// One entry of the catalogue.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Part {
    /// A CPU package with its root complex and memory.
    Cpu(CpuPart),
    /// A PCIe switch chip.
    Switch(SwitchPart),
    /// A device: GPU, NIC, SSD, …
    Device(DevicePart),
    /// A link between two CPU packages.
    CpuLink(CpuLinkPart),
    /// A private link or fabric between devices, or devices and CPUs.
    Interconnect(InterconnectPart),
}

impl Part {
    /// The name machines use.
    pub fn id(&self) -> &str {
        match self {
            Part::Cpu(part) => &part.id,
            Part::Switch(part) => &part.id,
            Part::Device(part) => &part.id,
            Part::CpuLink(part) => &part.id,
            Part::Interconnect(part) => &part.id,
        }
    }

    /// Where its numbers come from.
    pub fn sources(&self) -> &Sources {
        match self {
            Part::Cpu(part) => &part.sources,
            Part::Switch(part) => &part.sources,
            Part::Device(part) => &part.sources,
            Part::CpuLink(part) => &part.sources,
            Part::Interconnect(part) => &part.sources,
        }
    }
}

/// Vendor and device id of a PCI function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PciId {
    /// Vendor id, 16 bits.
    pub vendor: u16,
    /// Device id, 16 bits.
    pub device: u16,
}

/// A receiver's buffer for one kind of TLP, in flow-control credits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credits {
    /// TLP headers; 0 means infinite, as the specification writes it.
    pub header: u16,
    /// Payload in units of 16 bytes; 0 means infinite.
    pub data: u16,
}

/// Receive buffers of one port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Buffers {
    /// Posted requests (memory writes).
    pub posted: Credits,
    /// Non-posted requests (memory reads).
    pub non_posted: Credits,
    /// Completions.
    pub completion: Credits,
}

/// A PCI function on a root bus that is not a root port; Linux looks at the first one to recognise a host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootBusHead {
    /// Vendor and device.
    pub id: PciId,
    /// Class code, 24 bits: base class, subclass, programming interface.
    pub class: u32,
}

/// A CPU package.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuPart {
    /// Name machines use.
    pub id: String,
    /// Product name and what else a person wants to know.
    pub description: String,
    /// `AuthenticAMD`, `GenuineIntel`, … as in /proc/cpuinfo.
    pub vendor: String,
    /// CPU family as the kernel counts it (0x17 for Zen).
    pub family: u32,
    /// CPU models of that family that this part stands for.
    pub models: Vec<u32>,
    /// Width of a physical address in bits.
    pub physical_bits: u8,
    /// Width of a virtual address in bits: 57 with page tables of five levels, 48 with four. Absent: not known; then five are
    /// taken to be there where more than 46 bits of physical address need them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_bits: Option<u8>,
    /// Host bridges (root buses) of one package; used by synthetic machines.
    pub host_bridges: u8,
    /// First function of each root bus, when it is not a root port.
    pub root_bus_head: Option<RootBusHead>,
    /// Vendor and device of a root port.
    pub root_port: PciId,
    /// Fastest generation of a root port, 1–7.
    pub generation: u8,
    /// Widest root port in lanes.
    pub lanes: u8,
    /// Largest payload a root port supports.
    pub max_payload: Bytes,
    /// ACS capability word of a root port; absent when it has none.
    pub acs: Option<u16>,
    /// Read completion boundary: where completions of host memory reads may be cut.
    pub read_completion_boundary: Bytes,
    /// Payload rate that one root port sustains in each direction, whatever its link could carry.
    pub root_port_rate: Option<Rate>,
    /// Whether the root complex forwards requests between two root ports.
    pub peer_to_peer: bool,
    /// From a root port's pins to the CPU's internal network, or back, one way.
    pub root_port_latency: Picos,
    /// Across the CPU's internal network, one way: from one host bridge to memory or to another host bridge.
    pub network_latency: Picos,
    /// Rate between one host bridge and the internal network, each direction.
    pub host_bridge_rate: Rate,
    /// From a read request at the memory controller to its first data.
    pub memory_latency: Picos,
    /// Rate of all memory controllers together.
    pub memory_rate: Rate,
    /// Rate of writes from devices into memory alone, where it is less than `memory_rate`: a write takes the memory for its
    /// length at this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_write_rate: Option<Rate>,
    /// IOMMU in front of each host bridge; without it translating takes no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iommu: Option<IommuPart>,
    /// Cache in front of memory; without it every access takes `memory_latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachePart>,
    /// Limits for requests between its ports; without them links decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_limits: Option<PeerLimits>,
    /// What its root ports do with CXL memory; absent: they have PCIe only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cxl: Option<CxlPortPart>,
    /// Read requests that it answers in turn, a completion of each, 1 to 64; default 1: one after the other. Completions of one
    /// request stay in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_in_turn: Option<u8>,
    /// Receive buffers of a root port.
    pub buffers: Buffers,
    /// How one of its cores reaches memory of devices; absent: [`CorePart::default`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<CorePart>,
    /// How long it takes for the page structs of device memory; absent: [`PageStructPart::default`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_structs: Option<PageStructPart>,
    /// Where the numbers come from.
    pub sources: Sources,
}

impl CpuPart {
    /// True when the CPU, which tells software of `physical_bits`, walks page tables of five levels. They alone let an x86
    /// kernel use more than 46 bits of physical address.
    pub fn has_five_levels(&self, physical_bits: u32) -> bool {
        self.virtual_bits.map_or(physical_bits > 46, |bits| bits > 48)
    }
}

/// What a CPU takes for the initialisation of page structs, each for a page of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageStructPart {
    /// The memory of the struct has just been allocated.
    pub cold: Picos,
    /// The memory held page structs shortly before.
    pub warm: Picos,
    /// What kernels with a faster initialisation (posted in 2026) save of both.
    pub posted_saving: Picos,
}

impl Default for PageStructPart {
    /// Of the CPU that was measured (see the part `intel-ice-lake-sp`); assumed for others.
    fn default() -> PageStructPart {
        PageStructPart { cold: Picos(56_400), warm: Picos(10_000), posted_saving: Picos(6_000) }
    }
}

/// How one core of a CPU stores to and loads from memory of devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorePart {
    /// From an instruction until its request is on the CPU's internal network.
    pub latency: Picos,
    /// Rate at which it fills write-combining buffers, or asks for lines.
    pub rate: Rate,
    /// Write-combining buffers of 64 bytes; at least 1.
    pub write_buffers: u16,
    /// From a buffer being sent until it is free again: the internal network has accepted it.
    pub write_hold: Picos,
    /// Lines that streaming loads from write-combining memory ask for at a time; at least 1.
    pub streaming_loads: u16,
}

impl Default for CorePart {
    /// Of the cores that were measured (see the part `intel-broadwell-ep`); assumed for others.
    fn default() -> CorePart {
        CorePart {
            latency: Picos::nanos(22),
            rate: Rate::new(20, 1000).expect("20 GB/s is a rate"),
            write_buffers: 10,
            write_hold: Picos::nanos(66),
            streaming_loads: 10,
        }
    }
}

/// A PCIe switch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchPart {
    /// Name machines use.
    pub id: String,
    /// Product name and what else a person wants to know.
    pub description: String,
    /// Ids under which its ports appear; the first is used where a file gives none.
    pub pci: Vec<PciId>,
    /// Ports in all, upstream included.
    pub ports: u8,
    /// Lanes in all.
    pub total_lanes: u16,
    /// Fastest generation, 1–7.
    pub generation: u8,
    /// Widest port in lanes.
    pub lanes: u8,
    /// Largest payload a port supports.
    pub max_payload: Bytes,
    /// ACS capability word of a downstream port; absent when it has none.
    pub acs: Option<u16>,
    /// Pin to pin, cut-through, without contention; of a chip that stores packets, from the last byte in to the first out.
    pub latency: Picos,
    /// True when a packet is sent on only after it has arrived whole; default: it is sent on while it arrives, if the next
    /// link is not faster.
    #[serde(default, skip_serializing_if = "is_false")]
    pub store_and_forward: bool,
    /// What came in by one port leaves in the order in which it came, whatever port it leaves by, one packet at a time:
    /// a packet whose way is not free holds up all behind it. Otherwise each port has a queue per output.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_order: bool,
    /// Its ports speak CXL too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cxl: bool,
    /// Receive buffers of a port.
    pub buffers: Buffers,
    /// Where the numbers come from.
    pub sources: Sources,
}

/// What a device is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub enum DeviceKind {
    /// Graphics or compute accelerator with memory.
    Gpu,
    /// Network adapter.
    Nic,
    /// NVMe drive.
    Ssd,
    /// Anything else.
    Other,
}

impl DeviceKind {
    /// What a device of that class code (24 bits) is for.
    pub fn of_class(class: u32) -> DeviceKind {
        match class >> 16 {
            0x03 | 0x12 => DeviceKind::Gpu,
            0x02 => DeviceKind::Nic,
            _ if class >> 8 == 0x0108 => DeviceKind::Ssd,
            _ => DeviceKind::Other,
        }
    }

    /// The stem of generated names: `gpu`, `nic`, `ssd`, `dev`.
    pub fn stem(self) -> &'static str {
        match self {
            DeviceKind::Gpu => "gpu",
            DeviceKind::Nic => "nic",
            DeviceKind::Ssd => "ssd",
            DeviceKind::Other => "dev",
        }
    }
}

/// Kind of an address window or a base address register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub enum ResourceKind {
    /// I/O ports.
    Io,
    /// 32-bit memory, not prefetchable.
    Mem32,
    /// 32-bit prefetchable memory.
    Mem32Prefetch,
    /// 64-bit memory, not prefetchable.
    Mem64,
    /// 64-bit prefetchable memory.
    Mem64Prefetch,
}

impl ResourceKind {
    /// True for the 64-bit kinds.
    pub fn is_64bit(self) -> bool {
        matches!(self, ResourceKind::Mem64 | ResourceKind::Mem64Prefetch)
    }

    /// True for the prefetchable kinds.
    pub fn is_prefetchable(self) -> bool {
        matches!(self, ResourceKind::Mem32Prefetch | ResourceKind::Mem64Prefetch)
    }
}

/// A base address register of a device part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BarPart {
    /// Register number, 0–5. A 64-bit BAR uses the next one too.
    pub index: u8,
    /// Size, a power of two.
    pub size: Bytes,
    /// Kind of the space it asks for.
    pub kind: ResourceKind,
    /// With a Resizable BAR capability: bit n set means 2^n MiB is supported.
    pub resizable: Option<u64>,
}

/// A device.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DevicePart {
    /// Name machines use.
    pub id: String,
    /// Product name and what else a person wants to know.
    pub description: String,
    /// What it is for.
    pub kind: DeviceKind,
    /// Ids under which it appears; empty for a generic part that stands for a class.
    pub pci: Vec<PciId>,
    /// Class code, 24 bits.
    pub class: u32,
    /// Fastest generation of its link, 1–7.
    pub generation: u8,
    /// Widest link in lanes.
    pub lanes: u8,
    /// Largest payload it supports.
    pub max_payload: Bytes,
    /// Largest read request its firmware or driver programs.
    pub max_read_request: Bytes,
    /// Read requests it keeps outstanding.
    pub tags: u16,
    /// Its base address registers.
    pub bars: Vec<BarPart>,
    /// Local memory behind its largest BAR.
    pub memory: Option<Bytes>,
    /// ACS capability word of the function; absent when it has none.
    pub acs: Option<u16>,
    /// Payload rate at which its DMA engine issues writes.
    pub write_rate: Rate,
    /// Payload rate at which its DMA engine issues reads.
    pub read_rate: Rate,
    /// A read is given up when it is not completed within this time: 50us to 50ms by default of the specification, whose
    /// end is taken for a part that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_timeout: Option<Picos>,
    /// From an engine's start, or a completion's arrival, to the next dependent request on the wire.
    pub request_latency: Picos,
    /// From a read request at its pins to the first completion at its pins.
    pub completer_latency: Picos,
    /// Rate at which it takes writes to, or serves reads from, its BARs.
    pub memory_rate: Rate,
    /// Its cache of translations, if it has one and the ATS capability with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atc: Option<AtcPart>,
    /// Its memory is one that a CPU uses as its own, by CXL.mem; absent: it has PCIe only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cxl: Option<CxlMemoryPart>,
    /// Read requests that it answers in turn, a completion of each, 1 to 64; default 1: one after the other. Completions of one
    /// request stay in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_in_turn: Option<u8>,
    /// Receive buffers of its port.
    pub buffers: Buffers,
    /// How its DMA engine handles transfers; absent: it starts after `request_latency` and takes what arrives at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dma: Option<DmaPart>,
    /// The table by which its largest memory BAR shows its memory; absent: from the first byte on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aperture: Option<AperturePart>,
    /// What it does as one side of a non-transparent bridge, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ntb: Option<NtbPart>,
    /// What its controller does with commands, for an NVMe drive; absent: [`NvmePart::default`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvme: Option<NvmePart>,
    /// Where the numbers come from.
    pub sources: Sources,
}

/// A device's cache of translations (Address Translation Services), used when the kernel enables it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AtcPart {
    /// Pages it keeps, whatever their size; 1 to 4096.
    pub entries: u16,
    /// Translation requests it has under way at a time, those for pages it will come to included; 1 to 256.
    pub requests: u16,
    /// Pages that are not there that it asks for at a time (Page Request Interface), at most 256; 0, the default: it cannot,
    /// and is refused what lies in them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub page_requests: u16,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// What the controller of an NVMe drive does with a command beside moving data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NvmePart {
    /// From having a read command until its data is in the controller.
    pub read_latency: Picos,
    /// From having the data of a write command until it is safe.
    pub write_latency: Picos,
    /// Commands it begins per second, whatever their size; at least 1.
    pub commands_per_second: u64,
    /// Memory of the controller that hosts can use; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_buffer: Option<MemoryBufferPart>,
}

/// A controller memory buffer (NVMe Base Specification), as its registers describe it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryBufferPart {
    /// The BAR that it lies in.
    pub bar: u8,
    /// Bytes of the BAR before it. Both this and the size are numbers below 2^20 of one of the units 4 KiB, 64 KiB, 1 MiB and so on
    /// to 64 GiB.
    #[serde(default)]
    pub offset: Bytes,
    /// Bytes. What of it lies beyond the BAR is not there.
    pub size: Bytes,
    /// Commands can have data there that they read; default: yes.
    #[serde(default = "yes")]
    pub read_data: bool,
    /// Commands can have data there that they write; default: yes.
    #[serde(default = "yes")]
    pub write_data: bool,
}

fn yes() -> bool {
    true
}

impl MemoryBufferPart {
    /// Whether registers can describe it and one of `bars` holds its beginning.
    pub fn is_possible(&self, bars: &[BarPart]) -> bool {
        let fits = |unit: u64, bytes: Bytes| bytes.0.is_multiple_of(unit) && bytes.0 / unit < 1 << 20;
        let mut units = (0..7).map(|step| 4096 << (4 * step));
        let bar = bars.iter().any(|bar| bar.index == self.bar && bar.size > self.offset);
        bar && self.size > Bytes::ZERO && units.any(|unit| fits(unit, self.offset) && fits(unit, self.size))
    }
}

impl Default for NvmePart {
    /// A data-centre drive with TLC flash and power-loss protection: reads wait for flash, writes for the buffer. Assumed.
    fn default() -> NvmePart {
        NvmePart {
            read_latency: Picos::nanos(60_000),
            write_latency: Picos::nanos(8_000),
            commands_per_second: 3_000_000,
            memory_buffer: None,
        }
    }
}

/// A link between CPU packages.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuLinkPart {
    /// Name machines use.
    pub id: String,
    /// Product name and what else a person wants to know.
    pub description: String,
    /// Payload rate in each direction.
    pub rate: Rate,
    /// Rate in each direction of what devices send to devices of the other package, or read from them, where it is less:
    /// memory is spread over all links between two packages, and an address of a device belongs to one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_rate: Option<Rate>,
    /// One way.
    pub latency: Picos,
    /// Where the numbers come from.
    pub sources: Sources,
}

/// A private link between devices, or between a device and a CPU.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterconnectPart {
    /// Name machines use.
    pub id: String,
    /// Product name and what else a person wants to know.
    pub description: String,
    /// Rate of one link (one of `links`), packet headers included: from the member that a pair names first to the other, or
    /// from a member to the switch. The other way it is the same unless `rate_back` says otherwise.
    pub rate: Rate,
    /// Rate of one link the other way, from `to` of a pair to its `from`, or from the switch to a member; absent: `rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_back: Option<Rate>,
    /// Largest payload of a packet.
    #[serde(default = "default_packet_payload")]
    pub packet_payload: Bytes,
    /// Bytes of a packet beside its payload; a request for data is as long.
    #[serde(default)]
    pub packet_header: Bytes,
    /// Payload is rounded up to a multiple of this.
    #[serde(default = "default_packet_unit")]
    pub packet_unit: Bytes,
    /// One way, from member to member, switch included if there is one. A CPU ends where its internal network begins.
    pub latency: Picos,
    /// True when all members reach each other through a switch at full rate.
    pub switched: bool,
    /// Where the numbers come from.
    pub sources: Sources,
}

fn default_packet_payload() -> Bytes {
    Bytes(256)
}

fn default_packet_unit() -> Bytes {
    Bytes(16)
}
