//! The scenario file: the shape people write.
//!
//! As in machine files, every field is optional here and every scalar is a [`Leaf`], so that reading never stops
//! at the first problem; what is missing or impossible is found by `load`, all of it at once and each with its
//! place. The types of [`peerbus_system::workload`] are what comes out.

mod measured;
mod set_up;
pub mod shared_buffer;
pub mod shared_virtual;

use std::collections::BTreeMap;

use peerbus_machine::file::Leaf;
use peerbus_system::event::What;
use peerbus_system::kernel::{AcsPolicy, IommuMode, MpsPolicy, ProfileName};
use peerbus_system::peer_memory::{Choose, Distribution, Policy, TargetMemory, Transfer, User};
use peerbus_system::workload::{
    AbsentPages, AccessKind, Addresses, CacheState, Concurrency, CpuMemory, DeviceRegion, Engine,
    HostDirection, Initiator, NicCommand, NvmeCommand, Packets, SubmissionQueue, Way, WhenRefused,
};
use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use measured::{How, Measured, MeasuredFrom};
pub use set_up::{Aperture, DeviceMemory, Requesters, Run};

/// A scenario as written in a file. The comment lines at its beginning say what it shows.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// A machine file, or a synthetic machine such as `2rc:2sw:4gpu@gen5x16`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Leaf<String>>,
    /// Seed of all random streams; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Leaf<u64>>,
    /// The kernel and its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// How DLLPs and skip ordered sets are charged; default `ByRule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_layer: Option<Leaf<LinkLayer>>,
    /// What happens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workload>,
    /// What goes wrong, and when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// What BARs with a table of pages show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apertures: Vec<Aperture>,
    /// Tables of requesters of non-transparent bridges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ntbs: Vec<Requesters>,
    /// What drivers do with the memory of their devices when the machine has come up; without it, nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_memory: Option<DeviceMemory>,
    /// Runs to make; each says how it differs from the rest of the file. One run when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Lists of values for fields by path, such as `"kernel.acs": [Off, On]`; `peerbus sweep run` runs every combination.
    /// `machine.` leads into the machine file, `[*]` to all elements of a list, `**` to any depth.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sweep: BTreeMap<String, Vec<Leaf<Anything>>>,
    /// Conditions that must hold, such as `flow.peer.throughput >= 24GB/s`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Leaf<String>>,
    /// Values that were measured on such a machine: the report sets what was simulated beside them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Measured>,
    /// Measured values in files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measured_from: Vec<MeasuredFrom>,
}

/// A value of a kind that only its place in a file tells; its text is what counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Anything, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Anything)
    }
}

impl Serialize for Anything {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl JsonSchema for Anything {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Anything".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["number", "string", "boolean"] })
    }
}

/// The kernel and its settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// Which kernel; default the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Leaf<ProfileName>>,
    /// Whether an IOMMU is in use, and how; default: what `cmdline` says, which without a word of it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iommu: Option<Leaf<IommuMode>>,
    /// What happens to ACS control words at boot; default: they stay as firmware left them, unless an IOMMU is in
    /// use or `cmdline` says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs: Option<Leaf<AcsPolicy>>,
    /// How payload sizes are chosen; default: what `cmdline` says, else that a function takes the size of the port
    /// above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mps: Option<Leaf<MpsPolicy>>,
    /// The kernel command line, such as `intel_iommu=on pci=realloc,pcie_bus_perf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Leaf<String>>,
}

/// How DLLPs and skip ordered sets are charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum LinkLayer {
    /// DLLPs are bytes on the reverse link, skip ordered sets shorten every link.
    ByRule,
    /// The accounting of closed-form models: a flat share of the encoded rate is left for TLPs.
    Flat {
        /// That share in parts per million, 1 to 1,000,000.
        share_ppm: u32,
    },
}

/// One run, as it differs from the rest of the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Variant {
    /// Its name; conditions put it in front of a flow, `redirect-on/peer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Leaf<String>>,
    /// Other kernel settings; those not named stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// Another accounting of the link layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_layer: Option<Leaf<LinkLayer>>,
    /// Workloads instead of those of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Vec<Workload>>,
    /// Events instead of those of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
    /// Apertures instead of those of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apertures: Option<Vec<Aperture>>,
    /// Tables of requesters instead of those of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntbs: Option<Vec<Requesters>>,
    /// Other conditions for device memory; those not named stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_memory: Option<DeviceMemory>,
}

