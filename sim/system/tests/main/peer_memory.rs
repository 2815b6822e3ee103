//! Clients of peer memory: who gets some, why others do not, and that nothing is lost.

use peerbus_engine::Stream;
use peerbus_fabric::LinkLayer;
use peerbus_machine::Machine;
use peerbus_machine::part::ResourceKind;
use peerbus_system::expand::flows;
use peerbus_system::kernel::{KernelSettings, ProfileName};
use peerbus_system::outcome::{Outcome, PeerMemoryOutcome};
use peerbus_system::peer_memory::*;
use peerbus_system::run::{RunInput, run};
use peerbus_system::workload::{WhenRefused, Workload};
use peerbus_units::{Bytes, Picos};

use crate::build::*;

/// Two drives with 64 MiB of memory and two adapters below one switch; another adapter below another host bridge, from
/// which nothing can be reached: the CPU is on no list.
fn machine() -> Machine {
    let mut build = Build::new(UNLISTED);
    let (first, second) = (build.host(HostSpec::default()), build.host(HostSpec::default()));
    let port = build.root_port(first);
    let below = build.switch(port, 4);
    let registers = bar(0, Bytes::kib(16), ResourceKind::Mem32);
    for (name, port) in ["ssd0", "ssd1"].into_iter().zip(&below) {
        build.device(name, first, Some(*port), &[registers, bar(4, Bytes::mib(64), MEM64)]);
    }
    for (name, port) in ["nic0", "nic1"].into_iter().zip(&below[2..]) {
        build.device(name, first, Some(*port), &[bar(0, Bytes::mib(32), MEM64)]);
    }
    let port = build.root_port(second);
    build.device("far0", second, Some(port), &[registers]);
    build.machine
}

pub fn provider(device: &str) -> Provider {
    Provider { device: device.into(), bar: None, offset: Bytes::ZERO, size: None }
}

pub fn part(device: &str, offset: u64, size: u64) -> Provider {
    Provider { offset: Bytes(offset), size: Some(Bytes(size)), ..provider(device) }
}

pub fn churn() -> PeerMemory {
    PeerMemory {
        name: "churn".into(),
        providers: vec![provider("ssd*")],
        publish: true,
        clients: vec!["nic*".into()],
        choose: Choose::Nearest,
        policy: Policy::FirstFit,
        user: User::Kernel,
        sizes: Distribution::Zipf {
            values: vec![Bytes::kib(4), Bytes::kib(64), Bytes::kib(256)],
            exponent: 1,
        },
        lifetimes: Distribution::Exponential(Picos::micros(20)),
        intervals: Distribution::Uniform(Picos::ZERO, Picos::micros(2)),
        outstanding: 32,
        requests: 200,
        transfer: Transfer::Write,
        refused: WhenRefused::Fail,
        target: None,
    }
}

pub fn outcome_of(machine: &Machine, profile: ProfileName, seed: u64, memories: &[PeerMemory]) -> Outcome {
    let workloads = memories.iter().map(|memory| Workload::PeerMemory(Box::new(memory.clone()))).collect();
    let kernel = KernelSettings { profile, ..KernelSettings::default() };
    let input = RunInput {
        kernel,
        link_layer: LinkLayer::ByRule,
        workloads,
        device_memory: None,
        seed,
        events: vec![],
        scaling: vec![],
        apertures: vec![],
        ntbs: vec![],
    };
    let outcome = run(machine, &input).unwrap();
    let made: Vec<&str> = outcome.flows.iter().map(|flow| flow.name.as_str()).collect();
    let planned: Vec<String> = flows(machine, &input.workloads).into_iter().map(|flow| flow.name).collect();
    assert_eq!(made, planned, "expectations are checked against names before a run");
    for memory in &outcome.peer_memory {
        balanced(memory, &outcome);
    }
    outcome
}

fn outcome(memory: &PeerMemory) -> Outcome {
    outcome_of(&machine(), ProfileName::Linux_7_3, 1, std::slice::from_ref(memory))
}

