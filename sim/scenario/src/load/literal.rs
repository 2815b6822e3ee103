//! Where a character of a string stands in the literal that was written for it.

/// Offset in `literal`, a RON or JSON string with its quotation marks, of what byte `offset` of its content was
/// written as. Behind the content, the offset of the closing mark.
pub(super) fn offset_in(literal: &str, offset: usize) -> usize {
    let Some(quote) = literal.find('"') else { return 0 };
    let begin = quote + 1;
    if literal.starts_with('r') {
        return (begin + offset).min(literal.len());
    }
    let (mut at, mut content) = (begin, 0);
    while content < offset && at + 1 < literal.len() {
        let (written, meant) = next(&literal[at..]);
        // An offset inside a character counts as its start.
        if content + meant > offset {
            break;
        }
        at += written;
        content += meant;
    }
    at
}

/// Bytes that the first character of `rest` takes as written, and in the content.
fn next(rest: &str) -> (usize, usize) {
    let Some(c) = rest.chars().next() else { return (0, 0) };
    if c != '\\' {
        return (c.len_utf8(), c.len_utf8());
    }
    let meant = |digits: &str| {
        let number = u32::from_str_radix(digits, 16).ok();
        number.and_then(char::from_u32).map_or(3, char::len_utf8)
    };
    match rest.as_bytes().get(1) {
        Some(b'x') => (4, rest.get(2..4).map_or(1, meant)),
        Some(b'u') if rest[2..].starts_with('{') => {
            let end = rest.find('}').unwrap_or(rest.len() - 1);
            (end + 1, rest.get(3..end).map_or(3, meant))
        }
        Some(b'u') => (6, rest.get(2..6).map_or(3, meant)),
        _ => (1 + rest[1..].chars().next().map_or(0, char::len_utf8), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_behind_escapes() {
        for (literal, offset, expected) in [
            (r#""abc""#, 0, 1),
            (r#""abc""#, 2, 3),
            (r#""abc""#, 3, 4),
            (r#""abc""#, 9, 4),
            (r#""a\"b""#, 2, 4),
            (r#""\u{e9}b""#, 2, 7),
            (r#""\u00e9b""#, 2, 7),
            (r#""\x41b""#, 1, 5),
            (r##"r#"a"b"#"##, 2, 5),
            (r#""µb""#, 2, 3),
            ("", 2, 0),
        ] {
            assert_eq!(offset_in(literal, offset), expected, "{literal} {offset}");
        }
    }
}
