//! Memory that processes share with devices: what moves, how long it takes, and that every byte stays right.

use peerbus_engine::Stream;
use peerbus_fabric::LinkLayer;
use peerbus_machine::Machine;
use peerbus_machine::catalogue::Catalogue;
use peerbus_system::expand::flows;
use peerbus_system::kernel::{KernelSettings, ProfileName};
use peerbus_system::outcome::{COUNTERS, FlowOutcome, Outcome};
use peerbus_system::run::{RunInput, run};
use peerbus_system::shared_virtual::*;
use peerbus_system::space::SpaceKind;
use peerbus_system::workload::{Addresses, Copy, Engine, Packets, Way, WhenRefused, Workload};
use peerbus_units::{Bytes, Picos};

pub(super) fn machine(text: &str) -> Machine {
    let file = peerbus_machine::synthetic::synthetic(text).expect("the form is one of ours");
    peerbus_machine::lower(&file, "", text, &Catalogue::embedded()).0.expect("and describes a machine")
}

pub(super) fn activity(name: &str, by: &str, touch: Touch) -> Activity {
    Activity {
        name: name.into(),
        by: by.into(),
        range: "data".into(),
        touch,
        order: Order::Sequential,
        touches: None,
        bytes: Bytes::kib(4),
        reach: Reaching::Migrate,
    }
}

pub(super) fn gpu(device: &str, memory: u64) -> SharedGpu {
    SharedGpu {
        device: device.into(),
        driver: GpuDriver::Xe,
        memory: Some(Bytes::mib(memory)),
        owner: None,
        peer_pages: false,
        pages: GpuPages::Private,
        granule: None,
        time_slice: None,
    }
}

pub(super) fn range(name: &str, mebibytes: u64) -> SharedRange {
    SharedRange {
        name: name.into(),
        bytes: Bytes::mib(mebibytes),
        huge: true,
        process: None,
        preferred: None,
    }
}

pub(super) fn shared(mebibytes: u64, gpus: Vec<SharedGpu>, phases: Vec<Vec<Activity>>) -> SharedVirtual {
    let ranges = vec![range("data", mebibytes)];
    SharedVirtual { name: "svm".into(), ranges, gpus, numbers: None, phases }
}

pub(super) fn run_all(
    machine: &Machine,
    profile: ProfileName,
    workloads: Vec<Workload>,
    seed: u64,
) -> Outcome {
    let input = RunInput {
        kernel: KernelSettings { profile, ..KernelSettings::default() },
        link_layer: LinkLayer::ByRule,
        workloads,
        events: Vec::new(),
        apertures: Vec::new(),
        ntbs: Vec::new(),
        seed,
        scaling: Vec::new(),
        device_memory: None,
    };
    run(machine, &input).expect("the workload can be set up")
}

pub(super) fn run_one(machine: &Machine, profile: ProfileName, spec: SharedVirtual) -> Outcome {
    run_all(machine, profile, vec![Workload::SharedVirtual(Box::new(spec))], 0)
}

pub(super) fn count(outcome: &Outcome, place: &str, counter: &str) -> u64 {
    let place = format!("svm.{place}");
    let found = outcome.counters.iter().find(|own| own.place == place && own.counter == counter);
    found.map_or(0, |own| own.count)
}

pub(super) fn flow<'a>(outcome: &'a Outcome, name: &str) -> &'a FlowOutcome {
    outcome.flows.iter().find(|flow| flow.name == name).expect("the flow exists")
}

/// Faults on 2 MiB that a CPU filled, by the published times of an Intel GPU under xe: the whole fault and, of it, moving and
/// copying, in pages of 4 KiB (a kernel that splits huge pages) and as one huge page.
#[test]
fn faults_take_what_was_measured() {
    let machine = machine("1rc:1sw:1gpu@gen4x16");
    for (profile, fault, moving, copying) in
        [(ProfileName::Linux_6_12, 966, 942, 223), (ProfileName::Linux_7_3, 132, 128, 106)]
    {
        let fill = activity("fill", "cpu0", Touch::Write);
        let spec =
            shared(2, vec![gpu("gpu0", 64)], vec![vec![fill], vec![activity("use", "gpu0", Touch::Read)]]);
        let outcome = run_one(&machine, profile, spec);
        let nanos = |steps: &[&str]| -> u64 {
            steps.iter().map(|step| count(&outcome, "gpu0", &format!("hmm.ns_{step}"))).sum()
        };
        let copied = nanos(&["copy", "transfer"]);
        let moved = copied + nanos(&["collect", "unmap", "shootdown", "allocate", "finish"]);
        let whole = flow(&outcome, "svm.use").latency_p50.0 / 1000;
        for (what, found, expected) in
            [("fault", whole, fault), ("moving", moved, moving), ("copying", copied, copying)]
        {
            let off = found.abs_diff(expected * 1000) * 100 / (expected * 1000);
            assert!(off <= 15, "{profile:?}: {what} took {found} ns, measured {expected} us");
        }
    }
}

