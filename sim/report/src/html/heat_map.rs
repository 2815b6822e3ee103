//! A matrix as a heat map, its numbers, and what holds its cells back.

use maud::{Markup, html};
use peerbus_scenario::Cell;
use peerbus_system::outcome::MatrixOutcome;

use crate::summary::{self, Spread};
use crate::{limits, number};

/// Light to dark; the first [`DARK_FROM`] carry dark letters.
const COLOURS: [&str; 7] = ["#eaf1fb", "#cbdcf4", "#a6c4eb", "#7ba8df", "#3d73bd", "#2a5a9e", "#17437f"];
const DARK_FROM: usize = 4;
const ROW: usize = 30;
const LISTED: usize = 16;

/// Heading, heat map with legend, extremes, classes and the numbers as a table.
pub fn section(cell: &Cell, matrix: &MatrixOutcome) -> Markup {
    let values = summary::matrix_values(cell, matrix);
    let spread = summary::spread(values.iter().flatten().flatten().copied());
    let classes = limits::limit_classes(cell, matrix);
    html! {
        section {
            h2 { "Matrix " (cell.qualified(&matrix.name)) }
            p { (matrix.title) }
            @match spread {
                None => p.note { "Nothing was delivered." },
                Some(spread) => {
                    (heat_map(matrix, &values, spread))
                    p {
                        "min " (number::gbytes_text(spread.min)) ", mean " (number::gbytes_text(spread.mean)) ", max "
                        (number::gbytes_text(spread.max)) " GB/s over " (spread.count) " cells"
                    }
                }
            }
            @if !classes.is_empty() { (super::table(&["limited by", "cells", ">GB/s"], &class_rows(matrix, &classes))) }
            (super::numbers("Numbers of the matrix, GB/s", false, &grid(matrix, &values)))
        }
    }
}

fn class_rows(matrix: &MatrixOutcome, classes: &[limits::LimitClass]) -> Vec<Vec<String>> {
    let row = |class: &limits::LimitClass| {
        let each =
            if class.resources > 1 { format!(" ({} resources)", class.resources) } else { String::new() };
        let speed = class.spread.map(|it| (number::gbytes_text(it.min), number::gbytes_text(it.max)));
        vec![
            format!("{}{each}", class.limited_by),
            limits::cells_text(matrix, &class.cells, LISTED),
            match speed {
                None => "-".to_owned(),
                Some((min, max)) if min == max => min,
                Some((min, max)) => format!("{min} to {max}"),
            },
        ]
    };
    classes.iter().map(row).collect()
}

fn grid(matrix: &MatrixOutcome, values: &[Vec<Option<u64>>]) -> Markup {
    let titles: Vec<String> = matrix.devices.iter().map(|name| format!(">{name}")).collect();
    let mut columns = vec!["from, to"];
    columns.extend(titles.iter().map(String::as_str));
    let text = |value: &Option<u64>| value.map_or("-".to_owned(), number::gbytes_text);
    let rows = matrix.devices.iter().zip(values).map(|(name, row)| {
        let mut cells = vec![name.clone()];
        cells.extend(row.iter().map(text));
        cells
    });
    super::table(&columns, &rows.collect::<Vec<_>>())
}

/// The scale's lower end: the slowest cell, but at most 80 % of the fastest, so that noise is not shown as a pattern.
fn low_end(spread: Spread) -> u64 {
    spread.min.min(spread.max / 5 * 4)
}

/// Which colour a value has.
fn colour(value: u64, spread: Spread) -> usize {
    let low = low_end(spread);
    let above = u128::from(value.saturating_sub(low));
    let steps = u128::try_from(COLOURS.len()).unwrap_or(1);
    let step = (above * steps).checked_div(u128::from(spread.max.saturating_sub(low))).unwrap_or(steps);
    usize::try_from(step).unwrap_or(0).min(COLOURS.len() - 1)
}

fn heat_map(matrix: &MatrixOutcome, values: &[Vec<Option<u64>>], spread: Spread) -> Markup {
    let names = summary::short_names(&matrix.devices);
    let letters = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let left = letters * 8 + 14;
    let slanted = letters > 10;
    let width = if slanted { 60 } else { (letters * 8 + 12).max(60) };
    let top = if slanted { letters * 6 + 20 } else { 26 };
    // A slanted name of the last column reaches beyond it.
    let right = if slanted { letters * 6 } else { 2 };
    let (wide, high) = (left + names.len() * width + right, top + names.len() * ROW + 2);
    html! {
        figure role="img" aria-label="Heat map: rows send, columns receive, GB/s" {
            div.scroll {
                svg viewBox=(format!("0 0 {wide} {high}")) style=(format!("max-width:{wide}px;min-width:{}px", wide / 2))
                    font-size="13" {
                    @for (at, name) in names.iter().enumerate() {
                        @let (x, y) = (left + at * width + width / 2, top - 8);
                        @if slanted {
                            text.ink x=(x) y=(y) transform=(format!("rotate(-45 {x} {y})")) { (name) }
                        } @else {
                            text.ink x=(x) y=(y) text-anchor="middle" { (name) }
                        }
                        text.ink x=(left - 8) y=(top + at * ROW + 20) text-anchor="end" { (name) }
                    }
                    @for (row, line) in values.iter().enumerate() {
                        @for (column, value) in line.iter().enumerate() {
                            (heat_cell((left + column * width, top + row * ROW), width, *value, spread))
                        }
                    }
                }
            }
            (scale(spread))
        }
    }
}

fn heat_cell((x, y): (usize, usize), width: usize, value: Option<u64>, spread: Spread) -> Markup {
    let (middle, base) = (x + width / 2, y + 20);
    html! {
        @match value {
            None => text.soft x=(middle) y=(base) text-anchor="middle" { "–" },
            Some(value) => {
                @let colour = colour(value, spread);
                rect x=(x) y=(y) width=(width - 2) height=(ROW - 2) fill=(COLOURS[colour]) {}
                text x=(middle - 1) y=(base) text-anchor="middle"
                    fill=(if colour < DARK_FROM { "#10151c" } else { "#ffffff" }) { (number::gbytes_text(value)) }
            }
        }
    }
}

fn scale(spread: Spread) -> Markup {
    html! {
        div.scale {
            span { "rows send, columns receive; " (number::gbytes_text(low_end(spread))) }
            span { @for colour in COLOURS { i style=(format!("background:{colour}")) {} } }
            span { (number::gbytes_text(spread.max)) " GB/s" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_span_the_scale() {
        let spread = |min, max| Spread { min, mean: min, max, count: 2 };
        assert_eq!(colour(0, spread(0, 70)), 0);
        assert_eq!(colour(35, spread(0, 70)), 3);
        assert_eq!(colour(70, spread(0, 70)), 6);
        // Cells within 20 % of each other are not spread over the whole scale.
        assert_eq!(colour(100, spread(99, 100)), 6);
        assert_eq!(colour(99, spread(99, 100)), 6);
        assert_eq!(colour(0, spread(0, 0)), 6);
        assert_eq!(colour(u64::MAX, spread(0, u64::MAX)), 6);
    }
}
