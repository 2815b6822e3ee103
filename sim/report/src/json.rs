//! The document as text: whole, or as a baseline that lives in version control.
//!
//! The whole document is pretty-printed. A baseline holds every value but the series of links and pools and puts
//! each flow, link or matrix row on a line of its own, so a changed number is a changed line in a review. Both end with a
//! newline, and both read back into the same [`RunDocument`].

use peerbus_scenario::ScenarioResult;
use serde::Serialize;
use serde_json::Value;

use crate::document::RunDocument;

/// The whole document, indented.
pub fn render(result: &ScenarioResult) -> String {
    let mut text = pretty(&RunDocument::new(result));
    text.push('\n');
    text
}

/// The document as a baseline: without series, one line per list entry.
pub fn baseline(result: &ScenarioResult) -> String {
    baseline_of(RunDocument::new(result))
}

/// [`baseline`] of a result that exists as a document only.
pub fn baseline_of(document: RunDocument) -> String {
    let document = document.without_series();
    let mut entries: Vec<String> = vec![
        entry("schema", &document.schema),
        entry("tool_version", &document.tool_version),
        entry("scenario", &document.scenario),
        entry("description", &document.description),
        entry("machine", &document.machine),
        entry("profile", &document.profile),
        entry("seed", &document.seed),
        entry("digest", &document.digest),
        entry("events", &document.events),
        entry("passed", &document.passed),
    ];
    entries.push(list("cells", &document.cells));
    entries.push(list("flows", &document.flows));
    entries.push(list("matrices", &document.matrices));
    entries.push(list("links", &document.links));
    entries.push(list("peer_memory", &document.peer_memory));
    entries.push(list("pools", &document.pools));
    entries.push(list("spaces", &document.spaces));
    entries.push(list("errors", &document.errors));
    entries.push(list("expectations", &document.expectations));
    if !document.measured.is_empty() {
        entries.push(list("measured", &document.measured));
    }
    format!("{{\n{}\n}}\n", entries.join(",\n"))
}

/// A document read back from its text.
///
/// # Errors
/// The text is not JSON, or not of this shape; the message names line and column.
pub fn parse(text: &str) -> Result<RunDocument, serde_json::Error> {
    serde_json::from_str(text)
}

/// Indented JSON of a document or value.
pub(crate) fn pretty<T: Serialize>(value: &T) -> String {
    written(serde_json::to_string_pretty(value))
}

pub(crate) fn compact<T: Serialize>(value: &T) -> String {
    written(serde_json::to_string(value))
}

/// Our documents are structs with string keys and finite numbers, which JSON always can hold.
fn written(text: Result<String, serde_json::Error>) -> String {
    let failed = text.as_ref().err().map(ToString::to_string);
    assert!(failed.is_none(), "a document of plain values could not be written: {failed:?}");
    text.unwrap_or_default()
}

fn entry<T: Serialize>(key: &str, value: &T) -> String {
    format!("  {}: {}", Value::from(key), compact(value))
}

fn list<T: Serialize>(key: &str, items: &[T]) -> String {
    if items.is_empty() {
        return format!("  {}: []", Value::from(key));
    }
    let lines: Vec<String> = items.iter().map(|item| format!("    {}", compact(item))).collect();
    format!("  {}: [\n{}\n  ]", Value::from(key), lines.join(",\n"))
}
