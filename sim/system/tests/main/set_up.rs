//! What drivers set up before a run: pages that BARs show, and non-transparent bridges.

use peerbus_machine::{Catalogue, Machine, load_machine};
use peerbus_system::aperture::{Aperture, Pages, Run};
use peerbus_system::kernel::{IommuMode, KernelSettings};
use peerbus_system::ntb::Requesters;
use peerbus_system::outcome::Outcome;
use peerbus_system::run::{RunInput, run};
use peerbus_system::workload::{
    AbsentPages, AccessKind, Addresses, CacheState, Copy, CpuAccess, CpuMemory, DeviceRegion, Engine,
    HostDirection, HostDma, Initiator, Packets, Way, WhenRefused, Workload,
};
use peerbus_units::{Bytes, Picos};

use crate::run::input;

const MIB: Bytes = Bytes::mib(1);

fn load(text: &str) -> Machine {
    let (machine, found) = load_machine(text, "test.ron", &Catalogue::embedded());
    machine.unwrap_or_else(|| panic!("{found:?}"))
}

/// Two GPUs below a switch, of which the second shows 80 GiB by 256 MiB in pages of 2 MiB, with a private link between them.
fn small_bar() -> Machine {
    load(
        "(cpus: [(part: \"generic-cpu\")], host_bridges: [(ports: [(below: Switch(part: \"pex88096\", ports: [\
            (below: Device(part: \"a100-pcie-80g\")), (below: Device(part: \"a100-pcie-80g\", \
            bars: [(index: 1, size: \"256MiB\", kind: Mem64Prefetch)], aperture: (page: \"2MiB\")))]))])], \
            interconnects: [(part: \"nvlink3\", pairs: [(from: \"gpu0\", to: \"gpu1\")])])",
    )
}

/// Two hosts, each with two GPUs and a side of a bridge below a switch.
fn two_hosts() -> Machine {
    let host = |number: u8| {
        let gpu = "(link: (gen: 3), below: Device(part: \"a100-pcie-80g\"))";
        let side = format!("(below: Device(name: \"ntb{number}\", part: \"pex-87xx-ntb\"))");
        let switch = format!("Switch(part: \"pex8796\", ports: [{gpu}, {gpu}, {side}])");
        format!("(cpu: {number}, domain: {number}, ports: [(link: (gen: 3), below: {switch})])")
    };
    let hosts = [host(0), host(1)].join(", ");
    let cpu = "(part: \"amd-rome\", memory: \"64GiB\")";
    let bridge = "(from: \"ntb0\", to: \"ntb1\")";
    load(&format!("(cpus: [{cpu}, {cpu}], host_bridges: [{hosts}], ntbs: [{bridge}])"))
}

fn copy(from: &str, to: &str) -> Copy {
    Copy {
        packets: Packets::default(),
        name: "peer".into(),
        from: from.into(),
        to: to.into(),
        bytes: MIB,
        chunk: MIB,
        engine: Engine::Writer,
        refused: WhenRefused::Fail,
        way: Way::Pcie,
        start: Picos::ZERO,
        dma_shift: Bytes::ZERO,
        addresses: Addresses::Dma,
        memory_at: None,
        through: None,
    }
}

fn shows(pages: Pages) -> Vec<Aperture> {
    vec![Aperture { device: "gpu1".into(), pages }]
}

/// One copy from gpu0 to gpu1 of [`small_bar`].
fn to_small_bar(copy: Copy, apertures: Vec<Aperture>) -> Outcome {
    run(&small_bar(), &RunInput { apertures, ..input(vec![Workload::Copy(copy)]) }).unwrap()
}

fn kinds(outcome: &Outcome) -> Vec<(&str, Bytes)> {
    outcome.errors.iter().map(|error| (error.kind.as_str(), error.bytes)).collect()
}

