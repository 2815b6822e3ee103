//! Text pages: how wide they are, and how long lines are broken.

use std::fmt::{self, Write};

/// Columns of a page.
pub const WIDTH: usize = 100;

/// `text` behind `first`, in lines of [`WIDTH`] columns, broken at blanks and, where a word alone is longer, behind
/// semicolons. Further lines begin under the first one's text, two columns in.
pub fn wrap(out: &mut String, first: &str, text: &str) -> fmt::Result {
    let hanging = " ".repeat(first.len() + 2);
    let room = WIDTH - hanging.len();
    let mut indent = first;
    let mut line = String::new();
    let mut flush = |line: &mut String| -> fmt::Result {
        let written = writeln!(out, "{indent}{}", line.trim_end());
        indent = &hanging;
        line.clear();
        written
    };
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + word.len() > room {
            flush(&mut line)?;
        }
        for piece in word.split_inclusive(';') {
            if !line.is_empty() && line.len() + piece.len() > room {
                flush(&mut line)?;
            }
            line.push_str(piece);
        }
        line.push(' ');
    }
    flush(&mut line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_at_blanks_and_semicolons() {
        let list = vec!["0000:01:00.0"; 20].join(";");
        let mut out = String::new();
        wrap(&mut out, "  - ", &format!("add the parameter pci=disable_acs_redir={list} and boot")).unwrap();
        assert!(out.lines().count() >= 3 && out.lines().all(|line| line.len() <= WIDTH), "{out}");
        assert!(
            out.starts_with("  - add") && out.lines().skip(1).all(|line| line.starts_with("      ")),
            "{out}"
        );
        assert_eq!(out.matches("0000:01:00.0").count(), 20, "{out}");
        let mut short = String::new();
        wrap(&mut short, "", "one line").unwrap();
        assert_eq!(short, "one line\n");
    }
}
