//! [`Source`]: a text that was read, for saying where in it things stand.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::DeserializeOwned;

use super::Notation;
use super::describe::Problem;
use super::json::Places;
use super::outline::{Item, Path, Step, outline};
use super::recover::{Hole, recover};
use super::suggest::nearest;
use crate::diagnostic::{Code, Diagnostic};
use crate::file::Leaf;

/// A text as it was read. JSON is read by way of RON, so the text that was parsed may differ from the file's;
/// all diagnostics made here are about the file's.
#[derive(Debug)]
pub struct Source<'t> {
    file: String,
    original: String,
    /// What was parsed, with the items left out that were wrong.
    parsed: Cow<'t, str>,
    places: Option<Places>,
    holes: Vec<Hole>,
    /// Outline of `parsed`; `None` for a text that has none, such as the empty text of a machine that was not
    /// read from a file.
    outline: Option<Item>,
    notation: Notation,
}

impl<'t> Source<'t> {
    /// A file with `text`, read as the RON text `parsed`, which has the same places.
    pub(super) fn ron(text: &str, parsed: &str, file_name: &str) -> Source<'static> {
        Source::new(text, file_name, Cow::Owned(parsed.to_owned()), None)
    }

    pub(super) fn json(text: &str, file_name: &str, ron: String, places: Places) -> Source<'static> {
        Source::new(text, file_name, Cow::Owned(ron), Some(places))
    }

    fn new(text: &str, file_name: &str, parsed: Cow<'t, str>, places: Option<Places>) -> Source<'t> {
        let notation = if places.is_some() { Notation::Json } else { Notation::Ron };
        Source {
            file: file_name.to_owned(),
            original: text.to_owned(),
            parsed,
            places,
            holes: Vec::new(),
            outline: None,
            notation,
        }
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.original
    }

    /// Where `leaf` stands, for [`Source::diagnostic`]. Only for leaves of the value read with this source.
    pub fn leaf<T>(&self, leaf: &Leaf<T>) -> Option<Range<usize>> {
        leaf.span(&self.parsed)
    }

    /// The characters that were read as `leaf`, quotation marks and escapes included.
    pub fn literal<T>(&self, leaf: &Leaf<T>) -> Option<&str> {
        self.parsed.get(self.leaf(leaf)?)
    }

    /// True when what was left out of the text may have defined `name`: it holds that word, or a whole thing
    /// made of a part, which may have had a generated name.
    pub(crate) fn may_have_defined(&self, name: &str) -> bool {
        self.holes.iter().any(|hole| hole.text.contains(name) || hole.text.contains("part"))
    }

    /// True when the field `name` of what stands at `path` may be missing because it was left out, under this
    /// name or a misspelt one.
    pub fn left_out(&self, path: &[Step], name: &str) -> bool {
        let Some(top) = &self.outline else { return false };
        let (item, rest) = top.find(&self.parsed, path);
        rest.is_empty() && self.field_left_out(item, name)
    }

    fn field_left_out(&self, item: &Item, name: &str) -> bool {
        let direct = |hole: &&Hole| {
            holds(&item.value, hole) && !item.items.iter().any(|child| holds(&child.value, hole))
        };
        // Without a name it could have been any field.
        let named = |hole: &Hole| hole.key.as_deref().is_none_or(|key| nearest(key, [name]).is_some());
        self.holes.iter().filter(direct).any(named)
    }

    /// True when anything was left out at or below `path`.
    pub fn incomplete(&self, path: &[Step]) -> bool {
        let Some(top) = &self.outline else { return false };
        match top.find(&self.parsed, path) {
            (item, []) => self.holes.iter().any(|hole| holds(&item.value, hole)),
            (item, [Step::Field(name), ..]) => self.field_left_out(item, name),
            (_, _) => false,
        }
    }

    /// Where the value at `path` stands.
    pub(crate) fn place(&self, path: &[Step]) -> Option<Range<usize>> {
        let top = self.outline.as_ref()?;
        Some(top.find(&self.parsed, path).0.value.clone())
    }

    /// A diagnostic at `span` of the parsed text.
    pub fn diagnostic(
        &self,
        code: Code,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let found = Diagnostic::error(code, &self.file, message);
        match span {
            Some(span) => {
                let span = self.places.as_ref().map_or(span.clone(), |places| places.original(span));
                found.at(&self.original, span)
            }
            None => found,
        }
    }

    /// A diagnostic about what stands at `path`; where there is no text, the message names the path.
    pub fn diagnostic_at(&self, code: Code, path: &[Step], message: String) -> Diagnostic {
        match self.place(path) {
            Some(span) => self.diagnostic(code, Some(opening(&self.parsed, span)), message),
            None if path.is_empty() => self.diagnostic(code, None, message),
            None => self.diagnostic(code, None, format!("{}: {message}", Path(path))),
        }
    }

    fn problem(&self, problem: Problem) -> Diagnostic {
        let Problem { code, span, message, label, help } = problem;
        self.diagnostic(code, Some(span), message).label(label).help(help)
    }

    /// A problem with a place in the file's own text.
    pub(super) fn original_problem(&self, problem: Problem) -> Diagnostic {
        let Problem { code, span, message, label, help } = problem;
        Diagnostic::error(code, &self.file, message).at(&self.original, span).label(label).help(help)
    }

    /// Reads the text. Leaves of the value stand in the returned source.
    pub(super) fn recover<T: DeserializeOwned>(mut self) -> (Option<T>, Vec<Diagnostic>, Source<'t>) {
        let recovered = recover::<T>(&self.parsed, self.notation);
        let diagnostics = recovered.problems.into_iter().map(|problem| self.problem(problem)).collect();
        self.parsed = Cow::Owned(recovered.text);
        self.holes = recovered.holes;
        self.outline = outline(&self.parsed).ok();
        (recovered.value, diagnostics, self)
    }

    /// A source for lowering a value that was read from exactly this `text`, at this address, by RON.
    pub(crate) fn borrowed(text: &'t str, file_name: &str) -> Source<'t> {
        let mut source = Source::new(text, file_name, Cow::Borrowed(text), None);
        source.outline = outline(text).ok().filter(|_| !text.trim().is_empty());
        source
    }

    /// Everything wrong with a leaf that was not understood, and what of it could be read.
    pub fn explain<T: DeserializeOwned>(
        &self,
        leaf: &Leaf<T>,
        path: &[Step],
    ) -> (Option<T>, Vec<Diagnostic>) {
        let Some(span) = self.leaf(leaf) else {
            let message = leaf.value.as_ref().err().cloned().unwrap_or_default();
            return (None, vec![self.diagnostic_at(crate::codes::WRONG_VALUE, path, message)]);
        };
        let recovered = recover::<T>(&self.parsed[span.clone()], self.notation);
        let moved = recovered.problems.into_iter().map(|mut problem| {
            problem.span = problem.span.start + span.start..problem.span.end + span.start;
            self.problem(problem)
        });
        (recovered.value, moved.collect())
    }
}

fn holds(outer: &Range<usize>, hole: &Hole) -> bool {
    outer.start <= hole.span.start && hole.span.end <= outer.end
}

/// The first line of a value: enough to mark it.
fn opening(text: &str, span: Range<usize>) -> Range<usize> {
    let line = text[span.clone()].find('\n').map_or(span.end, |newline| span.start + newline);
    span.start..line
}
