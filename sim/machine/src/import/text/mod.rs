//! A machine file as text that a person likes to read, and that reads back as the same machine.
//!
//! Identifiers, classes, bus numbers and register words are hexadecimal, sizes and times have units. Short fields
//! share lines and stand before the nested ones, so that what an element is comes before what hangs below it.

mod node;

use node::Node;

use crate::file;

/// Longest line, unless a single string is longer.
const WIDTH: usize = 110;
/// Longest field that shares a line with others.
const SHORT: usize = 48;

/// `machine` in RON, below `header` as a comment.
///
/// A leaf whose value was not understood when it was read is left out: what remains is what the file means.
pub fn to_ron(machine: &file::Machine, header: &str) -> String {
    let mut out = String::new();
    for line in header.lines() {
        out.push_str(format!("// {line}").trim_end());
        out.push('\n');
    }
    out.push_str("Machine(\n");
    if let Some(Node::Fields(fields)) = node::of(machine) {
        for (name, value) in fields.iter().filter(|(_, value)| *value != Node::Absent) {
            field(&mut out, name, value, 1);
        }
    }
    out.push_str(")\n");
    out
}

/// `name: value,` on lines of its own.
fn field(out: &mut String, name: &str, value: &Node, depth: usize) {
    indent(out, depth);
    out.push_str(name);
    out.push_str(": ");
    broken(out, value, depth, name.len() + 2);
    out.push_str(",\n");
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("    ", depth));
}

/// `value`, on this line if it fits behind `used` characters, or else over several.
fn broken(out: &mut String, value: &Node, depth: usize, used: usize) {
    let line = inline(value);
    let fits = 4 * depth + used + line.len() < WIDTH && !has_nested_lists(value);
    match value {
        _ if fits => out.push_str(&line),
        Node::Variant(name, inner) => {
            out.push_str(name);
            broken(out, inner, depth, used + name.len());
        }
        Node::Fields(fields) => {
            out.push_str("(\n");
            broken_fields(out, fields, depth + 1);
            indent(out, depth);
            out.push(')');
        }
        Node::List(items) => {
            out.push_str("[\n");
            for item in items {
                indent(out, depth + 1);
                broken(out, item, depth + 1, 0);
                out.push_str(",\n");
            }
            indent(out, depth);
            out.push(']');
        }
        Node::Map(entries) => {
            out.push_str("{\n");
            for (key, value) in entries {
                field(out, key, value, depth + 1);
            }
            indent(out, depth);
            out.push('}');
        }
        Node::Atom(_) | Node::Absent => out.push_str(&line),
    }
}

/// Short fields first, as many to a line as fit, then the others.
fn broken_fields(out: &mut String, fields: &[(String, Node)], depth: usize) {
    let present = fields.iter().filter(|(_, value)| *value != Node::Absent);
    let (short, long): (Vec<_>, Vec<_>) = present.partition(|(_, value)| is_short(value));
    let mut line = String::new();
    for (name, value) in short {
        let text = format!("{name}: {},", inline(value));
        if !line.is_empty() && 4 * depth + line.len() + 1 + text.len() > WIDTH {
            flush(out, &mut line, depth);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&text);
    }
    flush(out, &mut line, depth);
    for (name, value) in long {
        field(out, name, value, depth);
    }
}

fn flush(out: &mut String, line: &mut String, depth: usize) {
    if !line.is_empty() {
        indent(out, depth);
        out.push_str(line);
        out.push('\n');
        line.clear();
    }
}

fn is_short(value: &Node) -> bool {
    match value {
        Node::Atom(_) => true,
        Node::List(items) => {
            items.iter().all(|item| matches!(item, Node::Atom(_))) && inline(value).len() <= SHORT
        }
        Node::Variant(..) | Node::Map(_) => false,
        Node::Fields(fields) => {
            fields.iter().all(|(_, value)| matches!(value, Node::Atom(_) | Node::Absent))
                && inline(value).len() <= SHORT
        }
        Node::Absent => false,
    }
}

/// True when a list of structs lies inside: ports and what hangs below them are never on one line.
fn has_nested_lists(value: &Node) -> bool {
    match value {
        Node::List(items) => items.iter().any(|item| matches!(item, Node::Fields(_) | Node::Variant(..))),
        Node::Fields(fields) => fields.iter().any(|(_, value)| has_nested_lists(value)),
        Node::Variant(_, inner) => has_nested_lists(inner),
        Node::Map(entries) => !entries.is_empty(),
        Node::Atom(_) | Node::Absent => false,
    }
}

fn inline(value: &Node) -> String {
    match value {
        Node::Absent => "None".to_owned(),
        Node::Atom(text) => text.clone(),
        Node::Variant(name, inner) => format!("{name}{}", inline(inner)),
        Node::List(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Node::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key}: {}", inline(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Node::Fields(fields) => {
            let present = fields.iter().filter(|(_, value)| *value != Node::Absent);
            let fields = present.map(|(name, value)| format!("{name}: {}", inline(value)));
            format!("({})", fields.collect::<Vec<_>>().join(", "))
        }
    }
}
