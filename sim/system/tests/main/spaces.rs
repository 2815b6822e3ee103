//! Everything that can run out, as runs report it.

use std::collections::BTreeSet;

use peerbus_fabric::LinkLayer;
use peerbus_machine::Machine;
use peerbus_machine::part::ResourceKind;
use peerbus_system::device_memory::{Binding, Conditions, Drivers, FrameDesign};
use peerbus_system::kernel::{IommuMode, KernelSettings, ProfileName};
use peerbus_system::outcome::Outcome;
use peerbus_system::peer_memory::{Choose, Distribution, PeerMemory, Policy, Provider, Transfer, User};
use peerbus_system::run::{RunInput, run};
use peerbus_system::space::{Space, SpaceKind};
use peerbus_system::workload::{WhenRefused, Workload};
use peerbus_units::{Bytes, Picos};

use crate::build::{Build, HostSpec, MEM64, MILAN, bar, two_hosts};

fn input(workloads: Vec<Workload>) -> RunInput {
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

fn of(outcome: &Outcome, kind: SpaceKind) -> Vec<&Space> {
    outcome.spaces.iter().filter(|space| space.kind == kind).collect()
}

fn links(space: &Space) -> Vec<&'static str> {
    let first = space.first_refusal.as_ref();
    first.into_iter().flat_map(|first| &first.chain).map(|cause| cause.what).collect()
}

/// What holds of every space.
#[track_caller]
fn sound(outcome: &Outcome) {
    let mut names = BTreeSet::new();
    for space in &outcome.spaces {
        let name = &space.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(space.used <= space.peak && space.peak <= space.size, "{name}");
        assert!(space.least_hole <= space.largest_hole, "{name}");
        assert!(space.largest_hole <= space.size - space.used, "{name}");
        assert!(space.granule + space.alignment <= space.peak, "{name}");
        assert!(space.fragmentation_ppm <= 1_000_000, "{name}");
        let owned: u64 = space.owners.iter().map(|owner| owner.amount).sum();
        assert!(owned <= space.peak, "{name}: {owned} of {}", space.peak);
        assert!(space.owners.is_sorted_by(|a, b| a.amount >= b.amount), "{name}");
        assert_eq!(space.refusals > 0, space.first_refusal.is_some(), "{name}");
        for sample in &space.samples {
            assert!(sample.used <= space.peak && sample.used + sample.largest_hole <= space.size, "{name}");
        }
        assert!(space.is_followed() || space.samples.len() == 1, "{name}");
    }
}

/// A host bridge's window holds what root ports take, a port's what lies below: all slack is told.
#[test]
fn windows_hold_bars_and_slack() {
    let build = two_hosts(MILAN, HostSpec::default());
    let outcome = run(&build.machine, &input(vec![])).unwrap();
    sound(&outcome);
    let hosts = of(&outcome, SpaceKind::HostBridgeWindow);
    let bridges = of(&outcome, SpaceKind::BridgeWindow);
    assert_eq!(hosts.len(), 4);
    assert!(bridges.len() >= 6, "ports and the switch have windows");
    // Two BARs of 64 GiB below a switch, one of 32 MiB beside it: all else is slack.
    let bars = (2 << 36) + (32 << 20);
    assert_eq!(hosts[1].used - hosts[1].granule - hosts[1].alignment, bars);
    assert_eq!(hosts[1].owners.iter().map(|owner| owner.amount).sum::<u64>(), hosts[1].used);
    for bridge in bridges {
        let owner = bridge.owners.first().expect("a window without anything in it is not made");
        assert!(bridge.name.split(' ').next().is_some_and(|name| owner.name.starts_with(name)), "{owner:?}");
    }
}

