//! Measured values beside what was simulated.

use peerbus_scenario::ScenarioResult;

use super::table::{Column, Fit, labelled, table};
use super::{TextOptions, verbose_hint};
use crate::{rows, validation};

/// Rows unless everything is asked for.
const LISTED: usize = 24;

/// A table of what is compared, and what is left out with its reason.
pub fn measured(result: &ScenarioResult, options: TextOptions) -> String {
    if result.measured.is_empty() {
        return String::new();
    }
    let compared = result.measured.iter().filter(|row| row.is_compared());
    let all: Vec<Vec<String>> = compared.map(rows::measured).collect();
    let more = if options.verbose { 0 } else { all.len().saturating_sub(LISTED) };
    let mut blocks = vec![options.heading("Predicted and measured")];
    blocks.push(format!("  {}", validation::line(&result.measured)));
    if !all.is_empty() {
        let titles = [
            Column::Left("value"),
            Column::Right("measured"),
            Column::Right("predicted"),
            Column::Left("unit"),
            Column::Right("error"),
            Column::Left("family"),
        ];
        let shown = all.len() - more;
        blocks.push(table(&titles, all.into_iter().take(shown).collect(), Fit::Wrapped));
    }
    if more > 0 {
        blocks.push(format!("  {more} more; see all: {}", verbose_hint(result)));
    }
    for reason in validation::left_out(&result.measured) {
        blocks.push(labelled("left out", &format!("{}: {}", reason.count, reason.reason)));
    }
    blocks.join("\n")
}