#[test]
fn migration_follows_the_link() {
    let rate = |generation: u8| {
        let machine = machine(&format!("1rc:1sw:1gpu@gen{generation}x16"));
        let fill = activity("fill", "cpu0", Touch::Write);
        let spec =
            shared(32, vec![gpu("gpu0", 64)], vec![vec![fill], vec![activity("use", "gpu0", Touch::Read)]]);
        let outcome = run_one(&machine, ProfileName::Linux_7_3, spec);
        let nanos = count(&outcome, "gpu0", "hmm.ns_transfer");
        (32 << 20) / nanos.max(1)
    };
    let rates: Vec<u64> = (1..=5).map(rate).collect();
    assert!(rates.windows(2).all(|pair| 2 * pair[1] > 3 * pair[0]), "bytes per ns by generation: {rates:?}");
}

/// A copy that comes down the same link is slowed down by pages that come to a GPU, and one that does not is not.
#[test]
fn migration_competes_for_links() {
    let machine = machine("1rc:1sw:3gpu@gen4x16");
    let copy = |from: &str, to: &str| {
        Workload::Copy(Copy {
            name: "copy".into(),
            from: from.into(),
            to: to.into(),
            bytes: Bytes::mib(16),
            chunk: Bytes::mib(2),
            engine: Engine::Writer,
            refused: WhenRefused::Fail,
            way: Way::Pcie,
            start: Picos::ZERO,
            dma_shift: Bytes::ZERO,
            addresses: Addresses::Dma,
            packets: Packets::default(),
            memory_at: None,
            through: None,
        })
    };
    let reading =
        Activity { reach: Reaching::InPlace, touches: Some(20_000), ..activity("use", "gpu0", Touch::Read) };
    let spec = shared(32, vec![gpu("gpu0", 64)], vec![vec![reading]]);
    let rate = |copy: Workload, beside: bool| {
        let mut workloads = vec![copy];
        if beside {
            workloads.push(Workload::SharedVirtual(Box::new(spec.clone())));
        }
        let outcome = run_all(&machine, ProfileName::Linux_7_3, workloads, 0);
        flow(&outcome, "copy").bytes_per_second().expect("the copy delivers")
    };
    // All below one switch: pages from RAM and a copy to the same GPU come down its link, a copy to another one meets nothing.
    let (across, beside) = (rate(copy("gpu1", "gpu2"), false), rate(copy("gpu1", "gpu2"), true));
    assert!(beside * 100 > across * 97, "{beside} beside pages of others, {across} alone");
    let (alone, sharing) = (rate(copy("gpu1", "gpu0"), false), rate(copy("gpu1", "gpu0"), true));
    assert!(sharing * 100 < alone * 70, "{sharing} with pages on the same link, {alone} alone");
    assert!(sharing * 100 > alone * 40, "arbitration leaves a half: {sharing} of {alone}");
    // The breakdown says so: what a byte waits longer than alone, it waits for others to go first and for the buffers they hold;
    // the link that both use is the limit.
    let outcome = |beside: bool| {
        let mut workloads = vec![copy("gpu1", "gpu0")];
        if beside {
            workloads.push(Workload::SharedVirtual(Box::new(spec.clone())));
        }
        run_all(&machine, ProfileName::Linux_7_3, workloads, 0)
    };
    let (alone, sharing) = (outcome(false), outcome(true));
    let spent = |outcome: &Outcome, causes: &[&str]| -> u64 {
        let time = &flow(outcome, "copy").time;
        time.iter()
            .filter(|(cause, _)| causes.is_empty() || causes.contains(cause))
            .map(|(_, time)| time.0)
            .sum()
    };
    let more = |causes: &[&str]| spent(&sharing, causes).saturating_sub(spent(&alone, causes));
    let (waits, all) = (more(&["arbitration", "credits"]), more(&[]));
    assert!(waits * 10 > all * 9, "{waits} of {all} ps more are waiting: {:?}", flow(&sharing, "copy").time);
    assert!(flow(&sharing, "copy").limited_by.iter().any(|limit| limit.contains("gpu0")));
}