#[test]
fn what_a_bar_does_not_show_is_refused() {
    let at = |at: Bytes, apertures| {
        let outcome = to_small_bar(Copy { memory_at: Some(at), ..copy("gpu0", "gpu1") }, apertures);
        let refusal = outcome.errors.iter().map(|error| error.text.clone()).collect::<String>();
        (outcome.flows[0].delivered, refusal)
    };
    // As drivers leave it, the BAR shows the first 256 MiB; 1 MiB from 255.5 MiB on goes beyond.
    assert_eq!(at(Bytes::mib(128), vec![]), (MIB, String::new()));
    let (delivered, refusal) = at(Bytes(255 * MIB.0 + MIB.0 / 2), vec![]);
    assert_eq!(delivered, Bytes::ZERO);
    assert!(refusal.contains("its BAR shows 512KiB in one piece"), "{refusal}");
    let (delivered, refusal) = at(Bytes::gib(20), vec![]);
    assert_eq!(delivered, Bytes::ZERO);
    assert!(refusal.contains("the BAR of gpu1 shows no memory at 20GiB"), "{refusal}");
    assert_eq!(at(Bytes::gib(20), shows(Pages::From(Bytes::gib(20)))), (MIB, String::new()));
    assert_eq!(at(Bytes::mib(128), shows(Pages::From(Bytes::gib(20)))).0, Bytes::ZERO);
}

#[test]
fn a_copy_without_a_place_goes_through_what_is_shown_first() {
    // 4 MiB of the BAR in two runs, whose memory is not in one piece: 16 MiB go round them.
    let run = |bar, memory| Run { bar: Bytes::mib(bar), memory: Bytes::mib(memory), size: Bytes::mib(2) };
    let wanted = Copy { bytes: Bytes::mib(16), ..copy("gpu0", "gpu1") };
    let outcome = to_small_bar(wanted, shows(Pages::Runs(vec![run(4, 100), run(6, 50), run(20, 0)])));
    assert_eq!((outcome.flows[0].delivered, kinds(&outcome)), (Bytes::mib(16), vec![]));
}

#[test]
fn a_wrong_place_behind_the_last_page_is_an_unsupported_request() {
    let wanted = Copy { dma_shift: Bytes(3 * MIB.0 / 2), ..copy("gpu0", "gpu1") };
    let page = Run { bar: Bytes::ZERO, memory: Bytes::gib(1), size: Bytes::mib(2) };
    let outcome = to_small_bar(wanted, shows(Pages::Runs(vec![page])));
    assert_eq!(outcome.flows[0].delivered, Bytes(MIB.0 / 2));
    assert_eq!(kinds(&outcome), [("APERTURE_FAULT", Bytes(MIB.0 / 2))]);
}

#[test]
fn a_private_interconnect_needs_no_page() {
    let wanted = Copy { memory_at: Some(Bytes::gib(70)), way: Way::Fastest, ..copy("gpu0", "gpu1") };
    let outcome = to_small_bar(wanted, vec![]);
    assert_eq!((outcome.flows[0].delivered, kinds(&outcome)), (MIB, vec![]));
}

#[test]
fn tables_that_cannot_be_are_told() {
    let run =
        |bar, memory, size| Run { bar: Bytes::mib(bar), memory: Bytes::mib(memory), size: Bytes::mib(size) };
    let check = |pages: Pages, expect: &str| {
        let input = RunInput { apertures: shows(pages), ..input(vec![Workload::Copy(copy("gpu0", "gpu1"))]) };
        let problem = peerbus_system::run::run(&small_bar(), &input).unwrap_err().problem;
        assert!(problem.contains(expect), "{problem}");
    };
    check(Pages::From(MIB), "no multiple of the pages of `gpu1`, 2MiB");
    check(Pages::From(Bytes::gib(80)), "`gpu1` has no memory at 80GiB");
    check(Pages::Runs(vec![run(255, 0, 2)]), "no multiple");
    check(Pages::Runs(vec![run(256, 0, 2)]), "outside of the BAR");
    check(Pages::Runs(vec![run(0, 80 << 10, 2)]), "outside of the memory");
    check(Pages::Runs(vec![run(0, 0, 4), run(2, 8, 2)]), "two runs show something at 2MiB");
    check(Pages::Runs(vec![run(0, 0, 0)]), "one page at least");
}

/// Flows between the two hosts.
fn between_hosts(workloads: Vec<Workload>, change: impl Fn(&mut RunInput)) -> Outcome {
    let mut input = input(workloads);
    change(&mut input);
    run(&two_hosts(), &input).unwrap()
}

fn through() -> Copy {
    Copy { through: Some("ntb0".into()), ..copy("gpu0", "gpu2") }
}

