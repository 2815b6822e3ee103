//! A matrix in the shape of nvbandwidth's: rows send, columns receive, GB/s.

use peerbus_scenario::Cell;
use peerbus_system::outcome::MatrixOutcome;

use super::TextOptions;
use super::table::{Column, Fit, WIDTH, table, wrapped};
use crate::{limits, number, summary};

/// Devices listed in a line about a class, and classes listed at all.
const LISTED: usize = 8;

/// Title, matrix, extremes, and which cells are limited by what.
pub fn matrix(cell: &Cell, matrix: &MatrixOutcome, options: TextOptions) -> String {
    let name = cell.qualified(&matrix.name);
    let mut lines = vec![format!("{}: {}", options.heading(&format!("Matrix {name}")), matrix.title)];
    let values = summary::matrix_values(cell, matrix);
    lines.push(grid(matrix, &values));
    lines.push(match summary::spread(values.iter().flatten().flatten().copied()) {
        None => "  nothing was delivered".to_owned(),
        Some(spread) => format!(
            "  min {}, mean {}, max {} GB/s over {} cells",
            number::gbytes_text(spread.min),
            number::gbytes_text(spread.mean),
            number::gbytes_text(spread.max),
            spread.count
        ),
    });
    lines.push(classes(cell, matrix));
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

fn grid(matrix: &MatrixOutcome, values: &[Vec<Option<u64>>]) -> String {
    let names = summary::short_names(&matrix.devices);
    let mut columns = vec![Column::Left("GB/s")];
    columns.extend(names.iter().map(|name| Column::Right(name)));
    let text = |value: &Option<u64>| value.map_or("-".to_owned(), number::gbytes_text);
    let rows = names.iter().zip(values).map(|(name, row)| {
        let mut cells = vec![name.clone()];
        cells.extend(row.iter().map(text));
        cells
    });
    table(&columns, rows.collect(), Fit::Natural)
}

fn classes(cell: &Cell, matrix: &MatrixOutcome) -> String {
    let classes = limits::limit_classes(cell, matrix);
    let shown = classes.iter().take(LISTED).map(|class| {
        let speed = match class.spread {
            None => "nothing delivered".to_owned(),
            Some(spread) => match (number::gbytes_text(spread.min), number::gbytes_text(spread.max)) {
                (min, max) if min == max => format!("{min} GB/s"),
                (min, max) => format!("{min} to {max} GB/s"),
            },
        };
        let each = match class.resources {
            1 => String::new(),
            count => format!(" ({count} resources)"),
        };
        let cells = limits::cells_text(matrix, &class.cells, LISTED);
        let line = format!("limited by {}{each}: {cells}; {speed}", class.limited_by);
        wrapped(&line, 4, usize::from(WIDTH)).replacen("    ", "  ", 1)
    });
    let mut lines: Vec<String> = shown.collect();
    if classes.len() > LISTED {
        let cells: usize = classes[LISTED..].iter().map(|class| class.cells.len()).sum();
        lines.push(format!("  and {} more limits of {cells} cells", classes.len() - LISTED));
    }
    lines.join("\n")
}
