//! What may help: one candidate of each kind that the reasons of the answer suggest, and how it is put in words.

use std::collections::BTreeSet;

use peerbus_machine::Machine;
use peerbus_os::pci;
use peerbus_os::pci::acs::{AcsWord, acs_control};
use peerbus_os::{CpuVendor, Reason};

use super::change::{ChangeKind, Step};
use super::route::bit_names;
use super::search::Question;
use super::situation::Outcome;
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

/// Empty unless the firmware sets redirecting bits.
fn firmware(question: &Question<'_>, redirecting: &[pci::FunctionIndex]) -> Vec<Step> {
    let booted = &question.now.booted;
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
        parameter: parameter(question, steps),
        notes: notes(question, kind, outcome),
    };
    let lines = steps.iter().filter_map(|step| instruction(question, step));
    wording.instructions.extend(lines);
    if let Some(parameter) = &wording.parameter {
        wording.instructions.push(format!("kernel command line: {parameter}"));
    }
    wording
}

/// The kernel parameter of the steps that are one.
fn parameter(question: &Question<'_>, steps: &[Step]) -> Option<String> {
    let named: Vec<String> = steps
        .iter()
        .filter_map(|step| match step {
            Step::DisableAcsRedirect { function } => Some(function.to_string()),
            _ => None,
        })
        .collect();
    if !named.is_empty() {
        return Some(format!("pci=disable_acs_redir={}", named.join(";")));
    }
    steps.contains(&Step::NoAcsRequest).then(|| no_iommu(question.now.booted.cpu.vendor).to_owned())
}

/// What keeps the IOMMU driver of such a machine from running.
fn no_iommu(vendor: CpuVendor) -> &'static str {
    match vendor {
        CpuVendor::Amd | CpuVendor::Hygon => "amd_iommu=off",
        CpuVendor::Intel => "intel_iommu=off",
        CpuVendor::Other => "iommu=off",
    }
}

fn instruction(question: &Question<'_>, step: &Step) -> Option<String> {
    let machine = &question.base.machine;
    let text = match step {
        Step::DisableAcsRedirect { .. } | Step::NoAcsRequest => return None,
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

fn notes(question: &Question<'_>, kind: ChangeKind, outcome: &Outcome) -> Vec<String> {
    let note = match kind {
        ChangeKind::KernelParameter => return Vec::new(),
        ChangeKind::Firmware => "not every firmware offers this for single ports",
        ChangeKind::Registers => {
            "lost when the function is reset; a pair the kernel has mapped before keeps its cached answer"
        }
        ChangeKind::Slot => "whether the cards fit the slots is not known here",
        ChangeKind::Kernel => return vec![kernel_note(question, outcome)],
        ChangeKind::HostBridgeTable => {
            "what if: the table is of hardware known to forward; that this one does is for you to know"
        }
    };
    vec![note.to_owned()]
}

/// Which host bridges the other kernel's table lists.
fn kernel_note(question: &Question<'_>, outcome: &Outcome) -> String {
    let rows = |profile: ProfileName| {
        profile.profile().rules(peerbus_os::RulesOptions::default()).host_bridge_allow_list
    };
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
