//! What went wrong: where, why, how often, and where to look first.

use std::collections::BTreeMap;

use peerbus_scenario::ScenarioResult;

use super::table::{WIDTH, wrapped};
use super::{TextOptions, verbose_hint};
use crate::describe;

/// Entries of a kind for each variant unless everything is asked for: the first ones tell why, the rest how many.
const LISTED: usize = 8;

/// One entry per place and reason.
pub fn errors(result: &ScenarioResult, options: TextOptions) -> String {
    let mut lines = vec![options.heading("Errors")];
    for cell in &result.cells {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for error in &cell.outcome.errors {
            let count = seen.entry(&error.kind).or_default();
            *count += 1;
            if *count > LISTED && !options.verbose {
                continue;
            }
            lines.push(format!(
                "  {} at {}: {}",
                error.kind,
                cell.qualified(&error.place),
                describe::extent(error)
            ));
            lines.push(wrapped(&error.text, 6, usize::from(WIDTH)));
            lines.extend(describe::first(cell, error).map(|text| wrapped(&text, 6, usize::from(WIDTH))));
        }
        for (kind, count) in seen.into_iter().filter(|(_, count)| *count > LISTED && !options.verbose) {
            let (rest, place) = (count - LISTED, cell.qualified("…"));
            lines.push(format!("  {kind} at {place}: {rest} more places; see all: {}", verbose_hint(result)));
        }
    }
    if lines.len() == 1 {
        return String::new();
    }
    lines.join("\n")
}
