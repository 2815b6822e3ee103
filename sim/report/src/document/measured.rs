//! Measured values in the document.

use peerbus_scenario::measured::{Comparison, Lines};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number;

/// A measured value and what was simulated of it; or several that are left out together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MeasuredDocument {
    /// What it is of, as conditions write it; empty for a row that is left out without saying.
    pub of: String,
    /// What it is summed up with.
    pub family: String,
    /// Unit of `measured` and `predicted`.
    pub unit: String,
    /// The measured value, without what is no matter of the fabric.
    pub measured: Option<f64>,
    /// The simulated value; `null` for a row that is left out or came to nothing.
    pub predicted: Option<f64>,
    /// (predicted − measured) / measured.
    pub error: Option<f64>,
    /// Why nothing is predicted.
    pub left_out: Option<String>,
    /// The physical reason of a known deviation.
    pub deviation: Option<String>,
    /// Who measured it.
    pub source: String,
    /// The table it stands in.
    pub table: String,
    /// Its line there, or lines.
    pub row: String,
    /// Measured values it stands for.
    pub count: u64,
}

/// The entry of `comparison`.
pub(super) fn measured_document(comparison: &Comparison) -> MeasuredDocument {
    let measurement = &comparison.measurement;
    let in_unit = |value| measurement.unit.millionths(value).map(|n| number::from_millionths(n.into()));
    let share = |ppm: i64| {
        let size = number::from_millionths(ppm.unsigned_abs().into());
        if ppm < 0 { -size } else { size }
    };
    MeasuredDocument {
        of: measurement.of.clone(),
        family: measurement.family.clone(),
        unit: measurement.unit.name.clone(),
        measured: measurement.value.and_then(in_unit),
        predicted: comparison.predicted.as_ref().ok().copied().and_then(in_unit),
        error: comparison.error_ppm.map(share),
        left_out: comparison.reason().map(str::to_owned),
        deviation: measurement.deviation.clone(),
        source: measurement.source.clone(),
        table: measurement.table.clone(),
        row: Lines(&measurement.lines).to_string(),
        count: measurement.count(),
    }
}
