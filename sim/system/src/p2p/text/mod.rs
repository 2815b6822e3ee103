//! A [`Matrix`] as a table: rows are providers, columns clients; a cell is the map type's letter and the distance.
//!
//! The table fits a page: where names do not, columns are numbered as rows are, and where numbers do not
//! either, the columns come in several tables below each other.

mod reasons;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use peerbus_units::FunctionId;

use super::{DmaKind, MapType, Matrix, MatrixFunction, Pair};
use crate::page::WIDTH;

type Pairs<'a> = BTreeMap<(FunctionId, FunctionId), &'a Pair>;

/// A function that the table shows, and what it calls it.
struct Row<'a> {
    function: FunctionId,
    label: &'a str,
}

/// What is shown of a matrix.
struct Shown<'a> {
    rows: Vec<Row<'a>>,
    pairs: Pairs<'a>,
}

impl Shown<'_> {
    fn pair(&self, provider: &Row<'_>, client: &Row<'_>) -> Option<&Pair> {
        self.pairs.get(&(provider.function, client.function)).copied()
    }

    /// All ordered pairs.
    fn all(&self) -> impl Iterator<Item = &Pair> {
        self.rows.iter().flat_map(|from| self.rows.iter().filter_map(|to| self.pair(from, to)))
    }
}

/// The table, its legend, and why pairs are not direct. Shows the functions that are worth a look
/// ([`MatrixFunction::peer`]), or `all`. Ends with a newline.
pub fn render_matrix(matrix: &Matrix, all: bool) -> String {
    let mut out = String::new();
    let written = write_matrix(&mut out, matrix, all);
    assert!(written.is_ok(), "writing to a string cannot fail");
    out
}

fn write_matrix(out: &mut String, matrix: &Matrix, all: bool) -> fmt::Result {
    writeln!(out, "{}, peer-to-peer as decided by {}", matrix.machine, matrix.profile.name())?;
    let rows: Vec<Row<'_>> = matrix.functions.iter().filter(|row| all || row.peer).map(row).collect();
    let hidden = matrix.functions.len() - rows.len();
    let pairs = matrix.pairs.iter().map(|pair| ((pair.provider, pair.client), pair)).collect();
    let shown = Shown { rows, pairs };
    if shown.rows.is_empty() {
        writeln!(out, "\nno devices")?;
        return write_hidden(out, hidden);
    }
    let assumed = Assumed::of(&shown);
    write_tables(out, &shown, &assumed)?;
    write_legend(out, &assumed)?;
    write_kinds(out, &shown)?;
    write_hidden(out, hidden)?;
    reasons::write(out, &shown)
}

fn row(function: &MatrixFunction) -> Row<'_> {
    let label = function.device.as_deref().unwrap_or(&function.name);
    Row { function: function.function, label }
}

/// Which answers rest on assumed facts.
enum Assumed {
    None,
    /// The cells concerned are marked.
    Some,
    /// No cell is marked, the legend names the facts.
    All(String),
}

impl Assumed {
    fn of(shown: &Shown<'_>) -> Assumed {
        let resting = shown.all().filter(|pair| !pair.assumed.is_empty()).count();
        if resting == 0 {
            return Assumed::None;
        }
        if resting < shown.all().count() {
            return Assumed::Some;
        }
        let facts: BTreeSet<&str> =
            shown.all().flat_map(|pair| &pair.assumed).map(|fact| fact.word()).collect();
        Assumed::All(facts.into_iter().collect::<Vec<_>>().join(", "))
    }
}

fn cell(pair: Option<&Pair>, assumed: &Assumed) -> String {
    let Some(pair) = pair else { return "-".into() };
    let mark = if matches!(assumed, Assumed::Some) && !pair.assumed.is_empty() { "*" } else { "" };
    if pair.provider == pair.client && pair.map_type == MapType::BusAddr {
        return format!(".{mark}");
    }
    format!("{}{}{mark}", pair.map_type.letter(), pair.distance)
}