/// Something that goes wrong, or right again, with a link or a device.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Event {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Leaf<Picos>>,
    /// The link: the path of its lower end, or the device there. `:up` or `:down` behind it means one direction of it, for
    /// `ErrorRate` and `LeakCredits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Leaf<String>>,
    /// The device, for `SurpriseRemove`, `StopCompleting` and `PoisonMemory`; for the last also a CPU, such as `cpu0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// What happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<Leaf<What>>,
}

/// One thing a run does.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Workload {
    /// A copy between two devices.
    Copy(Copy),
    /// Every ordered pair of devices.
    PairMatrix(PairMatrix),
    /// Everyone to everyone at once.
    AllToAll(AllToAll),
    /// Device to host memory and back.
    HostDma(HostDma),
    /// Clients allocate and free memory of other devices.
    PeerMemory(Box<PeerMemory>),
    /// Cores of a CPU copy to or from a device's BAR.
    CpuAccess(CpuAccess),
    /// Processors of a device load from or store to another device's memory.
    DeviceAccess(DeviceAccess),
    /// Commands of an NVMe drive, with their queues, doorbells and interrupts.
    NvmeIo(NvmeIo),
    /// Messages of a network adapter, with their descriptors, doorbells and interrupts.
    NicIo(NicIo),
    /// A process's memory, used by CPUs, GPUs and adapters by the same addresses.
    SharedVirtual(Box<shared_virtual::SharedVirtual>),
    /// A buffer of one device that others import (dma-buf).
    SharedBuffer(Box<shared_buffer::SharedBuffer>),
}

/// A copy from one device's memory to another's.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Copy {
    /// Name of the flow; unique in the scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Source device, such as `gpu0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Leaf<String>>,
    /// Destination device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Leaf<String>>,
    /// Bytes to copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Leaf<Bytes>>,
    /// Bytes per descriptor, at most 1GiB; default 2MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<Leaf<Bytes>>,
    /// Which end moves the data; default `Writer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Leaf<Engine>>,
    /// What to do where peer-to-peer is refused; default `Fail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Leaf<WhenRefused>>,
    /// Which way to take; default Fastest: a private interconnect between the two, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Leaf<Way>>,
    /// When to start; default at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Leaf<Picos>>,
    /// Added to every DMA address after the operating system returned it: a driver's bug, made to order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dma_shift: Option<Leaf<Bytes>>,
    /// Which addresses the driver gives the device; default `Dma`, those that the operating system returned for it. `Cpu`
    /// is a bug: those that a CPU would use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Leaf<Addresses>>,
    /// What the headers of its data say, such as `(relaxed_ordering: true)`; default: nothing special.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<Leaf<Packets>>,
    /// Bytes of memory before it, of the device that does not move the data; default: what its BAR shows first. A driver
    /// refuses what the BAR does not show in one piece; a private interconnect reaches everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_at: Option<Leaf<Bytes>>,
    /// The non-transparent bridge to the other host, by its side in the host of the device that moves the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<Leaf<String>>,
}

/// Every ordered pair of the chosen devices.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PairMatrix {
    /// Name of the matrix; flows are called `NAME.FROM.TO`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Devices, or patterns such as `gpu*`.
    pub devices: Vec<Leaf<String>>,
    /// Bytes per pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Leaf<Bytes>>,
    /// Bytes per descriptor, at most 1GiB; default 2MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<Leaf<Bytes>>,
    /// Which end moves the data; default `Writer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Leaf<Engine>>,
    /// What to do where peer-to-peer is refused; default `Fail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Leaf<WhenRefused>>,
    /// Which way to take; default Fastest: a private interconnect between the two, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Leaf<Way>>,
    /// Which pairs run together; default `Alone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Leaf<Concurrency>>,
}

/// Every chosen device sends to every other at the same time.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AllToAll {
    /// Name of the exchange; flows are called `NAME.FROM.TO`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Devices, or patterns such as `gpu*`.
    pub devices: Vec<Leaf<String>>,
    /// Bytes per ordered pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Leaf<Bytes>>,
    /// Bytes per descriptor, at most 1GiB; default 2MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<Leaf<Bytes>>,
    /// Which end moves the data; default `Writer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Leaf<Engine>>,
    /// What to do where peer-to-peer is refused; default `Fail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Leaf<WhenRefused>>,
    /// Which way to take; default Fastest: a private interconnect between the two, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Leaf<Way>>,
}

