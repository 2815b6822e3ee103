//! The flows: bars for those that no matrix shows, then the numbers and details of all.

use maud::{Markup, html};
use peerbus_scenario::{Cell, ScenarioResult};
use peerbus_system::outcome::FlowOutcome;

use super::bars;
use crate::{describe, number, rows, summary};

/// So many rows are shown without asking.
const OPEN: usize = 40;
/// So many flows get their details into the page.
const DETAILED: usize = 64;

/// Chart, table and details.
pub fn section(result: &ScenarioResult) -> Markup {
    let flows: Vec<(&Cell, &FlowOutcome)> = result
        .cells
        .iter()
        .flat_map(|cell| cell.outcome.flows.iter().map(move |flow| (cell, flow)))
        .collect();
    let (flows, idle) = describe::busy_flows(flows);
    let bars = bars_of(result);
    let rows: Vec<Vec<String>> = flows.iter().map(|(cell, flow)| rows::flow(cell, flow)).collect();
    let titles = ["flow", ">bytes", ">time", ">GB/s", ">p50", ">p99", "limited by", "map type"];
    html! {
        section {
            h2 { "Flows" }
            @if flows.is_empty() { p.note { "None." } }
            @if !bars.is_empty() { (bars::chart(&bars[..bars.len().min(bars::BARS)])) }
            @if bars.len() > bars::BARS { p.note { (bars.len() - bars::BARS) " more flows are in the table only." } }
            @if !flows.is_empty() {
                (super::numbers("Numbers of the flows (p50 and p99: latency of a request; * of a whole transfer)",
                    rows.len() <= OPEN, &super::table(&titles, &rows)))
                (super::causes::section(&flows))
                (details(&flows))
            }
            @if idle > 0 { p.note { (describe::idle_flows(idle)) "." } }
        }
    }
}

/// Flows outside matrices.
fn bars_of(result: &ScenarioResult) -> Vec<(String, Option<u64>)> {
    let flows = |cell| {
        let flows = summary::flows_outside_matrices(cell).into_iter();
        flows.filter(|flow| flow.bytes.0 > 0).map(move |flow| (cell, flow))
    };
    let bar = |(cell, flow): (&Cell, &FlowOutcome)| {
        (cell.qualified(&flow.name), number::throughput_millionths(flow))
    };
    result.cells.iter().flat_map(flows).map(bar).collect()
}

fn details(flows: &[(&Cell, &FlowOutcome)]) -> Markup {
    let left = flows.len().saturating_sub(DETAILED);
    let body = html! {
        @for (cell, flow) in flows.iter().take(DETAILED) {
            details {
                summary { (cell.qualified(&flow.name)) ": " (flow.from) " to " (flow.to) }
                dl { @for (label, value) in describe::facts(flow) { dt { (label) } dd { (value) } } }
                (super::causes::latencies(flow))
            }
        }
        @if left > 0 { p.note { (left) " more flows are in the JSON document." } }
    };
    super::numbers("Path, addresses and assumptions of each flow", false, &body)
}
