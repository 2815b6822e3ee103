//! Booting: the hardware decodes what the operating system believes.

use peerbus_machine::Machine;
use peerbus_machine::model::{BridgeFirmware, FunctionIndex, Role};
use peerbus_machine::part::ResourceKind;
use peerbus_os::pci::ResourceRef;
use peerbus_system::boot::{BootOptions, Booted, boot};
use peerbus_system::kernel::{AcsPolicy, KernelSettings, ProfileName};
use peerbus_units::{Address, BusAddr, Bytes, Range};

use crate::build::*;

fn start(build: &Build, profile: ProfileName, acs: AcsPolicy) -> Booted {
    boot(
        &build.machine,
        &KernelSettings { profile, acs, ..KernelSettings::default() },
        &BootOptions::default(),
    )
}

/// Every memory BAR that the operating system placed decodes at its bus address, which the host bridge's window
/// translates to where the operating system sees it; every bridge on the way passes it; nothing else decodes.
fn check_decode(build: &Build, booted: &Booted, what: &str) {
    check_machine(&build.machine, booted, what);
}

/// As [`check_decode`].
pub fn check_machine(machine: &Machine, booted: &Booted, what: &str) {
    for (index, function) in booted.tree.iter() {
        let here = booted.machine_function(index);
        assert_eq!(booted.os_function(here), Some(index));
        assert_eq!(booted.registers.id(here), Some(function.id), "{what}");
        let host = machine.functions[here].host_bridge;
        let decoded = booted.registers.bars(here);
        for (number, resource) in function.resources.iter().enumerate().take(6) {
            let Some(range) = resource.range().filter(|_| resource.flags.is_mem()) else { continue };
            let bar = decoded.iter().find(|bar| usize::from(bar.index) == number);
            let bar = bar.unwrap_or_else(|| panic!("{what}: {} BAR{number} does not decode", function.id));
            assert_eq!(bar.range.size(), range.size(), "{what}");
            assert_eq!(
                to_cpu(machine, host, bar.range),
                Some(range.first()),
                "{what}: {} BAR{number}",
                function.id
            );
            let mut below = here;
            while let Some(bridge) = machine.parent(below) {
                let passes =
                    booted.registers.windows(bridge).iter().any(|window| window.range.covers(bar.range));
                assert!(
                    passes,
                    "{what}: {} is not passed on to {}",
                    machine.functions[bridge].name, function.id
                );
                below = bridge;
            }
        }
        for bar in decoded {
            let at = ResourceRef { function: index, number: bar.index.into() };
            // A BAR without an address may be left where no window of the host bridge leads.
            let harmless =
                booted.tree.resource(at).is_assigned() || to_cpu(machine, host, bar.range).is_none();
            assert!(harmless, "{what}: {} BAR{} decodes {} unplaced", function.id, bar.index, bar.range);
        }
    }
    check_disjoint(machine, booted, what);
}

/// No two BARs below one host bridge decode the same address.
fn check_disjoint(machine: &Machine, booted: &Booted, what: &str) {
    for host in 0..machine.host_bridges.len() {
        let below = machine.functions.node_indices();
        let below = below.filter(|index| machine.functions[*index].host_bridge == host);
        let bars = below.flat_map(|index| booted.registers.bars(index)).map(|bar| bar.range);
        let bars: Vec<_> = bars.filter(|range| to_cpu(machine, host, *range).is_some()).collect();
        for (at, bar) in bars.iter().enumerate() {
            assert!(
                bars[at + 1..].iter().all(|other| !bar.overlaps(*other)),
                "{what}: {bar} is decoded twice"
            );
        }
    }
}

#[test]
fn hardware_decodes_what_the_operating_system_placed() {
    for profile in ProfileName::ALL {
        for offset in [0, 0x80_0000_0000] {
            let build = two_hosts(MILAN, HostSpec { offset, ..HostSpec::default() });
            let booted = start(&build, profile, AcsPolicy::FirmwareDefault);
            assert_eq!(booted.tree.functions.len(), build.machine.functions.node_count(), "all are found");
            assert_eq!(booted.tree.failures, [], "all fit");
            check_decode(&build, &booted, &format!("{profile:?} offset {offset:#x}"));
            let gpu = build.machine.devices[0].functions[0];
            assert_eq!(booted.registers.bars(gpu).len(), 2);
            assert!(booted.registers.is_bus_master(gpu));
        }
    }
}

