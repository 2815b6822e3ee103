//! Scenarios that are run: names agree with the run's, cells keep their order, and the same input gives the same.

use peerbus_scenario::expect::{self, Names};
use peerbus_scenario::{Loaded, ScenarioResult, assemble, cells, run_cell};
use peerbus_system::expand::flows;

use crate::support::load_text;

const TEXT: &str = r#"// Redirection on and off.
(
    machine: "m.ron",
    workloads: [
        Copy(name: "peer", from: "gpu0", to: "gpu1", bytes: "256KiB", chunk: "64KiB"),
        PairMatrix(name: "m", devices: ["gpu*", "ssd0"], bytes: "16KiB"),
        AllToAll(name: "x", devices: ["gpu*"], bytes: "16KiB"),
        HostDma(name: "h", device: "ssd0", direction: ReadWrite, sizes: ["64B", "4KiB"], transfers: 20, outstanding: 4),
        PeerMemory(name: "c", providers: [(device: "gpu*", size: "4MiB")], clients: ["ssd0"], requests: 50,
                   sizes: Uniform("4KiB", "64KiB"), lifetimes: Fixed("20us"), intervals: Exponential("1us"),
                   transfer: WriteThenRead, refused: Stage),
        HostDma(name: "r", device: "gpu0", direction: Read, sizes: ["4KiB"], transfers: 20, outstanding: 1),
    ],
    variants: [(name: "off", kernel: (acs: Off)), (name: "on", kernel: (acs: On))],
    expect: [
        "flow.off/peer.delivered == 256KiB",
        "flow.off/peer.map_type == BUS_ADDR",
        "flow.peer.bytes == 256KiB",
        "flow.off/m.*.throughput >= 1GB/s",
        "matrix.off/m.min <= matrix.off/m.max",
        "flow.h.4KiB.read.delivered == 80KiB",
        "flow.r.4KiB.latency.p50 > 100ns",
        "off/errors == 0",
        "pool.off/c.granted == 50",
        "pool.on/c.refused.NO_PROVIDER == pool.on/c.staged",
        "pool.off/c.gpu1.peak <= 4MiB",
        "flow.c.ssd0.gpu0.write.delivered == flow.c.ssd0.gpu0.read.delivered",
        "flow.off/c.host.gpu1.read.bytes == 0B",
        "flow.off/peer.throughput > 1TB/s",
    ],
)"#;

fn loaded() -> Loaded {
    let (loaded, found) = load_text(TEXT, "s.ron");
    assert_eq!(found, []);
    loaded.expect("a scenario without problems is loaded")
}

fn result() -> ScenarioResult {
    let loaded = loaded();
    // Made backwards: the order of making must not show.
    let mut outcomes: Vec<_> = cells(&loaded)
        .iter()
        .rev()
        .map(|cell| run_cell(cell).expect("the workloads can be set up"))
        .collect();
    outcomes.reverse();
    assemble(loaded, outcomes)
}

#[test]
fn runs_make_the_flows_that_were_planned() {
    let (loaded, result) = (loaded(), result());
    for (input, cell) in loaded.cells.iter().zip(&result.cells) {
        let planned: Vec<String> =
            flows(&input.machine, &input.input.workloads).into_iter().map(|flow| flow.name).collect();
        let made: Vec<String> = cell.outcome.flows.iter().map(|flow| flow.name.clone()).collect();
        assert_eq!(planned, made);
        let names = Names {
            variant: cell.variant.clone(),
            flows: made,
            matrices: cell.outcome.matrices.iter().map(|matrix| matrix.name.clone()).collect(),
            memories: cell.outcome.peer_memory.iter().map(|memory| memory.name.clone()).collect(),
            ..Names::default()
        };
        let condition = expect::parse("matrix.x.min > 0B/s").expect("a condition");
        assert_eq!(expect::check(&condition, &[names]), []);
    }
}

#[test]
fn expectations_are_evaluated_and_the_same_each_time() {
    let (result, again) = (result(), result());
    assert_eq!(result, again);
    assert_eq!(result.digest(), again.digest());
    assert_eq!((result.scenario.as_str(), result.machine.as_str()), ("s.ron", "m.ron"));
    assert_eq!(result.description, "Redirection on and off.");
    let failed: Vec<_> = result.expectations.iter().filter(|expectation| !expectation.holds).collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0].text, "flow.off/peer.throughput > 1TB/s");
    assert!(failed[0].detail.ends_with("GB/s > 1000GB/s"), "{}", failed[0].detail);
    assert!(!result.passed());
}
