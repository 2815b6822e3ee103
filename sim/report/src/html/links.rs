//! The busiest links over time, and all links by how busy they were.

use maud::{Markup, PreEscaped, html};
use peerbus_scenario::Cell;
use peerbus_system::outcome::LinkOutcome;
use peerbus_units::{Bytes, Picos};

use crate::chart::{self, Line};
use crate::{describe, number, summary};

/// Chart with legend, its numbers, and the table of links.
pub fn section(cell: &Cell) -> Markup {
    let links = summary::links_by_utilisation(cell);
    let busiest: Vec<&LinkOutcome> =
        links.iter().copied().filter(|link| link.busy_time > Picos::ZERO).take(chart::LINES).collect();
    let lines: Vec<Line<'_>> = busiest.iter().map(|link| Line { busy: &link.busy }).collect();
    let drawn = chart::utilisation(cell.outcome.end, cell.outcome.interval, &lines);
    let (busy, idle): (Vec<&LinkOutcome>, Vec<&LinkOutcome>) =
        links.iter().partition(|link| summary::is_busy(cell, link));
    html! {
        @if !links.is_empty() {
            section {
                h2 { "Links" @if !cell.variant.is_empty() { " of variant " (cell.variant) } }
                @if let Some(svg) = drawn {
                    figure role="img" aria-label="Busy time of the busiest links over simulated time" {
                        (PreEscaped(svg))
                        (legend(cell, &busiest))
                    }
                    (super::numbers("Numbers of the chart: busy per interval, %", false, &series(cell, &busiest)))
                }
                (queues(cell, &links))
                @if !busy.is_empty() { (table(cell, &busy)) }
                @if !idle.is_empty() {
                    (super::numbers(&describe::idle_links(idle.len()), false, &table(cell, &idle)))
                }
                @for (link, errors) in links.iter().filter_map(|link| Some((link, link.errors.as_ref()?))) {
                    p { (link.name) ": " (describe::link_errors(errors)) }
                }
                p.note { "Efficiency: payload in all bytes sent. Starved: time TLPs waited for credits." }
            }
        }
    }
}

/// Packets waiting in front of the links with the longest queues.
fn queues(cell: &Cell, links: &[&LinkOutcome]) -> Markup {
    let most = |link: &LinkOutcome| link.queued.iter().max().copied().unwrap_or(0);
    let mut longest: Vec<&LinkOutcome> = links.iter().copied().filter(|link| most(link) > 0).collect();
    longest.sort_by_key(|link| std::cmp::Reverse(most(link)));
    longest.truncate(chart::LINES);
    let lines: Vec<&[u32]> = longest.iter().map(|link| &link.queued[..]).collect();
    let rows: Vec<Vec<String>> =
        longest.iter().map(|link| vec![link.name.clone(), most(link).to_string()]).collect();
    html! {
        @if let Some(svg) = chart::queues(cell.outcome.end, cell.outcome.interval, &lines) {
            figure role="img" aria-label="Packets waiting in front of links over simulated time" {
                (PreEscaped(svg))
                ul.legend {
                    @for (at, link) in longest.iter().enumerate() {
                        li { i style=(format!("background:var(--s{at})")) {} (link.name) }
                    }
                }
            }
            (super::numbers("Numbers of the chart: most packets waiting", false,
                &super::table(&["link", ">packets"], &rows)))
        }
    }
}

fn legend(cell: &Cell, links: &[&LinkOutcome]) -> Markup {
    let share =
        |link: &LinkOutcome| number::percent_text(number::utilisation_millionths(link, cell.outcome.end));
    html! {
        ul.legend {
            @for (at, link) in links.iter().enumerate() {
                li { i style=(format!("background:var(--s{at})")) {} (link.name) ", " (share(link)) }
            }
        }
    }
}

/// One row per interval.
fn series(cell: &Cell, links: &[&LinkOutcome]) -> Markup {
    let outcome = &cell.outcome;
    let names: Vec<String> = links.iter().map(|link| format!(">{}", link.name)).collect();
    let mut titles = vec![">from"];
    titles.extend(names.iter().map(String::as_str));
    let count = links.iter().map(|link| link.busy.len()).max().unwrap_or(0);
    let rows = (0..count).map(|at| {
        let from = outcome.interval.0.saturating_mul(u64::try_from(at).unwrap_or(u64::MAX));
        let length = outcome.interval.0.min(outcome.end.0.saturating_sub(from));
        let mut row = vec![number::time_text(Picos(from))];
        row.extend(links.iter().map(|link| {
            let busy = link.busy.get(at).and_then(|busy| number::share_millionths(busy.0, length));
            busy.map_or("-".to_owned(), number::percent_text)
        }));
        row
    });
    super::table(&titles, &rows.collect::<Vec<_>>())
}

fn table(cell: &Cell, links: &[&LinkOutcome]) -> Markup {
    let titles = ["link", "PCIe", ">busy", ">on the wire", ">payload", ">efficiency", ">starved"];
    let row = |link: &&LinkOutcome| {
        vec![
            link.name.clone(),
            describe::pcie(link),
            number::percent_text(number::utilisation_millionths(link, cell.outcome.end)),
            number::bytes_text(Bytes(link.wire_bytes.0.saturating_add(link.dllp_bytes.0))),
            number::bytes_text(link.payload_bytes),
            number::efficiency_millionths(link).map_or("-".to_owned(), number::percent_text),
            number::time_text(link.starved),
        ]
    };
    super::table(&titles, &links.iter().map(row).collect::<Vec<_>>())
}
