//! Runs on shipped machines.

use std::collections::BTreeMap;

use peerbus_fabric::LinkLayer;
use peerbus_machine::{Catalogue, Machine, load_machine};
use peerbus_system::kernel::KernelSettings;
use peerbus_system::outcome::FlowOutcome;
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

pub fn input(workloads: Vec<Workload>) -> RunInput {
    RunInput {
        kernel: KernelSettings::default(),
        link_layer: LinkLayer::ByRule,
        workloads,
        device_memory: None,
        seed: 1,
        events: vec![],
        scaling: vec![],
        apertures: vec![],
        ntbs: vec![],
    }
}

pub fn matrix(bytes: Bytes) -> Workload {
    Workload::PairMatrix(PairMatrix {
        name: "m".into(),
        devices: vec!["gpu*".into()],
        bytes,
        chunk: Bytes::mib(1),
        engine: Engine::Writer,
        refused: WhenRefused::Stage,
        way: peerbus_system::workload::Way::Fastest,
        concurrency: Concurrency::Alone,
    })
}

fn copy(dma_shift: Bytes) -> Workload {
    Workload::Copy(Copy {
        packets: Packets::default(),
        name: "peer".into(),
        from: "gpu0".into(),
        to: "gpu1".into(),
        bytes: Bytes::mib(1),
        chunk: Bytes::mib(1),
        engine: Engine::Writer,
        refused: WhenRefused::Fail,
        way: peerbus_system::workload::Way::Fastest,
        start: Picos::ZERO,
        dma_shift,
        addresses: Addresses::Dma,
        memory_at: None,
        through: None,
    })
}

pub fn gpus(machine: &Machine) -> usize {
    machine.devices.iter().filter(|device| device.name.starts_with("gpu")).count()
}

/// Classes of pairs from fastest to slowest; `None` for pairs whose class says nothing about their order: below one
/// switch but redirected.
fn class(flow: &FlowOutcome) -> Option<usize> {
    let cpus = flow.path.iter().filter(|node| node.starts_with("cpu")).count();
    match flow.map_type.as_deref() {
        _ if flow.staged => Some(3),
        Some("BUS_ADDR") => Some(0),
        Some("THRU_HOST_BRIDGE")
            if flow.path.first_chunk::<2>().map(|ends| &ends[1]) == flow.path.iter().rev().nth(1) =>
        {
            None
        }
        Some("THRU_HOST_BRIDGE") => Some(cpus.min(2)),
        _ => None,
    }
}

#[test]
fn pair_classes_are_in_order_on_every_shipped_machine() {
    for (name, machine) in topologies() {
        if gpus(&machine) < 2 {
            continue;
        }
        let outcome = run(&machine, &input(vec![matrix(Bytes::mib(1))])).unwrap();
        let unplaced = outcome.errors.iter().find(|error| error.kind == "UNPLACED_BAR");
        assert!(unplaced.is_none(), "{name}: {unplaced:?}");
        let mut ranges: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        for flow in &outcome.flows {
            assert_eq!((flow.delivered, flow.refused), (flow.bytes, Bytes::ZERO), "{name} {}", flow.name);
            assert!(!flow.limited_by.is_empty(), "{name} {}", flow.name);
            let Some(class) = class(flow) else { continue };
            let rate = flow.bytes_per_second().unwrap();
            let range = ranges.entry(class).or_insert((u64::MAX, 0));
            *range = (range.0.min(rate), range.1.max(rate));
        }
        let ordered: Vec<&(u64, u64)> = ranges.values().collect();
        for pair in ordered.windows(2) {
            assert!(pair[0].0 >= pair[1].1, "{name}: {ranges:?}");
        }
    }
}

#[test]
fn a_shifted_dma_address_ends_in_an_unsupported_request() {
    let machine = &topologies()["wrx90-8gpu-2switch.ron"];
    let outcome = run(machine, &input(vec![copy(Bytes::gib(1 << 12))])).unwrap();
    let flow = &outcome.flows[0];
    assert_eq!((flow.delivered, flow.refused), (Bytes::ZERO, Bytes::mib(1)));
    let error = outcome.errors.iter().find(|error| error.kind == "UNSUPPORTED_REQUEST").unwrap();
    assert_eq!((error.bytes, error.flow.as_deref()), (Bytes::mib(1), Some("peer")));
    assert_eq!(error.addr, flow.dma_addr.map(|addr| addr + (1 << 42)));
    assert!(error.text.contains("it misses the window of "), "{}", error.text);
    let straight = run(machine, &input(vec![copy(Bytes::ZERO)])).unwrap();
    assert_eq!(straight.flows[0].delivered, Bytes::mib(1));
    assert!(straight.errors.is_empty());
}

#[test]
fn the_same_run_twice_is_the_same() {
    let machine = &topologies()["milan-8gpu-mi250-switch.ron"];
    let run = || run(machine, &input(vec![matrix(Bytes::kib(64))])).unwrap();
    assert_eq!(run(), run());
}

