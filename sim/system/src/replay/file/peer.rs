//! Calls of peer-to-peer DMA, on a machine.

use peerbus_machine::file::{Leaf, Machine as MachineFile};
use peerbus_units::{BusAddr, Bytes, CpuAddr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::{AcsPolicy, IommuMode};

/// Boots the operating system on a machine: `file` or `tree`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// A machine file, or a synthetic machine such as `1rc:1sw:2nic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Leaf<String>>,
    /// The machine itself, as in a machine file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<Leaf<MachineFile>>,
    /// What happens to ACS control words at boot; default: they stay as firmware left them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs: Option<Leaf<AcsPolicy>>,
    /// Whether an IOMMU is in use, and how; default: as the machine's file says, or else the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iommu: Option<Leaf<IommuMode>>,
    /// The kernel's command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Leaf<String>>,
}

/// Makes a part of a BAR peer memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Register {
    /// The function, by address such as "0000:01:00.0" or by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<Leaf<String>>,
    /// Number of the BAR; default the largest prefetchable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar: Option<Leaf<usize>>,
    /// Bytes; default all from the offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
    /// Bytes from the BAR's start; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Leaf<Bytes>>,
}

/// Lets `Find` find a function's memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// The function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<Leaf<String>>,
    /// Whether it is to be found; default yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Leaf<bool>>,
}

/// Calculates map type and distance of one pair. A provider with memory remembers the type.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resolve {
    /// Whose memory it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Leaf<String>>,
    /// Who is to reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Leaf<String>>,
}

/// Sum of the distances to several clients; −1 when one of them is not supported.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Distance {
    /// Whose memory it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Leaf<String>>,
    /// Who is to reach it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Leaf<String>>,
}

/// The published providers nearest to all clients.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Find {
    /// Who is to reach them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Leaf<String>>,
}

/// Maps a page of registered memory for a client and unmaps it, as a driver does for one transfer. No time passes between
/// calls: what a kernel gives back when a timer fires stays in use.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Map {
    /// Whose memory it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Leaf<String>>,
    /// Who is to reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Leaf<String>>,
    /// Number of the BAR; default the largest prefetchable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar: Option<Leaf<usize>>,
    /// Bytes from the BAR's start; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Leaf<Bytes>>,
}

/// Writes a function's ACS control word, as a system administrator may at any time.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetAcs {
    /// The function; ports are named by their paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<Leaf<String>>,
    /// The word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Leaf<u16>>,
}

/// Overwrites what the kernel took a function for when it found it. No register changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetIds {
    /// The function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<Leaf<String>>,
    /// Its vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<Leaf<u16>>,
    /// The vendor's number for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<u16>>,
}

/// Overwrites what the kernel was told of a host bridge's window: at which bus address it begins. No register changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetWindow {
    /// CPU address of the window's first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Leaf<CpuAddr>>,
    /// Bus address it is to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<Leaf<BusAddr>>,
}
