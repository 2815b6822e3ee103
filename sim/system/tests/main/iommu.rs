//! Kernels that use an IOMMU: what devices are given, and that the hardware makes the same of it.

use peerbus_engine::Stream;
use peerbus_machine::model::{FunctionIndex, Machine};
use peerbus_machine::registers::{IommuTables, Translation};
use peerbus_os::dma::DmaKind as Kind;
use peerbus_system::boot::{BootOptions, Booted, boot};
use peerbus_system::iommu::MapError;
use peerbus_system::kernel::{AcsPolicy, IommuMode, KernelSettings, ProfileName};
use peerbus_system::outcome::{FlowOutcome, Outcome};
use peerbus_system::p2p::{DmaKind, MapType, Pair, matrix, pair_of, render_matrix};
use peerbus_system::peer_memory::*;
use peerbus_system::run::{RunInput, run, run_booted};
use peerbus_system::workload::*;
use peerbus_units::{Address, Bytes, CpuAddr, FunctionId, Iova, Picos};

use crate::build::*;
use crate::run::{input, topologies};

pub fn settings(profile: ProfileName, iommu: IommuMode) -> KernelSettings {
    KernelSettings { profile, iommu: Some(iommu), ..KernelSettings::default() }
}

fn translate() -> KernelSettings {
    settings(ProfileName::Linux_7_3, IommuMode::Translate)
}

fn booted(machine: &Machine, settings: &KernelSettings) -> Booted {
    boot(machine, settings, &BootOptions::default())
}

fn function(machine: &Machine, device: &str) -> FunctionIndex {
    machine.devices.iter().find(|known| known.name == device).unwrap().functions[0]
}

fn pair(machine: &Machine, booted: &Booted, provider: &str, client: &str) -> Pair {
    pair_of(machine, booted, function(machine, provider), function(machine, client)).unwrap()
}

/// The first IOVA of a fresh domain on a PC: nothing is reserved at the top of 4 GiB.
const FIRST: u64 = 0xffff_f000;

#[test]
fn the_kind_of_address_follows_the_path_and_the_domain() {
    let check = |model: CpuModel, settings: &KernelSettings, near: DmaKind, far: DmaKind| {
        let build = two_hosts(model, HostSpec { offset: 0x80_0000_0000, ..HostSpec::default() });
        let booted = booted(&build.machine, settings);
        for (client, kind) in [("gpu1", near), ("gpu2", far)] {
            let pair = pair(&build.machine, &booted, "gpu0", client);
            let cpu = pair.cpu_addr.unwrap();
            let address = match kind {
                DmaKind::Bus => cpu - 0x80_0000_0000,
                DmaKind::Cpu => cpu,
                DmaKind::Iova => FIRST,
            };
            assert_eq!((pair.dma_kind, pair.dma_addr), (Some(kind), Some(address)), "{settings:?} {client}");
        }
    };
    use DmaKind::{Bus, Cpu, Iova};
    let line = |cmdline: &str| KernelSettings { cmdline: cmdline.into(), ..KernelSettings::default() };
    for profile in ProfileName::ALL {
        // An IOMMU's driver asks for ACS: below one switch, too, the way leads over the root.
        check(MILAN, &settings(profile, IommuMode::None), Bus, Cpu);
        check(MILAN, &settings(profile, IommuMode::Passthrough), Cpu, Cpu);
        check(MILAN, &settings(profile, IommuMode::Translate), Iova, Iova);
        let off = KernelSettings { acs: AcsPolicy::Off, ..settings(profile, IommuMode::Translate) };
        check(MILAN, &off, Bus, Iova);
        let line = |cmdline| KernelSettings { profile, ..line(cmdline) };
        check(ICE_LAKE, &line(""), Bus, Cpu);
        check(ICE_LAKE, &line("intel_iommu=on"), Iova, Iova);
        check(ICE_LAKE, &line("intel_iommu=on iommu=pt"), Cpu, Cpu);
        check(ICE_LAKE, &line("intel_iommu=on iommu=off"), Bus, Cpu);
    }
    check(ICE_LAKE, &line("intel_iommu=on,strict"), Iova, Iova);
}

