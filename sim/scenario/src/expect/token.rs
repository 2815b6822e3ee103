//! Tokens of a condition, with their places.

use std::ops::Range;

use super::value::number_length;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A sign of comparison: `==`, `<`, `~`, …
    Sign,
    /// `*` between two values.
    Times,
    /// Text in quotation marks.
    Quoted,
    /// Anything else: a number with its unit, a name, a word.
    Word,
}

/// A token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    /// Its bytes, quotation marks included.
    pub span: Range<usize>,
}

const SIGNS: [&str; 7] = ["==", "!=", "<=", ">=", "<", ">", "~"];

/// Cuts `text` into tokens. The error is the place of a quotation mark that is not closed.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, usize> {
    let mut found: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (kind, length) = next(&text[at..]).ok_or(at)?;
        found.push(Token { kind, span: at..at + length });
        at += length;
    }
    Ok(found)
}

/// Kind and length of the token at the start of `rest`; `None` for a quotation mark that is not closed.
fn next(rest: &str) -> Option<(Kind, usize)> {
    if let Some(quote) = rest.chars().next().filter(|c| *c == '"' || *c == '\'') {
        let closing = rest[1..].find(quote)?;
        return Some((Kind::Quoted, closing + 2));
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return Some((Kind::Sign, sign.len()));
    }
    if rest.starts_with('*') && !rest.starts_with("*/") {
        return Some((Kind::Times, 1));
    }
    // A lone `=` or `!` is a word that the parser can complain about.
    let ends = |c: char| c.is_whitespace() || "=<>!~\"'".contains(c);
    let first = rest.chars().next()?.len_utf8();
    let word = rest[first..].find(ends).map_or(rest.len(), |end| first + end);
    // `*` is part of a name but not of a number: `0.9*flow.x.throughput`.
    let is_number = number_length(rest) > 0;
    let word = if is_number { rest[..word].find('*').unwrap_or(word) } else { word };
    Some((Kind::Word, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_where_a_reader_would() {
        for (text, expected) in [
            ("flow.a.bytes>=1GiB", vec!["flow.a.bytes", ">=", "1GiB"]),
            ("0.9*flow.m.*.bytes < 1", vec!["0.9", "*", "flow.m.*.bytes", "<", "1"]),
            ("*/errors == 0", vec!["*/errors", "==", "0"]),
            ("a contains 'b c' \"d\"", vec!["a", "contains", "'b c'", "\"d\""]),
            ("a = b", vec!["a", "=", "b"]),
            ("µs !x", vec!["µs", "!x"]),
            ("", vec![]),
        ] {
            let found = tokens(text).unwrap();
            let words: Vec<&str> = found.iter().map(|token| &text[token.span.clone()]).collect();
            assert_eq!(words, expected, "{text}");
        }
        assert_eq!(tokens("a == 'b"), Err(5));
    }
}
