//! Links that go down, devices that go away or fall silent, credits that leak: what happens to two or three packets.

use peerbus_fabric::{Cause, Class, Direction, Fabric, Fault, LinkId};
use peerbus_units::Picos;

use super::{causes, fabric};
use crate::machines::{Shape, bar, machine};
use crate::traffic::run;

const MS: u64 = 1_000_000_000;

fn new(shape: &Shape) -> Fabric {
    let (machine, registers) = machine(shape);
    fabric(&machine, &registers)
}

fn uplink(fabric: &Fabric, device: usize) -> LinkId {
    fabric.spec.nodes[fabric.spec.device(device).0 as usize].upstream.unwrap()
}

fn downlink(fabric: &Fabric, device: usize) -> LinkId {
    fabric.spec.links[uplink(fabric, device).0 as usize].reverse
}

/// Delivered and refused bytes of a flow.
fn bytes(fabric: &Fabric, flow: usize) -> (u64, u64) {
    (fabric.ledger.flows[flow].delivered, fabric.ledger.flows[flow].refused)
}

#[test]
fn a_write_on_the_link_is_lost_with_it() {
    // Written at 50 ns, behind the switch at 165 ns, on the second link until 173.9 ns; the link goes down at 170.
    let shape = Shape::default();
    let mut fabric = new(&shape);
    let link = downlink(&fabric, 1);
    fabric.plan(Picos::nanos(170), Fault::LinkDown(link));
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 256)]);
    assert_eq!(bytes(&fabric, 0), (0, 256));
    let lost = fabric.ledger.faults[link.0 as usize].lost;
    assert_eq!((lost.packets, lost.bytes, lost.first), (1, 256, Some((170_000, 0))));
    assert_eq!(fabric.ledger.flows[0].last, 170_000);
}

#[test]
fn a_write_in_front_of_a_link_that_is_down_is_lost() {
    // Behind the switch at 165 ns: its port has nowhere to send it.
    let shape = Shape::default();
    let mut fabric = new(&shape);
    let link = downlink(&fabric, 1);
    fabric.plan(Picos::nanos(100), Fault::LinkDown(link));
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 256)]);
    assert_eq!(bytes(&fabric, 0), (0, 256));
    assert_eq!(fabric.ledger.faults[link.0 as usize].lost.first, Some((165_000, 0)));
}

#[test]
fn the_port_in_front_of_a_link_that_is_down_refuses_reads() {
    // A downstream port whose link is down completes a read as an Unsupported Request: nobody waits for a timeout. The
    // request is at the port at 165 ns, where its answer of 12 + 8 bytes (636 ps) starts, and passes no switch.
    let shape = Shape::default();
    let mut fabric = new(&shape);
    let link = downlink(&fabric, 1);
    fabric.plan(Picos::nanos(100), Fault::LinkDown(link));
    run(&mut fabric, &[(0, Direction::Read, bar(&shape, 1), 256)]);
    assert_eq!(bytes(&fabric, 0), (0, 256));
    assert_eq!(fabric.ledger.faults[link.0 as usize].refused.packets, 1);
    assert_eq!(fabric.ledger.flows[0].last, 165_636);
}

#[test]
fn a_read_whose_request_is_lost_times_out() {
    // On the second link from 165 ns to 165.8 ns; lost at 165.5. It was issued at 50 ns, and the default range of the
    // completion timeout ends at 50 ms.
    let shape = Shape::default();
    let mut fabric = new(&shape);
    let link = downlink(&fabric, 1);
    fabric.plan(Picos(165_500), Fault::LinkDown(link));
    run(&mut fabric, &[(0, Direction::Read, bar(&shape, 1), 256)]);
    assert_eq!(bytes(&fabric, 0), (0, 256));
    assert_eq!(fabric.ledger.flows[0].last, 50 * MS + 50_000);
    let timeouts = fabric.ledger.timeouts[fabric.spec.reader(0).0 as usize];
    assert_eq!((timeouts.packets, timeouts.bytes), (1, 256));
}

#[test]
fn what_had_arrived_of_a_read_stays() {
    // 512 bytes in two completions of 276 bytes: ready at 365,763 ps, on the first link until 374,546 and 383,329,
    // at the requester at 489,546 and 498,329. The requester's own link would reset it; that between completer and
    // switch is down at 378 ns: the second completion is lost.
    let shape = Shape::default();
    let mut fabric = new(&shape);
    let link = uplink(&fabric, 1);
    fabric.plan(Picos::nanos(470), Fault::StopCompleting(fabric.spec.device(1)));
    fabric.plan(Picos::nanos(482), Fault::LinkDown(link));
    run(&mut fabric, &[(0, Direction::Read, bar(&shape, 1), 512)]);
    assert_eq!(bytes(&fabric, 0), (256, 256));
}