/// A device moves data to or from host memory in transfers of given sizes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostDma {
    /// Name; the flows are called `NAME.SIZE`, and for `ReadWrite` `NAME.SIZE.read` and `NAME.SIZE.write`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// The device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// Direction, seen from the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Leaf<HostDirection>>,
    /// Transfer sizes up to 4MiB, run one after the other.
    pub sizes: Vec<Leaf<Bytes>>,
    /// Transfers per size; default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfers: Option<Leaf<u64>>,
    /// Transfers under way at a time, 1 to 4096; 1 measures latency; default 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outstanding: Option<Leaf<u32>>,
    /// Index of the CPU whose memory is used; default: the device's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Leaf<usize>>,
    /// Device whose memory, which its CPU uses by CXL, holds the buffer; default: memory of a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<String>>,
    /// Transfers start at random places of a buffer of that size, up to 4GiB; default: they go round a buffer of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Leaf<Bytes>>,
    /// What the CPU's cache holds of the buffer when its transfers begin; default `HostWarm`, what is left after a CPU
    /// has gone through it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Leaf<CacheState>>,
    /// What the headers of its data say, such as `(relaxed_ordering: true)`; default: nothing special.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<Leaf<Packets>>,
    /// What of the device moves the data: its DMA engine (default) or its processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Leaf<Initiator>>,
    /// Pages of the buffer that are not there at the start, such as `(hundredths: 25)`: a device with page requests has them
    /// brought, others are refused; default: none. Only where an IOMMU translates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<Leaf<AbsentPages>>,
    /// The non-transparent bridge to the host whose memory is used, by its side in the device's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<Leaf<String>>,
    /// Which way to take; default Fastest: a private interconnect that device and CPU are members of, if there is one; `Pcie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Leaf<Way>>,
}

/// Cores of a CPU copy to or from a device's largest memory BAR, or its memory that CPUs use by CXL or a private interconnect.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CpuAccess {
    /// Name; the flows are called `NAME.SIZE`, and with several cores `NAME.SIZE.CORE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Index of the CPU; default: the device's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Leaf<usize>>,
    /// The device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// `Bar` (default): its largest memory BAR; `HostManaged`: its memory that CPUs use as their own, by CXL; `Private`: its
    /// memory by a private interconnect that the CPU is a member of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Leaf<DeviceRegion>>,
    /// `Load` or `Store`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Leaf<AccessKind>>,
    /// How the memory is mapped; default `WriteCombining`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<CpuMemory>>,
    /// Sizes of a copy up to 4MiB, run one after the other. The latency of a store is what it costs its core.
    pub sizes: Vec<Leaf<Bytes>>,
    /// Copies per size and core; default 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<Leaf<u64>>,
    /// Cores that copy at the same time, 1 to 7; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<Leaf<u32>>,
}

/// Processors of a device load from or store to another device's memory, in requests of at most 128 bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceAccess {
    /// Name; the flows are called `NAME.SIZE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// The device that loads or stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// The device whose memory it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<String>>,
    /// `Load` or `Store`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Leaf<AccessKind>>,
    /// Bytes of an access after coalescing, up to 4MiB, run one after the other.
    pub sizes: Vec<Leaf<Bytes>>,
    /// Accesses per size; default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accesses: Option<Leaf<u64>>,
    /// Accesses under way at a time, 1 to 4096; 1 measures latency; default 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outstanding: Option<Leaf<u32>>,
}

/// A queue of commands for an NVMe drive: command, page list, data, completion entry, interrupt.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NvmeIo {
    /// Name; the flows are called `NAME.SIZE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// The drive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drive: Option<Leaf<String>>,
    /// Device whose memory holds the data; default: host memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<String>>,
    /// `Read` (the drive writes into memory) or `Write`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Leaf<NvmeCommand>>,
    /// Bytes of a command up to 4MiB, run one after the other.
    pub sizes: Vec<Leaf<Bytes>>,
    /// Commands per size; default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<Leaf<u64>>,
    /// Commands under way at a time, 1 to 4096; default 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<Leaf<u32>>,
    /// Where the submission queue is; default `Host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Leaf<SubmissionQueue>>,
    /// What the headers of its data say, such as `(relaxed_ordering: true)`; default: nothing special.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<Leaf<Packets>>,
}