/// Every request is answered once, and every byte is accounted for. A target that was not asked for peer memory refuses none.
fn balanced(memory: &PeerMemoryOutcome, outcome: &Outcome) {
    let refused: Bytes = memory.refused.iter().map(|refused| refused.bytes).sum();
    if memory.refused.is_empty() {
        assert_eq!(memory.granted + memory.staged, memory.requests);
        assert_eq!(memory.granted_bytes + memory.staged_bytes, memory.bytes);
    } else {
        assert_eq!(memory.granted + memory.refusals(), memory.requests);
        assert_eq!(memory.granted_bytes + refused, memory.bytes);
        assert!(memory.staged <= memory.refusals());
    }
    for pool in &memory.pools {
        assert_eq!(pool.available, pool.size, "everything is given back");
        assert!(pool.peak <= pool.size && pool.least_hole <= pool.size);
        for sample in &pool.samples {
            assert!(sample.largest_hole <= sample.available && sample.available <= pool.size);
        }
    }
    let errors = outcome.errors.iter().filter(|error| error.kind == "PEER_MEMORY_REFUSED");
    let own = errors.filter(|error| error.place.starts_with(&format!("{}.", memory.name)));
    assert_eq!(own.map(|error| error.count).sum::<u64>(), memory.refusals());
}

pub fn delivered(outcome: &Outcome, ends_with: &str) -> u64 {
    let flows = outcome.flows.iter().filter(|flow| flow.name.ends_with(ends_with));
    flows.map(|flow| flow.delivered.0).sum()
}

pub fn causes(memory: &PeerMemoryOutcome) -> Vec<&str> {
    memory.refused.iter().map(|refused| refused.cause.as_str()).collect()
}

#[test]
fn what_was_granted_was_moved() {
    let found = outcome(&churn());
    let memory = &found.peer_memory[0];
    assert_eq!((memory.requests, memory.granted, memory.refusals()), (400, 400, 0));
    assert_eq!(delivered(&found, ""), memory.granted_bytes.0);
    assert_eq!(memory.moved, memory.granted_bytes);
    assert!(memory.bytes_per_second().unwrap() > 1_000_000_000);
    let flow = &found.flows[0];
    assert_eq!(
        (flow.name.as_str(), flow.from.as_str(), flow.to.as_str()),
        ("churn.nic0.ssd0", "nic0", "ssd0")
    );
    assert_eq!((flow.map_type.as_deref(), flow.dma_kind.as_deref()), (Some("BUS_ADDR"), Some("BUS")));
    assert_eq!(found.errors, []);
    // Random among equals: both drives are used by both adapters.
    assert!(found.flows.iter().all(|flow| flow.delivered.0 > 0));
    let space = found.spaces.iter().find(|space| space.name.starts_with("ssd0")).unwrap();
    assert_eq!((space.size, space.peak), (64 << 20, memory.pools[0].peak.0));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let of = |seed| outcome_of(&machine(), ProfileName::Linux_7_3, seed, &[churn()]);
    assert_eq!(of(5), of(5));
    assert_ne!(of(5).digest, of(6).digest);
}

/// What each client asks for does not depend on what it gets.
#[test]
fn requests_do_not_depend_on_answers() {
    let small = PeerMemory { providers: vec![part("ssd0", 0, 2 << 20)], ..churn() };
    let asked = |memory| outcome(&memory).peer_memory[0].bytes;
    assert_eq!(asked(churn()), asked(small));
}

