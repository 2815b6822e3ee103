//! Each kind of change on a machine where it is the answer.

use peerbus_machine::model::FunctionIndex;
use peerbus_system::kernel::{AcsPolicy, IommuMode, KernelSettings, ProfileName};
use peerbus_system::p2p::MapType;
use peerbus_system::why::{Change, ChangeKind, Goal, Minimality, Others, Standing, Step, Why};
use peerbus_units::Bytes;

use super::redo::check;
use super::{ask, firmware_acs, kinds, of_kind};
use crate::build::*;

fn settings(profile: ProfileName) -> KernelSettings {
    KernelSettings { profile, ..KernelSettings::default() }
}

/// Asks, and redoes every change of the answer.
fn checked(build: &Build, settings: &KernelSettings, pair: (&str, &str)) -> Why {
    let why = ask(&build.machine, settings, pair.0, pair.1);
    why.changes.iter().for_each(|change| check(&build.machine, settings, change, pair));
    assert!(why.changes.iter().all(|change| !change.instructions.is_empty()), "{:#?}", why.changes);
    why
}

fn port(build: &Build, device: &str) -> FunctionIndex {
    build.machine.slot(build.machine.device(device).unwrap()).unwrap()
}

#[test]
fn redirecting_ports_are_named_in_a_parameter() {
    let mut build = two_hosts(UNLISTED, HostSpec::default());
    for device in ["gpu0", "gpu1"] {
        let port = port(&build, device);
        firmware_acs(&mut build, port, 0x1d);
    }
    let why = checked(&build, &settings(ProfileName::Linux_6_12), ("gpu0", "gpu1"));
    assert_eq!((why.map_type, why.distance), (MapType::NotSupported, 4));
    use ChangeKind::*;
    assert_eq!(kinds(&why), [KernelParameter, Firmware, Registers, HostBridgeTable]);
    assert_eq!(why.changes[0].parameter.as_deref(), Some("pci=disable_acs_redir=0000:02:00.0;0000:02:01.0"));
    assert_eq!(why.changes[0].minimal, Minimality::EveryPart);
    assert_eq!(
        of_kind(&why, Registers).instructions,
        ["setpci -s 0000:02:00.0 ECAP_ACS+6.w=0:0c", "setpci -s 0000:02:01.0 ECAP_ACS+6.w=0:0c"]
    );
    let listed = of_kind(&why, HostBridgeTable);
    assert_eq!(
        (listed.goal, &listed.steps[..]),
        (Goal::Possible, &[Step::ListHostBridge { vendor: 0x8086, device: 0x29c0 }][..])
    );
    assert_eq!(
        listed.others.map(|others| others.become_possible),
        Some(5),
        "every other pair, over both host bridges"
    );
    assert!(why.hopeless.is_empty());
}

/// One port of the path suffices to redirect; only that one is named.
#[test]
fn only_what_redirects_is_named() {
    let mut build = two_hosts(MILAN, HostSpec::default());
    let first = port(&build, "gpu0");
    firmware_acs(&mut build, first, 0x04);
    let second = port(&build, "gpu1");
    firmware_acs(&mut build, second, 0x53);
    let why = checked(&build, &settings(ProfileName::Linux_7_3), ("gpu1", "gpu0"));
    assert_eq!(why.map_type, MapType::ThruHostBridge);
    let change = &why.changes[0];
    assert_eq!(change.parameter.as_deref(), Some("pci=disable_acs_redir=0000:02:00.0"));
    assert_eq!((change.minimal, change.words.len()), (Minimality::SingleStep, 1));
    let redirecting: Vec<_> = why
        .route
        .iter()
        .filter(|hop| hop.acs.as_ref().is_some_and(|acs| !acs.redirects.is_empty()))
        .collect();
    assert_eq!(redirecting.len(), 1);
    assert_eq!(redirecting[0].acs.as_ref().unwrap().redirects, ["RR"]);
}

