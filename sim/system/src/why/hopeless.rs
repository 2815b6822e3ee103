//! Why a goal stays out of reach, where no change that was tried leads to it.

use peerbus_machine::Machine;
use peerbus_machine::model::FunctionIndex;
use peerbus_os::Reason;

use super::change::{Change, Goal};
use super::search::Question;

/// A sentence for each goal that is better than what is and that no change reaches.
pub(super) fn explain(question: &Question<'_>, changes: &[Change]) -> Vec<String> {
    let missed = |goal: Goal| question.improves(goal) && !changes.iter().any(|change| change.goal <= goal);
    let mut sentences = Vec::new();
    if missed(Goal::Direct) {
        sentences.push(direct(question));
    }
    if missed(Goal::Possible) {
        sentences.push(possible(question));
    }
    sentences
}

fn direct(question: &Question<'_>) -> String {
    let machine = &*question.base.machine;
    let names = [question.pair.provider, question.pair.client].map(|end| short(machine, end));
    if !question.resolution.redirecting().is_empty() {
        let tree = &question.now.booted.tree;
        let stuck: Vec<String> =
            question.resolution.redirecting().iter().map(|function| tree[*function].id.to_string()).collect();
        return format!(
            "not direct: the redirecting bits of {} cannot be cleared, their capability words do not offer them",
            stuck.join(", ")
        );
    }
    let fixed: Vec<&str> = [question.pair.provider, question.pair.client]
        .iter()
        .zip(&names)
        .filter(|(end, _)| !has_slot(machine, **end))
        .map(|(_, name)| name.as_str())
        .collect();
    let slots = match fixed.as_slice() {
        [] => "no slot below the same root port as the other is free or can be exchanged".to_owned(),
        [one] => {
            format!("{one} is in no slot that software can see, and none near it is free or can be exchanged")
        }
        _ => "neither is in a slot that software can see".to_owned(),
    };
    format!("not direct: no function is above both {} and {}, and {slots}", names[0], names[1])
}

fn possible(question: &Question<'_>) -> String {
    let tree = &question.now.booted.tree;
    let unidentified = question.resolution.reasons.iter().find_map(|reason| match reason {
        Reason::NoIdentifyingFunction(functions) => Some(functions),
        _ => None,
    });
    match unidentified {
        Some(functions) => {
            let first: Vec<String> =
                functions.iter().map(|function| tree[*function].id.to_string()).collect();
            let first = if first.is_empty() { "nothing".to_owned() } else { first.join(", ") };
            format!(
                "not even through the host bridge: the first on its root bus is {first}, which is neither at 00.0 nor a \
                 root port, so nothing stands for the host bridge and no row of the table can"
            )
        }
        None => {
            "not even through the host bridge: no change that was tried makes the CPU or the table allow it"
                .to_owned()
        }
    }
}

fn has_slot(machine: &Machine, function: FunctionIndex) -> bool {
    let device = machine.devices.iter().position(|device| device.functions.contains(&function));
    device.is_some_and(|device| machine.slot(device).is_some())
}

fn short(machine: &Machine, function: FunctionIndex) -> String {
    let path = &machine.functions[function].name;
    path.rsplit('/').next().unwrap_or(path).to_owned()
}
