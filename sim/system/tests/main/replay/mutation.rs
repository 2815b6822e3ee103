//! Whatever is done to a replay, it is read or refused with a place, and what is read can be run.

use peerbus_machine::Diagnostic;
use peerbus_system::replay::schema::TEMPLATE;
use peerbus_system::replay::{compare, render_comparison, render_replay, run};
use peerbus_testing::{Edit, cases, edited};
use proptest::prelude::*;

use super::load;

const JSON: &str = r#"{"profile": "Linux_6_1", "calls": [
    {"Pool": {"granule": 4096, "algorithm": {"FirstFitAlign": {"align": "64KiB"}}}}, {"AddChunk": {"base": "0x1000_0000", "size": "64MiB"}},
    {"Alloc": {"id": 1, "size": 4097}}, {"Free": {"id": 1}}, "Avail", {"Region": {"space": {"Arm64": {"used_va": 48, "seed": 7}}}},
    {"Busy": {"first": 0, "last": 4095, "name": "µ"}}, {"Request": {"id": 1, "size": "1GiB"}}, {"Release": {"id": 1}}],
    "results": [{"call": 2, "address": 268435456}, {"call": 4, "bytes": 67108864}, {"call": 7, "error": "ERANGE"}]}"#;

/// What edits insert.
const PIECES: [&str; 20] = [
    "(",
    ")",
    "[",
    "\"",
    ":",
    ",",
    "0",
    "/",
    "9",
    "-1",
    "µ",
    "\\",
    "18446744073709551615",
    "{",
    "id: 1",
    "Avail,",
    "Up",
    "Fixed(offset: 1)",
    "0xffff_ffff_ffff_ffff",
    "\"16EiB\"",
];

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    proptest::collection::vec((0..9000usize, any::<u8>(), 0..1000usize), 1..5)
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: cases(1000), failure_persistence: None, ..ProptestConfig::default() }
}

fn check(text: &str, file: &str) -> Result<bool, TestCaseError> {
    let (replay, found) = load(text, file);
    prop_assert_eq!(replay.is_none(), found.iter().any(Diagnostic::is_error), "{}", text);
    for diagnostic in &found {
        prop_assert!(diagnostic.line.is_some() && diagnostic.help.is_some(), "{:?}", diagnostic);
        let span = diagnostic.span.clone().unwrap_or_default();
        prop_assert!(span.start <= span.end && span.end <= text.len(), "{:?}", diagnostic);
    }
    let Some(replay) = replay else { return Ok(false) };
    let document = run(&replay);
    prop_assert!(!render_replay(&replay, &document).is_empty());
    if let Some(comparison) = compare(&replay, &document) {
        prop_assert!(!render_comparison(&replay, &document, &comparison).is_empty());
        prop_assert_eq!(comparison.first.is_none(), comparison.equal == comparison.compared);
    }
    Ok(true)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn in_ron(edits in edits()) {
        check(&edited(TEMPLATE, &edits, &PIECES), "r.ron")?;
    }

    #[test]
    fn in_json(edits in edits()) {
        check(&edited(JSON, &edits, &PIECES), "r.json")?;
    }
}

#[test]
fn the_texts_are_whole_before() {
    assert!(matches!(check(TEMPLATE, "r.ron"), Ok(true)));
    assert!(matches!(check(JSON, "r.json"), Ok(true)));
}