/// Two BARs of 32 GiB where 40 GiB are: the second fails, and its window's parents are asked.
#[test]
fn a_window_without_room_tells_why() {
    let mut build = Build::new(MILAN);
    let host = build.host(HostSpec { upper: Bytes::gib(40), ..HostSpec::default() });
    for number in 0..2 {
        let port = build.root_port(host);
        build.device(&format!("gpu{number}"), host, Some(port), &[bar(1, Bytes::gib(32), MEM64)]);
    }
    let outcome = run(&build.machine, &input(vec![])).unwrap();
    sound(&outcome);
    let window = of(&outcome, SpaceKind::HostBridgeWindow)[1];
    let first = window.first_refusal.as_ref().expect("one found no room");
    assert_eq!((window.refusals, first.decided, first.amount), (1, "limit", 32 << 30));
    assert_eq!(links(window), ["granule", "alignment", "holes", "window", "limit"]);
    assert!(first.chain[3].text.contains("gpu1 BAR1 have no place"), "{:?}", first.chain[3]);
    assert!(first.chain[4].text.contains("40GiB"), "{:?}", first.chain[4]);
}

/// An adapter and a drive's memory below one switch.
fn pool_machine() -> Machine {
    let mut build = Build::new(MILAN);
    let host = build.host(HostSpec::default());
    let port = build.root_port(host);
    let below = build.switch(port, 3);
    build.device("ssd0", host, Some(below[0]), &[bar(2, Bytes::mib(16), MEM64)]);
    for number in 0..2 {
        let bars = [bar(0, Bytes::mib(2), ResourceKind::Mem32)];
        build.device(&format!("nic{number}"), host, Some(below[1 + number]), &bars);
    }
    build.machine
}

fn churn(size: u64, policy: Policy) -> PeerMemory {
    PeerMemory {
        name: "churn".into(),
        providers: vec![Provider {
            device: "ssd0".into(),
            bar: Some(2),
            size: Some(Bytes::mib(size)),
            offset: Bytes::ZERO,
        }],
        publish: true,
        clients: vec!["nic*".into()],
        choose: Choose::Nearest,
        policy,
        user: User::Kernel,
        sizes: Distribution::Uniform(Bytes(100), Bytes::mib(1)),
        lifetimes: Distribution::Exponential(Picos::micros(80)),
        intervals: Distribution::Uniform(Picos::ZERO, Picos::micros(5)),
        outstanding: 64,
        requests: 400,
        transfer: Transfer::Write,
        refused: WhenRefused::Fail,
        target: None,
    }
}

#[test]
fn a_pool_is_followed_with_its_owners() {
    let found = |size, policy| {
        let workloads = vec![Workload::PeerMemory(Box::new(churn(size, policy)))];
        run(&pool_machine(), &input(workloads)).unwrap()
    };
    let outcome = found(4, Policy::FirstFit);
    sound(&outcome);
    let pool = of(&outcome, SpaceKind::PeerPool)[0];
    let memory = &outcome.peer_memory[0];
    let own = &memory.pools[0];
    assert_eq!((pool.size, pool.peak, pool.least_hole), (own.size.0, own.peak.0, own.least_hole.0));
    assert!(pool.is_followed() && pool.samples.len() == own.samples.len() && pool.used == 0);
    assert_eq!(
        pool.owners.iter().map(|owner| owner.amount).sum::<u64>(),
        pool.peak,
        "all of it is somebody's"
    );
    assert!(pool.owners.iter().all(|owner| owner.name.starts_with("nic")));
    // Sizes are no whole pages: half a page of slack on average for each allocation.
    assert!(pool.granule > 0 && pool.granule < pool.peak / 16);
    assert_eq!(pool.refusals, memory.refusals(), "all were for want of room");
    let first = pool.first_refusal.as_ref().expect("4 MiB are too few");
    let earliest = memory.refused.iter().map(|refused| refused.first).min();
    assert_eq!(first.time, earliest);
    assert_eq!(links(pool), ["granule", "alignment", "holes", "window", "aperture", "limit"]);
    // Large multiples of alignment refuse what would fit elsewhere.
    let aligned = found(16, Policy::Align(Bytes::mib(2)));
    let pool = of(&aligned, SpaceKind::PeerPool)[0];
    let first = pool.first_refusal.as_ref().expect("eight places are too few");
    assert_eq!(first.decided, "alignment", "{first:?}");
}

