//! Peer-to-peer decisions on random recorded PCs, from registers: bus numbers as firmware left them, ACS words
//! written as the recording says, then every ordered pair asked.
//!
//! Where a recording overwrote ids or moved the ACS word of a function that has none, only the kernel's memory
//! changed; here the tree and an ACS capability that every function gets stand for that memory.

use std::collections::BTreeMap;

use peerbus_os::p2pdma::{Resolver, warnings};
use peerbus_os::pci::{AcsWord, FunctionIndex, PcieType, enumerate, set_acs_control};
use peerbus_os::{CpuIdentity, CpuVendor, MapType, Profile, Rules, RulesOptions, Tree};
use peerbus_units::FunctionId;
use serde_json::Value;

use crate::fake::{Above, Fake};
use crate::recordings::{ids, items, lines, text};

fn id(value: &Value) -> FunctionId {
    value.as_str().unwrap().parse().unwrap()
}

fn root_bus(host: &Value) -> u8 {
    let (_, bus) = text(host, "bus").split_once(':').unwrap();
    u8::from_str_radix(bus, 16).unwrap()
}

fn hosts(record: &Value, fake: &mut Fake) -> BTreeMap<u8, usize> {
    let first: Vec<u8> = items(&record["hosts"]).iter().map(root_bus).collect();
    let mut found = BTreeMap::new();
    for bus in &first {
        let last = first.iter().filter(|other| *other > bus).min().map_or(0xff, |next| next - 1);
        found.insert(*bus, fake.host(0, *bus, last, Vec::new()));
    }
    found
}

/// The recorded machine, its bridges' bus numbers programmed.
fn machine(record: &Value) -> Fake {
    let mut fake = Fake::default();
    let hosts = hosts(record, &mut fake);
    let devices = items(&record["devices"]);
    let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
    for device in devices {
        let at = id(&device["bdf"]);
        let above = match positions.get(text(device, "up")) {
            Some(bridge) => Above::Bridge(*bridge),
            None => Above::Host(hosts[&at.bus]),
        };
        let class = u32::from_str_radix(text(device, "cls"), 16).unwrap();
        let position = match device["hdr"].as_u64() {
            Some(1) => fake.bridge(above, at.device(), at.function(), ids(text(device, "id"))),
            _ => fake.function(above, at.device(), at.function(), ids(text(device, "id")), class),
        };
        let kind = device["ptype"].as_i64().and_then(|kind| u8::try_from(kind).ok());
        fake.pcie(position, kind.map_or(PcieType::LegacyEndpoint, PcieType::from_number));
        fake.acs(position, 0x7f, 0);
        positions.insert(text(device, "bdf"), position);
    }
    for (bridge, position) in &positions {
        let below: Vec<_> = devices.iter().filter(|device| text(device, "up") == *bridge).collect();
        if let Some(child) = below.first() {
            let primary = bridge.parse::<FunctionId>().unwrap().bus;
            fake.bus_numbers(*position, primary, id(&child["bdf"]).bus, last_bus(devices, bridge));
        }
    }
    fake
}

fn last_bus(devices: &[Value], bridge: &str) -> u8 {
    let below = devices.iter().filter(|device| text(device, "up") == bridge);
    below.map(|device| id(&device["bdf"]).bus.max(last_bus(devices, text(device, "bdf")))).max().unwrap_or(0)
}

fn cpu(record: &Value) -> CpuIdentity {
    let number = |key: &str| text(&record["cpu"], key).parse().unwrap();
    let vendor = CpuVendor::from_cpuinfo(text(&record["cpu"], "vendor_id"));
    CpuIdentity { vendor, family: number("cpu family"), model: number("model"), x86: true }
}

/// Words and ids as they are in this phase.
fn change(tree: &mut Tree, fake: &mut Fake, record: &Value, phase: &Value) {
    for (function, words) in phase["acs"].as_object().into_iter().flatten() {
        let at = tree.find(function.parse().unwrap()).unwrap();
        let word = u16::try_from(words[1].as_u64().unwrap()).unwrap();
        assert!(set_acs_control(tree, fake, at, AcsWord(word)));
    }
    let own = items(&record["devices"]).iter().map(|device| (id(&device["bdf"]), text(device, "id")));
    let other = items(&phase["spoof"]).iter().map(|spoof| (id(&spoof[0]), spoof[1].as_str().unwrap()));
    for (function, name) in own.chain(other) {
        let at = tree.find(function).unwrap();
        (tree[at].vendor, tree[at].device) = ids(name);
    }
}

fn letter(map_type: MapType) -> char {
    match map_type {
        MapType::BusAddr => 'B',
        MapType::ThruHostBridge => 'H',
        MapType::NotSupported => 'N',
    }
}

/// Pairs that agree in (type, distance, redirecting functions), and all.
#[derive(Default, PartialEq, Eq, Debug)]
struct Agreement {
    types: usize,
    distances: usize,
    redirecting: usize,
    pairs: usize,
}

fn compare(
    tree: &Tree,
    resolver: &Resolver,
    endpoints: &[FunctionIndex],
    phase: &Value,
    sum: &mut Agreement,
) {
    for (row, provider) in endpoints.iter().enumerate() {
        let types: Vec<char> = phase["types"][row].as_str().unwrap().chars().collect();
        for (column, client) in endpoints.iter().enumerate() {
            let resolution = resolver.resolve(*provider, *client);
            let named: Vec<_> = resolution.redirecting().iter().map(|f| tree[*f].id).collect();
            let recorded: Vec<_> = items(&phase["redir"][format!("{row},{column}")]).iter().map(id).collect();
            sum.types += usize::from(letter(resolution.map_type) == types[column]);
            let distance = u64::from(resolution.distance);
            sum.distances += usize::from(phase["dist"][row][column].as_u64() == Some(distance));
            sum.redirecting += usize::from(named == recorded);
            sum.pairs += 1;
            assert_eq!(resolution.reasons.is_empty(), resolution.map_type == MapType::BusAddr);
            assert!(warnings(tree, &resolution, false).len() <= 1);
        }
    }
}

fn check(rules: &Rules) {
    let mut sum = Agreement::default();
    for record in lines("random/p2p.jsonl") {
        let mut fake = machine(&record);
        let hosts = fake.hosts.clone();
        let mut tree = enumerate(&mut fake, &hosts);
        let found: Vec<_> = tree.functions.iter().map(|function| function.id).collect();
        let devices: Vec<_> = items(&record["devices"]).iter().map(|device| id(&device["bdf"])).collect();
        assert_eq!(found, devices, "{}", text(&record, "name"));
        let endpoints: Vec<_> =
            items(&record["endpoints"]).iter().map(|endpoint| tree.find(id(endpoint)).unwrap()).collect();
        for phase in items(&record["phases"]) {
            change(&mut tree, &mut fake, &record, phase);
            let resolver = Resolver::new(&tree, &fake, &cpu(&record), rules);
            compare(&tree, &resolver, &endpoints, phase, &mut sum);
        }
    }
    let Agreement { types, distances, redirecting, pairs } = sum;
    println!("{}: types {types}, distances {distances}, redirecting {redirecting} of {pairs}", rules.profile);
    assert_eq!((types, distances, redirecting), (pairs, pairs, pairs));
}

#[test]
fn every_recorded_pair_is_decided_alike() {
    for profile in [Profile::Linux_6_12, Profile::Linux_7_3] {
        check(&profile.rules(RulesOptions::default()));
    }
}