/// What an IOMMU driver asked for: the older list takes all of it back, the newer one only what redirects, and without the
/// driver nobody asks.
#[test]
fn an_iommu_that_asked_for_isolation() {
    let build = two_hosts(ICE_LAKE, HostSpec::default());
    for iommu in [IommuMode::Passthrough, IommuMode::Translate] {
        let settings = KernelSettings { iommu: Some(iommu), ..settings(ProfileName::Linux_6_12) };
        let why = checked(&build, &settings, ("gpu0", "gpu1"));
        let parameters: Vec<&str> =
            why.changes.iter().filter_map(|change| change.parameter.as_deref()).collect();
        assert_eq!(
            parameters,
            [
                "intel_iommu=off",
                "pci=disable_acs_redir=0000:02:00.0;0000:02:01.0",
                "pci=config_acs=xx100x1@0000:02:00.0;xx100x1@0000:02:01.0",
            ]
        );
        let after: Vec<u16> = why.changes[..3].iter().map(|change| word(change, "0000:02:00.0")).collect();
        assert_eq!(after, [0x00, 0x00, 0x11]);
        let lost: Vec<usize> = why.changes[..3].iter().map(|change| change.isolation_lost.len()).collect();
        assert_eq!(lost, [4, 2, 2], "all devices without the driver, else those below the two ports");
        let merged: Vec<usize> = why.changes[..3].iter().map(|change| change.groups_merged.len()).collect();
        assert_eq!(merged, [0, 0, 0], "none without the driver; each port below keeps its device to itself");
        assert!(!kinds(&why).contains(&ChangeKind::Firmware), "firmware left nothing set");
    }
}

fn word(change: &Change, function: &str) -> u16 {
    let function = function.parse().unwrap();
    change.words.iter().find(|word| word.function == function).unwrap().after
}

/// The oldest kernel keeps the rest of the word and has no other list; the newest sets the word again at a driver's bind.
#[test]
fn kernels_differ_in_what_they_take_back() {
    let build = two_hosts(ICE_LAKE, HostSpec::default());
    let ask = |profile| {
        let settings = KernelSettings { acs: AcsPolicy::On, ..settings(profile) };
        checked(&build, &settings, ("gpu0", "gpu1"))
    };
    let oldest = ask(ProfileName::Linux_6_1);
    let named = |why: &Why, name: &str| {
        let has =
            |change: &&Change| change.parameter.as_ref().is_some_and(|parameter| parameter.contains(name));
        why.changes.iter().find(has).cloned()
    };
    assert_eq!(named(&oldest, "disable_acs_redir").map(|change| word(&change, "0000:02:00.0")), Some(0x11));
    assert_eq!(named(&oldest, "config_acs"), None);
    let newest = ask(ProfileName::Linux_7_3);
    let binds =
        |why: &Why| of_kind(why, ChangeKind::Registers).notes.iter().any(|note| note.contains("binds"));
    assert_eq!([&oldest, &newest].map(binds), [false, true]);
}

/// A list on the command line stays in force beside the one that is suggested.
#[test]
fn a_list_that_is_there_is_kept() {
    let mut build = two_hosts(MILAN, HostSpec::default());
    for device in ["gpu0", "gpu1"] {
        let port = port(&build, device);
        firmware_acs(&mut build, port, 0x0c);
    }
    let cmdline = "quiet pci=disable_acs_redir=02:00.0".to_owned();
    let settings = KernelSettings { cmdline, ..settings(ProfileName::Linux_7_3) };
    let why = ask(&build.machine, &settings, "gpu0", "gpu1");
    assert_eq!(why.map_type, MapType::ThruHostBridge);
    let change = &why.changes[0];
    assert_eq!(change.parameter.as_deref(), Some("pci=disable_acs_redir=0000:02:01.0;02:00.0"));
    assert_eq!((change.goal, change.steps.len()), (Goal::Direct, 1));
}

