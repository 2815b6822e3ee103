//! NVMe targets: which memory data go through, who moves them, and what becomes of requests that get none.

use peerbus_engine::Stream;
use peerbus_machine::Machine;
use peerbus_machine::part::{MemoryBufferPart, NvmePart};
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::{IommuMode, KernelSettings, ProfileName};
use peerbus_system::outcome::Outcome;
use peerbus_system::peer_memory::*;
use peerbus_system::run::{run, run_booted};
use peerbus_system::workload::{WhenRefused, Workload};
use peerbus_units::{Bytes, Picos};

use crate::build::*;
use crate::iommu::{settings, with};
use crate::peer_memory::{causes, churn, delivered, outcome_of, part, provider};

/// Below one switch: two adapters, a drive with a buffer of 64 MiB and one without memory, and a GPU. Below another host bridge: an
/// adapter and a GPU. Bus addresses differ from CPU addresses.
fn machine(model: CpuModel) -> Machine {
    let mut build = Build::new(model);
    let spec = HostSpec { offset: 0x10_0000_0000, ..HostSpec::default() };
    let (first, second) = (build.host(spec), build.host(spec));
    let port = build.root_port(first);
    let below = build.switch(port, 5);
    let large = |megabytes| [bar(0, Bytes::mib(megabytes), MEM64)];
    for (at, (name, megabytes)) in
        [("nic0", 32), ("nic1", 32), ("ssd0", 64), ("ssd1", 1), ("gpu0", 256)].into_iter().enumerate()
    {
        build.device(name, first, Some(below[at]), &large(megabytes));
    }
    let port = build.root_port(second);
    let below = build.switch(port, 2);
    build.device("far-nic0", second, Some(below[0]), &large(32));
    build.device("far-gpu0", second, Some(below[1]), &large(256));
    build.machine
}

fn target(namespace: &str, memory: TargetMemory, provides: &[&str]) -> PeerMemory {
    PeerMemory {
        name: "target".into(),
        providers: provides.iter().map(|device| provider(device)).collect(),
        clients: vec!["nic*".into()],
        target: Some(Target { namespace: namespace.into(), memory }),
        sizes: Distribution::Uniform(Bytes(1), Bytes::kib(128)),
        requests: 50,
        ..churn()
    }
}

fn named(device: &str) -> TargetMemory {
    TargetMemory::Named(device.into())
}

fn outcome(memory: &PeerMemory) -> Outcome {
    outcome_of(&machine(UNLISTED), ProfileName::Linux_7_3, 1, std::slice::from_ref(memory))
}

/// Bytes that flow `name` was asked to move, all of which arrived.
fn moved(outcome: &Outcome, name: &str) -> u64 {
    let found = outcome.flows.iter().find(|flow| flow.name == name);
    let flow = found.unwrap_or_else(|| panic!("no flow {name}"));
    assert_eq!(flow.bytes, flow.delivered, "{name}");
    flow.bytes.0
}

const WAYS: [(Transfer, &[&str]); 3] =
    [(Transfer::Write, &[""]), (Transfer::Read, &[""]), (Transfer::WriteThenRead, &[".write", ".read"])];

#[test]
fn adapter_and_drive_use_the_memory_in_turn() {
    for (namespace, memory, owner, provides) in [
        ("ssd0", TargetMemory::Automatic, "ssd0", ["ssd0"]),
        ("ssd0", TargetMemory::Automatic, "gpu0", ["gpu0"]),
        ("ssd0", named("gpu0"), "gpu0", ["*"]),
        ("ssd1", named("gpu0"), "gpu0", ["*"]),
        ("ssd1", named("ssd0"), "ssd0", ["*"]),
        // Nearest to both are two; the near GPU is as far as the other drive.
        ("ssd1", TargetMemory::Automatic, "ssd0", ["ssd0"]),
    ] {
        for (transfer, ways) in WAYS {
            let found = outcome(&PeerMemory { transfer, ..target(namespace, memory.clone(), &provides) });
            let of = &found.peer_memory[0];
            assert_eq!((of.requests, of.granted, of.staged), (100, 100, 0), "{namespace} {memory:?}");
            assert_eq!(of.moved.0, of.bytes.0 * ways.len() as u64);
            for way in ways {
                let by_clients: u64 = ["nic0", "nic1"]
                    .map(|nic| moved(&found, &format!("target.{nic}.{owner}{way}")))
                    .iter()
                    .sum();
                assert_eq!(by_clients, of.bytes.0);
                if namespace != owner {
                    assert_eq!(moved(&found, &format!("target.{namespace}.{owner}{way}")), of.bytes.0);
                }
            }
            assert_eq!(delivered(&found, ".host") + delivered(&found, &format!("host.{namespace}")), 0);
            // The drive's own memory is reached without a link: only clients moved anything.
            let all: u64 = found.flows.iter().map(|flow| flow.delivered.0).sum();
            let legs = if namespace == owner { 1 } else { 2 };
            assert_eq!(all, legs * of.moved.0);
            for flow in found.flows.iter().filter(|flow| flow.bytes.0 > 0) {
                assert_eq!(
                    (flow.map_type.as_deref(), flow.dma_kind.as_deref()),
                    (Some("BUS_ADDR"), Some("BUS")),
                    "{}",
                    flow.name
                );
            }
        }
    }
}

