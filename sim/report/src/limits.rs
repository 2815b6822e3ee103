//! Which cells of a matrix are held back by what, in as few words as the matrix allows.
//!
//! Flows with the same limit form a class. Where there are many classes, resources whose names differ only in
//! numbers are one class, `host0/rp*/gpu* uplink gen4 x16`; a number that all of them share stays.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_scenario::Cell;
use peerbus_system::outcome::MatrixOutcome;

use crate::summary::{Spread, matrix_flow, short_names, spread};
use crate::{describe, number};

/// Cells of a matrix that the same resource holds back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitClass {
    /// The resources joined by " + ", with `*` for numbers in which the members differ; or why nothing moved.
    pub limited_by: String,
    /// How many different resources `limited_by` stands for.
    pub resources: usize,
    /// Row and column of each cell, in the matrix's order.
    pub cells: Vec<(usize, usize)>,
    /// Their throughputs; `None` when nothing moved.
    pub spread: Option<Spread>,
}

/// More classes than this, and resources that differ only in numbers are taken together.
const CLASSES_READABLE: usize = 6;

/// Which cells are limited by what: the largest class first, then by name.
pub fn limit_classes(cell: &Cell, matrix: &MatrixOutcome) -> Vec<LimitClass> {
    let mut members: Vec<(String, (usize, usize))> = Vec::new();
    for (row, cells) in matrix.cells.iter().enumerate() {
        for column in 0..cells.len() {
            if let Some(flow) = matrix_flow(cell, matrix, row, column) {
                members.push((describe::limit(flow), (row, column)));
            }
        }
    }
    let exact = classes(cell, matrix, &members, str::to_owned);
    if exact.len() <= CLASSES_READABLE { exact } else { classes(cell, matrix, &members, without_numbers) }
}

/// Names of resources and the cells they hold back.
type Members<'a> = (BTreeSet<&'a str>, Vec<(usize, usize)>);

fn classes(
    cell: &Cell,
    matrix: &MatrixOutcome,
    members: &[(String, (usize, usize))],
    key: impl Fn(&str) -> String,
) -> Vec<LimitClass> {
    let mut groups: BTreeMap<String, Members<'_>> = BTreeMap::new();
    for (limit, place) in members {
        let (names, cells) = groups.entry(key(limit)).or_default();
        names.insert(limit);
        cells.push(*place);
    }
    let mut classes: Vec<LimitClass> = groups
        .into_values()
        .map(|(names, cells)| {
            let flows = cells.iter().filter_map(|(row, column)| matrix_flow(cell, matrix, *row, *column));
            let spread = spread(flows.filter_map(number::throughput_millionths));
            LimitClass { limited_by: common_name(&names), resources: names.len(), cells, spread }
        })
        .collect();
    classes.sort_by(|a, b| b.cells.len().cmp(&a.cells.len()).then_with(|| a.limited_by.cmp(&b.limited_by)));
    classes
}

/// Pieces of a name: runs of digits and what is between them, in turn.
fn pieces(name: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let digit = |at: usize| name.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    for at in 1..name.len() {
        if digit(at) != digit(at - 1) {
            pieces.push(&name[start..at]);
            start = at;
        }
    }
    pieces.push(&name[start..]);
    pieces
}

fn is_number(piece: &str) -> bool {
    piece.starts_with(|letter: char| letter.is_ascii_digit())
}

/// `gpu12 uplink` as `gpu* uplink`.
fn without_numbers(name: &str) -> String {
    pieces(name).into_iter().map(|piece| if is_number(piece) { "*" } else { piece }).collect()
}

/// Names of one pattern with `*` for the numbers in which they differ.
fn common_name(names: &BTreeSet<&str>) -> String {
    let all: Vec<Vec<&str>> = names.iter().map(|name| pieces(name)).collect();
    let Some(first) = all.first() else { return String::new() };
    let same = |at: usize, piece: &str| all.iter().all(|other| other.get(at) == Some(&piece));
    first.iter().enumerate().map(|(at, piece)| if same(at, piece) { piece } else { "*" }).collect()
}