#[test]
fn io_addresses_and_tags_are_followed() {
    let kernel = KernelSettings { iommu: Some(IommuMode::Translate), ..KernelSettings::default() };
    let workloads = vec![Workload::PeerMemory(Box::new(PeerMemory {
        transfer: Transfer::Read,
        ..churn(8, Policy::FirstFit)
    }))];
    let outcome = run(&pool_machine(), &RunInput { kernel, ..input(workloads) }).unwrap();
    sound(&outcome);
    let spaces = of(&outcome, SpaceKind::IoAddresses);
    assert!(!spaces.is_empty(), "an IOMMU translates");
    let followed: Vec<&&Space> = spaces.iter().filter(|space| space.is_followed()).collect();
    assert!(!followed.is_empty(), "adapters map peer memory through the host bridge");
    for space in followed {
        assert!(space.peak > 0 && space.used == 0, "all was unmapped: {}", space.name);
        assert!(space.samples.iter().any(|sample| sample.used > 0));
    }
    let tags = of(&outcome, SpaceKind::Tags);
    assert!(tags.iter().any(|space| space.name.contains("nic")), "adapters read");
    assert!(tags.iter().all(|space| space.peak > 0 && space.size == 64));
}

/// Three GPUs of 16 GiB on 36 bits: 64 GiB less RAM and window hold none, a space of its own all.
#[test]
fn device_memory_is_bound_when_a_run_begins() {
    let mut build = Build::new(MILAN);
    let host = build.host(HostSpec::default());
    for number in 0..3 {
        let port = build.root_port(host);
        build.device(
            &format!("gpu{number}"),
            host,
            Some(port),
            &[bar(0, Bytes::mib(1), ResourceKind::Mem32)],
        );
        build.machine.devices[number].memory = Some(Bytes::gib(16));
    }
    build.machine.cpus[0].memory = Bytes::gib(24);
    let found = |bits, design, drivers| {
        let conditions = Conditions { physical_bits: Some(bits), ..Conditions::default() };
        let device_memory = Some(Binding { conditions, design, drivers });
        let kernel = KernelSettings { profile: ProfileName::Linux_6_12, ..KernelSettings::default() };
        let outcome = run(&build.machine, &RunInput { device_memory, kernel, ..input(vec![]) }).unwrap();
        sound(&outcome);
        outcome
    };
    let refused = |outcome: &Outcome| {
        let errors = outcome.errors.iter().filter(|error| error.kind == "DEVICE_MEMORY_REFUSED");
        errors.map(|error| error.place.clone()).collect::<Vec<_>>()
    };
    // RAM ends at 26 GiB: 38 GiB are two ranges and 6 GiB.
    let outcome = found(36, FrameDesign::PhysicalSpace, Drivers::AtStart);
    assert_eq!(refused(&outcome), ["gpu2"]);
    let space = of(&outcome, SpaceKind::PhysicalAddresses)[0];
    assert_eq!((space.size, space.largest_hole), (1 << 36, 6 << 30));
    assert_eq!(space.first_refusal.as_ref().map(|first| first.decided), Some("limit"));
    assert_eq!(links(space), ["granule", "alignment", "holes", "limit"]);
    let owners: Vec<&str> = space.owners.iter().map(|owner| owner.name.as_str()).collect();
    assert_eq!(owners, ["System RAM", "gpu0", "gpu1", "PCI Bus 0000:00"]);
    let structs = of(&outcome, SpaceKind::PageStructMemory)[0];
    assert_eq!((structs.size, structs.used), (24 << 30, 2 * (16 << 30) / 64));
    // Chunks of 2 MiB take 128 MiB each: 38 GiB and 1.5 GiB below 4 GiB are 316 of 24576.
    let outcome = found(36, FrameDesign::PhysicalSpace, Drivers::OnDemand);
    let space = of(&outcome, SpaceKind::PhysicalAddresses)[0];
    assert_eq!((refused(&outcome).len(), space.refusals), (1, 1));
    assert_eq!(space.granule, 316 * (126 << 20));
    let outcome = found(36, FrameDesign::OwnSpace, Drivers::AtStart);
    assert_eq!(refused(&outcome), [""; 0]);
    let space = of(&outcome, SpaceKind::PrivateOffsets)[0];
    assert_eq!((space.used, space.granule), (3 << 34, 0));
}
