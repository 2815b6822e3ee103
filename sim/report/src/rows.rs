//! Rows of the tables that text and HTML both show: the same cells in the same order.

use peerbus_scenario::measured::Comparison;
use peerbus_scenario::{Cell, ScenarioResult};
use peerbus_system::outcome::FlowOutcome;
use peerbus_system::space::Space;

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

/// Everything that can run out, variant by variant.
pub fn all_spaces(result: &ScenarioResult) -> impl Iterator<Item = (&Cell, &Space)> {
    result.cells.iter().flat_map(|cell| cell.outcome.spaces.iter().map(move |space| (cell, space)))
}

/// Titles of [`space`].
pub const SPACE_TITLES: [&str; 5] = ["space", ">size", ">used", ">share", ">largest hole"];

/// A space: name, size, the most in use, share of the size, and the least that its largest hole was.
pub fn space(cell: &Cell, space: &Space) -> Vec<String> {
    let share = number::share_millionths(space.peak, space.size);
    vec![
        cell.qualified(&space.name),
        describe::amount_of(space, space.size),
        describe::amount_of(space, space.peak),
        share.map_or("-".to_owned(), number::percent_text),
        describe::amount_of(space, space.least_hole),
    ]
}

/// Titles of [`space_in_full`].
pub const FULL_SPACE_TITLES: [&str; 10] = [
    "space",
    ">size",
    ">used",
    ">share",
    ">largest hole",
    ">alignment",
    ">granule",
    ">fragmentation",
    ">refused",
    "owners",
];

/// The same with slack by alignment and by granule, fragmentation, refusals and owners.
pub fn space_in_full(cell: &Cell, it: &Space) -> Vec<String> {
    let mut row = space(cell, it);
    row.extend([
        describe::amount_of(it, it.alignment),
        describe::amount_of(it, it.granule),
        number::percent_text(it.fragmentation_ppm.into()),
        number::count_text(it.refusals),
        describe::owners(it),
    ]);
    row
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
