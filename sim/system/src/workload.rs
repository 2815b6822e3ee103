//! Workloads: what a run does, as scenario files say it.
//!
//! Devices are named by their short name (`gpu0`), by path, or by a pattern with `*` (`gpu*`), which stands for
//! all matching devices in the machine's order.

use peerbus_fabric::Attributes;
use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::peer_memory::PeerMemory;
use crate::shared_buffer::SharedBuffer;
use crate::shared_virtual::SharedVirtual;

/// Which end moves the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Engine {
    /// The source writes into the destination: posted writes.
    #[default]
    Writer,
    /// The destination reads from the source: reads and completions.
    Reader,
}

/// What to do where peer-to-peer is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum WhenRefused {
    /// Move nothing and report the refusal.
    #[default]
    Fail,
    /// Go through a buffer in host memory, as libraries do.
    Stage,
    /// Go there even where peer-to-peer is possible, as drivers without it do. For peer memory the same as `Stage`.
    StageAlways,
}

/// Which way data takes between devices, and between a device and memory of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Way {
    /// A private interconnect that both are members of, if there is one; PCIe otherwise.
    #[default]
    Fastest,
    /// PCIe, whatever else there is.
    Pcie,
}

/// Which flows of a matrix run together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Concurrency {
    /// One pair after the other.
    #[default]
    Alone,
    /// All pairs at the same time.
    AllAtOnce,
}

/// What the headers of a workload's packets say beside addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Packets {
    /// Relaxed Ordering, where the device control register of the requester enables it: its writes may pass other writes,
    /// and the answers to its reads may pass writes.
    pub relaxed_ordering: bool,
    /// ID-based Ordering, where the device control 2 register of the requester enables it: they may pass writes of other
    /// requesters.
    pub id_based_ordering: bool,
    /// Traffic class, 0 to 7: which virtual channel they take on links that have two. Each class of a device has an engine
    /// of its own.
    pub traffic_class: u8,
}

impl Packets {
    /// The same for the fabric.
    pub(crate) fn attributes(self) -> Attributes {
        let bits =
            [(self.relaxed_ordering, Attributes::RELAXED), (self.id_based_ordering, Attributes::ID_BASED)];
        bits.iter().filter(|(on, _)| *on).fold(Attributes::NONE, |all, (_, bit)| all.with(*bit))
    }
}

/// A copy from one device's memory to another's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// Name of the flow; unique in the scenario.
    pub name: String,
    /// Source device.
    pub from: String,
    /// Destination device.
    pub to: String,
    /// Bytes to copy.
    pub bytes: Bytes,
    /// Bytes per descriptor.
    #[serde(default = "default_chunk")]
    pub chunk: Bytes,
    /// Which end moves the data.
    #[serde(default)]
    pub engine: Engine,
    /// What to do where peer-to-peer is refused.
    #[serde(default)]
    pub refused: WhenRefused,
    /// Which way to take.
    #[serde(default)]
    pub way: Way,
    /// When to start.
    #[serde(default)]
    pub start: Picos,
    /// Added to every DMA address after the operating system returned it: a driver's bug, made to order.
    #[serde(default)]
    pub dma_shift: Bytes,
    /// Which addresses the driver gives the device.
    #[serde(default)]
    pub addresses: Addresses,
    /// What its packets say; default: nothing special.
    #[serde(default)]
    pub packets: Packets,
    /// Bytes of memory before it, of the device that does not move the data; default: what its BAR shows first.
    #[serde(default)]
    pub memory_at: Option<Bytes>,
    /// The side, in the host of the device that moves the data, of the non-transparent bridge that leads to the other one.
    #[serde(default)]
    pub through: Option<String>,
}

/// Which addresses of a peer's memory a driver gives its device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Addresses {
    /// Those that the operating system returned for the device.
    #[default]
    Dma,
    /// Those that a CPU would use: a common bug, which shows where bus addresses differ or an IOMMU translates.
    Cpu,
}

/// Every ordered pair of the chosen devices.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairMatrix {
    /// Name of the matrix; flows are called `NAME.FROM.TO`.
    pub name: String,
    /// Devices; rows and columns.
    pub devices: Vec<String>,
    /// Bytes per pair.
    pub bytes: Bytes,
    /// Bytes per descriptor.
    #[serde(default = "default_chunk")]
    pub chunk: Bytes,
    /// Which end moves the data.
    #[serde(default)]
    pub engine: Engine,
    /// What to do where peer-to-peer is refused.
    #[serde(default)]
    pub refused: WhenRefused,
    /// Which way to take.
    #[serde(default)]
    pub way: Way,
    /// Which pairs run together.
    #[serde(default)]
    pub concurrency: Concurrency,
}

