//! A change in words: what to do, and what is to be known about it.

use std::collections::BTreeSet;

use peerbus_machine::Machine;
use peerbus_os::{Reason, RulesOptions};

use super::change::{ChangeKind, Goal, Step};
use super::parameter::parameter;
use super::route::bit_names;
use super::search::Question;
use super::situation::{Outcome, Pair};
use crate::kernel::ProfileName;

/// A change in words.
pub(super) struct Wording {
    pub instructions: Vec<String>,
    pub parameter: Option<String>,
    pub notes: Vec<String>,
}

/// How to do the steps, and what is to be known about them.
pub(super) fn wording(
    question: &Question<'_>,
    kind: ChangeKind,
    steps: &[Step],
    outcome: &Outcome,
) -> Wording {
    let mut wording = Wording {
        instructions: Vec::new(),
        parameter: parameter(&question.base.in_force(), question.base.vendor(), steps),
        notes: notes(question, kind, steps, outcome),
    };
    let lines = steps.iter().filter_map(|step| instruction(question, step));
    wording.instructions.extend(lines);
    if let Some(parameter) = &wording.parameter {
        wording.instructions.push(format!("kernel command line: {parameter}"));
    }
    wording
}

fn instruction(question: &Question<'_>, step: &Step) -> Option<String> {
    let machine = &question.base.machine;
    let text = match step {
        Step::DisableAcsRedirect { .. } | Step::ConfigureAcs { .. } | Step::NoAcsRequest => return None,
        Step::FirmwareBits { function, port, bits } => {
            format!(
                "firmware setup: leave {} clear in the ACS control of {port} ({function})",
                bit_names(*bits).join(" ")
            )
        }
        Step::ClearBits { function, bits } => format!("setpci -s {function} ECAP_ACS+6.w=0:{bits:02x}"),
        Step::Move { device, port } => format!("move {} to the free slot {port}", placed(machine, device)),
        Step::Exchange { device, with } => {
            format!("exchange {} with {}", placed(machine, device), placed(machine, with))
        }
        Step::Kernel { profile } => format!("run {} instead", profile.name()),
        Step::ListHostBridge { vendor, device } => {
            format!("kernel source: a row for {vendor:04x}:{device:04x} in the table of host bridges")
        }
    };
    Some(text)
}

/// A device and where it is: `gpu2 (in host0/rp1/sw0/p2)`.
fn placed(machine: &Machine, device: &str) -> String {
    let slot = machine.device(device).and_then(|device| machine.slot(device));
    let port = slot.map(|slot| machine.functions[slot].name.as_str());
    port.map_or(device.to_owned(), |port| format!("{device} (in {port})"))
}

fn notes(question: &Question<'_>, kind: ChangeKind, steps: &[Step], outcome: &Outcome) -> Vec<String> {
    let note = match kind {
        ChangeKind::KernelParameter if question.base.machine.capture.running => {
            "the words before are those a running kernel had set; what firmware leaves, and other bits after, is not known"
        }
        ChangeKind::KernelParameter => return Vec::new(),
        ChangeKind::Firmware => "not every firmware offers this for single ports",
        ChangeKind::Registers => return register_notes(question),
        ChangeKind::Slot => return slot_notes(question, steps, outcome),
        ChangeKind::Kernel => return vec![kernel_note(question, outcome)],
        ChangeKind::HostBridgeTable => {
            "what if: the table is of hardware known to forward; that this one does is for you to know"
        }
    };
    vec![note.to_owned()]
}

fn register_notes(question: &Question<'_>) -> Vec<String> {
    let mut notes = vec![
        "lost when the function is reset; a pair that was mapped before keeps its cached answer".to_owned(),
    ];
    if question.now.booted.rules.acs_set_with_dma && question.base.requests_acs() {
        notes.push(
            "undone when a driver binds to the function: this kernel then sets the word again".to_owned(),
        );
    }
    notes
}

/// A card that gives its place to one of the same make might as well do the work itself.
fn slot_notes(question: &Question<'_>, steps: &[Step], outcome: &Outcome) -> Vec<String> {
    let mut notes = vec!["whether the cards fit the slots is not known here".to_owned()];
    notes.extend(steps.first().and_then(|step| stand_in(question, step, steps, outcome)));
    notes
}

fn stand_in(question: &Question<'_>, step: &Step, steps: &[Step], outcome: &Outcome) -> Option<String> {
    let Step::Exchange { device, with } = step else { return None };
    let machine = &*question.base.machine;
    let (mover, other) = (&machine.devices[machine.device(device)?], &machine.devices[machine.device(with)?]);
    if mover.part.id != other.part.id {
        return None;
    }
    let moves = |end| mover.functions.contains(&end);
    let end = |end| if moves(end) { other.functions[0] } else { end };
    let pair = Pair { provider: end(question.pair.provider), client: end(question.pair.client) };
    let reached = question.base.with(&steps[1..])?.outcome(pair)?.goal()?;
    let same = outcome.goal().is_some_and(|goal: Goal| reached <= goal);
    same.then(|| format!("{with} is of the same make: used in place of {device}, nothing has to be moved"))
}

/// Which host bridges the other kernel's table lists.
fn kernel_note(question: &Question<'_>, outcome: &Outcome) -> String {
    let rows = |profile: ProfileName| profile.profile().rules(RulesOptions::default()).host_bridge_allow_list;
    let (old, new) = (rows(question.base.settings.profile), rows(outcome.booted.settings.profile));
    let stand: BTreeSet<(u16, u16)> = question
        .resolution
        .reasons
        .iter()
        .filter(|reason| matches!(reason, Reason::HostBridgeNotListed(_) | Reason::HostBridgesDiffer(_)))
        .flat_map(Reason::functions)
        .map(|function| {
            (question.now.booted.tree[*function].vendor, question.now.booted.tree[*function].device)
        })
        .collect();
    let ids: Vec<String> =
        stand.iter().map(|(vendor, device)| format!("{vendor:04x}:{device:04x}")).collect();
    if ids.is_empty() {
        return "it sets ACS words differently".to_owned();
    }
    format!(
        "its table has {} rows instead of {}, one of them for {}",
        new.len(),
        old.len(),
        ids.join(" and ")
    )
}
