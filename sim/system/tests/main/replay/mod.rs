//! Replays: what the calls return, what is said about broken files, and every recording in the tree.

mod broken;
mod convert;
mod mutation;
mod peer;
mod recorded;
mod worked;

use std::sync::OnceLock;

use peerbus_machine::import::to_ron;
use peerbus_machine::{Catalogue, Diagnostic, synthetic};
use peerbus_system::replay::{self, Document, Replay, run};

/// Reads a replay that may name the machines `m.ron`, two adapters below one switch, and `broken.ron`.
fn load(text: &str, file_name: &str) -> (Option<Replay>, Vec<Diagnostic>) {
    let provider = |name: &str| match name {
        "m.ron" => Ok(to_ron(&synthetic("1rc:1sw:2nic").unwrap(), "")),
        "broken.ron" => Ok("(cpus: 1)".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    replay::load(text, file_name, &provider, catalogue())
}

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(Catalogue::embedded)
}

/// The replay of `text` and what it returns; panics with the diagnostics of a text that is refused.
fn ran(text: &str) -> (Replay, Document) {
    made(load(text, "r.ron"), text)
}

/// The same of a file whose machines `provider` reads.
fn ran_with(text: &str, file_name: &str, provider: &replay::Provider<'_>) -> (Replay, Document) {
    made(replay::load(text, file_name, provider, catalogue()), file_name)
}

fn made((replay, found): (Option<Replay>, Vec<Diagnostic>), what: &str) -> (Replay, Document) {
    assert_eq!(found, [], "{what}");
    let replay = replay.unwrap_or_else(|| panic!("{what} is no replay"));
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
