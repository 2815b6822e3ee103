//! Cards in other slots: one of the two goes where the other one's neighbours are.
//!
//! A place that shares nothing with the other device cannot make a pair direct, so only slots below the same function of
//! a root bus are tried for that; where there is none, one slot below each other root port, which can at best make it
//! possible. Among places that lead to the same with as many steps, free slots come first, then those for which the
//! fewest other pairs lose.

use std::collections::BTreeSet;

use peerbus_machine::Machine;
use peerbus_machine::model::FunctionIndex;

use super::candidate::{Candidate, disable_redirect};
use super::change::{ChangeKind, Goal, Step};
use super::cost;
use super::search::Question;
use super::situation::Outcome;

/// A place that was tried.
struct Tried {
    goal: Goal,
    steps: Vec<Step>,
    /// Other pairs that lose.
    losses: usize,
    /// In words, for those that are not the best.
    words: String,
}

/// The best place, with all that lead to the same as alternatives.
pub(super) fn candidates(question: &Question<'_>) -> Vec<Candidate> {
    let mut tried = tried(question, Goal::Direct);
    if tried.is_empty() && question.improves(Goal::Possible) {
        tried = self::tried(question, Goal::Possible);
    }
    let rank =
        |one: &Tried| (one.goal, one.steps.len(), matches!(one.steps[0], Step::Exchange { .. }), one.losses);
    tried.sort_by_key(rank);
    let Some(best) = tried.first() else { return Vec::new() };
    let same = |one: &&Tried| (one.goal, one.steps.len()) == (best.goal, best.steps.len());
    let alternatives = tried[1..].iter().filter(same).map(|one| one.words.clone()).collect();
    vec![Candidate { kind: ChangeKind::Slot, steps: best.steps.clone(), alternatives }]
}

fn tried(question: &Question<'_>, goal: Goal) -> Vec<Tried> {
    let machine = &*question.base.machine;
    let (provider, client) = (question.pair.provider, question.pair.client);
    let mut list = Vec::new();
    for (mover, other) in [(client, provider), (provider, client)] {
        let Some(device) = device_of(machine, mover) else { continue };
        let places = places(machine, device, other, goal);
        list.extend(places.into_iter().filter_map(|(step, words)| attempt(question, step, words, goal)));
    }
    list
}

/// Tries one place, and where ACS redirects there, together with the kernel parameter for that. A pair that the parameter
/// alone would help is not moved and then given one.
fn attempt(question: &Question<'_>, step: Step, words: String, goal: Goal) -> Option<Tried> {
    let tried = |steps: Vec<Step>, reached: Goal, outcome: &Outcome| {
        let others =
            cost::others(&question.base.machine, &question.now.booted, &outcome.booted, question.pair);
        let losses = others.map_or(0, |others| others.cease_to_be_direct + others.become_refused);
        Tried { goal: reached, steps, losses, words: words.clone() }
    };
    let steps = vec![step];
    if let Some((reached, outcome)) = question.helps(&steps).filter(|(reached, _)| *reached <= goal) {
        return Some(tried(steps, reached, &outcome));
    }
    if goal != Goal::Direct || !question.resolution.redirecting().is_empty() {
        return None;
    }
    let moved = question.base.with(&steps)?.outcome(question.pair)?;
    let resolution = moved.booted.resolve(question.pair.provider, question.pair.client)?;
    let parameter = disable_redirect(&moved.booted, resolution.redirecting());
    let steps: Vec<Step> = steps.into_iter().chain(parameter).collect();
    let (reached, outcome) = question.helps(&steps).filter(|(reached, _)| *reached <= goal)?;
    Some(tried(steps, reached, &outcome))
}

fn device_of(machine: &Machine, function: FunctionIndex) -> Option<usize> {
    machine.devices.iter().position(|device| device.functions.contains(&function))
}

/// The function on the root bus above `function`, or itself.
fn top(machine: &Machine, function: FunctionIndex) -> FunctionIndex {
    std::iter::successors(Some(function), |index| machine.parent(*index)).last().unwrap_or(function)
}

/// Where the card of `device` could go to be nearer to `other`: the step, and the same in a few words.
fn places(machine: &Machine, device: usize, other: FunctionIndex, goal: Goal) -> Vec<(Step, String)> {
    let name = &machine.devices[device].name;
    let Some(here) = machine.slot(device) else { return Vec::new() };
    let mut taken: BTreeSet<FunctionIndex> = BTreeSet::from([here]);
    taken.extend(device_of(machine, other).and_then(|other| machine.slot(other)));
    let mut roots = BTreeSet::from([top(machine, here)]);
    let near = top(machine, other);
    let mut wanted = |port: FunctionIndex| match goal {
        Goal::Direct => top(machine, port) == near,
        Goal::Possible => roots.insert(top(machine, port)),
    };
    let mut places = Vec::new();
    for port in machine.free_slots().into_iter().filter(|port| wanted(*port)) {
        let path = machine.functions[port].name.clone();
        let words = format!("{name} to {path}");
        places.push((Step::Move { device: name.clone(), port: path }, words));
    }
    for (index, with) in machine.devices.iter().enumerate() {
        let Some(port) = machine.slot(index).filter(|port| !taken.contains(port)) else { continue };
        if wanted(port) {
            taken.insert(port);
            let words = format!("{name} with {}", with.name);
            places.push((Step::Exchange { device: name.clone(), with: with.name.clone() }, words));
        }
    }
    places
}
