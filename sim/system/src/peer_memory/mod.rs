//! The workload [`PeerMemory`]: clients allocate memory that other devices provide, move data, and give it back.
//!
//! What it says is here; who gets which memory is decided by the operating system's pools when it runs
//! (`run::peer_memory`).
//!
//! A client lives in rounds. It waits for a time drawn from `intervals`, then asks for a size drawn from `sizes`; when
//! it already holds `outstanding` allocations, it waits until one is given back. A provider is chosen, the memory
//! allocated and mapped, the data moved, and after a time drawn from `lifetimes` the memory is given back. Each client
//! draws from its own random stream, so what one asks for does not depend on what others got.

mod distribution;

use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workload::WhenRefused;

pub(crate) use distribution::zipf_weight;
pub use distribution::{Distribution, LARGEST_EXPONENT, MOST_VALUES, Quantity, Sampler};

/// Memory that devices register.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Devices; each registers the same part of its own memory.
    pub device: String,
    /// The BAR; default: the largest prefetchable memory BAR, or else the largest memory BAR.
    #[serde(default)]
    pub bar: Option<u8>,
    /// Bytes of the BAR before the memory.
    #[serde(default)]
    pub offset: Bytes,
    /// Bytes of memory; default: the rest of the BAR.
    #[serde(default)]
    pub size: Option<Bytes>,
}

/// How a client finds the provider of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Choose {
    /// For each request, the published provider that the operating system finds nearest to the client, a random one
    /// among equals.
    #[default]
    Nearest,
    /// The same, asked once when the client starts, as an NVMe target does for a controller.
    NearestOnce,
    /// The workload's providers in turn, as an administrator would name them; each client begins with another one.
    InOrder,
}

/// How a pool chooses among free places.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Policy {
    /// The lowest place: what Linux uses for peer-to-peer memory.
    #[default]
    FirstFit,
    /// The shortest free piece that is long enough.
    BestFit,
    /// The lowest place that is a multiple of the size, rounded up to a power of two.
    OrderAlign,
    /// The lowest place that is a multiple of this power of two.
    Align(Bytes),
}

/// Who asks for memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum User {
    /// A driver: an allocation is given back as a whole.
    #[default]
    Kernel,
    /// A process that maps the `allocate` file of the provider (kernels from 6.12 on): memory comes in pages, and
    /// each page is given back on its own when its last user lets go, after a lifetime of its own.
    Mmap,
}

/// What a client does with its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Transfer {
    /// Nothing: only who gets memory is of interest.
    Nothing,
    /// Write into it.
    #[default]
    Write,
    /// Read from it.
    Read,
    /// Write into it, then read it back.
    WriteThenRead,
}

/// An NVMe target between clients, its adapters, and a drive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The drive that stores the namespace.
    pub namespace: String,
    /// What the namespace's attribute for peer memory is set to.
    #[serde(default)]
    pub memory: TargetMemory,
}

/// Which memory data for a namespace go through.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum TargetMemory {
    /// Ordinary pages.
    Off,
    /// Memory of the published provider nearest to adapter and drive together, found once for each adapter.
    #[default]
    Automatic,
    /// Memory of this device.
    Named(String),
}

/// Clients allocate and free memory of providers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerMemory {
    /// Name; flows are called `NAME.CLIENT.PROVIDER`, and those of a target's drive `NAME.DRIVE.PROVIDER`.
    pub name: String,
    /// Registered in this order when the run starts. Several entries for one device make several chunks of its pool.
    pub providers: Vec<Provider>,
    /// Whether providers publish their memory, so that clients can find it.
    #[serde(default = "yes")]
    pub publish: bool,
    /// Devices that ask for memory.
    pub clients: Vec<String>,
    /// How a client finds its provider.
    #[serde(default)]
    pub choose: Choose,
    /// How pools choose among free places.
    #[serde(default)]
    pub policy: Policy,
    /// Who asks.
    #[serde(default)]
    pub user: User,
    /// Bytes of a request.
    pub sizes: Distribution<Bytes>,
    /// From the end of its transfer until an allocation is given back.
    pub lifetimes: Distribution<Picos>,
    /// From the answer to a client's request until its next one.
    pub intervals: Distribution<Picos>,
    /// Allocations a client holds at most.
    #[serde(default = "default_outstanding")]
    pub outstanding: u32,
    /// Requests of each client.
    #[serde(default = "default_requests")]
    pub requests: u64,
    /// What is done with the memory.
    #[serde(default)]
    pub transfer: Transfer,
    /// What happens to a request that gets no memory: it is lost, or uses ordinary pages of the client's CPU, as an
    /// NVMe target does. The provider it would have used then moves the data between those and itself; where none was
    /// found, the workload's providers do so in turn.
    #[serde(default)]
    pub refused: WhenRefused,
    /// An NVMe target, whose adapters the clients are: it decides whose memory a request gets, whatever `choose`, `user` and
    /// `refused` say. What an adapter writes into that memory, the drive reads from there, and the other way round; requests
    /// that get none use ordinary pages.
    #[serde(default)]
    pub target: Option<Target>,
}

/// Allocations a client holds at most, whatever [`PeerMemory::outstanding`] asks for.
pub const MOST_OUTSTANDING: u32 = 4096;
/// Requests of a client at most.
pub const MOST_REQUESTS: u64 = 10_000_000;
/// The largest request.
pub const LARGEST_REQUEST: Bytes = Bytes::gib(64);
/// Simulated time that a client's intervals and lifetimes may take together at most: ten days, far below what 64 bits
/// of picoseconds hold.
pub const LONGEST_LIFE: Picos = Picos(864_000_000_000_000_000);

impl PeerMemory {
    /// The longest that a client's intervals and lifetimes can take together.
    pub fn longest(&self) -> Picos {
        let round = u128::from(self.intervals.most().0) + u128::from(self.lifetimes.most().0);
        Picos(u64::try_from(round * u128::from(self.requests)).unwrap_or(u64::MAX))
    }

    /// True when requests without peer memory use host memory.
    pub fn falls_back(&self) -> bool {
        self.target.is_some() || self.stages()
    }

    /// True when requests without peer memory go through host memory, and there is something to move.
    pub fn stages(&self) -> bool {
        (self.target.is_some() || self.refused != WhenRefused::Fail) && self.transfer != Transfer::Nothing
    }

    /// What the client does with the memory of a request, in order: `true` for a write.
    pub fn client_writes(&self) -> &'static [bool] {
        match self.transfer {
            Transfer::Nothing => &[],
            Transfer::Write => &[true],
            Transfer::Read => &[false],
            Transfer::WriteThenRead => &[true, false],
        }
    }
}

fn yes() -> bool {
    true
}

fn default_outstanding() -> u32 {
    32
}

fn default_requests() -> u64 {
    1_000
}
