//! Worked examples of distance, type and reasons.

use peerbus_os::p2pdma::{Warning, advice, warnings};
use peerbus_os::pci::{BusIndex, FunctionIndex, PcieType};
use peerbus_os::{CpuIdentity, MapType, Profile};

use super::machine::{INTEL, Machine, ZEN};
use MapType::{BusAddr, NotSupported, ThruHostBridge};

/// Two host bridges. The first: a listed function at 00.0, an integrated endpoint, a plain root port with `direct`
/// (two functions and a virtual one), and a switch with two endpoints and a cascaded switch on each side. The second:
/// a root port with one endpoint.
struct Example {
    machine: Machine,
    head: FunctionIndex,
    integrated: FunctionIndex,
    direct_port: FunctionIndex,
    direct: FunctionIndex,
    direct_1: FunctionIndex,
    virtual_function: FunctionIndex,
    other_vf: FunctionIndex,
    root_port: FunctionIndex,
    upstream: FunctionIndex,
    near: [FunctionIndex; 2],
    near_port: FunctionIndex,
    far: [FunctionIndex; 2],
    second_head: FunctionIndex,
    second: FunctionIndex,
}

/// A switch below `bus`: its upstream port, two downstream ports, and the buses below these.
fn switch(
    machine: &mut Machine,
    bus: BusIndex,
    number: u8,
) -> (FunctionIndex, [(FunctionIndex, BusIndex); 2]) {
    let (upstream, inner) = machine.bridge(bus, 0, PcieType::Upstream, number);
    let ports = [1, 2].map(|port| machine.bridge(inner, port, PcieType::Downstream, number + port));
    (upstream, ports)
}

fn example() -> Example {
    let mut machine = Machine::default();
    let root = machine.host(0, 0);
    let head = machine.function(root, 0, 0);
    let integrated = machine.function(root, 3, 0);
    let (direct_port, direct_bus) = machine.bridge(root, 4, PcieType::RootPort, 1);
    let direct = machine.function(direct_bus, 0, 0);
    let direct_1 = machine.function(direct_bus, 0, 1);
    // The second one has a bus number of its own, which no bridge leads to.
    let virtual_function = machine.function(direct_bus, 1, 0);
    machine.tree[virtual_function].physical_function = Some(direct);
    let number = machine.tree[direct_bus].number;
    let orphan = BusIndex(machine.tree.buses.len());
    let mut bus = machine.tree[direct_bus].clone();
    (bus.number, bus.bridge, bus.parent, bus.devices) = (number + 1, None, Some(direct_bus), Vec::new());
    machine.tree.buses.push(bus);
    let other_vf = machine.function(orphan, 1, 1);
    machine.tree[other_vf].physical_function = Some(direct);

    let (root_port, below) = machine.bridge(root, 5, PcieType::RootPort, 0x10);
    let (upstream, [(near_port, left), (_, right)]) = switch(&mut machine, below, 0x11);
    let near = [left, right].map(|bus| machine.function(bus, 0, 0));
    let (_, far_left) = machine.bridge(left, 1, PcieType::Upstream, 0x20);
    let (_, far_right) = machine.bridge(right, 1, PcieType::Upstream, 0x30);
    let far = [(far_left, 0x21), (far_right, 0x31)].map(|(bus, number)| {
        let (_, below) = machine.bridge(bus, 0, PcieType::Downstream, number);
        machine.function(below, 0, 0)
    });
    let second_root = machine.host(0, 0x80);
    let (second_head, second_bus) = machine.bridge(second_root, 7, PcieType::RootPort, 0x81);
    let second = machine.function(second_bus, 0, 0);
    Example {
        machine,
        head,
        integrated,
        direct_port,
        direct,
        direct_1,
        virtual_function,
        other_vf,
        root_port,
        upstream,
        near,
        near_port,
        far,
        second_head,
        second,
    }
}

