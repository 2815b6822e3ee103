//! A document as a map from names to values.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::document::NOT_IN_BASELINES;

/// The name of a value: in which list, in which entry of it, and which value there.
///
/// Prints as `flows[peer].throughput_gbytes_per_s`, `links[gpu0 up]` for an entry, `run.end_ps` for the only variant
/// of a scenario without variants, `digest` for a value of the document itself. Patterns match this text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Name of the list; empty for values of the document itself.
    pub list: String,
    /// Name of the entry, unique in the list; empty for values of the document and of the only variant.
    pub name: String,
    /// Path of the value within the entry; empty for the entry itself.
    pub field: String,
}

impl Key {
    /// The key of the entry this value belongs to.
    pub fn entry(&self) -> Key {
        Key { list: self.list.clone(), name: self.name.clone(), field: String::new() }
    }

    /// The name in words, without units: `flow peer throughput`.
    pub fn words(&self) -> String {
        let noun = match self.list.as_str() {
            "cells" => "variant",
            "matrices" => "matrix",
            "peer_memory" => "peer memory",
            list => list.strip_suffix('s').unwrap_or(list),
        };
        let field =
            self.field.replace("cells_gbytes_per_s", "").replace("_gbytes_per_s", "").replace("_ns.", " ");
        let field = ["_ps", "_bytes"].iter().find_map(|unit| field.strip_suffix(unit)).unwrap_or(&field);
        let field = field.replace("][", " → ").replace(['[', ']'], "").replace('_', " ");
        let words = [noun, &self.name, field.trim()];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (list, name, field) = (&self.list, &self.name, &self.field);
        let dot = if field.is_empty() || list.is_empty() { "" } else { "." };
        match (list.as_str(), name.as_str()) {
            ("", _) => write!(f, "{field}"),
            ("cells", "") => write!(f, "run{dot}{field}"),
            _ => write!(f, "{list}[{name}]{dot}{field}"),
        }
    }
}

/// Values that are not results, or repeat others.
const NOT_COMPARED: [&str; 13] = [
    "schema",
    "tool_version",
    "scenario",
    "description",
    "busy_per_interval_ps",
    "queued_per_interval",
    "latency_histogram_ps",
    "time_ps",
    "series",
    "counters",
    "detail",
    "limited_by_all",
    "variant",
];

/// All values of a document, and how many each entry has.
#[derive(Default)]
pub struct Values {
    /// By name.
    pub entries: BTreeMap<Key, Value>,
    /// Number of values per entry of a list, and for the document itself.
    pub counts: BTreeMap<Key, usize>,
}

impl Values {
    /// Takes a document apart. Lists of objects are named by their entries, other lists are values.
    pub fn of(document: &Value) -> Values {
        let mut values = Values::default();
        let root = Key { list: String::new(), name: String::new(), field: String::new() };
        values.counts.insert(root.clone(), 0);
        for (field, value) in compared(document.as_object()) {
            match value.as_array() {
                Some(list) => values.list(field, list),
                None => values.walk(&root, field.clone(), value),
            }
        }
        values
    }

    fn list(&mut self, list: &str, items: &[Value]) {
        for item in items.iter().filter(|item| !is_left_out(item)) {
            let name = entry_name(list, item);
            let mut entry = Key { list: list.to_owned(), name: name.clone(), field: String::new() };
            let mut copy = 1;
            while self.counts.contains_key(&entry) {
                copy += 1;
                entry.name = format!("{name}#{copy}");
            }
            self.counts.insert(entry.clone(), 0);
            for (field, value) in compared(item.as_object()) {
                match field.as_str() {
                    "cells_gbytes_per_s" => self.matrix(&entry, field, item, value),
                    _ => self.walk(&entry, field.clone(), value),
                }
            }
        }
    }

    fn walk(&mut self, entry: &Key, field: String, value: &Value) {
        match value.as_object() {
            Some(object) => {
                for (name, value) in object {
                    self.walk(entry, format!("{field}.{name}"), value);
                }
            }
            None => self.put(entry, field, value),
        }
    }

