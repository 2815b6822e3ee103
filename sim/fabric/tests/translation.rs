//! Requests whose addresses an IOMMU translates.
//!
//! Reads the number of cases from the environment, which is an input of the test, not of the simulation.
#![allow(clippy::disallowed_methods, reason = "the number of cases comes from outside")]

use std::collections::BTreeSet;

use peerbus_engine::Stream;
use peerbus_fabric::{Direction, Fabric, LinkLayer, MissKind, Options};
use peerbus_machine::registers::{DomainNumber, IommuTables};
use peerbus_machine::{Machine, Registers};
use peerbus_units::{Bytes, CpuAddr, Iova, Range};

use crate::machines::{BAR, Shape, WINDOW, bar, machine};
use crate::traffic::{Transfer, run};

const MIB: u64 = 1 << 20;
/// Where tests let a device's addresses start.
const HIGH: u64 = 0xffe0_0000;

fn domain_of(machine: &Machine, registers: &mut Registers, device: usize, domain: u32) {
    let id = registers.id(machine.devices[device].functions[0]).unwrap();
    registers.iommu_mut().attach(id.domain, id.requester(), Some(DomainNumber(domain)));
}

fn map(tables: &mut IommuTables, domain: u32, iova: u64, bytes: u64, to: u64) {
    let range = Range::sized(Iova(iova), Bytes(bytes)).unwrap();
    tables.map(DomainNumber(domain), range, CpuAddr(to));
}

fn fabric(machine: &Machine, registers: &Registers) -> Fabric {
    Fabric::new(machine, registers, &Options { link_layer: LinkLayer::ByRule, scaling: vec![] })
}

fn nodes(fabric: &Fabric, flow: usize) -> Vec<String> {
    let route = fabric.ledger.flows[flow].route.unwrap();
    let links = fabric.route_links(route);
    let node = |node: peerbus_fabric::NodeId| fabric.spec.nodes[node.0 as usize].name.clone();
    let last = |name: String| name.rsplit('/').next().unwrap_or_default().to_owned();
    links.iter().map(|link| last(node(fabric.spec.links[link.0 as usize].to))).collect()
}

/// Device 0 in a domain where `HIGH` leads to `to`; a transfer at `HIGH`.
fn translated(shape: &Shape, to: u64, direction: Direction) -> Fabric {
    let (machine, mut registers) = machine(shape);
    domain_of(&machine, &mut registers, 0, 9);
    map(registers.iommu_mut(), 9, HIGH, MIB, to);
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, &[(0, direction, HIGH, MIB)]);
    fabric
}

#[test]
fn a_translated_request_goes_where_the_table_says() {
    let redirected = Shape { acs_control: 0x1d, ..Shape::default() };
    let moved = Shape { bus_offset: 1 << 39, ..redirected.clone() };
    let up = ["sw0", "host0", "cpu0"];
    let down = ["sw0", "host0", "cpu0", "host0", "sw0", "gpu1"];
    for direction in [Direction::Write, Direction::Read] {
        let check = |shape: &Shape, to, expect: &[&str]| {
            let fabric = translated(shape, to, direction);
            assert_eq!(nodes(&fabric, 0), expect, "{direction:?} {to:#x}");
            assert_eq!(fabric.ledger.flows[0].delivered, MIB);
            assert!(fabric.misses().is_empty());
        };
        check(&Shape::default(), 8 << 30, &up);
        // The BAR's CPU address, whatever the bus calls it.
        check(&redirected, WINDOW + BAR, &down);
        check(&moved, WINDOW + BAR, &down);
    }
}

#[test]
fn the_same_bytes_arrive_translated_and_direct() {
    let shape = Shape { acs_control: 0x1d, ..Shape::default() };
    // Addresses above 4 GiB in both, so that headers have one size.
    let high = 0x7f_ff00_0000;
    for direction in [Direction::Write, Direction::Read] {
        let (machine, mut registers) = machine(&shape);
        let mut direct = fabric(&machine, &registers);
        run(&mut direct, &[(0, direction, bar(&shape, 1), MIB)]);
        domain_of(&machine, &mut registers, 0, 1);
        map(registers.iommu_mut(), 1, high, MIB, WINDOW + BAR);
        let mut through = fabric(&machine, &registers);
        run(&mut through, &[(0, direction, high, MIB)]);
        assert_eq!(nodes(&direct, 0), nodes(&through, 0));
        assert_eq!(direct.ledger.digest(), through.ledger.digest(), "translation takes no time");
    }
}

