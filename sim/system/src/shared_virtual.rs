//! The workload [`SharedVirtual`]: processes whose memory CPUs, GPUs and adapters use by the same addresses.
//!
//! What it says is here; what happens is decided by the operating system's memory management and drivers when it runs
//! (`run::shared_virtual`). The process has ranges of memory. In each phase some agents touch pages of them, page after page
//! in an order of their own; a phase begins when the one before it is over. An agent that touches a page which its device
//! cannot reach faults, and waits until its driver has brought the block to the device or entered it where it is. Copies are
//! transfers on the fabric.

use std::collections::BTreeSet;

pub use peerbus_os::drivers::LARGEST_GRANULE;
use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose driver a GPU has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum GpuDriver {
    /// Blocks of 2 MiB that move whole or stay; page structs for all memory at the start.
    #[default]
    Xe,
    /// Blocks of 2 MiB of which what cannot move stays; page structs for all memory at the start.
    Amdkfd,
    /// Blocks as the kernel's batches; page structs for pieces of memory on demand.
    Nouveau,
    /// Page by page; page structs for all memory at the start. The secure memory of POWER guests.
    Uvmem,
}

/// How private pages of devices are numbered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum PageNumbers {
    /// Unused physical addresses.
    PhysicalSpace,
    /// Offsets in a space of their own.
    OwnSpace,
}

/// What CPUs can do with a GPU's memory for processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum GpuPages {
    /// Nothing: its pages have frame numbers that are no addresses, and come home when a CPU touches them.
    #[default]
    Private,
    /// Reach it: page structs over its BAR, at their real addresses. Pages that a CPU touches stay.
    Coherent,
}

/// A range of a process's memory: private and anonymous.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedRange {
    /// Its name, unique in the workload.
    pub name: String,
    /// Its size, rounded up to 2 MiB.
    pub bytes: Bytes,
    /// Huge pages where they fit.
    #[serde(default = "yes")]
    pub huge: bool,
    /// Ranges with the same word here are one process's; those without are one more.
    #[serde(default)]
    pub process: Option<String>,
    /// The GPU or CPU where its pages belong: by their faults, they move to no other GPU.
    #[serde(default)]
    pub preferred: Option<String>,
}

/// A GPU that uses the process's memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedGpu {
    /// The device, or a pattern.
    pub device: String,
    /// Its driver.
    #[serde(default)]
    pub driver: GpuDriver,
    /// Bytes of its memory that may hold pages of processes; default: all.
    #[serde(default)]
    pub memory: Option<Bytes>,
    /// GPUs with the same word here are one owner to the kernel: each uses the others' private pages as they are. Default: as the
    /// driver forms owners, with GPUs of a private interconnect (amdkfd) or with a supported path (xe from 7.x on).
    #[serde(default)]
    pub owner: Option<String>,
    /// Other devices may use its private pages through its BAR.
    #[serde(default)]
    pub peer_pages: bool,
    /// What CPUs can do with its memory.
    #[serde(default)]
    pub pages: GpuPages,
    /// Of `Amdkfd`: 2 to the power of this many pages move at a time, up to 27; default 9.
    #[serde(default)]
    pub granule: Option<u32>,
    /// Of `Xe`: how long what an atomic access brought stays; default 5 ms.
    #[serde(default)]
    pub time_slice: Option<Picos>,
}

/// How an agent reaches pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Reaching {
    /// By faults. What a GPU faults on comes to its memory.
    #[default]
    Migrate,
    /// By faults; pages stay where they are, and are reached there. For adapters that is on-demand paging.
    InPlace,
    /// All pages are pinned before the first access, and reached by what was found then.
    Pinned,
}

/// What an agent does to pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Touch {
    /// Reads them.
    #[default]
    Read,
    /// Writes them.
    Write,
    /// Reads and writes them at once. xe needs pages in the GPU's memory for that, and keeps them there for a time slice.
    Atomic,
    /// Asks for them to come to the agent's memory, without using them.
    Prefetch,
}

impl Touch {
    /// It finds out what a page holds.
    pub fn reads(self) -> bool {
        matches!(self, Touch::Read | Touch::Atomic)
    }

    /// It changes what a page holds.
    pub fn writes(self) -> bool {
        matches!(self, Touch::Write | Touch::Atomic)
    }
}

/// In what order an agent goes through a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// Page by page, again from the start at the end.
    #[default]
    Sequential,
    /// Every so many pages, then the pages behind those.
    Strided(u64),
    /// Any page, each time.
    Random,
    /// Any page, the n-th with a weight of 1 / n to the power of this, 1 to 4; which page is the n-th is drawn first.
    Zipf(u32),
}

/// What one agent does in a phase.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Activity {
    /// Its name; the flow is called `WORKLOAD.NAME`.
    pub name: String,
    /// A CPU such as `cpu0`, one of the GPUs, or any other device.
    pub by: String,
    /// The range it uses.
    pub range: String,
    /// What it does.
    #[serde(default)]
    pub touch: Touch,
    /// In what order.
    #[serde(default)]
    pub order: Order,
    /// Pages it touches; default: as many as the range has.
    #[serde(default)]
    pub touches: Option<u64>,
    /// Bytes it uses of each, up to a page.
    #[serde(default = "page")]
    pub bytes: Bytes,
    /// How it reaches them.
    #[serde(default)]
    pub reach: Reaching,
}

/// A process's memory, used by CPUs and devices.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedVirtual {
    /// Name; the flows are called `NAME.ACTIVITY`.
    pub name: String,
    /// The process's memory.
    pub ranges: Vec<SharedRange>,
    /// GPUs with memory for it.
    #[serde(default)]
    pub gpus: Vec<SharedGpu>,
    /// How private pages are numbered; default: as the kernel does.
    #[serde(default)]
    pub numbers: Option<PageNumbers>,
    /// What happens, phase after phase.
    pub phases: Vec<Vec<Activity>>,
}

impl SharedVirtual {
    /// CPUs that activities name, in their order.
    pub fn cpus(&self) -> BTreeSet<usize> {
        let named = self.phases.iter().flatten().filter_map(|activity| activity.by.strip_prefix("cpu"));
        named.filter_map(|number| number.parse().ok()).collect()
    }
}

/// All ranges of a workload together at most.
pub const LARGEST_PROCESS: Bytes = Bytes::gib(64);

/// Touches of one activity at most.
pub const MOST_TOUCHES: u64 = 100_000_000;

fn yes() -> bool {
    true
}

fn page() -> Bytes {
    Bytes::kib(4)
}
