//! The `sweep` of a scenario: lists of values for fields, every combination of which is a point to run.
//!
//! A point is the scenario, and its machine files, with other values at some places. All of them are held as trees (see
//! `tree`); a point is made by setting its values and reading the trees like files. So everything that can be written in
//! a file can be swept, and what is wrong is found as in a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use peerbus_machine::Catalogue;
use peerbus_machine::diagnostic::{Diagnostic, any_error};
use peerbus_machine::file::Leaf;
use peerbus_machine::load::{nearest, parse, read};
use peerbus_machine::synthetic::{is_synthetic, synthetic};
use peerbus_machine::{Machine, load_machine};
use serde_json::Value;

use super::context::{Context, Place};
use super::machines::Machines;
use super::tree::TreePath;
use super::{Loaded, lower};
use crate::{codes, file};

/// Most points of one sweep.
const MOST_POINTS: usize = 100_000;

/// A sweep, ready to run.
#[derive(Clone, Debug)]
pub struct Sweep {
    file: String,
    description: String,
    scenario: Value,
    /// Machine files by the names that the scenario gives them.
    machines: BTreeMap<String, Value>,
    axes: Vec<Axis>,
}

/// A field and its values.
#[derive(Clone, Debug)]
struct Axis {
    path: TreePath,
    /// The path as written.
    text: String,
    values: Vec<Value>,
}

impl Axis {
    /// True when it is about machine files, not about the scenario.
    fn is_of_machines(&self) -> bool {
        self.path.is_below("machine")
    }
}

/// What is wrong with a value of an axis.
struct Wrong {
    message: String,
    help: String,
    /// It is the path that is wrong, whatever the value.
    path: bool,
}

impl Sweep {
    /// Number of points.
    pub fn points(&self) -> usize {
        self.axes.iter().map(|axis| axis.values.len()).product()
    }

    /// Path and value of each field at point `point`, from 0. The last path's value changes fastest; paths are in
    /// alphabetical order.
    pub fn values(&self, point: usize) -> Vec<(&str, &Value)> {
        let mut rest = point;
        let mut values = Vec::new();
        for axis in self.axes.iter().rev() {
            let count = axis.values.len().max(1);
            values.extend(axis.values.get(rest % count).map(|value| (axis.text.as_str(), value)));
            rest /= count;
        }
        values.reverse();
        values
    }

    /// The scenario at a point.
    ///
    /// # Errors
    ///
    /// Diagnostics, when the values do not go together.
    pub fn point(&self, point: usize, catalogue: &Catalogue) -> Result<Loaded, Vec<Diagnostic>> {
        let values = self.values(point);
        let changes: Vec<(&Axis, &Value)> =
            self.axes.iter().zip(values).map(|(axis, (_, value))| (axis, value)).collect();
        self.with(&changes, catalogue)
    }

    /// The scenario with some values set.
    fn with(&self, changes: &[(&Axis, &Value)], catalogue: &Catalogue) -> Result<Loaded, Vec<Diagnostic>> {
        let (mut scenario, mut trees) = (self.scenario.clone(), self.machines.clone());
        for (axis, value) in changes {
            // Paths were checked when the sweep was read.
            if axis.is_of_machines() {
                let path = axis.path.inner();
                trees.values_mut().for_each(|tree| drop(path.set(tree, value)));
            } else {
                drop(axis.path.set(&mut scenario, value));
            }
        }
        let text = scenario.to_string();
        let reading = read::<file::Scenario>(&text, &format!("{}.json", self.file));
        let Some(given) = reading.value else { return Err(reading.diagnostics) };
        let mut machines: BTreeMap<String, Arc<Machine>> = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, tree) in trees.iter().filter(|(name, _)| mentions(&given, name)) {
            let (machine, found) = load_machine(&tree.to_string(), &format!("{name}.json"), catalogue);
            problems.extend(found.into_iter().filter(Diagnostic::is_error));
            machines.extend(machine.map(|machine| (name.clone(), Arc::new(machine))));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut context = Context::new(&reading.source, reading.diagnostics);
        let mut machines = Machines::known(machines, catalogue);
        let loaded = lower(&mut context, &given, &mut machines);
        let diagnostics = std::mem::take(&mut context.diagnostics);
        match any_error(&diagnostics) {
            true => Err(diagnostics),
            false => Ok(Loaded { file: self.file.clone(), description: self.description.clone(), ..loaded }),
        }
    }

    /// What is wrong with one value of an axis while all else is as in the files.
    fn try_value(&self, axis: &Axis, value: &Value, catalogue: &Catalogue) -> Result<(), Wrong> {
        let found = if axis.is_of_machines() {
            let path = axis.path.inner();
            let mut trees: Vec<Value> = self.machines.values().cloned().collect();
            let set: Vec<_> = trees.iter_mut().map(|tree| path.set(tree, value)).collect();
            // Machines may differ; one of them has what is swept.
            set.into_iter().reduce(|a, b| if a.is_ok() { a } else { b })
        } else {
            Some(axis.path.set(&mut self.scenario.clone(), value))
        };
        if let Some(Err(miss)) = found {
            let help = match miss.near {
                Some(near) => format!("did you mean `{near}`?"),
                None => self.advice(&axis.text),
            };
            return Err(Wrong { message: miss.message, help, path: true });
        }
        self.with(&[(axis, value)], catalogue).map(drop).map_err(|problems| {
            let first = problems.into_iter().find(Diagnostic::is_error);
            let (message, help) = first.map_or_else(Default::default, |found| (found.message, found.help));
            // A field that is not known is in the way of every value.
            let path = message.contains("unknown field") || message.contains("has no field");
            Wrong { message, help: help.unwrap_or_else(|| self.advice(&axis.text)), path }
        })
    }

