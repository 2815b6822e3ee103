//! Conditions on hand-made outcomes: whether they hold, and what is said about it.

use peerbus_scenario::Cell;
use peerbus_scenario::expect::{Names, check, evaluate, parse};
use peerbus_system::outcome::{
    CounterOutcome, ErrorOutcome, FlowOutcome, MatrixOutcome, Outcome, PeerMemoryOutcome, PoolOutcome,
    RefusalOutcome,
};
use peerbus_system::space::{Space, SpaceKind, SpaceRefusal};
use peerbus_units::{Bytes, Picos};

/// `delivered` of `bytes` within 1 ms.
fn flow(name: &str, bytes: u64, delivered: u64) -> FlowOutcome {
    FlowOutcome {
        name: name.to_owned(),
        from: "gpu0".to_owned(),
        to: "gpu1".to_owned(),
        bytes: Bytes(bytes),
        delivered: Bytes(delivered),
        refused: Bytes(bytes - delivered),
        start: Picos::micros(1),
        end: Picos::micros(1001),
        latency_mean: Picos::nanos(1600),
        latency_p50: Picos::nanos(1500),
        latency_p99: Picos::micros(2),
        latency_of_transfers: false,
        latencies: Vec::new(),
        time: Vec::new(),
        limited_by: vec!["gpu1 port".to_owned(), "gpu0 tags".to_owned()],
        path: vec!["gpu0".to_owned(), "sw0".to_owned(), "gpu1".to_owned()],
        map_type: Some("BUS_ADDR".to_owned()),
        distance: Some(4),
        dma_addr: Some(0),
        dma_kind: Some("BUS".to_owned()),
        staged: false,
        refusal: None,
        assumed: Vec::new(),
    }
}

fn refused(name: &str) -> FlowOutcome {
    FlowOutcome {
        refusal: Some("ACS redirect".to_owned()),
        map_type: Some("NOT_SUPPORTED".to_owned()),
        limited_by: Vec::new(),
        dma_kind: None,
        ..flow(name, 100, 0)
    }
}

fn outcome(flows: Vec<FlowOutcome>, matrices: &[(&str, &[usize])], errors: &[(&str, u64)]) -> Outcome {
    let matrix = |(name, cells): &(&str, &[usize])| MatrixOutcome {
        name: (*name).to_owned(),
        title: String::new(),
        devices: Vec::new(),
        cells: vec![cells.iter().map(|cell| Some(*cell)).chain([None]).collect()],
    };
    let error = |(kind, count): &(&str, u64)| ErrorOutcome {
        kind: (*kind).to_owned(),
        place: String::new(),
        text: String::new(),
        count: *count,
        bytes: Bytes(64 * count),
        addr: None,
        flow: None,
        time: None,
    };
    Outcome {
        machine: "m".to_owned(),
        profile: "Linux_7_3".to_owned(),
        seed: 0,
        digest: 0,
        end: Picos::ZERO,
        events: 0,
        tlp_hops: 0,
        flows,
        matrices: matrices.iter().map(matrix).collect(),
        links: Vec::new(),
        interval: Picos::ZERO,
        counters: Vec::new(),
        peer_memory: Vec::new(),
        spaces: Vec::new(),
        errors: errors.iter().map(error).collect(),
        assumed: Vec::new(),
    }
}

/// One run. `x` moves 50 MB in 1 ms: 50 GB/s. `none` is refused, `lost` arrives nowhere.
fn single() -> Vec<Cell> {
    let host = FlowOutcome { map_type: None, distance: None, ..flow("h.4KiB", 4096, 4096) };
    let flows = vec![
        flow("x", 50_000_000, 50_000_000),
        refused("none"),
        flow("lost", 1 << 20, 0),
        flow("m.gpu0.gpu1", 20_000_000, 20_000_000),
        flow("m.gpu1.gpu0", 30_000_000, 30_000_000),
        host,
    ];
    let matrices: &[(&str, &[usize])] = &[("m", &[3, 4]), ("gap", &[3, 1]), ("void", &[1, 2])];
    let errors = &[("UNSUPPORTED_REQUEST", 3), ("P2P_REFUSED", 1), ("UNSUPPORTED_REQUEST", 2)];
    vec![Cell { variant: String::new(), outcome: outcome(flows, matrices, errors) }]
}