#[test]
fn every_pair_is_answered_as_if_it_were_the_first() {
    let build = two_hosts(MILAN, HostSpec::default());
    let booted = booted(&build.machine, &translate());
    let all = matrix(&build.machine, &booted);
    assert_eq!(all, matrix(&build.machine, &booted));
    let mut iovas = 0;
    for pair in &all.pairs {
        let find = |id: FunctionId| booted.registers.at(id).unwrap();
        let alone = pair_of(&build.machine, &booted, find(pair.provider), find(pair.client)).unwrap();
        assert_eq!(*pair, alone);
        if pair.dma_kind == Some(DmaKind::Iova) {
            assert_eq!((pair.map_type, pair.dma_addr), (MapType::ThruHostBridge, Some(FIRST)));
            iovas += 1;
        }
    }
    assert!(iovas > 0 && booted.registers.iommu().is_empty(), "nothing stays mapped");
    let json = serde_json::to_value(&all).unwrap();
    let kinds = json["pairs"].as_array().unwrap().iter().filter(|pair| pair["dma_kind"] == "IOVA");
    assert_eq!(kinds.count(), iovas);
    let text = render_matrix(&all, false);
    assert!(text.contains("\n  clients are given IOVAs for H\n"), "{text}");
}

/// `None` without domain; else whether `iova` leads to `to` for requests of `device`.
fn leads(machine: &Machine, booted: &Booted, device: &str, iova: u64, to: u64) -> Option<bool> {
    let id = booted.registers.id(function(machine, device)).unwrap();
    let tables: &IommuTables = booted.registers.iommu();
    let found = tables.translate(tables.domain_of(id)?, Iova(iova));
    Some(matches!(found, Translation::Mapped { run, to: at } if at.0 + (iova - run.first().0) == to))
}

#[test]
fn functions_of_a_group_share_addresses_and_others_have_their_own() {
    for (isolated, expect) in [(true, [FIRST, FIRST, FIRST]), (false, [FIRST, FIRST - 0x1000, FIRST])] {
        let mut build = two_hosts(ICE_LAKE, HostSpec::default());
        let ports = build.machine.switches[0].downstream.clone();
        if !isolated {
            // Without ACS on its port a GPU is in the group of the root port, if that has none either.
            let above = build.machine.parent(build.machine.switches[0].upstream);
            let without = ports.into_iter().chain(above);
            without.for_each(|port| build.machine.functions[port].acs = None);
        }
        let machine = &build.machine;
        let mut booted = booted(machine, &translate());
        let page = |number: u64| CpuAddr((1 << 30) + (number << 12));
        let mut mapped = Vec::new();
        for (number, device) in ["gpu0", "gpu1", "gpu2"].into_iter().enumerate() {
            let at = page(u64::try_from(number).unwrap());
            mapped.push(booted.map_memory(function(machine, device), at, Bytes(0x1000)).unwrap());
        }
        let addresses: Vec<u64> = mapped.iter().map(|mapping| mapping.address.raw()).collect();
        assert_eq!(addresses, expect, "isolated: {isolated}");
        let of_gpu0 = ["gpu0", "gpu1", "gpu2"].map(|by| leads(machine, &booted, by, FIRST, page(0).0));
        assert_eq!(of_gpu0, [Some(true), Some(!isolated), Some(false)]);
        mapped.into_iter().for_each(|mapping| booted.unmap(mapping).unwrap());
        assert!(booted.registers.iommu().is_empty());
    }
}

#[test]
fn identity_domains_and_machines_without_iommu_have_no_tables() {
    let build = two_hosts(MILAN, HostSpec::default());
    for iommu in [IommuMode::None, IommuMode::Passthrough] {
        let mut booted = booted(&build.machine, &settings(ProfileName::Linux_6_12, iommu));
        let gpu = function(&build.machine, "gpu0");
        let mapping = booted.map_memory(gpu, CpuAddr(5 << 30), Bytes::mib(1)).unwrap();
        assert_eq!((mapping.address.raw(), mapping.kind), (5 << 30, Kind::Cpu));
        assert!(booted.registers.iommu().is_empty());
        assert_eq!(leads(&build.machine, &booted, "gpu0", 5 << 30, 5 << 30), None);
    }
}

