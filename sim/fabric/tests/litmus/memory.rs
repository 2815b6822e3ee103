//! CXL.mem: memory of a device that its CPU uses as its own.
//!
//! Devices hang below root ports of one CPU, on links that run CXL: Gen4 x16 in flits of 68 bytes, of which 64 are content, so
//! 31,422.77 × 64 / 68 = 29,574.4 bytes per microsecond. A message of CXL.mem takes slots of 16 bytes: a read request one
//! (541 ps), a write request and its line five (2,705 ps), the line of an answer four and a half (2,435 ps). A flit takes
//! 2,164 ps, and nothing of it is used before all of it is there. The port of the CPU takes 20 ns, its network 50 ns on the
//! way back, the memory of the device 100 ns.

use peerbus_fabric::{
    Attributes, Cause, Descriptor, Direction, EngineId, EngineSpec, Fabric, Fault, LatencyOf, Resource,
};
use peerbus_machine::part::{CxlMemoryPart, CxlPortPart};
use peerbus_machine::{Machine, Registers};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::{causes, fabric};
use crate::machines::{BAR, Shape, bar, machine};
use crate::traffic::rate;

const LINE: u64 = 64;
const MIB: u64 = 1 << 20;

/// Devices with CXL below root ports, or below switches that have it too.
fn cxl_machine(shape: &Shape) -> (Machine, Registers) {
    let (mut machine, registers) = machine(shape);
    for cpu in &mut machine.cpus {
        cpu.part.cxl = Some(CxlPortPart { latency: Picos::nanos(20) });
    }
    for switch in &mut machine.switches {
        switch.part.cxl = true;
    }
    for device in &mut machine.devices {
        device.part.cxl = Some(CxlMemoryPart { latency: Picos::nanos(100), reads: 256, writes: 256 });
    }
    (machine, registers)
}

fn shape() -> Shape {
    Shape { switches: 0, credits: 512, ..Shape::default() }
}

/// First address of a device's memory, as its CPU sees it.
fn memory(machine: &Machine, device: usize) -> u64 {
    let ranges = machine.cxl_ranges();
    ranges.iter().find(|(owner, _)| *owner == device).map(|(_, range)| range.first().0).unwrap()
}

/// A core of the only CPU that uses the memory of `device`: 10 ns until its first request, as fast as any link.
fn core(fabric: &mut Fabric, device: usize, direction: Direction, tags: u16) -> EngineId {
    let link = fabric.spec.link_to_memory(0, device);
    assert!(link.is_some(), "there is a way");
    fabric.add_engine(EngineSpec {
        name: "core".into(),
        direction,
        node: fabric.spec.cpu(0),
        requester: None,
        link,
        source: 0,
        traffic_class: 0,
        permits: Attributes::NONE,
        rate: "100GB/s".parse().unwrap(),
        tags,
        max_payload: LINE,
        max_read_request: LINE,
        boundary: LINE,
        write_buffers: None,
        completion_timeout: Picos::nanos(50_000_000),
        request_latency: Picos::nanos(10),
        handling: None,
    })
}

fn submit(fabric: &mut Fabric, engine: EngineId, addr: u64, bytes: u64) -> usize {
    let flow = fabric.add_flow(LatencyOf::Request);
    fabric.submit(Descriptor::new(engine, DmaAddr(addr), Bytes(bytes), flow, 0));
    usize::from(flow.0)
}

fn finish(fabric: &mut Fabric) {
    fabric.watch();
    while fabric.advance().is_some() {}
    fabric.finish();
}

/// One access of a core to device 0; returns the fabric.
fn access(shape: &Shape, direction: Direction, bytes: u64) -> Fabric {
    let (machine, registers) = cxl_machine(shape);
    let mut fabric = fabric(&machine, &registers);
    let engine = core(&mut fabric, 0, direction, 256);
    submit(&mut fabric, engine, memory(&machine, 0), bytes);
    finish(&mut fabric);
    assert_eq!(fabric.ledger.flows[0].delivered, bytes);
    fabric
}

fn wire_bytes(fabric: &Fabric, name: &str) -> u64 {
    let link = fabric.spec.links.iter().position(|link| link.name == name);
    fabric.ledger.links[link.unwrap_or_else(|| panic!("{name}"))].wire_bytes
}