/// A descriptor ring of a network adapter: doorbell, descriptor, data, completion entry, interrupt.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NicIo {
    /// Name; the flows are called `NAME.SIZE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// The adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Leaf<String>>,
    /// Device whose memory holds the data; default: host memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<String>>,
    /// `Send` (the adapter reads from memory) or `Receive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Leaf<NicCommand>>,
    /// Bytes of a message up to 4MiB, run one after the other.
    pub sizes: Vec<Leaf<Bytes>>,
    /// Messages per size; default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Leaf<u64>>,
    /// Descriptors under way at a time, 1 to 4096; default 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<Leaf<u32>>,
    /// What the headers of its data say, such as `(relaxed_ordering: true)`; default: nothing special.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<Leaf<Packets>>,
}

/// Clients allocate memory that other devices provide, move data, and give it back.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PeerMemory {
    /// Name; flows are called `NAME.CLIENT.PROVIDER`, and `NAME.CLIENT.host` and `NAME.host.PROVIDER` where requests
    /// may go through host memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Memory that devices register when the run starts, in this order. Several entries for one device make several
    /// chunks of its pool.
    pub providers: Vec<Provider>,
    /// Whether providers publish their memory, so that clients can find it; default `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<Leaf<bool>>,
    /// Devices that ask for memory, or patterns such as `nic*`.
    pub clients: Vec<Leaf<String>>,
    /// How a client finds its provider; default `Nearest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choose: Option<Leaf<Choose>>,
    /// How pools choose among free places; default `FirstFit`, as Linux does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Leaf<Policy>>,
    /// Who asks; default `Kernel`, a driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Leaf<User>>,
    /// Bytes of a request, up to 64GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Leaf<Distribution<Bytes>>>,
    /// From the end of its transfer until an allocation is given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetimes: Option<Leaf<Distribution<Picos>>>,
    /// From the answer to a client's request until its next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Leaf<Distribution<Picos>>>,
    /// Allocations a client holds at most, 1 to 4096; default 32. A further request waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outstanding: Option<Leaf<u32>>,
    /// Requests of each client, up to 10000000; default 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Leaf<u64>>,
    /// What a client does with its memory; default `Write`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Leaf<Transfer>>,
    /// What happens to a request that gets no memory; default `Fail`. `Stage` uses host memory instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Leaf<WhenRefused>>,
    /// An NVMe target, whose adapters the clients are; default: none. It decides what `choose`, `user` and `refused` say elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// An NVMe target: what adapters write into a request's memory, a drive reads from there, and the other way round.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// The drive that stores the namespace. Its flows are called `NAME.DRIVE.PROVIDER` and `NAME.host.DRIVE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Leaf<String>>,
    /// What the namespace's attribute for peer memory is set to: `Off`, `Automatic` (the published memory nearest to adapter and
    /// drive together) or `Named("gpu0")`; default `Automatic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<TargetMemory>>,
}

/// Memory that devices register.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// Devices, by name or pattern; each registers the same part of its own memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// The BAR, 0 to 5; default: the largest prefetchable memory BAR, or else the largest memory BAR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar: Option<Leaf<u8>>,
    /// Bytes of the BAR before the memory; default 0. The kernel wants a multiple of 2MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Leaf<Bytes>>,
    /// Bytes of memory; default: the rest of the BAR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
}

impl Workload {
    /// The name it was given.
    pub fn name(&self) -> Option<&Leaf<String>> {
        match self {
            Workload::Copy(copy) => copy.name.as_ref(),
            Workload::PairMatrix(matrix) => matrix.name.as_ref(),
            Workload::AllToAll(exchange) => exchange.name.as_ref(),
            Workload::HostDma(dma) => dma.name.as_ref(),
            Workload::PeerMemory(memory) => memory.name.as_ref(),
            Workload::CpuAccess(access) => access.name.as_ref(),
            Workload::DeviceAccess(access) => access.name.as_ref(),
            Workload::NvmeIo(io) => io.name.as_ref(),
            Workload::NicIo(io) => io.name.as_ref(),
            Workload::SharedVirtual(shared) => shared.name.as_ref(),
            Workload::SharedBuffer(buffer) => buffer.name.as_ref(),
        }
    }
}