/// Both are given bus addresses of the same memory.
#[test]
fn each_device_is_given_an_address_of_its_own() {
    let found =
        outcome(&PeerMemory { clients: vec!["nic0".into()], ..target("ssd0", named("gpu0"), &["gpu0"]) });
    let first = |name| found.flows.iter().find(|flow| flow.name == name).unwrap().dma_addr.unwrap();
    assert_eq!(first("target.nic0.gpu0"), first("target.ssd0.gpu0"));
    let registered = &found.peer_memory[0].pools[0].registered[0];
    assert!(
        !registered.contains(&format!("{:#x}", first("target.nic0.gpu0"))),
        "the CPU's address: {registered}"
    );
    // Through the host bridge, by an IOMMU, each has its own.
    let memory =
        PeerMemory { clients: vec!["nic0".into()], ..target("ssd0", named("far-gpu0"), &["far-gpu0"]) };
    for profile in [ProfileName::Linux_6_12, ProfileName::Linux_7_3] {
        let kernel = settings(profile, IommuMode::Translate);
        let workloads = [Workload::PeerMemory(Box::new(memory.clone()))];
        let found = run(&machine(MILAN), &with(&kernel, &workloads)).unwrap();
        assert_eq!((found.peer_memory[0].granted, found.errors.len()), (50, 0), "{:?}", found.errors);
        for name in ["target.nic0.far-gpu0", "target.ssd0.far-gpu0"] {
            let flow = found.flows.iter().find(|flow| flow.name == name).unwrap();
            let how = (flow.map_type.as_deref(), flow.dma_kind.as_deref());
            assert_eq!(how, (Some("THRU_HOST_BRIDGE"), Some("IOVA")), "{name}");
            assert_eq!(moved(&found, name), found.peer_memory[0].bytes.0);
        }
        let spaces =
            found.spaces.iter().filter(|space| space.used > 0 && space.name.contains("IOVA")).count();
        assert!(spaces == 0 || spaces >= 2, "both have an address space");
    }
}