/// Two runs: `on` has two thirds of the throughput of `off`, and one error.
fn variants() -> Vec<Cell> {
    let cell = |variant: &str, bytes: u64, errors: &[(&str, u64)]| {
        let names = ["peer", "m.gpu0.gpu1", "m.gpu1.gpu0"];
        let flows =
            names.iter().zip(1..).map(|(name, times)| flow(name, bytes * times, bytes * times)).collect();
        Cell { variant: variant.to_owned(), outcome: outcome(flows, &[("m", &[1, 2])], errors) }
    };
    vec![cell("off", 30_000_000, &[]), cell("on", 20_000_000, &[("UNPLACED_BAR", 1)])]
}

fn names(cells: &[Cell]) -> Vec<Names> {
    let names = |cell: &Cell| Names {
        variant: cell.variant.clone(),
        flows: cell.outcome.flows.iter().map(|flow| flow.name.clone()).collect(),
        matrices: cell.outcome.matrices.iter().map(|matrix| matrix.name.clone()).collect(),
        memories: cell.outcome.peer_memory.iter().map(|memory| memory.name.clone()).collect(),
        pools: cell.outcome.peer_memory.iter().flat_map(pool_names).collect(),
    };
    cells.iter().map(names).collect()
}

fn pool_names(memory: &PeerMemoryOutcome) -> Vec<String> {
    memory.pools.iter().map(|pool| format!("{}.{}", memory.name, pool.provider)).collect()
}

/// 10 requests: 7 granted, 5 by the first pool; 2 of the others for want of a hole. 3 MB in 1 ms.
fn churn() -> Vec<Cell> {
    let pool = |provider: &str, granted, peak, least_hole, fragmentation_ppm| PoolOutcome {
        provider: provider.to_owned(),
        registered: Vec::new(),
        size: Bytes::mib(64),
        published: true,
        granted,
        granted_bytes: Bytes::mib(granted),
        refused: 3,
        peak: Bytes::mib(peak),
        least_hole: Bytes::mib(least_hole),
        available: Bytes::mib(64),
        largest_hole: Bytes::mib(64),
        fragmentation_ppm,
        interval: Picos::micros(4),
        samples: Vec::new(),
    };
    let refused = |cause: &str, count| RefusalOutcome {
        cause: cause.to_owned(),
        count,
        bytes: Bytes::mib(count),
        first: Picos::ZERO,
        client: "nic0".to_owned(),
        text: String::new(),
    };
    let memory = PeerMemoryOutcome {
        name: "churn".to_owned(),
        title: String::new(),
        requests: 10,
        bytes: Bytes::mib(10),
        granted: 7,
        granted_bytes: Bytes::mib(7),
        staged: 1,
        staged_bytes: Bytes::mib(1),
        refused: vec![refused("EXHAUSTED", 1), refused("FRAGMENTED", 2)],
        moved: Bytes(3_000_000),
        start: Picos::micros(1),
        end: Picos::micros(1001),
        wait_p50: Picos::ZERO,
        wait_p99: Picos::micros(3),
        pools: vec![pool("ssd0", 5, 60, 1, 250_000), pool("ssd1", 2, 8, 40, 31)],
    };
    let idle = PeerMemoryOutcome { name: "idle".to_owned(), moved: Bytes::ZERO, ..memory.clone() };
    let outcome = Outcome { peer_memory: vec![memory, idle], ..outcome(Vec::new(), &[], &[]) };
    vec![Cell { variant: String::new(), outcome }]
}