/// Every chosen device sends to every other at the same time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllToAll {
    /// Name of the exchange; flows are called `NAME.FROM.TO`.
    pub name: String,
    /// Devices that take part.
    pub devices: Vec<String>,
    /// Bytes per ordered pair.
    pub bytes: Bytes,
    /// Bytes per descriptor.
    #[serde(default = "default_chunk")]
    pub chunk: Bytes,
    /// Which end moves the data.
    #[serde(default)]
    pub engine: Engine,
    /// What to do where peer-to-peer is refused.
    #[serde(default)]
    pub refused: WhenRefused,
    /// Which way to take.
    #[serde(default)]
    pub way: Way,
}

/// Direction of a [`HostDma`], seen from the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum HostDirection {
    /// The device reads host memory.
    Read,
    /// The device writes host memory.
    Write,
    /// Both, one read for one write.
    ReadWrite,
    /// A write, and once it is sent a read of the same place, whose data tells that the write has arrived.
    WriteThenRead,
}

/// What of a device moves the data of a [`HostDma`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Initiator {
    /// Its DMA engine, which is given descriptors.
    #[default]
    Engine,
    /// Its processors, with loads and stores of their own: no descriptor, no copy, requests of up to 128 B.
    Processor,
}

/// A device moves data to or from host memory in transfers of given sizes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostDma {
    /// Name; the flows are called `NAME.SIZE`, and for `ReadWrite` `NAME.SIZE.read` and `NAME.SIZE.write`.
    pub name: String,
    /// The device.
    pub device: String,
    /// Direction, seen from the device.
    pub direction: HostDirection,
    /// Transfer sizes, run one after the other.
    pub sizes: Vec<Bytes>,
    /// Transfers per size.
    #[serde(default = "default_transfers")]
    pub transfers: u64,
    /// Transfers under way at a time; 1 measures latency.
    #[serde(default = "default_outstanding")]
    pub outstanding: u32,
    /// Index of the CPU whose memory is used; default: the device's own.
    #[serde(default)]
    pub cpu: Option<usize>,
    /// Device whose memory, which its CPU uses by CXL, holds the buffer; default: memory of a CPU.
    #[serde(default)]
    pub memory: Option<String>,
    /// Transfers start at random places of a buffer of that size; default: they go round a buffer of their own.
    #[serde(default)]
    pub window: Option<Bytes>,
    /// What the caches hold of the buffer when its transfers begin.
    #[serde(default)]
    pub cache: CacheState,
    /// What its packets say; default: nothing special.
    #[serde(default)]
    pub packets: Packets,
    /// What of the device moves the data.
    #[serde(default)]
    pub by: Initiator,
    /// Pages of the buffer that are not there at the start; default: none.
    #[serde(default)]
    pub absent: Option<AbsentPages>,
    /// This host's side of the non-transparent bridge to the host whose memory is used.
    #[serde(default)]
    pub through: Option<String>,
    /// Which way to take.
    #[serde(default)]
    pub way: Way,
}

/// Pages of a buffer that no table has yet, as of memory that is shared with a process and not pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbsentPages {
    /// How many of every hundred, evenly spread, 1 to 100.
    pub hundredths: u8,
    /// From a page request at the root complex until software has brought the page and answers. Default 20us, assumed: an
    /// interrupt, a thread that wakes up, and a page that has to be found and cleared.
    #[serde(default = "default_page_time")]
    pub software: Picos,
}

fn default_page_time() -> Picos {
    Picos::nanos(20_000)
}

/// What the cache in front of memory holds of a buffer before it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum CacheState {
    /// Nothing.
    Cold,
    /// What remains after a CPU has gone through the buffer once.
    #[default]
    HostWarm,
    /// What remains after a device has written the buffer once.
    DeviceWarm,
}

/// Direction of a [`CpuAccess`] or [`DeviceAccess`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum AccessKind {
    /// Loads: every one is a read that is waited for.
    Load,
    /// Stores: posted writes.
    Store,
}

/// How a CPU maps memory of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum CpuMemory {
    /// Every load and store is a request of its own, of 8 bytes at most, one at a time.
    Uncached,
    /// Stores are gathered to lines of 64 bytes; streaming loads ask for lines.
    #[default]
    WriteCombining,
}

/// What memory of a device a core uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeviceRegion {
    /// Its largest memory BAR.
    #[default]
    Bar,
    /// The memory that its CPU uses as its own, by CXL.
    HostManaged,
    /// Its memory, by a private interconnect that the CPU is a member of as well.
    Private,
}