    fn advice(&self, path: &str) -> String {
        let fields = self.scenario.as_object().into_iter().flat_map(|fields| fields.keys());
        let first = path.split(['.', '[']).next().unwrap_or_default();
        match nearest(first, fields.map(String::as_str).filter(|field| *field != first)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "paths begin with `machine.` for the machine file, or with a field of the scenario".to_owned()
            }
        }
    }
}

/// True when a run of the scenario uses the machine called `name`.
fn mentions(scenario: &file::Scenario, name: &str) -> bool {
    let own = scenario.variants.iter().filter_map(|variant| variant.machine.as_ref());
    own.chain(&scenario.machine).any(|machine| machine.get().is_some_and(|machine| machine == name))
}

/// Reads the sweep of `scenario`; its problems are reported. `None` when there is none, or with problems.
pub(super) fn sweep(
    context: &mut Context<'_>,
    given: &file::Scenario,
    machines: &Machines<'_>,
    (file, description): (&str, String),
) -> Option<Sweep> {
    if given.sweep.is_empty() || any_error(&context.diagnostics) {
        return None;
    }
    let place = Place::default().field("sweep");
    let before = context.diagnostics.len();
    let plain = file::Scenario { sweep: BTreeMap::new(), ..given.clone() };
    let scenario = serde_json::to_value(&plain).ok()?;
    let mut sweep =
        Sweep { file: file.to_owned(), description, scenario, machines: BTreeMap::new(), axes: Vec::new() };
    for (text, values) in &given.sweep {
        sweep.axes.extend(axis(context, &place, text, values));
    }
    sweep.machines = machine_trees(given, &sweep.axes, machines);
    if sweep.points() > MOST_POINTS {
        let message = format!("the sweep has {} points", sweep.points());
        context.error(codes::SWEEP_SIZE, &place, message, "give fewer values; at most 100000 points are run");
    }
    for axis in &sweep.axes {
        let leaves = &given.sweep[&axis.text];
        for (leaf, value) in leaves.iter().zip(&axis.values) {
            let Err(wrong) = sweep.try_value(axis, value, machines.catalogue) else { continue };
            let message = format!("{}: {}", axis.text, wrong.message);
            if wrong.path {
                context.error(codes::SWEEP_PATH, &place, message, wrong.help);
                break;
            }
            let span = context.source.leaf(leaf);
            context.error_in(codes::SWEEP_VALUE, span, &place, message, wrong.help);
        }
    }
    (context.diagnostics.len() == before).then_some(sweep)
}

/// A path with its values, unless something is wrong with them.
fn axis(
    context: &mut Context<'_>,
    place: &Place,
    text: &str,
    leaves: &[Leaf<file::Anything>],
) -> Option<Axis> {
    let path = TreePath::parse(text);
    if let Err(problem) = &path {
        let help = "write fields with dots between them, `[0]` or `[*]` behind a list, `**` for any depth";
        context.error(codes::SWEEP_PATH, place, format!("`{text}`: {problem}"), help);
    }
    if leaves.is_empty() {
        let message = format!("no values are given for `{text}`");
        context.error(codes::SWEEP_SIZE, place, message, "list one value at least");
        return None;
    }
    let mut values = Vec::new();
    for leaf in leaves {
        let literal = context.source.literal(leaf).map(str::to_owned);
        match literal.as_deref().and_then(value) {
            Some(value) => values.push(value),
            None => {
                let span = context.source.leaf(leaf);
                let message = format!("{text}: this value cannot be swept");
                let help = "write a number, a text in quotation marks, a name such as `Off`, true or false";
                context.error_in(codes::SWEEP_VALUE, span, place, message, help.to_owned());
            }
        }
    }
    let path = path.ok()?;
    (values.len() == leaves.len()).then(|| Axis { path, text: text.to_owned(), values })
}

/// A number, a text, a truth or a name, as written in RON or JSON.
fn value(literal: &str) -> Option<Value> {
    let literal = literal.trim();
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match serde_json::from_str::<Value>(literal) {
        Ok(value) if !value.is_object() && !value.is_array() => Some(value),
        Ok(_) => None,
        Err(_) if is_name(literal) => Some(Value::from(literal)),
        Err(_) => {
            let digits = literal.replace('_', "");
            let number = match digits.strip_prefix("0x") {
                Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
                None => digits.parse(),
            };
            number.ok().map(Value::from)
        }
    }
}

/// The files of all machines that a point may use.
fn machine_trees(given: &file::Scenario, axes: &[Axis], machines: &Machines<'_>) -> BTreeMap<String, Value> {
    let own = given.variants.iter().filter_map(|variant| variant.machine.as_ref());
    let named = own.chain(&given.machine).filter_map(Leaf::get).cloned();
    let swept = axes.iter().filter(|axis| axis.text.rsplit('.').next() == Some("machine"));
    let swept = swept.flat_map(|axis| &axis.values).filter_map(Value::as_str).map(str::to_owned);
    let tree = |name: String| {
        let machine = match is_synthetic(&name) {
            true => synthetic(&name).ok(),
            false => {
                let (path, text) = machines.text(&name).ok()?;
                parse::<peerbus_machine::file::Machine>(&text, &path).0
            }
        };
        Some((name, serde_json::to_value(machine?).ok()?))
    };
    named.chain(swept).filter_map(tree).collect()
}
