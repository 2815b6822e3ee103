//! Which candidates help: each is tried, reduced to what it needs, and shown to need all of that.

use peerbus_os::Resolution;
use peerbus_os::pci::{AcsWord, acs_control, set_acs_control};
use peerbus_units::FunctionId;

use super::candidate::{self, Candidate};
use super::change::{Change, Goal, Minimality, Step};
use super::cost;
use super::situation::{Outcome, Pair, Situation};
use super::slot;
use super::wording;
use crate::boot::Booted;

/// Steps up to which every proper part of a change is tried.
const EVERY_PART: usize = 12;

/// The pair as it is.
pub(super) struct Question<'a> {
    pub base: Situation<'a>,
    pub pair: Pair,
    pub now: Outcome,
    pub resolution: Resolution,
}

impl Question<'_> {
    /// True when reaching `goal` would be better than what is.
    pub fn improves(&self, goal: Goal) -> bool {
        self.now.goal().is_none_or(|now| goal < now)
    }

    /// What the steps lead to, when they help: a better goal, and an address if there was one.
    pub fn helps(&self, steps: &[Step]) -> Option<(Goal, Outcome)> {
        let outcome = self.base.with(steps)?.outcome(self.pair)?;
        let goal = outcome.goal().filter(|goal| self.improves(*goal))?;
        (outcome.usable || !self.now.usable).then_some((goal, outcome))
    }
}

/// All changes that help, by goal, kind and number of steps.
pub(super) fn changes(question: &Question<'_>) -> Vec<Change> {
    if question.now.goal() == Some(Goal::Direct) {
        return Vec::new();
    }
    let mut found: Vec<Change> =
        candidate::candidates(question).into_iter().filter_map(|one| verified(question, one)).collect();
    found.extend(slot::candidates(question).into_iter().filter_map(|one| verified(question, one)));
    found.sort_by_key(|change| (change.goal, change.kind, change.steps.len()));
    found
}

/// The change a candidate makes, with no step too many; `None` when it does not help.
fn verified(question: &Question<'_>, candidate: Candidate) -> Option<Change> {
    let (goal, _) = question.helps(&candidate.steps)?;
    let steps = reduced(question, candidate.steps, goal);
    let (_, outcome) = question.helps(&steps)?;
    let minimal = minimality(question, &steps, goal, &outcome)?;
    let wording = wording::wording(question, candidate.kind, &steps, &outcome);
    let machine = &question.base.machine;
    Some(Change {
        goal,
        kind: candidate.kind,
        instructions: wording.instructions,
        parameter: wording.parameter,
        minimal,
        map_type: outcome.map_type.into(),
        distance: outcome.distance,
        words: cost::words(machine, &question.now.booted, &outcome.booted),
        isolation_lost: isolation_lost(question, &outcome),
        groups_merged: cost::groups_merged(machine, &question.now.booted, &outcome.booted),
        others: cost::others(machine, &question.now.booted, &outcome.booted, question.pair),
        notes: wording.notes,
        alternatives: candidate.alternatives,
        steps,
    })
}

/// Without an IOMMU nobody asks who is isolated.
fn isolation_lost(question: &Question<'_>, outcome: &Outcome) -> Vec<String> {
    if !question.base.requests_acs() {
        return Vec::new();
    }
    cost::isolation_lost(&question.base.machine, &question.now.booted, &outcome.booted)
}

/// The steps without those that can be left out, one after the other.
fn reduced(question: &Question<'_>, mut steps: Vec<Step>, goal: Goal) -> Vec<Step> {
    let mut at = 0;
    while steps.len() > 1 && at < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(at);
        if question.helps(&fewer).is_some_and(|(reached, _)| reached <= goal) {
            steps = fewer;
        } else {
            at += 1;
        }
    }
    steps
}

/// How it is known that no proper part of the steps reaches the goal; `None` when one does. That each single step is
/// needed has been shown by booting without it.
fn minimality(question: &Question<'_>, steps: &[Step], goal: Goal, outcome: &Outcome) -> Option<Minimality> {
    match steps.len() {
        0 => None,
        1 => Some(Minimality::SingleStep),
        2..=EVERY_PART => every_part_fails(question, steps, goal, outcome).then_some(Minimality::EveryPart),
        _ => Some(Minimality::EachStepLeftOut),
    }
}

/// Tries every proper part. Steps that set ACS words are not booted with each time: the words they lead to are known from
/// the boot with all of them, and depend on no other function, so they are written into a machine that has booted with the
/// other steps.
fn every_part_fails(question: &Question<'_>, steps: &[Step], goal: Goal, all: &Outcome) -> bool {
    let (words, others): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| word_of(step).is_some());
    for chosen in 0..1u32 << others.len() {
        let part = others.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, step)| *step);
        let situation = question.base.with(part);
        let Some(mut outcome) = situation.and_then(|situation| situation.outcome(question.pair)) else {
            continue;
        };
        let whole = chosen + 1 == 1 << others.len();
        let masks = if whole { (1u32 << words.len()) - 1 } else { 1 << words.len() };
        for mask in 0..masks {
            if reaches(&mut outcome.booted, all, question.pair, &words, mask)
                .is_some_and(|reached| reached <= goal)
            {
                return false;
            }
        }
    }
    true
}

/// The function whose ACS word a step sets.
fn word_of(step: &Step) -> Option<FunctionId> {
    match step {
        Step::DisableAcsRedirect { function }
        | Step::ConfigureAcs { function, .. }
        | Step::FirmwareBits { function, .. }
        | Step::ClearBits { function, .. } => Some(*function),
        _ => None,
    }
}

/// What is reached with the words that `mask` chooses as they are in `all`.
fn reaches(booted: &mut Booted, all: &Outcome, pair: Pair, words: &[&Step], mask: u32) -> Option<Goal> {
    let mut undo: Vec<(FunctionId, AcsWord)> = Vec::new();
    let chosen = words.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
    for function in chosen.filter_map(|(_, step)| word_of(step)) {
        let after = word(&all.booted, function);
        if let (Some(before), Some(after)) = (word(booted, function), after) {
            undo.push((function, before));
            write(booted, function, after);
        }
    }
    let resolution = booted.resolve(pair.provider, pair.client);
    for (function, before) in undo {
        write(booted, function, before);
    }
    Goal::reached(resolution?.map_type.into())
}

fn word(booted: &Booted, function: FunctionId) -> Option<AcsWord> {
    acs_control(&booted.tree, &booted.registers, booted.tree.find(function)?)
}

fn write(booted: &mut Booted, function: FunctionId, word: AcsWord) {
    if let Some(index) = booted.tree.find(function) {
        set_acs_control(&booted.tree, &mut booted.registers, index, word);
    }
}
