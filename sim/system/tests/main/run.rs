//! Runs on shipped machines.

use std::collections::BTreeMap;

use peerbus_fabric::LinkLayer;
use peerbus_machine::{Catalogue, Machine, load_machine};
use peerbus_system::kernel::KernelSettings;
use peerbus_system::outcome::Outcome;
use peerbus_system::run::{RunInput, run};
use peerbus_system::workload::*;
use peerbus_units::{Bytes, Picos};

/// All machines below `topologies/`, by file name.
pub fn topologies() -> BTreeMap<String, Machine> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topologies");
    let catalogue = Catalogue::embedded();
    let mut machines = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ron") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let (machine, diagnostics) = load_machine(&text, &name, &catalogue);
            assert!(diagnostics.is_empty(), "{name}: {diagnostics:?}");
            machines.insert(name, machine.unwrap());
        }
    }
    machines
}

fn input(workloads: Vec<Workload>) -> RunInput {
    RunInput {
        kernel: KernelSettings::default(),
        link_layer: LinkLayer::ByRule,
        workloads,
        seed: 1,
        scaling: vec![],
    }
}

fn matrix(bytes: Bytes, concurrency: Concurrency) -> Workload {
    Workload::PairMatrix(PairMatrix {
        name: "m".into(),
        devices: vec!["gpu*".into()],
        bytes,
        chunk: Bytes::mib(1),
        engine: Engine::Writer,
        refused: WhenRefused::Stage,
        concurrency,
    })
}

pub fn gigabytes(outcome: &Outcome, flow: usize) -> f64 {
    outcome.flows[flow].bytes_per_second().unwrap_or(0) as f64 / 1e9
}

#[test]
fn every_shipped_machine_runs_a_pair_matrix() {
    for (name, machine) in topologies() {
        if machine.devices.iter().filter(|device| device.name.starts_with("gpu")).count() < 2 {
            println!("{name}: no pairs");
            continue;
        }
        let outcome = run(&machine, &input(vec![matrix(Bytes::mib(2), Concurrency::Alone)])).unwrap();
        println!(
            "== {name} hops {} errors {:?}",
            outcome.tlp_hops,
            outcome.errors.iter().map(|e| (&e.kind, &e.text, e.count)).collect::<Vec<_>>()
        );
        for row in &outcome.matrices[0].cells {
            println!(
                "{}",
                row.iter()
                    .map(|cell| cell.map_or("    -".into(), |flow| format!(
                        "{:5.1}{}",
                        gigabytes(&outcome, flow),
                        if outcome.flows[flow].staged { "s" } else { " " }
                    )))
                    .collect::<Vec<_>>()
                    .join(" ")
            );
        }
        let f = &outcome.flows[outcome.flows.len() - 2];
        println!(
            "{} {:?} {:?} {:?} {:?}",
            f.name,
            f.limited_by,
            f.path,
            f.map_type,
            f.latency_p50.to_string()
        );
    }
    let _ = Picos::ZERO;
}