fn write_tables(out: &mut String, shown: &Shown<'_>, assumed: &Assumed) -> fmt::Result {
    let cells: Vec<Vec<String>> = shown
        .rows
        .iter()
        .map(|from| shown.rows.iter().map(|to| cell(shown.pair(from, to), assumed)).collect())
        .collect();
    let widest = |at: usize| cells.iter().map(|row| row[at].len()).max().unwrap_or(0);
    let label = shown.rows.iter().map(|row| row.label.len()).max().unwrap_or(0);
    let head = label + 2 + "0000:00:00.0".len();
    let named: Vec<usize> =
        shown.rows.iter().enumerate().map(|(at, row)| row.label.len().max(widest(at))).collect();
    let digits = shown.rows.len().to_string().len();
    let numbered = head + named.iter().map(|width| width + 2).sum::<usize>() > WIDTH;
    let (head, widths): (usize, Vec<usize>) = match numbered {
        false => (head, named),
        true => (head + digits + 1, (0..shown.rows.len()).map(|at| widest(at).max(digits)).collect()),
    };
    for columns in panels(&widths, WIDTH.saturating_sub(head)) {
        write!(out, "\n{:head$}", "")?;
        for at in columns.clone() {
            let title = if numbered { (at + 1).to_string() } else { shown.rows[at].label.to_owned() };
            write!(out, "  {title:<width$}", width = widths[at])?;
        }
        trim_end(out);
        for (number, row) in shown.rows.iter().enumerate() {
            if numbered {
                write!(out, "{:>digits$} ", number + 1)?;
            }
            write!(out, "{:<label$}  {:<12}", row.label, row.function.to_string())?;
            for at in columns.clone() {
                write!(out, "  {:<width$}", cells[number][at], width = widths[at])?;
            }
            trim_end(out);
        }
    }
    Ok(())
}

/// Runs of columns that fit `room` each, and at least one column in each.
fn panels(widths: &[usize], room: usize) -> Vec<std::ops::Range<usize>> {
    let mut panels = Vec::new();
    let mut start = 0;
    let mut used = 0;
    for (at, width) in widths.iter().enumerate() {
        if at > start && used + width + 2 > room {
            panels.push(start..at);
            (start, used) = (at, 0);
        }
        used += width + 2;
    }
    panels.push(start..widths.len());
    panels
}

/// Ends the line without trailing spaces.
fn trim_end(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

fn write_legend(out: &mut String, assumed: &Assumed) -> fmt::Result {
    writeln!(
        out,
        "\nrows provide memory, columns send requests; letter and distance (steps between the two)"
    )?;
    let mark = if matches!(assumed, Assumed::Some) { "    *  rests on assumed facts" } else { "" };
    writeln!(
        out,
        "  B  by bus address    H  through the host bridge    N  not supported    .  itself{mark}"
    )?;
    if let Assumed::All(facts) = assumed {
        writeln!(out, "  all of it rests on assumed facts: {facts}")?;
    }
    Ok(())
}

/// What clients are given where the table has a letter; nothing where no provider has memory.
fn write_kinds(out: &mut String, shown: &Shown<'_>) -> fmt::Result {
    let given = shown.all().filter(|pair| pair.provider != pair.client);
    let given: BTreeSet<(MapType, DmaKind)> =
        given.filter_map(|pair| Some((pair.map_type, pair.dma_kind?))).collect();
    let phrase = |map_type: MapType| {
        let kinds = given.iter().filter(|(of, _)| *of == map_type).map(|(_, kind)| kind.plural());
        let kinds = kinds.collect::<Vec<_>>().join(" or ");
        (!kinds.is_empty()).then(|| format!("{kinds} for {}", map_type.letter()))
    };
    let phrases: Vec<String> =
        [MapType::BusAddr, MapType::ThruHostBridge].into_iter().filter_map(phrase).collect();
    match phrases.is_empty() {
        true => Ok(()),
        false => writeln!(out, "  clients are given {}", phrases.join(", ")),
    }
}

fn write_hidden(out: &mut String, hidden: usize) -> fmt::Result {
    match hidden {
        0 => Ok(()),
        1 => writeln!(out, "  1 function of the system or of a device shown is left out; --all shows it"),
        many => writeln!(
            out,
            "  {many} functions of the system or of devices shown are left out; --all shows them"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_every_column_once_and_fit() {
        let widths = [3, 3, 3, 50, 3, 3];
        let panels = panels(&widths, 10);
        assert_eq!(panels, [0..2, 2..3, 3..4, 4..6]);
        let whole = self::panels(&widths, 100);
        assert_eq!((whole.len(), whole[0].clone()), (1, 0..6));
    }
}