/// What fits comes once; a stream through more than fits evicts what it will need.
#[test]
fn what_does_not_fit_comes_again_and_again() {
    let machine = machine("1rc:1sw:1gpu@gen4x16");
    for (size, evicted, arrived) in [(24, 0, 24), (48, 112, 144)] {
        let again = Activity { touches: Some(3 * size * 256), ..activity("use", "gpu0", Touch::Write) };
        let fill = activity("fill", "cpu0", Touch::Write);
        let spec = shared(size, vec![gpu("gpu0", 32)], vec![vec![fill], vec![again]]);
        let outcome = run_one(&machine, ProfileName::Linux_7_3, spec);
        let pages = |counter| count(&outcome, "gpu0", counter) / 256;
        assert_eq!(
            (pages("hmm.pages_evicted"), pages("hmm.pages_arrived")),
            (evicted, arrived),
            "{size} MiB"
        );
        assert_eq!(flow(&outcome, "svm.gpu0.leave").bytes, Bytes::mib(evicted));
        let memory = outcome.spaces.iter().find(|space| space.kind == SpaceKind::DeviceMemory).unwrap();
        assert_eq!((memory.size, memory.peak), (32 << 20, size.min(32) << 20), "{size} MiB");
        assert!(memory.is_followed() && memory.samples[0].used == 0, "{:?}", memory.samples);
        assert_eq!(flow(&outcome, "svm.gpu0.arrive").bytes, Bytes::mib(arrived));
    }
}

/// Without room for page structs nothing moves: the GPU uses pages where they are, and the run says why.
#[test]
fn without_page_structs_pages_stay() {
    let mut machine = machine("1rc:1sw:1gpu@gen4x16");
    machine.cpus[0].part.physical_bits = 40;
    let fill = activity("fill", "cpu0", Touch::Write);
    let phases = vec![vec![fill], vec![activity("use", "gpu0", Touch::Read)]];
    let fits = run_one(&machine, ProfileName::Linux_7_3, shared(8, vec![gpu("gpu0", 64)], phases.clone()));
    assert_eq!(count(&fits, "gpu0", "hmm.pages_arrived"), 2048);
    // As much memory as there are addresses.
    machine.devices[0].memory = Some(Bytes(1 << 40));
    let all = SharedGpu { memory: None, ..gpu("gpu0", 0) };
    for (numbers, arrived) in [(PageNumbers::PhysicalSpace, 0), (PageNumbers::OwnSpace, 2048)] {
        let spec = SharedVirtual { numbers: Some(numbers), ..shared(8, vec![all.clone()], phases.clone()) };
        let outcome = run_one(&machine, ProfileName::Linux_7_3, spec);
        assert_eq!(count(&outcome, "gpu0", "hmm.pages_arrived"), arrived, "{numbers:?}");
        let refused = outcome.errors.iter().any(|error| error.kind == "DEVICE_MEMORY_REFUSED");
        assert_eq!(refused, arrived == 0, "{numbers:?}: {:?}", outcome.errors);
        let (kind, other) = match numbers {
            PageNumbers::PhysicalSpace => (SpaceKind::PhysicalAddresses, SpaceKind::PrivateOffsets),
            PageNumbers::OwnSpace => (SpaceKind::PrivateOffsets, SpaceKind::PhysicalAddresses),
        };
        assert!(outcome.spaces.iter().all(|space| space.kind != other), "{numbers:?}");
        let space = outcome.spaces.iter().find(|space| space.kind == kind).unwrap();
        assert_eq!((space.refusals, space.peak >= 1 << 40), (u64::from(refused), !refused), "{numbers:?}");
        let chain = space.first_refusal.as_ref().map(|first| (first.decided, first.chain.len()));
        assert_eq!(chain, refused.then_some(("limit", 4)), "{numbers:?}: {:?}", space.first_refusal);
        assert_eq!(flow(&outcome, "svm.use").delivered, Bytes::mib(8));
    }
}

