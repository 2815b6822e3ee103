//! Recordings of booted kernels in `tests/replays`: every call returns what it returned there.
//!
//! The files are made from the recordings by `convert`, and so are the machines they name, but for machines that were not
//! listed: these are written by hand. With PEERBUS_UPDATE set all others are written anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use peerbus_system::replay::{compare, render_comparison};

use super::convert::recordings;
use super::ran_with;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/replays")
}

/// The text of a file in the tree; the error is a word of why not.
pub fn text_of(name: &str) -> Result<String, String> {
    std::fs::read_to_string(folder().join(name)).map_err(|error| error.to_string())
}

/// The files in the tree, by name; machines are `machines/…`.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (prefix, folder) in [("", folder()), ("machines/", folder().join("machines"))] {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
                files.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn every_call_returns_what_was_recorded() {
    let mut kinds: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
    let replays = files().into_iter().filter(|(name, _)| !name.starts_with("machines/"));
    for (name, text) in replays {
        let (replay, document) = ran_with(&text, &name, &text_of);
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
    if recordings.files.is_empty() {
        return;
    }
    for (reason, answers) in &recordings.left_out {
        println!("left out: {answers} answers of {reason}");
    }
    let update = std::env::var_os("PEERBUS_UPDATE").is_some();
    let mut files = files();
    let mut differ = Vec::new();
    for converted in &recordings.files {
        if files.remove(&converted.name).is_none_or(|text| text != converted.text) {
            differ.push(converted.name.clone());
            if update {
                std::fs::create_dir_all(folder().join("machines")).unwrap();
                std::fs::write(folder().join(&converted.name), &converted.text).unwrap();
            }
        }
    }
    // Others may be there whose recordings are not.
    let bytes: usize = recordings.files.iter().map(|converted| converted.text.len()).sum();
    println!(
        "{} files made from recordings, {bytes} bytes, and {} others",
        recordings.files.len(),
        files.len()
    );
    assert!(differ.is_empty(), "{differ:?} differ from what the recordings say");
}
