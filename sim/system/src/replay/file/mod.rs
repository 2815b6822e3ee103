//! The replay file: the shape people and scripts write.
//!
//! Every field is optional and every scalar a [`Leaf`], so that reading never stops at the first problem; `load` says
//! what is missing or impossible.

mod peer;

use peerbus_machine::file::Leaf;
use peerbus_units::{Bytes, CpuAddr, FunctionId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::ProfileName;

pub use peer::{Distance, Find, Machine, Map, Publish, Register, Resolve, SetAcs, SetIds, SetWindow};

/// Calls to make, and what they returned elsewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Replay {
    /// Kernel whose code is called; default the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Leaf<ProfileName>>,
    /// The calls, in order. Results refer to them by number, from 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
    /// What the calls returned elsewhere, for `--diff`: the `results` of an answer, or fewer of its fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<Recorded>>,
}

/// One call.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Call {
    /// An empty allocator pool.
    Pool(Pool),
    /// Adds memory to the pool.
    AddChunk(AddChunk),
    /// Allocates from the pool.
    Alloc(Alloc),
    /// Gives an allocation, or a part of one, back to the pool.
    Free(Free),
    /// Asks how many bytes of the pool are free.
    Avail,
    /// An empty tree of physical addresses.
    Region(Region),
    /// Enters a range in the tree.
    Busy(Busy),
    /// Looks for an unused range and enters it.
    Request(Request),
    /// Removes what `Request` entered.
    Release(Release),
    /// Boots on a machine; no memory is registered.
    Machine(Box<Machine>),
    /// Makes a part of a BAR peer memory.
    Register(Register),
    /// Lets `Find` find a function's memory.
    Publish(Publish),
    /// Calculates map type and distance of a pair.
    Resolve(Resolve),
    /// Asks for the sum of the distances to several clients.
    Distance(Distance),
    /// Looks for the nearest providers.
    Find(Find),
    /// Maps a page for a client.
    Map(Map),
    /// Writes an ACS control word.
    SetAcs(SetAcs),
    /// Overwrites the ids by which the kernel knows a function.
    SetIds(SetIds),
    /// Overwrites where the kernel believes a host bridge's window begins on the bus.
    SetWindow(SetWindow),
}

/// An empty allocator pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Smallest unit of allocation, a power of two; default 4KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granule: Option<Leaf<Bytes>>,
    /// Algorithm of allocations that name none; default `FirstFit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Leaf<Algorithm>>,
}

/// Where in a chunk an allocation goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// The lowest place.
    FirstFit,
    /// The start of the shortest free run that is long enough.
    BestFit,
    /// The lowest place that is a multiple, counted from the chunk's start, of the size rounded up to a power of two.
    OrderAlign,
    /// The lowest place whose address is a multiple.
    FirstFitAlign {
        /// Of this, a power of two.
        align: Bytes,
    },
    /// At one place or nowhere.
    Fixed {
        /// Bytes from the chunk's start, a multiple of the granule.
        offset: Bytes,
    },
}

/// Adds memory to the pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AddChunk {
    /// Address of the first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Leaf<CpuAddr>>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
}

/// Allocates from the pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alloc {
    /// Number by which `Free` calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Leaf<u64>>,
    /// Bytes; rounded up to granules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
    /// Short for `algorithm: FirstFitAlign(align: …)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align: Option<Leaf<Bytes>>,
    /// Algorithm instead of the pool's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Leaf<Algorithm>>,
}

/// Gives an allocation, or a part of one, back to the pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Free {
    /// Number of the allocation; or an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Leaf<u64>>,
    /// Address of the first byte to give back, instead of an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Leaf<CpuAddr>>,
    /// Bytes; default, with an id, what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
}

/// An empty tree of physical addresses, and how far it is searched. `limit`, `end` and `section` are given, or follow
/// from `space`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Region {
    /// Highest address an unused range may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Leaf<CpuAddr>>,
    /// Architecture and machine, from which the rest follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<Leaf<Space>>,
    /// Last address of the tree; default the last of 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Leaf<CpuAddr>>,
    /// Lowest address to search, when only the part of the tree from here up is: an entry of its own, `base`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Leaf<CpuAddr>>,
    /// Size of a memory section, a power of two; default 128MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<Leaf<Bytes>>,
    /// Distance of the places looked at; default the profile's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Leaf<Step>>,
    /// Entries there is memory for; default any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<Leaf<u64>>,
}

/// Distance of the places where a search looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Step {
    /// The size of the request, as up to 6.6.
    Size,
    /// A memory section, as from 6.7.
    Section,
}

/// What decides how far physical address space reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Space {
    /// x86-64.
    X86(X86),
    /// arm64.
    Arm64(Arm64),
    /// 64-bit POWER servers.
    Ppc64 {
        /// Bits of the largest physical address configured, 46 or 51.
        physical_bits: u32,
    },
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit LoongArch.
    Loongarch64,
}

