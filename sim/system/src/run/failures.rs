//! What links and devices failed to do, as errors of the outcome, and the error counters of links.

use peerbus_fabric::{Fabric, LinkFaults, Lost};
use peerbus_machine::Machine;
use peerbus_units::{Bytes, Picos};

use super::collect::flow_name;
use super::counters;
use super::drive::FlowRun;
use crate::outcome::{ErrorOutcome, LinkErrors};

/// The counters of a directed link; `None` when nothing happened to it.
pub fn link_errors(faults: &LinkFaults) -> Option<LinkErrors> {
    let errors = LinkErrors {
        bad_tlps: faults.bad_tlps,
        bad_dllps: faults.bad_dllps,
        corrected: faults.corrected,
        bad_flits: faults.bad_flits,
        replays: faults.replays,
        rollovers: faults.rollovers,
        retrains: faults.retrains,
        downs: faults.downs,
        lost: faults.lost.packets,
        held_up: Picos(faults.held_up),
        leaked_credits: faults.leaked.iter().flatten().map(|credits| u64::from(*credits)).sum(),
    };
    (errors != LinkErrors::default()).then_some(errors)
}

/// One entry per place, kind and reason.
pub fn errors(fabric: &Fabric, flows: &[FlowRun]) -> Vec<ErrorOutcome> {
    let mut found = Vec::new();
    for (link, faults) in fabric.spec.links.iter().zip(&fabric.ledger.faults) {
        let kind = if faults.removed { "SURPRISE_DOWN" } else { "LINK_DOWN" };
        for (lost, text) in [
            (faults.lost, "packets were on the link, or in front of it, while it was down: they are lost"),
            (faults.refused, "the port could not send reads on, and answered them as Unsupported Requests"),
            (faults.abandoned, "devices below were reset: their engines gave up what they had been given"),
        ] {
            found.extend(error(kind, &link.name, text, lost, flows));
        }
    }
    for (engine, (timeouts, unexpected)) in
        fabric.spec.engines.iter().zip(fabric.ledger.timeouts.iter().zip(&fabric.ledger.unexpected))
    {
        let text = format!("reads were not completed within {}", engine.completion_timeout);
        found.extend(error("COMPLETION_TIMEOUT", &engine.name, &text, *timeouts, flows));
        let text = "completions came for reads that had been given up";
        found.extend(error("UNEXPECTED_COMPLETION", &engine.name, text, *unexpected, flows));
    }
    found
}

/// Poisoned packets whose data somebody would have used, by function.
pub fn poisoned(machine: &Machine, fabric: &Fabric, flows: &[FlowRun]) -> Vec<ErrorOutcome> {
    let text = "data that memory could not mend arrived poisoned, and were thrown away";
    let all = fabric.ledger.poisoned.iter();
    all.filter_map(|(function, lost)| {
        error("POISONED_TLP", &counters::function_name(machine, *function), text, *lost, flows)
    })
    .collect()
}

fn error(kind: &str, place: &str, text: &str, lost: Lost, flows: &[FlowRun]) -> Option<ErrorOutcome> {
    let (time, flow) = lost.first?;
    Some(ErrorOutcome {
        kind: kind.to_owned(),
        place: place.to_owned(),
        text: text.to_owned(),
        count: lost.packets,
        bytes: Bytes(lost.bytes),
        addr: None,
        flow: flow_name(flows, flow),
        time: Some(Picos(time)),
    })
}
