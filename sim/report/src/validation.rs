//! The summary of many scenarios: how far predictions are from measured values, by family, and what is not compared.
//!
//! Errors are (predicted − measured) / measured in millionths. Medians are the lower of the two middle ones; where
//! several rows are equally wrong, the first is named. Rows that are left out count as available.

use std::collections::BTreeMap;
use std::fmt::Write;

use peerbus_scenario::ScenarioResult;
use peerbus_scenario::expect::Dimension;
use peerbus_scenario::measured::{Comparison, Lines};

use crate::number;

/// Errors above this, in millionths, are named one by one.
const LARGE: u64 = 250_000;

/// Rows of one family listed among the large errors.
const LISTED: usize = 6;

/// What is left out for one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// The reason.
    pub reason: String,
    /// Measured values.
    pub count: u64,
    /// Where they stand: `table: lines`, joined by `; `.
    pub places: String,
}

/// How wrong some predictions are.
struct Errors<'a> {
    /// By size, smallest first.
    sorted: Vec<(u64, &'a Comparison)>,
}

impl<'a> Errors<'a> {
    fn of(rows: impl Iterator<Item = &'a Comparison>) -> Errors<'a> {
        let mut sorted: Vec<_> = rows.filter_map(|row| Some((row.error_ppm?.unsigned_abs(), row))).collect();
        sorted.sort_by_key(|(size, _)| *size);
        Errors { sorted }
    }

    fn median(&self) -> String {
        let middle = self.sorted.len().saturating_sub(1) / 2;
        self.sorted.get(middle).map_or("-".to_owned(), |(size, _)| number::percent_text(*size))
    }

    fn worst(&self) -> Option<&'a Comparison> {
        let (size, _) = self.sorted.last()?;
        self.sorted.iter().find(|(other, _)| other == size).map(|(_, row)| *row)
    }
}

/// An error with its sign: `+5.5 %`.
pub fn error_text(ppm: i64) -> String {
    let sign = if ppm < 0 { '-' } else { '+' };
    format!("{sign}{}", number::percent_text(ppm.unsigned_abs()))
}

/// `12 of 20 measured values are compared: median error 3.1 %, worst -12.0 % (flow.a.throughput)`.
pub fn line(rows: &[Comparison]) -> String {
    let available: u64 = rows.iter().map(|row| row.measurement.count()).sum();
    let errors = Errors::of(rows.iter());
    let mut text = format!("{} of {available} measured values are compared", errors.sorted.len());
    if let Some((worst, ppm)) = errors.worst().and_then(|row| Some((row, row.error_ppm?))) {
        let of = &worst.measurement.of;
        let _ = write!(text, ": median error {}, worst {} ({of})", errors.median(), error_text(ppm));
    }
    text
}

/// What is left out, by reason, most values first.
pub fn left_out<'a>(rows: impl IntoIterator<Item = &'a Comparison>) -> Vec<LeftOut> {
    type LinesByTable<'a> = BTreeMap<&'a str, Vec<(u32, u32)>>;
    let mut reasons: BTreeMap<&str, (u64, LinesByTable)> = BTreeMap::new();
    for row in rows {
        let Some(reason) = row.reason() else { continue };
        let (count, tables) = reasons.entry(reason).or_default();
        *count += row.measurement.count();
        tables.entry(&row.measurement.table).or_default().extend(&row.measurement.lines);
    }
    let place = |(table, lines): (&str, Vec<(u32, u32)>)| match lines.is_empty() {
        true => None,
        false => Some(format!("{table}: {}", Lines(&joined(lines)))),
    };
    let mut all: Vec<LeftOut> = reasons
        .into_iter()
        .map(|(reason, (count, tables))| {
            let places: Vec<String> = tables.into_iter().filter_map(place).collect();
            LeftOut { reason: reason.to_owned(), count, places: places.join("; ") }
        })
        .collect();
    all.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    all
}

