//! Buffers that devices share: who may attach, what a move and a revocation do, and that every byte stays right.

use peerbus_engine::Stream;
use peerbus_machine::Machine;
use peerbus_machine::catalogue::Catalogue;
use peerbus_system::expand::flows;
use peerbus_system::kernel::{IommuMode, KernelSettings, ProfileName};
use peerbus_system::outcome::{FlowOutcome, Outcome};
use peerbus_system::run::{RunInput, run};
use peerbus_system::shared_buffer::*;
use peerbus_system::shared_virtual::Order;
use peerbus_system::workload::Workload;
use peerbus_units::{Bytes, Picos};

use crate::run::{input, topologies};
use ImporterKind::*;

fn machine(text: &str) -> Machine {
    let file = peerbus_machine::synthetic::synthetic(text).expect("the form is one of ours");
    peerbus_machine::lower(&file, "", text, &Catalogue::embedded()).0.expect("and describes a machine")
}

/// A machine whose host bridge forwards between devices, as kernels know.
fn genoa() -> Machine {
    topologies().remove("genoa-nic-2gpu.ron").expect("the machine is one of ours")
}

const NEAR: &str = "1rc:1sw:3gpu+1nic@gen4x16";

fn exporter(driver: ExporterDriver) -> BufferExporter {
    BufferExporter::new("gpu0", driver)
}

fn importer(name: &str, device: &str, kind: ImporterKind) -> BufferImporter {
    BufferImporter::new(name, device, kind)
}

fn buffer(exporter: BufferExporter, importers: Vec<BufferImporter>) -> SharedBuffer {
    let (bytes, chunk) = (Bytes::mib(1), Bytes::kib(64));
    SharedBuffer { name: "buf".into(), bytes, chunk, exporter, importers }
}

fn kernel(profile: ProfileName) -> KernelSettings {
    KernelSettings { profile, ..KernelSettings::default() }
}

fn translating() -> KernelSettings {
    KernelSettings { iommu: Some(IommuMode::Translate), ..kernel(ProfileName::Linux_7_3) }
}

fn run_on(machine: &Machine, kernel: KernelSettings, workloads: Vec<Workload>, seed: u64) -> Outcome {
    run(machine, &RunInput { kernel, seed, ..input(workloads) }).expect("the workload can be set up")
}

fn run_new(spec: SharedBuffer) -> Outcome {
    let workload = Workload::SharedBuffer(Box::new(spec));
    run_on(&machine(NEAR), kernel(ProfileName::Linux_7_3), vec![workload], 0)
}

fn count(outcome: &Outcome, place: &str, counter: &str) -> u64 {
    let (place, counter) = (format!("buf.{place}"), format!("buffer.{counter}"));
    let found = outcome.counters.iter().find(|own| own.place == place && own.counter == counter);
    found.map_or(0, |own| own.count)
}

fn flow<'a>(outcome: &'a Outcome, name: &str) -> &'a FlowOutcome {
    outcome.flows.iter().find(|flow| flow.name == name).expect("the flow exists")
}

fn moving(every: u64, times: u32) -> Option<Moves> {
    Some(Moves { every: Picos::nanos(every), times })
}