/// Random processes: any driver, kernel, numbering and order, several agents at once. No byte is wrong, every touch is made, bytes
/// on the wires are whole pages that moved, and the same seed gives the same run.
#[test]
fn random_processes_lose_nothing() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12u64);
    let first = std::env::var("PEERBUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    let machine = machine("1rc:1sw:3gpu@gen5x16");
    for seed in first..first + cases {
        let mut stream = Stream::new(seed, 77);
        let spec = random_process(&mut stream);
        let profile = ProfileName::ALL[usize::try_from(stream.below(3)).unwrap()];
        let workloads = vec![Workload::SharedVirtual(Box::new(spec.clone()))];
        let outcome = run_all(&machine, profile, workloads.clone(), seed);
        let names: Vec<&str> = outcome.flows.iter().map(|flow| flow.name.as_str()).collect();
        let planned = flows(&machine, &workloads);
        let planned: Vec<&str> = planned.iter().map(|flow| flow.name.as_str()).collect();
        assert_eq!(names, planned, "seed {seed}");
        for own in &outcome.counters {
            assert!(own.counter != "hmm.wrong_reads" || own.count == 0, "seed {seed}: {own:?} in {spec:?}");
            assert!(COUNTERS.contains(&own.counter), "expectations know {}", own.counter);
        }
        for flow in &outcome.flows {
            let why = flow.refusal.as_deref().unwrap_or("no reason");
            // Others may take a page away as often as xe tries to get it.
            let gives_up = why.starts_with("an atomic access");
            assert!(
                flow.delivered == flow.bytes || gives_up,
                "seed {seed}: {}: {why} of {spec:?}",
                flow.name
            );
        }
        for device in ["gpu0", "gpu1"] {
            let arrived = flow(&outcome, &format!("svm.{device}.arrive")).bytes.0;
            assert!(arrived.is_multiple_of(4096), "seed {seed}: pages are whole");
            assert!(arrived <= 4096 * count(&outcome, device, "hmm.pages_arrived"), "seed {seed}: {device}");
        }
        let again = run_all(&machine, profile, workloads, seed);
        assert_eq!(again, outcome, "seed {seed}");
    }
    println!("{cases} processes from seed {first}");
}

fn random_process(stream: &mut Stream) -> SharedVirtual {
    let driver = |stream: &mut Stream| match stream.below(4) {
        0 => GpuDriver::Xe,
        1 => GpuDriver::Amdkfd,
        2 => GpuDriver::Uvmem,
        _ => GpuDriver::Nouveau,
    };
    let mut gpus = Vec::new();
    for device in ["gpu0", "gpu1"] {
        let owner = (stream.below(3) == 0).then(|| "both".to_owned());
        let peer_pages = stream.below(3) == 0;
        let memory = Some(Bytes::mib(2 + 2 * stream.below(4)));
        let driver = driver(stream);
        gpus.push(SharedGpu {
            device: device.into(),
            memory,
            owner,
            peer_pages,
            pages: if stream.below(4) == 0 { GpuPages::Coherent } else { GpuPages::Private },
            granule: (driver == GpuDriver::Amdkfd && stream.below(2) == 0)
                .then(|| u32::try_from(stream.below(11)).unwrap()),
            time_slice: (driver == GpuDriver::Xe).then(|| Picos::micros(1 + stream.below(200))),
            driver,
        });
    }
    let ranges = ["data", "more"].map(|name| SharedRange {
        name: name.into(),
        bytes: Bytes::mib(2 * (1 + stream.below(3))),
        huge: stream.below(2) == 0,
        process: (stream.below(3) == 0).then(|| name.to_owned()),
        preferred: (stream.below(3) == 0)
            .then(|| ["cpu0", "gpu0", "gpu1"][usize::try_from(stream.below(3)).unwrap()].to_owned()),
    });
    let mut phases = Vec::new();
    for phase in 0..1 + stream.below(3) {
        let mut activities = Vec::new();
        for agent in 0..1 + stream.below(4) {
            let by = ["cpu0", "gpu0", "gpu1", "gpu2"][usize::try_from(stream.below(4)).unwrap()];
            let order = match stream.below(4) {
                0 => Order::Random,
                1 => Order::Zipf(1),
                2 => Order::Strided(1 + stream.below(600)),
                _ => Order::Sequential,
            };
            // Pinned pages would be written by nobody else's mapping of them: only readers pin here.
            let reach = match stream.below(4) {
                0 => Reaching::InPlace,
                _ => Reaching::Migrate,
            };
            let touch = match stream.below(8) {
                0 => Touch::Atomic,
                1 => Touch::Prefetch,
                2..5 => Touch::Read,
                _ => Touch::Write,
            };
            activities.push(Activity {
                name: format!("a{phase}-{agent}"),
                by: by.into(),
                range: ranges[usize::try_from(stream.below(2)).unwrap()].name.clone(),
                touch,
                order,
                touches: Some(1 + stream.below(1000)),
                bytes: Bytes(1 + stream.below(4096)),
                reach,
            });
        }
        phases.push(activities);
    }
    let numbers = match stream.below(3) {
        0 => None,
        1 => Some(PageNumbers::PhysicalSpace),
        _ => Some(PageNumbers::OwnSpace),
    };
    SharedVirtual { name: "svm".into(), ranges: ranges.to_vec(), gpus, numbers, phases }
}