#[test]
fn pools() {
    check_rows(
        &churn(),
        &[
            ("pool.churn.requests == 10", true, "10 == 10"),
            ("pool.churn.granted == 7", true, "7 == 7"),
            ("pool.churn.staged <= pool.churn.refused", true, "1 <= 3"),
            ("pool.churn.refused.FRAGMENTED == 2", true, "2 == 2"),
            ("pool.churn.refused.EXHAUSTED == 1", true, "1 == 1"),
            ("pool.churn.refused.NO_PROVIDER == 0", true, "0 == 0"),
            ("pool.churn.throughput == 3GB/s", true, "3GB/s == 3GB/s"),
            ("pool.idle.throughput >= 0GB/s", false, "idle moved nothing"),
            ("pool.churn.wait.p50 == 0s", true, "0ps == 0ps"),
            ("pool.churn.wait.p99 < 5us", true, "3us < 5us"),
            ("pool.churn.size == 128MiB", true, "128MiB == 128MiB"),
            ("pool.churn.peak == 60MiB", true, "60MiB == 60MiB"),
            ("pool.churn.largest_hole == 1MiB", true, "1MiB == 1MiB"),
            ("pool.churn.fragmentation > 0.2", true, "0.25 > 0.2"),
            ("pool.churn.ssd1.fragmentation < 0.0001", true, "0 < 0"),
            ("pool.churn.ssd0.granted == 5", true, "5 == 5"),
            ("pool.churn.*.size == 64MiB", true, "2 values, each 64MiB == 64MiB"),
            ("pool.churn.ssd0.refused == 3", true, "3 == 3"),
            ("pool.churn.ssd1.largest_hole > pool.churn.ssd0.largest_hole", true, "40MiB > 1MiB"),
        ],
    );
    let staged = parse("pool.churn.ssd0.staged == 1").expect("a condition");
    let problems = check(&staged, &names(&churn()));
    assert_eq!(problems.len(), 1, "one pool stages nothing");
    assert_eq!(problems[0].help, "did you mean `churn`? it has churn and idle");
}

/// Two windows, of which the second refused two BARs, and a window of a bridge.
fn windows() -> Vec<Cell> {
    let space = |kind, name: &str, size, used, hole| Space::settled(kind, name.to_owned(), size, used, hole);
    let mut outcome = outcome(vec![], &[], &[]);
    let mut full = space(SpaceKind::HostBridgeWindow, "host1", 64 << 20, 60 << 20, 2 << 20);
    (full.granule, full.alignment) = (1 << 20, 8 << 20);
    for who in ["gpu0 BAR1", "gpu1 BAR1"] {
        let (who, decided) = (who.to_owned(), "fragments");
        full.refuse(SpaceRefusal { time: None, who, amount: 4 << 20, decided, chain: vec![] });
    }
    outcome.spaces = vec![
        space(SpaceKind::HostBridgeWindow, "host0", 64 << 20, 16 << 20, 48 << 20),
        full,
        space(SpaceKind::BridgeWindow, "port", 16 << 20, 16 << 20, 0),
    ];
    vec![Cell { variant: String::new(), outcome }]
}

#[test]
fn spaces() {
    check_rows(
        &windows(),
        &[
            ("space.host_bridge_window.size == 128MiB", true, "128MiB == 128MiB"),
            ("space.host_bridge_window.used == 76MiB", true, "76MiB == 76MiB"),
            ("space.*_window.used == 92MiB", true, "92MiB == 92MiB"),
            ("space.host_bridge_window.largest_hole == 2MiB", true, "2MiB == 2MiB"),
            ("space.host_bridge_window.alignment == 8MiB", true, "8MiB == 8MiB"),
            ("space.host_bridge_window.granule == 1MiB", true, "1MiB == 1MiB"),
            ("space.host_bridge_window.fragmentation == 0.5", true, "0.5 == 0.5"),
            ("space.host_bridge_window.refused == 2", true, "2 == 2"),
            ("space.host_bridge_window.decided == fragments", true, "fragments == fragments"),
            ("space.bridge_window.decided == limit", false, "nothing of the kind bridge_window was refused"),
            ("space.tags.used == 0B", false, "there was no space of the kind tags"),
        ],
    );
}

