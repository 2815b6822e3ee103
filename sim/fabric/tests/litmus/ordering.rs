//! The ordering table (Base Specification, Transaction Ordering), entry by entry: may the newer of two packets that came in
//! by one port pass the older one, which cannot go? "Must" keeps links from waiting for each other in a circle, "no" keeps
//! what a producer wrote before its flag, and of "may" the case says what the model does.
//!
//! Devices 0 and 1 hang below one switch, 2 and 3 below another; both switches below ports of one host bridge. Packets meet
//! in the second switch, in front of the link to device 2. That link is 100 us long, and the buffer behind it has room for
//! one packet of each kind: a `first` one takes it at 300 us, the `older` one of its kind stands from 310 us on until about
//! 500 us, and the `newer` one comes at 320 us. It has passed if it waited for nothing.
//!
//! The table's rows and columns for non-posted requests with data (atomic operations, writes to I/O ports and registers)
//! are missing: nothing in the model sends them.

use peerbus_fabric::{Attributes, Cause, Descriptor, Fabric, FlowId, LatencyOf};
use peerbus_machine::model::OrderingEnables;
use peerbus_machine::part::{Buffers, Credits};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::fabric;
use crate::machines::{Shape, bar, machine};
use Kind::{Completion, Posted, Read};

const US: u64 = 1_000_000;
/// One way along the link to device 2.
const FAR: u64 = 100 * US;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    /// A write into device 2.
    Posted,
    /// A read of device 2.
    Read,
    /// The answer to a read by device 2.
    Completion,
}

/// A packet on its way to device 2: its kind, the device that sends it, and its attributes.
type Packet = (Kind, usize, Attributes);

fn shape(ordering: OrderingEnables) -> Shape {
    Shape { switches: 2, ordering, ..Shape::default() }
}

/// Asks for a packet of `bytes` that comes to the second switch at about `at`.
fn send(fabric: &mut Fabric, (kind, device, attributes): Packet, bytes: u64, at: u64) -> FlowId {
    let flow = fabric.add_flow(LatencyOf::Request);
    let (engine, target, at) = match kind {
        Posted => (fabric.spec.writer(device), 2, at),
        Read => (fabric.spec.reader(device), 2, at),
        // Its request has to come the long way first.
        Completion => (fabric.spec.reader(2), device, at - FAR),
    };
    // Every packet has a page of its own.
    let addr = DmaAddr(bar(&shape(BOTH), target) + 4096 * u64::from(flow.0));
    let descriptor = Descriptor::new(engine, addr, Bytes(bytes), flow, 0);
    fabric.submit(Descriptor { attributes, software: Picos(at), ..descriptor });
    flow
}

/// Time that `newer` waited behind `older`.
fn wait(newer: Packet, older: Packet, ordering: OrderingEnables) -> u64 {
    let (mut machine, registers) = machine(&shape(ordering));
    let one = Credits { header: 1, data: 0 };
    // Room for a write of 256 bytes and one of 64.
    let posted = Credits { header: 0, data: 20 };
    machine.devices[2].part.buffers = Buffers { posted, non_posted: one, completion: one };
    let link = machine.devices[2].link.unwrap();
    machine.links[link].propagation = Picos(FAR);
    let mut fabric = fabric(&machine, &registers);
    let first = (older.0, older.1, Attributes::NONE);
    let mut packets = [(first, 256, 300 * US), (older, 256, 310 * US), (newer, 64, 320 * US)];
    // An engine takes descriptors in the order in which they become ready.
    packets.sort_by_key(|((kind, ..), _, at)| at - if *kind == Completion { FAR } else { 0 });
    let flows = packets.map(|(packet, bytes, at)| (at, send(&mut fabric, packet, bytes, at)));
    while fabric.advance().is_some() {}
    fabric.finish();
    let time = |at: u64| {
        let (_, flow) = flows.iter().find(|(sent, _)| *sent == at).unwrap();
        let time = fabric.ledger.flows[usize::from(flow.0)].time;
        time[Cause::Credits as usize] + time[Cause::Arbitration as usize]
    };
    assert!(time(310 * US) > 150 * US, "the older packet did not stand: {}", time(310 * US));
    time(320 * US)
}

const BOTH: OrderingEnables = OrderingEnables { relaxed: true, id_based: true };
const NEITHER: OrderingEnables = OrderingEnables { relaxed: false, id_based: false };
const NONE: Attributes = Attributes::NONE;
const RELAXED: Attributes = Attributes::RELAXED;
const BY_ID: Attributes = Attributes::ID_BASED;

fn passes(newer: Packet, older: Packet) {
    assert_eq!(wait(newer, older, BOTH), 0, "{newer:?} {older:?}");
}

fn stays_behind(newer: Packet, older: Packet) {
    let wait = wait(newer, older, BOTH);
    assert!(wait > 150 * US, "{newer:?} {older:?} {wait}");
}

