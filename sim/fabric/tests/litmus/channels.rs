//! Virtual channels: two sets of buffers on one wire.
//!
//! Devices hang below one switch. All links have a second channel for traffic class 7 with half of the buffers, unless a case
//! says otherwise.

use peerbus_fabric::{Descriptor, Fabric, Fault, LatencyOf};
use peerbus_machine::model::VirtualChannel;
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::fabric;
use crate::machines::{Shape, bar, machine};
use crate::traffic::in_class;

const MIB: u64 = 1 << 20;

fn shape(strict: bool) -> Shape {
    let virtual_channel = Some(VirtualChannel { traffic_classes: vec![7], buffers: 50, strict });
    Shape { devices: 3, virtual_channel, ..Shape::default() }
}

/// Device `from` writes `bytes` into device `to` in a traffic class.
fn write(fabric: &mut Fabric, shape: &Shape, (from, to): (usize, usize), class: u8, bytes: u64) {
    let flow = fabric.add_flow(LatencyOf::Request);
    let engine = fabric.spec.writer(from);
    let engine = if class == 0 { engine } else { in_class(fabric, engine, class) };
    let addr = DmaAddr(bar(shape, to));
    fabric.submit(Descriptor::new(engine, addr, Bytes(bytes), flow, 0));
}

/// Lets everything end; returns when each flow did.
fn ends(fabric: &mut Fabric) -> Vec<u64> {
    while fabric.advance().is_some() {}
    fabric.finish();
    fabric.ledger.flows.iter().map(|flow| flow.last).collect()
}

#[test]
fn a_class_does_not_wait_for_buffers_of_another_channel() {
    // Device 1 takes 1 GB/s. Behind what waits for it the buffer of device 0's port is full, and what is for device 2 waits
    // as well: 1 MiB at 31.4 GB/s × 256 / 280 would take 36.5 us. On a channel of its own it does not wait.
    let check = |class: u8, within: std::ops::Range<u64>| {
        let shape = shape(true);
        let (mut machine, registers) = machine(&shape);
        machine.devices[1].part.memory_rate = "1GB/s".parse().unwrap();
        let mut fabric = fabric(&machine, &registers);
        write(&mut fabric, &shape, (0, 1), 0, 4 * MIB);
        write(&mut fabric, &shape, (0, 2), class, MIB);
        let end = ends(&mut fabric)[1] / 1_000_000;
        assert!(within.contains(&end), "{class}: {end} us");
    };
    check(0, 900..2_200);
    check(7, 36..40);
    // Class 6 is not one of the second channel's.
    check(6, 900..2_200);
}

#[test]
fn channels_share_one_wire() {
    // Two writes of 1 MiB into device 2, in one channel or in two: 8,192 packets of 8,910.6 ps on its link, 73.0 us.
    let check = |class: u8, strict: bool| {
        let shape = shape(strict);
        let (machine, registers) = machine(&shape);
        let mut fabric = fabric(&machine, &registers);
        write(&mut fabric, &shape, (0, 2), 0, MIB);
        write(&mut fabric, &shape, (1, 2), class, MIB);
        ends(&mut fabric).into_iter().max().unwrap() / 1_000
    };
    let alone = check(0, true);
    assert!((73_000..73_400).contains(&alone), "{alone}");
    for strict in [false, true] {
        let both = check(7, strict);
        assert!((73_000..73_400).contains(&both), "{strict} {both}");
    }
}

#[test]
fn the_second_channel_goes_first_or_takes_turns() {
    // Strict: its 1 MiB takes 36.5 us on the link to device 2, as if nothing else were there. In turn: twice that.
    let check = |strict: bool, within: std::ops::Range<u64>| {
        let shape = shape(strict);
        let (machine, registers) = machine(&shape);
        let mut fabric = fabric(&machine, &registers);
        write(&mut fabric, &shape, (0, 2), 0, 4 * MIB);
        write(&mut fabric, &shape, (1, 2), 7, MIB);
        let end = ends(&mut fabric)[1] / 1_000_000;
        assert!(within.contains(&end), "{strict}: {end} us");
    };
    check(true, 36..38);
    check(false, 72..75);
}

#[test]
fn channels_divide_the_buffers() {
    let shape = shape(true);
    let (mut machine, registers) = machine(&shape);
    for link in &mut machine.links {
        link.virtual_channel = Some(VirtualChannel { traffic_classes: vec![7], buffers: 25, strict: true });
    }
    let fabric = fabric(&machine, &registers);
    let headers = |name: &str| {
        let link = fabric.spec.links.iter().find(|link| link.name == name).unwrap();
        link.credits.map(|credits| credits.header)
    };
    // Of 128 headers each; buffers without end are so for both.
    assert_eq!(headers("host0/rp0/sw0:down"), [96, 96, 96]);
    assert_eq!(headers("host0/rp0/sw0:down.vc1"), [32, 32, 32]);
    assert_eq!(headers("host0/rp0/sw0:up.vc1"), [32, 32, 0]);
}

#[test]
fn a_link_that_goes_down_takes_both_channels_with_it() {
    let shape = shape(false);
    let (machine, registers) = machine(&shape);
    let mut fabric = fabric(&machine, &registers);
    let down = fabric.spec.links.iter().position(|link| link.name.ends_with("gpu2:down")).unwrap();
    let down = peerbus_fabric::LinkId(u32::try_from(down).unwrap());
    fabric.plan(Picos(20_000_000), Fault::LinkDown(down));
    write(&mut fabric, &shape, (0, 2), 0, MIB);
    write(&mut fabric, &shape, (1, 2), 7, MIB);
    ends(&mut fabric);
    for flow in &fabric.ledger.flows {
        assert!(flow.refused > 0 && flow.delivered < MIB, "{} {}", flow.delivered, flow.refused);
    }
}