#[test]
fn what_cannot_be_simulated_is_an_error_not_a_panic() {
    let catalogue = Catalogue::embedded();
    let synthetic = |form: &str| {
        let file = peerbus_machine::synthetic::synthetic(form).unwrap();
        peerbus_machine::lower(&file, "", form, &catalogue).0.unwrap()
    };
    let wide = synthetic("1rc:200gpu");
    let problem = run(&wide, &input(vec![copy(Bytes::ZERO)])).unwrap_err().problem;
    assert_eq!(problem, "host0 has 200 ports; at most 119 can be simulated");
    let small = synthetic("1rc:1sw:2gpu@gen5x16");
    let dma = |outstanding| {
        Workload::HostDma(HostDma {
            packets: Packets::default(),
            name: "dma".into(),
            device: "gpu0".into(),
            direction: HostDirection::Read,
            sizes: vec![Bytes(64)],
            transfers: 10,
            outstanding,
            cpu: None,
            memory: None,
            window: None,
            cache: CacheState::default(),
            by: Initiator::default(),
            absent: None,
            way: Default::default(),
            through: None,
        })
    };
    let problem = run(&small, &input(vec![dma(70_000)])).unwrap_err().problem;
    assert!(problem.contains("60000 descriptors under way"), "{problem}");
    let outcome = run(&small, &input(vec![dma(50_000), copy(Bytes::ZERO)])).unwrap();
    assert!(outcome.flows.iter().all(|flow| flow.delivered == flow.bytes));
}

#[test]
fn cpu_addresses_land_where_bus_addresses_say() {
    // Bus addresses are 128 GiB lower than the CPU's, and every GPU takes that much.
    let machine = &topologies()["bus-offset-4gpu.ron"];
    let errors = |to: &str, addresses| {
        let Workload::Copy(known) = copy(Bytes::ZERO) else { unreachable!("it is a copy") };
        let workload = Workload::Copy(Copy { from: "gpu2".into(), to: to.into(), addresses, ..known });
        let outcome = run(machine, &input(vec![workload])).unwrap();
        let found = outcome.errors.iter().map(|error| (error.kind.clone(), error.place.clone(), error.bytes));
        (outcome.flows[0].delivered, found.collect::<Vec<_>>())
    };
    let mib = Bytes::mib(1);
    for to in ["gpu0", "gpu1", "gpu3"] {
        assert_eq!(errors(to, Addresses::Dma), (mib, vec![]), "{to}");
    }
    let misdirected = ("MISDIRECTED".to_owned(), "gpu1".to_owned(), mib);
    assert_eq!(errors("gpu0", Addresses::Cpu), (mib, vec![misdirected]));
    let refused = ("UNSUPPORTED_REQUEST".to_owned(), "host0".to_owned(), mib);
    assert_eq!(errors("gpu3", Addresses::Cpu), (Bytes::ZERO, vec![refused]));
}

/// Median latency of single 64-byte reads on a machine with two sockets.
fn read_latency(cpu: usize, window: Option<Bytes>, cache: CacheState) -> Picos {
    let machine = &topologies()["broadwell-nfp6000.ron"];
    let dma = HostDma {
        name: "dma".into(),
        device: "nic0".into(),
        direction: HostDirection::Read,
        sizes: vec![Bytes(64)],
        transfers: 200,
        outstanding: 1,
        cpu: Some(cpu),
        memory: None,
        window,
        cache,
        packets: Packets::default(),
        by: Initiator::default(),
        absent: None,
        way: Default::default(),
        through: None,
    };
    run(machine, &input(vec![Workload::HostDma(dma)])).unwrap().flows[0].latency_p50
}

#[test]
fn host_memory_of_the_other_socket_is_farther() {
    let [near, far] = [0, 1].map(|cpu| read_latency(cpu, None, CacheState::HostWarm));
    // The link between the sockets takes 53 ns each way.
    assert!((Picos::nanos(105)..Picos::nanos(110)).contains(&far.saturating_sub(near)), "{near} {far}");
}

/// Median latency of single transfers of 64 bytes between an adapter and the memory of its CPU.
fn latency_by(direction: HostDirection, by: Initiator) -> u64 {
    let dma = HostDma {
        name: "dma".into(),
        device: "nic0".into(),
        direction,
        sizes: vec![Bytes(64)],
        transfers: 20,
        outstanding: 1,
        cpu: None,
        memory: None,
        window: None,
        cache: CacheState::HostWarm,
        packets: Packets::default(),
        by,
        absent: None,
        way: Default::default(),
        through: None,
    };
    let outcome = run(&topologies()["broadwell-nfp6000.ron"], &input(vec![Workload::HostDma(dma)])).unwrap();
    outcome.flows[0].latency_p50.0 / 1000
}

#[test]
fn processors_of_a_device_do_without_its_engine() {
    let [engine, processor] =
        [Initiator::Engine, Initiator::Processor].map(|by| latency_by(HostDirection::Read, by));
    // Of the engine 27 ns before the request, 211 ns behind the completion, and 14.9 ns of copying; 120 ns of a processor.
    assert!((132..=134).contains(&(engine - processor)), "{engine} {processor}");
}

#[test]
fn a_read_of_what_was_written_begins_when_the_write_is_sent() {
    let longer = |by| latency_by(HostDirection::WriteThenRead, by) - latency_by(HostDirection::Read, by);
    // A processor takes 120 ns for the write as for the read; the engine 27 + 21 ns until the write is sent, and 211 ns until it
    // says so.
    assert!((119..=122).contains(&longer(Initiator::Processor)), "{}", longer(Initiator::Processor));
    assert!((257..=261).contains(&longer(Initiator::Engine)), "{}", longer(Initiator::Engine));
}

#[test]
fn what_caches_hold_at_first_decides_how_long_reads_take() {
    let large = Some(Bytes::mib(64));
    let at = |window, cache| read_latency(0, window, cache);
    let (warm, cold) = (at(None, CacheState::HostWarm), at(None, CacheState::Cold));
    // 76 ns, to the three digits that latencies are recorded with.
    assert!((75..=77).contains(&(cold.saturating_sub(warm).0 / 1000)), "{warm} {cold}");
    assert_eq!(at(None, CacheState::DeviceWarm), warm);
    // Most of 64 MiB does not fit 25 MiB.
    assert!(at(large, CacheState::HostWarm) > warm);
}
