//! `SharedVirtual` as written.

use peerbus_machine::file::Leaf;
use peerbus_system::shared_virtual::{GpuDriver, GpuPages, Order, PageNumbers, Reaching, Touch};
use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Memory of processes, used by CPUs, GPUs and adapters by the same addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SharedVirtual {
    /// Name; flows are called `NAME.ACTIVITY`, and `NAME.DEVICE.arrive`, `.leave`, `.reads` and `.writes` for the traffic of each
    /// device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// The process's memory.
    pub ranges: Vec<Range>,
    /// GPUs whose memory may hold pages of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Gpu>,
    /// How private pages of devices are numbered: `PhysicalSpace` or `OwnSpace`; default: as the kernel does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Leaf<PageNumbers>>,
    /// Lists of activities: those of a list begin together, when those of the list before are over.
    pub phases: Vec<Vec<Activity>>,
}

/// A range of a process's memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Range {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Its size, rounded up to 2MiB; up to 64GiB for all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Leaf<Bytes>>,
    /// Huge pages where they fit; default `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge: Option<Leaf<bool>>,
    /// Ranges with the same word here are memory of one process; those without are memory of one more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Leaf<String>>,
    /// A CPU or one of the GPUs, where its pages belong: faults of other GPUs leave them where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred: Option<Leaf<String>>,
}

/// A GPU that uses the process's memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    /// The device, or a pattern such as `gpu*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// Its driver: `Xe`, `Amdkfd`, `Nouveau` or `Uvmem`; default `Xe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Leaf<GpuDriver>>,
    /// Bytes of its memory that may hold pages of the process; default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<Bytes>>,
    /// GPUs with the same word here are one owner to the kernel: each uses the others' private pages as they are. Default: as the
    /// driver forms owners: `Amdkfd` of GPUs on one private interconnect, `Xe` (from Linux 7.x on) of GPUs with a supported path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Leaf<String>>,
    /// Other devices may use its private pages through its BAR; default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_pages: Option<Leaf<bool>>,
    /// `Private` or `Coherent`; default `Private`: pages have numbers that are no addresses. Coherent ones have page structs over
    /// the BAR: CPUs and peers reach them there, and only as much of the memory is used as the BAR shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<Leaf<GpuPages>>,
    /// With `Amdkfd`, how much moves at a time: 4KiB to 512GiB, a power of two; default 2MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granule: Option<Leaf<Bytes>>,
    /// With `Xe`, how long what an atomic access brought stays at least; up to 1s, default 5ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_slice: Option<Leaf<Picos>>,
}

/// What one agent does in a phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Activity {
    /// Its name, unique in the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// A CPU such as `cpu0`, one of the GPUs, or any other device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Leaf<String>>,
    /// The range it uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Leaf<String>>,
    /// `Read`, `Write`, `Atomic` (both at once) or `Prefetch` (the pages are to come to the agent's memory; nothing is done with
    /// them); default `Read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub touch: Option<Leaf<Touch>>,
    /// `Sequential`, `Strided(PAGES)`, `Random` or `Zipf(EXPONENT)`; default `Sequential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Leaf<Order>>,
    /// Pages it touches, up to 100000000; default: as many as the range has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub touches: Option<Leaf<u64>>,
    /// Bytes it uses of each page; default 4KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Leaf<Bytes>>,
    /// `Migrate`, `InPlace` or `Pinned`; default `Migrate`: what a GPU faults on comes to its memory. Adapters have no memory
    /// for it: they fault pages in where they are, or pin them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reach: Option<Leaf<Reaching>>,
}
