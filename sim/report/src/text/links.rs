//! The links by how busy they were.

use peerbus_scenario::Cell;
use peerbus_system::outcome::LinkOutcome;

use super::table::{Column, Fit, WIDTH, table, wrapped};
use super::{TextOptions, of_variant};
use crate::{describe, number, summary};

/// Links that were sending for more than 1 % of the run, or all of them.
pub fn links(cell: &Cell, options: TextOptions) -> String {
    let links = summary::links_by_utilisation(cell);
    if links.is_empty() {
        return String::new();
    }
    let shown: Vec<&LinkOutcome> =
        links.iter().copied().filter(|link| options.verbose || summary::is_busy(cell, link)).collect();
    let mut lines = vec![format!(
        "{}{} (efficiency: payload in all bytes sent; starved: time TLPs waited for credits)",
        options.heading("Links"),
        of_variant(cell)
    )];
    if !shown.is_empty() {
        lines.push(table(&COLUMNS, shown.iter().map(|link| row(cell, link)).collect(), Fit::Wrapped));
    }
    if shown.len() < links.len() {
        lines.push(format!("  {} not shown", describe::idle_links(links.len() - shown.len())));
    }
    for link in links {
        if let Some(errors) = &link.errors {
            lines.push(wrapped(
                &format!("{}: {}", link.name, describe::link_errors(errors)),
                2,
                usize::from(WIDTH),
            ));
        }
    }
    lines.join("\n")
}

const COLUMNS: [Column<'_>; 7] = [
    Column::Left("link"),
    Column::Left("PCIe"),
    Column::Right("busy"),
    Column::Right("on the wire"),
    Column::Right("payload"),
    Column::Right("efficiency"),
    Column::Right("starved"),
];

fn row(cell: &Cell, link: &LinkOutcome) -> Vec<String> {
    let wire = peerbus_units::Bytes(link.wire_bytes.0.saturating_add(link.dllp_bytes.0));
    vec![
        link.name.clone(),
        describe::pcie(link),
        number::percent_text(number::utilisation_millionths(link, cell.outcome.end)),
        number::bytes_text(wire),
        number::bytes_text(link.payload_bytes),
        number::efficiency_millionths(link).map_or("-".to_owned(), number::percent_text),
        if link.starved.0 == 0 { "-".to_owned() } else { number::time_text(link.starved) },
    ]
}
