//! Replays: what the calls return, what is said about broken files, and every recording in the tree.

mod broken;
mod convert;
mod mutation;
mod recorded;
mod worked;

use peerbus_machine::Diagnostic;
use peerbus_system::replay::{Document, Replay, load, run};

/// The replay of `text` and what it returns; panics with the diagnostics of a text that is refused.
fn ran(text: &str) -> (Replay, Document) {
    let (replay, found) = load(text, "r.ron");
    assert_eq!(found, [], "{text}");
    let replay = replay.unwrap_or_else(|| panic!("{text} is no replay"));
    let document = run(&replay);
    (replay, document)
}

/// Code, line and column of a diagnostic, its message and its advice.
fn line(found: &Diagnostic) -> String {
    let number = |n: Option<usize>| n.map_or("?".to_owned(), |n| n.to_string());
    let help = found.help.as_deref().unwrap_or("none");
    let (row, column) = (number(found.line), number(found.column));
    format!("{} {row}:{column} {}\n  help: {help}\n", found.code, found.message)
}