#[test]
fn a_device_whose_link_goes_down_is_reset() {
    // The lower end of a link that is down is reset with everything it was doing: its engine gives up the rest of its
    // 64 KiB at once, and what it is given later.
    let shape = Shape::default();
    let mut fabric = new(&shape);
    let link = uplink(&fabric, 0);
    fabric.plan(Picos::nanos(500), Fault::LinkDown(link));
    run(
        &mut fabric,
        &[(0, Direction::Write, bar(&shape, 1), 64 << 10), (0, Direction::Read, bar(&shape, 1), 64 << 10)],
    );
    for flow in 0..2 {
        let (delivered, refused) = bytes(&fabric, flow);
        assert_eq!(delivered + refused, 64 << 10);
        assert!(refused > 0);
    }
    let faults = &fabric.ledger.faults[link.0 as usize];
    assert!(faults.abandoned.bytes > 0 && faults.downs == 1, "{faults:?}");
    // Nobody waits for 50 ms: the requester itself was reset.
    assert!(fabric.now() < Picos(MS));
}

#[test]
fn a_link_that_is_up_again_carries_again() {
    let shape = Shape::default();
    let mut fabric = new(&shape);
    let link = downlink(&fabric, 1);
    fabric.plan(Picos::ZERO, Fault::LinkDown(link));
    fabric.plan(Picos::nanos(1_000), Fault::LinkUp(link));
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 64 << 10)]);
    // The engine sends 256 bytes every 2.56 ns, the link takes 8.9 ns for them; until 1000 ns − 165 ns have passed they
    // are lost: 94 packets, of which the last may be on either side.
    let (delivered, refused) = bytes(&fabric, 0);
    assert_eq!(delivered + refused, 64 << 10);
    assert!((93..=95).contains(&(refused / 256)), "{refused}");
}

#[test]
fn a_removed_device_does_not_come_back() {
    let shape = Shape::default();
    let mut fabric = new(&shape);
    let (node, link) = (fabric.spec.device(1), uplink(&fabric, 1));
    fabric.plan(Picos::ZERO, Fault::SurpriseRemove(node));
    fabric.plan(Picos::nanos(100), Fault::LinkUp(link));
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 4096)]);
    assert_eq!(bytes(&fabric, 0), (0, 4096));
    assert!(fabric.ledger.faults[link.0 as usize].removed);
}

#[test]
fn a_silent_device_takes_writes_and_lets_reads_time_out() {
    let shape = Shape::default();
    let mut fabric = new(&shape);
    fabric.plan(Picos::ZERO, Fault::StopCompleting(fabric.spec.device(1)));
    run(
        &mut fabric,
        &[(0, Direction::Write, bar(&shape, 1), 4096), (0, Direction::Read, bar(&shape, 1), 4096)],
    );
    assert_eq!((bytes(&fabric, 0), bytes(&fabric, 1)), ((4096, 0), (0, 4096)));
    assert_eq!(fabric.ledger.timeouts[fabric.spec.reader(0).0 as usize].packets, 8);
    assert!(fabric.now() >= Picos(50 * MS));
}

#[test]
fn the_rest_goes_on() {
    // Devices 2 and 3 share the switch with a link that goes down.
    let shape = Shape { devices: 4, ..Shape::default() };
    let alone = {
        let mut fabric = new(&shape);
        run(&mut fabric, &[(2, Direction::Write, bar(&shape, 3), 64 << 10)]);
        fabric.ledger.flows[0].last
    };
    let mut fabric = new(&shape);
    let link = uplink(&fabric, 1);
    fabric.plan(Picos::nanos(300), Fault::LinkDown(link));
    run(
        &mut fabric,
        &[(2, Direction::Write, bar(&shape, 3), 64 << 10), (0, Direction::Write, bar(&shape, 1), 64 << 10)],
    );
    assert_eq!((bytes(&fabric, 0), fabric.ledger.flows[0].last), ((64 << 10, 0), alone));
}

#[test]
fn leaked_credits_are_missed() {
    // 32 credits per round trip: 8.9 ns on the link, 115 ns in the switch, 8.9 ns until the buffer is free, 30 ns back.
    // With 16 of them 16 × 256 bytes go per 163 ns; the rest of the time is spent waiting for credits.
    let shape = Shape { credits: 32, ..Shape::default() };
    let rate = |leak: u32| {
        let mut fabric = new(&shape);
        let link = uplink(&fabric, 0);
        let (class, data) = (Class::Posted, 16 * leak);
        fabric.plan(Picos::ZERO, Fault::LeakCredits { link, class, header: leak, data });
        run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 1 << 20)]);
        (crate::traffic::rate(&fabric, 0), fabric.ledger.faults[link.0 as usize].leaked[0])
    };
    let ((whole, none), (half, leaked)) = (rate(0), rate(24));
    assert_eq!((none, leaked), ([0, 0], [24, 384]));
    assert!(2 * half < whole, "{half} of {whole}");
}

#[test]
fn a_run_is_not_kept_waiting_by_what_is_planned_after_its_end() {
    let shape = Shape::default();
    let mut fabric = new(&shape);
    fabric.plan(Picos(MS), Fault::LinkDown(uplink(&fabric, 0)));
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 256)]);
    assert!(fabric.now() < Picos(5_000_000), "{:?}", fabric.now());
    assert_eq!(causes(&fabric, 0)[0], (Cause::Engine, 50_000));
}