/// Ranges in order, with those that touch made one.
fn joined(mut lines: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    lines.sort_unstable();
    let mut out: Vec<(u32, u32)> = Vec::new();
    for (first, last) in lines {
        match out.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

/// The summary as a Markdown page; ends with a newline.
pub fn render(title: &str, results: &[ScenarioResult]) -> String {
    let rows: Vec<&Comparison> = results.iter().flat_map(|result| &result.measured).collect();
    let mut blocks = vec![format!("# {title}: predicted against measured"), overview(results, &rows)];
    blocks.push(classes(&rows));
    blocks.push(families(&rows));
    blocks.push(crate::orders::render(results));
    blocks.push(large(&rows));
    blocks.push(reasons(&rows));
    blocks.push(scenarios(results));
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n\n") + "\n"
}

fn overview(results: &[ScenarioResult], rows: &[&Comparison]) -> String {
    let available: u64 = rows.iter().map(|row| row.measurement.count()).sum();
    let compared = u64::try_from(rows.iter().filter(|row| row.is_compared()).count()).unwrap_or(u64::MAX);
    let share = number::share_millionths(compared, available).unwrap_or(0);
    let mut text = format!(
        "{} scenarios. {available} measured values are available, {compared} compared ({}), {} left out. Errors are \
         (predicted − measured) / measured.",
        results.len(),
        number::percent_text(share),
        available.saturating_sub(compared),
    );
    for result in results {
        for failed in result.expectations.iter().filter(|it| !it.holds) {
            let _ = write!(text, "\n\n**FAIL** {}: `{}`: {}", result.scenario, failed.text, failed.detail);
        }
    }
    text
}

/// What the project promises, each as one line.
fn classes(rows: &[&Comparison]) -> String {
    let rate = |row: &&&Comparison| row.measurement.unit.dimension == Dimension::Rate;
    let large = |row: &&&Comparison| row.measurement.size.is_some_and(|size| size.0 >= 4096);
    let mut text = "| class | compared | median error | worst |\n|---|---:|---:|---|".to_owned();
    let mut add = |name: &str, errors: &Errors<'_>| {
        let worst = errors.worst().map_or("-".to_owned(), named);
        let _ = write!(text, "\n| {name} | {} | {} | {worst} |", errors.sorted.len(), errors.median());
    };
    let all = rows.iter();
    add(
        "bandwidth, transfers of 4 KiB and more",
        &Errors::of(all.clone().filter(rate).filter(large).copied()),
    );
    add("bandwidth, all", &Errors::of(all.clone().filter(rate).copied()));
    add("latency", &Errors::of(all.filter(|row| !rate(row)).copied()));
    text
}

/// `+5.5 %, flow.a.throughput of 53.40 GB/s`.
fn named(row: &Comparison) -> String {
    let measurement = &row.measurement;
    let error = row.error_ppm.map(error_text).unwrap_or_default();
    let value = measurement.value.and_then(|value| measurement.unit.millionths(value));
    let value = value.map(|value| format!(" of {} {}", number::gbytes_text(value), measurement.unit.name));
    let place = match measurement.lines.is_empty() {
        true => String::new(),
        false => format!(" ({}:{})", measurement.table, Lines(&measurement.lines)),
    };
    format!("{error}, `{}`{}{place}", measurement.of, value.unwrap_or_default())
}

fn by_family<'a>(rows: &[&'a Comparison]) -> BTreeMap<&'a str, Vec<&'a Comparison>> {
    let mut families: BTreeMap<&str, Vec<&Comparison>> = BTreeMap::new();
    for row in rows {
        families.entry(&row.measurement.family).or_default().push(row);
    }
    families
}

fn families(rows: &[&Comparison]) -> String {
    let head =
        "| family | available | compared | left out | median error | worst |\n|---|---:|---:|---:|---:|---|";
    let mut text = format!("## Families\n\n{head}");
    for (family, rows) in by_family(rows) {
        let available: u64 = rows.iter().map(|row| row.measurement.count()).sum();
        let errors = Errors::of(rows.iter().copied());
        let compared = u64::try_from(errors.sorted.len()).unwrap_or(u64::MAX);
        let worst = errors.worst().map_or("-".to_owned(), named);
        let left = available.saturating_sub(compared);
        let _ = write!(
            text,
            "\n| {family} | {available} | {compared} | {left} | {} | {worst} |",
            errors.median()
        );
    }
    text
}

fn large(rows: &[&Comparison]) -> String {
    let mut text = String::new();
    for (family, rows) in by_family(rows) {
        let errors = Errors::of(rows.iter().copied());
        let wrong: Vec<&Comparison> =
            errors.sorted.iter().rev().filter(|(size, _)| *size > LARGE).map(|(_, row)| *row).collect();
        if wrong.is_empty() {
            continue;
        }
        let _ = write!(text, "\n\n{family}: {} of {} rows", wrong.len(), errors.sorted.len());
        let mut reasons: Vec<&str> =
            wrong.iter().filter_map(|row| row.measurement.deviation.as_deref()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        for reason in reasons {
            let _ = write!(text, "\n- reason: {reason}");
        }
        let unexplained = wrong.iter().filter(|row| row.measurement.deviation.is_none()).count();
        if unexplained > 0 {
            let _ = write!(text, "\n- {unexplained} without a known reason");
        }
        for row in wrong.iter().take(LISTED) {
            let _ = write!(text, "\n- {}", named(row));
        }
    }
    if text.is_empty() { text } else { format!("## Errors above 25 %{text}") }
}

fn reasons(rows: &[&Comparison]) -> String {
    let all = left_out(rows.iter().copied());
    if all.is_empty() {
        return String::new();
    }
    let mut text = "## Left out\n\n| values | reason | where |\n|---:|---|---|".to_owned();
    for LeftOut { reason, count, places } in all {
        let _ = write!(text, "\n| {count} | {reason} | {places} |");
    }
    text
}

fn scenarios(results: &[ScenarioResult]) -> String {
    let mut text = "## Scenarios".to_owned();
    for result in results {
        let shown = result.description.lines().next().unwrap_or_default();
        let _ = write!(text, "\n\n- `{}`: {shown} {}.", result.scenario, line(&result.measured));
    }
    text.replace("\n\n- ", "\n- ").replacen("\n- ", "\n\n- ", 1)
}