impl Example {
    fn answer(&self, cpu: &CpuIdentity, pair: (FunctionIndex, FunctionIndex)) -> (MapType, u32) {
        let answer = |profile| {
            let resolution = self.machine.resolve(cpu, profile, pair.0, pair.1);
            (resolution.map_type, resolution.distance)
        };
        let [oldest, rest @ ..] = Profile::ALL.map(answer);
        assert_eq!(rest, [oldest; 2], "{pair:?}: kernels differ");
        oldest
    }

    fn kinds(&self, pair: (FunctionIndex, FunctionIndex)) -> Vec<(&'static str, Vec<FunctionIndex>)> {
        let [oldest, rest @ ..] = Profile::ALL.map(|profile| {
            let resolution = self.machine.resolve(&INTEL, profile, pair.0, pair.1);
            resolution.reasons.iter().map(|it| (it.kind(), it.functions().to_vec())).collect::<Vec<_>>()
        });
        assert!(rest.iter().all(|kinds| *kinds == oldest), "{pair:?}: kernels differ");
        oldest
    }
}

/// Properties A1 and A4.
#[test]
fn distances_count_steps_and_say_nothing_of_the_type() {
    let e = example();
    let check = |a, b, distance, map_type| {
        assert_eq!(e.answer(&ZEN, (a, b)), (map_type, distance), "{a:?} to {b:?}");
        assert_eq!(e.answer(&ZEN, (b, a)), (map_type, distance), "{b:?} to {a:?}");
    };
    check(e.direct, e.direct, 0, BusAddr);
    check(e.head, e.head, 0, BusAddr);
    check(e.direct_port, e.direct, 1, BusAddr);
    check(e.upstream, e.near[0], 2, BusAddr);
    check(e.direct, e.direct_1, 2, BusAddr);
    check(e.direct, e.virtual_function, 2, BusAddr);
    check(e.direct, e.other_vf, 2, BusAddr);
    check(e.virtual_function, e.other_vf, 2, BusAddr);
    check(e.near[0], e.near[1], 4, BusAddr);
    check(e.near[0], e.far[1], 6, BusAddr);
    check(e.far[0], e.far[1], 8, BusAddr);
    check(e.direct, e.second, 4, ThruHostBridge);
    check(e.near[0], e.direct, 6, ThruHostBridge);
    check(e.near[0], e.second, 6, ThruHostBridge);
    check(e.far[0], e.other_vf, 8, ThruHostBridge);
    check(e.integrated, e.head, 2, ThruHostBridge);
    check(e.integrated, e.direct, 3, ThruHostBridge);
}

/// Property A1, redirected.
#[test]
fn a_redirecting_endpoint_redirects_to_itself() {
    let mut e = example();
    e.machine.set_acs(e.direct, 0x20);
    assert_eq!(e.answer(&ZEN, (e.direct, e.direct)), (ThruHostBridge, 0));
    assert_eq!(e.answer(&INTEL, (e.direct, e.direct)), (NotSupported, 0));
    assert_eq!(e.answer(&INTEL, (e.direct_1, e.direct_1)), (BusAddr, 0));
    assert_eq!(e.answer(&INTEL, (e.direct_1, e.virtual_function)), (BusAddr, 2));
    e.machine.clear_acs();
    e.machine.set_acs(e.direct_port, 0x04);
    assert_eq!(e.answer(&ZEN, (e.direct, e.direct)), (BusAddr, 0));
    assert_eq!(e.answer(&ZEN, (e.direct, e.other_vf)), (ThruHostBridge, 2));
}

