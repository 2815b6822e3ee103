//! The report on a terminal or in a log, for a reader who never saw the tool.
//!
//! The order is that of the reader's questions: what was run, does it hold, how fast, what held it back, where
//! the addresses are, what went wrong, what was taken for granted, how to get more. Each section is a function from the
//! result to a block of lines, empty when there is nothing to say; [`render`] alone puts blank lines between them.
//!
//! Width is at most 120 columns, except for matrices of more than eight or so devices.

mod counters;
mod errors;
mod flows;
mod header;
mod links;
mod matrix;
mod measured;
mod peer_memory;
mod spaces;
pub(crate) mod table;

use peerbus_scenario::{Cell, ScenarioResult};

use crate::{number, summary};

/// How the report is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextOptions {
    /// Every flow, every link and all details instead of what fits a screen or two.
    pub verbose: bool,
    /// A few ANSI colours for headings and verdicts.
    pub color: bool,
}

impl TextOptions {
    /// For a file or a pipe: no colour, long lists cut.
    pub const PLAIN: TextOptions = TextOptions { verbose: false, color: false };

    fn heading(self, text: &str) -> String {
        self.painted("1", text)
    }

    fn verdict(self, holds: bool) -> String {
        if holds { self.painted("32", "PASS") } else { self.painted("1;31", "FAIL") }
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The whole report; ends with a newline.
pub fn render(result: &ScenarioResult, options: TextOptions) -> String {
    let mut blocks = vec![header::header(result, options), header::expectations(result, options)];
    blocks.push(measured::measured(result, options));
    blocks.push(variants(result, options));
    for cell in &result.cells {
        blocks.extend(cell.outcome.matrices.iter().map(|matrix| matrix::matrix(cell, matrix, options)));
    }
    for cell in &result.cells {
        blocks.push(peer_memory::peer_memory(cell, options));
    }
    blocks.push(flows::flows(result, options));
    blocks.push(flows::details(result, options));
    for cell in &result.cells {
        blocks.push(links::links(cell, options));
    }
    blocks.push(spaces::spaces(result, options));
    for cell in &result.cells {
        blocks.push(counters::counters(cell, options));
    }
    blocks.push(errors::errors(result, options));
    blocks.push(header::assumed(result, options));
    blocks.push(header::footer(result, options));
    blocks.retain(|block| !block.is_empty());
    let mut text = blocks.join("\n\n");
    text.push('\n');
    text
}

/// A line about each variant, in scenarios that have variants.
fn variants(result: &ScenarioResult, options: TextOptions) -> String {
    let named = result.cells.iter().filter(|cell| !cell.variant.is_empty());
    let lines = named.map(|cell| {
        let outcome = &cell.outcome;
        table::labelled(
            &cell.variant,
            &format!(
                "{} on {}, {} simulated, digest {}",
                outcome.profile,
                outcome.machine,
                number::time_text(outcome.end),
                number::digest_text(outcome.digest)
            ),
        )
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("{}\n{}", options.heading("Variants"), lines.join("\n"))
    }
}

/// ` of variant NAME`, or nothing in a scenario without variants.
fn of_variant(cell: &Cell) -> String {
    if cell.variant.is_empty() { String::new() } else { format!(" of variant {}", cell.variant) }
}

/// How to see everything that was left out here.
fn verbose_hint(result: &ScenarioResult) -> String {
    format!("{} --verbose", summary::run_command(result))
}
