//! Values of options.

/// A size as kernel parameters write it: a number (decimal, `0x` hexadecimal, leading `0` octal) and one of
/// K, M, G, T, P, E for powers of 1024. `None` when it is none, or does not fit 64 bits.
pub(super) fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().next_back()? {
        (at, unit) if !unit.is_ascii_hexdigit() || unit.eq_ignore_ascii_case(&'e') && !is_hex(text) => {
            let position = "KMGTPE".find(unit.to_ascii_uppercase())?;
            (text.get(..at)?, 10 * u32::try_from(position + 1).ok()?)
        }
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1u64.checked_shl(shift)?)
}

fn is_hex(text: &str) -> bool {
    text.starts_with("0x") || text.starts_with("0X")
}

fn number(text: &str) -> Option<u64> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (text, 10),
    };
    // The conversion itself would take a sign.
    digits.starts_with(|first: char| first.is_ascii_hexdigit()).then_some(())?;
    u64::from_str_radix(digits, radix).ok()
}

/// A yes or no: by its first letter, or by the second of `on` and `off`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let mut characters = text.chars().map(|character| character.to_ascii_lowercase());
    match (characters.next()?, characters.next()) {
        ('y' | 't' | '1', _) | ('o', Some('n')) => Some(true),
        ('n' | 'f' | '0', _) | ('o', Some('f')) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expect) in [
            ("0", Some(0)),
            ("128", Some(128)),
            ("64K", Some(64 << 10)),
            ("2m", Some(2 << 20)),
            ("0x10M", Some(16 << 20)),
            ("010", Some(8)),
            ("1E", Some(1 << 60)),
            ("0x1E", Some(0x1e)),
            ("16E", None),
            ("", None),
            ("M", None),
            ("+1", None),
            ("1Q", None),
            ("1\u{fc}", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(size(text), expect, "{text}");
        }
    }

    #[test]
    fn booleans() {
        for (text, expect) in [
            ("1", Some(true)),
            ("yes", Some(true)),
            ("on", Some(true)),
            ("off", Some(false)),
            ("N", Some(false)),
        ] {
            assert_eq!(boolean(text), expect, "{text}");
        }
        assert_eq!((boolean(""), boolean("o"), boolean("2")), (None, None, None));
    }
}
