//! Workloads: what a run does, as scenario files say it.
//!
//! Devices are named by their short name (`gpu0`), by path, or by a pattern with `*` (`gpu*`), which stands for
//! all matching devices in the machine's order.

use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::peer_memory::PeerMemory;

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

/// Which flows of a matrix run together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Concurrency {
    /// One pair after the other.
    #[default]
    Alone,
    /// All pairs at the same time.
    AllAtOnce,
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
    /// When to start.
    #[serde(default)]
    pub start: Picos,
    /// Added to every DMA address after the operating system returned it: a driver's bug, made to order.
    #[serde(default)]
    pub dma_shift: Bytes,
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