/// What switches and host bridges claim as bus addresses is in no IOVA space, whatever is mapped: a translated request is
/// never taken for one to a neighbour.
#[test]
fn no_iova_lies_in_a_window_on_its_way() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let (seed, mut compared) = (0x5eed, 0);
    let mut random = Stream::new(seed, 0);
    let machines = topologies();
    let mut names = machines.iter().cycle();
    for case in 0..cases {
        let Some((name, machine)) = names.next() else { panic!("no machines") };
        let profile = ProfileName::ALL[usize::try_from(random.below(3)).unwrap()];
        let acs = if random.below(2) == 0 { AcsPolicy::Off } else { AcsPolicy::FirmwareDefault };
        let kernel = KernelSettings { acs, ..settings(profile, IommuMode::Translate) };
        let mut booted = booted(machine, &kernel);
        for _ in 0..40 {
            let device = usize::try_from(random.below(machine.devices.len() as u64)).unwrap();
            let client = machine.devices[device].functions[0];
            let size = Bytes(1 << (12 + random.below(24)) | random.below(0x8000));
            let mapping = match booted.map_memory(client, CpuAddr(1 << 32), size) {
                Ok(mapping) => mapping,
                Err(MapError::NotFound) => continue,
                Err(error) => panic!("{name}: {error}"),
            };
            let bridge = machine.functions[client].host_bridge;
            let own = machine.functions.node_indices();
            let own = own.filter(|function| machine.functions[*function].host_bridge == bridge);
            let windows = own.flat_map(|function| booted.registers.windows(function));
            let windows: Vec<_> =
                windows.map(|window| (window.range.first().0, window.range.last().0)).collect();
            let (first, last) = (mapping.address.raw(), mapping.address.raw() + (mapping.length.0 - 1));
            if mapping.kind == Kind::Iova {
                compared += windows.len();
                let hit = windows.iter().find(|window| window.0 <= last && first <= window.1);
                assert_eq!(hit, None, "{name}, case {case} of seed {seed:#x}: {first:#x}-{last:#x}");
            }
        }
    }
    println!("IOVAs and windows, {cases} machines: {compared} pairs compared, seed {seed:#x}");
    assert!(compared > 0);
}

fn copy(bytes: Bytes, refused: WhenRefused, dma_shift: Bytes) -> Workload {
    Workload::Copy(Copy {
        packets: Packets::default(),
        name: "peer".into(),
        from: "gpu0".into(),
        to: "gpu1".into(),
        bytes,
        chunk: Bytes::mib(1),
        engine: Engine::Writer,
        refused,
        way: peerbus_system::workload::Way::Fastest,
        start: Picos::ZERO,
        dma_shift,
        addresses: Addresses::Dma,
        memory_at: None,
        through: None,
    })
}

fn host_dma() -> Workload {
    Workload::HostDma(HostDma {
        packets: Packets::default(),
        name: "dma".into(),
        device: "gpu1".into(),
        direction: HostDirection::ReadWrite,
        sizes: vec![Bytes(64), Bytes::kib(64)],
        transfers: 50,
        outstanding: 4,
        cpu: None,
        memory: None,
        window: None,
        cache: CacheState::default(),
        by: Initiator::default(),
        absent: None,
        way: Default::default(),
        through: None,
    })
}

pub fn with(kernel: &KernelSettings, workloads: &[Workload]) -> RunInput {
    RunInput { kernel: kernel.clone(), ..input(workloads.to_vec()) }
}

fn moved(outcome: &Outcome) -> Vec<(&str, Bytes, Bytes)> {
    outcome.flows.iter().map(|flow| (flow.name.as_str(), flow.delivered, flow.refused)).collect()
}

fn kind(flow: &FlowOutcome) -> Option<&str> {
    flow.dma_kind.as_deref()
}

#[test]
fn translated_runs_deliver_what_direct_ones_do() {
    let workloads = [copy(Bytes::mib(2), WhenRefused::Fail, Bytes::ZERO), host_dma()];
    let machine = two_hosts(MILAN, HostSpec::default()).machine;
    for profile in ProfileName::ALL {
        let outcome = |kernel: KernelSettings| run(&machine, &with(&kernel, &workloads)).unwrap();
        let on = KernelSettings { acs: AcsPolicy::On, ..settings(profile, IommuMode::None) };
        let direct = outcome(on);
        let identity = outcome(settings(profile, IommuMode::Passthrough));
        let translated = outcome(settings(profile, IommuMode::Translate));
        // Addresses are the same in an identity domain, so everything is.
        assert_eq!(direct, identity);
        assert_eq!(moved(&direct), moved(&translated));
        assert_eq!(translated.errors, []);
        let (near, far) = (&direct.flows[0], &translated.flows[0]);
        assert_eq!((kind(near), kind(far)), (Some("CPU"), Some("IOVA")));
        assert_eq!(near.path, far.path);
        assert!(far.path.iter().any(|node| node.starts_with("cpu")));
        assert_eq!(far.dma_addr, Some(0xffe0_0000), "2 MiB below 4 GiB");
    }
}