#[test]
fn what_has_no_translation_is_a_fault_at_the_root() {
    let (machine, mut registers) = machine(&Shape { acs_control: 0x1d, ..Shape::default() });
    domain_of(&machine, &mut registers, 0, 1);
    map(registers.iommu_mut(), 1, HIGH, 4096, 8 << 30);
    let ends = [
        (
            HIGH - 4096,
            "host0/rp0/sw0/p0/gpu0 has no translation; it lies 0x1000 bytes below the nearest address that has one, 0xffe00000",
        ),
        (
            HIGH + 4096,
            "host0/rp0/sw0/p0/gpu0 has no translation; it lies 0x1 bytes above the nearest address that has one, 0xffe00fff",
        ),
        // Not even bus addresses of the own host bridge, and memory.
        (bar(&Shape::default(), 1), "has no translation"),
        (8 << 30, "has no translation"),
    ];
    for direction in [Direction::Write, Direction::Read] {
        for (addr, text) in ends {
            let mut fabric = fabric(&machine, &registers);
            run(&mut fabric, &[(0, direction, addr, 512)]);
            let flow = &fabric.ledger.flows[0];
            assert_eq!((flow.delivered, flow.refused), (0, 512), "{addr:#x}");
            let [miss] = fabric.misses() else { panic!("{:?}", fabric.misses()) };
            assert_eq!((miss.kind, miss.addr), (MissKind::IommuFault, addr));
            assert_eq!(fabric.spec.nodes[miss.node.0 as usize].name, "host0");
            assert!(miss.text.contains(text), "{}", miss.text);
        }
    }
}

#[test]
fn requests_end_at_the_edge_of_what_is_mapped() {
    let (machine, mut registers) = machine(&Shape::default());
    domain_of(&machine, &mut registers, 0, 1);
    // Two runs that meet, to places that do not, and nothing behind them.
    map(registers.iommu_mut(), 1, HIGH, 8192, 8 << 30);
    map(registers.iommu_mut(), 1, HIGH + 8192, 4096, 4 << 30);
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, &[(0, Direction::Write, HIGH + 4096, 16384)]);
    let flow = &fabric.ledger.flows[0];
    assert_eq!((flow.delivered, flow.refused), (8192, 8192));
    let [miss] = fabric.misses() else { panic!("{:?}", fabric.misses()) };
    assert_eq!(miss.addr, HIGH + 12288);
}

#[test]
fn only_requesters_with_a_domain_are_translated_and_only_at_the_root() {
    let shape = Shape { devices: 3, ..Shape::default() };
    let (machine, mut registers) = machine(&shape);
    domain_of(&machine, &mut registers, 0, 1);
    domain_of(&machine, &mut registers, 1, 1);
    map(registers.iommu_mut(), 1, HIGH, MIB, 8 << 30);
    let mut fabric = fabric(&machine, &registers);
    let write = Direction::Write;
    let transfers: [Transfer; 5] = [
        (0, write, HIGH, MIB),
        // The same domain, the same address.
        (1, write, HIGH, MIB),
        // No domain: a CPU address, and a bus address.
        (2, write, 16 << 30, MIB),
        (2, write, bar(&shape, 0), MIB),
        // A domain, but the switch turns it back before the root.
        (0, write, bar(&shape, 1), MIB),
    ];
    run(&mut fabric, &transfers);
    let last: Vec<_> = (0..5).map(|flow| nodes(&fabric, flow).pop().unwrap()).collect();
    assert_eq!(last, ["cpu0", "cpu0", "cpu0", "gpu0", "gpu1"]);
    assert!(fabric.ledger.flows.iter().all(|flow| flow.delivered == MIB), "{:?}", fabric.misses());
}

/// Random tables: what is refused is exactly what the tables do not hold, and every other byte arrives.
#[test]
fn random_tables_deliver_what_they_hold() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let mut random = Stream::new(0x1077, 0);
    for case in 0..cases {
        let (machine, mut registers) = machine(&Shape { acs_control: 0x1d, ..Shape::default() });
        domain_of(&machine, &mut registers, 0, 5);
        let mut pages = BTreeSet::new();
        for _ in 0..random.below(12) {
            let (first, count, to) = (random.below(64), 1 + random.below(8), random.below(1 << 20));
            map(registers.iommu_mut(), 5, HIGH + 4096 * first, 4096 * count, 4096 * to + (4 << 30));
            pages.extend(first..first + count);
        }
        let (start, length) = (random.below(60 * 4096), 1 + random.below(12 * 4096));
        let direction = if random.below(2) == 0 { Direction::Write } else { Direction::Read };
        let held = (start..start + length).filter(|byte| pages.contains(&(byte / 4096))).count();
        let mut fabric = fabric(&machine, &registers);
        run(&mut fabric, &[(0, direction, HIGH + start, length)]);
        let flow = &fabric.ledger.flows[0];
        let held = u64::try_from(held).unwrap();
        assert_eq!((flow.delivered, flow.refused), (held, length - held), "case {case} of seed 0x1077");
        assert!(fabric.misses().iter().all(|miss| miss.kind == MissKind::IommuFault));
    }
}
