//! The address plan of a booted machine: what every function asked for, what it got, and what is left.
//!
//! [`Plan`] is plain data that the text form and the JSON form (`peerbus.plan/1`) both show whole; neither adds
//! anything. Functions are listed as the tree is walked: each before those below it.

mod build;
mod dump;
mod log;
mod text;
mod why;

use peerbus_machine::model::Fact;
use peerbus_units::FunctionId;
use serde::Serialize;

use crate::kernel::ProfileName;

pub use build::{plan, unplaced};
pub use dump::render_dump;
pub use log::BootLine;
pub use text::render_plan;

/// Everything `peerbus plan` shows.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Plan {
    /// `peerbus.plan/1`.
    pub schema: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Name of the machine.
    pub machine: String,
    /// Kernel whose rules placed everything.
    pub profile: ProfileName,
    /// BARs and bridge windows that are, or should have been, somewhere.
    pub resources: Vec<PlannedResource>,
    /// Host-bridge windows.
    pub spaces: Vec<Space>,
    /// Host bridges.
    pub host_bridges: Vec<PlannedHostBridge>,
    /// All functions, depth first.
    pub functions: Vec<PlannedFunction>,
    /// What the kernel logged about ACS and payload sizes.
    pub log: Vec<BootLine>,
}

/// A BAR or a bridge window.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PlannedResource {
    /// Whose it is.
    pub function: FunctionId,
    /// Path of that function.
    pub name: String,
    /// The kernel's resource number: 0–5 BARs, 13–15 bridge windows.
    pub index: usize,
    /// The kernel's `IORESOURCE_*` bits.
    pub flags: u64,
    /// Bytes; `None` when the machine's source does not show it.
    pub size: Option<u64>,
    /// `io`, `mem32`, `mem32-pref`, `mem64` or `mem64-pref`: what it asks for.
    pub kind: &'static str,
    /// First byte as the CPU sees it.
    pub cpu_addr: Option<u64>,
    /// First byte as the bus sees it.
    pub bus_addr: Option<u64>,
    /// Why it has no address.
    pub why_not: Option<String>,
}

/// A window of a host bridge and how full it is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Space {
    /// Name of the host bridge.
    pub host_bridge: String,
    /// `io`, `mem32`, `mem32-pref`, `mem64` or `mem64-pref`.
    pub kind: &'static str,
    /// First byte as the CPU sees it.
    pub cpu_addr: u64,
    /// First byte as the bus sees it.
    pub bus_addr: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes taken by BARs on the root bus and windows of root ports.
    pub used: u64,
    /// Bytes that BARs anywhere below take; the rest of `used` is alignment.
    pub used_by_bars: u64,
    /// Bytes of the largest free range.
    pub largest_hole: u64,
}

/// A host bridge as the tree shows it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PlannedHostBridge {
    /// Its name.
    pub name: String,
    /// PCI domain.
    pub domain: u32,
    /// Root bus number.
    pub bus: u8,
    /// Highest bus number below it.
    pub bus_last: u8,
    /// Name of its CPU.
    pub cpu: String,
    /// Part of its CPU.
    pub part: String,
    /// What the machine's source did not say about it or its CPU.
    pub assumed: Vec<Fact>,
}

/// A function as the tree shows it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PlannedFunction {
    /// Where it answers; `None` when no configuration request reaches it.
    pub function: Option<FunctionId>,
    /// Its path.
    pub name: String,
    /// Name of its host bridge.
    pub host_bridge: String,
    /// Functions above it.
    pub depth: usize,
    /// `root bus head`, `root port`, `upstream port`, `downstream port` or `device`.
    pub role: &'static str,
    /// Part it belongs to; of a head or a root port that is the CPU's.
    pub part: String,
    /// Vendor and device, as `10de:2330`.
    pub pci: String,
    /// The link above it: PCIe generation and lanes.
    pub link: Option<PlannedLink>,
    /// Secondary and subordinate bus of a bridge.
    pub buses: Option<(u8, u8)>,
    /// True when no source mentions it.
    pub inserted: bool,
    /// What the machine's source did not say about it.
    pub assumed: Vec<Fact>,
}

/// A link in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PlannedLink {
    /// PCIe generation.
    #[serde(rename = "gen")]
    pub generation: u8,
    /// Lanes.
    pub lanes: u8,
}
