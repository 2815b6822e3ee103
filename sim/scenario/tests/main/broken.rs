//! Broken scenarios, and exactly what is said about each: per diagnostic of `broken.txt` a line `code file line:column
//! message` and a line `  help: …`.

use peerbus_machine::Diagnostic;
use peerbus_testing::BrokenTexts;

use crate::support::load_text;

fn texts() -> BrokenTexts {
    BrokenTexts::new(env!("CARGO_MANIFEST_DIR"), "tests/main/broken.txt")
}

fn line(found: &Diagnostic) -> String {
    let number = |n: Option<usize>| n.map_or("?".to_owned(), |n| n.to_string());
    let help = found.help.as_deref().unwrap_or("none");
    let (row, column) = (number(found.line), number(found.column));
    format!("{} {} {row}:{column} {}\n  help: {help}\n", found.code, found.file, found.message)
}

#[test]
fn every_problem_is_named_with_its_place_and_remedy() {
    texts().check(40, |case| {
        let (loaded, found) = load_text(&case.input, "s");
        assert!(loaded.is_none() && found.iter().any(Diagnostic::is_error), "{}", case.intent);
        found.iter().map(line).collect()
    });
}

/// As many diagnostics as the intent counts mistakes.
#[test]
fn six_problems_are_six_diagnostics() {
    let expected = texts().case("six").expected;
    assert_eq!(expected.lines().filter(|line| !line.starts_with("  help")).count(), 6, "{expected}");
}
