//! Rows of the tables that text and HTML both show: the same cells in the same order.

use peerbus_scenario::measured::Comparison;
use peerbus_scenario::{Cell, ScenarioResult};
use peerbus_system::outcome::FlowOutcome;

use crate::{describe, number, validation};

/// A flow: name, amount, time, GB/s, latencies (p50, p99), limit and map type.
pub fn flow(cell: &Cell, flow: &FlowOutcome) -> Vec<String> {
    let (p50, p99) = describe::latencies(flow);
    vec![
        cell.qualified(&flow.name),
        describe::amount(flow),
        number::time_text(flow.duration()),
        number::throughput_millionths(flow).map_or("-".to_owned(), number::gbytes_text),
        p50,
        p99,
        describe::limit(flow),
        describe::map_type(flow),
    ]
}

/// Each address space of each variant: name, size, used, share of the size, and the largest hole.
pub fn spaces(result: &ScenarioResult) -> Vec<Vec<String>> {
    let all = result.cells.iter().flat_map(|cell| cell.outcome.spaces.iter().map(move |space| (cell, space)));
    all.map(|(cell, space)| {
        let share = number::share_millionths(space.used.0, space.size.0);
        vec![
            cell.qualified(&space.name),
            number::bytes_text(space.size),
            number::bytes_text(space.used),
            share.map_or("-".to_owned(), number::percent_text),
            number::bytes_text(space.largest_hole),
        ]
    })
    .collect()
}

/// A measured value: what it is of, measured and predicted value, unit, error and family.
pub fn measured(row: &Comparison) -> Vec<String> {
    let measurement = &row.measurement;
    let text = |value| measurement.unit.millionths(value).map_or("-".to_owned(), number::gbytes_text);
    vec![
        measurement.of.clone(),
        measurement.value.map_or("-".to_owned(), text),
        row.predicted.as_ref().map_or("-".to_owned(), |value| text(*value)),
        measurement.unit.name.clone(),
        row.error_ppm.map_or("-".to_owned(), validation::error_text),
        measurement.family.clone(),
    ]
}
