//! Reading on after a mistake: report it, leave out the innermost item around it, read again.
//!
//! `ron` stops at the first problem. Leaving out means overwriting with spaces, so that every other place keeps
//! its offset. Each round leaves out at least one item, so reading ends.

use std::ops::Range;

use ron::error::{Error, SpannedError};
use serde::de::DeserializeOwned;

use super::Notation;
use super::describe::{Problem, broken, describe, syntax};
use super::outline::{Item, outline};
use super::token::skip_blank;
use crate::diagnostic::offset_of;
use crate::file::ron_options;

/// More problems than this are not looked for.
const MOST_PROBLEMS: usize = 100;

/// What became of a text.
#[derive(Debug)]
pub(crate) struct Recovered<T> {
    pub value: Option<T>,
    /// Problems, with places in the text.
    pub problems: Vec<Problem>,
    /// The text with the items left out that were wrong.
    pub text: String,
    /// What was left out.
    pub holes: Vec<Hole>,
}

/// An item that was left out.
#[derive(Clone, Debug)]
pub(crate) struct Hole {
    pub span: Range<usize>,
    /// Its name, for a field.
    pub key: Option<String>,
    /// What it said.
    pub text: String,
}

/// Why one attempt failed.
pub(super) struct Failure {
    /// Field path, such as `cpus[0].part`; empty at the top.
    pub path: String,
    pub error: Error,
    /// Where `ron` was, at a token.
    pub offset: usize,
}

/// Reads `text` with everything left out that is wrong.
pub(crate) fn recover<T: DeserializeOwned>(text: &str, notation: Notation) -> Recovered<T> {
    let mut state = Recovered { value: None, problems: Vec::new(), text: text.to_owned(), holes: Vec::new() };
    match attempt(&state.text) {
        Ok(value) => return Recovered { value: Some(value), ..state },
        Err(failure) => {
            if let Some(problem) = syntax_problem(text, &failure) {
                state.problems.push(problem);
                return state;
            }
        }
    }
    while state.problems.len() < MOST_PROBLEMS {
        let failure = match attempt(&state.text) {
            Ok(value) => {
                state.value = Some(value);
                return state;
            }
            Err(failure) => failure,
        };
        let Ok(top) = outline(&state.text) else { return state };
        if !step(&mut state, &top, &failure, notation) {
            return state;
        }
    }
    state
}

fn attempt<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    let fail = |path: String, error: SpannedError| {
        // The end is where reading stopped; for a word read as a whole, the start is its first character.
        let start = offset_of(text, error.span.start.line, error.span.start.col);
        Failure { path, error: error.code, offset: skip_blank(text, start) }
    };
    let mut reader = ron::Deserializer::from_str_with_options(text, &ron_options())
        .map_err(|error| fail(String::new(), error))?;
    match serde_path_to_error::deserialize(&mut reader) {
        Ok(value) => {
            reader.end().map(|()| value).map_err(|error| fail(String::new(), reader.span_error(error)))
        }
        Err(error) => {
            let path = error.path().to_string();
            Err(fail(path, reader.span_error(error.into_inner())))
        }
    }
}

/// The problem when `text` is no RON at all, whatever the type.
fn syntax_problem(text: &str, failure: &Failure) -> Option<Problem> {
    if let Err(problem) = outline(text) {
        return Some(broken(text, &problem));
    }
    if skip_blank(text, 0) >= text.len() {
        return Some(Problem::empty_text());
    }
    match ron_options().from_str::<&ron::value::RawValue>(text) {
        Ok(_) if failure.error == Error::TrailingCharacters => {
            Some(syntax(text, failure.offset, &failure.error))
        }
        Ok(_) => None,
        Err(error) => {
            let offset = offset_of(text, error.span.end.line, error.span.end.col);
            Some(syntax(text, offset, &error.code))
        }
    }
}

/// Reports `failure` and leaves its item out. False when there is nothing to leave out.
fn step<T>(state: &mut Recovered<T>, top: &Item, failure: &Failure, notation: Notation) -> bool {
    let item = culprit(top, &state.text, failure);
    let problem = describe(&state.text, item.unwrap_or(top), failure, notation);
    // A field is missing because it was left out above: no news.
    let around = item.map_or(0..state.text.len(), |item| item.span.clone());
    let consequence = matches!(failure.error, Error::MissingStructField { .. })
        && state.holes.iter().any(|hole| around.start <= hole.span.start && hole.span.end <= around.end);
    if !consequence {
        state.problems.push(problem);
    }
    let Some(item) = item else { return false };
    let key = item.key.clone().map(|key| state.text[key].to_owned());
    let text = state.text[item.span.clone()].to_owned();
    blank(&mut state.text, item.span.start..item.end);
    state.holes.push(Hole { span: item.span.clone(), key, text });
    true
}

/// The item to leave out for `failure`; `None` when it is the whole text.
fn culprit<'a>(top: &'a Item, text: &str, failure: &Failure) -> Option<&'a Item> {
    let direct = top.innermost(failure.offset);
    // After a whole value `ron` stands behind it: at a comma or bracket, which belongs to no item, or to the
    // item around. Then the value is the last one that ends before.
    let bytes = text.as_bytes();
    let behind = matches!(bytes.get(failure.offset), Some(b',' | b')' | b']' | b'}'));
    if !behind {
        return direct;
    }
    let holder = direct.unwrap_or(top);
    if matches!(failure.error, Error::MissingStructField { .. }) {
        return direct;
    }
    let last = holder.items.iter().rev().find(|item| item.span.end <= failure.offset);
    last.or(direct)
}

/// Overwrites bytes with spaces; line breaks stay.
fn blank(text: &mut String, range: Range<usize>) {
    let spaces: String =
        text[range.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(range, &spaces);
}
