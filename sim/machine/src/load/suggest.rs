//! "Did you mean …": the nearest of some words.

/// Number of single-character insertions, deletions, replacements and swaps of neighbours that turn `a` into
/// `b` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// The word of `words` nearest to `found`, if it is near enough to be what was meant: at most a third of its
/// letters differ, upper and lower case counting the same, or one holds the other as a whole word part.
pub fn nearest<'a>(found: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer input is no typing error, and the distance is quadratic.
    if found.is_empty() || found.len() > 100 {
        return None;
    }
    let wanted = found.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for word in words {
        let lower = word.to_lowercase();
        let steps = distance(&wanted, &lower);
        let allowed = (lower.chars().count().max(wanted.chars().count()) / 3).max(1);
        let contained =
            wanted.len() >= 3 && lower.len() >= 3 && (lower.contains(&wanted) || wanted.contains(&lower));
        let rank = if steps <= allowed { steps } else { 100 + steps };
        if (steps <= allowed || contained) && best.is_none_or(|(other, _)| rank < other) {
            best = Some((rank, word));
        }
    }
    best.map(|(_, word)| word)
}

/// `"a"`, `"a or b"`, `"a, b or c"`; at most `limit` words, then how many more there are.
pub fn list_words<S: AsRef<str>>(words: &[S], limit: usize) -> String {
    let shown: Vec<&str> = words.iter().take(limit).map(AsRef::as_ref).collect();
    if words.len() > limit {
        return format!("{} and {} more", shown.join(", "), words.len() - limit);
    }
    match shown.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        let words = ["lanes", "gen", "link", "max_read_request"];
        for (found, expected) in [
            ("lane", Some("lanes")),
            ("Lanes", Some("lanes")),
            ("geb", Some("gen")),
            ("lnik", Some("link")),
            ("read_request", Some("max_read_request")),
            ("bandwidth", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, words), expected, "{found}");
        }
    }

    #[test]
    fn lists_read_like_sentences() {
        assert_eq!(list_words(&["a"], 9), "a");
        assert_eq!(list_words(&["a", "b", "c"], 9), "a, b or c");
        assert_eq!(list_words(&["a", "b", "c"], 2), "a, b and 1 more");
    }
}
