//! Comparison of two documents: every value that differs, by name.
//!
//! Simulated results are exact, so two numbers are equal or different; there is no tolerance. What a
//! [`Policy`] allows is listed with its reason and does not count. Values are named by keys that do not depend on the
//! order of lists (`flows[peer].throughput_gbytes_per_s`, `matrices[pairs].cells_gbytes_per_s[gpu0][gpu1]`). An entry
//! that exists on one side only is one difference, not one per value.
//!
//! Not compared: counters of hardware, which follow from the traffic that the digests pin, the tool's version, the description, the path of the scenario beyond its file name, the links'
//! series and those of pools (absent from baselines; digests and sums over time stand for them) and values that repeat others
//! (`limited_by_all`, `variant`).

mod policy;
mod render;
mod values;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::Value;

pub use policy::{Allowed, Policy, PolicyError, Rule};
pub use values::Key;

use crate::document::SCHEMA;
use values::Values;

/// A document to compare: what was read, under the name it is spoken of.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    label: String,
    scenario: String,
    value: Value,
}

/// Why two documents cannot be compared; the tool's exit code is 2, not 1.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompareError {
    /// There is no text, or it is not JSON.
    #[error("{label}: cannot be read: {reason}")]
    Unreadable {
        /// Which document.
        label: String,
        /// What the file system or the parser says.
        reason: String,
    },
    /// It is JSON, but not a run's document.
    #[error(
        "{label}: is not a document of schema {SCHEMA} but {found}; make one with `peerbus run SCENARIO --format json`"
    )]
    OtherSchema {
        /// Which document.
        label: String,
        /// The schema it names, in words.
        found: String,
    },
    /// The two are of different scenarios.
    #[error(
        "{base} is of scenario {base_scenario}, {new} of {new_scenario}: their values mean different things"
    )]
    OtherScenario {
        /// Name of the first document.
        base: String,
        /// Its scenario.
        base_scenario: String,
        /// Name of the second document.
        new: String,
        /// Its scenario.
        new_scenario: String,
    },
}

impl Document {
    /// A document from its text; `label` is its name in messages, usually the file's.
    ///
    /// # Errors
    /// [`CompareError::Unreadable`] and [`CompareError::OtherSchema`].
    pub fn read(label: &str, text: &str) -> Result<Document, CompareError> {
        let label = label.to_owned();
        let value: Value = serde_json::from_str(text)
            .map_err(|error| CompareError::Unreadable { label: label.clone(), reason: error.to_string() })?;
        match value.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => {}
            Some(other) => return Err(CompareError::OtherSchema { label, found: format!("of {other}") }),
            None => return Err(CompareError::OtherSchema { label, found: "without one".to_owned() }),
        }
        match value.get("scenario").and_then(Value::as_str).map(str::to_owned) {
            Some(scenario) => Ok(Document { label, scenario, value }),
            None => {
                Err(CompareError::Unreadable { label, reason: "it does not name its scenario".to_owned() })
            }
        }
    }
}

/// How a value differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// In both, with different values.
    Changed,
    /// Only in the new document.
    Added,
    /// Only in the base.
    Missing,
}

/// A value, or an entry with all its values, that is not the same in both.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Its name.
    pub key: Key,
    /// How it differs.
    pub change: Change,
    /// In the base; `None` when it is not there or the key names a whole entry.
    pub old: Option<Value>,
    /// In the new document; `None` when it is not there or the key names a whole entry.
    pub new: Option<Value>,
    /// (new − old) / |old| for numbers; `None` for other values and where the old number is zero.
    pub relative: Option<f64>,
    /// How many values it stands for: more than one for a whole entry.
    pub values: usize,
}

/// What a comparison found.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    /// The scenario, as the new document has it.
    pub scenario: String,
    /// Values in either document.
    pub values: usize,
    /// Differences that count: entries and words first, then numbers by relative change, then digests; equal ones by name.
    pub differences: Vec<Difference>,
    /// Differences the policy allows, each with the reason, in the same order.
    pub allowed: Vec<(Difference, String)>,
}

