//! JSON texts as RON texts, with a map of places, so that one reader serves both.
//!
//! JSON does not tell a structure from a map, nor a string from a choice without fields; the schema of the type
//! that will be read does. Where a value does not fit its schema it is translated by its own looks, and the
//! reader reports it.

use std::ops::Range;

use schemars::Schema;
use serde_json::Value;

use super::describe::Problem;
use crate::codes;
use crate::diagnostic::offset_of;

/// A translated text.
#[derive(Debug)]
pub(super) struct Translated {
    pub ron: String,
    pub places: Places,
    /// Keys that no RON name can hold; in places of the JSON text.
    pub problems: Vec<Problem>,
}

/// Where pieces of a translated text come from, in order of both texts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pieces: Vec<(Range<usize>, Range<usize>)>,
}

impl Places {
    /// The place in the JSON text of a place in the RON text.
    pub(crate) fn original(&self, span: Range<usize>) -> Range<usize> {
        let from = self.pieces.partition_point(|(ron, _)| ron.end <= span.start);
        let to = self.pieces.partition_point(|(ron, _)| ron.start < span.end);
        let Some((ron, json)) = self.pieces.get(from).or(self.pieces.last()) else { return 0..0 };
        let start = if ron.len() == json.len() && ron.start <= span.start {
            (json.start + span.start - ron.start).min(json.end)
        } else {
            json.start
        };
        let end = match to.checked_sub(1).and_then(|last| self.pieces.get(last)) {
            Some((ron, json)) if ron.len() == json.len() && span.end <= ron.end => {
                json.end - (ron.end - span.end)
            }
            Some((_, json)) => json.end,
            None => start,
        };
        start..end.max(start)
    }
}

/// Translates `text` for reading a value of `schema`.
pub(super) fn to_ron(text: &str, schema: &Schema) -> Result<Translated, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::empty_text());
    }
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        return Err(syntax(text, &error));
    }
    let out = Translated { ron: String::new(), places: Places::default(), problems: Vec::new() };
    let mut writer = Writer { text, at: 0, root: schema.as_value(), out };
    writer.value(Some(schema.as_value()));
    Ok(writer.out)
}

fn syntax(text: &str, error: &serde_json::Error) -> Problem {
    // serde_json counts columns in bytes, and 0 before the first of a line.
    let line = offset_of(text, error.line(), 1);
    let mut offset = (line + error.column().saturating_sub(1)).min(text.len().saturating_sub(1));
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let length = text[offset..].chars().next().map_or(0, char::len_utf8);
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    Problem::syntax(
        offset..offset + length,
        message,
        "",
        "the file is read as JSON; mend its notation".to_owned(),
    )
}

struct Writer<'a> {
    /// JSON that is known to be well-formed.
    text: &'a str,
    at: usize,
    /// The document that holds the definitions.
    root: &'a Value,
    out: Translated,
}

impl<'a> Writer<'a> {
    fn skip_blank(&mut self) {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r']);
        self.at = self.text.len() - rest.len();
    }

