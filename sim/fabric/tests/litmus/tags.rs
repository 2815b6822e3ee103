//! Tags: a requester has no more requests open than the tag bits that software enabled can tell apart, and no more than
//! its part has (Base Specification, Transaction ID: 5 bits, 8 with Extended Tag Field Enable, 10 and 14 with theirs, of
//! which the values that look like shorter ones are left out).

use peerbus_fabric::{Descriptor, LatencyOf, Upcall};
use peerbus_machine::Registers;
use peerbus_machine::model::{Express, PortKind, Stated};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::fabric;
use crate::machines::{Shape, bar, machine};

/// Requests that device 0 has sent after 300 ns, before any answer can be back: it starts after 50 ns, and the way there
/// and back takes two passages of the switch at 115 ns and 200 ns at the completer.
#[track_caller]
fn sent_unanswered(tag_bits: Option<u8>, tags: u16, expected: u64) {
    let shape = Shape { tags, credits: 1024, engine_rate: "1000GB/s", ..Shape::default() };
    let (mut machine, _) = machine(&shape);
    let function = machine.devices[0].functions[0];
    let (port, version) = (PortKind::Endpoint, 2);
    machine.functions[function].config.express = Stated::Present(Express {
        port,
        version,
        tag_bits,
        slot: false,
        hot_plug: false,
        payload: None,
        read_request: None,
        generation: None,
        lanes: None,
        ari_forwarding: false,
        ari_enabled: false,
    });
    let mut fabric = fabric(&machine, &Registers::power_on(&machine));
    let flow = fabric.add_flow(LatencyOf::Request);
    let (engine, addr) = (fabric.spec.reader(0), DmaAddr(bar(&shape, 1)));
    fabric.submit(Descriptor::new(engine, addr, Bytes::mib(1), flow, 0));
    fabric.set_timer(Picos::nanos(300));
    assert_eq!(fabric.advance(), Some(Upcall::Timer));
    let link = fabric.spec.links.iter().position(|link| link.name == "host0/rp0/sw0/p0/gpu0:up").unwrap();
    assert_eq!(fabric.ledger.links[link].tlps, expected, "{tag_bits:?} bits, {tags} tags");
    while fabric.advance().is_some() {}
    fabric.finish();
    assert_eq!(fabric.ledger.flows[0].delivered, 1 << 20);
}

#[test]
fn five_bits_are_32_requests() {
    sent_unanswered(Some(5), 768, 32);
}

#[test]
fn eight_bits_are_256_requests() {
    sent_unanswered(Some(8), 768, 256);
}

#[test]
fn ten_bits_leave_the_link_as_the_limit() {
    // One request in 763.8 ps from 50 ns on: 328 until 300 ns.
    sent_unanswered(Some(10), 768, 328);
    sent_unanswered(Some(14), 2048, 328);
}

#[test]
fn a_part_has_as_many_as_it_has() {
    sent_unanswered(Some(10), 40, 40);
}

#[test]
fn unless_stated_firmware_enables_what_the_part_can_use() {
    sent_unanswered(None, 20, 20);
    sent_unanswered(None, 256, 256);
    sent_unanswered(None, 768, 328);
}
