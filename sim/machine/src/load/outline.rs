//! The outline of a RON text: which item holds which, with the place of each.
//!
//! The outline answers two questions that `ron` does not: what is the innermost field or list element around a
//! byte (to leave it out and read on), and where does `host_bridges[0].ports[1]` stand (to mark an element
//! that lacks a field). Enum variants and struct names belong to their value: `below: Switch(part: …)` is one
//! item with the key `below` and fields below it.

use std::fmt;
use std::ops::Range;

use super::token::{Kind, Token, Unclosed, tokens};

/// Deepest nesting of brackets that is read; `ron` itself stops a little further down.
const DEEPEST: usize = 100;

/// One field, list element or map entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    /// The name before the colon.
    pub key: Option<Range<usize>>,
    /// From the key, or else the value, to the value's end.
    pub span: Range<usize>,
    /// The value alone.
    pub value: Range<usize>,
    /// End of the comma that follows, or of the value when none does.
    pub end: usize,
    /// Name before the bracket: a variant or struct name.
    pub name: Option<Range<usize>>,
    /// The bracket that opens the value, or 0 for a scalar.
    pub open: u8,
    /// The bracket this item stands in, or 0 at the top.
    pub within: u8,
    /// Items inside the value's brackets.
    pub items: Vec<Item>,
}

/// A step from a value to one inside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The field of that name.
    Field(&'static str),
    /// The list element of that index.
    Index(usize),
}

/// Writes steps as people do: `host_bridges[0].ports[1]`.
pub struct Path<'a>(pub &'a [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if position == 0 => write!(f, "{name}")?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Why a text has no outline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// A string or comment has no end.
    Unclosed(Unclosed),
    /// The bracket at the first place is never closed.
    NeverClosed(usize),
    /// The closing bracket at the first place does not fit the opening one at the second, or nothing is open.
    Mismatch(usize, Option<usize>),
    /// Brackets nested too deeply, at this place.
    TooDeep(usize),
}

/// The outline of `text`: one item without a key that holds everything.
pub(crate) fn outline(text: &str) -> Result<Item, Broken> {
    let (tokens, unclosed) = tokens(text);
    if let Some(unclosed) = unclosed {
        return Err(Broken::Unclosed(unclosed));
    }
    match_brackets(&tokens)?;
    let mut reader = Reader { tokens: &tokens, at: 0 };
    let mut top = Vec::new();
    while reader.at < tokens.len() {
        top.push(reader.item());
        if reader.kind().is_some_and(|kind| matches!(kind, Kind::Close(_))) {
            reader.at += 1;
        }
    }
    Ok(top.into_iter().next().unwrap_or_default())
}

fn match_brackets(tokens: &[Token]) -> Result<(), Broken> {
    let mut open: Vec<(u8, usize)> = Vec::new();
    for token in tokens {
        match token.kind {
            Kind::Open(bracket) => open.push((bracket, token.span.start)),
            Kind::Close(bracket) => {
                let last = open.pop();
                if last.is_none_or(|(opened, _)| closing(opened) != bracket) {
                    return Err(Broken::Mismatch(token.span.start, last.map(|(_, at)| at)));
                }
            }
            _ => {}
        }
        if open.len() > DEEPEST {
            return Err(Broken::TooDeep(token.span.start));
        }
    }
    open.pop().map_or(Ok(()), |(_, at)| Err(Broken::NeverClosed(at)))
}

