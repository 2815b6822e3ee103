//! Whatever is done to a scenario or a condition, it is read or refused with a place; nothing panics.

use peerbus_machine::Diagnostic;
use peerbus_scenario::expect::parse;
use peerbus_scenario::schema::TEMPLATE;
use peerbus_testing::{Edit, cases, edited};
use proptest::prelude::*;

use crate::support::load_text;

const CONDITIONS: &[&str] = &[
    "flow.peer.throughput >= 24GB/s",
    "0.9 * flow.on/peer.throughput < flow.off/peer.throughput * 1.5",
    "flow.m.*.latency.p99 ~ 2us within 5%",
    "flow.x.limited_by contains \"gpu1 µ\"",
    "error.UNSUPPORTED_REQUEST.count == 1",
    "*/errors == 0",
];

/// What edits insert.
const PIECES: [&str; 14] =
    ["(", ")", "[", "\"", ":", ",", "*", "/", "9", "-1", "µ", "\\", "18446744073709551616", "{"];

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    proptest::collection::vec((0..5000usize, any::<u8>(), 0..1000usize), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(400), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scenarios(edits in edits()) {
        let text = edited(&TEMPLATE.replace("\"machine.ron\"", "\"m.ron\""), &edits, &PIECES);
        let (loaded, found) = load_text(&text, "s.ron");
        prop_assert_eq!(loaded.is_none(), found.iter().any(Diagnostic::is_error));
        for diagnostic in &found {
            prop_assert!(diagnostic.line.is_some() && diagnostic.help.is_some(), "{:?}", diagnostic);
            let span = diagnostic.span.clone().unwrap_or_default();
            prop_assert!(span.start <= span.end && span.end <= text.len(), "{:?}", diagnostic);
        }
    }

    #[test]
    fn conditions(which in 0..CONDITIONS.len(), edits in edits()) {
        let text = edited(CONDITIONS[which], &edits, &PIECES);
        if let Err(problem) = parse(&text) {
            prop_assert!(problem.span.start <= problem.span.end && problem.span.end <= text.len(), "{:?}", problem);
            prop_assert!(text.get(problem.span.clone()).is_some(), "{:?} cuts a character", problem);
            prop_assert!(!problem.help.is_empty());
        }
    }
}
