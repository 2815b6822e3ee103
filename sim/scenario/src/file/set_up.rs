//! How drivers set devices up before a run.

use peerbus_machine::file::Leaf;
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
