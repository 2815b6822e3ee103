//! Results made by hand: small, large, empty and absurd.

use peerbus_scenario::{Cell, Expectation, ScenarioResult};
use peerbus_system::outcome::{
    CounterOutcome, ErrorOutcome, FlowOutcome, LatencyBucket, LinkOutcome, MatrixOutcome, Outcome,
    PeerMemoryOutcome, PoolOutcome, PoolSample, RefusalOutcome,
};
use peerbus_system::space::{Space, SpaceKind};
use peerbus_units::{Bytes, Picos};

/// A flow that delivered everything at `mbytes` MB/s.
pub fn flow(name: &str, from: &str, to: &str, bytes: u64, mbytes: u64) -> FlowOutcome {
    FlowOutcome {
        name: name.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        bytes: Bytes(bytes),
        delivered: Bytes(bytes),
        refused: Bytes::ZERO,
        start: Picos::nanos(100),
        end: Picos(100_000 + bytes * 1_000_000 / mbytes),
        latency_mean: Picos(850_000),
        latency_p50: Picos(812_500),
        latency_p99: Picos(1_204_250),
        latency_of_transfers: false,
        latencies: vec![
            LatencyBucket { from: Picos(786_432), to: Picos(917_504), count: 4_000 },
            LatencyBucket { from: Picos(1_179_648), to: Picos(1_310_720), count: 96 },
        ],
        time: vec![
            ("credits", Picos(600_000)),
            ("serialisation", Picos(399_500)),
            ("root complex", Picos(500)),
        ],
        limited_by: vec![format!("{from} uplink gen4 x16")],
        path: vec![from.to_owned(), "host0/rp0/sw0".to_owned(), to.to_owned()],
        map_type: Some("BUS_ADDR".to_owned()),
        distance: Some(4),
        dma_addr: Some(0x380_0000_0000),
        dma_kind: Some("BUS".to_owned()),
        staged: false,
        refusal: None,
        assumed: Vec::new(),
    }
}

pub fn link(name: &str, busy: u64, intervals: &[u64]) -> LinkOutcome {
    LinkOutcome {
        errors: None,
        name: name.to_owned(),
        from: "gpu0".to_owned(),
        to: "host0/rp0/sw0".to_owned(),
        pcie: Some((4, 16)),
        busy_time: Picos(busy),
        tlps: 4096,
        wire_bytes: Bytes(1_146_880),
        payload_bytes: Bytes(1 << 20),
        dllp_bytes: Bytes(8_192),
        starved: Picos::nanos(1_500),
        digest: 0xfeed_beef,
        busy: intervals.iter().copied().map(Picos).collect(),
        queued: intervals.iter().map(|_| 17).collect(),
    }
}

pub fn outcome() -> Outcome {
    Outcome {
        machine: "two-gpu".to_owned(),
        profile: "Linux_7_3".to_owned(),
        seed: 7,
        digest: 0x0123_4567_89ab_cdef,
        end: Picos::micros(50),
        events: 8_192,
        tlp_hops: 12_288,
        flows: Vec::new(),
        matrices: Vec::new(),
        links: Vec::new(),
        interval: Picos::micros(10),
        counters: Vec::new(),
        peer_memory: Vec::new(),
        spaces: Vec::new(),
        errors: Vec::new(),
        assumed: Vec::new(),
    }
}

pub fn result(cells: Vec<(&str, Outcome)>) -> ScenarioResult {
    ScenarioResult {
        scenario: "scenarios/pair.ron".to_owned(),
        description: "Two GPUs below one switch: what one write stream reaches.".to_owned(),
        machine: "topologies/two-gpu.ron".to_owned(),
        seed: 7,
        cells: cells.into_iter().map(|(name, outcome)| Cell { variant: name.to_owned(), outcome }).collect(),
        expectations: Vec::new(),
        measured: Vec::new(),
    }
}