#[test]
fn every_cause_of_a_refusal_is_named_with_its_numbers() {
    let fixed = |size| Distribution::Fixed(size);
    let two_pieces = vec![part("ssd0", 0, 2 << 20), part("ssd0", 2 << 20, 2 << 20)];
    let mmap = PeerMemory { user: User::Mmap, providers: vec![provider("ssd0")], ..churn() };
    let far = PeerMemory { clients: vec!["far0".into()], ..churn() };
    let many = PeerMemory {
        providers: vec![part("ssd0", 0, 2 << 20)],
        sizes: fixed(Bytes::kib(512)),
        lifetimes: Distribution::Fixed(Picos::micros(900)),
        ..churn()
    };
    let mixed = PeerMemory {
        providers: vec![part("ssd0", 0, 8 << 20)],
        sizes: Distribution::Choice(vec![(Bytes::kib(4), 3), (Bytes::kib(768), 1)]),
        lifetimes: Distribution::Exponential(Picos::micros(30)),
        requests: 500,
        ..churn()
    };
    for (memory, profile, cause, text) in [
        (
            PeerMemory { publish: false, ..churn() },
            ProfileName::Linux_7_3,
            "NO_PROVIDER",
            "no provider is found for nic0; ssd0 has not published its memory; ssd1 has not published its memory",
        ),
        (
            far.clone(),
            ProfileName::Linux_6_12,
            "NO_PROVIDER",
            "no provider is found for far0; ssd0: peer-to-peer is not",
        ),
        (
            PeerMemory { choose: Choose::InOrder, ..far },
            ProfileName::Linux_6_12,
            "NOT_SUPPORTED",
            "far0 cannot reach ssd0: peer-to-peer is not supported: NO_COMMON_UPSTREAM",
        ),
        (mmap, ProfileName::Linux_6_1, "NOT_SUPPORTED", "this kernel gives processes no memory of ssd0"),
        (
            PeerMemory { providers: two_pieces, sizes: fixed(Bytes::mib(4)), ..churn() },
            ProfileName::Linux_7_3,
            "LARGER_THAN_CHUNK",
            "4MiB of ssd0, whose largest chunk has 2MiB",
        ),
        (many, ProfileName::Linux_7_3, "EXHAUSTED", "512KiB of ssd0, which has 0B of 2MiB free"),
        (mixed, ProfileName::Linux_7_3, "FRAGMENTED", " free, the largest hole "),
    ] {
        let found = outcome_of(&machine(), profile, 1, &[memory]);
        let memory = &found.peer_memory[0];
        let refused = memory.refused.iter().find(|refused| refused.cause == cause);
        let refused = refused.unwrap_or_else(|| panic!("{cause} is not among {:?}", causes(memory)));
        assert!(refused.text.contains(text), "{cause}: {}", refused.text);
        let error = found.errors.iter().find(|error| error.text.starts_with(cause)).unwrap();
        assert_eq!(
            (error.count, error.bytes, error.time),
            (refused.count, refused.bytes, Some(refused.first))
        );
    }
}

#[test]
fn refused_registrations_are_results() {
    for (providers, profile, texts) in [
        (
            vec![part("ssd0", 1 << 20, 2 << 20)],
            ProfileName::Linux_7_3,
            vec!["2MiB from 1MiB of BAR 4 of ssd0: start or size is no multiple of 2 MiB (EINVAL)"],
        ),
        (vec![part("ssd0", 0, 1 << 20)], ProfileName::Linux_6_1, vec!["no multiple of 2 MiB (EINVAL)"]),
        (
            vec![part("ssd0", 64 << 20, 2 << 20)],
            ProfileName::Linux_6_12,
            vec!["the offset is beyond the BAR (EINVAL)"],
        ),
        (
            vec![part("ssd0", 60 << 20, 8 << 20)],
            ProfileName::Linux_6_12,
            vec!["the memory ends beyond the BAR (EINVAL)"],
        ),
        (
            vec![part("ssd0", 0, 4 << 20), part("ssd0", 2 << 20, 4 << 20)],
            ProfileName::Linux_7_3,
            vec!["(ENOMEM)"],
        ),
        (
            vec![Provider { bar: Some(1), ..provider("ssd0") }],
            ProfileName::Linux_7_3,
            vec!["the BAR is not memory (EINVAL)"],
        ),
        (vec![Provider { bar: Some(0), ..provider("ssd0") }], ProfileName::Linux_7_3, vec!["(EINVAL)"]),
    ] {
        let memory = PeerMemory { providers: providers.clone(), ..churn() };
        let found = outcome_of(&machine(), profile, 1, &[memory]);
        let refused = found.errors.iter().filter(|error| error.kind == "REGISTRATION_REFUSED");
        let refused: Vec<&str> = refused.map(|error| error.text.as_str()).collect();
        assert_eq!(refused.len(), texts.len(), "{providers:?}");
        assert!(refused.iter().zip(&texts).all(|(found, text)| found.contains(text)), "{refused:?}");
        let memory = &found.peer_memory[0];
        if providers.len() == 1 {
            assert_eq!((causes(memory), memory.pools[0].size), (vec!["NO_PROVIDER"], Bytes::ZERO));
        } else {
            assert!(!causes(memory).contains(&"NO_PROVIDER") && memory.pools[0].size == Bytes::mib(4));
        }
    }
}