fn to_memory() -> HostDma {
    HostDma {
        packets: Packets::default(),
        name: "memory".into(),
        device: "gpu1".into(),
        direction: HostDirection::ReadWrite,
        sizes: vec![Bytes(4096)],
        transfers: 100,
        outstanding: 8,
        cpu: None,
        window: None,
        cache: CacheState::default(),
        by: Initiator::default(),
        memory: None,
        absent: None,
        through: Some("ntb0".into()),
        way: Way::default(),
    }
}

#[test]
fn a_copy_goes_through_a_bridge() {
    for iommu in [None, Some(IommuMode::Translate)] {
        for engine in [Engine::Writer, Engine::Reader] {
            let wanted = match engine {
                Engine::Writer => through(),
                Engine::Reader => Copy { engine, from: "gpu2".into(), to: "gpu0".into(), ..through() },
            };
            let outcome = between_hosts(vec![Workload::Copy(wanted)], |input| {
                input.kernel = KernelSettings { iommu, ..KernelSettings::default() };
            });
            let flow = &outcome.flows[0];
            assert_eq!((flow.delivered, kinds(&outcome)), (MIB, vec![]), "{iommu:?} {engine:?}");
            assert!(flow.path.iter().any(|node| node == "ntb0"), "{:?}", flow.path);
        }
    }
}

#[test]
fn memory_of_the_other_host_is_behind_a_bridge_too() {
    let outcome = between_hosts(vec![Workload::HostDma(to_memory()), Workload::Copy(through())], |_| {});
    let delivered: Vec<Bytes> = outcome.flows.iter().map(|flow| flow.delivered).collect();
    let each = Bytes(100 * 4096);
    assert_eq!((delivered, kinds(&outcome)), (vec![each, each, MIB], vec![]));
}

#[test]
fn whoever_is_not_in_the_table_is_refused() {
    let outcome = between_hosts(vec![Workload::HostDma(to_memory()), Workload::Copy(through())], |input| {
        input.ntbs = vec![Requesters { device: "ntb0".into(), requesters: vec!["gpu1".into()] }];
    });
    let delivered: Vec<Bytes> = outcome.flows.iter().map(|flow| flow.delivered).collect();
    let each = Bytes(100 * 4096);
    assert_eq!(delivered, [each, each, Bytes::ZERO]);
    assert_eq!(kinds(&outcome), [("UNSUPPORTED_REQUEST", MIB)]);
    assert!(outcome.errors[0].text.contains("gpu0 is not in the table"), "{}", outcome.errors[0].text);
}

#[test]
fn a_bridge_has_so_many_windows() {
    // Three memories far from each other: the CPU's, and two GPUs with BARs of 128 GiB; windows have 1 GiB each.
    let other = Copy { name: "other".into(), to: "gpu3".into(), ..through() };
    let workloads = vec![Workload::HostDma(to_memory()), Workload::Copy(through()), Workload::Copy(other)];
    let problem = run(&two_hosts(), &input(workloads)).unwrap_err().problem;
    assert_eq!(problem, "all windows of ntb0 lead elsewhere: it has 2");
    let wrong = Copy { through: Some("gpu1".into()), ..through() };
    let problem = run(&two_hosts(), &input(vec![Workload::Copy(wrong)])).unwrap_err().problem;
    assert_eq!(problem, "`gpu1` is no side of a non-transparent bridge");
}

