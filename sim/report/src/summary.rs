//! What text and HTML both say: a matrix's extremes and limits, the links worth naming, short names.

use std::collections::BTreeSet;

use peerbus_scenario::{Cell, ScenarioResult};
use peerbus_system::outcome::{FlowOutcome, LinkOutcome, MatrixOutcome};
use peerbus_units::Picos;

use crate::number;

/// Kernel profiles of the variants in order of appearance, joined by " + " when they differ.
pub fn profiles(result: &ScenarioResult) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for cell in &result.cells {
        if !seen.contains(&cell.outcome.profile.as_str()) {
            seen.push(&cell.outcome.profile);
        }
    }
    seen.join(" + ")
}

/// Simulated time of the longest variant.
pub fn simulated_time(result: &ScenarioResult) -> Picos {
    result.cells.iter().map(|cell| cell.outcome.end).max().unwrap_or(Picos::ZERO)
}

/// Facts that were assumed, each once, in order of appearance.
pub fn assumed(result: &ScenarioResult) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let facts = result.cells.iter().flat_map(|cell| &cell.outcome.assumed);
    facts.map(String::as_str).filter(|fact| seen.insert(*fact)).collect()
}

/// The flow of a matrix cell; `None` where there is none.
pub fn matrix_flow<'a>(
    cell: &'a Cell,
    matrix: &MatrixOutcome,
    row: usize,
    column: usize,
) -> Option<&'a FlowOutcome> {
    let index = (*matrix.cells.get(row)?.get(column)?)?;
    cell.outcome.flows.get(index)
}

/// Throughput of each cell of a matrix in millionths of a GB/s.
pub fn matrix_values(cell: &Cell, matrix: &MatrixOutcome) -> Vec<Vec<Option<u64>>> {
    let value = |row, column| matrix_flow(cell, matrix, row, column).and_then(number::throughput_millionths);
    (0..matrix.cells.len())
        .map(|row| (0..matrix.devices.len()).map(|column| value(row, column)).collect())
        .collect()
}

/// Extremes and mean of a matrix, in millionths of a GB/s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spread {
    /// Slowest cell.
    pub min: u64,
    /// Mean of the cells, rounded down.
    pub mean: u64,
    /// Fastest cell.
    pub max: u64,
    /// Cells with a value.
    pub count: usize,
}

/// Extremes of the values there are; `None` when there are none.
pub fn spread(values: impl IntoIterator<Item = u64>) -> Option<Spread> {
    let (mut min, mut max, mut sum, mut count) = (u64::MAX, 0, 0u128, 0usize);
    for value in values {
        (min, max) = (min.min(value), max.max(value));
        sum += u128::from(value);
        count += 1;
    }
    let mean = sum.checked_div(u128::try_from(count).unwrap_or(u128::MAX))?;
    Some(Spread { min, mean: u64::try_from(mean).unwrap_or(u64::MAX), max, count })
}

/// The last parts of paths where these tell the names apart (`host0/rp1/gpu2` as `gpu2`), else the names.
pub fn short_names(names: &[String]) -> Vec<String> {
    let short: Vec<&str> = names.iter().map(|name| name.rsplit('/').next().unwrap_or(name)).collect();
    let distinct: BTreeSet<&str> = short.iter().copied().collect();
    match distinct.len() == names.len() {
        true => short.into_iter().map(str::to_owned).collect(),
        false => names.to_vec(),
    }
}

/// Links by utilisation, the busiest first, then by name.
pub fn links_by_utilisation(cell: &Cell) -> Vec<&LinkOutcome> {
    let mut links: Vec<&LinkOutcome> = cell.outcome.links.iter().collect();
    links.sort_by(|a, b| b.busy_time.cmp(&a.busy_time).then_with(|| a.name.cmp(&b.name)));
    links
}

/// True when a link was sending for more than 1 % of the run.
pub fn is_busy(cell: &Cell, link: &LinkOutcome) -> bool {
    number::utilisation_millionths(link, cell.outcome.end) > 10_000
}

/// Flows that no matrix of the cell shows.
pub fn flows_outside_matrices(cell: &Cell) -> Vec<&FlowOutcome> {
    let shown: BTreeSet<usize> = cell
        .outcome
        .matrices
        .iter()
        .flat_map(|matrix| matrix.cells.iter().flatten().flatten().copied())
        .collect();
    cell.outcome
        .flows
        .iter()
        .enumerate()
        .filter(|(at, _)| !shown.contains(at))
        .map(|(_, flow)| flow)
        .collect()
}

/// The command that gives this result again.
pub fn reproduce(result: &ScenarioResult) -> String {
    format!("{} --seed {}", run_command(result), result.seed)
}

/// `peerbus run SCENARIO`, with the path quoted for a shell where it must be.
pub fn run_command(result: &ScenarioResult) -> String {
    let path = &result.scenario;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:,@=".contains(letter);
    match !path.is_empty() && path.chars().all(plain) {
        true => format!("peerbus run {path}"),
        false => format!("peerbus run '{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay_distinct() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(short_names(&names(&["h0/gpu0", "h1/gpu1"])), names(&["gpu0", "gpu1"]));
        assert_eq!(short_names(&names(&["h0/gpu0", "h1/gpu0"])), names(&["h0/gpu0", "h1/gpu0"]));
    }

    #[test]
    fn spread_of_nothing_is_nothing() {
        assert_eq!(spread([]), None);
        assert_eq!(spread([u64::MAX, u64::MAX]).map(|it| it.mean), Some(u64::MAX));
    }
}