/// What the attribute, a namespace or a controller is refused, and what the requests do then.
#[test]
fn what_is_out_of_reach_is_refused_where_the_kernel_refuses_it() {
    let far = |memory| PeerMemory { clients: vec!["far-nic0".into()], ..memory };
    let hidden = |memory| PeerMemory { publish: false, ..memory };
    let auto = TargetMemory::Automatic;
    let unreachable = "peer-to-peer is not supported: NO_COMMON_UPSTREAM";
    for (memory, lost, cause, texts) in [
        // The drive does not reach it: the namespace stays off, and nothing is served.
        (
            target("ssd0", named("far-gpu0"), &["far-gpu0"]),
            true,
            "NOT_ENABLED",
            vec!["the namespace of ssd0 is not enabled (EINVAL): it does not reach far-gpu0", unreachable],
        ),
        (
            target("ssd1", auto.clone(), &["far-gpu0"]),
            true,
            "NOT_ENABLED",
            vec!["it reaches no published provider; far-gpu0: ", unreachable],
        ),
        (
            hidden(target("ssd0", auto.clone(), &["gpu0"])),
            true,
            "NOT_ENABLED",
            vec!["it reaches no published provider; gpu0 has not published its memory"],
        ),
        (target("ssd0", auto.clone(), &[]), true, "NOT_ENABLED", vec!["it reaches no published provider"]),
        // The adapter does not: ordinary memory.
        (
            far(target("ssd0", named("gpu0"), &["gpu0"])),
            false,
            "NOT_SUPPORTED",
            vec!["far-nic0 cannot reach gpu0", unreachable],
        ),
        (
            far(target("ssd0", auto.clone(), &["ssd0"])),
            false,
            "NO_PROVIDER",
            vec!["no provider is found for far-nic0 and ssd0; ssd0: ", unreachable],
        ),
        (
            far(target("ssd0", auto, &["gpu0", "far-gpu0"])),
            false,
            "NO_PROVIDER",
            vec!["no provider is found for far-nic0 and ssd0; gpu0: ", "; far-gpu0: "],
        ),
        // A provider that publishes nothing cannot be named.
        (
            hidden(target("ssd0", named("gpu0"), &["gpu0"])),
            false,
            "NO_PROVIDER",
            vec!["the namespace's attribute stays off: gpu0 has published no memory (ENODEV)"],
        ),
        (
            target("ssd0", named("gpu0"), &["ssd0"]),
            false,
            "NO_PROVIDER",
            vec!["gpu0 has published no memory"],
        ),
    ] {
        for profile in ProfileName::ALL {
            for (transfer, ways) in WAYS {
                let memory = PeerMemory { transfer, ..memory.clone() };
                let found = outcome_of(&machine(UNLISTED), profile, 1, std::slice::from_ref(&memory));
                let of = &found.peer_memory[0];
                assert_eq!((causes(of), of.granted), (vec![cause], 0));
                assert_eq!(of.refusals(), of.requests);
                for text in &texts {
                    assert!(of.refused[0].text.contains(text), "{}", of.refused[0].text);
                }
                let namespace = &memory.target.as_ref().unwrap().namespace;
                assert_eq!(of.staged, if lost { 0 } else { of.requests });
                let clients = if lost { 0 } else { of.bytes.0 * ways.len() as u64 };
                assert_eq!(of.moved.0, clients);
                for way in ways {
                    let drive = moved(&found, &format!("target.host.{namespace}{way}"));
                    assert_eq!(drive, if lost { 0 } else { of.bytes.0 });
                }
                assert!(!lost || found.tlp_hops == 0);
            }
        }
    }
}

/// Ordinary memory that was asked for is no refusal.
#[test]
fn a_namespace_without_peer_memory_refuses_nothing() {
    let found = outcome(&target("ssd1", TargetMemory::Off, &["ssd0", "gpu0"]));
    let of = &found.peer_memory[0];
    assert_eq!((of.requests, of.granted, of.refusals(), of.staged), (100, 0, 0, 100));
    assert_eq!((of.moved, moved(&found, "target.host.ssd1")), (of.bytes, of.bytes.0));
    assert_eq!(found.errors, []);
    let names: Vec<&str> = found.flows.iter().map(|flow| flow.name.as_str()).collect();
    assert_eq!(names, ["target.nic0.host", "target.nic1.host", "target.host.ssd1"]);
}

/// Running out is soft: each request has its own answer.
#[test]
fn requests_beyond_what_is_there_use_ordinary_pages() {
    for (transfer, ways) in WAYS {
        let memory = PeerMemory {
            providers: vec![part("gpu0", 0, 2 << 20)],
            sizes: Distribution::Fixed(Bytes::kib(512)),
            transfer,
            ..target("ssd0", TargetMemory::Automatic, &[])
        };
        let found = outcome(&memory);
        let of = &found.peer_memory[0];
        assert_eq!(causes(of), ["EXHAUSTED"]);
        assert!(of.granted > 0 && of.staged == of.refusals());
        for way in ways {
            assert_eq!(moved(&found, &format!("target.ssd0.gpu0{way}")), of.granted_bytes.0);
            assert_eq!(moved(&found, &format!("target.host.ssd0{way}")), of.staged_bytes.0);
        }
        let space = found.spaces.iter().find(|space| space.name.starts_with("gpu0 p2pmem")).unwrap();
        assert_eq!(space.refusals, of.refusals());
    }
}

/// Order and time: a write is in the memory before the drive reads it, a read before the adapter does.
#[test]
fn the_second_device_waits_for_the_first() {
    for (transfer, first, second) in [
        (Transfer::Write, "target.nic0.gpu0", "target.ssd0.gpu0"),
        (Transfer::Read, "target.ssd0.gpu0", "target.nic0.gpu0"),
    ] {
        let memory = PeerMemory {
            clients: vec!["nic0".into()],
            sizes: Distribution::Fixed(Bytes::mib(4)),
            requests: 1,
            transfer,
            ..target("ssd0", named("gpu0"), &["gpu0"])
        };
        let found = outcome(&memory);
        let times = |name| {
            let flow = found.flows.iter().find(|flow| flow.name == name).unwrap();
            (flow.start, flow.end)
        };
        // A write is over for the engine when its last packet is sent, some nanoseconds before it arrives.
        let (first, second) = (times(first), times(second));
        assert!(second.0 + Picos::nanos(100) > first.1 && second.1 > first.1, "{first:?} {second:?}");
        assert!(first.1 > first.0 + Picos::micros(100), "{first:?}");
    }
}

