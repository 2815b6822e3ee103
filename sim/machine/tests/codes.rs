//! Every entry of the code catalogue teaches by examples, and the examples are true.

use peerbus_machine::codes::{ENTRIES, SYNTHETIC};
use peerbus_machine::{Catalogue, load_machine, synthetic};

#[test]
fn wrong_examples_yield_their_code_and_right_ones_nothing() {
    let catalogue = Catalogue::embedded();
    let mut bad = Vec::new();
    for entry in ENTRIES.iter().filter(|entry| entry.code != SYNTHETIC) {
        let (_, found) = load_machine(entry.wrong, "wrong.ron", &catalogue);
        let codes: Vec<_> = found.iter().map(|d| d.code).collect();
        if codes != [entry.code] {
            bad.push(format!("{}: the wrong example yields {found:#?}", entry.code));
        }
        let (machine, found) = load_machine(entry.right, "right.ron", &catalogue);
        if machine.is_none() || !found.is_empty() {
            bad.push(format!("{}: the right example yields {found:#?}", entry.code));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn synthetic_examples_are_true_too() {
    for entry in ENTRIES.iter().filter(|entry| entry.code == SYNTHETIC) {
        assert_eq!(synthetic(entry.wrong).err().map(|found| found.code), Some(SYNTHETIC));
        assert!(synthetic(entry.right).is_ok());
    }
}