/// Each row: a condition, whether it holds, and the detail.
fn check_rows(cells: &[Cell], rows: &[(&str, bool, &str)]) {
    let mut wrong = Vec::new();
    for (text, holds, detail) in rows {
        let condition = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        assert_eq!(check(&condition, &names(cells)), [], "{text}");
        let found = evaluate(&condition, cells);
        assert_eq!(found.text, *text);
        if (found.holds, found.detail.as_str()) != (*holds, *detail) {
            wrong.push(format!("(\"{text}\", {}, \"{}\"),", found.holds, found.detail));
        }
    }
    assert!(wrong.is_empty(), "found instead:\n{}", wrong.join("\n"));
}

#[test]
fn one_run() {
    check_rows(
        &single(),
        &[
            ("flow.x.throughput >= 24GB/s", true, "50GB/s >= 24GB/s"),
            ("flow.x.throughput > 50GB/s", false, "50GB/s > 50GB/s"),
            ("flow.x.throughput >= 50GB/s", true, "50GB/s >= 50GB/s"),
            ("flow.x.throughput < 400Gbit/s", false, "50GB/s < 50GB/s"),
            ("flow.x.throughput <= 400 Gbit/s", true, "50GB/s <= 50GB/s"),
            ("24GB/s<=flow.x.throughput", true, "24GB/s <= 50GB/s"),
            ("flow.x.throughput == 50_000MB/s", true, "50GB/s == 50GB/s"),
            ("flow.x.throughput != 50GB/s", false, "50GB/s != 50GB/s"),
            ("flow.x.latency.p50 <= 1.5us", true, "1500ns <= 1500ns"),
            ("flow.x.latency.p50 < 1.4999999us", false, "1500ns < 1499999ps"),
            ("flow.x.latency.p99 ~ 2.1us within 5%", true, "2us ~ 2100ns within 5%"),
            ("flow.x.latency.p99 ~ 2.1us within 4.7%", false, "2us ~ 2100ns within 4.7%"),
            ("flow.x.latency.p99 ~ 1.9us within 5%", false, "2us ~ 1900ns within 5%"),
            ("flow.x.bytes == 50MB", true, "50000000B == 50000000B"),
            ("flow.x.delivered == flow.x.bytes", true, "50000000B == 50000000B"),
            ("flow.x.refused == 0B", true, "0B == 0B"),
            ("flow.none.refused == 100B", true, "100B == 100B"),
            ("flow.x.duration < 3ms", true, "1ms < 3ms"),
            ("flow.x.start == 1us", true, "1us == 1us"),
            ("flow.x.end == 1001us", true, "1001us == 1001us"),
            ("flow.x.map_type == BUS_ADDR", true, "BUS_ADDR == BUS_ADDR"),
            ("flow.x.map_type != 'BUS_ADDR'", false, "BUS_ADDR != BUS_ADDR"),
            ("flow.x.map_type contains BUS", true, "BUS_ADDR contains BUS"),
            ("flow.x.distance == 4", true, "4 == 4"),
            ("flow.x.dma_addr >= 0", true, "0 >= 0"),
            ("flow.x.distance < 3", false, "4 < 3"),
            ("flow.x.dma_kind == CPU", false, "BUS == CPU"),
            ("flow.x.staged == false", true, "false == false"),
            ("flow.x.limited_by contains \"gpu1\"", true, "gpu1 port, gpu0 tags contains gpu1"),
            ("flow.x.limited_by contains 'gpu1 tags'", false, "gpu1 port, gpu0 tags contains gpu1 tags"),
            ("flow.x.path contains sw0", true, "gpu0, sw0, gpu1 contains sw0"),
            ("flow.none.refusal contains ACS", true, "ACS redirect contains ACS"),
            ("0.5 * flow.x.throughput == 25GB/s", true, "25GB/s (0.5 * 50GB/s) == 25GB/s"),
            ("flow.x.throughput * 2 == 100GB/s", true, "100GB/s (2 * 50GB/s) == 100GB/s"),
            ("2*flow.m.gpu0.gpu1.throughput < flow.x.throughput", true, "40GB/s (2 * 20GB/s) < 50GB/s"),
            ("2 * 10 * flow.x.distance == 80", true, "80 (20 * 4) == 80"),
            ("flow.m.*.throughput >= 20GB/s", true, "2 values, 20GB/s to 30GB/s >= 20GB/s"),
            ("flow.m.*.latency.p99 < 3us", true, "2 values, each 2us < 3us"),
            ("flow.m.*.throughput > 20GB/s", false, "1 of 2 fail, first m.gpu0.gpu1: 20GB/s > 20GB/s"),
            ("flow.m.*.*.throughput < flow.x.throughput", true, "all 2, first m.gpu0.gpu1: 20GB/s < 50GB/s"),
            ("flow.m.*.gpu1.throughput == 20GB/s", true, "20GB/s == 20GB/s"),
            (
                "flow.m.*.bytes == flow.m.*.delivered",
                true,
                "all 2, first m.gpu0.gpu1: 20000000B == 20000000B",
            ),
            ("flow.m.*.map_type == BUS_ADDR", true, "all 2, first m.gpu0.gpu1: BUS_ADDR == BUS_ADDR"),
            ("flow.h.4KiB.bytes == 4KiB", true, "4KiB == 4KiB"),
            ("matrix.m.min >= 20GB/s", true, "20GB/s >= 20GB/s"),
            ("matrix.m.max <= 29GB/s", false, "30GB/s <= 29GB/s"),
            ("matrix.m.mean ~ 25GB/s within 0%", true, "25GB/s ~ 25GB/s within 0%"),
            ("matrix.gap.max == 20GB/s", true, "20GB/s == 20GB/s"),
            ("errors == 0", false, "6 == 0"),
            ("errors < 7", true, "6 < 7"),
            ("error.UNSUPPORTED_REQUEST.count == 5", true, "5 == 5"),
            ("error.UNSUPPORTED_REQUEST.bytes == 320B", true, "320B == 320B"),
            ("error.UNPLACED_BAR.count == 0", true, "0 == 0"),
            ("error.*.count == 6", true, "6 == 6"),
        ],
    );
}

