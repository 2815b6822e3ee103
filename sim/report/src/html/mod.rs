//! The report as one page: nothing to fetch, nothing to run, readable on paper and in the dark.
//!
//! The sections and their order are those of [`crate::text`]; charts stand where they answer the section's question, each
//! followed by its numbers. The page is well-formed XML but for the `<meta>` tags, so tools can take it apart.

mod bars;
mod causes;
mod flows;
mod heat_map;
mod links;
mod peer_memory;
mod spaces;
mod style;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use peerbus_scenario::{Cell, ScenarioResult};

use crate::{describe, number, summary, validation};

/// The whole page.
pub fn render(result: &ScenarioResult) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "peerbus run " (result.scenario) }
                style { (PreEscaped(style::CSS)) }
            }
            body {
                (header(result))
                main {
                    (expectations(result))
                    (measured(result))
                    (variants(result))
                    @for cell in &result.cells {
                        @for matrix in &cell.outcome.matrices { (heat_map::section(cell, matrix)) }
                    }
                    @for cell in &result.cells { (peer_memory::sections(cell)) }
                    (flows::section(result))
                    @for cell in &result.cells { (links::section(cell)) }
                    (spaces::section(result))
                    @for cell in &result.cells { (counters(cell)) }
                    (errors(result))
                    (assumed(result))
                    (more(result))
                }
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    text
}

/// A table inside its own scroll area. Titles beginning with `>` are over numbers.
fn table(titles: &[&str], rows: &[Vec<String>]) -> Markup {
    let class = |at: usize| titles.get(at).filter(|title| title.starts_with('>')).map(|_| "n");
    html! {
        div.scroll {
            table {
                thead { tr {
                    @for (at, title) in titles.iter().enumerate() {
                        th scope="col" class=[class(at)] { (title.trim_start_matches('>')) }
                    }
                } }
                tbody {
                    @for row in rows { tr {
                        @for (at, cell) in row.iter().enumerate() { td class=[class(at)] { (cell) } }
                    } }
                }
            }
        }
    }
}

/// Numbers behind a chart; open at the start where they are few.
fn numbers(title: &str, open: bool, body: &Markup) -> Markup {
    html! { details open=[open.then_some("")] { summary { (title) } (body) } }
}

fn verdict(holds: bool) -> Markup {
    html! { @if holds { span.pass { "PASS" } } @else { span.fail { "FAIL" } } }
}

fn header(result: &ScenarioResult) -> Markup {
    let facts = [
        ("machine", describe::machine(result)),
        ("kernel", summary::profiles(result)),
        ("simulated time", number::time_text(summary::simulated_time(result))),
        ("run size", describe::size(result)),
        ("seed", result.seed.to_string()),
        ("digest", number::digest_text(result.digest())),
    ];
    html! {
        header {
            h1 { "peerbus run " (result.scenario) }
            p.shows { (result.description) }
            dl {
                @for (label, value) in &facts { dt { (label) } dd { (value) } }
                dt { "verdict" }
                dd {
                    @if !result.expectations.is_empty() || !result.completed() { (verdict(result.passed())) " " }
                    (describe::expectations_held(result))
                }
            }
        }
    }
}

fn expectations(result: &ScenarioResult) -> Markup {
    html! {
        @if !result.expectations.is_empty() {
            section {
                h2 { "Expectations" }
                ul.plain {
                    @for it in &result.expectations {
                        li { (verdict(it.holds)) " " code { (it.text) } @if !it.detail.is_empty() { " — " (it.detail) } }
                    }
                }
            }
        }
    }
}

fn measured(result: &ScenarioResult) -> Markup {
    let compared = result.measured.iter().filter(|row| row.is_compared());
    let rows: Vec<Vec<String>> = compared.map(crate::rows::measured).collect();
    let titles = ["value", ">measured", ">predicted", "unit", ">error", "family"];
    html! {
        @if !result.measured.is_empty() {
            section {
                h2 { "Predicted and measured" }
                p { (validation::line(&result.measured)) "." }
                @if !rows.is_empty() { (numbers("Row by row", rows.len() <= 24, &table(&titles, &rows))) }
                ul.plain {
                    @for it in validation::left_out(&result.measured) {
                        li { "Left out, " (it.count) ": " (it.reason) }
                    }
                }
            }
        }
    }
}

fn variants(result: &ScenarioResult) -> Markup {
    let named = result.cells.iter().filter(|cell| !cell.variant.is_empty());
    let rows: Vec<Vec<String>> = named
        .map(|cell| {
            let outcome = &cell.outcome;
            vec![
                cell.variant.clone(),
                outcome.profile.clone(),
                outcome.machine.clone(),
                number::time_text(outcome.end),
                number::count_text(outcome.events),
                number::digest_text(outcome.digest),
            ]
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Variants" }
                (table(&["variant", "kernel", "machine", ">simulated time", ">events", "digest"], &rows))
            }
        }
    }
}

fn counters(cell: &Cell) -> Markup {
    let rows = describe::counters(&cell.outcome);
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Counters" @if !cell.variant.is_empty() { " of variant " (cell.variant) } }
                (table(&describe::COUNTER_TITLES, &rows))
            }
        }
    }
}

fn errors(result: &ScenarioResult) -> Markup {
    let all: Vec<_> = result
        .cells
        .iter()
        .flat_map(|cell| cell.outcome.errors.iter().map(move |error| (cell, error)))
        .collect();
    html! {
        @if !all.is_empty() {
            section {
                h2 { "Errors" }
                ul.plain {
                    @for (cell, error) in all {
                        li {
                            strong { (error.kind) } " at " code { (cell.qualified(&error.place)) } ": "
                            (describe::extent(error))
                            div.note { (error.text) }
                            @if let Some(first) = describe::first(cell, error) { div.note { (first) } }
                        }
                    }
                }
            }
        }
    }
}

fn assumed(result: &ScenarioResult) -> Markup {
    let facts = summary::assumed(result);
    html! {
        @if !facts.is_empty() {
            section {
                h2 { "Assumed, because the machine file does not say" }
                ul { @for fact in facts { li { (fact) } } }
            }
        }
    }
}

fn more(result: &ScenarioResult) -> Markup {
    html! {
        section {
            h2 { "More" }
            dl {
                dt { "as JSON" } dd { code { (summary::run_command(result)) " --format json" } }
                dt { "this run again" } dd { code { (summary::reproduce(result)) } }
                dt { "written by" } dd { "peerbus " (crate::TOOL_VERSION) }
            }
        }
    }
}