#[test]
fn a_load_crosses_the_port_twice_and_no_io_pipeline() {
    let fabric = access(&shape(), Direction::Read, LINE);
    let time = causes(&fabric, 0);
    let of = |cause| time.iter().find(|(known, _)| *known == cause).map_or(0, |(_, time)| *time);
    // The root port's 100 ns are those of I/O.
    assert_eq!((of(Cause::RootComplex), of(Cause::Memory)), (20_000 + 20_000 + 50_000, 100_000));
    // 16 B inside the CPU at 400 GB/s: 40 ps. At 30,040 ps the request starts on the link, and its flit is complete at the
    // next multiple of 2,164 ps. The answer is there one or two flits after it began; 64 B inside the CPU: 160 ps.
    let serialisation = of(Cause::Serialisation);
    let least = 40 + 541 + 2_435 + 160;
    assert!((least..least + 2 * 2_164).contains(&serialisation), "{serialisation}");
    assert_eq!(fabric.ledger.flows[0].last, 10_000 + 190_000 + serialisation);
}

#[test]
fn messages_take_slots() {
    let up_and_down = |direction, bytes| {
        let fabric = access(&shape(), direction, bytes);
        ["up", "down"].map(|way| wire_bytes(&fabric, &format!("host0/rp0/gpu0:{way}.mem")))
    };
    // Two lines: two requests of a slot, two answers of four and a half.
    assert_eq!(up_and_down(Direction::Read, 128), [144, 32]);
    // Two requests of a slot and four of data each; what answers them is half a slot each, beside packets.
    assert_eq!(up_and_down(Direction::Write, 128), [0, 160]);
    // A part of a line needs byte enables.
    assert_eq!(up_and_down(Direction::Write, 32), [0, 96]);
    let fabric = access(&shape(), Direction::Write, 128);
    let up = fabric.spec.links.iter().position(|link| link.name == "host0/rp0/gpu0:up.mem").unwrap();
    assert_eq!(fabric.ledger.links[up].dllp_bytes, 16);
}

#[test]
fn lines_fill_the_slots_of_their_flits() {
    let check = |(generation, lanes), direction, expect: u64| {
        let fabric = access(&Shape { generation, lanes, ..shape() }, direction, 4 * MIB);
        let rate = rate(&fabric, 0);
        assert!(
            (expect - expect / 200..=expect).contains(&rate),
            "{generation} {direction:?}: {rate}, not {expect}"
        );
    };
    // Reads: 64 of 72 bytes of slots up; writes: 64 of 80 down.
    check((4, 16), Direction::Read, 29_574 * 64 / 72);
    check((4, 16), Direction::Write, 29_574 * 64 / 80);
    // 64 GT/s x4: 32,000 bytes per microsecond, in flits of 256 bytes with 15 slots.
    check((6, 4), Direction::Read, 32_000 * 240 / 256 * 64 / 72);
}

#[test]
fn io_of_the_same_link_loses_four_of_68_bytes() {
    // 256 of 280 bytes are payload, at 29,574 bytes per microsecond instead of 31,423.
    let (machine, registers) = cxl_machine(&shape());
    let mut fabric = fabric(&machine, &registers);
    let writer = fabric.spec.writer(1);
    submit(&mut fabric, writer, bar(&shape(), 0), 4 * MIB);
    finish(&mut fabric);
    let rate = rate(&fabric, 0);
    let expect = 29_574 * 256 / 280;
    assert!((expect - expect / 100..=expect).contains(&rate), "{rate}, not {expect}");
}

#[test]
fn memory_and_io_have_the_wire_for_equal_times() {
    // Device 1 writes into the BAR of device 0, 280 bytes a packet, and a core stores lines into its memory, 80 bytes each.
    // Both have something at any time: each gets half of the wire, however large its packets are.
    let (machine, registers) = cxl_machine(&shape());
    let mut fabric = fabric(&machine, &registers);
    let (writer, core) = (fabric.spec.writer(1), core(&mut fabric, 0, Direction::Write, 0));
    let io = submit(&mut fabric, writer, bar(&shape(), 0), 4 * MIB);
    let mem = submit(&mut fabric, core, memory(&machine, 0), 64 * MIB);
    while fabric.ledger.flows[io].delivered < 4 * MIB {
        fabric.advance();
    }
    let (delivered, now) = (fabric.ledger.flows[mem].delivered, fabric.now().0 / 1_000_000);
    let expect = now * (29_574 / 2) * 64 / 80;
    assert!((expect * 98 / 100..expect * 102 / 100).contains(&delivered), "{delivered} of {expect}");
    finish(&mut fabric);
}

