//! Traffic over small machines: rates, routes, refusals, conservation.

use peerbus_fabric::{
    Descriptor, Direction, EngineId, EngineSpec, Fabric, LatencyOf, LinkLayer, Options, Resource, Scaling,
};
use peerbus_units::{Bytes, DmaAddr};

use crate::machines::{Shape, bar, machine};

/// A transfer: the device whose engine works, direction, address, bytes.
pub type Transfer = (usize, Direction, u64, u64);

/// A fabric of that shape with capacities scaled.
pub fn fabric(shape: &Shape, scaling: Vec<Scaling>) -> Fabric {
    let (machine, registers) = machine(shape);
    Fabric::new(&machine, &registers, &Options { link_layer: LinkLayer::ByRule, scaling })
}

/// Runs transfers together to the end.
pub fn run(fabric: &mut Fabric, transfers: &[Transfer]) {
    for (device, direction, addr, bytes) in transfers {
        let flow = fabric.add_flow(LatencyOf::Request);
        let engine = match direction {
            Direction::Write => fabric.spec.writer(*device),
            Direction::Read => fabric.spec.reader(*device),
        };
        let (addr, bytes) = (DmaAddr(*addr), Bytes(*bytes));
        fabric.submit(Descriptor::new(engine, addr, bytes, flow, 0));
    }
    fabric.watch();
    let mut done = 0;
    while fabric.advance().is_some() {
        done += 1;
    }
    assert_eq!(done, transfers.len(), "every transfer ends once");
    fabric.finish();
}

/// An engine like `engine` for packets of a traffic class.
pub fn in_class(fabric: &mut Fabric, engine: EngineId, class: u8) -> EngineId {
    let own = &fabric.spec.engines[engine.0 as usize];
    let link = own.link.map(|link| fabric.spec.channel(link, class));
    let name = format!("{}.tc{class}", own.name);
    let known = fabric.spec.engines.iter().position(|engine| engine.name == name);
    let engine = EngineSpec { name, traffic_class: class, link, ..own.clone() };
    known.map_or_else(|| fabric.add_engine(engine), |known| EngineId(u32::try_from(known).unwrap()))
}

/// Bytes per microsecond of a flow.
pub fn rate(fabric: &Fabric, flow: usize) -> u64 {
    let ledger = &fabric.ledger.flows[flow];
    u64::try_from(u128::from(ledger.delivered) * 1_000_000 / u128::from(ledger.last - ledger.first.unwrap()))
        .unwrap()
}

fn link_names(fabric: &Fabric, flow: usize) -> Vec<String> {
    let route = fabric.ledger.flows[flow].route.unwrap();
    fabric.route_links(route).iter().map(|link| fabric.spec.links[link.0 as usize].name.clone()).collect()
}

const MIB: u64 = 1 << 20;

#[test]
fn a_write_below_one_switch_fills_both_links() {
    let shape = Shape::default();
    let mut fabric = fabric(&shape, vec![]);
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 16 * MIB)]);
    // Gen4 x16 after encoding and skip ordered sets: 31,422.7 MB/s; 256 of 280 bytes are payload.
    assert_eq!(rate(&fabric, 0) / 10, 2872);
    assert_eq!(link_names(&fabric, 0), ["host0/rp0/sw0/p0/gpu0:up", "host0/rp0/sw0/p1/gpu1:down"]);
    let limits = fabric.ledger.flows[0].limits();
    assert!(limits.iter().all(|limit| matches!(limit, Resource::Link(_))) && limits.len() == 2, "{limits:?}");
    // Cut through the switch (115 ns), then 280 bytes on the last link (8.9 ns).
    assert_eq!(fabric.ledger.flows[0].latency_percentile(50.0) / 1000, 123);
}

#[test]
fn redirect_sends_a_peer_write_through_the_root_complex() {
    let shape = Shape { acs_control: 0x1d, ..Shape::default() };
    let mut fabric = fabric(&shape, vec![]);
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), MIB)]);
    let expected = [
        "host0/rp0/sw0/p0/gpu0:up",
        "host0/rp0/sw0:up",
        "host0:up",
        "host0:down",
        "host0/rp0/sw0:down",
        "host0/rp0/sw0/p1/gpu1:down",
    ];
    assert_eq!(link_names(&fabric, 0), expected);
    assert_eq!(fabric.ledger.flows[0].delivered, MIB);
}