/// What each kind of importer is told by each driver, and by each kernel.
#[test]
fn who_may_attach() {
    let machine = machine(NEAR);
    let check = |profile, change: fn(&mut SharedBuffer), kind, expect: Option<&str>| {
        let mut spec = buffer(exporter(ExporterDriver::Amdgpu), vec![importer("in", "nic0", kind)]);
        change(&mut spec);
        let outcome =
            run_on(&machine, kernel(profile), vec![Workload::SharedBuffer(Box::new(spec.clone()))], 0);
        let found = flow(&outcome, "buf.in");
        match (expect, &found.refusal) {
            (None, None) => assert_eq!(found.delivered, spec.bytes, "{profile:?} {kind:?}"),
            (Some(part), Some(text)) => {
                assert!(text.contains(part), "{profile:?} {kind:?}: {text}, not {part}");
                assert_eq!((found.delivered, found.refused), (Bytes::ZERO, spec.bytes));
                assert_eq!(count(&outcome, "in", "attach_refused"), 1);
                assert!(outcome.errors.iter().any(|error| error.kind == "ATTACH_REFUSED"));
            }
            (expect, found) => panic!("{profile:?} {kind:?}: {found:?}, not {expect:?}"),
        }
    };
    let (old, new) = (ProfileName::Linux_6_12, ProfileName::Linux_7_3);
    let gpu: fn(&mut SharedBuffer) = |_| {};
    let vfio: fn(&mut SharedBuffer) = |spec| spec.exporter = exporter(ExporterDriver::Vfio);
    let stuck: fn(&mut SharedBuffer) = |spec| {
        spec.exporter = exporter(ExporterDriver::Xe);
        spec.exporter.places = BufferPlaces::Device;
    };
    for kind in [Gpu, Static, OnDemand, Revocable] {
        check(old, gpu, kind, None);
        check(new, gpu, kind, None);
        check(old, vfio, kind, Some("buffers are not exported (EOPNOTSUPP)"));
    }
    for kind in [Pinned, DataDirect] {
        check(new, gpu, kind, None);
        check(old, gpu, kind, Some("must have a callback (EINVAL)"));
        check(new, vfio, kind, Some("cannot let go of the buffer (EOPNOTSUPP)"));
    }
    for profile in [old, new] {
        check(profile, gpu, Ordinary, Some("no pages (EFAULT)"));
        check(profile, gpu, Iommufd, Some("VFIO"));
        check(profile, stuck, Static, Some("cannot move to system memory (EOPNOTSUPP)"));
        check(profile, stuck, OnDemand, None);
    }
    for kind in [Gpu, OnDemand, Revocable] {
        check(new, vfio, kind, None);
    }
    check(new, vfio, Static, Some("does not reach the exporter's memory (EOPNOTSUPP)"));
    check(new, vfio, Iommufd, Some("no IOMMU"));
    let born_revoked: fn(&mut SharedBuffer) = |spec| {
        spec.exporter = exporter(ExporterDriver::Vfio);
        spec.exporter.memory_disabled = true;
    };
    check(new, born_revoked, OnDemand, Some("the buffer is revoked (ENODEV)"));
    let beyond: fn(&mut SharedBuffer) = |spec| {
        spec.exporter = exporter(ExporterDriver::Vfio);
        spec.exporter.offset = Bytes(1 << 49);
    };
    check(new, beyond, OnDemand, Some("beyond the BAR (EINVAL)"));
    let unaligned: fn(&mut SharedBuffer) = |spec| spec.bytes = Bytes(5000);
    check(new, unaligned, DataDirect, Some("cannot be made of this (EINVAL)"));
    check(new, unaligned, OnDemand, None);
}