/// The newest registration is searched first.
#[test]
fn several_registrations_are_chunks_of_one_pool() {
    let providers = vec![part("ssd0", 0, 4 << 20), part("ssd0", 8 << 20, 2 << 20)];
    let memory = PeerMemory { providers, sizes: Distribution::Fixed(Bytes::kib(4)), ..churn() };
    let found = outcome(&memory);
    let pool = &found.peer_memory[0].pools[0];
    assert_eq!((pool.size, pool.registered.len()), (Bytes::mib(6), 2));
    let first = found.flows[0].dma_addr.unwrap();
    assert!(pool.registered[1].contains(&format!("{first:#x}")), "{:?} {first:#x}", pool.registered);
}

#[test]
fn pages_of_processes_go_back_one_by_one() {
    let pages = PeerMemory {
        providers: vec![provider("ssd0")],
        sizes: Distribution::Fixed(Bytes(300_000)),
        user: User::Mmap,
        ..churn()
    };
    let drivers = PeerMemory { user: User::Kernel, ..pages.clone() };
    let (pages, drivers) = (outcome(&pages), outcome(&drivers));
    let (pages, drivers) = (&pages.peer_memory[0], &drivers.peer_memory[0]);
    assert_eq!((pages.granted, drivers.granted), (400, 400));
    // 74 pages each.
    let counts = |memory: &PeerMemoryOutcome| -> Vec<u64> {
        memory.pools[0].samples.iter().map(|sample| sample.allocations).collect()
    };
    assert!(counts(pages).iter().any(|count| *count > 0 && count % 74 != 0), "{:?}", counts(pages));
    assert!(counts(drivers).iter().all(|count| *count <= 64), "{:?}", counts(drivers));
    for sample in &pages.pools[0].samples {
        assert_eq!(sample.available.0 + 4096 * sample.allocations, 64 << 20, "pages go back in whole pages");
    }
    let fragmentation = |memory: &PeerMemoryOutcome| memory.pools[0].fragmentation_ppm;
    assert!(fragmentation(pages) > fragmentation(drivers));
}

#[test]
fn policies_differ() {
    let pressed = |policy| PeerMemory {
        providers: vec![part("ssd0", 0, 8 << 20)],
        policy,
        sizes: Distribution::Choice(vec![(Bytes::kib(4), 12), (Bytes::kib(768), 4)]),
        lifetimes: Distribution::Exponential(Picos::micros(30)),
        requests: 500,
        ..churn()
    };
    let refused = |policy| outcome(&pressed(policy)).peer_memory[0].refusals();
    let all =
        [Policy::FirstFit, Policy::BestFit, Policy::OrderAlign, Policy::Align(Bytes::mib(1))].map(refused);
    assert!(all[2] > all[0] && all[3] > all[0], "alignment costs room: {all:?}");
    assert!(all[0] > 0 && all[1] > 0 && all[0] != all[1], "{all:?}");
}

