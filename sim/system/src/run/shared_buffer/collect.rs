//! What became of a `SharedBuffer`: what only the importers know of their flows, counters, and what was refused.

use peerbus_machine::Machine;
use peerbus_units::{Bytes, Picos};

use super::drive::Driven;
use super::importer::{ImporterRun, Tally};
use super::plan::ImporterPlan;
use crate::outcome::{CounterOutcome, ErrorOutcome, FlowOutcome};
use crate::shared_buffer::ImporterKind;

/// Notes in the flows of importers what was wanted, by which way, and why it was not done. `first_outcome` tells the place of
/// each flow of the schedule.
pub fn note(driven: &Driven, outcomes: &mut [FlowOutcome], first_outcome: &[usize]) {
    for (plan, run) in driven.plan.importers.iter().zip(&driven.importers) {
        let outcome = &mut outcomes[first_outcome[plan.flow]];
        outcome.bytes = run.spec.bytes.unwrap_or(driven.plan.spec.bytes);
        outcome.refused = outcome.bytes.saturating_sub(outcome.delivered);
        outcome.refusal = run.failed.as_ref().map(|failure| failure.text.clone());
        outcome.limited_by = limits(&run.tally, std::mem::take(&mut outcome.limited_by));
        let Some((address, kind)) = run.first else { continue };
        outcome.map_type = Some(map_type(plan, run).to_owned());
        outcome.distance = Some(plan.peer.distance).filter(|_| run.peer2peer && plan.link.is_none());
        outcome.dma_addr = Some(address).filter(|_| kind.is_some());
        outcome.dma_kind = kind.map(|kind| kind.to_string());
    }
}

/// The way to the exporter's memory, or that it never used it.
fn map_type<'a>(plan: &'a ImporterPlan, run: &ImporterRun) -> &'a str {
    match (run.peer2peer, plan.link, run.spec.kind) {
        (false, ..) => "SYSTEM_MEMORY",
        (_, Some(_), _) => "PRIVATE_LINK",
        // By its own table, through the IOMMU: the kernel's map type is not asked for.
        (_, _, ImporterKind::Iommufd) => "IOMMUFD",
        _ => &plan.peer.map_type,
    }
}

/// What took most of an importer's time, and whatever took at least half as much; transfers by what held them back.
fn limits(tally: &Tally, of_transfers: Vec<String>) -> Vec<String> {
    let parts = [
        (tally.mapped, of_transfers),
        (tally.waited, vec!["moves and revocations of the buffer".to_owned()]),
        (tally.kernel, vec!["faults and mapping".to_owned()]),
    ];
    let most = parts.iter().map(|(time, _)| time.0).max().unwrap_or(0);
    let mut large: Vec<_> =
        parts.into_iter().filter(|(time, _)| time.0 > 0 && time.0.saturating_mul(2) >= most).collect();
    large.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    large.into_iter().flat_map(|(_, names)| names).collect()
}

/// Counts of importers at `BUFFER.IMPORTER`, and of the exporter at `BUFFER.DEVICE`.
pub fn counters(machine: &Machine, driven: &Driven) -> Vec<CounterOutcome> {
    let name = &driven.plan.spec.name;
    let mut counters = Vec::new();
    let mut add = |place: &str, counts: &[(&'static str, u64, bool)]| {
        let shown = counts.iter().filter(|(_, count, always)| *count > 0 || *always);
        counters.extend(shown.map(|(counter, count, _)| CounterOutcome {
            place: format!("{name}.{place}"),
            counter,
            count: *count,
        }));
    };
    for run in &driven.importers {
        let tally = &run.tally;
        let refused = run.failed.as_ref().is_some_and(|failure| failure.kind == "ATTACH_REFUSED");
        add(
            &run.spec.name,
            &[
                ("buffer.mappings", tally.mappings, true),
                ("buffer.invalidations", tally.invalidations, true),
                ("buffer.faults", tally.faults, false),
                ("buffer.bytes_device", tally.bytes_device, true),
                ("buffer.bytes_ram", tally.bytes_ram, true),
                ("buffer.failed_accesses", tally.failed_accesses, false),
                ("buffer.attach_refused", u64::from(refused), true),
                ("buffer.wrong_reads", tally.wrong_reads, true),
                ("buffer.ns_fault", nanos(tally.kernel), false),
                ("buffer.ns_wait", nanos(tally.waited), false),
            ],
        );
    }
    let (tally, moves) = (&driven.tally, driven.plan.moves.is_some());
    add(
        &machine.devices[driven.plan.exporter].name,
        &[
            ("buffer.moves", tally.moves, moves),
            ("buffer.moves_refused", tally.moves_refused, moves),
            ("buffer.revocations", tally.revocations, !moves),
            ("buffer.chunks_lost", tally.chunks_lost, false),
            ("buffer.ns_stop", nanos(tally.stopping), false),
            ("buffer.ns_move", nanos(tally.moving), false),
        ],
    );
    counters
}

fn nanos(time: Picos) -> u64 {
    time.0 / 1000
}

/// A buffer that was not exported, importers that gave up, and moves that pins refused.
pub fn errors(driven: &Driven) -> Vec<ErrorOutcome> {
    let spec = &driven.plan.spec;
    let error = |kind: &str, place: String, text: &str, count, bytes| ErrorOutcome {
        kind: kind.to_owned(),
        place,
        text: text.to_owned(),
        count,
        bytes,
        addr: None,
        flow: None,
        time: None,
    };
    let export = driven.refused.iter();
    let export = export.map(|why| error("EXPORT_REFUSED", spec.name.clone(), why, 1, spec.bytes));
    let failed = driven.importers.iter().filter_map(|run| {
        let failure = run.failed.as_ref()?;
        let (flow, asked) =
            (format!("{}.{}", spec.name, run.spec.name), run.spec.bytes.unwrap_or(spec.bytes));
        let done = run.tally.bytes_device + run.tally.bytes_ram;
        let left = asked.saturating_sub(Bytes(done));
        let row = error(failure.kind, flow.clone(), &failure.text, 1, left);
        Some(ErrorOutcome { flow: Some(flow), ..row })
    });
    let refusal = driven.tally.refusal.iter();
    let refused = refusal.map(|why| {
        let count = driven.tally.moves_refused;
        error("MOVE_REFUSED", spec.name.clone(), why, count, Bytes::ZERO)
    });
    export.chain(failed).chain(refused).collect()
}
