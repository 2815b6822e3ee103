//! Ports of a switch: whose turn it is, and when a packet may go on.
//!
//! Devices hang below one switch, below a root port of the only host bridge.

use peerbus_fabric::{Cause, Direction, Fabric};
use peerbus_machine::model::Arbitration;

use super::{causes, fabric};
use crate::machines::{Shape, bar, machine};
use crate::traffic::run;

const MIB: u64 = 1 << 20;

/// A fabric of devices below one switch with that arbitration.
fn below_switch(devices: usize, arbitration: Arbitration) -> (Shape, Fabric) {
    let shape = Shape { devices, ..Shape::default() };
    let (mut machine, registers) = machine(&shape);
    machine.switches[0].arbitration = arbitration;
    let fabric = fabric(&machine, &registers);
    (shape, fabric)
}

/// Bytes that devices 0 and 1 have written into the last one when the first of both is done.
fn shares(devices: usize, arbitration: Arbitration) -> [u64; 2] {
    let (shape, mut fabric) = below_switch(devices, arbitration);
    let target = bar(&shape, devices - 1);
    for device in [0, 1] {
        let flow = fabric.add_flow(peerbus_fabric::LatencyOf::Request);
        let (addr, bytes) = (peerbus_units::DmaAddr(target), peerbus_units::Bytes(4 * MIB));
        let engine = fabric.spec.writer(device);
        fabric.submit(peerbus_fabric::Descriptor::new(engine, addr, bytes, flow, 0));
    }
    fabric.advance();
    let shares = [0, 1].map(|flow: usize| fabric.ledger.flows[flow].delivered);
    while fabric.advance().is_some() {}
    fabric.finish();
    shares
}

fn ratio([one, other]: [u64; 2]) -> u64 {
    (100 * one + other / 2) / other
}

#[test]
fn ports_take_turns() {
    assert_eq!(ratio(shares(3, Arbitration::RoundRobin)), 100);
}

#[test]
fn weights_are_shares() {
    // Weights of the upstream port, then of devices 0, 1, 2. What was in the buffers before the first wait is shared evenly.
    let check = |weights: &[u16], expect: std::ops::RangeInclusive<u64>| {
        let ratio = ratio(shares(3, Arbitration::WeightedRoundRobin(weights.to_vec())));
        assert!(expect.contains(&ratio), "{weights:?}: {ratio}");
    };
    check(&[1, 3, 1, 1], 296..=300);
    check(&[1, 1, 1, 1], 100..=100);
    // A port without a weight has 1.
    check(&[1, 2], 198..=200);
    // Phases of ports that have nothing to send are skipped, whoever comes next in number.
    check(&[200, 3, 1, 50], 296..=300);
}

#[test]
fn a_switch_that_stores_packets_sends_them_on_when_they_are_there() {
    // One write of 280 bytes: on a chip that cuts through it is counted once, on the last link, 8,910 ps. On one that stores
    // it, on both links.
    let check = |store_and_forward: bool, expect: u64| {
        let shape = Shape::default();
        let (mut machine, registers) = machine(&shape);
        machine.switches[0].part.store_and_forward = store_and_forward;
        let mut fabric = fabric(&machine, &registers);
        run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 256)]);
        let causes = causes(&fabric, 0);
        let time = causes.iter().find(|(cause, _)| *cause == Cause::Serialisation).unwrap().1;
        assert_eq!(time, expect, "{store_and_forward}");
    };
    check(false, 8_910);
    check(true, 2 * 8_910);
}