/// Two flows, two links, a window, an error, an assumption, one expectation that holds and one that does not.
pub fn small() -> ScenarioResult {
    let mut refused = flow("back", "gpu1", "gpu0", 1 << 20, 26_000);
    refused.delivered = Bytes::ZERO;
    refused.refused = Bytes(1 << 20);
    refused.limited_by.clear();
    refused.time.clear();
    refused.map_type = Some("NOT_SUPPORTED".to_owned());
    refused.refusal = Some("ACS_REDIRECT at 0000:02:00.0".to_owned());
    refused.dma_addr = None;
    refused.dma_kind = None;
    let mut outcome = outcome();
    outcome.flows = vec![flow("peer", "gpu0", "gpu1", 1 << 20, 26_000), refused];
    outcome.links = vec![
        link("gpu0 to host0/rp0/sw0", 40_330_000, &[8_000_000, 9_000_000, 10_000_000, 9_000_000, 4_330_000]),
        link("host0/rp0/sw0 to gpu0", 330_000, &[66_000; 5]),
    ];
    let name = "host0 Mem64Prefetch [0x38000000000-0x3ffffffffff]".to_owned();
    outcome.spaces = vec![Space::settled(SpaceKind::HostBridgeWindow, name, 1 << 39, 1 << 37, 3 << 37)];
    outcome.errors = vec![ErrorOutcome {
        kind: "UNSUPPORTED_REQUEST".to_owned(),
        place: "host0/rp0".to_owned(),
        text: "no window holds the address; nearest is host0 Mem64Prefetch".to_owned(),
        count: 1_024,
        bytes: Bytes(1 << 18),
        addr: Some(0x3ff_ffff_f000),
        flow: Some("back".to_owned()),
        time: Some(Picos::nanos(1_250)),
    }];
    let counter = |place: &str, counter, count| CounterOutcome { place: place.to_owned(), counter, count };
    outcome.counters = vec![
        counter("host0/rp0", "nonfatal.unsupported_request", 1_024),
        counter("host0", "iommu.hits", 4_000),
        counter("host0", "iommu.misses", 96),
        counter("host0", "iommu.invalidations", 0),
    ];
    outcome.assumed = vec!["gpu0: bars, timing".to_owned()];
    let mut result = result(vec![("", outcome)]);
    result.expectations = vec![
        Expectation {
            text: "flow.peer.throughput >= 24GB/s".to_owned(),
            holds: true,
            detail: "26GB/s >= 24GB/s".to_owned(),
        },
        Expectation { text: "errors == 0".to_owned(), holds: false, detail: "1024 == 0".to_owned() },
    ];
    result
}

/// A pair matrix of `count` GPUs: those on one switch of four reach 26 GB/s, others share an uplink.
pub fn matrix(count: usize) -> ScenarioResult {
    let mut outcome = outcome();
    let names: Vec<String> =
        (0..count).map(|at| format!("host0/rp{}/sw{}/gpu{at}", at / 4, at / 4)).collect();
    let mut cells = vec![vec![None; count]; count];
    for row in 0..count {
        for column in (0..count).filter(|column| *column != row) {
            let near = row / 4 == column / 4;
            let speed = if near { 26_210 } else { 11_730 + 13 * u64::try_from(row).unwrap() };
            let name = format!("pairs/gpu{row}-gpu{column}");
            let mut one = flow(&name, &names[row], &names[column], 1 << 26, speed);
            one.path.push(format!("host0/rp{}", column / 4));
            if !near {
                one.limited_by = vec![format!("host0/rp{}/sw{} uplink gen4 x16", row / 4, row / 4)];
            }
            cells[row][column] = Some(outcome.flows.len());
            outcome.flows.push(one);
        }
    }
    outcome.matrices = vec![MatrixOutcome {
        name: "pairs".to_owned(),
        title: "write by the row's GPU into the column's, one pair at a time".to_owned(),
        devices: names.clone(),
        cells,
    }];
    outcome.interval = Picos::micros(2);
    for (at, name) in names.iter().enumerate() {
        let at = u64::try_from(at).unwrap();
        let series: Vec<u64> = (0..25).map(|step| 1_900_000 / (1 + (step + 3 * at) % 5)).collect();
        outcome.links.push(link(&format!("{name} up"), series.iter().sum(), &series));
        outcome.links.push(link(&format!("{name} down"), 400_000, &[16_000; 25]));
    }
    outcome.spaces = small().cells[0].outcome.spaces.clone();
    result(vec![("", outcome)])
}

/// The small result under two names.
pub fn variants() -> ScenarioResult {
    let mut result = small();
    let first = result.cells[0].outcome.clone();
    let mut second = first.clone();
    second.profile = "Linux_6_12".to_owned();
    second.flows[0].end = Picos(90_000_000);
    result.cells = vec![
        Cell { variant: "redirect-off".to_owned(), outcome: first },
        Cell { variant: "redirect-on".to_owned(), outcome: second },
    ];
    result
}

/// No variants, no flows, no links: a run in which nothing happened, and one without a run at all.
pub fn empty() -> Vec<ScenarioResult> {
    let mut still = outcome();
    (still.end, still.interval) = (Picos::ZERO, Picos::ZERO);
    let mut idle = still.clone();
    idle.links = vec![link("idle", 0, &[])];
    idle.flows = vec![flow("none", "a", "b", 0, 1)];
    idle.flows[0].end = Picos::ZERO;
    idle.flows[0].limited_by.clear();
    idle.matrices = vec![
        MatrixOutcome {
            name: "void".to_owned(),
            title: String::new(),
            devices: Vec::new(),
            cells: Vec::new(),
        },
        MatrixOutcome {
            name: "off".to_owned(),
            title: String::new(),
            devices: vec!["a".to_owned(), "b".to_owned()],
            cells: vec![vec![None, Some(0)], vec![Some(99)]],
        },
    ];
    vec![result(Vec::new()), result(vec![("", still)]), result(vec![("", idle)])]
}