#[test]
fn counters_of_hardware() {
    let mut cells = variants();
    let counter = |place: &str, counter, count| CounterOutcome { place: place.to_owned(), counter, count };
    cells[1].outcome.counters = vec![
        counter("host0/rp0/gpu0", "nonfatal.poisoned_tlp", 3),
        counter("host0/rp1/gpu1", "nonfatal.poisoned_tlp", 4),
        counter("host0", "iommu.hits", 90),
        counter("host0", "iommu.misses", 10),
    ];
    check_rows(
        &cells,
        &[
            ("counter.on/gpu0.nonfatal.poisoned_tlp == 3", true, "3 == 3"),
            ("counter.on/gpu*.nonfatal.poisoned_tlp == 7", true, "7 == 7"),
            ("counter.on/gpu0.fatal.malformed_tlp == 0", true, "0 == 0"),
            ("counter.off/gpu0.nonfatal.poisoned_tlp == 0", true, "0 == 0"),
            ("counter.on/host0.iommu.hits > counter.on/host0.iommu.misses", true, "90 > 10"),
            (
                "counter.off/host0.iommu.hits == 0",
                false,
                "nothing that `host0` stands for counted iommu.hits",
            ),
        ],
    );
    let problem = parse("counter.host0.iommu.hit == 0").expect_err("there is no such counter");
    assert!(problem.help.starts_with("did you mean"), "{}", problem.help);
}