/// Cells of a matrix in words: `all 56 cells`, `rows gpu0, gpu1`, `gpu0, gpu1 → gpu2, gpu3`, `gpu0, gpu1 among
/// themselves`.
///
/// At most `limit` groups, and `limit` devices in each, are listed, then how many more there are.
pub fn cells_text(matrix: &MatrixOutcome, cells: &[(usize, usize)], limit: usize) -> String {
    let all = cells_with_flows(matrix);
    if cells.len() == all.len() {
        return format!("all {} cells", cells.len());
    }
    let names = short_names(&matrix.devices);
    let list = |devices: &BTreeSet<usize>| listed(devices.iter().map(|at| name_of(&names, *at)), limit, ", ");
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let rows: BTreeSet<usize> = cells.iter().map(|cell| cell.0).collect();
    if all.iter().filter(|cell| rows.contains(&cell.0)).count() == cells.len() {
        return format!("row{} {}", plural(rows.len()), list(&rows));
    }
    let columns: BTreeSet<usize> = cells.iter().map(|cell| cell.1).collect();
    if all.iter().filter(|cell| columns.contains(&cell.1)).count() == cells.len() {
        return format!("column{} {}", plural(columns.len()), list(&columns));
    }
    let (plain, closed) = (blocks(cells, &BTreeSet::new()), blocks(cells, &diagonal(matrix, &all)));
    let groups = if closed.len() < plain.len() { closed } else { plain };
    let words = groups.iter().map(|(columns, rows)| match rows == columns && rows.len() > 1 {
        true => format!("{} among themselves", list(rows)),
        false => format!("{} → {}", list(rows), list(columns)),
    });
    listed(words, limit, "; ")
}

fn name_of(names: &[String], at: usize) -> String {
    names.get(at).map_or_else(|| format!("#{at}"), String::clone)
}

fn cells_with_flows(matrix: &MatrixOutcome) -> BTreeSet<(usize, usize)> {
    let rows = matrix.cells.iter().enumerate();
    rows.flat_map(|(row, line)| (0..line.len()).filter(|at| line[*at].is_some()).map(move |at| (row, at)))
        .collect()
}

/// Devices without a flow to themselves: for them `among themselves` says nothing of the diagonal.
fn diagonal(matrix: &MatrixOutcome, all: &BTreeSet<(usize, usize)>) -> BTreeSet<usize> {
    (0..matrix.devices.len()).filter(|at| !all.contains(&(*at, *at))).collect()
}

/// Rows that send to the same columns, by these columns; a row in `closed` counts as sending to itself.
fn blocks(cells: &[(usize, usize)], closed: &BTreeSet<usize>) -> Vec<(BTreeSet<usize>, BTreeSet<usize>)> {
    let mut columns_of: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (row, column) in cells {
        let columns = columns_of.entry(*row).or_default();
        columns.insert(*column);
        columns.extend(closed.contains(row).then_some(*row));
    }
    let mut blocks: BTreeMap<BTreeSet<usize>, BTreeSet<usize>> = BTreeMap::new();
    for (row, columns) in columns_of {
        blocks.entry(columns).or_default().insert(row);
    }
    let mut blocks: Vec<_> = blocks.into_iter().collect();
    blocks.sort_by(|a, b| a.1.cmp(&b.1));
    blocks
}

fn listed(items: impl ExactSizeIterator<Item = String>, limit: usize, between: &str) -> String {
    let count = items.len();
    let shown: Vec<String> = items.take(limit).collect();
    let more = count.saturating_sub(limit);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(between))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_the_numbers_they_share() {
        let names = BTreeSet::from(["h0/rp1 up x16", "h0/rp23 up x16"]);
        assert_eq!(common_name(&names), "h0/rp* up x16");
        assert_eq!(common_name(&BTreeSet::from(["gpu7"])), "gpu7");
        assert_eq!(without_numbers("0é12→3"), "*é*→*");
        assert_eq!(without_numbers(""), "");
    }

    /// A matrix of four devices without its diagonal.
    fn four() -> MatrixOutcome {
        MatrixOutcome {
            name: "m".to_owned(),
            title: String::new(),
            devices: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
            cells: (0..4).map(|row| (0..4).map(|at| (row != at).then_some(0)).collect()).collect(),
        }
    }

    #[test]
    fn cells_are_named_by_their_shape() {
        let all: Vec<(usize, usize)> = cells_with_flows(&four()).into_iter().collect();
        for (cells, text) in [
            (all.clone(), "all 12 cells"),
            (vec![(1, 0), (1, 2), (1, 3)], "row b"),
            (vec![(0, 2), (1, 2), (3, 2)], "column c"),
            (vec![(0, 1), (1, 0), (2, 3), (3, 2)], "a, b among themselves; c, d among themselves"),
            (vec![(0, 2), (0, 3), (1, 2), (1, 3)], "a, b → c, d"),
            (vec![(0, 1), (2, 0)], "a → b; c → a"),
        ] {
            assert_eq!(cells_text(&four(), &cells, 8), text);
        }
        assert_eq!(cells_text(&four(), &[(0, 1), (2, 0)], 1), "a → b and 1 more");
    }
}
