//! [`FieldReader`]: takes the fields of a value that was read, and reports what is missing or not understood.
//!
//! Every kind of file is lowered with one of these. The kinds differ in their codes and in whose advice is better
//! for a value that was not understood ([`Wording`]), and in nothing else.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;

use super::{Path, Source, Step};
use crate::diagnostic::{Code, Diagnostic};
use crate::file::Leaf;

/// Where something stands in the file: fields and indices from the top.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place(Vec<Step>);

impl Place {
    /// The field `name` of this.
    pub fn field(&self, name: &'static str) -> Place {
        self.then(Step::Field(name))
    }

    /// The element `index` of this list.
    pub fn index(&self, index: usize) -> Place {
        self.then(Step::Index(index))
    }

    /// The element `index` of the list `name`.
    pub fn element(&self, name: &'static str, index: usize) -> Place {
        self.field(name).index(index)
    }

    /// The way from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    fn then(&self, step: Step) -> Place {
        let mut steps = self.0.clone();
        steps.push(step);
        Place(steps)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Path(&self.0).fmt(f)
    }
}

/// What a kind of file says in its own way.
#[derive(Clone, Copy, Debug)]
pub struct Wording {
    /// The code of a required field that is missing.
    pub missing_field: Code,
    /// True for the codes of problems inside a value where what the whole field expects is better advice than
    /// what the text's reader found.
    pub advise_whole: fn(Code) -> bool,
}

/// State of lowering one text.
#[derive(Debug)]
pub struct FieldReader<'a> {
    /// The text, for saying where things stand.
    pub source: &'a Source<'a>,
    /// What was found so far, in no order.
    pub diagnostics: Vec<Diagnostic>,
    /// How this kind of file words its problems.
    pub wording: Wording,
}

impl FieldReader<'_> {
    /// Adds an error about what stands at `place`.
    pub fn error(&mut self, code: Code, place: &Place, message: String, help: impl Into<String>) {
        self.diagnostics.push(self.source.diagnostic_at(code, place.steps(), message).help(help));
    }

    /// Adds a warning about what stands at `place`.
    pub fn warning(&mut self, code: Code, place: &Place, message: String, help: impl Into<String>) {
        self.diagnostics.push(self.source.diagnostic_at(code, place.steps(), message).help(help).warning());
    }

    /// Adds an error at bytes of the text that was parsed, or at `place` where they are not known.
    pub fn error_in(
        &mut self,
        code: Code,
        span: Option<Range<usize>>,
        place: &Place,
        message: String,
        help: String,
    ) {
        match span {
            Some(span) => self.diagnostics.push(self.source.diagnostic(code, Some(span), message).help(help)),
            None => self.error(code, place, message, help),
        }
    }

    /// True when something at or below `place` was left out while reading, so that its absence proves nothing.
    pub fn incomplete(&self, place: &Place) -> bool {
        self.source.incomplete(place.steps())
    }

    /// True when the field `name` of what stands at `place`, or something in it, was left out while reading, so
    /// that its absence proves nothing.
    pub fn left_out(&self, place: &Place, name: &'static str) -> bool {
        self.source.left_out(place.steps(), name) || self.incomplete(&place.field(name))
    }

    /// The value of a leaf at `place`. Reports a value that was not understood; `expected` says what is, and is
    /// empty where every problem's own advice is the best.
    pub fn read<T: DeserializeOwned + Clone>(
        &mut self,
        leaf: &Leaf<T>,
        place: &Place,
        expected: &str,
    ) -> Option<T> {
        if let Ok(value) = &leaf.value {
            return Some(value.clone());
        }
        // What remains of a value after leaving out its wrong fields is not what was meant.
        let (_, mut problems) = self.source.explain(leaf, place.steps());
        let whole =
            |problem: &&mut Diagnostic| !expected.is_empty() && (self.wording.advise_whole)(problem.code);
        for problem in problems.iter_mut().filter(whole) {
            problem.help = Some(format!("write {expected}"));
        }
        self.diagnostics.extend(problems);
        None
    }

    /// The value of the optional field `name` of what stands at `place`.
    pub fn take<T: DeserializeOwned + Clone>(
        &mut self,
        leaf: &Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<T> {
        self.read(leaf.as_ref()?, &place.field(name), expected)
    }

    /// The required field `name` of what stands at `place`; reports its absence.
    pub fn require_leaf<'f, T>(
        &mut self,
        leaf: &'f Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<&'f Leaf<T>> {
        if leaf.is_none() {
            self.missing(place, name, expected);
        }
        leaf.as_ref()
    }

    /// The value of the required field `name` of what stands at `place`; reports its absence.
    pub fn require<T: DeserializeOwned + Clone>(
        &mut self,
        leaf: &Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<T> {
        let leaf = self.require_leaf(leaf, place, name, expected)?;
        self.read(leaf, &place.field(name), expected)
    }

    /// Reports that the field `name` of what stands at `place` is missing, unless it was left out.
    pub fn missing(&mut self, place: &Place, name: &'static str, expected: &str) {
        if self.left_out(place, name) {
            return;
        }
        let message = format!("field `{name}` is missing");
        let found = self.source.diagnostic_at(self.wording.missing_field, place.steps(), message);
        let found = found.label(format!("`{name}` is missing here"));
        self.diagnostics.push(found.help(format!("add `{name}:` with {expected}")));
    }

    /// Reports that the list `name` of what stands at `place` is missing or empty, unless something was left out.
    pub fn none_given(&mut self, place: &Place, name: &'static str, expected: &str) {
        if !self.left_out(place, name) {
            let message = format!("no `{name}` are given");
            let help = format!("write `{name}:` with {expected}");
            self.error(self.wording.missing_field, place, message, help);
        }
    }
}