#[test]
fn what_was_not_measured_does_not_hold_either_way() {
    let nothing = "none delivered nothing: ACS redirect";
    check_rows(
        &single(),
        &[
            ("flow.none.throughput >= 0GB/s", false, nothing),
            ("flow.none.throughput < 24GB/s", false, nothing),
            ("flow.lost.throughput < 24GB/s", false, "lost delivered nothing"),
            ("flow.none.latency.p50 < 1s", false, nothing),
            ("flow.none.latency.p99 >= 0s", false, nothing),
            ("flow.none.duration < 1s", false, nothing),
            ("flow.none.end < 1s", false, nothing),
            ("flow.none.limited_by contains x", false, nothing),
            ("flow.none.dma_kind != BUS", false, "none has no DMA address"),
            ("flow.x.refusal != 'x'", false, "x was not refused"),
            ("flow.h.4KiB.map_type != BUS_ADDR", false, "h.4KiB has no map type: it goes to host memory"),
            ("flow.h.4KiB.distance != 4", false, "h.4KiB has no distance: it goes to host memory"),
            ("flow.x.throughput > 0.9 * flow.none.throughput", false, nothing),
            ("matrix.gap.min >= 0GB/s", false, "none delivered nothing"),
            ("matrix.gap.mean >= 0GB/s", false, "none delivered nothing"),
            ("matrix.void.max >= 0GB/s", false, "no flow of void delivered anything"),
            ("flow.*.throughput >= 0GB/s", false, "2 of 6 fail, first none delivered nothing: ACS redirect"),
        ],
    );
}

#[test]
fn several_runs() {
    check_rows(
        &variants(),
        &[
            (
                "flow.on/peer.throughput < 0.9 * flow.off/peer.throughput",
                true,
                "20GB/s < 27GB/s (0.9 * 30GB/s)",
            ),
            (
                "flow.on/peer.throughput ~ flow.off/peer.throughput within 33%",
                false,
                "20GB/s ~ 30GB/s within 33%",
            ),
            (
                "flow.on/peer.throughput ~ flow.off/peer.throughput within 33.4%",
                true,
                "20GB/s ~ 30GB/s within 33.4%",
            ),
            // No variant: in each.
            ("flow.peer.throughput >= 20GB/s", true, "2 values, 20GB/s to 30GB/s >= 20GB/s"),
            ("flow.peer.throughput > 20GB/s", false, "1 of 2 fail, first on/peer: 20GB/s > 20GB/s"),
            // No variant on both sides: each compared with itself.
            (
                "flow.peer.throughput < flow.m.gpu0.gpu1.throughput",
                true,
                "all 2, first off/peer: 30GB/s < 60GB/s",
            ),
            (
                "matrix.m.min == 2 * flow.peer.throughput",
                true,
                "all 2, first off/m: 60GB/s == 60GB/s (2 * 30GB/s)",
            ),
            // One side without a variant: all of them against the other.
            (
                "flow.peer.throughput <= flow.off/peer.throughput",
                true,
                "all 2, first off/peer: 30GB/s <= 30GB/s",
            ),
            ("flow.o*/peer.throughput <= 30GB/s", true, "2 values, 20GB/s to 30GB/s <= 30GB/s"),
            // `*` on both sides: those that stand for the same.
            (
                "3 * flow.on/m.*.throughput == 2 * flow.off/m.*.throughput",
                true,
                "all 2, first on/m.gpu0.gpu1: 120GB/s (3 * 40GB/s) == 120GB/s (2 * 60GB/s)",
            ),
            (
                "flow.*/peer.bytes == flow.*/peer.delivered",
                true,
                "all 2, first off/peer: 30000000B == 30000000B",
            ),
            ("flow.on/*.bytes == flow.on/*.delivered", true, "all 3, first on/peer: 20000000B == 20000000B"),
            ("errors == 0", false, "1 of 2 fail, first on: 1 == 0"),
            ("off/errors == 0", true, "0 == 0"),
            ("error.on/UNPLACED_BAR.count == 1", true, "1 == 1"),
            ("error.UNPLACED_BAR.count <= 1", true, "2 values, 0 to 1 <= 1"),
        ],
    );
}