/// Cores of a CPU copy to or from a device's BAR, or its memory that CPUs use by CXL or by a private interconnect.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuAccess {
    /// Name; the flows are called `NAME.SIZE`, and with several cores `NAME.SIZE.CORE`.
    pub name: String,
    /// Index of the CPU; default: the device's own.
    #[serde(default)]
    pub cpu: Option<usize>,
    /// The device.
    pub device: String,
    /// What of its memory is used.
    #[serde(default)]
    pub region: DeviceRegion,
    /// Direction.
    pub kind: AccessKind,
    /// How the memory is mapped. That of CXL is memory like any other: `WriteCombining` stands for streaming loads and
    /// non-temporal stores, which do not read what they overwrite.
    #[serde(default)]
    pub memory: CpuMemory,
    /// Copies of these sizes, run one after the other.
    pub sizes: Vec<Bytes>,
    /// Copies per size and core.
    pub copies: u64,
    /// Cores that copy at the same time, 1–7.
    pub cores: u32,
}

/// Processors of a device load from or store to memory of another device, in requests of their own.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceAccess {
    /// Name; the flows are called `NAME.SIZE`.
    pub name: String,
    /// The device that loads or stores.
    pub device: String,
    /// The device whose memory it is.
    pub memory: String,
    /// Direction.
    pub kind: AccessKind,
    /// Bytes of an access after coalescing, run one after the other; never more than 128 in one request.
    pub sizes: Vec<Bytes>,
    /// Accesses per size.
    pub accesses: u64,
    /// Accesses under way at a time; 1 measures latency.
    pub outstanding: u32,
}

/// Direction of an [`NvmeIo`], as NVMe names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum NvmeCommand {
    /// The drive writes into memory.
    Read,
    /// The drive reads from memory.
    Write,
}

/// Where the submission queue of a drive is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum SubmissionQueue {
    /// In host memory: the drive fetches commands.
    #[default]
    Host,
    /// In the drive's controller memory buffer: the CPU stores commands there.
    Controller,
}

/// A queue of commands for an NVMe drive.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NvmeIo {
    /// Name; the flows are called `NAME.SIZE`.
    pub name: String,
    /// The drive.
    pub drive: String,
    /// Device whose memory holds the data; default: host memory.
    #[serde(default)]
    pub memory: Option<String>,
    /// Direction.
    pub command: NvmeCommand,
    /// Bytes of a command, run one after the other.
    pub sizes: Vec<Bytes>,
    /// Commands per size.
    pub commands: u64,
    /// Commands under way at a time.
    pub depth: u32,
    /// Where the submission queue is.
    #[serde(default)]
    pub queue: SubmissionQueue,
    /// What its packets say; default: nothing special.
    #[serde(default)]
    pub packets: Packets,
}

/// Direction of a [`NicIo`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum NicCommand {
    /// The adapter reads from memory.
    Send,
    /// The adapter writes into memory.
    Receive,
}

/// A descriptor ring of a network adapter.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NicIo {
    /// Name; the flows are called `NAME.SIZE`.
    pub name: String,
    /// The adapter.
    pub adapter: String,
    /// Device whose memory holds the data; default: host memory.
    #[serde(default)]
    pub memory: Option<String>,
    /// Direction.
    pub command: NicCommand,
    /// Bytes of a message, run one after the other.
    pub sizes: Vec<Bytes>,
    /// Messages per size.
    pub messages: u64,
    /// Descriptors under way at a time.
    pub depth: u32,
    /// What the packets of its data say; default: nothing special.
    #[serde(default)]
    pub packets: Packets,
}

/// One thing a run does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
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
    /// Cores of a CPU copy to or from a BAR.
    CpuAccess(CpuAccess),
    /// Processors of a device load from or store to another device.
    DeviceAccess(DeviceAccess),
    /// Commands of an NVMe drive.
    NvmeIo(NvmeIo),
    /// Messages of a network adapter.
    NicIo(NicIo),
    /// A process's memory, used by CPUs and devices.
    SharedVirtual(Box<SharedVirtual>),
    /// A buffer of one device that others import (dma-buf).
    SharedBuffer(Box<SharedBuffer>),
}

impl Workload {
    /// The name it was given.
    pub fn name(&self) -> &str {
        match self {
            Workload::Copy(copy) => &copy.name,
            Workload::PairMatrix(matrix) => &matrix.name,
            Workload::AllToAll(exchange) => &exchange.name,
            Workload::HostDma(dma) => &dma.name,
            Workload::PeerMemory(memory) => &memory.name,
            Workload::CpuAccess(access) => &access.name,
            Workload::DeviceAccess(access) => &access.name,
            Workload::NvmeIo(io) => &io.name,
            Workload::NicIo(io) => &io.name,
            Workload::SharedVirtual(shared) => &shared.name,
            Workload::SharedBuffer(buffer) => &buffer.name,
        }
    }
}

fn default_chunk() -> Bytes {
    Bytes::mib(2)
}

fn default_transfers() -> u64 {
    10_000
}

fn default_outstanding() -> u32 {
    64
}
