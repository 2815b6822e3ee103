//! Diagnostics: what is wrong with an input, where, and what to write instead.
//!
//! Every reader of a file a person may have written (machines, scenarios, captures) reports with these. A
//! diagnostic names its place in bytes and, for people, as line and column: both count from 1 and columns count
//! characters. [`render`] prints them in rustc's look; serialised they have the keys that `peerbus check
//! --format json` promises: `code`, `severity`, `file`, `line`, `column`, `message`, `help`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Serialize, Serializer};

/// A stable name for one kind of problem, such as `M0101`; `peerbus explain` takes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The input cannot be used.
    Error,
    /// The input can be used, but probably does not say what was meant.
    Warning,
}

/// One problem of one input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostic {
    /// What kind of problem.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The file it is in, as its reader was told.
    pub file: String,
    /// Bytes of the file's text that are wrong. `None` when the problem has no place in a text.
    #[serde(skip)]
    pub span: Option<Range<usize>>,
    /// Line of the first wrong character, from 1.
    pub line: Option<usize>,
    /// Column of the first wrong character, from 1, counted in characters.
    pub column: Option<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// A few words beside the marked text; may be empty.
    #[serde(skip)]
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(code: Code, file: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            file: file.to_owned(),
            span: None,
            line: None,
            column: None,
            message: one_line(message.into()),
            label: String::new(),
            help: None,
        }
    }

    /// The same as a warning.
    pub fn warning(mut self) -> Diagnostic {
        self.severity = Severity::Warning;
        self
    }

    /// The same at the bytes `span` of `text`.
    pub fn at(mut self, text: &str, span: Range<usize>) -> Diagnostic {
        let (line, column) = line_and_column(text, span.start);
        self.line = Some(line);
        self.column = Some(column);
        self.span = Some(span);
        self
    }

    /// The same with words beside the marked text.
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    /// The same with advice.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(one_line(help.into()));
        self
    }

    /// True for an error, which makes its input unusable.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `text` with control characters, which may come from a quoted piece of the input, written as escapes.
fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// True when any of `diagnostics` is an error.
pub fn any_error(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// Orders by place in the text, then by code; those without a place come last. Equal ones are merged.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by_key(|d| {
        let start = d.span.as_ref().map_or(usize::MAX, |span| span.start);
        (d.file.clone(), start, d.code, d.message.clone())
    });
    diagnostics.dedup();
}

/// Line and column, both from 1, of byte `offset` of `text`; columns count characters. An offset beyond the
/// end, or inside a character, counts as the next one before it.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..floor_char_boundary(text, offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
    (line, 1 + before[line_start..].chars().count())
}

/// Byte offset of line and column, both from 1; the inverse of [`line_and_column`]. Beyond the end of a line
/// or the text, the nearest offset before.
pub fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match text[start..].find('\n') {
            Some(newline) => start += newline + 1,
            None => return text.len(),
        }
    }
    let rest = &text[start..];
    rest.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(offset, _)| start + offset)
}

fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// `diagnostics` as rustc prints them, each with the lines of its file it talks about. `sources` maps file
/// names to their texts; a diagnostic whose file is not among them is printed without lines. With `colour`,
/// ANSI escapes are added.
pub fn render(diagnostics: &[Diagnostic], sources: &BTreeMap<String, String>, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&[group(diagnostic, sources)]));
        out.push_str("\n\n");
    }
    out
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a BTreeMap<String, String>) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.0);
    let place = sources.get(&diagnostic.file).zip(diagnostic.span.clone());
    let mut group = match place {
        Some((text, span)) => {
            let start = floor_char_boundary(text, span.start);
            let end = floor_char_boundary(text, span.end).max(start);
            let mark = AnnotationKind::Primary.span(start..end);
            let mark = if diagnostic.label.is_empty() { mark } else { mark.label(diagnostic.label.as_str()) };
            title.element(Snippet::source(text.as_str()).path(diagnostic.file.as_str()).annotation(mark))
        }
        None => title.element(Level::NOTE.message(format!("in {}", diagnostic.file))),
    };
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "ab\nµµx\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 3), (2, 1));
        assert_eq!(line_and_column(text, 7), (2, 3));
        assert_eq!(line_and_column(text, 6), (2, 2), "inside a character counts as its start");
        assert_eq!(line_and_column(text, 999), (3, 1));
        for offset in [0, 1, 2, 3, 5, 7, 8] {
            let (line, column) = line_and_column(text, offset);
            assert_eq!(offset_of(text, line, column), offset);
        }
    }

    #[test]
    fn rendering_shows_the_line_and_the_advice() {
        let text = "(gen: 7)\n";
        let found = Diagnostic::error(Code("M0301"), "a.ron", "generation 7 does not exist")
            .at(text, 6..7)
            .label("not a PCIe generation")
            .help("write 1 to 6");
        let sources = BTreeMap::from([("a.ron".to_owned(), text.to_owned())]);
        let expected = "\
error[M0301]: generation 7 does not exist
 --> a.ron:1:7
  |
1 | (gen: 7)
  |       ^ not a PCIe generation
  |
  = help: write 1 to 6

";
        assert_eq!(render(std::slice::from_ref(&found), &sources, false), expected);
        assert!(render(&[found], &sources, true).contains("\u{1b}["));
    }

    #[test]
    fn json_has_the_promised_keys() {
        let found = Diagnostic::error(Code("M0301"), "a.ron", "m").at("(gen: 7)", 6..7).help("h");
        let json = serde_json::to_value(found).ok();
        let expected = serde_json::json!({
            "code": "M0301", "severity": "error", "file": "a.ron", "line": 1, "column": 7, "message": "m", "help": "h"
        });
        assert_eq!(json, Some(expected));
    }
}