#[test]
fn refused_requests_go_through_host_memory() {
    for (transfer, ways) in [(Transfer::Write, 1), (Transfer::Read, 1), (Transfer::WriteThenRead, 2)] {
        let memory = PeerMemory {
            providers: vec![part("ssd0", 0, 2 << 20)],
            sizes: Distribution::Fixed(Bytes::kib(512)),
            transfer,
            refused: WhenRefused::Stage,
            ..churn()
        };
        let found = outcome(&memory);
        let memory = &found.peer_memory[0];
        assert_eq!(causes(memory), ["EXHAUSTED"]);
        assert!(memory.staged == memory.refusals() && memory.granted > 0);
        let flows = |part: &str| -> u64 {
            let flows = found.flows.iter().filter(|flow| flow.name.contains(part));
            flows.map(|flow| flow.delivered.0).sum()
        };
        assert_eq!(flows(".host"), 2 * ways * memory.staged_bytes.0, "the clients' way and the drive's");
        assert_eq!(flows("churn.host.ssd0"), ways * memory.staged_bytes.0);
        assert_eq!(flows(".ssd0") - flows("churn.host.ssd0"), ways * memory.granted_bytes.0);
        assert_eq!(memory.moved.0, ways * memory.bytes.0);
    }
}

/// Whom the data are meant for is no matter of who publishes memory.
#[test]
fn without_providers_all_goes_through_host_memory() {
    let memory = PeerMemory { publish: false, refused: WhenRefused::Stage, ..churn() };
    let found = outcome(&memory);
    let memory = &found.peer_memory[0];
    assert_eq!((causes(memory), memory.staged), (vec!["NO_PROVIDER"], 400));
    let taken = ["churn.host.ssd0", "churn.host.ssd1"].map(|name| delivered(&found, name));
    assert!(taken[0] > 0 && taken[1] > 0 && taken[0] + taken[1] == memory.bytes.0, "{taken:?}");
}

#[test]
fn nothing_to_move_makes_no_flows() {
    let memory = PeerMemory { transfer: Transfer::Nothing, refused: WhenRefused::Stage, ..churn() };
    let found = outcome(&memory);
    assert_eq!((found.flows.len(), found.tlp_hops), (0, 0));
    assert_eq!(found.peer_memory[0].granted, 400);
    assert!(found.end > Picos::micros(200));
}

#[test]
fn clients_that_look_once_stay_with_what_they_found() {
    let used = |choose| {
        let found = outcome(&PeerMemory { choose, ..churn() });
        let nic0 = found.flows.iter().filter(|flow| flow.name.starts_with("churn.nic0."));
        nic0.filter(|flow| flow.delivered.0 > 0).count()
    };
    assert_eq!([Choose::Nearest, Choose::NearestOnce, Choose::InOrder].map(used), [2, 1, 2]);
    let turns = outcome(&PeerMemory { choose: Choose::InOrder, ..churn() });
    assert!(turns.peer_memory[0].pools.iter().all(|pool| pool.granted == 200));
}

/// Memory of another workload is found, too, and its own device's memory needs no link.
#[test]
fn published_memory_is_everyones() {
    let giver = PeerMemory {
        name: "giver".into(),
        providers: vec![provider("ssd1"), provider("nic0")],
        clients: vec!["nic1".into()],
        requests: 1,
        ..churn()
    };
    let taker = PeerMemory { providers: vec![provider("ssd0")], clients: vec!["nic*".into()], ..churn() };
    let found = outcome_of(&machine(), ProfileName::Linux_7_3, 1, &[giver, taker]);
    let moved = |name: &str| found.flows.iter().find(|flow| flow.name == name).map(|flow| flow.delivered.0);
    assert!(moved("churn.nic1.ssd1").is_some_and(|bytes| bytes > 0));
    assert!(moved("churn.nic1.nic0").is_some_and(|bytes| bytes > 0));
    // nic0 is nearest to itself.
    assert_eq!((moved("churn.nic0.nic0"), moved("churn.nic0.ssd0")), (None, Some(0)));
    assert_eq!(found.peer_memory[1].granted, 400);
}

