//! Reading a text into a typed value, with every problem found at once.
//!
//! Texts are RON, or the same model as JSON; which one is told by the file's extension or else by the first
//! character. A problem of shape (an unknown field, a list where a number belongs) costs only the innermost
//! item around it: it is reported, left out, and reading goes on. So the types read here should make every
//! field optional and take scalars as [`Leaf`](crate::file::Leaf). A text whose brackets, strings or commas are
//! wrong is reported once, since everything behind such a place would be guessed.
//!
//! Machines, scenarios and replays are all read by [`read`]; what their values mean is checked by whoever lowers
//! them, with a [`FieldReader`] to take fields and [`Source`] to say where things stand.

mod describe;
mod fields;
mod json;
mod outline;
mod recover;
mod source;
mod suggest;
mod token;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::diagnostic::Diagnostic;

pub use fields::{FieldReader, Place, Wording};
pub use outline::{Path, Step};
pub use source::Source;
pub use suggest::{list_words, nearest};

/// A value read from a text, as far as it could be read.
#[derive(Debug)]
pub struct Reading<T> {
    /// The value; what was not understood is missing from it. `None` when nothing could be read.
    pub value: Option<T>,
    /// What is wrong, in order of place.
    pub diagnostics: Vec<Diagnostic>,
    /// The text; places of leaves in `value` refer to it.
    pub source: Source<'static>,
}

/// How a text is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notation {
    Ron,
    Json,
}

impl Notation {
    /// By the extension of `file_name`, or else by the first character of `text`: RON files of ours begin with a
    /// name or `(`, JSON documents with `{` or `"`. A leading `[` is RON, which reads most JSON lists too.
    fn of(text: &str, file_name: &str) -> Notation {
        let extension = file_name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        match extension.as_deref() {
            Some("json") => Notation::Json,
            Some("ron") => Notation::Ron,
            _ if text.trim_start().starts_with(['{', '"']) => Notation::Json,
            _ => Notation::Ron,
        }
    }
}

/// Reads `text`. `file_name` is used for diagnostics and, by its extension, to tell RON from JSON.
pub fn read<T: DeserializeOwned + JsonSchema>(text: &str, file_name: &str) -> Reading<T> {
    let unmarked = without_byte_order_mark(text);
    let (source, mut diagnostics) = match Notation::of(&unmarked, file_name) {
        Notation::Ron => (Source::ron(text, &unmarked, file_name), Vec::new()),
        Notation::Json => match json::to_ron(&unmarked, &schemars::schema_for!(T)) {
            Ok(translated) => {
                let source = Source::json(text, file_name, translated.ron, translated.places);
                let diagnostics = translated.problems.into_iter().map(|found| source.original_problem(found));
                let diagnostics: Vec<_> = diagnostics.collect();
                (source, diagnostics)
            }
            Err(problem) => {
                let source = Source::ron(text, text, file_name);
                let diagnostics = vec![source.original_problem(problem)];
                return Reading { value: None, diagnostics, source };
            }
        },
    };
    let (value, problems, source) = source.recover::<T>();
    diagnostics.extend(problems);
    crate::diagnostic::sort(&mut diagnostics);
    Reading { value, diagnostics, source }
}

/// Some editors begin files with a mark that is no part of their content; blanks in its place keep every offset.
fn without_byte_order_mark(text: &str) -> Cow<'_, str> {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Cow::Owned(format!("   {rest}")),
        None => Cow::Borrowed(text),
    }
}

/// [`read`] for callers that do not ask where values stand.
pub fn parse<T: DeserializeOwned + JsonSchema>(text: &str, file_name: &str) -> (Option<T>, Vec<Diagnostic>) {
    let reading = read(text, file_name);
    (reading.value, reading.diagnostics)
}