#[test]
fn staged_flows_go_through_buffers_that_both_ends_can_reach() {
    let build = two_hosts(UNLISTED, HostSpec::default());
    let workloads = [copy(Bytes::mib(8), WhenRefused::Stage, Bytes::ZERO)];
    let outcome = run(&build.machine, &with(&translate(), &workloads)).unwrap();
    let [flow] = &outcome.flows[..] else { panic!("{:?}", outcome.flows) };
    assert!(flow.staged && flow.delivered == Bytes::mib(8));
    assert!(outcome.errors.iter().all(|error| error.kind == "P2P_REFUSED"), "{:?}", outcome.errors);
}

#[test]
fn a_staged_copy_fills_one_chunk_while_it_drains_the_other() {
    let machine = two_hosts(MILAN, HostSpec::default()).machine;
    let time = |refused| {
        let workloads = [copy(Bytes::mib(8), refused, Bytes::ZERO)];
        let flow = run(&machine, &with(&translate(), &workloads)).unwrap().flows.remove(0);
        assert_eq!((flow.delivered, flow.staged), (Bytes::mib(8), refused == WhenRefused::StageAlways));
        flow.end.0 - flow.start.0
    };
    let (direct, staged) = (time(WhenRefused::Fail), time(WhenRefused::StageAlways));
    // One leg after the other would take twice as long; handing a chunk over costs part of its time.
    assert!((105 * direct..170 * direct).contains(&(100 * staged)), "{direct} {staged}");
}

#[test]
fn a_drivers_wrong_address_is_a_fault_that_names_the_requester() {
    let machine = &two_hosts(MILAN, HostSpec::default()).machine;
    let workloads = [copy(Bytes::mib(1), WhenRefused::Fail, Bytes::mib(64))];
    let outcome = run(machine, &with(&translate(), &workloads)).unwrap();
    let flow = &outcome.flows[0];
    assert_eq!((flow.delivered, flow.refused), (Bytes::ZERO, Bytes::mib(1)));
    let [error] = &outcome.errors[..] else { panic!("{:?}", outcome.errors) };
    assert_eq!((error.kind.as_str(), error.place.as_str()), ("IOMMU_FAULT", "host0"));
    assert_eq!((error.bytes, error.addr), (Bytes::mib(1), flow.dma_addr.map(|addr| addr + (64 << 20))));
    assert!(error.text.starts_with("host0/rp1/sw0/p0/gpu0 has no translation; it lies "), "{}", error.text);
}

/// All devices can send only `bits` bits of address.
fn narrow(machine: &Machine, kernel: &KernelSettings, bits: u32) -> Booted {
    let mut booted = booted(machine, kernel);
    let functions: Vec<_> = booted.tree.iter().map(|(function, _)| function).collect();
    for function in functions {
        booted.dma.device_mut(function).unwrap().mask = (1 << bits) - 1;
    }
    booted
}

