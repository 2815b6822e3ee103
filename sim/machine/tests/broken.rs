//! Broken machine files, and exactly what is said about each.
//!
//! `broken.txt` holds the cases: `=== ` and the intent, the text, `---`, then per diagnostic a line `severity code
//! line:column message` and a line `  help: …`. With PEERBUS_UPDATE set the expectations are written anew; read
//! the difference before committing it.

use peerbus_machine::{Catalogue, Diagnostic, Severity, load_machine};

fn path() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/broken.txt")
}

fn line(found: &Diagnostic) -> String {
    let severity = if found.severity == Severity::Error { "error" } else { "warning" };
    let number = |n: Option<usize>| n.map_or("?".to_owned(), |n| n.to_string());
    let help = found.help.as_deref().unwrap_or("none");
    let (row, column) = (number(found.line), number(found.column));
    format!("{severity} {} {row}:{column} {}\n  help: {help}\n", found.code, found.message)
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
    let catalogue = Catalogue::embedded();
    let cases = cases();
    assert!(cases.len() >= 45, "{} cases", cases.len());
    let (mut written, mut wrong) = (String::new(), Vec::new());
    for (intent, input, expected) in cases {
        let (machine, found) = load_machine(&input, "machine", &catalogue);
        assert_eq!(machine.is_none(), found.iter().any(Diagnostic::is_error), "{intent}");
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

/// The number of diagnostics of a case is the number of mistakes its intent counts.
#[test]
fn five_problems_are_five_diagnostics() {
    let (_, _, expected) =
        cases().into_iter().find(|(intent, ..)| intent.starts_with("five")).expect("such a case");
    assert_eq!(expected.lines().filter(|line| line.starts_with("error")).count(), 5);
}

/// A byte order mark is no mistake, and moves no place but the columns of the first line.
#[test]
fn byte_order_marks_are_skipped() {
    let catalogue = Catalogue::embedded();
    for text in ["\u{feff}(cpus: [],\n x: 1)", "\u{feff}{\"cpus\": [],\n \"x\": 1}"] {
        let (_, found) = load_machine(text, "machine", &catalogue);
        let unknown = found.iter().find(|d| d.code.0 == "M0002").map(|d| (d.line, d.column));
        assert_eq!(unknown, Some((Some(2), Some(2))), "{found:?}");
    }
}
