//! Recorded machines: what the kernel is said to log is what it logged, and changes hold on them too.

use peerbus_system::kernel::KernelSettings;
use peerbus_system::why::{Why, why};

use super::redo::check;
use crate::captured::Boot;

/// Pairs that are looked at on each machine, spread over all that were recorded.
const PAIRS: usize = 40;

/// The answers for recorded pairs, with the log lines that were recorded; `wanted` chooses among provider and client.
fn answers(boot: &Boot, wanted: impl Fn(&str, &str) -> bool) -> Vec<(Why, String)> {
    let machine = boot.machine();
    let booted = boot.booted(&machine, false);
    let Some(phase) = boot.phase(&booted) else { return Vec::new() };
    let settings = KernelSettings { profile: boot.profile(), ..KernelSettings::default() };
    let rows: Vec<Vec<String>> = boot
        .table("distance.tsv")
        .into_iter()
        .filter(|row| row[0] == phase && row.len() >= 7 && wanted(&row[1], &row[2]))
        .collect();
    let step = rows.len().div_ceil(PAIRS).max(1);
    let answer = |row: &Vec<String>| {
        let function = |id: &str| booted.registers.at(id.parse().unwrap()).unwrap();
        let why = why(&machine, &settings, function(&row[1]), function(&row[2])).unwrap();
        (why, row.get(7).cloned().unwrap_or_default())
    };
    rows.iter().step_by(step).map(answer).collect()
}

#[test]
fn the_log_is_the_recorded_one() {
    let (mut lines, mut pairs) = (0, 0);
    let mut wrong = Vec::new();
    for boot in Boot::all() {
        for (why, recorded) in answers(&boot, |_, _| true) {
            let ours: Vec<&str> = why.log.iter().map(|line| line.text.as_str()).collect();
            let theirs: Vec<&str> = recorded.split(" | ").filter(|line| !line.is_empty()).collect();
            pairs += 1;
            lines += theirs.len();
            // A function whose driver is bound has that driver's name in front, which no listing says.
            let text = |line: &&str| line.split_once(' ').map(|(_, text)| text.to_owned());
            if ours.iter().map(text).ne(theirs.iter().map(text)) {
                wrong.push(format!("{}: ours {ours:#?}, recorded {theirs:#?}", boot.name));
            }
        }
    }
    println!("log of {} of {pairs} pairs as recorded, {lines} lines", pairs - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n"));
}

#[test]
fn changes_hold_on_recorded_machines() {
    let (mut changes, mut hopeless) = (0, 0);
    for boot in Boot::all() {
        let machine = boot.machine();
        let settings = KernelSettings { profile: boot.profile(), ..KernelSettings::default() };
        // Behind ports, where there is something to change.
        let behind = |id: &str| !id.starts_with("0000:00:");
        for (why, _) in answers(&boot, |from, to| from < to && behind(from) && behind(to)).into_iter().take(4)
        {
            let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
            let (provider, client) = (name(&why.provider.name), name(&why.client.name));
            if machine.device(&provider).is_none() || machine.device(&client).is_none() {
                continue;
            }
            why.changes.iter().for_each(|change| check(&machine, &settings, change, (&provider, &client)));
            changes += why.changes.len();
            hopeless += why.hopeless.len();
        }
    }
    println!("{changes} changes, {hopeless} goals out of reach");
    assert!(changes > 0 || Boot::all().is_empty());
}