#[test]
fn what_cannot_be_mapped_is_refused_with_its_cause() {
    let machine = two_hosts(MILAN, HostSpec::default()).machine;
    let check = |kernel: &KernelSettings, bytes, refused, expect: Result<&str, &str>| {
        let input = with(kernel, &[copy(bytes, refused, Bytes::ZERO)]);
        let outcome = run_booted(&machine, narrow(&machine, kernel, 32), &input).unwrap().outcome;
        let flow = &outcome.flows[0];
        let causes: Vec<_> =
            outcome.errors.iter().map(|error| (error.kind.as_str(), error.text.as_str())).collect();
        match expect {
            Ok(way) => {
                assert_eq!((flow.delivered, kind(flow)), (bytes, Some(way)), "{kernel:?}");
                assert_eq!(causes, []);
            }
            Err(cause) => {
                assert_eq!((flow.delivered, flow.refused), (Bytes::ZERO, bytes), "{kernel:?}");
                assert_eq!(causes, [("MAPPING_REFUSED", cause)]);
                assert_eq!(flow.refusal.as_deref(), Some(cause));
            }
        }
    };
    let (mib, fail) = (Bytes::mib(1), WhenRefused::Fail);
    let unreachable = "memory of gpu1 cannot be mapped for gpu0: the device cannot reach this memory (EIO)";
    let full =
        "memory of gpu1 cannot be mapped for gpu0: no IOVA, table memory or bounce buffer left (ENOMEM)";
    let buffer =
        "a host buffer of 128KiB cannot be mapped for gpu0: the device cannot reach this memory (EIO)";
    for profile in ProfileName::ALL {
        let kernel = |iommu| settings(profile, iommu);
        // BARs and buffers lie above 4 GiB; IOVAs do not, as long as there are some.
        check(&kernel(IommuMode::Passthrough), mib, fail, Err(unreachable));
        check(&kernel(IommuMode::Passthrough), mib, WhenRefused::Stage, Err(buffer));
        check(&kernel(IommuMode::Translate), mib, fail, Ok("IOVA"));
        check(&kernel(IommuMode::Translate), Bytes::gib(4), fail, Err(full));
        // A bus address is not the device's to reach: nobody asks for the mask.
        check(&kernel(IommuMode::None), mib, fail, Ok("BUS"));
    }
}

#[test]
fn peer_memory_is_mapped_while_its_data_move() {
    let mut build = Build::new(MILAN);
    let host = build.host(HostSpec::default());
    let port = build.root_port(host);
    let below = build.switch(port, 4);
    let names = ["ssd0", "ssd1", "nic0", "nic1"];
    for (name, port) in names.into_iter().zip(below) {
        build.device(name, host, Some(port), &[bar(0, Bytes::mib(64), MEM64)]);
    }
    let provider = Provider { device: "ssd*".into(), bar: None, offset: Bytes::ZERO, size: None };
    let memory = |user, requests, largest| {
        Workload::PeerMemory(Box::new(PeerMemory {
            name: "pool".into(),
            providers: vec![provider.clone()],
            publish: true,
            clients: vec!["nic*".into()],
            choose: Choose::Nearest,
            policy: Policy::FirstFit,
            user,
            sizes: Distribution::Uniform(Bytes(1), largest),
            lifetimes: Distribution::Exponential(Picos::micros(5)),
            intervals: Distribution::Uniform(Picos::ZERO, Picos::micros(2)),
            outstanding: 8,
            requests,
            transfer: Transfer::WriteThenRead,
            refused: WhenRefused::Stage,
            target: None,
        }))
    };
    // Of 128 MiB some requests are refused and staged, from host buffers that both ends reach.
    for (user, requests, largest) in [
        (User::Kernel, 300, Bytes::kib(64)),
        (User::Mmap, 60, Bytes::kib(64)),
        (User::Kernel, 6, Bytes::mib(80)),
    ] {
        for profile in [ProfileName::Linux_6_12, ProfileName::Linux_7_3] {
            let workloads = [memory(user, requests, largest)];
            let outcome = |kernel: KernelSettings| run(&build.machine, &with(&kernel, &workloads)).unwrap();
            let on = KernelSettings { acs: AcsPolicy::On, ..settings(profile, IommuMode::None) };
            let direct = outcome(on);
            let translated = outcome(settings(profile, IommuMode::Translate));
            for outcome in [&direct, &translated] {
                let errors = outcome.errors.iter().filter(|error| error.kind != "PEER_MEMORY_REFUSED");
                assert_eq!(errors.count(), 0, "{:?}", outcome.errors);
                assert!(outcome.flows.iter().all(|flow| flow.refused == Bytes::ZERO));
            }
            let asked = |outcome: &Outcome| (outcome.peer_memory[0].requests, outcome.peer_memory[0].bytes);
            assert_eq!(asked(&direct), asked(&translated));
            let kinds: Vec<_> = translated.flows.iter().filter_map(kind).collect();
            assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == "IOVA"), "{kinds:?}");
            let staged = translated.peer_memory[0].staged > 0;
            assert_eq!(staged, largest > Bytes::mib(64), "{:?}", translated.peer_memory[0].refused);
        }
    }
}
