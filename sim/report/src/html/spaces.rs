//! Everything that can run out: a table, those that change over time as charts, and why first requests got nothing.

use maud::{Markup, PreEscaped, html};
use peerbus_scenario::{Cell, ScenarioResult};
use peerbus_system::space::{Space, SpaceKind};
use peerbus_units::{Bytes, Picos};

use crate::{chart, describe, number, rows};

/// So many spaces get a chart.
const CHARTED: usize = 8;

/// The section; empty when nothing can run out.
pub fn section(result: &ScenarioResult) -> Markup {
    let all: Vec<(&Cell, &Space)> = rows::all_spaces(result).collect();
    let main: Vec<Vec<String>> = all
        .iter()
        .filter(|(_, space)| describe::is_of_interest(space))
        .map(|(cell, space)| rows::space(cell, space))
        .collect();
    let every: Vec<Vec<String>> = all.iter().map(|(cell, space)| rows::space_in_full(cell, space)).collect();
    // Pools have theirs beside their workload.
    let followed = |space: &Space| space.is_followed() && space.kind != SpaceKind::PeerPool;
    let followed: Vec<_> = all.iter().filter(|(_, space)| followed(space)).collect();
    html! {
        @if !all.is_empty() {
            section {
                h2 { "Address spaces" }
                (super::table(&rows::SPACE_TITLES, &main))
                (super::numbers("Everything that can run out, with slack and owners", false, &super::table(&rows::FULL_SPACE_TITLES, &every)))
                @for (cell, space) in followed.iter().take(CHARTED) { (charted(cell, space)) }
                @for (cell, space) in &all { (refusal(cell, space)) }
            }
        }
    }
}

fn refusal(cell: &Cell, space: &Space) -> Markup {
    html! {
        @if let Some(first) = &space.first_refusal {
            p { code { (cell.qualified(&space.name)) } ": " (describe::space_refusal(space, first)) }
            dl { @for cause in &first.chain { dt { (cause.what) } dd { (cause.text) } } }
        }
    }
}

/// What is taken and the largest hole over time, and their numbers.
fn charted(cell: &Cell, space: &Space) -> Markup {
    let used: Vec<u64> = space.samples.iter().map(|sample| sample.used).collect();
    // A space that is nearly empty is drawn up to the most of it that was used.
    let drawn = chart::sizes(cell.outcome.end, space.interval, Bytes(space.peak), &[&used]);
    let name = cell.qualified(&space.name);
    html! {
        @if let Some(svg) = drawn {
            figure role="img" aria-label=(format!("Use of {name} over simulated time")) {
                (PreEscaped(svg))
                ul.legend { li { i style="background:var(--s0)" {} (name) ": used" } }
            }
            (super::numbers(&format!("Numbers of the chart of {name}"), false, &samples(space)))
        }
    }
}

fn samples(space: &Space) -> Markup {
    let row = |(at, sample): (u64, &peerbus_system::space::SpaceSample)| {
        vec![
            number::time_text(Picos(space.interval.0.saturating_mul(at))),
            describe::amount_of(space, sample.used),
            describe::amount_of(space, sample.largest_hole),
        ]
    };
    let rows: Vec<Vec<String>> = (0u64..).zip(&space.samples).map(row).collect();
    super::table(&[">at", ">used", ">largest hole"], &rows)
}