/// What cannot be mapped when its turn comes fails; by then there is no other memory. A drive with 2 MiB of I/O addresses, of which
/// the upper half goes to a buffer in host memory, can map nothing else that is aligned to 1 MiB: the first page is never used.
#[test]
fn what_a_device_cannot_map_fails() {
    for (transfer, size, by_adapter, fails) in [
        (Transfer::Write, 600, true, true),
        (Transfer::Read, 600, false, true),
        (Transfer::Write, 4, true, false),
        (Transfer::Read, 4, true, false),
    ] {
        let memory = PeerMemory {
            clients: vec!["nic0".into()],
            sizes: Distribution::Fixed(Bytes::kib(size)),
            outstanding: 1,
            transfer,
            ..target("ssd0", named("far-gpu0"), &["far-gpu0"])
        };
        for profile in ProfileName::ALL {
            let kernel = settings(profile, IommuMode::Translate);
            let machine = machine(MILAN);
            let mut booted = boot(&machine, &kernel, &BootOptions::default());
            let drive = machine.devices.iter().find(|device| device.name == "ssd0").unwrap().functions[0];
            let drive = booted.os_function(drive).unwrap();
            booted.dma.device_mut(drive).unwrap().mask = (1 << 21) - 1;
            let workloads = [Workload::PeerMemory(Box::new(memory.clone()))];
            let found = run_booted(&machine, booted, &with(&kernel, &workloads)).unwrap().outcome;
            let of = &found.peer_memory[0];
            let all = of.bytes.0;
            assert_eq!((of.requests, of.staged), (50, 0));
            assert_eq!(of.granted, if fails { 0 } else { 50 }, "{transfer:?} {size}: {:?}", of.refused);
            assert_eq!(moved(&found, "target.nic0.far-gpu0"), if by_adapter { all } else { 0 });
            assert_eq!(moved(&found, "target.ssd0.far-gpu0"), if fails { 0 } else { all });
            assert_eq!(causes(of), if fails { vec!["FAILED"] } else { vec![] });
            let text =
                "ssd0 cannot map memory of far-gpu0: no IOVA, table memory or bounce buffer left (ENOMEM)";
            assert!(of.refused.iter().all(|refused| refused.text == text), "{:?}", of.refused);
            assert_eq!(of.pools[0].available, of.pools[0].size, "what failed is given back");
        }
    }
}

/// A drive's memory buffer is what its registers say, published if it holds data of both kinds.
#[test]
fn memory_buffers_are_registered_as_their_registers_say() {
    let buffer = |offset, size, write_data| MemoryBufferPart {
        bar: 0,
        offset: Bytes(offset),
        size: Bytes(size),
        read_data: true,
        write_data,
    };
    for (buffer, size, published, error) in [
        (buffer(0, 64 << 20, true), 64, true, None),
        (buffer(2 << 20, 16 << 20, true), 16, true, None),
        (buffer(32 << 20, 1 << 30, true), 32, true, None),
        (buffer(0, 64 << 20, false), 64, false, None),
        (buffer(0, 3 << 20, true), 0, false, Some(["(EINVAL)", "the driver takes no memory buffer"])),
        (buffer(64 << 20, 2 << 20, true), 0, false, Some(["begins outside its BAR"; 2])),
    ] {
        for profile in [ProfileName::Linux_6_12, ProfileName::Linux_7_3] {
            let mut machine = machine(UNLISTED);
            let ssd0 = machine.devices.iter_mut().find(|device| device.name == "ssd0").unwrap();
            ssd0.part.nvme = Some(NvmePart { memory_buffer: Some(buffer), ..NvmePart::default() });
            let memory = target("ssd1", TargetMemory::Automatic, &["ssd0"]);
            let found = outcome_of(&machine, profile, 1, &[memory]);
            let (of, pool) = (&found.peer_memory[0], &found.peer_memory[0].pools[0]);
            assert_eq!((pool.size, pool.published), (Bytes::mib(size), published), "{buffer:?}");
            assert_eq!(of.granted, if published { 100 } else { 0 });
            assert_eq!(causes(of), if published { vec![] } else { vec!["NOT_ENABLED"] });
            let refused = found.errors.iter().find(|error| error.kind == "REGISTRATION_REFUSED");
            let expect = error.map(|texts| texts[usize::from(profile == ProfileName::Linux_7_3)]);
            assert_eq!(refused.is_some(), expect.is_some());
            let said = refused.map_or("", |refused| refused.text.as_str());
            assert!(said.contains(expect.unwrap_or_default()), "{said}");
            // An entry that says itself which part is meant has nothing to do with the buffer.
            let memory = PeerMemory {
                providers: vec![part("ssd0", 0, 8 << 20)],
                ..target("ssd1", TargetMemory::Automatic, &[])
            };
            let found = outcome_of(&machine, profile, 1, &[memory]);
            assert_eq!(
                (found.peer_memory[0].granted, found.peer_memory[0].pools[0].size),
                (100, Bytes::mib(8))
            );
        }
    }
}

