//! Broken machine files, and exactly what is said about each: per diagnostic of `broken.txt` a line `severity code
//! line:column message` and a line `  help: …`.

use peerbus_machine::{Catalogue, Diagnostic, Severity, load_machine};
use peerbus_testing::BrokenTexts;

/// The cases.
pub fn texts() -> BrokenTexts {
    BrokenTexts::new(env!("CARGO_MANIFEST_DIR"), "tests/broken.txt")
}

fn line(found: &Diagnostic) -> String {
    let severity = if found.severity == Severity::Error { "error" } else { "warning" };
    let number = |n: Option<usize>| n.map_or("?".to_owned(), |n| n.to_string());
    let help = found.help.as_deref().unwrap_or("none");
    let (row, column) = (number(found.line), number(found.column));
    format!("{severity} {} {row}:{column} {}\n  help: {help}\n", found.code, found.message)
}

#[test]
fn every_problem_is_named_with_its_place_and_remedy() {
    let catalogue = Catalogue::embedded();
    texts().check(45, |case| {
        let (machine, found) = load_machine(&case.input, "machine", &catalogue);
        assert_eq!(machine.is_none(), found.iter().any(Diagnostic::is_error), "{}", case.intent);
        found.iter().map(line).collect()
    });
}

/// The number of diagnostics of a case is the number of mistakes its intent counts.
#[test]
fn five_problems_are_five_diagnostics() {
    let expected = texts().case("five").expected;
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