#[test]
fn reads_and_writes_reach_every_other_device_of_two_host_bridges() {
    for bus_offset in [0, 0x80_0000_0000] {
        let shape = Shape { roots: 2, switches: 2, devices: 2, bus_offset, ..Shape::default() };
        let mut transfers = Vec::new();
        for from in 0..8 {
            for to in (0..8).filter(|to| *to != from) {
                let direction = if (from + to) % 2 == 0 { Direction::Read } else { Direction::Write };
                // Below one host bridge bus addresses work; across, CPU addresses.
                let across = from / 4 != to / 4;
                let addr = bar(&shape, to) + if across { bus_offset } else { 0 };
                transfers.push((from, direction, addr, 64 * 1024));
            }
        }
        let mut fabric = fabric(&shape, vec![]);
        run(&mut fabric, &transfers);
        assert!(fabric.ledger.flows.iter().all(|flow| flow.delivered == 64 * 1024 && flow.refused == 0));
        assert!(fabric.misses().is_empty(), "{:?}", fabric.misses());
    }
}

#[test]
fn a_bus_address_of_another_host_bridge_leads_nowhere() {
    let shape = Shape { roots: 2, switches: 1, devices: 2, bus_offset: 0x80_0000_0000, ..Shape::default() };
    for direction in [Direction::Write, Direction::Read] {
        let mut fabric = fabric(&shape, vec![]);
        run(&mut fabric, &[(0, direction, bar(&shape, 3), 8192)]);
        let flow = &fabric.ledger.flows[0];
        assert_eq!((flow.delivered, flow.refused), (0, 8192), "{direction:?}");
        let miss = &fabric.misses()[0];
        assert!(
            miss.text.starts_with("it is neither memory nor in a window of a host bridge"),
            "{}",
            miss.text
        );
    }
}

#[test]
fn an_address_that_nobody_claims_names_the_window_it_missed() {
    let shape = Shape::default();
    for (shift, place, words) in [
        // Above the second device's window, above the root port's: a hole of the address space.
        (8u64 << 30, "cpu0", "misses the window of host0 [0x10000000000-0x101ffffffff] by 0x1"),
        // Below the first window.
        (u64::MAX - (4 << 30) - 4095, "cpu0", "by 0x1000 bytes, below"),
    ] {
        for direction in [Direction::Write, Direction::Read] {
            let mut fabric = fabric(&shape, vec![]);
            run(&mut fabric, &[(0, direction, bar(&shape, 1).wrapping_add(shift), 4096)]);
            let miss = &fabric.misses()[0];
            assert_eq!(fabric.spec.nodes[miss.node.0 as usize].name, place);
            assert!(miss.text.contains(words), "{}", miss.text);
            assert_eq!(fabric.ledger.flows[0].refused, 4096);
            assert_eq!(fabric.ledger.refusals[0].bytes, 4096);
        }
    }
}

#[test]
fn a_transfer_that_leaves_its_window_is_delivered_up_to_the_edge() {
    let shape = Shape::default();
    let start = bar(&shape, 1) + crate::machines::BAR - 8192;
    let mut fabric = fabric(&shape, vec![]);
    run(&mut fabric, &[(0, Direction::Write, start, 12288), (0, Direction::Read, start, 12288)]);
    for flow in &fabric.ledger.flows {
        assert_eq!((flow.delivered, flow.refused), (8192, 4096));
    }
}

#[test]
fn host_memory_is_read_and_written() {
    let shape = Shape::default();
    let mut fabric = fabric(&shape, vec![]);
    let dram = 8 << 30;
    run(&mut fabric, &[(0, Direction::Write, dram, 4 * MIB), (1, Direction::Read, dram, 4 * MIB)]);
    assert!(fabric.ledger.flows.iter().all(|flow| flow.delivered == 4 * MIB));
    // One read: 115 switch, 100 port, 50 network, 90 memory, 50 network, 100 port, 115 switch, and serialisation.
    let alone = &mut crate::traffic::fabric(&shape, vec![]);
    run(alone, &[(1, Direction::Read, dram, 64)]);
    let latency = alone.ledger.flows[0].latency_percentile(50.0) / 1000;
    assert!((620..640).contains(&latency), "{latency} ns");
}

#[test]
fn same_input_same_digest() {
    let shape = Shape { switches: 2, devices: 3, ..Shape::default() };
    let digest = || {
        let mut fabric = fabric(&shape, vec![]);
        let transfers: Vec<Transfer> =
            (0..6).map(|device| (device, Direction::Write, bar(&shape, (device + 1) % 6), MIB)).collect();
        run(&mut fabric, &transfers);
        (fabric.ledger.digest(), fabric.ledger.events, fabric.now())
    };
    assert_eq!(digest(), digest());
}
