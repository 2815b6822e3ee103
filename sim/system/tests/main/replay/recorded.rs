//! Recordings of booted kernels in `tests/replays`: every call returns what it returned there.
//!
//! The files are made from the recordings by `convert`. With PEERBUS_UPDATE set they are written anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use peerbus_system::replay::{compare, render_comparison};

use super::convert::recordings;
use super::ran;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/replays")
}

/// The files in the tree, by name.
fn files() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder()).expect("tests/replays is part of the tree");
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(|entry| file(entry.unwrap())).collect()
}

#[test]
fn every_call_returns_what_was_recorded() {
    let mut kinds: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
    for (name, text) in files() {
        let (replay, document) = ran(&text);
        let comparison = compare(&replay, &document).unwrap_or_else(|| panic!("{name} has no results"));
        if comparison.first.is_some() {
            println!("{name}: {}", render_comparison(&replay, &document, &comparison));
        }
        let kind = name.split('-').next().unwrap_or_default().to_owned();
        let (files, equal, compared) = kinds.entry(kind).or_default();
        *files += 1;
        *equal += comparison.equal;
        *compared += comparison.compared;
    }
    for (kind, (files, equal, compared)) in &kinds {
        println!("{kind}: {equal} of {compared} results in {files} files");
    }
    assert!(!kinds.is_empty());
    assert!(kinds.values().all(|(_, equal, compared)| equal == compared && *compared > 0));
}

#[test]
fn files_are_those_of_the_recordings() {
    let recordings = recordings();
    if recordings.is_empty() {
        return;
    }
    let update = std::env::var_os("PEERBUS_UPDATE").is_some();
    let mut files = files();
    let mut differ = Vec::new();
    for converted in &recordings {
        if files.remove(&converted.name).is_none_or(|text| text != converted.text) {
            differ.push(converted.name.clone());
            if update {
                std::fs::write(folder().join(&converted.name), &converted.text).unwrap();
            }
        }
    }
    // Others may be there whose recordings are not.
    println!("{} files made from recordings, {} others", recordings.len(), files.len());
    assert!(differ.is_empty(), "{differ:?} differ from what the recordings say");
}
