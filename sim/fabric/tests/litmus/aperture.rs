//! BARs that show a device's memory by a table of pages.
//!
//! Device 0 reaches device 1, below the same switch, whose BAR of 4 GiB shows its memory in pages of 64 KiB; a look-up takes
//! 40 ns, a read 200 ns in the memory.

use peerbus_fabric::{
    Cause, Direction, ErrorCounters, Fabric, MissKind, PacketError, Severity, Shown, private_addr,
};
use peerbus_machine::model::{Edge, Interconnect, Member};
use peerbus_machine::part::{AperturePart, InterconnectPart, Sources};
use peerbus_machine::{Machine, Registers};
use peerbus_units::{Bytes, Picos};

use super::{causes, fabric};
use crate::machines::{BAR, Shape, bar, machine};
use crate::traffic::run;
use Direction::{Read, Write};

const PAGE: u64 = 64 << 10;

fn with_aperture(memory: u64, look_up: Picos) -> (Machine, Registers) {
    let (mut machine, registers) = machine(&Shape::default());
    machine.devices[1].memory = Some(Bytes(memory));
    machine.devices[1].aperture = Some(AperturePart { page: Bytes(PAGE), look_up });
    (machine, registers)
}

fn new(memory: u64, look_up: Picos) -> Fabric {
    let (machine, registers) = with_aperture(memory, look_up);
    fabric(&machine, &registers)
}

fn own(at: u64) -> u64 {
    bar(&Shape::default(), 1) + at
}

/// Where a read of device 0 at byte `at` of the BAR finds its byte in the memory of device 1.
fn place(fabric: &mut Fabric, at: u64) -> Option<u64> {
    let found = fabric.place_in_memory(fabric.spec.reader(0), own(at));
    found.map(|(node, addr)| {
        assert_eq!(node, fabric.spec.device(1));
        addr
    })
}

fn time(fabric: &Fabric, flow: usize, cause: Cause) -> u64 {
    fabric.ledger.flows[flow].time[cause as usize]
}

#[test]
fn the_table_says_which_byte_of_the_memory_is_behind_a_page() {
    // Page 0 of the BAR shows page 7 of the memory, page 1 page 3, page 2 nothing, page 3 page 7 again.
    let mut fabric = new(16 << 30, Picos::ZERO);
    let page = |at: u64, memory: u64| Shown { at: at * PAGE, memory: memory * PAGE, size: PAGE };
    fabric.show(1, vec![page(3, 7), page(0, 7), page(1, 3)]);
    let mut check = |at: u64, expect| assert_eq!(place(&mut fabric, at), expect, "{at:#x}");
    check(0, Some(7 * PAGE));
    check(PAGE - 1, Some(8 * PAGE - 1));
    check(PAGE, Some(3 * PAGE));
    check(2 * PAGE, None);
    check(3 * PAGE - 1, None);
    check(3 * PAGE + 5, Some(7 * PAGE + 5));
    check(4 * PAGE, None);
}

#[test]
fn drivers_show_the_memory_from_its_first_byte_on() {
    // A BAR of 4 GiB in front of 16 GiB shows the first 4; in front of 1 GiB and half a page it shows 1 GiB.
    let check = |memory, at, expect| assert_eq!(place(&mut new(memory, Picos::ZERO), at), expect, "{at:#x}");
    check(16 << 30, 0, Some(0));
    check(16 << 30, BAR - 1, Some(BAR - 1));
    check((1 << 30) + PAGE / 2, (1 << 30) - 1, Some((1 << 30) - 1));
    check((1 << 30) + PAGE / 2, 1 << 30, None);
}

/// Errors counted, by severity and kind, all at the function of device 1.
fn errors(machine: &Machine, counted: &ErrorCounters) -> Vec<(Severity, PacketError, u64)> {
    let at_device = |((function, severity, error), count): (&(Option<_>, _, _), &u64)| {
        assert_eq!(*function, Some(machine.devices[1].functions[0]));
        (*severity, *error, *count)
    };
    counted.iter().map(at_device).collect()
}

