//! Broken scenarios, and exactly what is said about each.
//!
//! `broken.txt` holds the cases: `=== ` and the intent, the text, `---`, then per diagnostic a line `code file
//! line:column message` and a line `  help: …`. With PEERBUS_UPDATE set the expectations are written anew; read
//! the difference before committing it.

use peerbus_machine::Diagnostic;

use crate::support::load_text;

fn path() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/main/broken.txt")
}

fn line(found: &Diagnostic) -> String {
    let number = |n: Option<usize>| n.map_or("?".to_owned(), |n| n.to_string());
    let help = found.help.as_deref().unwrap_or("none");
    let (row, column) = (number(found.line), number(found.column));
    format!("{} {} {row}:{column} {}\n  help: {help}\n", found.code, found.file, found.message)
}

/// Intent, text and expectation of every case.
pub fn cases() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(path()).expect("broken.txt is beside this file");
    let cases = text.split("=== ").skip(1).map(|case| {
        let (intent, rest) = case.split_once('\n').expect("a line with the intent");
        let (input, expected) = rest.split_once("\n---\n").expect("a line of dashes");
        (intent.to_owned(), input.to_owned(), expected.trim_end().to_owned())
    });
    cases.collect()
}

#[test]
fn every_problem_is_named_with_its_place_and_remedy() {
    let cases = cases();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let (mut written, mut wrong) = (String::new(), Vec::new());
    for (intent, input, expected) in cases {
        let (loaded, found) = load_text(&input, "s");
        assert!(loaded.is_none() && found.iter().any(Diagnostic::is_error), "{intent}");
        let said: String = found.iter().map(line).collect();
        written.push_str(&format!("=== {intent}\n{input}\n---\n{said}\n"));
        if said.trim_end() != expected {
            wrong.push(format!("=== {intent}\n{input}\n--- expected\n{expected}\n--- found\n{said}"));
        }
    }
    if std::env::var_os("PEERBUS_UPDATE").is_some() {
        std::fs::write(path(), written).expect("broken.txt can be written");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// As many diagnostics as the intent counts mistakes.
#[test]
fn six_problems_are_six_diagnostics() {
    let (_, _, expected) =
        cases().into_iter().find(|(intent, ..)| intent.starts_with("six")).expect("such a case");
    assert_eq!(expected.lines().filter(|line| !line.starts_with("  help")).count(), 6, "{expected}");
}