/// Two pools, one of them full of holes; one flow is never used.
pub fn churn() -> ScenarioResult {
    let pool = |provider: &str, samples: &[(u64, u64, u64)]| PoolOutcome {
        provider: provider.to_owned(),
        registered: vec!["BAR4 [0x100000000-0x103ffffff] (64MiB)".to_owned()],
        size: Bytes::mib(64),
        published: true,
        granted: 4_000,
        granted_bytes: Bytes::mib(300),
        refused: 1_000,
        peak: Bytes::mib(60),
        least_hole: Bytes::mib(1),
        available: Bytes::mib(64),
        largest_hole: Bytes::mib(64),
        fragmentation_ppm: 123_456,
        interval: Picos::micros(10),
        samples: samples
            .iter()
            .map(|(available, hole, allocations)| PoolSample {
                available: Bytes::mib(*available),
                largest_hole: Bytes::mib(*hole),
                allocations: *allocations,
            })
            .collect(),
    };
    let memory = PeerMemoryOutcome {
        name: "churn".to_owned(),
        title: "2 clients (drivers) write; nearest provider, first fit, host memory when refused".to_owned(),
        requests: 10_000,
        bytes: Bytes::mib(700),
        granted: 8_000,
        granted_bytes: Bytes::mib(600),
        staged: 1_990,
        staged_bytes: Bytes::mib(99),
        refused: vec![RefusalOutcome {
            cause: "FRAGMENTED".to_owned(),
            count: 2_000,
            bytes: Bytes::mib(100),
            first: Picos::nanos(12_500),
            client: "nic0".to_owned(),
            text: "1MiB of ssd0, which has 4MiB of 64MiB free, the largest hole 512KiB".to_owned(),
        }],
        moved: Bytes(1_000_000),
        start: Picos::ZERO,
        end: Picos::micros(40),
        wait_p50: Picos::ZERO,
        wait_p99: Picos::micros(3),
        pools: vec![pool("ssd0", &[(64, 64, 0), (10, 1, 320), (4, 1, 330)]), pool("ssd1", &[])],
    };
    let flows = vec![
        flow("churn.nic0.ssd0", "nic0", "ssd0", 1 << 20, 26_000),
        FlowOutcome {
            bytes: Bytes::ZERO,
            delivered: Bytes::ZERO,
            ..flow("churn.nic0.ssd1", "nic0", "ssd1", 1, 1)
        },
    ];
    result(vec![("first-fit", Outcome { peer_memory: vec![memory], flows, ..outcome() })])
}

/// Every number as large as its type, names that need escaping.
pub fn huge() -> ScenarioResult {
    let mut result = small();
    let outcome = &mut result.cells[0].outcome;
    (outcome.end, outcome.events, outcome.tlp_hops) = (Picos(u64::MAX), u64::MAX, u64::MAX);
    outcome.interval = Picos(u64::MAX);
    let flow = &mut outcome.flows[0];
    flow.name = "<b>&\"'_".to_owned();
    (flow.bytes, flow.delivered, flow.start, flow.end) =
        (Bytes(u64::MAX), Bytes(u64::MAX), Picos::ZERO, Picos(1));
    (flow.latency_p50, flow.latency_p99) = (Picos(u64::MAX), Picos(u64::MAX));
    flow.latencies = vec![LatencyBucket { from: Picos(1 << 63), to: Picos(u64::MAX), count: u64::MAX }; 2];
    flow.time = vec![("credits", Picos(u64::MAX)), ("link errors", Picos(u64::MAX))];
    (flow.dma_addr, flow.distance) = (Some(u64::MAX), Some(u32::MAX));
    let link = &mut outcome.links[0];
    (link.busy_time, link.starved, link.wire_bytes) = (Picos(u64::MAX), Picos(u64::MAX), Bytes(u64::MAX));
    (link.payload_bytes, link.dllp_bytes, link.tlps) = (Bytes(u64::MAX), Bytes(u64::MAX), u64::MAX);
    link.busy = vec![Picos(u64::MAX); 3];
    outcome.peer_memory = churn().cells[0].outcome.peer_memory.clone();
    let memory = &mut outcome.peer_memory[0];
    memory.name = "<b>&".to_owned();
    (memory.requests, memory.granted, memory.staged) = (u64::MAX, u64::MAX, u64::MAX);
    (memory.bytes, memory.moved, memory.end) = (Bytes(u64::MAX), Bytes(u64::MAX), Picos(1));
    memory.refused[0].count = u64::MAX;
    (memory.pools[0].size, memory.pools[0].interval) = (Bytes(u64::MAX), Picos(u64::MAX));
    memory.pools[0].samples[1].available = Bytes(u64::MAX);
    let mut twin = outcome.clone();
    twin.events = u64::MAX;
    result.cells.push(Cell { variant: "twin".to_owned(), outcome: twin });
    result.seed = u64::MAX;
    result
}
