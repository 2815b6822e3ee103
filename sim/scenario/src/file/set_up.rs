//! How drivers set devices up before a run.

use peerbus_machine::file::Leaf;
use peerbus_system::device_memory::{Drivers, FrameDesign};
use peerbus_units::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What of their memory devices show by their largest memory BAR, which has a table of pages (`aperture` in the machine file).
/// Without an entry: all from the first byte on, as far as the BAR reaches.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Aperture {
    /// Devices, by name or pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// The memory from that byte on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Leaf<Bytes>>,
    /// Instead: these runs of pages, and nothing where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Run>,
}

/// Pages that follow each other in the BAR and in the memory; all in multiples of the device's page.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// Bytes of the BAR before them; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar: Option<Leaf<Bytes>>,
    /// Bytes of the memory before them; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Leaf<Bytes>>,
    /// Bytes of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
}

/// What drivers do with the memory of their devices when the machine has come up: GPUs ask for page structs of it. What is
/// refused is an error, `DEVICE_MEMORY_REFUSED`, and what is left is among the report's spaces.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceMemory {
    /// Where frames come from; default `PhysicalSpace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub design: Option<Leaf<FrameDesign>>,
    /// How much drivers ask for at a time; default `AtStart`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drivers: Option<Leaf<Drivers>>,
    /// Physical address bits that the CPU, or a hypervisor, tells of; default those of its part. RAM and windows beyond are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub physical_bits: Option<Leaf<u8>>,
    /// Levels of an x86 kernel's page tables, 4 or 5; default as many as its CPU walks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paging: Option<Leaf<u8>>,
    /// The windows above 4 GiB are instead the uppermost 1/N of physical addresses, as the firmware of a guest makes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_window: Option<Leaf<u8>>,
    /// Kernels shorten the direct map to RAM and 10 TiB, as all did until 6.15; default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trimmed: Option<Leaf<bool>>,
}

/// The table of requesters of one side of a non-transparent bridge. Without an entry: the devices that workloads send through
/// that side.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Requesters {
    /// The device that is the side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// Devices of its host, or patterns such as `gpu*`.
    pub requesters: Vec<Leaf<String>>,
}