/// Where the bytes of importers are, by flag and distance; what a GPU keeps to itself depends on the kernel.
#[test]
fn one_importer_brings_the_buffer_to_system_memory() {
    let late = |mut importer: BufferImporter, micros: u64| {
        importer.start = Picos::nanos(1000 * micros);
        importer
    };
    let mut gpu = importer("gpu", "gpu1", Gpu);
    gpu.bytes = Some(Bytes::mib(64));
    let alone = run_new(buffer(exporter(ExporterDriver::Amdgpu), vec![gpu.clone()]));
    assert_eq!((count(&alone, "gpu", "bytes_device"), count(&alone, "gpu", "bytes_ram")), (64 << 20, 0));
    let found = flow(&alone, "buf.gpu");
    assert_eq!(found.map_type.as_deref(), Some("BUS_ADDR"));
    assert!(found.distance.is_some() && found.dma_kind.as_deref() == Some("BUS"), "{found:?}");
    let mut without = late(importer("plain", "gpu2", Gpu), 500);
    without.peer2peer = Some(false);
    let beside = run_new(buffer(exporter(ExporterDriver::Amdgpu), vec![gpu.clone(), without]));
    assert_eq!(count(&beside, "gpu0", "moves"), 1);
    assert_eq!((count(&beside, "gpu", "invalidations"), count(&beside, "gpu", "mappings")), (1, 2));
    let (device, ram) = (count(&beside, "gpu", "bytes_device"), count(&beside, "gpu", "bytes_ram"));
    assert!(device > 0 && ram > 0 && device + ram == 64 << 20, "{device} {ram}");
    assert_eq!(flow(&beside, "buf.plain").map_type.as_deref(), Some("SYSTEM_MEMORY"));
    assert_eq!(flow(&beside, "buf.gpu0.leave").delivered, Bytes::mib(1));
    let mut asleep = exporter(ExporterDriver::Amdgpu);
    asleep.asleep = true;
    let machine = machine(NEAR);
    for (profile, in_ram) in [(ProfileName::Linux_6_12, false), (ProfileName::Linux_7_3, true)] {
        let spec = buffer(asleep.clone(), vec![importer("gpu", "gpu1", Gpu)]);
        let outcome = run_on(&machine, kernel(profile), vec![Workload::SharedBuffer(Box::new(spec))], 0);
        assert_eq!(count(&outcome, "gpu", "bytes_ram") > 0, in_ram, "{profile:?}");
    }
}

/// A move tells who can let go; those who map again find the buffer where it went. Pins refuse moves.
#[test]
fn moves_wait_for_importers_and_pins_refuse_them() {
    let mut exporter = exporter(ExporterDriver::Amdgpu);
    exporter.moves = moving(300_000, 3);
    let mut send = importer("send", "nic0", OnDemand);
    send.bytes = Some(Bytes::mib(96));
    let mut jobs = importer("jobs", "gpu1", Gpu);
    (jobs.bytes, jobs.access) = (Some(Bytes::mib(96)), BufferAccess::Write);
    let outcome = run_new(buffer(exporter.clone(), vec![send.clone(), jobs.clone()]));
    assert_eq!(count(&outcome, "gpu0", "moves"), 3);
    assert_eq!((count(&outcome, "send", "faults"), count(&outcome, "send", "mappings")), (3, 4));
    assert_eq!((count(&outcome, "jobs", "invalidations"), count(&outcome, "jobs", "faults")), (3, 0));
    assert_eq!(flow(&outcome, "buf.gpu0.leave").delivered, Bytes::mib(2));
    assert_eq!(flow(&outcome, "buf.gpu0.arrive").delivered, Bytes::mib(1));
    for name in ["send", "jobs"] {
        assert!(count(&outcome, name, "bytes_device") > 0 && count(&outcome, name, "bytes_ram") > 0);
        assert_eq!(count(&outcome, name, "wrong_reads"), 0);
        assert_eq!(flow(&outcome, &format!("buf.{name}")).delivered, Bytes::mib(96));
    }
    let holder = importer("holder", "gpu2", Static);
    for (holder, at) in [(importer("holder", "gpu2", Pinned), "bytes_device"), (holder, "bytes_ram")] {
        let mut holder = holder;
        holder.bytes = Some(Bytes::mib(96));
        let outcome = run_new(buffer(exporter.clone(), vec![holder, send.clone()]));
        assert_eq!(count(&outcome, "gpu0", "moves_refused"), 3);
        assert_eq!(count(&outcome, "holder", at), 96 << 20);
        let refused = outcome.errors.iter().find(|error| error.kind == "MOVE_REFUSED").expect("it is told");
        assert_eq!((refused.text.as_str(), refused.count), ("the buffer is pinned by holder", 3));
    }
}

