//! Broken replays, and exactly what is said about each; and the catalogue of codes, whose examples must be true.
//!
//! Per diagnostic `broken.txt` has a line `code line:column message` and a line `  help: …`.

use peerbus_machine::Diagnostic;
use peerbus_system::replay::codes::{BROKEN_MACHINE, ENTRIES, ID_GIVEN_AGAIN};
use peerbus_testing::BrokenTexts;

use super::{line, load};

#[test]
fn every_problem_is_named_with_its_place_and_remedy() {
    BrokenTexts::new(env!("CARGO_MANIFEST_DIR"), "tests/main/replay/broken.txt").check(25, |case| {
        let (replay, found) = load(&case.input, "r");
        assert_eq!(replay.is_none(), found.iter().any(Diagnostic::is_error), "{}", case.intent);
        found.iter().map(line).collect()
    });
}

#[test]
fn wrong_examples_yield_their_code_and_right_ones_nothing() {
    assert!(ENTRIES.windows(2).all(|pair| pair[0].code < pair[1].code));
    for entry in ENTRIES {
        assert!(!entry.title.is_empty() && entry.explanation.len() > 30, "{}", entry.code);
        let (replay, found) = load(entry.wrong, "wrong.ron");
        let own = found.iter().filter(|found| found.file == "wrong.ron");
        let codes: Vec<_> = own.map(|found| found.code).collect();
        assert_eq!(codes, [entry.code], "{found:#?}");
        assert_eq!(found.len() > 1, entry.code == BROKEN_MACHINE, "{found:#?}");
        assert_eq!(replay.is_some(), entry.code == ID_GIVEN_AGAIN, "only that is a warning");
        let (replay, found) = load(entry.right, "right.ron");
        assert!(replay.is_some() && found.is_empty(), "{}: {found:#?}", entry.code);
    }
}