#[test]
fn what_firmware_placed_stays_unless_told_otherwise() {
    let mut build = two_hosts(MILAN, HostSpec::default());
    let gpu = build.machine.devices[3].functions[0];
    let port = build.machine.parent(gpu).unwrap();
    let address = BusAddr(0x230_0000_0000);
    build.machine.functions[gpu].bars[1].address = Some(address);
    let window = Range::sized(address, Bytes::gib(64)).unwrap();
    build.machine.functions[port].firmware =
        Some(BridgeFirmware { secondary: 0x55, subordinate: 0x57, windows: vec![(MEM64, window)] });
    let settings = KernelSettings::default();
    let kept = boot(&build.machine, &settings, &BootOptions::default());
    check_decode(&build, &kept, "kept");
    assert_eq!(kept.registers.id(gpu).map(|id| id.bus), Some(0x55));
    let first = |booted: &Booted| booted.registers.bars(gpu).last().map(|bar| bar.range.first());
    assert_eq!(first(&kept), Some(address));
    let moved = boot(&build.machine, &settings, &BootOptions { reassign: true });
    check_decode(&build, &moved, "reassigned");
    assert_eq!(moved.registers.id(gpu).map(|id| id.bus), Some(0x55), "bus numbers stay");
    assert_ne!(first(&moved), Some(address));
}

#[test]
fn acs_policies_set_control_words() {
    let mut build = two_hosts(MILAN, HostSpec::default());
    let ports: Vec<FunctionIndex> = build
        .machine
        .functions
        .node_indices()
        .filter(|index| build.machine.functions[*index].acs.is_some())
        .collect();
    assert_eq!(ports.len(), 5);
    for &port in &ports {
        build.machine.functions[port].acs.as_mut().unwrap().control = 0x4c;
    }
    for (policy, expect) in
        [(AcsPolicy::FirmwareDefault, 0x4c), (AcsPolicy::Off, 0x40), (AcsPolicy::On, 0x5d)]
    {
        for profile in ProfileName::ALL {
            let booted = start(&build, profile, policy);
            for &port in &ports {
                assert_eq!(booted.registers.acs_control(port), Some(expect), "{policy:?} {profile:?}");
            }
        }
    }
}

#[test]
fn windows_end_where_physical_addresses_do() {
    let mut build = two_hosts(ICE_LAKE, HostSpec::default());
    // Windows of host1 start at 2 TiB: beyond 40 bits.
    build.machine.cpus[0].part.physical_bits = 41;
    let booted = start(&build, ProfileName::Linux_7_3, AcsPolicy::FirmwareDefault);
    check_decode(&build, &booted, "41 bits");
    let gpu = build.machine.devices[3].functions[0];
    let within = |range| to_cpu(&build.machine, 1, range).is_some();
    let reachable = booted.registers.bars(gpu).into_iter().filter(|bar| within(bar.range));
    assert_eq!(reachable.count(), 1, "the large BAR of gpu2 has no place");
    assert_eq!(booted.tree.failures.iter().filter(|why| why.resource.number < 6).count(), 1);
}

/// Random trees: depth, width, BAR kinds and sizes, offsets. Sizes are such that not everything fits always.
#[test]
fn random_machines_decode_what_was_placed() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200u64);
    let mut placed = 0;
    let mut failed = 0;
    for seed in 0..cases {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let build = random_machine(&mut random);
        let profile = ProfileName::ALL[random.index(3)];
        let booted = start(&build, profile, AcsPolicy::FirmwareDefault);
        check_decode(&build, &booted, &format!("seed {seed} {profile:?}"));
        failed += booted.tree.failures.len();
        placed += build
            .machine
            .functions
            .node_indices()
            .map(|index| booted.registers.bars(index).len())
            .sum::<usize>();
    }
    println!("{cases} machines, {placed} BARs placed, {failed} resources without an address");
    assert!(placed > 0 && (failed > 0 || cases < 50));
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }

    fn index(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap()
    }
}

fn random_machine(random: &mut Random) -> Build {
    let mut build = Build::new([MILAN, HASWELL, ICE_LAKE][random.index(3)]);
    for _ in 0..=random.below(2) {
        let spec = HostSpec {
            offset: random.below(2) * 0x40_0000_0000,
            upper: Bytes::gib([64, 256, 1024][random.index(3)]),
        };
        let host = build.host(spec);
        let mut open: Vec<FunctionIndex> = (0..=random.below(3)).map(|_| build.root_port(host)).collect();
        while let Some(port) = open.pop() {
            match random.below(8) {
                0..=2 if build.machine.functions.node_count() < 60 => {
                    let ports = 1 + random.index(4);
                    open.extend(build.switch(port, ports));
                }
                7 => {}
                _ => {
                    let bars = random_bars(random);
                    let name = format!("dev{}", build.machine.devices.len());
                    build.device(&name, host, Some(port), &bars);
                }
            }
        }
        if random.below(2) == 0 {
            let bars = random_bars(random);
            build.device(&format!("int{host}"), host, None, &bars);
        }
    }
    assert!(build.machine.functions.node_weights().any(|function| function.role == Role::RootPort));
    build
}