/// Property A3.
#[test]
fn only_request_completion_and_egress_bits_of_the_path_redirect() {
    let e = example();
    let check = |function, word, pair, expect| {
        let mut changed = Example { machine: e.machine.clone(), ..example() };
        changed.machine.set_acs(function, word);
        assert_eq!(changed.answer(&ZEN, pair).0, expect, "{word:#x} on {function:?}, {pair:?}");
    };
    let pair = (e.near[0], e.near[1]);
    for word in [0x00, 0x01, 0x02, 0x10, 0x40, 0x53, 0xff00] {
        check(e.upstream, word, pair, BusAddr);
    }
    for word in [0x04, 0x08, 0x20, 0x1d, 0x5d] {
        check(e.upstream, word, pair, ThruHostBridge);
        check(e.near_port, word, pair, ThruHostBridge);
        check(e.near[1], word, pair, ThruHostBridge);
        // Above the common function nothing counts.
        check(e.root_port, word, pair, BusAddr);
        check(e.far[0], word, pair, BusAddr);
    }
}

/// Property A2: the order differs by direction.
#[test]
fn the_list_goes_up_from_the_provider_then_up_from_the_client() {
    let mut e = example();
    for function in [e.near[0], e.near_port, e.upstream, e.near[1], e.root_port] {
        e.machine.set_acs(function, 0x1d);
    }
    let not_listed = ("HOST_BRIDGE_NOT_LISTED", vec![e.head]);
    let there = vec![e.near[0], e.near_port, e.upstream, e.near[1]];
    assert_eq!(e.kinds((e.near[0], e.near[1])), [("ACS_REDIRECT", there), not_listed.clone()]);
    let back = vec![e.near[1], e.upstream, e.near[0], e.near_port];
    assert_eq!(e.kinds((e.near[1], e.near[0])), [("ACS_REDIRECT", back), not_listed]);
    // Without a common function, what redirects is not reported.
    let tops = vec![e.root_port, e.second_head];
    let kinds = e.kinds((e.near[0], e.second));
    assert_eq!(kinds[0], ("NO_COMMON_UPSTREAM", tops));
    assert!(kinds.iter().all(|(kind, _)| *kind != "ACS_REDIRECT"));
}

/// Property A6.
#[test]
fn a_row_for_one_host_bridge_refuses_two_in_silence() {
    let mut e = example();
    for head in [e.head, e.second_head] {
        e.machine.set_ids(head, 0x8086, 0x2f01);
    }
    assert_eq!(e.answer(&INTEL, (e.near[0], e.direct)), (ThruHostBridge, 6));
    assert_eq!(e.answer(&INTEL, (e.near[0], e.second)), (NotSupported, 6));
    let kinds = e.kinds((e.near[0], e.second));
    assert_eq!(kinds[1..], [("HOST_BRIDGES_DIFFER", vec![e.head, e.second_head])]);
    let refused = e.machine.resolve(&INTEL, Profile::Linux_6_12, e.near[0], e.second);
    assert_eq!(warnings(&e.machine.tree, &refused, false), []);
    assert_eq!(warnings(&e.machine.tree, &refused, true), [Warning::NoSharedBridge]);
    // Both must be listed for both: one listed everywhere does not help.
    e.machine.set_ids(e.head, 0x8086, 0x2030);
    assert_eq!(e.kinds((e.second, e.near[0]))[1..], [("HOST_BRIDGES_DIFFER", vec![e.second_head])]);
    e.machine.set_ids(e.second_head, 0x8086, 0x09a2);
    assert_eq!(e.answer(&INTEL, (e.near[0], e.second)), (ThruHostBridge, 6));
    e.machine.set_ids(e.second_head, 0x8086, 0x09a3);
    assert_eq!(e.kinds((e.near[0], e.second))[1..], [("HOST_BRIDGE_NOT_LISTED", vec![e.second_head])]);
}

