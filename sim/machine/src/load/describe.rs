//! What `ron` found wrong, in the words of someone who edits the file.

use std::ops::Range;

use ron::error::Error;

use super::Notation;
use super::outline::{Broken, Item, closing};
use super::recover::Failure;
use super::suggest::{list_words, nearest};
use super::token::{Unclosed, skip_blank};
use crate::codes;
use crate::diagnostic::{Code, line_and_column};

/// A problem and its place, before it is known which file it is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub code: Code,
    pub span: Range<usize>,
    pub message: String,
    pub label: String,
    pub help: String,
}

impl Problem {
    /// A problem of the whole notation.
    pub(crate) fn syntax(span: Range<usize>, message: String, label: &str, help: String) -> Problem {
        Problem { code: codes::SYNTAX, span, message, label: label.to_owned(), help }
    }

    pub(crate) fn empty_text() -> Problem {
        let help = "write at least `()`; `peerbus schema --template` prints a file to start from".to_owned();
        Problem::syntax(0..0, "the file holds nothing".to_owned(), "", help)
    }
}

/// Longest piece of the text that is repeated in a message.
const LONGEST_QUOTE: usize = 40;

fn quote(text: &str) -> String {
    let short: String = text.chars().take(LONGEST_QUOTE).take_while(|c| *c != '\n').collect();
    if short.len() == text.len() { short } else { format!("{short}…") }
}

/// The problem when brackets, strings or comments do not end.
pub(super) fn broken(text: &str, problem: &Broken) -> Problem {
    let line = |offset: usize| line_and_column(text, offset).0;
    let byte = |offset: usize| char::from(text.as_bytes()[offset]);
    match problem {
        Broken::Unclosed(Unclosed::Text(at)) => {
            let message = "this string has no end".to_owned();
            Problem::syntax(*at..*at + 1, message, "begins here", "write the closing `\"`".to_owned())
        }
        Broken::Unclosed(Unclosed::Comment(at)) => {
            let message = "this comment has no end".to_owned();
            Problem::syntax(*at..*at + 2, message, "begins here", "write the closing `*/`".to_owned())
        }
        Broken::NeverClosed(at) => {
            let close = char::from(closing(text.as_bytes()[*at]));
            let message = format!("`{}` is never closed", byte(*at));
            Problem::syntax(*at..*at + 1, message, "opened here", format!("write the closing `{close}`"))
        }
        Broken::Mismatch(at, Some(open)) => {
            let close = char::from(closing(text.as_bytes()[*open]));
            let message = format!(
                "`{}` closes nothing: `{}` of line {} is still open",
                byte(*at),
                byte(*open),
                line(*open)
            );
            Problem::syntax(*at..*at + 1, message, "", format!("write `{close}` before it, or drop it"))
        }
        Broken::Mismatch(at, None) => {
            let message = format!("`{}` closes nothing", byte(*at));
            Problem::syntax(*at..*at + 1, message, "", "drop it, or write what it should close".to_owned())
        }
        Broken::TooDeep(at) => {
            let message = "brackets are nested too deeply".to_owned();
            Problem::syntax(*at..*at + 1, message, "", "no file needs more than 100 levels".to_owned())
        }
    }
}

