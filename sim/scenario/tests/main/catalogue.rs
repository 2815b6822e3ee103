//! Every entry of the code catalogue teaches by examples, and the examples are true.

use peerbus_scenario::codes::{ENTRIES, MACHINE_BROKEN, explain};

use crate::support::load_text;

#[test]
fn wrong_examples_yield_their_code_and_right_ones_nothing() {
    let mut bad = Vec::new();
    for entry in ENTRIES {
        let (_, found) = load_text(entry.wrong, "wrong.ron");
        let own: Vec<_> =
            found.iter().filter(|found| found.file == "wrong.ron").map(|found| found.code).collect();
        if own != [entry.code] || (found.len() > 1) != (entry.code == MACHINE_BROKEN) {
            bad.push(format!("{}: the wrong example yields {found:#?}", entry.code));
        }
        let (loaded, found) = load_text(entry.right, "right.ron");
        if loaded.is_none() || !found.is_empty() {
            bad.push(format!("{}: the right example yields {found:#?}", entry.code));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn codes_are_unique_in_order_and_explained_together_with_the_machines() {
    assert!(ENTRIES.windows(2).all(|pair| pair[0].code < pair[1].code));
    assert!(ENTRIES.iter().all(|entry| !entry.title.is_empty() && entry.explanation.len() > 30));
    assert_eq!(explain("s0301").map(|entry| entry.code.0), Some("S0301"));
    assert_eq!(explain("M0001").map(|entry| entry.code.0), Some("M0001"));
    assert!(explain("S9999").is_none());
}
