//! A [`Matrix`] as a table: rows are providers, columns clients; a cell is the map type's letter and the distance.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{MapType, Matrix, MatrixFunction, Pair, Reason};

/// The table of devices, its legend, and the reasons of every pair that has some. Ends with a newline.
pub fn render_matrix(matrix: &Matrix) -> String {
    let mut out = String::new();
    let written = write_matrix(&mut out, matrix);
    assert!(written.is_ok(), "writing to a string cannot fail");
    out
}

fn write_matrix(out: &mut String, matrix: &Matrix) -> fmt::Result {
    writeln!(out, "{}, peer-to-peer as decided by {}", matrix.machine, matrix.profile.name())?;
    let devices: Vec<(&MatrixFunction, &str)> =
        matrix.functions.iter().filter_map(|row| Some((row, row.device.as_deref()?))).collect();
    if devices.is_empty() {
        return writeln!(out, "\nno devices");
    }
    let pairs: BTreeMap<_, _> =
        matrix.pairs.iter().map(|pair| ((pair.provider, pair.client), pair)).collect();
    write_table(out, &devices, &pairs)?;
    writeln!(
        out,
        "\nrows provide memory, columns send requests; letter and distance (steps between the two)"
    )?;
    writeln!(
        out,
        "  B  by bus address    H  through the host bridge    N  not supported    *  rests on assumed facts"
    )?;
    write_reasons(out, &devices, &pairs)
}

type Pairs<'a> = BTreeMap<(peerbus_units::FunctionId, peerbus_units::FunctionId), &'a Pair>;

fn write_table(out: &mut String, devices: &[(&MatrixFunction, &str)], pairs: &Pairs<'_>) -> fmt::Result {
    let names = devices.iter().map(|(_, name)| name.len()).max().unwrap_or(0);
    let cell = |provider: &MatrixFunction, client: &MatrixFunction| match pairs
        .get(&(provider.function, client.function))
    {
        Some(pair) => {
            let mark = if pair.assumed.is_empty() { "" } else { "*" };
            format!("{}{}{mark}", pair.map_type.letter(), pair.distance)
        }
        None => "-".into(),
    };
    let widths: Vec<usize> = devices
        .iter()
        .map(|(client, name)| {
            devices
                .iter()
                .map(|(provider, _)| cell(provider, client).len())
                .max()
                .unwrap_or(0)
                .max(name.len())
        })
        .collect();
    let address = "0000:00:00.0".len();
    write!(out, "\n{:names$}  {:address$}", "", "")?;
    for ((_, name), width) in devices.iter().zip(&widths) {
        write!(out, "  {name:<width$}")?;
    }
    trim_end(out);
    for (provider, name) in devices {
        write!(out, "{name:<names$}  {:<address$}", provider.function.to_string())?;
        for ((client, _), width) in devices.iter().zip(&widths) {
            write!(out, "  {:<width$}", cell(provider, client))?;
        }
        trim_end(out);
    }
    Ok(())
}

/// Ends the line without trailing spaces.
fn trim_end(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

/// Pairs with equal reasons in one paragraph, in the order of their first pair.
fn write_reasons(out: &mut String, devices: &[(&MatrixFunction, &str)], pairs: &Pairs<'_>) -> fmt::Result {
    let mut groups: Vec<(MapType, &[Reason], Vec<String>)> = Vec::new();
    for (provider, from) in devices {
        for (client, to) in devices {
            let Some(pair) = pairs.get(&(provider.function, client.function)) else {
                continue;
            };
            if pair.reasons.is_empty() {
                continue;
            }
            let who = format!("{from}>{to}");
            match groups.iter_mut().find(|group| group.0 == pair.map_type && group.1 == pair.reasons) {
                Some(group) => group.2.push(who),
                None => groups.push((pair.map_type, &pair.reasons, vec![who])),
            }
        }
    }
    if !groups.is_empty() {
        writeln!(out, "\nreasons (provider>client)")?;
    }
    for (map_type, reasons, who) in groups {
        let text: Vec<String> = reasons.iter().map(reason).collect();
        writeln!(out, "  {} {}: {}", map_type.letter(), text.join("; "), some(&who))?;
    }
    Ok(())
}

/// `HOST_BRIDGE_NOT_LISTED` and its functions as words.
fn reason(reason: &Reason) -> String {
    let words = reason.kind.replace('_', " ").to_lowercase().replace("acs ", "ACS ");
    let functions: Vec<String> = reason.functions.iter().map(ToString::to_string).collect();
    match functions.as_slice() {
        [] => words,
        functions => format!("{words} {}", functions.join(", ")),
    }
}

/// The first eight, and how many more.
fn some(who: &[String]) -> String {
    match who.len() {
        0..=8 => who.join(" "),
        all => format!("{} and {} more", who[..8].join(" "), all - 8),
    }
}