/// A reset takes the BAR away and gives it back: whoever maps again goes on, the others are cut off for good.
#[test]
fn vfio_takes_its_buffer_away() {
    let machine = genoa();
    let mut exporter = exporter(ExporterDriver::Vfio);
    let (every, lasts) = (Picos::nanos(200_000), Picos::nanos(100_000));
    exporter.revokes = Some(Revokes { every, times: 2, lasts });
    let mut importers = vec![
        importer("send", "nic0", OnDemand),
        importer("jobs", "gpu1", Gpu),
        importer("taken", "nic0", Revocable),
        importer("guest", "gpu1", Iommufd),
        importer("late", "gpu1", Gpu),
    ];
    importers.iter_mut().for_each(|importer| importer.bytes = Some(Bytes::mib(64)));
    importers[4].start = Picos::nanos(250_000);
    let spec = Workload::SharedBuffer(Box::new(buffer(exporter, importers)));
    let outcome = run_on(&machine, translating(), vec![spec], 0);
    assert_eq!(count(&outcome, "gpu0", "revocations"), 2, "{:?}", outcome.counters);
    for name in ["send", "jobs"] {
        let found = flow(&outcome, &format!("buf.{name}"));
        assert_eq!(found.delivered, Bytes::mib(64), "{name}: {:?}", found.refusal);
        assert_eq!(found.dma_kind.as_deref(), Some("IOVA"));
        assert_eq!(
            (count(&outcome, name, "invalidations"), count(&outcome, name, "failed_accesses")),
            (2, 2)
        );
    }
    for (name, why) in [
        ("taken", "revoked for good"),
        ("guest", "fault in the IOMMU"),
        ("late", "the buffer is revoked (ENODEV)"),
    ] {
        let found = flow(&outcome, &format!("buf.{name}"));
        let refusal = found.refusal.as_deref().expect("it is cut off");
        assert!(refusal.contains(why) && found.delivered < Bytes::mib(64), "{name}: {refusal}");
    }
    assert!(outcome.errors.iter().any(|error| error.kind == "IOMMU_FAULT"), "{:?}", outcome.errors);
}

/// Where XGMI joins two GPUs, amdgpu lets one reach the other's memory by it.
#[test]
fn xgmi_reaches_the_buffer() {
    let machine = topologies().remove("rome-8gpu-mi100-hive.ron").expect("the machine is one of ours");
    for (driver, map_type) in
        [(ExporterDriver::Amdgpu, "PRIVATE_LINK"), (ExporterDriver::Xe, "BUS_ADDR or THRU_HOST_BRIDGE")]
    {
        let spec = buffer(exporter(driver), vec![importer("in", "gpu1", Gpu)]);
        let spec = Workload::SharedBuffer(Box::new(spec));
        let outcome = run_on(&machine, kernel(ProfileName::Linux_7_3), vec![spec], 0);
        let found = flow(&outcome, "buf.in").map_type.clone().expect("it was mapped");
        assert!(map_type.contains(&found), "{driver:?}: {found}");
    }
}

/// Random buffers: any driver, importers, moves and revocations, with and without an IOMMU. No read is wrong, everything
/// comes to an end with nothing mapped (which runs assert), and the same seed gives the same run.
#[test]
fn random_buffers_stay_right() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60u64);
    let first = std::env::var("PEERBUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    let machines = [machine(NEAR), machine("2rc:1sw:2gpu+1nic@gen5x16"), genoa()];
    let (mut moves, mut revocations, mut refused, mut reads) = (0, 0, 0, 0);
    for seed in first..first + cases {
        let mut stream = Stream::new(seed, 78);
        let machine = &machines[usize::try_from(stream.below(3)).unwrap()];
        let spec = random_buffer(&mut stream, machine);
        let profile = ProfileName::ALL[usize::try_from(stream.below(5)).unwrap().min(2)];
        let iommu = if stream.below(2) == 0 { Some(IommuMode::Translate) } else { None };
        let kernel = KernelSettings { iommu, ..kernel(profile) };
        let workloads = vec![Workload::SharedBuffer(Box::new(spec.clone()))];
        let outcome = run_on(machine, kernel.clone(), workloads.clone(), seed);
        let names: Vec<&str> = outcome.flows.iter().map(|flow| flow.name.as_str()).collect();
        let planned = flows(machine, &workloads);
        let planned: Vec<&str> = planned.iter().map(|flow| flow.name.as_str()).collect();
        assert_eq!(names, planned, "seed {seed}");
        for own in &outcome.counters {
            let wrong = own.counter == "buffer.wrong_reads" && own.count > 0;
            assert!(!wrong, "seed {seed}: {own:?} in {spec:?}");
        }
        for importer in &spec.importers {
            let found = flow(&outcome, &format!("buf.{}", importer.name));
            let at = |counter| count(&outcome, &importer.name, counter);
            let (device, ram) = (at("bytes_device"), at("bytes_ram"));
            assert_eq!(found.delivered.0, device + ram, "seed {seed}: {}", importer.name);
            let done = found.delivered == importer.bytes.expect("the test says how many");
            let refusal = &found.refusal;
            assert_eq!(done, refusal.is_none(), "seed {seed}: {}: {refusal:?} in {spec:?}", importer.name);
            refused += u64::from(!done);
            reads += u64::from(importer.access == BufferAccess::Read) * (device + ram) / spec.chunk.0;
        }
        moves += count(&outcome, &spec.exporter.device, "moves");
        revocations += count(&outcome, &spec.exporter.device, "revocations");
        let again = run_on(machine, kernel, workloads, seed);
        assert_eq!(again, outcome, "seed {seed}");
    }
    println!(
        "{cases} buffers from seed {first}: {moves} moves, {revocations} revocations, {reads} reads of chunks, \
         {refused} importers refused"
    );
}