/// Property A7.
#[test]
fn a_first_function_that_is_neither_at_zero_nor_a_root_port_stands_for_nothing() {
    let mut machine = Machine::default();
    let root = machine.host(0, 0);
    let head = machine.function(root, 3, 0);
    let (port, below) = machine.bridge(root, 4, PcieType::RootPort, 1);
    let endpoint = machine.function(below, 0, 0);
    // Listed ids, but at 03.0 and no root port; the listed root port behind it is not looked at.
    machine.set_ids(head, 0x8086, 0x2030);
    machine.set_ids(port, 0x8086, 0x2030);
    let resolution = machine.resolve(&INTEL, Profile::Linux_7_3, head, endpoint);
    let kinds: Vec<_> = resolution.reasons.iter().map(|reason| (reason.kind(), reason.functions())).collect();
    assert_eq!(resolution.map_type, NotSupported);
    assert_eq!(kinds, [("NO_COMMON_UPSTREAM", &[head, port][..]), ("NO_IDENTIFYING_FUNCTION", &[head][..])]);
    // A redirected path there is refused without a word about the table.
    machine.set_acs(endpoint, 0x04);
    let resolution = machine.resolve(&INTEL, Profile::Linux_7_3, endpoint, endpoint);
    assert_eq!(warnings(&machine.tree, &resolution, false), []);
    machine.tree[head].pcie_type = Some(PcieType::RootPort);
    assert_eq!(machine.resolve(&INTEL, Profile::Linux_7_3, endpoint, endpoint).map_type, ThruHostBridge);
}

/// Property A5.
#[test]
fn zen_refuses_nothing() {
    let mut e = example();
    for (position, function) in (0..e.machine.tree.functions.len()).map(FunctionIndex).enumerate() {
        e.machine.set_acs(function, if position % 3 == 0 { 0x1d } else { 0 });
    }
    let all = || (0..e.machine.tree.functions.len()).map(FunctionIndex);
    for pair in all().flat_map(|a| all().map(move |b| (a, b))) {
        let resolution = e.machine.resolve(&ZEN, Profile::Linux_6_1, pair.0, pair.1);
        assert_ne!(resolution.map_type, NotSupported, "{pair:?}");
        assert!(resolution.reasons.len() <= 1, "{pair:?}");
    }
}

/// Property A8.
#[test]
fn the_table_is_named_only_for_redirected_paths_and_whatever_verbose_says() {
    let mut e = example();
    e.machine.set_acs(e.upstream, 0x08);
    let (vendor, device) = (0x1b36, 5);
    let not_listed = Warning::NotListed { root_device: e.head, vendor, device };
    let check = |pair: (FunctionIndex, FunctionIndex), verbose, expect: &[Warning]| {
        for profile in Profile::ALL {
            let resolution = e.machine.resolve(&INTEL, profile, pair.0, pair.1);
            assert_eq!(
                warnings(&e.machine.tree, &resolution, verbose),
                expect,
                "{profile} {pair:?} {verbose}"
            );
        }
    };
    check((e.near[0], e.near[1]), false, std::slice::from_ref(&not_listed));
    let advice = Warning::DisableAcsRedirect("0000:10:00.0".into());
    let all = [Warning::RedirectBetween, advice, not_listed, Warning::NoSharedBridge];
    check((e.near[0], e.near[1]), true, &all);
    check((e.direct, e.second), false, &[]);
    check((e.direct, e.second), true, &[Warning::NoSharedBridge]);
    check((e.direct, e.direct_1), true, &[]);
}

#[test]
fn the_kernels_list_of_names_ends_inside_the_tenth() {
    let mut machine = Machine::default();
    let mut bus = machine.host(0, 0);
    let mut path = Vec::new();
    for number in 1..=11 {
        let (port, below) = machine.bridge(bus, 1, PcieType::Downstream, number);
        machine.set_acs(port, 0x04);
        path.push(port);
        bus = below;
    }
    let resolution = machine.resolve(&INTEL, Profile::Linux_6_12, path[10], path[0]);
    assert_eq!((resolution.distance, resolution.redirecting().len()), (10, 11));
    let check = |count: usize, length, end: &str| {
        let text = advice(&machine.tree, &path[..count]);
        assert!(text.len() == length && text.ends_with(end), "{text}");
    };
    check(0, 0, "");
    check(1, 12, "0000:00:01.0");
    check(9, 9 * 13 - 1, ";0000:08:01.0");
    check(10, 127, ";0000:09:01");
    check(11, 127, ";0000:09:01");
}