    fn byte(&mut self) -> u8 {
        self.skip_blank();
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn emit(&mut self, ron: &str, json: Range<usize>) {
        let start = self.out.ron.len();
        self.out.ron.push_str(ron);
        self.out.places.pieces.push((start..self.out.ron.len(), json));
    }

    /// Emits `ron` for the one byte that stands here.
    fn swap(&mut self, ron: &str) {
        self.skip_blank();
        self.emit(ron, self.at..self.at + 1);
        self.at += 1;
    }

    /// Emits the comma between items, if one stands here; false when the list ends.
    fn comma(&mut self) -> bool {
        if self.byte() != b',' {
            return false;
        }
        self.swap(", ");
        true
    }

    fn value(&mut self, schema: Option<&'a Value>) {
        let schema = schema.map(|schema| self.resolve(schema));
        match self.byte() {
            b'{' if schema.is_some_and(|schema| self.is_choice(schema)) => self.variant(schema),
            b'{' => self.object(schema),
            b'[' => self.list(schema),
            b'"' => self.string(schema),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) {
        let rest = &self.text[self.at..];
        let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        let word = &rest[..end];
        let ron = if word == "null" { "None" } else { word };
        self.emit(ron, self.at..self.at + end);
        self.at += end;
    }

    /// The string that begins here, and its place.
    fn string_token(&mut self) -> (String, Range<usize>) {
        self.skip_blank();
        let start = self.at;
        let mut end = start + 1;
        let bytes = self.text.as_bytes();
        while bytes.get(end).is_some_and(|byte| *byte != b'"') {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        self.at = (end + 1).min(self.text.len());
        let text = serde_json::from_str(&self.text[start..self.at]).unwrap_or_default();
        (text, start..self.at)
    }

    fn string(&mut self, schema: Option<&'a Value>) {
        let (text, place) = self.string_token();
        if is_name(&text) && schema.is_some_and(|schema| self.is_choice(schema)) {
            return self.emit(&text, place);
        }
        self.emit(&quoted(&text), place);
    }

    fn list(&mut self, schema: Option<&'a Value>) {
        let tuple = schema.and_then(|schema| schema.get("prefixItems"));
        let (open, close) = if tuple.is_some() { ("(", ")") } else { ("[", "]") };
        self.swap(open);
        let mut index = 0;
        while self.byte() != b']' {
            let element = match tuple {
                Some(tuple) => tuple.get(index),
                None => schema.and_then(|schema| schema.get("items")),
            };
            self.value(element);
            index += 1;
            if !self.comma() {
                break;
            }
        }
        self.skip_blank();
        self.swap(close);
    }

    fn object(&mut self, schema: Option<&'a Value>) {
        let values = schema
            .and_then(|schema| schema.get("additionalProperties"))
            .filter(|values| !values.is_boolean());
        let is_map = schema.is_some_and(|schema| schema.get("properties").is_none()) && values.is_some();
        self.swap(if is_map { "{" } else { "(" });
        while self.byte() != b'}' {
            let (key, place) = self.string_token();
            let property =
                if is_map { values } else { schema.and_then(|schema| schema["properties"].get(&key)) };
            if is_map {
                self.emit(&quoted(&key), place);
            } else if is_name(&key) {
                self.emit(&key, place);
            } else {
                self.bad_key(&key, place);
                continue;
            }
            self.skip_blank();
            self.swap(": ");
            self.value(property);
            if !self.comma() {
                break;
            }
        }
        self.skip_blank();
        self.swap(if is_map { "}" } else { ")" });
    }

    /// Reports a key that is no name and leaves it out with its value.
    fn bad_key(&mut self, key: &str, place: Range<usize>) {
        self.out.problems.push(Problem {
            code: codes::UNKNOWN_FIELD,
            span: place,
            message: format!("unknown field `{}`", key.escape_debug()),
            label: "not a field here".to_owned(),
            help: "field names are lower-case letters, digits and underscores".to_owned(),
        });
        let (length, pieces) = (self.out.ron.len(), self.out.places.pieces.len());
        self.skip_blank();
        self.at += 1;
        self.value(None);
        if self.byte() == b',' {
            self.at += 1;
        }
        self.out.ron.truncate(length);
        self.out.places.pieces.truncate(pieces);
    }

    /// `{"Name": value}` as `Name(value)`.
    fn variant(&mut self, schema: Option<&'a Value>) {
        let start = self.at;
        self.at += 1;
        if self.byte() != b'"' {
            self.at = start;
            return self.object(None);
        }
        let (key, place) = self.string_token();
        let one = {
            let after = self.at;
            let mut probe =
                Writer { text: self.text, at: after, root: self.root, out: Translated::scratch() };
            probe.skip_blank();
            probe.at += 1;
            probe.value(None);
            probe.byte() == b'}'
        };
        if !one || !is_name(&key) {
            self.at = start;
            return self.object(None);
        }
        let inner = schema.and_then(|schema| self.member(schema, &key)).map(|inner| self.resolve(inner));
        self.emit(&key, place);
        self.skip_blank();
        self.at += 1;
        self.variant_value(inner);
        self.skip_blank();
        self.at += 1;
    }

    fn variant_value(&mut self, inner: Option<&'a Value>) {
        let byte = self.byte();
        let structure =
            inner.is_none_or(|inner| inner.get("properties").is_some() || inner["type"] == "object");
        let map = inner.is_some_and(|inner| inner.get("additionalProperties").is_some_and(Value::is_object));
        let tuple = inner.is_some_and(|inner| inner.get("prefixItems").is_some());
        if (byte == b'{' && structure && !map) || (byte == b'[' && tuple) {
            return self.value(inner);
        }
        let at = self.at;
        self.emit("(", at..at);
        self.value(inner);
        self.emit(")", self.at..self.at);
    }

    /// The schema behind references and optional values.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // Definitions do not nest deeper than this; a cycle of references would be a broken schema.
        for _ in 0..16 {
            let target =
                schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
            if let Some(target) = target.and_then(|target| self.root.pointer(target)) {
                schema = target;
                continue;
            }
            match alternatives(schema).filter(|member| !is_null(member)).collect::<Vec<_>>().as_slice() {
                [only] => schema = only,
                _ => return schema,
            }
        }
        schema
    }

    /// True for a type with named variants.
    fn is_choice(&self, schema: &'a Value) -> bool {
        schema.get("enum").is_some()
            || alternatives(schema).any(|member| {
                member.get("const").is_some()
                    || member.get("enum").is_some()
                    || member.get("properties").is_some()
            })
    }

    /// What the variant `key` holds.
    fn member(&self, schema: &'a Value, key: &str) -> Option<&'a Value> {
        alternatives(schema).find_map(|member| member.get("properties")?.get(key))
    }
}

impl Translated {
    fn scratch() -> Translated {
        Translated { ron: String::new(), places: Places::default(), problems: Vec::new() }
    }
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|key| schema.get(key)?.as_array());
    lists.flatten()
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

/// True for what RON takes as a name.
fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `text` as a RON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