    /// Matrix cells are named by row and column.
    fn matrix(&mut self, entry: &Key, field: &str, item: &Value, rows: &Value) {
        let device = |at: usize| {
            item.get("devices")
                .and_then(|devices| devices.get(at))
                .and_then(Value::as_str)
                .map_or_else(|| format!("#{at}"), str::to_owned)
        };
        for (row, cells) in rows.as_array().into_iter().flatten().enumerate() {
            for (column, value) in cells.as_array().into_iter().flatten().enumerate() {
                self.put(entry, format!("{field}[{}][{}]", device(row), device(column)), value);
            }
        }
    }

    fn put(&mut self, entry: &Key, field: String, value: &Value) {
        *self.counts.entry(entry.clone()).or_default() += 1;
        self.entries.insert(Key { field, ..entry.clone() }, value.clone());
    }
}

/// Spaces that baselines leave out.
fn is_left_out(item: &Value) -> bool {
    let kind = item.get("detail").and_then(|detail| detail.get("kind")).and_then(Value::as_str);
    kind.is_some_and(|kind| NOT_IN_BASELINES.iter().any(|left_out| left_out.name() == kind))
}

fn compared(object: Option<&Map<String, Value>>) -> impl Iterator<Item = (&String, &Value)> {
    object.into_iter().flatten().filter(|(field, _)| !NOT_COMPARED.contains(&field.as_str()))
}

/// What tells an entry from the others in its list.
fn entry_name(list: &str, item: &Value) -> String {
    let text = |field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default();
    match list {
        "cells" => text("variant").to_owned(),
        "errors" => format!("{} at {}", text("kind"), text("place")),
        "expectations" => text("text").to_owned(),
        _ => text("name").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_paths_and_as_words() {
        let key = |list: &str, name: &str, field: &str| Key {
            list: list.to_owned(),
            name: name.to_owned(),
            field: field.to_owned(),
        };
        for (key, path, words) in [
            (
                key("flows", "peer", "throughput_gbytes_per_s"),
                "flows[peer].throughput_gbytes_per_s",
                "flow peer throughput",
            ),
            (key("flows", "peer", "latency_ns.p99"), "flows[peer].latency_ns.p99", "flow peer latency p99"),
            (key("links", "a to b", "starved_ps"), "links[a to b].starved_ps", "link a to b starved"),
            (
                key("matrices", "pairs", "cells_gbytes_per_s[gpu0][gpu1]"),
                "matrices[pairs].cells_gbytes_per_s[gpu0][gpu1]",
                "matrix pairs gpu0 → gpu1",
            ),
            (
                key("pools", "churn.ssd0", "least_hole_bytes"),
                "pools[churn.ssd0].least_hole_bytes",
                "pool churn.ssd0 least hole",
            ),
            (
                key("peer_memory", "churn", "refused.FRAGMENTED.count"),
                "peer_memory[churn].refused.FRAGMENTED.count",
                "peer memory churn refused.FRAGMENTED.count",
            ),
            (key("cells", "", "end_ps"), "run.end_ps", "variant end"),
            (key("", "", "digest"), "digest", "digest"),
            (key("flows", "peer", ""), "flows[peer]", "flow peer"),
        ] {
            assert_eq!(key.to_string(), path);
            assert_eq!(key.words(), words);
        }
    }

    #[test]
    fn entries_of_one_name_are_told_apart() {
        let document = serde_json::json!({"errors": [
            {"kind": "K", "place": "p", "count": 1}, {"kind": "K", "place": "p", "count": 2}]});
        let values = Values::of(&document);
        let keys: Vec<String> = values.entries.keys().map(Key::to_string).collect();
        assert!(keys.contains(&"errors[K at p].count".to_owned()));
        assert!(keys.contains(&"errors[K at p#2].count".to_owned()));
    }
}
