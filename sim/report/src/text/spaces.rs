//! Everything that can run out: what is left, and why the first request got nothing.

use peerbus_scenario::ScenarioResult;

use super::TextOptions;
use super::table::{Column, Fit, WIDTH, table, wrapped};
use crate::{describe, rows};

/// Size, the most in use and the least hole of each space, and the first refusals. What is part of a larger space, or was never
/// short, is shown only to those who want everything.
pub fn spaces(result: &ScenarioResult, options: TextOptions) -> String {
    let shown: Vec<_> = rows::all_spaces(result)
        .filter(|(_, space)| options.verbose || describe::is_of_interest(space))
        .collect();
    if shown.is_empty() {
        return String::new();
    }
    let columns = [
        Column::Left("space"),
        Column::Right("size"),
        Column::Right("used"),
        Column::Right("share"),
        Column::Right("largest hole"),
    ];
    let mut lines = vec![options.heading("Address spaces")];
    let rows = shown.iter().map(|(cell, space)| rows::space(cell, space)).collect();
    lines.push(table(&columns, rows, Fit::Wrapped));
    for (cell, space) in &shown {
        if options.verbose {
            let more = describe::space_details(space).into_iter().chain(describe::space_series(space));
            lines.extend(more.map(|line| format!("  {}: {line}", cell.qualified(&space.name))));
        }
        let Some(refusal) = &space.first_refusal else { continue };
        let name = cell.qualified(&space.name);
        let first = describe::space_refusal(space, refusal);
        lines.push(wrapped(&format!("{name}: {first}"), 2, usize::from(WIDTH)));
        for cause in &refusal.chain {
            lines.push(format!("    {:<12} {}", cause.what, cause.text));
        }
    }
    lines.join("\n")
}