/// An x86-64 kernel on a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct X86 {
    /// Levels of page tables, 4 or 5.
    pub levels: u32,
    /// The CPU's physical address bits, 32 to 52.
    pub physical_bits: u32,
    /// Kernel memory is placed at random.
    pub randomised: bool,
    /// First address above the highest RAM.
    pub ram_end: CpuAddr,
    /// TiB kept for memory added later.
    pub padding_tib: u64,
    /// The kernel has device memory zones.
    pub zone_device: bool,
    /// The kernel has peer-to-peer DMA.
    pub peer_to_peer: bool,
    /// When the direct map is shortened; default the profile's rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trim: Option<Trim>,
}

/// When a randomised direct map is shortened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Trim {
    /// Up to 6.14.
    Always,
    /// From 6.15: in kernels without peer-to-peer DMA.
    WithoutPeerToPeer,
    /// From 6.19: in kernels without device memory zones.
    WithoutZoneDevice,
}

impl Default for X86 {
    fn default() -> X86 {
        X86 {
            levels: 4,
            physical_bits: 46,
            randomised: true,
            ram_end: CpuAddr(0),
            padding_tib: 10,
            zone_device: true,
            peer_to_peer: true,
            trim: None,
        }
    }
}

/// An arm64 kernel on a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Arm64 {
    /// Size of a page: 4KiB, 16KiB or 64KiB.
    pub page: Bytes,
    /// Virtual address bits configured, 36 to 52.
    pub configured_va: u32,
    /// Virtual address bits in use, not more.
    pub used_va: u32,
    /// Physical address bits configured, 48 or 52.
    pub configured_pa: u32,
    /// The CPU's physical address bits, 32 to 52.
    pub pa_range: u32,
    /// First address of RAM.
    pub ram_first: CpuAddr,
    /// Last address of RAM.
    pub ram_last: CpuAddr,
    /// First address above the kernel's image; default 64 MiB above the first of RAM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_end: Option<CpuAddr>,
    /// Low 16 bits of the boot seed; 0 for none.
    pub seed: u16,
    /// A hypervisor mode is there in which the kernel does not run itself, and KVM is built.
    pub separate_hypervisor: bool,
}

impl Default for Arm64 {
    fn default() -> Arm64 {
        Arm64 {
            page: Bytes::kib(4),
            configured_va: 48,
            used_va: 48,
            configured_pa: 48,
            pa_range: 48,
            ram_first: CpuAddr(0x4000_0000),
            ram_last: CpuAddr(0xbfff_ffff),
            kernel_end: None,
            seed: 0,
            separate_hypervisor: false,
        }
    }
}

/// Enters a range in the tree: inside of what holds it, around what lies inside.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Busy {
    /// First address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Leaf<CpuAddr>>,
    /// Last address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Leaf<CpuAddr>>,
    /// What it is called; default `Busy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
}

/// Looks for an unused range and enters it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Number by which `Release` calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Leaf<u64>>,
    /// Bytes; rounded up to sections, or to `align`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
    /// From where the search goes; default `Down`, as for device memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Leaf<Direction>>,
    /// Upwards: what place and size are multiples of, a power of two; default a section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align: Option<Leaf<Bytes>>,
}

/// Where a search begins.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Direction {
    /// At the top: device memory.
    #[default]
    Down,
    /// At the bottom: memory that becomes RAM, such as CXL memory.
    Up,
}

/// Removes what `Request` entered.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Release {
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Leaf<u64>>,
}

/// What one call returned. Fields that are not given are not compared.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Recorded {
    /// Number of the call, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Leaf<usize>>,
    /// Address of an allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Leaf<CpuAddr>>,
    /// Free bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Leaf<Bytes>>,
    /// First address of a region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Leaf<CpuAddr>>,
    /// Last address of a region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Leaf<CpuAddr>>,
    /// Places the kernel looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Leaf<u64>>,
    /// Map type of a pair: `BUS_ADDR`, `THRU_HOST_BRIDGE` or `NOT_SUPPORTED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_type: Option<Leaf<String>>,
    /// Distance of a pair, or of a provider to several clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<Leaf<i64>>,
    /// Functions found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<Leaf<Vec<FunctionId>>>,
    /// What a client sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dma_addr: Option<Leaf<CpuAddr>>,
    /// `BUS`, `CPU` or `IOVA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dma_kind: Option<Leaf<String>>,
    /// Name of an error: `ENOMEM`, `ERANGE`, `EBUSY`, `EINVAL`, `BUG`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Leaf<String>>,
    /// Why, in words; never compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Leaf<String>>,
}
