//! The last part of the page: what would change the answer.

use std::fmt::{self, Write};

use super::super::route::bit_names;
use super::super::{Change, ChangeKind, Goal, Minimality, Others, Why, WordChange};
use crate::p2p::MapType;
use crate::page::wrap;

/// Alternatives that are named; of more only the number is told.
const ALTERNATIVES: usize = 6;

/// Writes the changes, or why there are none.
pub(super) fn write(out: &mut String, why: &Why) -> fmt::Result {
    if why.map_type == MapType::BusAddr {
        return writeln!(out, "\nNothing to change: no answer is better.");
    }
    if !why.changes.is_empty() {
        writeln!(out, "\nSmallest changes, each verified by booting again with it and nothing else")?;
    }
    for (number, change) in (1..).zip(&why.changes) {
        write_change(out, number, change)?;
    }
    if !why.hopeless.is_empty() {
        writeln!(out, "\nOut of reach")?;
        why.hopeless.iter().try_for_each(|sentence| wrap(out, "  ", sentence))?;
    }
    Ok(())
}

fn write_change(out: &mut String, number: usize, change: &Change) -> fmt::Result {
    let goal = match change.goal {
        Goal::Direct => "direct".to_owned(),
        Goal::Possible => "possible, through the host bridge".to_owned(),
    };
    writeln!(
        out,
        "  {number}. {}: {goal}, distance {}{}",
        kind(change.kind),
        change.distance,
        minimal(change)
    )?;
    change.instructions.iter().try_for_each(|line| wrap(out, "       ", line))?;
    let mut costs: Vec<String> =
        words(&change.words).into_iter().chain(change.others.and_then(others)).collect();
    if !change.isolation_lost.is_empty() {
        costs.push(format!("no longer isolated up to the root: {}", some(&change.isolation_lost)));
    }
    costs
        .extend(change.groups_merged.iter().map(|group| format!("in one IOMMU group then: {}", some(group))));
    costs.extend(change.notes.iter().cloned());
    costs.extend(alternatives(&change.alternatives));
    costs.iter().try_for_each(|line| wrap(out, "     - ", line))
}

fn kind(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::KernelParameter => "kernel parameter",
        ChangeKind::Firmware => "firmware",
        ChangeKind::Registers => "registers at run time",
        ChangeKind::Slot => "slot",
        ChangeKind::Kernel => "other kernel",
        ChangeKind::HostBridgeTable => "kernel's table",
    }
}

fn minimal(change: &Change) -> String {
    let steps = change.steps.len();
    match change.minimal {
        Minimality::SingleStep => String::new(),
        Minimality::EveryPart => format!("; no part of its {steps} steps is enough"),
        Minimality::EachStepLeftOut => format!("; without any one of its {steps} steps it is not enough"),
    }
}

/// Control words grouped by what they were and become.
fn words(changes: &[WordChange]) -> Vec<String> {
    let mut groups: Vec<(u16, u16, Vec<String>)> = Vec::new();
    for change in changes {
        let id = change.function.to_string();
        match groups.iter_mut().find(|group| (group.0, group.1) == (change.before, change.after)) {
            Some(group) => group.2.push(id),
            None => groups.push((change.before, change.after, vec![id])),
        }
    }
    let line = |(before, after, functions): &(u16, u16, Vec<String>)| {
        let (lost, gained) = (bit_names(before & !after), bit_names(after & !before));
        let lost = if lost.is_empty() { String::new() } else { format!(", without {}", lost.join(" ")) };
        let gained = if gained.is_empty() { String::new() } else { format!(", with {}", gained.join(" ")) };
        format!("ACS {before:04x} -> {after:04x}{lost}{gained}: {}", some(functions))
    };
    groups.iter().map(line).collect()
}

fn others(others: Others) -> Option<String> {
    let counts = [
        (others.become_direct, "more direct"),
        (others.become_possible, "more possible"),
        (others.cease_to_be_direct, "no longer direct"),
        (others.become_refused, "refused from then on"),
    ];
    let parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!parts.is_empty()).then(|| format!("other pairs of devices: {}", parts.join(", ")))
}

fn alternatives(list: &[String]) -> Option<String> {
    (!list.is_empty()).then(|| format!("or: {}", some(list)))
}

/// The first few, and how many more.
fn some(list: &[String]) -> String {
    match list.len() {
        0..=ALTERNATIVES => list.join(", "),
        all => format!("{} and {} more", list[..ALTERNATIVES].join(", "), all - ALTERNATIVES),
    }
}