#[test]
fn a_client_holds_no_more_than_it_may() {
    let memory = PeerMemory {
        clients: vec!["nic0".into()],
        providers: vec![provider("ssd0")],
        outstanding: 1,
        intervals: Distribution::Fixed(Picos::ZERO),
        lifetimes: Distribution::Fixed(Picos::micros(10)),
        ..churn()
    };
    let found = outcome(&memory);
    let memory = &found.peer_memory[0];
    assert!(memory.pools[0].samples.iter().all(|sample| sample.allocations <= 1));
    assert!(memory.wait_p50 > Picos::micros(10) && found.end > Picos::micros(2000));
}

#[test]
fn workloads_that_cannot_run_are_refused() {
    let distribution = Distribution::Uniform(Bytes(2), Bytes(1));
    for (memory, problem) in [
        (PeerMemory { sizes: distribution, ..churn() }, "sizes: the first value is above the second"),
        (PeerMemory { sizes: Distribution::Fixed(Bytes(0)), ..churn() }, "a request has 1 B to 64GiB"),
        (PeerMemory { clients: vec!["gpu*".into()], ..churn() }, "no device is called `gpu*`"),
        (PeerMemory { outstanding: 0, ..churn() }, "a client makes 1 to 10000000 requests"),
        (PeerMemory { lifetimes: Distribution::Fixed(Picos(u64::MAX)), ..churn() }, "more than ten days"),
    ] {
        let input = RunInput {
            kernel: KernelSettings::default(),
            link_layer: LinkLayer::ByRule,
            workloads: vec![Workload::PeerMemory(Box::new(memory))],
            device_memory: None,
            seed: 1,
            events: vec![],
            scaling: vec![],
            apertures: vec![],
            ntbs: vec![],
        };
        let error = run(&machine(), &input).unwrap_err();
        assert!(error.problem.contains(problem), "{error}");
    }
}

/// Random workloads: nothing is lost, and the same seed gives the same.
#[test]
fn random_workloads_lose_nothing() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24u64);
    let machine = machine();
    for case in 0..cases {
        println!("case {case}");
        let mut dice = Stream::new(77, case);
        let memory = random(&mut dice);
        let profile = ProfileName::ALL[usize::try_from(dice.below(3)).unwrap()];
        let once = outcome_of(&machine, profile, case, std::slice::from_ref(&memory));
        assert_eq!(once, outcome_of(&machine, profile, case, &[memory]));
    }
}

fn random(dice: &mut Stream) -> PeerMemory {
    let mut pick = |count: u64| usize::try_from(dice.below(count)).unwrap();
    let sizes = [
        Distribution::Fixed(Bytes(5_000)),
        Distribution::Uniform(Bytes(1), Bytes::mib(1)),
        Distribution::Exponential(Bytes::kib(200)),
        Distribution::Choice(vec![(Bytes::kib(4), 3), (Bytes::mib(3), 1)]),
    ];
    let times = [
        Distribution::Fixed(Picos::ZERO),
        Distribution::Exponential(Picos::micros(15)),
        Distribution::Uniform(Picos(1), Picos::micros(3)),
    ];
    let chunks = [part("ssd*", 0, 4 << 20), part("ssd0", 4 << 20, 2 << 20), part("ssd1", 5 << 20, 1)];
    PeerMemory {
        providers: chunks[..=pick(3)].to_vec(),
        publish: pick(8) > 0,
        clients: [vec!["nic*".into()], vec!["far0".into(), "nic0".into()], vec!["*".into()]][pick(3)].clone(),
        choose: [Choose::Nearest, Choose::NearestOnce, Choose::InOrder][pick(3)],
        policy: [Policy::FirstFit, Policy::BestFit, Policy::OrderAlign, Policy::Align(Bytes::kib(64))]
            [pick(4)],
        user: [User::Kernel, User::Mmap][pick(2)],
        sizes: sizes[pick(4)].clone(),
        lifetimes: times[pick(3)].clone(),
        intervals: times[pick(3)].clone(),
        outstanding: [1, 3, 40][pick(3)],
        requests: 20,
        transfer: [Transfer::Nothing, Transfer::Write, Transfer::Read, Transfer::WriteThenRead][pick(4)],
        refused: [WhenRefused::Fail, WhenRefused::Stage][pick(2)],
        ..churn()
    }
}