fn random_bars(random: &mut Random) -> Vec<peerbus_machine::model::Bar> {
    let kinds = [ResourceKind::Mem32, ResourceKind::Mem32Prefetch, ResourceKind::Mem64, MEM64, MEM64];
    let mut bars = Vec::new();
    let mut index = 0;
    while index < 5 && random.below(4) != 0 {
        let kind = kinds[random.index(5)];
        let bits = if kind == MEM64 { 12 + random.below(26) } else { 12 + random.below(16) };
        bars.push(bar(index, Bytes(1 << bits), kind));
        index += 1 + u8::from(kind.is_64bit());
    }
    bars
}

#[test]
fn a_bus_address_is_not_a_cpu_address() {
    let offset = 0x80_0000_0000;
    let build = two_hosts(MILAN, HostSpec { offset, ..HostSpec::default() });
    let booted = start(&build, ProfileName::Linux_7_3, AcsPolicy::FirmwareDefault);
    let gpu = build.machine.devices[0].functions[0];
    let os = booted.os_function(gpu).unwrap();
    let at = ResourceRef { function: os, number: 1 };
    let cpu = booted.tree.resource(at).range().unwrap().first();
    let bus = booted.registers.bars(gpu).last().unwrap().range.first();
    assert_eq!(cpu.raw() - bus.raw(), offset);
    assert_eq!(booted.tree.bus_address(at), Some(bus));
}

/// Whatever bus numbers, windows and addresses firmware left, booting ends, and what was placed decodes.
#[test]
fn nonsense_from_firmware_does_no_harm() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(300u64);
    let mut found = 0;
    for seed in 0..cases {
        let mut random = Random(seed.wrapping_mul(0xd134_2543_de82_ef95) | 1);
        let mut build = random_machine(&mut random);
        for index in build.machine.functions.node_indices() {
            let function = &mut build.machine.functions[index];
            if function.class == 0x060400 && random.below(2) == 0 {
                function.firmware = Some(nonsense(&mut random));
            }
            for bar in &mut function.bars {
                let address = [random.below(1 << 31) << 12, 0x8000_0000, 0x100_0000_0000][random.index(3)];
                bar.address = (random.below(3) == 0).then_some(BusAddr(address));
            }
        }
        let profile = ProfileName::ALL[random.index(3)];
        let booted = start(&build, profile, AcsPolicy::On);
        found += booted.tree.functions.len();
        for (index, function) in booted.tree.iter() {
            assert_eq!(booted.registers.id(booted.machine_function(index)), Some(function.id), "seed {seed}");
        }
    }
    println!("{cases} machines, {found} functions found");
}

fn nonsense(random: &mut Random) -> BridgeFirmware {
    let byte = |random: &mut Random| u8::try_from(random.below(0x60)).unwrap();
    let secondary = byte(random);
    let first = random.below(1 << 32) << random.below(12);
    let window = Range::sized(BusAddr(first), Bytes(1 << (20 + random.below(16)))).unwrap();
    let kind = if random.below(2) == 0 { ResourceKind::Mem32 } else { MEM64 };
    BridgeFirmware {
        secondary,
        subordinate: secondary.saturating_add(byte(random) / 8),
        windows: vec![(kind, window)],
    }
}

/// A device behind a port that software cannot see answers on the switch's internal bus.
#[test]
fn devices_behind_invisible_ports_are_found() {
    let mut build = two_hosts(MILAN, HostSpec::default());
    let upstream = build.machine.switches[0].upstream;
    let hidden = build.device("hidden", 0, None, &[bar(0, Bytes::gib(1), MEM64)]);
    build.machine.host_bridges[0].functions.pop();
    build.machine.functions.add_edge(upstream, hidden, peerbus_machine::model::Attachment::Internal);
    let booted = start(&build, ProfileName::Linux_6_12, AcsPolicy::FirmwareDefault);
    assert_eq!(booted.registers.id(hidden).map(|id| id.to_string()).as_deref(), Some("0000:02:02.0"));
    check_decode(&build, &booted, "hidden");
    assert_eq!(booted.registers.bars(hidden).len(), 1);
}