/// The problem when `ron` cannot even see values at `offset`.
pub(super) fn syntax(text: &str, offset: usize, error: &Error) -> Problem {
    let at = skip_blank(text, offset.min(text.len())).min(text.len());
    let length = text[at..].chars().next().map_or(0, char::len_utf8);
    let found = text[at..].split([' ', '\n', ',', ')', ']']).next().filter(|word| !word.is_empty());
    let found = found.map(quote).or_else(|| text[at..].chars().next().map(String::from));
    let (message, help) = match error {
        Error::ExpectedComma => (
            format!("expected a comma before `{}`", found.unwrap_or_default()),
            "separate fields and elements with `,`; a field is `name: value`".to_owned(),
        ),
        Error::TrailingCharacters => (
            format!("`{}` stands behind the end of the value", found.unwrap_or_default()),
            "a file holds one value: drop the rest, or check where its brackets close".to_owned(),
        ),
        Error::UnexpectedChar(c) => {
            (format!("a value is missing before `{c}`"), "write a value, or drop the field".to_owned())
        }
        other => (
            lower_first(&other.to_string()),
            "see `peerbus explain M0001` for how files are written".to_owned(),
        ),
    };
    Problem::syntax(at..at + length, message, "", help)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The problem of `item`, in which `failure` arose.
pub(super) fn describe(text: &str, item: &Item, failure: &Failure, notation: Notation) -> Problem {
    let key = || item.key.clone().unwrap_or(item.value.clone());
    let place = |path: &str| {
        let path = path.trim_start_matches('.');
        if path.is_empty() || path.contains('?') { String::new() } else { format!(" in `{path}`") }
    };
    match &failure.error {
        Error::NoSuchStructField { expected, found, .. } => {
            let holder = failure.path.rsplit_once('.').map_or("", |(holder, _)| holder);
            Problem {
                code: codes::UNKNOWN_FIELD,
                span: key(),
                message: format!("unknown field `{found}`{}", place(holder)),
                label: "not a field here".to_owned(),
                help: choice(found, expected, "the fields here are", "there are no fields here"),
            }
        }
        Error::NoSuchEnumVariant { expected, found, .. } => Problem {
            code: codes::UNKNOWN_VARIANT,
            span: item.name.clone().unwrap_or(item.value.clone()),
            message: format!("`{found}` is not a choice{}", place(&failure.path)),
            label: String::new(),
            help: choice(found, expected, "the choices are", "there are no choices"),
        },
        Error::DuplicateStructField { field, .. } => Problem {
            code: codes::DUPLICATE_FIELD,
            span: key(),
            message: format!("field `{field}` is given twice{}", place(&failure.path)),
            label: "given before".to_owned(),
            help: "keep one of the two; the first is used".to_owned(),
        },
        Error::MissingStructField { field, .. } => Problem {
            code: codes::MISSING_FIELD,
            span: item.value.clone(),
            message: format!("field `{field}` is missing{}", place(&failure.path)),
            label: format!("`{field}` is missing here"),
            help: format!("add `{field}: …`"),
        },
        error => {
            misplaced(text, item, error, notation).unwrap_or_else(|| wrong_value(text, item, error, notation))
        }
    }
}

/// The problem when a structure's name, fields or brackets are not where they belong.
fn misplaced(text: &str, item: &Item, error: &Error, notation: Notation) -> Option<Problem> {
    let (message, help) = match error {
        Error::ExpectedDifferentStructName { expected, found } => (
            format!("expected `{expected}(…)`, found `{found}`"),
            format!("write `{expected}(…)`, or the brackets alone"),
        ),
        Error::ExpectedIdentifier | Error::SuggestRawIdentifier(_)
            if item.within == b'(' && item.key.is_none() =>
        {
            (
                format!("expected a field, `name: value`, found {}", found(text, item, notation)),
                "write the field's name before it; brackets around all fields stand once".to_owned(),
            )
        }
        Error::ExpectedStructLike if item.open == 0 && item.name.is_some() => {
            let name = &text[item.value.clone()];
            (format!("`{name}` lacks its fields"), format!("write `{name}(name: value, …)`"))
        }
        _ => return None,
    };
    let (code, span) = (codes::WRONG_SHAPE, item.value.clone());
    Some(Problem { code, span, message, label: String::new(), help })
}

fn choice(found: &str, expected: &[&str], intro: &str, none: &str) -> String {
    if expected.is_empty() {
        return none.to_owned();
    }
    let words: Vec<String> = expected.iter().map(|word| format!("`{word}`")).collect();
    let list = list_words(&words, 20).replace(" or ", " and ");
    match nearest(found, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? {intro} {list}"),
        None => format!("{intro} {list}"),
    }
}

fn wrong_value(text: &str, item: &Item, error: &Error, notation: Notation) -> Problem {
    let found = found(text, item, notation);
    let wanted = wanted(error, notation);
    let (code, message, help) = match (&wanted, error) {
        (Some(wanted), _) => {
            (codes::WRONG_SHAPE, format!("expected {wanted}, found {found}"), format!("write {wanted}"))
        }
        (None, Error::IntegerOutOfBounds) => (
            codes::WRONG_VALUE,
            format!("{found} is out of range"),
            "write a number in the range of this field; `peerbus schema` lists them".to_owned(),
        ),
        (None, Error::InvalidValueForType { expected, .. }) => {
            (codes::WRONG_VALUE, format!("expected {expected}, found {found}"), format!("write {expected}"))
        }
        // Values that know their own notation (`64GiB`) end their complaint with what they expect.
        (None, Error::Message(message)) => match message.rsplit_once("; expected ") {
            Some((problem, expected)) => {
                (codes::WRONG_VALUE, format!("{found}: {problem}"), format!("write {expected}"))
            }
            None => {
                (codes::WRONG_VALUE, format!("{found}: {message}"), "write a value of that kind".to_owned())
            }
        },
        (None, other) => (
            codes::WRONG_SHAPE,
            format!("{}, found {found}", lower_first(&other.to_string())),
            "see `peerbus schema` for what belongs here".to_owned(),
        ),
    };
    Problem { code, span: item.value.clone(), message, label: String::new(), help }
}

fn wanted(error: &Error, notation: Notation) -> Option<String> {
    let ron = notation == Notation::Ron;
    let fields =
        if ron { "fields in brackets, `(name: value, …)`" } else { "an object, `{\"name\": value, …}`" };
    let name = if ron {
        "one of its choices, such as `Name(…)`"
    } else {
        "one of its choices, such as `{\"Name\": …}`"
    };
    let wanted = match error {
        Error::ExpectedArray => "a list, `[…]`",
        Error::ExpectedStructLike | Error::ExpectedNamedStructLike(_) => fields,
        Error::ExpectedBoolean => "`true` or `false`",
        Error::ExpectedMap => "a map, `{\"name\": value, …}`",
        Error::ExpectedString => "a string, `\"…\"`",
        Error::ExpectedInteger | Error::InvalidIntegerDigit { .. } => "a whole number",
        Error::ExpectedFloat => "a number",
        Error::ExpectedIdentifier | Error::SuggestRawIdentifier(_) => name,
        Error::ExpectedUnit => "nothing, `()`",
        _ => return None,
    };
    Some(wanted.to_owned())
}

/// `the number 5`, `a list`: what the value of `item` is.
fn found(text: &str, item: &Item, notation: Notation) -> String {
    let raw = &text[item.value.clone()];
    let json = notation == Notation::Json;
    match (item.open, &item.name) {
        (b'[', None) => "a list".to_owned(),
        (b'{', None) => "a map".to_owned(),
        (b'(', None) if json => "an object".to_owned(),
        (b'(', None) => "fields in brackets".to_owned(),
        (0, _) if raw.is_empty() => "nothing".to_owned(),
        (0, _) if raw.starts_with('"') => format!("the string {}", quote(raw)),
        (0, _) if raw.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
            format!("the number {}", quote(raw))
        }
        (0, _) => format!("`{}`", quote(raw)),
        (_, name) => format!("`{}`", quote(name.clone().map_or(raw, |name| &text[name]))),
    }
}
