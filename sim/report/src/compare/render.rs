//! A comparison as text, as markdown for a comment on a change, and as JSON.

use serde::Serialize;
use serde_json::Value;

use super::{Change, Comparison, Difference};
use crate::json::pretty;
use crate::text::table::{Column, Fit, WIDTH, table, wrapped};

/// Schema of the JSON form.
pub const SCHEMA: &str = "peerbus.compare/1";

#[derive(Serialize)]
struct ComparisonDocument<'a> {
    schema: &'a str,
    tool_version: &'a str,
    scenario: &'a str,
    equal: bool,
    values: usize,
    values_different: usize,
    summary: String,
    differences: Vec<DifferenceDocument<'a>>,
    allowed: Vec<DifferenceDocument<'a>>,
}

#[derive(Serialize)]
struct DifferenceDocument<'a> {
    key: String,
    change: &'a str,
    old: &'a Option<Value>,
    new: &'a Option<Value>,
    relative: Option<f64>,
    values: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Comparison {
    /// One sentence: how much differs, and what differs most. Throughputs go before everything else, since
    /// they are what a reader asks for first.
    pub fn summary(&self) -> String {
        let allowed = match self.allowed.len() {
            0 => String::new(),
            1 => "; 1 difference is allowed by the policy".to_owned(),
            count => format!("; {count} differences are allowed by the policy"),
        };
        let throughput = self.differences.iter().find(|it| it.key.field == "throughput_gbytes_per_s");
        match throughput.or(self.differences.first()) {
            None => format!("all {} values are equal{allowed}", self.values_after_policy()),
            Some(largest) => format!(
                "{} of {} values differ; largest: {}{allowed}",
                values(self.differences.iter()),
                self.values,
                in_words(largest)
            ),
        }
    }

    fn values_after_policy(&self) -> usize {
        self.values.saturating_sub(values(self.allowed.iter().map(|(difference, _)| difference)))
    }

    /// A table for a terminal or a log, the verdict and the closing sentence.
    pub fn text(&self) -> String {
        let mut blocks = Vec::new();
        if !self.differences.is_empty() {
            let columns =
                [Column::Left("value"), Column::Right("base"), Column::Right("new"), Column::Right("change")];
            let rows = self.differences.iter().map(|it| cells(it).to_vec()).collect();
            blocks.push(table(&columns, rows, Fit::Wrapped));
        }
        if !self.allowed.is_empty() {
            let columns = [
                Column::Left("allowed by the policy"),
                Column::Right("base"),
                Column::Right("new"),
                Column::Right("change"),
                Column::Left("reason"),
            ];
            let rows = self
                .allowed
                .iter()
                .map(|(it, reason)| [&cells(it)[..], std::slice::from_ref(reason)].concat())
                .collect();
            blocks.push(table(&columns, rows, Fit::Wrapped));
        }
        let verdict = if self.is_equal() { "EQUAL" } else { "DIFFERENT" };
        blocks.push(wrapped(&format!("{verdict}: {}", self.summary()), 0, usize::from(WIDTH)));
        format!("{}\n", blocks.join("\n\n"))
    }

    /// The same for a comment: verdict first, then tables that fold.
    pub fn markdown(&self) -> String {
        let verdict = if self.is_equal() { "equal" } else { "**different**" };
        let mut text = format!("`{}`: {verdict}. {}\n", self.scenario, escaped(&capital(&self.summary())));
        if !self.differences.is_empty() {
            text.push_str("\n| value | base | new | change |\n|---|---:|---:|---:|\n");
            for it in &self.differences {
                text.push_str(&format!("| {} |\n", cells(it).map(|cell| escaped(&cell)).join(" | ")));
            }
        }
        if !self.allowed.is_empty() {
            text.push_str("\n<details><summary>Allowed by the policy</summary>\n");
            text.push_str("\n| value | base | new | change | reason |\n|---|---:|---:|---:|---|\n");
            for (it, reason) in &self.allowed {
                let cells = cells(it).map(|cell| escaped(&cell)).join(" | ");
                text.push_str(&format!("| {cells} | {} |\n", escaped(reason)));
            }
            text.push_str("\n</details>\n");
        }
        text
    }

    /// A document of schema `peerbus.compare/1`.
    pub fn json(&self) -> String {
        let document = ComparisonDocument {
            schema: SCHEMA,
            tool_version: crate::TOOL_VERSION,
            scenario: &self.scenario,
            equal: self.is_equal(),
            values: self.values,
            values_different: values(self.differences.iter()),
            summary: self.summary(),
            differences: self.differences.iter().map(|it| document(it, None)).collect(),
            allowed: self.allowed.iter().map(|(it, reason)| document(it, Some(reason))).collect(),
        };
        format!("{}\n", pretty(&document))
    }
}

fn values<'a>(differences: impl Iterator<Item = &'a Difference>) -> usize {
    differences.map(|difference| difference.values).sum()
}

fn document<'a>(it: &'a Difference, reason: Option<&'a str>) -> DifferenceDocument<'a> {
    DifferenceDocument {
        key: it.key.to_string(),
        change: change_word(it.change),
        old: &it.old,
        new: &it.new,
        relative: it.relative,
        values: it.values,
        reason,
    }
}

fn change_word(change: Change) -> &'static str {
    match change {
        Change::Changed => "changed",
        Change::Added => "added",
        Change::Missing => "missing",
    }
}

/// Key, old, new and change of a difference.
fn cells(it: &Difference) -> [String; 4] {
    let side = |value: &Option<Value>, here: bool| match value {
        Some(value) => value_text(value),
        None if here => format!("{} values", it.values),
        None => "-".to_owned(),
    };
    let (old, new) = (side(&it.old, it.change == Change::Missing), side(&it.new, it.change == Change::Added));
    [it.key.to_string(), old, new, change_text(it)]
}

fn in_words(it: &Difference) -> String {
    format!("{} {}", it.key.words(), change_text(it))
}

/// `-4.2 %`, with more digits for small changes; or `added`, `missing`, `changed`, `from zero`.
fn change_text(it: &Difference) -> String {
    let number = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_number);
    match it.relative.map(|relative| relative * 100.0) {
        Some(percent) if percent.abs() >= 0.05 => format!("{percent:+.1} %"),
        Some(percent) if percent.abs() >= 0.000_05 => format!("{percent:+.4} %"),
        Some(percent) => format!("{percent:+.1e} %"),
        None if number(&it.old) && number(&it.new) => "from zero".to_owned(),
        None => change_word(it.change).to_owned(),
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(value_text).collect::<Vec<_>>().join(" → "),
        other => other.to_string(),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Letters that would end a table's cell or begin markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '|' | '*' | '_' | '[' | ']' | '`' | '\\' => out.extend(['\\', letter]),
            other => out.push(other),
        }
    }
    out
}
