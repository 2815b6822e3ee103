//! What may help: one candidate of each kind that the reasons of the answer suggest.

use std::collections::BTreeSet;

use peerbus_os::Reason;
use peerbus_os::pci;
use peerbus_os::pci::{AcsWord, acs_control};

use super::change::{ChangeKind, Step};
use super::parameter::bits_without_redirect;
use super::search::Question;
use crate::boot::Booted;
use crate::kernel::ProfileName;

/// Steps that together may reach a goal.
pub(super) struct Candidate {
    pub kind: ChangeKind,
    pub steps: Vec<Step>,
    /// What would do as well.
    pub alternatives: Vec<String>,
}

impl Candidate {
    fn new(kind: ChangeKind, steps: Vec<Step>) -> Candidate {
        Candidate { kind, steps, alternatives: Vec::new() }
    }
}

/// Everything to try but cards in other slots.
pub(super) fn candidates(question: &Question<'_>) -> Vec<Candidate> {
    let redirecting = question.resolution.redirecting();
    let mut list = Vec::new();
    if !redirecting.is_empty() {
        list.push(Candidate::new(
            ChangeKind::KernelParameter,
            disable_redirect(&question.now.booted, redirecting),
        ));
        list.push(Candidate::new(ChangeKind::KernelParameter, configure(question, redirecting)));
        list.push(Candidate::new(ChangeKind::KernelParameter, vec![Step::NoAcsRequest]));
        list.push(Candidate::new(ChangeKind::Firmware, firmware(question, redirecting)));
        list.push(Candidate::new(ChangeKind::Registers, clear_bits(&question.now.booted, redirecting)));
    }
    let current = question.base.settings.profile;
    for profile in ProfileName::ALL.into_iter().filter(|profile| *profile != current) {
        list.push(Candidate::new(ChangeKind::Kernel, vec![Step::Kernel { profile }]));
    }
    list.push(Candidate::new(ChangeKind::HostBridgeTable, list_host_bridges(question)));
    list.retain(|candidate| !candidate.steps.is_empty());
    list
}

/// A kernel parameter that names these functions.
pub(super) fn disable_redirect(booted: &Booted, redirecting: &[pci::FunctionIndex]) -> Vec<Step> {
    let id = |function: &pci::FunctionIndex| Step::DisableAcsRedirect { function: booted.tree[*function].id };
    redirecting.iter().map(id).collect()
}

/// The parameter that keeps what an IOMMU driver's request set besides redirection. Empty where the kernel has none, or
/// where it would lead to the same words as the simpler one.
fn configure(question: &Question<'_>, redirecting: &[pci::FunctionIndex]) -> Vec<Step> {
    let booted = &question.now.booted;
    if !booted.rules.config_acs {
        return Vec::new();
    }
    let redirect = AcsWord::REDIRECT.0;
    let running = question.base.machine.capture.running;
    let mut keeps_more = false;
    let step = |function: &pci::FunctionIndex| {
        let found = question.base.machine.functions[booted.machine_function(*function)].acs?.control;
        let now = acs_control(&booted.tree, &booted.registers, *function)?.0;
        keeps_more |= now & !redirect != if running { 0 } else { found & !redirect };
        let bits = bits_without_redirect((!running).then_some(found), now);
        Some(Step::ConfigureAcs { function: booted.tree[*function].id, bits })
    };
    let steps: Vec<Step> = redirecting.iter().filter_map(step).collect();
    let overridden = question.base.in_force().parameters().pci.config_acs.is_some();
    if keeps_more || overridden { steps } else { Vec::new() }
}

fn redirect_bits(booted: &Booted, function: pci::FunctionIndex) -> u16 {
    let word = acs_control(&booted.tree, &booted.registers, function);
    word.map_or(0, |word| word.0 & AcsWord::REDIRECT.0)
}

fn clear_bits(booted: &Booted, redirecting: &[pci::FunctionIndex]) -> Vec<Step> {
    let step = |function: &pci::FunctionIndex| Step::ClearBits {
        function: booted.tree[*function].id,
        bits: redirect_bits(booted, *function),
    };
    redirecting.iter().map(step).collect()
}

/// Empty unless the firmware sets redirecting bits. What it does to a machine that was captured running is not known.
fn firmware(question: &Question<'_>, redirecting: &[pci::FunctionIndex]) -> Vec<Step> {
    let booted = &question.now.booted;
    if question.base.machine.capture.running {
        return Vec::new();
    }
    let step = |function: &pci::FunctionIndex| {
        let own = &question.base.machine.functions[booted.machine_function(*function)];
        let bits = own.acs?.control & AcsWord::REDIRECT.0;
        let function = booted.tree[*function].id;
        (bits != 0).then(|| Step::FirmwareBits { function, port: own.name.clone(), bits })
    };
    redirecting.iter().filter_map(step).collect()
}

/// A row for each host bridge that stands in the way; empty when one of them has nothing that could be listed.
fn list_host_bridges(question: &Question<'_>) -> Vec<Step> {
    let mut rows = BTreeSet::new();
    for reason in &question.resolution.reasons {
        match reason {
            Reason::HostBridgeNotListed(functions) | Reason::HostBridgesDiffer(functions) => {
                let tree = &question.now.booted.tree;
                rows.extend(
                    functions.iter().map(|function| (tree[*function].vendor, tree[*function].device)),
                );
            }
            Reason::NoIdentifyingFunction(_) => return Vec::new(),
            Reason::AcsRedirect(_) | Reason::NoCommonUpstream(_) => {}
        }
    }
    rows.into_iter().map(|(vendor, device)| Step::ListHostBridge { vendor, device }).collect()
}
