//! What went wrong: where, why, how often, and where to look first.

use peerbus_scenario::ScenarioResult;

use super::TextOptions;
use super::table::{WIDTH, wrapped};
use crate::describe;

/// One entry per place and reason.
pub fn errors(result: &ScenarioResult, options: TextOptions) -> String {
    let mut lines = vec![options.heading("Errors")];
    for cell in &result.cells {
        for error in &cell.outcome.errors {
            lines.push(format!(
                "  {} at {}: {}",
                error.kind,
                cell.qualified(&error.place),
                describe::extent(error)
            ));
            lines.push(wrapped(&error.text, 6, usize::from(WIDTH)));
            lines.extend(describe::first(cell, error).map(|text| wrapped(&text, 6, usize::from(WIDTH))));
        }
    }
    if lines.len() == 1 {
        return String::new();
    }
    lines.join("\n")
}