#[test]
fn a_card_goes_where_the_other_is() {
    let mut build = two_hosts(UNLISTED, HostSpec::default());
    let why = checked(&build, &settings(ProfileName::Linux_7_3), ("gpu0", "gpu2"));
    let exchange = of_kind(&why, ChangeKind::Slot);
    assert_eq!(exchange.steps, [Step::Exchange { device: "gpu2".into(), with: "gpu1".into() }]);
    assert_eq!((exchange.goal, exchange.distance), (Goal::Direct, 4));
    assert_eq!(exchange.others.unwrap().cease_to_be_direct + exchange.others.unwrap().become_refused, 1);
    // A free slot is taken rather than another card's.
    let upstream = build.machine.parent(port(&build, "gpu0")).unwrap();
    let free = build.free_port(upstream);
    let path = build.machine.functions[free].name.clone();
    let why = checked(&build, &settings(ProfileName::Linux_7_3), ("gpu0", "gpu2"));
    let moved = of_kind(&why, ChangeKind::Slot);
    assert_eq!(moved.steps, [Step::Move { device: "gpu2".into(), port: path }]);
    assert_eq!(moved.others, Some(Others { become_direct: 1, ..Others::default() }));
    assert_eq!(moved.alternatives, ["gpu2 with gpu1"]);
}

/// Where the other's neighbours are redirected too, a card in another slot needs the parameter besides.
#[test]
fn a_card_and_a_parameter_go_together() {
    let mut build = two_hosts(UNLISTED, HostSpec::default());
    for device in ["gpu0", "gpu1"] {
        let port = port(&build, device);
        firmware_acs(&mut build, port, 0x1d);
    }
    let why = checked(&build, &settings(ProfileName::Linux_6_1), ("gpu0", "gpu2"));
    let change = of_kind(&why, ChangeKind::Slot);
    assert_eq!((change.goal, change.steps.len(), change.minimal), (Goal::Direct, 3, Minimality::EveryPart));
    assert!(matches!(change.steps[0], Step::Exchange { .. }));
    assert!(change.parameter.as_ref().unwrap().starts_with("pci=disable_acs_redir="));
    assert_eq!(change.instructions.len(), 2);
}

#[test]
fn a_newer_kernel_lists_the_host_bridge() {
    let grace = CpuModel { vendor: "ARM", family: 8, head: Some((0x10de, 0x2f95)) };
    let build = two_hosts(grace, HostSpec::default());
    let why = checked(&build, &settings(ProfileName::Linux_6_12), ("nic0", "gpu2"));
    assert_eq!(of_kind(&why, ChangeKind::Kernel).steps, [Step::Kernel { profile: ProfileName::Linux_7_3 }]);
    assert_eq!(of_kind(&why, ChangeKind::HostBridgeTable).steps.len(), 1, "both host bridges have one id");
    assert_eq!(why.host.bridges.len(), 2);
    assert!(why.host.bridges.iter().all(|bridge| bridge.standing == Standing::At00 && bridge.row.is_none()));
    let why = checked(&build, &settings(ProfileName::Linux_7_3), ("nic0", "gpu2"));
    assert_eq!(why.map_type, MapType::ThruHostBridge);
    assert!(why.host.bridges.iter().all(|bridge| bridge.allows));
}

/// A row for traffic within one host bridge says no to two of them; within one it says yes.
#[test]
fn a_row_may_want_one_host_bridge() {
    let build = two_hosts(HASWELL, HostSpec::default());
    let why = checked(&build, &settings(ProfileName::Linux_7_3), ("nic0", "gpu2"));
    let rows: Vec<_> =
        why.host.bridges.iter().map(|bridge| (bridge.row.unwrap().same_host_bridge, bridge.allows)).collect();
    assert_eq!(rows, [(true, false); 2]);
    // Nothing of the other one's root port is free or anyone else's, so a slot of the same host bridge is what remains.
    let slot = of_kind(&why, ChangeKind::Slot);
    assert_eq!((slot.goal, slot.steps.len()), (Goal::Possible, 1));
    let why = checked(&build, &settings(ProfileName::Linux_7_3), ("gpu0", "nic0"));
    assert_eq!((why.map_type, why.host.bridges.len()), (MapType::ThruHostBridge, 1));
}