impl Comparison {
    /// The verdict: no difference but allowed ones.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Compares `new` with `base` under `policy`.
///
/// # Errors
/// [`CompareError::OtherScenario`] when the scenarios' file names differ.
pub fn compare(base: &Document, new: &Document, policy: &Policy) -> Result<Comparison, CompareError> {
    if file_name(&base.scenario) != file_name(&new.scenario) {
        return Err(CompareError::OtherScenario {
            base: base.label.clone(),
            base_scenario: base.scenario.clone(),
            new: new.label.clone(),
            new_scenario: new.scenario.clone(),
        });
    }
    let (old, now) = (Values::of(&base.value), Values::of(&new.value));
    let keys: BTreeSet<&Key> = old.entries.keys().chain(now.entries.keys()).collect();
    let mut comparison = Comparison {
        scenario: new.scenario.clone(),
        values: keys.len(),
        differences: Vec::new(),
        allowed: Vec::new(),
    };
    let mut found = entries_on_one_side(&old, &now);
    found.extend(keys.iter().filter_map(|key| difference(key, &old, &now)));
    found.sort_by(by_effect);
    for difference in found {
        match policy.reason_for(&difference).map(str::to_owned) {
            Some(reason) => comparison.allowed.push((difference, reason)),
            None => comparison.differences.push(difference),
        }
    }
    Ok(comparison)
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// One difference for each entry that only one document has.
fn entries_on_one_side(old: &Values, now: &Values) -> Vec<Difference> {
    let side = |here: &Values, there: &Values, change: Change| -> Vec<Difference> {
        let lone = here.counts.iter().filter(|(entry, _)| !there.counts.contains_key(*entry));
        lone.map(|(entry, values)| Difference {
            key: entry.clone(),
            change,
            old: None,
            new: None,
            relative: None,
            values: *values,
        })
        .collect()
    };
    let mut found = side(old, now, Change::Missing);
    found.extend(side(now, old, Change::Added));
    found
}

/// The difference of one value, unless its whole entry is on one side only.
fn difference(key: &Key, old: &Values, now: &Values) -> Option<Difference> {
    let entry = key.entry();
    if !old.counts.contains_key(&entry) || !now.counts.contains_key(&entry) {
        return None;
    }
    let (before, after) = (old.entries.get(key), now.entries.get(key));
    let change = match (before, after) {
        (Some(before), Some(after)) if same(before, after) => return None,
        (Some(_), Some(_)) => Change::Changed,
        (None, _) => Change::Added,
        (_, None) => Change::Missing,
    };
    let relative = before.zip(after).and_then(|(before, after)| relative(before, after));
    Some(Difference {
        key: key.clone(),
        change,
        old: before.cloned(),
        new: after.cloned(),
        relative,
        values: 1,
    })
}

/// Equal as numbers (`53` and `53.0` are) or as they stand.
fn same(before: &Value, after: &Value) -> bool {
    let whole = |value: &Value| value.is_u64() || value.is_i64();
    match (before, after) {
        (Value::Number(_), Value::Number(_)) if whole(before) != whole(after) => {
            before.as_f64() == after.as_f64()
        }
        _ => before == after,
    }
}

fn relative(before: &Value, after: &Value) -> Option<f64> {
    let (before, after) = (before.as_f64()?, after.as_f64()?);
    let relative = (after - before) / before.abs();
    (before != 0.0 && relative.is_finite()).then_some(relative)
}

/// Entries and words, numbers, digests.
fn rank(difference: &Difference) -> u8 {
    let numbers = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_number);
    if difference.key.field.ends_with("digest") {
        2
    } else if numbers(&difference.old) && numbers(&difference.new) {
        1
    } else {
        0
    }
}

/// Size of a change; from zero it is beyond all others.
fn effect(difference: &Difference) -> f64 {
    difference.relative.map_or(f64::INFINITY, f64::abs)
}

fn by_effect(a: &Difference, b: &Difference) -> Ordering {
    let size = effect(b).total_cmp(&effect(a));
    rank(a).cmp(&rank(b)).then(size).then_with(|| a.key.to_string().cmp(&b.key.to_string()))
}
