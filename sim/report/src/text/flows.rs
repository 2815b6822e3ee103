//! The flows: one line each, then one block each where there are few.

use peerbus_scenario::{Cell, ScenarioResult};
use peerbus_system::outcome::FlowOutcome;

use super::table::{Column, Fit, labelled, table};
use super::{TextOptions, verbose_hint};
use crate::{describe, rows};

/// Lines of the table unless everything is asked for.
const LISTED: usize = 40;
/// At most so many flows get a block of details unless everything is asked for.
const DETAILED: usize = 12;

fn all(result: &ScenarioResult) -> Vec<(&Cell, &FlowOutcome)> {
    result.cells.iter().flat_map(|cell| cell.outcome.flows.iter().map(move |flow| (cell, flow))).collect()
}

/// Bytes, time, GB/s, latency, limit and map type of each flow.
pub fn flows(result: &ScenarioResult, options: TextOptions) -> String {
    let (flows, idle) = listed(result, options);
    if flows.is_empty() && idle == 0 {
        return format!("{}: none", options.heading("Flows"));
    }
    let columns = [
        Column::Left("flow"),
        Column::Right("bytes"),
        Column::Right("time"),
        Column::Right("GB/s"),
        Column::Right("p50"),
        Column::Right("p99"),
        Column::Left("limited by"),
        Column::Left("map type"),
    ];
    let shown = if options.verbose { flows.len() } else { flows.len().min(LISTED) };
    let rows = flows.iter().take(shown).map(|(cell, flow)| rows::flow(cell, flow)).collect();
    let mut lines = vec![format!(
        "{} (p50 and p99: latency of a request; * of a whole transfer)",
        options.heading("Flows")
    )];
    if shown > 0 {
        lines.push(table(&columns, rows, Fit::Wrapped));
    }
    if shown < flows.len() {
        let rest = flows.len() - shown;
        lines.push(format!("  {rest} of {} flows not shown; see all: {}", flows.len(), verbose_hint(result)));
    }
    if idle > 0 {
        lines.push(format!("  {}; see all: {}", describe::idle_flows(idle), verbose_hint(result)));
    }
    lines.join("\n")
}

/// Those that moved something, and how many did not; all of them when everything is asked for.
fn listed(result: &ScenarioResult, options: TextOptions) -> (Vec<(&Cell, &FlowOutcome)>, usize) {
    if options.verbose { (all(result), 0) } else { describe::busy_flows(all(result)) }
}

/// Path, addresses and what each flow depends on: for few flows, or when everything is asked for.
pub fn details(result: &ScenarioResult, options: TextOptions) -> String {
    let (flows, _) = listed(result, options);
    if !options.verbose && flows.len() > DETAILED {
        return String::new();
    }
    let blocks: Vec<String> = flows.iter().map(|(cell, flow)| detail(cell, flow, options)).collect();
    blocks.join("\n\n")
}

fn detail(cell: &Cell, flow: &FlowOutcome, options: TextOptions) -> String {
    let heading = options.heading(&format!("Flow {}", cell.qualified(&flow.name)));
    let mut lines = vec![format!("{heading}: {} to {}", flow.from, flow.to)];
    for (label, value) in describe::facts(flow) {
        lines.push(labelled(label, &value));
    }
    lines.join("\n")
}