#[test]
fn targets_that_cannot_run_are_refused() {
    for (memory, problem) in [
        (target("ssd*", TargetMemory::Off, &[]), "not one device is called `ssd*`"),
        (target("ssd7", TargetMemory::Off, &[]), "not one device is called `ssd7`"),
        (target("ssd0", named("gpu7"), &[]), "not one device is called `gpu7`"),
        (target("nic0", TargetMemory::Off, &[]), "nic0 is a client and stores the namespace"),
    ] {
        let workloads = [Workload::PeerMemory(Box::new(memory))];
        let kernel = KernelSettings::default();
        let error = run(&machine(UNLISTED), &with(&kernel, &workloads)).unwrap_err();
        assert!(error.problem.contains(problem), "{error}");
    }
}

/// Random targets, with and without an IOMMU: every request is answered once, and what adapters move, the drive moves, except
/// in its own memory.
#[test]
fn random_targets_lose_nothing() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24u64);
    for case in 0..cases {
        println!("case {case}");
        let mut dice = Stream::new(91, case);
        let mut pick = |count: u64| usize::try_from(dice.below(count)).unwrap();
        let memory =
            [TargetMemory::Off, TargetMemory::Automatic, named("gpu0"), named("ssd0"), named("far-gpu0")];
        let namespace = ["ssd0", "ssd1"][pick(2)];
        let provides =
            [part("ssd0", 0, 4 << 20), part("gpu0", 2 << 20, 2 << 20), part("far-gpu0", 0, 8 << 20)];
        let from = pick(3);
        let spec = PeerMemory {
            providers: provides[from..].to_vec(),
            publish: pick(6) > 0,
            clients: [vec!["nic*".into()], vec!["far-nic0".into(), "nic1".into()]][pick(2)].clone(),
            sizes: [Distribution::Fixed(Bytes(5000)), Distribution::Uniform(Bytes(1), Bytes::mib(1))]
                [pick(2)]
            .clone(),
            outstanding: [1, 3, 40][pick(3)],
            requests: 30,
            transfer: [Transfer::Write, Transfer::Read, Transfer::WriteThenRead, Transfer::Nothing][pick(4)],
            refused: WhenRefused::Fail,
            intervals: Distribution::Uniform(Picos::ZERO, Picos::micros(1)),
            ..target(namespace, memory[pick(5)].clone(), &[])
        };
        let (model, mode) =
            [(UNLISTED, IommuMode::None), (MILAN, IommuMode::None), (MILAN, IommuMode::Translate)][pick(3)];
        let kernel = settings(ProfileName::ALL[pick(3)], mode);
        let workloads = [Workload::PeerMemory(Box::new(spec.clone()))];
        let once = || run(&machine(model), &with(&kernel, &workloads)).unwrap();
        let found = once();
        assert_eq!(found, once());
        let of = &found.peer_memory[0];
        let lost: u64 = of.refused.iter().filter(|one| one.cause == "NOT_ENABLED").map(|one| one.count).sum();
        assert_eq!(of.requests, of.granted + of.staged + lost, "{spec:?}");
        let by_drive = |flow: &&peerbus_system::outcome::FlowOutcome| {
            flow.name.starts_with(&format!("target.{namespace}.")) || flow.name.starts_with("target.host.")
        };
        let drive: u64 = found.flows.iter().filter(by_drive).map(|flow| flow.delivered.0).sum();
        let own = of.pools.iter().filter(|pool| pool.provider == namespace);
        let own: u64 = own.map(|pool| pool.granted_bytes.0).sum();
        let ways = match spec.transfer {
            Transfer::Nothing => 0,
            Transfer::Write | Transfer::Read => 1,
            Transfer::WriteThenRead => 2,
        };
        assert_eq!(drive + ways * own, of.moved.0, "{spec:?}");
        assert!(of.pools.iter().all(|pool| pool.available == pool.size));
    }
}
