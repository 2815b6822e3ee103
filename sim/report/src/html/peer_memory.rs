//! Workloads on peer memory: numbers, and each pool's free memory over time.

use maud::{Markup, PreEscaped, html};
use peerbus_scenario::Cell;
use peerbus_system::outcome::{PeerMemoryOutcome, PoolOutcome};
use peerbus_units::Picos;

use crate::{chart, describe, number};

/// So many pools of a workload get a chart.
const CHARTED: usize = 4;

/// A section for each workload of a variant.
pub fn sections(cell: &Cell) -> Markup {
    html! { @for memory in &cell.outcome.peer_memory { (section(cell, memory)) } }
}

fn section(cell: &Cell, memory: &PeerMemoryOutcome) -> Markup {
    let titles: Vec<String> = describe::POOL_TITLES
        .iter()
        .enumerate()
        .map(|(at, title)| if at == 0 { (*title).to_owned() } else { format!(">{title}") })
        .collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let left = memory.pools.len().saturating_sub(CHARTED);
    html! {
        section {
            h2 { "Peer memory " (memory.name) @if !cell.variant.is_empty() { " of variant " (cell.variant) } }
            dl { @for (label, value) in describe::peer_memory(memory) { dt { (label) } dd { (value) } } }
            (super::table(&titles, &describe::pools(memory)))
            @for pool in memory.pools.iter().take(CHARTED) { (charted(cell, pool)) }
            @if left > 0 { p.note { (left) " more pools are in the JSON document." } }
        }
    }
}

/// Free bytes and the largest hole over time, and their numbers.
fn charted(cell: &Cell, pool: &PoolOutcome) -> Markup {
    let available: Vec<u64> = pool.samples.iter().map(|sample| sample.available.0).collect();
    let hole: Vec<u64> = pool.samples.iter().map(|sample| sample.largest_hole.0).collect();
    let drawn = chart::sizes(cell.outcome.end, pool.interval, pool.size, &[&available, &hole]);
    let label = format!("Free memory of {} and its largest hole over simulated time", pool.provider);
    html! {
        @if let Some(svg) = drawn {
            figure role="img" aria-label=(label) {
                (PreEscaped(svg))
                ul.legend {
                    li { i style="background:var(--s0)" {} (pool.provider) ": free" }
                    li { i style="background:var(--s1)" {} "largest hole" }
                }
            }
            (super::numbers(&format!("Numbers of the chart of {}", pool.provider), false, &samples(pool)))
        }
    }
}

fn samples(pool: &PoolOutcome) -> Markup {
    let row = |(at, sample): (u64, &peerbus_system::outcome::PoolSample)| {
        vec![
            number::time_text(Picos(pool.interval.0.saturating_mul(at))),
            number::bytes_text(sample.available),
            number::bytes_text(sample.largest_hole),
            number::count_text(sample.allocations),
        ]
    };
    let rows: Vec<Vec<String>> = (0u64..).zip(&pool.samples).map(row).collect();
    super::table(&[">at", ">free", ">largest hole", ">allocations"], &rows)
}
