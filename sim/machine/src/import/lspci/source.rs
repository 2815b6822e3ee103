//! Texts with places: every problem of a capture is reported at the characters that cause it.

use std::ops::Range;

use crate::diagnostic::{Code, Diagnostic};

/// A text and what its file is called.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text<'a> {
    /// Name of the file, for diagnostics.
    pub name: &'a str,
    /// Its content.
    pub text: &'a str,
}

impl<'a> Text<'a> {
    /// The bytes of the text that `part`, a piece of it, takes up.
    pub(super) fn span(self, part: &str) -> Range<usize> {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let start = start.min(self.text.len());
        start..start.saturating_add(part.len()).min(self.text.len())
    }

    /// An error about `part`.
    pub(super) fn error(self, code: Code, part: &str, message: String, help: &str) -> Diagnostic {
        Diagnostic::error(code, self.name, message).at(self.text, self.span(part)).help(help)
    }
}

/// `line` without indentation and without the marks by which mail and forums quote.
pub(super) fn unquoted(line: &str) -> &str {
    line.trim_start_matches([' ', '\t', '>', '\u{a0}']).trim_end()
}

/// Hexadecimal digits, of which there are at most sixteen, as a number.
pub fn hex(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// Exactly two hexadecimal digits.
pub(super) fn hex_byte(text: &str) -> Option<u8> {
    hex(text).filter(|_| text.len() == 2).and_then(|value| u8::try_from(value).ok())
}

/// Exactly four hexadecimal digits.
pub(super) fn hex_word(text: &str) -> Option<u16> {
    hex(text).filter(|_| text.len() == 4).and_then(|value| u16::try_from(value).ok())
}

/// What stands between `before` and the next of `after` in `text`, or up to its end.
pub(super) fn between<'a>(text: &'a str, before: &str, after: &[char]) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let rest = &text[start..];
    Some(&rest[..rest.find(after).unwrap_or(rest.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_whole_text() {
        let text = Text { name: "a.txt", text: "00:00.0 x\n> \tRegion 0: here\n" };
        let line = unquoted(text.text.lines().nth(1).unwrap());
        assert_eq!(line, "Region 0: here");
        let part = &line[10..];
        assert_eq!((&text.text[text.span(part)], part), ("here", "here"));
        let found = text.error(crate::import::codes::BAD_VALUE, part, "m".into(), "h");
        assert_eq!((found.line, found.column), (Some(2), Some(14)));
        assert_eq!(text.span("elsewhere").end, text.span("elsewhere").end.min(text.text.len()));
    }

    #[test]
    fn numbers_have_no_signs_or_blanks() {
        assert_eq!((hex("fe"), hex("+1"), hex(""), hex("12345678901234567")), (Some(0xfe), None, None, None));
        assert_eq!((hex_byte("0f"), hex_byte("f"), hex_word("1b36")), (Some(15), None, Some(0x1b36)));
        assert_eq!(between("size=4K] x", "size=", &[']']), Some("4K"));
    }
}
