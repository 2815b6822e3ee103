//! Tokens of a RON text, with nothing understood but where each begins and ends.
//!
//! Used to say where things are, never what they mean: values are read by `ron` alone. Comments, strings (raw
//! ones too) and characters are skipped as wholes, so brackets and commas inside them do not count.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `(`, `[` or `{`.
    Open(u8),
    /// `)`, `]` or `}`.
    Close(u8),
    /// `,`
    Comma,
    /// `:`
    Colon,
    /// A string, byte string or character.
    Text,
    /// Anything else: a name, a number, an operator.
    Word,
}

/// A token and its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub kind: Kind,
    pub span: Range<usize>,
}

/// Why a text is not even a sequence of tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unclosed {
    /// A string without its closing quote begins here.
    Text(usize),
    /// A block comment without its end begins here.
    Comment(usize),
}

/// The tokens of `text`. On an error also those before it.
pub(crate) fn tokens(text: &str) -> (Vec<Token>, Option<Unclosed>) {
    let mut lexer = Lexer { bytes: text.as_bytes(), at: 0 };
    let mut found = Vec::new();
    loop {
        match lexer.next() {
            Ok(Some(token)) => found.push(token),
            Ok(None) => return (found, None),
            Err(unclosed) => return (found, Some(unclosed)),
        }
    }
}

/// First byte at or after `offset` that is neither blank nor in a comment.
pub(crate) fn skip_blank(text: &str, offset: usize) -> usize {
    let mut lexer = Lexer { bytes: text.as_bytes(), at: offset };
    match lexer.skip_blank() {
        Ok(()) => lexer.at,
        Err(_) => text.len(),
    }
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts_with(&self, text: &str) -> bool {
        self.bytes[self.at..].starts_with(text.as_bytes())
    }

    fn skip_blank(&mut self) -> Result<(), Unclosed> {
        loop {
            if self.at < self.bytes.len() && self.byte(0).is_ascii_whitespace() {
                self.at += 1;
            } else if self.starts_with("//") || self.starts_with("#!") {
                // `#![…]` lines switch extensions on; they hold nothing this module looks for.
                while self.at < self.bytes.len() && self.byte(0) != b'\n' {
                    self.at += 1;
                }
            } else if self.starts_with("/*") {
                self.block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn block_comment(&mut self) -> Result<(), Unclosed> {
        let start = self.at;
        let mut depth = 0usize;
        while self.at < self.bytes.len() {
            if self.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.at += 1;
            }
        }
        Err(Unclosed::Comment(start))
    }

    fn next(&mut self) -> Result<Option<Token>, Unclosed> {
        self.skip_blank()?;
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let start = self.at;
        let kind = match self.byte(0) {
            open @ (b'(' | b'[' | b'{') => self.single(Kind::Open(open)),
            close @ (b')' | b']' | b'}') => self.single(Kind::Close(close)),
            b',' => self.single(Kind::Comma),
            b':' => self.single(Kind::Colon),
            b'"' => self.quoted(start)?,
            b'\'' if self.character_end().is_some() => {
                self.at = self.character_end().unwrap_or(self.at + 1);
                Kind::Text
            }
            b'b' if self.byte(1) == b'"' => {
                self.at += 1;
                self.quoted(start)?
            }
            b'r' | b'b' if self.raw_hashes().is_some() => self.raw_string(start)?,
            _ => self.word(),
        };
        Ok(Some(Token { kind, span: start..self.at }))
    }

    fn single(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }

    fn quoted(&mut self, start: usize) -> Result<Kind, Unclosed> {
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.byte(0) {
                b'\\' => self.at = (self.at + 2).min(self.bytes.len()),
                b'"' => return Ok(self.single(Kind::Text)),
                _ => self.at += 1,
            }
        }
        Err(Unclosed::Text(start))
    }

    /// End of the character literal that begins here, if one does: `'x'`, `'µ'`, `'\n'`, `'\u{b5}'`.
    fn character_end(&self) -> Option<usize> {
        let rest = &self.bytes[self.at + 1..];
        let longest = &rest[..rest.len().min(14)];
        let from = if longest.first() == Some(&b'\\') { 2 } else { 1 };
        let quote = longest.iter().skip(from).position(|byte| *byte == b'\'')?;
        let inside = &longest[..from + quote];
        let plain = inside.first() == Some(&b'\\') || std::str::from_utf8(inside).ok()?.chars().count() == 1;
        plain.then_some(self.at + 1 + from + quote + 1)
    }

    /// Prefix length and number of `#` of the raw string that begins here, if one does: `r"…"`, `br#"…"#`.
    fn raw_hashes(&self) -> Option<(usize, usize)> {
        let prefix = if self.starts_with("br") { 2 } else { usize::from(self.byte(0) == b'r') };
        let hashes = self.bytes[self.at + prefix..].iter().take_while(|byte| **byte == b'#').count();
        (prefix > 0 && self.byte(prefix + hashes) == b'"').then_some((prefix, hashes))
    }

    fn raw_string(&mut self, start: usize) -> Result<Kind, Unclosed> {
        let (prefix, hashes) = self.raw_hashes().unwrap_or((0, 0));
        self.at += prefix + hashes + 1;
        while self.at < self.bytes.len() {
            let closing =
                self.bytes[self.at + 1..].iter().take(hashes).take_while(|byte| **byte == b'#').count();
            if self.byte(0) == b'"' && closing == hashes {
                self.at += 1 + hashes;
                return Ok(Kind::Text);
            }
            self.at += 1;
        }
        Err(Unclosed::Text(start))
    }

    fn word(&mut self) -> Kind {
        self.at += 1;
        while self.at < self.bytes.len() {
            let byte = self.byte(0);
            let ends = byte.is_ascii_whitespace() || b"()[]{},:\"".contains(&byte);
            if ends || self.starts_with("//") || self.starts_with("/*") {
                break;
            }
            self.at += 1;
        }
        Kind::Word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let (found, unclosed) = tokens(text);
        let texts: Vec<&str> = found.iter().map(|token| &text[token.span.clone()]).collect();
        assert_eq!((texts.as_slice(), unclosed), (expected, None), "{text}");
    }

    #[test]
    fn brackets_inside_strings_and_comments_do_not_count() {
        check(r#"(a: "x)\"", b: 'c')"#, &["(", "a", ":", r#""x)\"""#, ",", "b", ":", "'c'", ")"]);
        check("(a /* ) /* */ ] */: 1, // ,\n b: '\\'')", &["(", "a", ":", "1", ",", "b", ":", "'\\''", ")"]);
        check(
            r####"[r#"a"]"#, br"x", b"y"]"####,
            &["[", r##"r#"a"]"#"##, ",", "br\"x\"", ",", "b\"y\"", "]"],
        );
        check("#![enable(implicit_some)]\nMachine()", &["Machine", "(", ")"]);
        check("(r#type: 'µ', b: 0x1_0)", &["(", "r#type", ":", "'µ'", ",", "b", ":", "0x1_0", ")"]);
    }

    #[test]
    fn what_is_not_closed_is_named() {
        assert_eq!(tokens("(a: \"x, b: 1)").1, Some(Unclosed::Text(4)));
        assert_eq!(tokens("(a: r#\"x\", b: 1)").1, Some(Unclosed::Text(4)));
        assert_eq!(tokens("(a /* b").1, Some(Unclosed::Comment(3)));
        assert_eq!(tokens("(a: \"x\\").1, Some(Unclosed::Text(4)));
    }
}