#[test]
fn a_page_that_is_not_mapped_is_an_unsupported_request() {
    // 512 bytes from the middle of the last page that is mapped on: two writes of 256 bytes, or one read, up to its end,
    // and as much behind it. The device answers the read with an error (advisory), and drops the writes (Non-Fatal).
    let check = |direction, expect: &[(Severity, PacketError, u64)]| {
        let (machine, registers) = with_aperture(16 << 30, Picos::nanos(40));
        let mut fabric = fabric(&machine, &registers);
        fabric.show(1, vec![Shown { at: 0, memory: 0, size: PAGE }]);
        run(&mut fabric, &[(0, direction, own(PAGE - 512), 1024)]);
        let flow = &fabric.ledger.flows[0];
        assert_eq!((flow.delivered, flow.refused), (512, 512), "{direction:?}");
        assert_eq!(errors(&machine, &fabric.ledger.errors), expect);
        let [miss] = fabric.misses() else { panic!("{:?}", fabric.misses()) };
        assert_eq!((miss.kind, miss.node), (MissKind::ApertureFault, fabric.spec.device(1)));
        assert_eq!(miss.addr, own(PAGE));
    };
    check(Read, &[(Severity::Correctable, PacketError::UnsupportedRequest, 1)]);
    check(Write, &[(Severity::NonFatal, PacketError::UnsupportedRequest, 2)]);
}

#[test]
fn a_look_up_takes_its_time_and_holds_nobody_up() {
    // Two requests 8.9 ns (writes) or 0.8 ns (reads) apart: 40 ns each, and both are as much later.
    let check = |direction, bytes| {
        let fabrics = [Picos::nanos(40), Picos::ZERO].map(|look_up| {
            let mut fabric = new(16 << 30, look_up);
            run(&mut fabric, &[(0, direction, own(0), bytes), (0, direction, own(PAGE), bytes)]);
            fabric
        });
        for flow in 0..2 {
            let [slow, fast] = [&fabrics[0], &fabrics[1]];
            assert_eq!(time(slow, flow, Cause::Translation), 40_000, "{direction:?}");
            assert_eq!(time(slow, flow, Cause::Memory), time(fast, flow, Cause::Memory), "{direction:?}");
            assert_eq!(slow.ledger.flows[flow].last - fast.ledger.flows[flow].last, 40_000, "{direction:?}");
        }
    };
    check(Write, 256);
    check(Read, 256);
}

#[test]
fn a_driver_may_write_the_table_while_requests_are_under_way() {
    // 64 KiB of writes take 2.3 us. The page goes after 1 us: what was sent until then arrives, all else is refused.
    let mut fabric = new(16 << 30, Picos::ZERO);
    let flow = fabric.add_flow(peerbus_fabric::LatencyOf::Request);
    let (engine, addr) = (fabric.spec.writer(0), peerbus_units::DmaAddr(own(0)));
    fabric.submit(peerbus_fabric::Descriptor::new(engine, addr, Bytes(PAGE), flow, 0));
    fabric.set_timer(Picos::nanos(1000));
    assert_eq!(fabric.advance(), Some(peerbus_fabric::Upcall::Timer));
    fabric.show(1, Vec::new());
    while fabric.advance().is_some() {}
    fabric.finish();
    // One write of 256 bytes in 8,911 ps from 50 ns on.
    let flow = &fabric.ledger.flows[0];
    assert_eq!(flow.delivered / 256, 950_000 / 8_911 + 1);
    assert_eq!(flow.delivered + flow.refused, PAGE);
}

#[test]
fn what_comes_by_a_private_link_is_not_looked_up() {
    // Nothing is mapped, and the private interconnect reaches all of the memory, beyond the BAR as well.
    let (mut machine, registers) = with_aperture(16 << 30, Picos::nanos(40));
    let part = InterconnectPart {
        id: "private".into(),
        description: String::new(),
        rate: "25GB/s".parse().unwrap(),
        rate_back: None,
        packet_payload: Bytes(256),
        packet_header: Bytes(16),
        packet_unit: Bytes(16),
        latency: Picos::nanos(700),
        switched: false,
        sources: Sources::new(),
    };
    let edge = Edge { from: Member::Device(0), to: Member::Device(1), links: 2 };
    machine.interconnects.push(Interconnect { name: "private".into(), part, edges: vec![edge] });
    let mut fabric = fabric(&machine, &registers);
    fabric.show(1, Vec::new());
    let flow = fabric.add_flow(peerbus_fabric::LatencyOf::Request);
    let link = fabric.spec.private_link(0, 1, Write).unwrap();
    let engine = fabric.spec.private_engine(link, Write).unwrap();
    let addr = private_addr(1, 2 * BAR);
    fabric.submit(peerbus_fabric::Descriptor::new(engine, addr, Bytes(256), flow, 0));
    while fabric.advance().is_some() {}
    fabric.finish();
    assert_eq!(causes(&fabric, 0), [(Cause::Serialisation, 5_440), (Cause::Interconnect, 700_000)]);
}
