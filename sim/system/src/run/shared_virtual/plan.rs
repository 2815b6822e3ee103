//! What a `SharedVirtual` needs before anything runs: its devices by number, the RAM of its process, and the ways between them.

use std::collections::BTreeMap;

use peerbus_fabric::LinkId;
use peerbus_os::device_private::{Platform, PrivateDesign};
use peerbus_os::drivers::{DriverKind, Policy};
use peerbus_units::{Bytes, CpuAddr, Range};

use super::drive::Who;
use crate::device_memory::Supply;
use crate::shared_virtual::{GpuDriver, PageNumbers, SharedVirtual};

/// What a flow of the workload is for: traffic of one device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Pages that come to its memory.
    Arrive,
    /// Pages that leave it.
    Leave,
    /// Reads of pages where they are.
    Reads,
    /// Writes to pages where they are.
    Writes,
}

impl Role {
    /// All of them, with the word that ends their flows' names.
    pub const ALL: [(Role, &'static str); 4] =
        [(Role::Arrive, "arrive"), (Role::Leave, "leave"), (Role::Reads, "reads"), (Role::Writes, "writes")];
}

/// A GPU before the run.
#[derive(Clone, Debug)]
pub struct GpuPlan {
    /// By index in the machine.
    pub device: usize,
    /// Its driver's policy.
    pub policy: Policy,
    /// CPUs reach its memory too, from this address on.
    pub coherent: Option<CpuAddr>,
    /// Bytes of its memory for pages of the process.
    pub memory: Bytes,
    /// Whose its private pages are.
    pub owner: u64,
    /// The part of its BAR through which others reach its private pages.
    pub window: Option<Range<CpuAddr>>,
}

/// How one device reaches memory of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerWay {
    /// By a private link.
    Private(LinkId),
    /// By its BAR: DMA address of its first byte, and bytes.
    Bar {
        /// First DMA address.
        base: u64,
        /// Bytes from there.
        room: u64,
    },
}

/// How a CPU reaches coherent memory of a GPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuWay {
    /// Address of its first byte for the cores' engines.
    pub base: u64,
    /// Flow and engine of loads, by number in the schedule.
    pub loads: (usize, usize),
    /// The same of stores.
    pub stores: (usize, usize),
}

/// A workload before the run.
#[derive(Clone, Debug)]
pub struct SharedPlan {
    /// Its number among the workloads: the name of its random streams.
    pub number: usize,
    /// What it says.
    pub spec: SharedVirtual,
    /// GPUs, in the order of the file and the machine.
    pub gpus: Vec<GpuPlan>,
    /// Other devices that use the process's memory.
    pub adapters: Vec<usize>,
    /// First byte of the RAM that the process gets its pages from.
    pub ram: u64,
    /// DMA address of that byte for each device.
    pub ram_for: BTreeMap<usize, u64>,
    /// Ways from devices to GPUs, both by index in the machine.
    pub ways: BTreeMap<(usize, usize), PeerWay>,
    /// Ways from CPUs to GPUs with coherent memory, both by index in the machine.
    pub cpu_ways: BTreeMap<(usize, usize), CpuWay>,
    /// Numbers of its flows in the schedule.
    pub flows: BTreeMap<(usize, Role), usize>,
    /// What frames and page structs are taken from.
    pub platform: Platform,
    /// How numbers of frames are counted there.
    pub supply: Supply,
    /// Everybody who may be named.
    pub names: Vec<(String, Who)>,
}

impl SharedPlan {
    /// Who an activity's `by` is: `cpu0`, or a device.
    pub(super) fn who(&self, by: &str) -> Option<Who> {
        let (_, who) = self.names.iter().find(|(name, _)| name == by)?;
        Some(*who)
    }
}

/// RAM for a process of `bytes`: every page may be in RAM, and pages that are being copied are there twice.
pub fn ram_for(bytes: Bytes) -> u64 {
    (bytes.0 + bytes.0 / 4 + (64 << 20)).next_multiple_of(2 << 20)
}

/// The kernel's name for a driver.
pub fn kind_of(driver: GpuDriver) -> DriverKind {
    match driver {
        GpuDriver::Xe => DriverKind::Xe,
        GpuDriver::Amdkfd => DriverKind::Amdkfd,
        GpuDriver::Nouveau => DriverKind::Nouveau,
        GpuDriver::Uvmem => DriverKind::Uvmem,
    }
}

/// The kernel's name for how pages are numbered.
pub fn design_of(numbers: PageNumbers) -> PrivateDesign {
    match numbers {
        PageNumbers::PhysicalSpace => PrivateDesign::PhysicalSpace,
        PageNumbers::OwnSpace => PrivateDesign::OwnSpace,
    }
}