#[test]
fn a_posted_request_does_not_pass_a_posted_one() {
    // The producer's flag must not arrive before its data.
    stays_behind((Posted, 0, NONE), (Posted, 0, NONE));
    // Not even that of another requester.
    stays_behind((Posted, 1, NONE), (Posted, 0, NONE));
}

#[test]
fn a_posted_request_with_relaxed_ordering_may_pass_a_posted_one_and_does() {
    passes((Posted, 0, RELAXED), (Posted, 0, NONE));
    passes((Posted, 1, RELAXED), (Posted, 0, NONE));
}

#[test]
fn relaxed_ordering_of_the_older_one_changes_nothing() {
    // The rule looks at the attribute of the one that passes.
    stays_behind((Posted, 0, NONE), (Posted, 0, RELAXED));
}

#[test]
fn a_posted_request_with_id_based_ordering_may_pass_those_of_other_requesters_and_does() {
    passes((Posted, 1, BY_ID), (Posted, 0, NONE));
}

#[test]
fn a_posted_request_with_id_based_ordering_does_not_pass_its_own_requesters() {
    stays_behind((Posted, 0, BY_ID), (Posted, 0, NONE));
}

#[test]
fn attributes_that_the_control_register_does_not_enable_are_not_sent() {
    // Device control bit 4 and device control 2 bit 8 are clear: the packets are plain ones.
    for attributes in [RELAXED, BY_ID] {
        assert!(wait((Posted, 1, attributes), (Posted, 0, NONE), NEITHER) > 150 * US, "{attributes:?}");
    }
    assert!(wait((Read, 1, BY_ID), (Posted, 0, NONE), NEITHER) > 150 * US);
    assert!(wait((Completion, 1, RELAXED), (Posted, 0, NONE), NEITHER) > 150 * US);
}

#[test]
fn a_posted_request_must_pass_a_read() {
    passes((Posted, 0, NONE), (Read, 0, NONE));
    passes((Posted, 1, NONE), (Read, 0, NONE));
}

#[test]
fn a_posted_request_may_pass_a_completion_and_does() {
    passes((Posted, 0, NONE), (Completion, 0, NONE));
    passes((Posted, 1, NONE), (Completion, 0, NONE));
}

#[test]
fn a_read_does_not_pass_a_posted_request() {
    // It pushes writes ahead of it: whoever has read a flag knows that the data is there.
    stays_behind((Read, 0, NONE), (Posted, 0, NONE));
    stays_behind((Read, 1, NONE), (Posted, 0, NONE));
}

#[test]
fn relaxed_ordering_does_not_let_a_read_pass_a_posted_request() {
    stays_behind((Read, 1, RELAXED), (Posted, 0, NONE));
}

#[test]
fn a_read_with_id_based_ordering_may_pass_posted_requests_of_others_and_does() {
    passes((Read, 1, BY_ID), (Posted, 0, NONE));
}

#[test]
fn a_read_with_id_based_ordering_does_not_pass_its_own_requesters_posted_requests() {
    stays_behind((Read, 0, BY_ID), (Posted, 0, NONE));
}

#[test]
fn a_read_may_pass_a_read_and_does_not() {
    stays_behind((Read, 0, NONE), (Read, 0, NONE));
    stays_behind((Read, 1, NONE), (Read, 0, NONE));
}

#[test]
fn a_read_may_pass_a_completion_and_does() {
    passes((Read, 0, NONE), (Completion, 0, NONE));
    passes((Read, 1, NONE), (Completion, 0, NONE));
}

#[test]
fn a_completion_does_not_pass_a_posted_request() {
    // What a device wrote before it answered is there before the answer. (Its completions are not ordered by ID here.)
    let plain = OrderingEnables::default();
    assert!(wait((Completion, 0, NONE), (Posted, 0, NONE), plain) > 150 * US);
    assert!(wait((Completion, 1, NONE), (Posted, 0, NONE), plain) > 150 * US);
}

#[test]
fn a_completion_with_relaxed_ordering_may_pass_a_posted_request_and_does() {
    // It repeats the attribute of its request.
    let plain = OrderingEnables::default();
    assert_eq!(wait((Completion, 0, RELAXED), (Posted, 0, NONE), plain), 0);
}

#[test]
fn a_completion_with_id_based_ordering_may_pass_posted_requests_of_others_and_does() {
    // The completer's control register gives it the attribute, whatever the request has.
    passes((Completion, 1, NONE), (Posted, 0, NONE));
}

#[test]
fn a_completion_with_id_based_ordering_does_not_pass_its_completers_own_posted_requests() {
    stays_behind((Completion, 0, NONE), (Posted, 0, NONE));
}

#[test]
fn a_completion_must_pass_a_read() {
    passes((Completion, 0, NONE), (Read, 0, NONE));
    passes((Completion, 1, NONE), (Read, 0, NONE));
}

#[test]
fn a_completion_may_pass_one_of_another_request_and_does_not() {
    stays_behind((Completion, 0, NONE), (Completion, 0, NONE));
    stays_behind((Completion, 1, NONE), (Completion, 0, NONE));
}