fn random_buffer(stream: &mut Stream, machine: &Machine) -> SharedBuffer {
    let mut below = |bound: usize| usize::try_from(stream.below(bound as u64)).unwrap();
    let gpus: Vec<&String> =
        machine.devices.iter().map(|device| &device.name).filter(|name| name.starts_with("gpu")).collect();
    let owner = gpus[below(gpus.len())].clone();
    let drivers = [ExporterDriver::Amdgpu, ExporterDriver::Xe, ExporterDriver::Vfio];
    let mut exporter = BufferExporter { device: owner.clone(), ..exporter(drivers[below(3)]) };
    if exporter.driver == ExporterDriver::Vfio {
        let (every, lasts) = (Picos::nanos(1 + below(100_000) as u64), Picos::nanos(below(50_000) as u64));
        exporter.revokes = Some(Revokes { every, times: 1 + small(below(5)), lasts });
        exporter.memory_disabled = below(8) == 0;
    } else {
        exporter.places =
            [BufferPlaces::Both, BufferPlaces::Both, BufferPlaces::Device, BufferPlaces::System][below(4)];
        (exporter.compressed, exporter.asleep) = (below(6) == 0, below(6) == 0);
        exporter.moves = moving(1 + below(100_000) as u64, 1 + small(below(12)));
    }
    let others: Vec<&String> =
        machine.devices.iter().map(|device| &device.name).filter(|name| **name != owner).collect();
    let kinds = [Gpu, Gpu, OnDemand, OnDemand, Static, Pinned, Revocable, DataDirect, Ordinary, Iommufd];
    let importers = (0..1 + below(5)).map(|number| {
        let kind = kinds[below(kinds.len())];
        let orders = [Order::Sequential, Order::Random, Order::Strided(1 + below(9) as u64), Order::Zipf(1)];
        BufferImporter {
            peer2peer: (kind == Gpu && below(3) == 0).then_some(false),
            access: if below(2) == 0 { BufferAccess::Read } else { BufferAccess::Write },
            bytes: Some(Bytes(1 + below(8 << 20) as u64)),
            order: orders[below(4)],
            outstanding: 1 + small(below(12)),
            start: Picos::nanos(below(100_000) as u64),
            ..importer(&format!("i{number}"), others[below(others.len())], kind)
        }
    });
    let importers = importers.collect();
    let chunk = Bytes(4096 << below(6));
    let bytes = Bytes((1 + below(256) as u64) * 4096 + if below(6) == 0 { 1000 } else { 0 });
    SharedBuffer { name: "buf".into(), bytes, chunk, exporter, importers }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("a draw below 2^32")
}