/// A root bus that begins with neither 00.0 nor a root port: no row can help, and only one slot is left to say no.
#[test]
fn what_nothing_helps_is_explained() {
    let mut build = Build::new(CpuModel { head: None, ..UNLISTED });
    let host = build.host(HostSpec::default());
    for name in ["nic0", "nic1"] {
        let device = build.device(name, host, None, &[bar(0, Bytes::mib(32), MEM64)]);
        let devfn = if name == "nic0" { 0x08 } else { 0x10 };
        build.machine.functions[device].id = Some(peerbus_units::FunctionId { domain: 0, bus: 0, devfn });
    }
    let why = checked(&build, &settings(ProfileName::Linux_7_3), ("nic0", "nic1"));
    assert_eq!(why.host.bridges[0].standing, Standing::Neither);
    assert!(why.changes.is_empty(), "{:#?}", why.changes);
    assert_eq!(why.hopeless.len(), 2, "{:?}", why.hopeless);
    assert!(why.hopeless[0].contains("neither is in a slot"), "{:?}", why.hopeless);
    assert!(why.hopeless[1].contains("neither at 00.0 nor a root port"), "{:?}", why.hopeless);
}

/// A bit that is set and cannot be cleared: what does not help is not offered.
#[test]
fn stuck_bits_are_told() {
    let mut build = two_hosts(MILAN, HostSpec::default());
    let port = port(&build, "gpu0");
    build.machine.functions[port].acs = Some(peerbus_machine::model::Acs { capability: 0, control: 0x20 });
    let why = checked(&build, &settings(ProfileName::Linux_7_3), ("gpu0", "gpu1"));
    assert!(
        !kinds(&why).contains(&ChangeKind::Registers) && !kinds(&why).contains(&ChangeKind::KernelParameter)
    );
}

/// Thirteen redirecting functions: more than all parts of which are tried, and more than the kernel can name.
#[test]
fn long_paths_name_every_function() {
    let mut build = Build::new(UNLISTED);
    let host = build.host(HostSpec::default());
    let root = build.root_port(host);
    let fork = build.switch(root, 2);
    for (at, port) in fork.into_iter().enumerate() {
        let mut below = port;
        firmware_acs(&mut build, below, 0x1d);
        for _ in 0..6 - at {
            below = build.switch(below, 1)[0];
            firmware_acs(&mut build, below, 0x1d);
        }
        build.gpu(&format!("gpu{at}"), below, Bytes::gib(1));
    }
    let why = checked(&build, &settings(ProfileName::Linux_6_12), ("gpu0", "gpu1"));
    let change = &why.changes[0];
    assert_eq!((change.steps.len(), change.minimal), (13, Minimality::EachStepLeftOut));
    assert_eq!(change.parameter.as_ref().unwrap().matches(';').count(), 12);
    let advice = why.log.iter().find(|line| line.remark.is_some()).unwrap();
    assert!(
        advice.text.matches(';').count() == 9 && advice.remark.as_ref().unwrap().contains("13 functions")
    );
}

#[test]
fn a_direct_pair_needs_nothing() {
    let build = two_hosts(UNLISTED, HostSpec::default());
    let why = checked(&build, &settings(ProfileName::Linux_7_3), ("gpu0", "gpu1"));
    assert_eq!((why.map_type, why.changes.len(), why.hopeless.len()), (MapType::BusAddr, 0, 0));
    assert!(!why.host.asked && why.log.is_empty() && why.common.is_some());
    assert_eq!(why.route.len(), 5, "two devices, two ports, and the switch's upstream port");
}
