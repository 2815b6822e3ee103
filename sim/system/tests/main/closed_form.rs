//! Host DMA against the closed-form model of pcie-bench: Gen3 x8, MPS 256, MRRS 512, 64-bit addresses, with the
//! flat DLLP tax that model has.
//!
//! Rows are read from the measurements beside the project; without them the test says so and checks the same
//! formulas, which reproduce the rows, instead.

use std::collections::BTreeMap;

use peerbus_fabric::LinkLayer;
use peerbus_system::kernel::KernelSettings;
use peerbus_system::run::{RunInput, run};
use peerbus_system::workload::{CacheState, HostDirection, HostDma, Initiator, Packets, Workload};
use peerbus_units::Bytes;

use crate::run::topologies;

/// The model leaves 57.88125 Gbit/s of 63.01538 for TLPs on Gen3 x8.
const FLAT: LinkLayer = LinkLayer::Flat { share_ppm: 918_526 };

/// Effective bandwidth in Gbit/s by direction and size.
fn expected() -> BTreeMap<(&'static str, u64), f64> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/measurements/pcie_model_derived.tsv");
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("no measurements beside the project: using the model's formulas");
        return formulas();
    };
    let mut rows = BTreeMap::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        if !cells[1].starts_with("gen3 x8,") {
            continue;
        }
        let direction = match cells[3] {
            "DMA write" => "write",
            "DMA read" => "read",
            _ => "both",
        };
        rows.insert((direction, cells[4].parse().unwrap()), cells[6].parse().unwrap());
    }
    assert_eq!(rows.len(), 57);
    rows
}

fn formulas() -> BTreeMap<(&'static str, u64), f64> {
    let mut rows = BTreeMap::new();
    for size in [4u64, 8, 16, 32, 64, 96, 128, 192, 255, 256, 257, 384, 511, 512, 513, 768, 1024, 1280, 1500]
    {
        let (bytes, tlps, requests) = (size as f64, size.div_ceil(256) as f64, size.div_ceil(512) as f64);
        let completions = bytes / (bytes + 20.0 * tlps);
        let write = bytes / (bytes + 24.0 * tlps);
        let both = (bytes / (bytes + 24.0 * tlps + 24.0 * requests)).min(completions);
        for (direction, share) in [("write", write), ("read", completions), ("both", both)] {
            rows.insert((direction, size), share * 57.88125);
        }
    }
    rows
}

#[test]
fn host_dma_meets_the_closed_form_within_half_a_percent() {
    // The model has no engine that limits anything.
    let mut machine = topologies()["haswell-nfp6000.ron"].clone();
    for device in &mut machine.devices {
        (device.part.dma, device.part.tags) = (None, 256);
    }
    let machine = &machine;
    let mut worst: f64 = 0.0;
    for ((direction, size), expected) in expected() {
        let workload = HostDma {
            packets: Packets::default(),
            name: "dma".into(),
            device: "nic0".into(),
            direction: match direction {
                "write" => HostDirection::Write,
                "read" => HostDirection::Read,
                _ => HostDirection::ReadWrite,
            },
            sizes: vec![Bytes(size)],
            transfers: 40_000,
            outstanding: 512,
            cpu: None,
            memory: None,
            window: None,
            cache: CacheState::default(),
            by: Initiator::default(),
            absent: None,
            way: Default::default(),
            through: None,
        };
        let input = RunInput {
            kernel: KernelSettings::default(),
            link_layer: FLAT,
            workloads: vec![Workload::HostDma(workload)],
            device_memory: None,
            seed: 1,
            events: vec![],
            scaling: vec![],
            apertures: vec![],
            ntbs: vec![],
        };
        let outcome = run(machine, &input).unwrap();
        let flow = &outcome.flows[0];
        let simulated = flow.bytes_per_second().unwrap() as f64 * 8.0 / 1e9;
        let error = simulated / expected - 1.0;
        println!(
            "{direction:5} {size:5} {expected:6.2} {simulated:6.2} {:+.2} % {:?}",
            error * 100.0,
            flow.limited_by
        );
        worst = worst.max(error.abs());
    }
    assert!(worst <= 0.005, "{:.2} %", worst * 100.0);
}
