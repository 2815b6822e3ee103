//! Broken replays, and exactly what is said about each; and the catalogue of codes, whose examples must be true.
//!
//! `broken.txt` holds the cases: `=== ` and the intent, the text, `---`, then per diagnostic a line `code
//! line:column message` and a line `  help: …`. With PEERBUS_UPDATE set the expectations are written anew; read
//! the difference before committing it.

use peerbus_machine::Diagnostic;
use peerbus_system::replay::codes::{BROKEN_MACHINE, ENTRIES, ID_GIVEN_AGAIN};

use super::{line, load};

fn path() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/main/replay/broken.txt")
}

/// Intent, text and expectation of every case.
fn cases() -> Vec<(String, String, String)> {
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
    assert!(cases.len() >= 25, "{} cases", cases.len());
    let (mut written, mut wrong) = (String::new(), Vec::new());
    for (intent, input, expected) in cases {
        let (replay, found) = load(&input, "r");
        assert_eq!(replay.is_none(), found.iter().any(Diagnostic::is_error), "{intent}");
        let said: String = found.iter().map(line).collect();
        written.push_str(&format!("=== {intent}\n{input}\n---\n{said}\n"));
        if said.trim_end() != expected || said.is_empty() {
            wrong.push(format!("=== {intent}\n{input}\n--- expected\n{expected}\n--- found\n{said}"));
        }
    }
    if std::env::var_os("PEERBUS_UPDATE").is_some() {
        std::fs::write(path(), written).expect("broken.txt can be written");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
