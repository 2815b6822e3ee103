//! A command line cut into words.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// One word: a name, and what stands behind its first `=`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Word {
    /// With `_` for every `-`.
    pub name: String,
    /// Without the quotes around it.
    pub value: Option<String>,
}

/// The kernel's words of `line`, in order. Blanks inside double quotes do not separate; quotes around a value or
/// around a whole word fall away.
pub(super) fn words(line: &str) -> Vec<Word> {
    let mut quoted = false;
    let pieces = line.split(move |character: char| {
        quoted ^= character == '"';
        character.is_ascii_whitespace() && !quoted
    });
    pieces.filter(|piece| !piece.is_empty()).take_while(|piece| *piece != "--").map(word).collect()
}

fn word(piece: &str) -> Word {
    let piece = unquoted(piece);
    let (name, value) = match piece.split_once('=') {
        Some((name, value)) => (name, Some(unquoted(value).to_owned())),
        None => (piece, None),
    };
    Word { name: name.replace('-', "_"), value }
}

fn unquoted(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('"') else { return text };
    inner.strip_suffix('"').unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: &[(&str, Option<&str>)]) {
        let found = words(line);
        let found: Vec<_> = found.iter().map(|word| (word.name.as_str(), word.value.as_deref())).collect();
        assert_eq!(found, expect, "{line}");
    }

    #[test]
    fn lines_fall_into_words() {
        check("a b=c  d=", &[("a", None), ("b", Some("c")), ("d", Some(""))]);
        check("\"a b=c d\" e=\"f g\"\th", &[("a b", Some("c d")), ("e", Some("f g")), ("h", None)]);
        check("a-b=c-d", &[("a_b", Some("c-d"))]);
        check("x=y=z", &[("x", Some("y=z"))]);
        check("a -- b", &[("a", None)]);
        check("\"never closed a", &[("never closed a", None)]);
    }
}
