//! [`Context`]: what every step of loading needs: the text and where problems go.

use peerbus_machine::codes::WRONG_VALUE;
use peerbus_machine::diagnostic::{Code, Diagnostic};
use peerbus_machine::file::Leaf;
use peerbus_machine::load::{Source, Step};
use serde::de::DeserializeOwned;

use crate::replay::codes;

/// Where something stands in the file: fields and indices from the top.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Place(Vec<Step>);

impl Place {
    /// The field `name` of this.
    pub fn field(&self, name: &'static str) -> Place {
        Place(self.0.iter().copied().chain([Step::Field(name)]).collect())
    }

    /// The way from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The element `index` of the list `name`.
    pub fn element(&self, name: &'static str, index: usize) -> Place {
        Place(self.0.iter().copied().chain([Step::Field(name), Step::Index(index)]).collect())
    }
}

/// State of one loading.
pub(super) struct Context<'a> {
    pub source: &'a Source<'a>,
    pub diagnostics: Vec<Diagnostic>,
}

impl Context<'_> {
    /// Adds an error about what stands at `place`.
    pub fn error(&mut self, code: Code, place: &Place, message: String, help: impl Into<String>) {
        self.diagnostics.push(self.source.diagnostic_at(code, &place.0, message).help(help));
    }

    /// The same as a warning.
    pub fn warning(&mut self, code: Code, place: &Place, message: String, help: impl Into<String>) {
        self.diagnostics.push(self.source.diagnostic_at(code, &place.0, message).help(help).warning());
    }

    /// True when the field `name` of what stands at `place`, or something in it, was left out while reading, so
    /// that its absence proves nothing.
    pub fn left_out(&self, place: &Place, name: &'static str) -> bool {
        self.source.left_out(&place.0, name) || self.source.incomplete(&place.field(name).0)
    }

    /// The value of the optional field `name` of what stands at `place`. Reports a value that was not understood;
    /// `expected` says what is.
    pub fn take<T: DeserializeOwned + Clone>(
        &mut self,
        leaf: &Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<T> {
        let leaf = leaf.as_ref()?;
        if let Ok(value) = &leaf.value {
            return Some(value.clone());
        }
        // What remains of a value after leaving out its wrong fields is not what was meant.
        let (_, mut problems) = self.source.explain(leaf, &place.field(name).0);
        for problem in problems.iter_mut().filter(|problem| problem.code == WRONG_VALUE) {
            problem.help = Some(format!("write {expected}"));
        }
        self.diagnostics.extend(problems);
        None
    }

    /// The value of the required field `name` of what stands at `place`; reports its absence.
    pub fn require<T: DeserializeOwned + Clone>(
        &mut self,
        leaf: &Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<T> {
        if leaf.is_none() && !self.left_out(place, name) {
            let message = format!("field `{name}` is missing");
            let found = self.source.diagnostic_at(codes::MISSING_FIELD, &place.0, message);
            let help = format!("add `{name}:` with {expected}");
            self.diagnostics.push(found.label(format!("`{name}` is missing here")).help(help));
        }
        self.take(leaf, place, name, expected)
    }
}
