//! Random operations recorded on booted kernels, done again: every result and every state line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use peerbus_os::device_private::PrivateDesign;
use peerbus_os::{Profile, Rules, RulesOptions};

use super::line::{Operation, Recording, expand, parse};
use super::machine::{Machine, Results};

fn recordings(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/hmm").join(folder);
    let Ok(entries) = std::fs::read_dir(&root) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".txt") && (name.starts_with("seed_") || name.starts_with("script_"))
    });
    files.sort();
    files
}

/// What differs in an operation's results, if anything.
fn result_difference(operation: &Operation, got: &Results) -> Option<String> {
    for key in ["ret", "cpages", "faults", "data", "codes", "done", "advice"] {
        let expected = operation.results.get(key).map(|text| expand(text));
        if expected.as_ref() != got.get(key) {
            return Some(format!("{key}: recorded {:?}, got {:?}", expected, got.get(key)));
        }
    }
    let opened = operation.results.contains_key("opened");
    (opened != got.contains_key("opened")).then(|| format!("opened: recorded {opened}"))
}

#[derive(Default)]
struct Tally {
    operations: u32,
    operations_agreeing: u32,
    lines: u32,
    lines_agreeing: u32,
    checks: u32,
    checks_agreeing: u32,
    first: Option<String>,
}

fn replay(recording: &Recording, rules: Rules) -> Tally {
    let mut machine = Machine::new(recording, rules);
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let mut tally = Tally::default();
    for operation in &recording.operations {
        let got = machine.apply(operation);
        let mut difference = result_difference(operation, &got);
        tally.operations += 1;
        tally.operations_agreeing += u32::from(difference.is_none());
        if let Some(recorded) = operation.results.get("check") {
            let judged = got.get("check").map_or("", |check| check[0].as_str());
            // Which page was bad, and what it held, is in the data.
            let agrees = judged == recorded.split(':').next().unwrap_or_default();
            tally.checks += 1;
            tally.checks_agreeing += u32::from(agrees);
            if !agrees && difference.is_none() {
                difference = Some(format!("check: recorded {recorded}, got {judged}"));
            }
        }
        expected.extend(operation.state.iter().cloned());
        if operation.name == "EXIT" {
            let process = operation.process.to_string();
            expected.retain(|key, _| key[1..2] != process);
        }
        let state = machine.state();
        for (key, text) in &operation.state {
            tally.lines += 1;
            tally.lines_agreeing += u32::from(state.get(key) == Some(text));
        }
        for (key, text) in &expected {
            if difference.is_none() && state.get(key) != Some(text) {
                difference = Some(format!("{key}\n  recorded {text}\n  got      {:?}", state.get(key)));
            }
        }
        if let (None, Some(difference)) = (&tally.first, difference) {
            tally.first = Some(format!(
                "{} p{} {} {:?}: {difference}",
                operation.number, operation.process, operation.name, operation.arguments
            ));
        }
    }
    tally
}

/// Replays a folder under both designs: nothing that a process or the device's user sees depends on them.
fn replay_all(folder: &str, profile: Profile, options: RulesOptions) {
    for design in PrivateDesign::ALL {
        let options = RulesOptions { private_design: Some(design), ..options };
        replay_design(folder, profile.rules(options));
    }
}

fn replay_design(folder: &str, rules: Rules) {
    let design = rules.pagemap.private_design;
    let files = recordings(folder);
    if files.is_empty() {
        println!("skipped: no recordings in shared/conformance/hmm/{folder}");
        return;
    }
    let only = std::env::var("PEERBUS_ONLY").unwrap_or_default();
    let mut sum = Tally::default();
    let mut differing = 0;
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let recording = parse(&std::fs::read_to_string(path).unwrap());
        let tally = replay(&recording, rules);
        sum.operations += tally.operations;
        sum.operations_agreeing += tally.operations_agreeing;
        sum.lines += tally.lines;
        sum.lines_agreeing += tally.lines_agreeing;
        sum.checks += tally.checks;
        sum.checks_agreeing += tally.checks_agreeing;
        if let Some(first) = tally.first {
            differing += 1;
            println!("{folder}/{name}: {first}");
        }
    }
    println!("{folder}, {design}: {} of {} operations agree", sum.operations_agreeing, sum.operations);
    println!("{folder}, {design}: {} of {} state lines agree", sum.lines_agreeing, sum.lines);
    println!(
        "{folder}, {design}: {} of {} judgements of data (check=) agree",
        sum.checks_agreeing, sum.checks
    );
    assert_eq!(differing, 0, "{differing} recordings of {} differ", files.len());
}

#[test]
fn recordings_of_6_12_agree() {
    replay_all("p2p", Profile::Linux_6_12, RulesOptions::default());
}

#[test]
fn recordings_of_7_3_agree() {
    // The recorded kernel has the defect; this is the one place where it is wanted.
    let options = RulesOptions { huge_private_words_ignore_offset: true, ..RulesOptions::default() };
    replay_all("p2p73", Profile::Linux_7_3, options);
}