/// The bracket that closes `open`.
pub(crate) fn closing(open: u8) -> u8 {
    match open {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn kind(&self) -> Option<Kind> {
        self.tokens.get(self.at).map(|token| token.kind)
    }

    /// Reads up to and with the comma, or up to the bracket that closes the list this item is in.
    fn item(&mut self) -> Item {
        let start = self.tokens[self.at].span.start;
        let mut item = Item { span: start..start, value: start..start, end: start, ..Item::default() };
        let keyed = matches!(self.tokens.get(self.at + 1).map(|token| token.kind), Some(Kind::Colon))
            && matches!(self.kind(), Some(Kind::Word | Kind::Text));
        if keyed {
            let key = self.tokens[self.at].span.clone();
            let colon = self.tokens[self.at + 1].span.end;
            item.value = colon..colon;
            item.span.end = colon;
            item.key = Some(key);
            self.at += 2;
        }
        self.value(&mut item);
        item.end = item.span.end;
        if self.kind() == Some(Kind::Comma) {
            item.end = self.tokens[self.at].span.end;
            self.at += 1;
        }
        item
    }

    fn value(&mut self, item: &mut Item) {
        let mut first = true;
        while let Some(token) = self.tokens.get(self.at) {
            match token.kind {
                Kind::Comma | Kind::Close(_) => return,
                Kind::Open(bracket) => {
                    if first {
                        item.value.start = token.span.start;
                    }
                    self.at += 1;
                    let items = self.group(bracket);
                    if item.open == 0 {
                        item.open = bracket;
                        item.items = items;
                    }
                }
                kind => {
                    if first {
                        item.value.start = token.span.start;
                        item.name = (kind == Kind::Word).then(|| token.span.clone());
                    }
                    self.at += 1;
                }
            }
            first = false;
            item.value.end = self.tokens[self.at - 1].span.end;
            item.span.end = item.value.end;
        }
    }

    /// The items up to the closing bracket, which is consumed.
    fn group(&mut self, within: u8) -> Vec<Item> {
        let mut items = Vec::new();
        while let Some(kind) = self.kind() {
            if matches!(kind, Kind::Close(_)) {
                self.at += 1;
                break;
            }
            items.push(Item { within, ..self.item() });
        }
        items
    }
}

impl Item {
    /// The innermost item below this one whose span holds byte `offset`.
    pub(crate) fn innermost(&self, offset: usize) -> Option<&Item> {
        let inside = self.items.iter().find(|item| item.span.contains(&offset))?;
        Some(inside.innermost(offset).unwrap_or(inside))
    }

    /// The item at `path` below this one, or as near to it as the text goes; and the steps that are left.
    pub(crate) fn find<'p>(&self, text: &str, path: &'p [Step]) -> (&Item, &'p [Step]) {
        // `Some(…)` and `(…)` around a value are not steps.
        let wraps = self.items.len() == 1 && self.items[0].key.is_none() && self.open == b'(';
        if wraps && !path.is_empty() {
            return self.items[0].find(text, path);
        }
        let Some((step, rest)) = path.split_first() else { return (self, path) };
        let next = match step {
            Step::Index(index) => self.items.get(*index),
            Step::Field(name) => self.field(text, name),
        };
        next.map_or((self, path), |item| item.find(text, rest))
    }

    /// The field called `name`.
    pub(crate) fn field(&self, text: &str, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| {
            let key = item.key.clone().map(|key| &text[key]);
            key.map(|key| key.trim_start_matches("r#").trim_matches('"')) == Some(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "Machine( // (\n  cpus: [(part: \"a,b\"), (part: \"c\")],\n  x: Some(Switch(ports: [1, 2])), )";

    #[test]
    fn items_are_found_by_place_and_by_path() {
        let top = outline(TEXT).unwrap();
        let path = [Step::Field("cpus"), Step::Index(1), Step::Field("part")];
        assert_eq!(&TEXT[top.find(TEXT, &path).0.span.clone()], "part: \"c\"");
        assert_eq!(&TEXT[top.find(TEXT, &path).0.value.clone()], "\"c\"");
        let ports = [Step::Field("x"), Step::Field("ports"), Step::Index(1)];
        assert_eq!(&TEXT[top.find(TEXT, &ports).0.value.clone()], "2");
        let beyond = [Step::Field("cpus"), Step::Index(9)];
        let (nearest, left) = top.find(TEXT, &beyond);
        assert_eq!((&TEXT[nearest.key.clone().unwrap()], left), ("cpus", &beyond[1..]));
        let inner = top.innermost(TEXT.find("a,b").unwrap()).unwrap();
        assert_eq!(&TEXT[inner.span.clone()], "part: \"a,b\"");
        assert_eq!(Path(&ports).to_string(), "x.ports[1]");
    }

    #[test]
    fn brackets_that_do_not_match_are_named() {
        assert_eq!(outline("(a: [1)").err(), Some(Broken::Mismatch(6, Some(4))));
        assert_eq!(outline("(a: [1]").err(), Some(Broken::NeverClosed(0)));
        assert_eq!(outline("a)").err(), Some(Broken::Mismatch(1, None)));
        assert!(matches!(outline(&"(".repeat(100_000)).err(), Some(Broken::TooDeep(_))));
        assert!(outline("").is_ok_and(|top| top.items.is_empty()));
    }
}
