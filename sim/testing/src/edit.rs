//! Edits that break a text: pieces cut, repeated or replaced at places that mean nothing.

/// Where, in characters, what (by its remainder by 4: cut, repeat, insert, replace), and how much or which piece. Any
/// numbers will do: all are taken by their remainder.
pub type Edit = (usize, u8, usize);

/// Longest piece that one edit cuts or repeats, and one more.
const LENGTHS: usize = 9;

/// `text` after `edits`, one after the other. `pieces`, one at least, are what may be inserted: the marks and words
/// of the text's notation.
pub fn edited(text: &str, edits: &[Edit], pieces: &[&str]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, kind, number) in edits {
        let at = at % (chars.len() + 1);
        let end = (at + number % LENGTHS).min(chars.len());
        let piece = pieces[number % pieces.len()].chars();
        match kind % 4 {
            0 => drop(chars.drain(at..end)),
            1 => {
                let again: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, again);
            }
            2 => drop(chars.splice(at..at, piece)),
            _ => drop(chars.splice(at..end, piece)),
        }
    }
    chars.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_edit() {
        let check = |edit: Edit, expect: &str| assert_eq!(edited("abµd", &[edit], &["(", ")"]), expect);
        check((1, 0, 2), "ad");
        check((1, 1, 2), "abµbµd");
        check((1, 2, 2), "a(bµd");
        check((1, 3, 3), "a)");
        // Beyond the end, and longer than what is left.
        check((7, 0, 3), "ab");
        check((4, 3, 8), "abµd(");
        assert_eq!(edited("", &[(5, 0, 8), (3, 1, 8), (9, 2, 1)], &["(", ")"]), ")");
    }
}
