//! The measured flows of the WRX90 machine with two switches, against `fabric_flows.tsv`
//! (wrx90-cpayne-2switch-flat.md): one- and two-flow rows within 8 %, all rows in `reports/wrx90-flows.md`.

use std::fmt::Write;

use peerbus_fabric::LinkLayer;
use peerbus_machine::Machine;
use peerbus_system::kernel::KernelSettings;
use peerbus_system::run::{RunInput, run};
use peerbus_system::workload::{Addresses, Copy, Engine, Packets, Way, WhenRefused, Workload};
use peerbus_units::{Bytes, Picos};

use crate::run::topologies;

struct Row {
    what: &'static str,
    /// The uplink of the first switch is forced to Gen2.
    gen2_uplink: bool,
    pairs: Vec<(u32, u32)>,
    measured: f64,
}

fn all_pairs(from: std::ops::Range<u32>, to: std::ops::Range<u32>) -> Vec<(u32, u32)> {
    from.flat_map(|a| to.clone().filter(move |b| *b != a).map(move |b| (a, b))).collect()
}

fn rows() -> Vec<Row> {
    let row = |what, pairs, measured| Row { what, gen2_uplink: false, pairs, measured };
    vec![
        row("1 flow same switch", vec![(0, 1)], 53.4),
        row("2 flows same switch", vec![(0, 1), (2, 3)], 107.5),
        row("1 flow cross-switch", vec![(0, 4)], 53.8),
        row("2 flows cross-switch, same source switch", vec![(0, 4), (1, 5)], 53.8),
        row("2 flows GPU0->GPU4 + GPU1->GPU6", vec![(0, 4), (1, 6)], 53.1),
        row("2 flows GPU0->GPU4 + GPU1->GPU5", vec![(0, 4), (1, 5)], 55.1),
        Row { gen2_uplink: true, ..row("same switch, uplink 20:01.1 forced to Gen2", vec![(0, 1)], 54.2) },
        Row { gen2_uplink: true, ..row("cross-switch, uplink 20:01.1 forced to Gen2", vec![(0, 4)], 7.0) },
        row("4 flows 1:1 cross-switch", vec![(0, 4), (1, 5), (2, 6), (3, 7)], 53.3),
        row("12 flows all-to-all in one switch", all_pairs(0..4, 0..4), 148.9),
        row("16 flows cross-switch", all_pairs(0..4, 4..8), 51.6),
        row("56 flows all-to-all", all_pairs(0..8, 0..8), 168.4),
    ]
}

/// Sum of all flows in GB/s over the time until the last one ends.
fn simulate(machine: &Machine, pairs: &[(u32, u32)]) -> (f64, String) {
    let copies = pairs.iter().map(|(from, to)| {
        Workload::Copy(Copy {
            packets: Packets::default(),
            name: format!("gpu{from}-gpu{to}"),
            from: format!("gpu{from}"),
            to: format!("gpu{to}"),
            bytes: Bytes::mib(if pairs.len() > 4 { 4 } else { 32 }),
            chunk: Bytes::mib(2),
            engine: Engine::Writer,
            refused: WhenRefused::Fail,
            way: Way::Fastest,
            start: Picos::ZERO,
            dma_shift: Bytes::ZERO,
            addresses: Addresses::Dma,
            memory_at: None,
            through: None,
        })
    });
    let input = RunInput {
        kernel: KernelSettings::default(),
        link_layer: LinkLayer::ByRule,
        workloads: copies.collect(),
        device_memory: None,
        seed: 1,
        events: vec![],
        scaling: vec![],
        apertures: vec![],
        ntbs: vec![],
    };
    let outcome = run(machine, &input).unwrap();
    let delivered: u64 = outcome.flows.iter().map(|flow| flow.delivered.0).sum();
    let sum = delivered as f64 * 1000.0 / outcome.flows.iter().map(|flow| flow.end.0).max().unwrap() as f64;
    (sum, outcome.flows[0].limited_by.join(" + "))
}

#[test]
fn one_and_two_flows_come_within_eight_percent() {
    let machine = topologies().remove("wrx90-8gpu-2switch.ron").unwrap();
    let mut slow = machine.clone();
    let uplink = slow.links.iter_mut().find(|link| link.name == "host0/rp0/sw0").unwrap();
    uplink.generation = 2;
    let mut table = String::from(
        "# WRX90, two PM50100 switches: measured and simulated\n\n\
         P2P posted writes, sum over flows, GB/s. Measured: voipmonitor/rtx6kpro@29f3863a371d,\n\
         hardware/wrx90-cpayne-2switch-flat.md. Simulated: `topologies/wrx90-8gpu-2switch.ron`, part constants only.\n\
         Written by the test `one_and_two_flows_come_within_eight_percent`; `PEERBUS_BLESS=1` rewrites it.\n\n\
         | flows | measured | simulated | difference | first flow limited by |\n|---|---:|---:|---:|---|\n",
    );
    for row in rows() {
        let (simulated, limits) = simulate(if row.gen2_uplink { &slow } else { &machine }, &row.pairs);
        let error = (simulated / row.measured - 1.0) * 100.0;
        let (what, measured) = (row.what, row.measured);
        writeln!(table, "| {what} | {measured:.1} | {simulated:.1} | {error:+.1} % | {limits} |").unwrap();
        assert!(row.pairs.len() > 2 || error.abs() <= 8.0, "{what}: {simulated:.1} against {measured:.1}");
    }
    println!("{table}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../reports/wrx90-flows.md");
    if std::env::var("PEERBUS_BLESS").is_ok() {
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        table,
        "run with PEERBUS_BLESS=1 and review"
    );
}
