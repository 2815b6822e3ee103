//! Measured values as written: rows, and groups that say once what their rows have in common.

use peerbus_machine::file::Leaf;
use peerbus_units::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How several predicted values become the one that was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum How {
    /// There is one only.
    #[default]
    Single,
    /// Bytes that all of the flows delivered, over the time from the first start to the last end.
    Total,
    /// Their mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// A measured value, or a group of them: what a row does not say, its group says. `left_out` needs no `value`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Measured {
    /// What the value is of, as conditions write it: `flow.same-switch/peer.throughput`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Leaf<String>>,
    /// How several flows make the value; default `Single`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<Leaf<How>>,
    /// The value in `unit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Leaf<f64>>,
    /// `GB/s`, `Gbit/s`, `GiB/s`, `MB/s`, `ns`, `us`, `ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Leaf<String>>,
    /// Part of the value that is no matter of the fabric, such as `190ns` of a test program: taken off before comparing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub includes: Option<Leaf<String>>,
    /// Bytes of a transfer, where summaries tell large ones from small ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
    /// What it is summed up with, such as `pair matrix, same switch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Leaf<String>>,
    /// Who measured it, and where that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Leaf<String>>,
    /// The table it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Leaf<String>>,
    /// Its line there, from 1; several that are left out together as `2-25, 30`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<Leaf<String>>,
    /// Why it is not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Leaf<String>>,
    /// The physical reason of a deviation that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<Leaf<String>>,
    /// Rows that have all of this in common.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Measured>,
}

/// Measured values from a JSON file that nvbandwidth wrote.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MeasuredFrom {
    /// The file, seen from where the program runs or from the scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Leaf<String>>,
    /// The test case, such as `device_to_device_memcpy_write_ce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub testcase: Option<Leaf<String>>,
    /// What each element of its matrix is of; `{row}` and `{column}` stand for its indices: `flow.gpu{row}.throughput`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Leaf<String>>,
    /// How several flows make the value; default `Single`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<Leaf<How>>,
    /// What they are summed up with; default the test case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Leaf<String>>,
}