#[test]
fn requests_beyond_what_the_device_accepts_wait() {
    // One read at a time: each takes as long as the first, credits coming back 30 ns after the memory has it.
    let run = |reads: u16| {
        let (mut machine, registers) = cxl_machine(&shape());
        machine.devices[0].memory = Some(Bytes(BAR));
        machine.devices[0].part.memory_rate = "1GB/s".parse().unwrap();
        machine.devices[0].part.cxl = Some(CxlMemoryPart { latency: Picos::nanos(100), reads, writes: 64 });
        let mut fabric = fabric(&machine, &registers);
        let engine = core(&mut fabric, 0, Direction::Read, 64);
        submit(&mut fabric, engine, memory(&machine, 0), 64 * LINE);
        finish(&mut fabric);
        causes(&fabric, 0).iter().any(|(cause, _)| *cause == Cause::Credits)
    };
    assert!(run(1) && !run(64));
}

#[test]
fn devices_reach_the_memory_through_the_host() {
    let check = |switches: usize, direction, expect: &[&str]| {
        let shape = Shape { switches, ..shape() };
        let (machine, registers) = cxl_machine(&shape);
        let mut fabric = fabric(&machine, &registers);
        let engine = match direction {
            Direction::Write => fabric.spec.writer(1),
            Direction::Read => fabric.spec.reader(1),
        };
        submit(&mut fabric, engine, memory(&machine, 0) + 4096, 8192);
        finish(&mut fabric);
        assert_eq!(fabric.ledger.flows[0].delivered, 8192);
        let route = fabric.ledger.flows[0].route.unwrap();
        let name = |link: &peerbus_fabric::LinkId| fabric.spec.links[link.0 as usize].name.clone();
        let names: Vec<String> = fabric.route_links(route).iter().map(name).collect();
        assert_eq!(names, expect);
    };
    let direct = ["host0/rp1/gpu1:up", "host0:up", "host0:down.mem", "host0/rp0/gpu0:down.mem"];
    check(0, Direction::Write, &direct);
    check(0, Direction::Read, &direct);
    // The port of a switch does not look for it below itself: the address is in none of its windows.
    let switched = [
        "host0/rp0/sw0/p1/gpu1:up",
        "host0/rp0/sw0:up",
        "host0:up",
        "host0:down.mem",
        "host0/rp0/sw0:down.mem",
        "host0/rp0/sw0/p0/gpu0:down.mem",
    ];
    check(1, Direction::Write, &switched);
}

#[test]
fn a_switch_adds_its_pipeline_both_ways() {
    let direct = access(&shape(), Direction::Read, LINE).ledger.flows[0].last;
    let switched = access(&Shape { switches: 1, ..shape() }, Direction::Read, LINE).ledger.flows[0].last;
    // Twice 115 ns, and a second link, with a few flits of 2.2 ns.
    let more = switched - direct;
    assert!((230_000..230_000 + 5 * 2_164).contains(&more), "{more}");
}

#[test]
fn without_cxl_at_both_ends_it_is_a_pcie_link() {
    let (mut machine, registers) = cxl_machine(&shape());
    machine.cpus[0].part.cxl = None;
    assert!(machine.cxl_ranges().is_empty() && !machine.runs_cxl(0));
    let fabric = fabric(&machine, &registers);
    assert_eq!(fabric.spec.link_to_memory(0, 0), None);
    assert!(fabric.spec.links.iter().all(|link| !link.memory && link.flit == 0));
}

#[test]
fn the_slots_of_a_link_are_named_as_the_limit() {
    let fabric = access(&shape(), Direction::Write, 4 * MIB);
    let limits = fabric.ledger.flows[0].limits();
    let link =
        |limit: &Resource| matches!(limit, Resource::Link(link) if fabric.spec.links[link.0 as usize].memory);
    assert!(limits.iter().any(link), "{limits:?}");
}

#[test]
fn a_link_that_goes_down_takes_the_memory_with_it() {
    let (machine, registers) = cxl_machine(&shape());
    let mut fabric = fabric(&machine, &registers);
    let engine = core(&mut fabric, 0, Direction::Write, 0);
    let link = fabric.spec.nodes[fabric.spec.device(0).0 as usize].upstream.unwrap();
    submit(&mut fabric, engine, memory(&machine, 0), MIB);
    fabric.plan(Picos::nanos(10_000), Fault::LinkDown(link));
    finish(&mut fabric);
    let flow = &fabric.ledger.flows[0];
    assert!(flow.delivered > 0 && flow.refused > 0 && flow.delivered + flow.refused == MIB);
}