/// Two CPUs, each with a GPU; GPU 0 and CPU 0 share a private link: 50 GB/s to the CPU, 200 GB/s back.
fn beside_a_cpu() -> Machine {
    let gpu = "(link: (gen: 4), below: Device(part: \"a100-pcie-80g\"))";
    let cpu = "(part: \"amd-rome\", memory: \"64GiB\")";
    load(&format!(
        "(cpus: [{cpu}, {cpu}], cpu_links: [(from: 0, to: 1, part: \"xgmi2-x4\")],
          host_bridges: [(cpu: 0, ports: [{gpu}]), (cpu: 1, ports: [{gpu}])],
          parts: [Interconnect(id: \"coherent\", description: \"\", rate: \"50GB/s\", rate_back: \"200GB/s\", latency: \"200ns\",
              switched: false, sources: {{}})],
          interconnects: [(name: \"c2c\", part: \"coherent\", pairs: [(from: \"gpu0\", to: \"cpu0\")])])"
    ))
}

fn with_cpu(device: &str, cpu: usize, direction: HostDirection, by: Initiator, way: Way) -> HostDma {
    HostDma {
        device: device.into(),
        cpu: Some(cpu),
        direction,
        sizes: vec![MIB],
        transfers: 8,
        outstanding: 4,
        through: None,
        by,
        way,
        ..to_memory()
    }
}

/// Gigabytes per second of the first flow, its path in one line, and whether it took a private link.
fn first_flow(workload: Workload) -> (u64, String, bool) {
    let outcome = run(&beside_a_cpu(), &input(vec![workload])).unwrap();
    let flow = &outcome.flows[0];
    assert_eq!(flow.refused, Bytes::ZERO, "{:?}", flow.refusal);
    let rate = flow.delivered.0 * 1000 / (flow.end.0 - flow.start.0);
    (rate, flow.path.join(" "), flow.map_type.as_deref() == Some("PRIVATE_LINK"))
}

#[test]
fn copies_with_memory_of_a_cpu_take_the_private_link() {
    use HostDirection::{Read, Write};
    use Initiator::{Engine, Processor};
    // 200 GB/s towards the device, 50 GB/s away from it, 128 B at most and no header in every packet; 102 GB/s between the CPUs;
    // 26.9 GB/s of payload, or less, over PCIe. The ramp takes a tenth at most.
    for (device, cpu, direction, by, way, rates, private) in [
        ("gpu0", 0, Read, Engine, Way::Fastest, 150..=200, true),
        ("gpu0", 0, Write, Engine, Way::Fastest, 45..=50, true),
        ("gpu0", 0, Write, Processor, Way::Fastest, 45..=50, true),
        ("gpu0", 1, Read, Engine, Way::Fastest, 85..=102, true),
        ("gpu0", 0, Read, Engine, Way::Pcie, 20..=27, false),
        ("gpu0", 0, Write, Engine, Way::Pcie, 20..=28, false),
        // Of the other GPU no CPU is a member.
        ("gpu1", 0, Read, Engine, Way::Fastest, 20..=27, false),
        ("gpu1", 1, Write, Engine, Way::Fastest, 20..=28, false),
    ] {
        let found = first_flow(Workload::HostDma(with_cpu(device, cpu, direction, by, way)));
        let case = format!("{device} cpu{cpu} {direction:?} {by:?} {way:?}: {found:?}");
        assert!(rates.contains(&found.0) && found.2 == private, "{case}");
        assert_eq!(found.1.contains("host"), !private, "{case}");
    }
}

#[test]
fn staged_copies_fill_their_buffer_by_the_private_link() {
    let wanted = Copy { refused: WhenRefused::StageAlways, through: None, ..copy("gpu0", "gpu1") };
    let [pcie, fastest] =
        [Way::Pcie, Way::Fastest].map(|way| first_flow(Workload::Copy(Copy { way, ..wanted.clone() })).1);
    assert_eq!(pcie.matches("host").count(), 2, "{pcie}");
    assert_eq!(fastest.matches("host").count(), 1, "down to gpu1 alone: {fastest}");
}

fn core_access(device: &str, cpu: Option<usize>) -> Workload {
    Workload::CpuAccess(CpuAccess {
        name: "core".into(),
        cpu,
        device: device.into(),
        region: DeviceRegion::Private,
        kind: AccessKind::Load,
        memory: CpuMemory::WriteCombining,
        sizes: vec![Bytes(64)],
        copies: 10,
        cores: 2,
    })
}

#[test]
fn cores_reach_a_member_beside_their_cpu_alone() {
    let (_, path, private) = first_flow(core_access("gpu0", None));
    assert!(private && path == "gpu0 cpu0", "{path}");
    for (device, cpu) in [("gpu0", Some(1)), ("gpu1", None)] {
        let error = run(&beside_a_cpu(), &input(vec![core_access(device, cpu)])).unwrap_err().to_string();
        assert!(error.contains("share no private interconnect"), "{error}");
    }
}

#[test]
fn absent_pages_are_a_matter_of_pcie() {
    let absent = Some(AbsentPages { hundredths: 10, software: Picos::nanos(20_000) });
    let dma = with_cpu("gpu0", 0, HostDirection::Read, Initiator::Engine, Way::Fastest);
    let error = run(&beside_a_cpu(), &input(vec![Workload::HostDma(HostDma { absent, ..dma })])).unwrap_err();
    assert!(error.to_string().contains("way: Pcie"), "{error}");
}
