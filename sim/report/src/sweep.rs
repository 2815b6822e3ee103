//! `peerbus.sweep/1`: one line of JSON for each point of a sweep.
//!
//! A line holds the values of the point, then what a run's document holds of flows, errors and expectations, with the time
//! by cause and without series and histograms.

use std::collections::BTreeMap;

use peerbus_scenario::ScenarioResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::{ErrorDocument, ExpectationDocument, FlowDocument, RunDocument};
use crate::json::compact;

/// Name and number of the schema.
pub const SCHEMA: &str = "peerbus.sweep/1";

/// One point.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PointDocument {
    /// `peerbus.sweep/1`.
    pub schema: String,
    /// Path of the scenario file as given.
    pub scenario: String,
    /// Number of the point, from 0.
    pub point: u64,
    /// Values of the swept fields by their paths.
    pub values: BTreeMap<String, Value>,
    /// Path or synthetic form of the machine.
    pub machine: String,
    /// Seed of the random streams.
    pub seed: u64,
    /// What crossed the wires: 16 hexadecimal digits.
    pub digest: String,
    /// True when the run came to its end and every expectation held.
    pub passed: bool,
    /// Simulated time at the end, of the longest variant.
    pub end_ps: u64,
    /// Flows of all variants.
    pub flows: Vec<FlowDocument>,
    /// What went wrong, by place and reason.
    pub errors: Vec<ErrorDocument>,
    /// The scenario's conditions.
    pub expectations: Vec<ExpectationDocument>,
}

/// The line of point number `point`, which has `values`; ends with a newline.
pub fn line(point: usize, values: &[(&str, &Value)], result: &ScenarioResult) -> String {
    let document = RunDocument::new(result);
    let mut flows = document.flows;
    flows.iter_mut().for_each(|flow| flow.latency_histogram_ps = None);
    let point = PointDocument {
        schema: SCHEMA.to_owned(),
        scenario: document.scenario,
        point: u64::try_from(point).unwrap_or(u64::MAX),
        values: values.iter().map(|(path, value)| ((*path).to_owned(), (*value).clone())).collect(),
        machine: document.machine,
        seed: document.seed,
        digest: document.digest,
        passed: document.passed,
        end_ps: document.cells.iter().map(|cell| cell.end_ps).max().unwrap_or(0),
        flows,
        errors: document.errors,
        expectations: document.expectations,
    };
    let mut text = compact(&point);
    text.push('\n');
    text
}
