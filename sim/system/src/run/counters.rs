//! What hardware counted: errors as Advanced Error Reporting of a function has them, and the work of IOMMUs, of caches of
//! translations in devices, and of caches in front of memory.

use std::collections::BTreeMap;

use peerbus_fabric::{AtcLedger, CacheLedger, Fabric, IommuLedger};
use peerbus_machine::Machine;
use peerbus_machine::model::FunctionIndex;

use crate::outcome::{COUNTERS, CounterOutcome};

/// All counters: errors that are not 0 by function, then those of IOMMUs and caches that were used.
pub fn counters(machine: &Machine, fabric: &Fabric) -> Vec<CounterOutcome> {
    let mut counters = errors(machine, fabric);
    for (node, iommu) in fabric.spec.nodes.iter().zip(&fabric.ledger.iommus) {
        if *iommu != IommuLedger::default() {
            let IommuLedger { hits, misses, accesses, invalidations, page_requests, .. } = *iommu;
            let counts = [
                ("iommu.hits", hits),
                ("iommu.misses", misses),
                ("iommu.walk_accesses", accesses),
                ("iommu.invalidations", invalidations),
            ];
            counters.extend(counts.into_iter().map(|(counter, count)| of(&node.name, counter, count)));
            counters.extend(pages(&node.name, "iommu.page_requests", page_requests));
        }
    }
    for (node, atc) in fabric.spec.nodes.iter().zip(&fabric.ledger.atcs) {
        if *atc != AtcLedger::default() {
            let AtcLedger { hits, requests, denied, page_requests, invalidations } = *atc;
            let counts = [
                ("atc.hits", hits),
                ("atc.requests", requests),
                ("atc.denied", denied),
                ("atc.invalidations", invalidations),
            ];
            counters.extend(counts.into_iter().map(|(counter, count)| of(&node.name, counter, count)));
            counters.extend(pages(&node.name, "atc.page_requests", page_requests));
        }
    }
    for (node, cache) in fabric.spec.nodes.iter().zip(&fabric.ledger.caches) {
        if *cache != CacheLedger::default() {
            let CacheLedger { read_hits, read_misses, writes, written_back } = *cache;
            let counts = [
                ("cache.read_hits", read_hits),
                ("cache.read_misses", read_misses),
                ("cache.writes", writes),
                ("cache.written_back", written_back),
            ];
            counters.extend(counts.into_iter().map(|(counter, count)| of(&node.name, counter, count)));
        }
    }
    counters
}

/// Page requests, where there were any.
fn pages(place: &str, counter: &'static str, count: u64) -> Option<CounterOutcome> {
    (count > 0).then(|| of(place, counter, count))
}

fn of(place: &str, counter: &'static str, count: u64) -> CounterOutcome {
    CounterOutcome { place: place.to_owned(), counter, count }
}

/// Name of a function, or of what counts where software sees none.
pub fn function_name(machine: &Machine, function: Option<FunctionIndex>) -> String {
    function.map_or_else(|| "no function".to_owned(), |function| machine.functions[function].name.clone())
}

/// Errors of packets, and those of links at the functions that receive by them.
fn errors(machine: &Machine, fabric: &Fabric) -> Vec<CounterOutcome> {
    let mut counts: BTreeMap<(Option<FunctionIndex>, &'static str), u64> = BTreeMap::new();
    for ((function, severity, error), count) in &fabric.ledger.errors {
        let word = format!("{}.{}", severity.name(), error.name());
        if let Some(counter) = COUNTERS.into_iter().find(|counter| *counter == word) {
            *counts.entry((*function, counter)).or_default() += count;
        }
    }
    for (link, faults) in fabric.spec.links.iter().zip(&fabric.ledger.faults) {
        // The sender of a replay counts it: the function at the end of the other direction.
        let sender = fabric.spec.links[usize::try_from(link.reverse.0).unwrap_or(usize::MAX)].receiver;
        let removed =
            u64::from(faults.removed && link.receiver.is_some_and(|function| is_port(machine, function)));
        for (function, counter, count) in [
            (link.receiver, "correctable.bad_tlp", faults.bad_tlps),
            (link.receiver, "correctable.bad_dllp", faults.bad_dllps),
            (sender, "correctable.replay_rollover", faults.rollovers),
            (link.receiver, "fatal.surprise_down", removed),
        ] {
            *counts.entry((function, counter)).or_default() += count;
        }
    }
    let counted = counts.into_iter().filter(|(_, count)| *count > 0);
    counted
        .map(|((function, counter), count)| of(&function_name(machine, function), counter, count))
        .collect()
}

/// True for a port with something below it: it is there to see a device disappear.
fn is_port(machine: &Machine, function: FunctionIndex) -> bool {
    use peerbus_machine::model::Role;
    matches!(machine.functions[function].role, Role::RootPort | Role::SwitchDownstream(_))
}
