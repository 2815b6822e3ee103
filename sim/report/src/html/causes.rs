//! Where the time of flows went: a stacked bar each, and their latencies.

use maud::{Markup, html};
use peerbus_scenario::Cell;
use peerbus_system::outcome::FlowOutcome;

use super::bars::{BARS, shortened};
use crate::{describe, number};

const WIDTH: u64 = 960;
const LEFT: u64 = 364;
const ROW: u64 = 26;

/// Causes of all `flows` in the order of a packet's life, each with its colour.
fn causes(flows: &[(&Cell, &FlowOutcome)]) -> Vec<&'static str> {
    let all = peerbus_system::outcome::causes();
    let occurs = |cause: &&str| flows.iter().any(|(_, flow)| flow.time.iter().any(|(name, _)| name == cause));
    all.into_iter().filter(occurs).collect()
}

fn colour(cause: &str) -> String {
    let number = peerbus_system::outcome::causes().iter().position(|known| *known == cause);
    format!("var(--s{})", number.unwrap_or(0))
}

/// Bars, legend and numbers; nothing where no packet was sent.
pub fn section(flows: &[(&Cell, &FlowOutcome)]) -> Markup {
    let timed: Vec<_> = flows.iter().copied().filter(|(_, flow)| !flow.time.is_empty()).collect();
    let causes = causes(&timed);
    html! {
        @if !timed.is_empty() {
            figure role="img" aria-label="Time of the flows' packets by cause" {
                (bars(&timed[..timed.len().min(BARS)]))
                ul.legend {
                    @for cause in &causes { li { i style=(format!("background:{}", colour(cause))) {} (cause) } }
                }
                p.note { "Where the time of each flow's packets went, from when they could be issued until they were done." }
            }
            (super::numbers("Numbers of the chart: share of each cause", false, &table(&timed, &causes)))
        }
    }
}

fn bars(flows: &[(&Cell, &FlowOutcome)]) -> Markup {
    let height = u64::try_from(flows.len()).unwrap_or(0) * ROW + 4;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) font-size="13" {
            @for ((cell, flow), y) in flows.iter().zip((4..).step_by(26)) {
                @let name = cell.qualified(&flow.name);
                text.ink x=(LEFT - 8) y=(y + 16) text-anchor="end" { title { (name) } (shortened(&name)) }
                @for (cause, share, from, to) in pieces(flow) {
                    rect x=(from) y=(y) width=(to - from) height=(ROW - 6) fill=(colour(cause)) {
                        title { (cause) " " (number::percent_text(share)) }
                    }
                }
            }
        }
    }
}

/// Cause, share, begin and end of each piece of a flow's bar.
fn pieces(flow: &FlowOutcome) -> Vec<(&'static str, u64, u64, u64)> {
    let mut before = 0;
    let place = |share: u64| LEFT + share.min(1_000_000) * (WIDTH - LEFT) / 1_000_000;
    let piece = |(cause, share)| {
        let from = before;
        before += share;
        (cause, share, place(from), place(before))
    };
    describe::shares(flow).into_iter().map(piece).collect()
}

fn table(flows: &[(&Cell, &FlowOutcome)], causes: &[&'static str]) -> Markup {
    let titles: Vec<String> =
        std::iter::once("flow".to_owned()).chain(causes.iter().map(|cause| format!(">{cause}"))).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let row = |(cell, flow): &(&Cell, &FlowOutcome)| {
        let shares = describe::shares(flow);
        let share = |cause: &&str| {
            let found = shares.iter().find(|(name, _)| name == cause);
            found.map_or("-".to_owned(), |(_, share)| number::percent_text(*share))
        };
        std::iter::once(cell.qualified(&flow.name)).chain(causes.iter().map(share)).collect()
    };
    super::table(&titles, &flows.iter().map(row).collect::<Vec<_>>())
}

/// A flow's latencies by quarters of octaves; nothing where there are none.
pub fn latencies(flow: &FlowOutcome) -> Markup {
    let all = flow.latencies.iter().fold(0u64, |sum, bucket| sum.saturating_add(bucket.count));
    let most = flow.latencies.iter().map(|bucket| bucket.count).max().unwrap_or(0).max(1);
    let rows: Vec<(u64, String, String, u64)> = (0..)
        .zip(&flow.latencies)
        .map(|(at, bucket)| {
            let span = format!("{} to {}", number::time_text(bucket.from), number::time_text(bucket.to));
            let share = number::share_millionths(bucket.count, all).unwrap_or(0);
            let count = format!("{} ({})", number::count_text(bucket.count), number::percent_text(share));
            let length = u128::from(bucket.count) * 400 / u128::from(most);
            (at * ROW + 4, span, count, u64::try_from(length).unwrap_or(0))
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            div role="img" aria-label="Latencies" {
                svg viewBox=(format!("0 0 {WIDTH} {}", rows.len() * 26 + 4)) font-size="13" {
                    @for (y, span, count, length) in &rows {
                        text.ink x="212" y=(y + 16) text-anchor="end" { (span) }
                        rect x="220" y=(y) width=(length) height=(ROW - 6) fill="var(--bar)" {}
                        text.ink x=(length + 226) y=(y + 16) { (count) }
                    }
                }
            }
        }
    }
}
