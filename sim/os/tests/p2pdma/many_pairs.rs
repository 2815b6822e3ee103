//! The answers for many pairs are those for one pair; and type and distance are the same in both directions.

use peerbus_os::p2pdma::{resolve, resolve_all};
use peerbus_os::pci::{BusIndex, FunctionIndex, PcieType};
use peerbus_os::{CpuIdentity, CpuVendor, MapType, Profile};

use super::machine::{INTEL, Machine, ZEN, rules};
use crate::random::{Random, cases};

/// Up to four host bridges with heads of all kinds, bridges, endpoints and virtual functions below them, and ACS words
/// on some.
fn machine(random: &mut Random) -> Machine {
    const IDS: [(u16, u16); 5] =
        [(0x8086, 0x2030), (0x8086, 0x2f01), (0x8086, 0x29c0), (0x1ae0, 7), (0x10de, 0x2f95)];
    let mut machine = Machine::default();
    let mut buses: Vec<BusIndex> = Vec::new();
    for (domain, number) in [(0, 0), (0, 0x80), (1, 0), (1, 0x80)].into_iter().take(1 + random.index(4)) {
        buses.push(machine.host(domain, number));
    }
    for number in (0..32u8).take(2 + random.index(30)) {
        let bus = random.pick(&buses);
        let device = if machine.tree[bus].devices.is_empty() { random.pick(&[0, 3]) } else { number + 1 };
        let function = match random.index(5) {
            0 | 1 => {
                let kind = random.pick(&[
                    PcieType::RootPort,
                    PcieType::Upstream,
                    PcieType::Downstream,
                    PcieType::ToPci,
                ]);
                let (bridge, below) = machine.bridge(bus, device, kind, 0x20 + number);
                buses.push(below);
                bridge
            }
            2 if !machine.tree[bus].devices.is_empty() => {
                let physical = random.pick(&machine.tree[bus].devices.clone());
                let virtual_function = machine.function(bus, device, 1);
                machine.tree[virtual_function].physical_function =
                    machine.tree[physical].physical_function.or(Some(physical));
                virtual_function
            }
            _ => machine.function(bus, device, 0),
        };
        let (vendor, id) = random.pick(&IDS);
        machine.set_ids(function, vendor, id);
        if random.index(4) == 0 {
            let word = random.pick(&[0x00, 0x04, 0x08, 0x20, 0x1d, 0x53]);
            machine.set_acs(function, word);
        }
    }
    machine
}

/// Property A2: value and type do not depend on the direction.
#[test]
fn many_pairs_are_answered_like_one() {
    let hygon = CpuIdentity { vendor: CpuVendor::Hygon, family: 0x18, model: 0, x86: true };
    let mut counts = [0; 3];
    for seed in 0..cases(200) {
        let random = &mut Random(seed);
        let machine = machine(random);
        let (cpu, profile) = (random.pick(&[INTEL, INTEL, INTEL, hygon, ZEN]), random.pick(&Profile::ALL));
        let rules = rules(profile);
        let functions: Vec<_> = (0..machine.tree.functions.len()).map(FunctionIndex).collect();
        let one = |a, b| resolve(&machine.tree, &machine, &cpu, &rules, a, b);
        let mut expected = functions.iter().flat_map(|a| functions.iter().map(move |b| (*a, *b)));
        for (provider, client, found) in resolve_all(&machine.tree, &machine, &cpu, &rules, &functions) {
            assert_eq!(expected.next(), Some((provider, client)), "seed {seed}");
            assert_eq!(found, one(provider, client), "seed {seed}: {provider:?} to {client:?}");
            let back = one(client, provider);
            let (there, back) = ((found.map_type, found.distance), (back.map_type, back.distance));
            assert_eq!(there, back, "seed {seed}: {provider:?} and {client:?}");
            counts[found.map_type as usize] += 1;
        }
        assert_eq!(expected.next(), None, "seed {seed}");
    }
    println!("seeds 0 to {}: {counts:?} pairs by bus, through the host bridge, refused", cases(200) - 1);
    assert!(cases(200) < 50 || counts.iter().all(|count| *count > 100), "{counts:?}");
}

#[test]
fn thousands_of_endpoints_are_a_matter_of_seconds() {
    let mut machine = Machine::default();
    let mut endpoints = Vec::new();
    for domain in 0..16 {
        let root = machine.host(domain, 0);
        for port in 0..8u8 {
            let (_, below) = machine.bridge(root, port, PcieType::RootPort, 1 + 20 * port);
            let (_, inner) = machine.bridge(below, 0, PcieType::Upstream, 2 + 20 * port);
            for slot in 0..16 {
                let (down, leaf) = machine.bridge(inner, slot, PcieType::Downstream, 3 + 20 * port + slot);
                machine.set_acs(down, if slot % 4 == 0 { 0x1d } else { 0 });
                endpoints.push(machine.function(leaf, 0, 0));
            }
        }
    }
    let mut counts = [0u64; 3];
    for (_, _, found) in resolve_all(&machine.tree, &machine, &ZEN, &rules(Profile::Linux_7_3), &endpoints) {
        counts[found.map_type as usize] += 1;
    }
    // Per switch: 12 endpoints that reach each other, and 4 that reach nobody, not even past their own port, but
    // themselves.
    let switches = 16 * 8;
    let by_bus = switches * (12 * 12 + 4);
    let endpoints = endpoints.len() as u64;
    assert_eq!(counts, [by_bus, endpoints * endpoints - by_bus, 0]);
    assert_eq!(endpoints * endpoints, 4_194_304);
    assert_ne!(MapType::BusAddr as usize, MapType::ThruHostBridge as usize);
}
