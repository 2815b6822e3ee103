//! Cores of a CPU that store to and load from a BAR.
//!
//! From the CPU: 400 GB/s to the host bridge, whose root port adds 100 ns; the link is that of all cases. A 64-byte write
//! to a 64-bit address has 88 bytes on the wire (2,800 ps), its payload takes 160 ps inside the CPU and 128 ps in the
//! device's memory.

use peerbus_fabric::{
    Attributes, Cause, Descriptor, Direction, EngineId, EngineSpec, Fabric, LatencyOf, WriteBuffers,
};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::{causes, fabric};
use crate::machines::{Shape, bar, machine};

const LINE: u64 = 64;

/// A core of the only CPU, on the way to the only host bridge: 20 GB/s, 10 ns until its first request.
fn core(fabric: &mut Fabric, direction: Direction, buffers: Option<WriteBuffers>, tags: u16) -> EngineId {
    let (cpu, root) = (fabric.spec.cpu(0), fabric.spec.root(0));
    let link = fabric.spec.link_between(cpu, root);
    fabric.add_engine(EngineSpec {
        name: "core".into(),
        direction,
        node: cpu,
        requester: None,
        link,
        source: 0,
        traffic_class: 0,
        permits: Attributes::NONE,
        rate: "20GB/s".parse().unwrap(),
        tags,
        max_payload: LINE,
        max_read_request: LINE,
        boundary: LINE,
        write_buffers: buffers,
        completion_timeout: Picos::nanos(50_000_000),
        request_latency: Picos::nanos(10),
        handling: None,
    })
}

/// Devices directly below root ports.
fn shape() -> Shape {
    Shape { switches: 0, ..Shape::default() }
}

/// Runs accesses of one engine to the end, each a descriptor; returns the fabric.
fn accesses(
    latency_of: LatencyOf,
    direction: Direction,
    buffers: Option<WriteBuffers>,
    tags: u16,
    list: &[(u64, u64)],
) -> Fabric {
    let (machine, registers) = machine(&shape());
    let mut fabric = fabric(&machine, &registers);
    let engine = core(&mut fabric, direction, buffers, tags);
    let flow = fabric.add_flow(latency_of);
    for (offset, bytes) in list {
        let addr = DmaAddr(bar(&shape(), 0) + offset);
        fabric.submit(Descriptor::new(engine, addr, Bytes(*bytes), flow, 0));
    }
    while fabric.advance().is_some() {}
    fabric.finish();
    fabric
}

fn latency(fabric: &Fabric) -> u64 {
    fabric.ledger.flows[0].latency.max() / 1000
}

#[test]
fn a_store_crosses_the_root_port_once() {
    let one = accesses(LatencyOf::Request, Direction::Write, None, 0, &[(0, LINE)]);
    assert_eq!(
        causes(&one, 0),
        [
            (Cause::Engine, 10_000),
            // Into the host bridge (64 bytes at 400 GB/s; the link behind is slower, so it cuts through) and the link.
            (Cause::Serialisation, 2_800),
            (Cause::RootComplex, 100_000),
            (Cause::Memory, 128),
        ]
    );
}

#[test]
fn stores_are_cut_at_cache_lines() {
    // 100 bytes from offset 60 on: 4, 64 and 32 bytes. Lines are what a write-combining buffer holds.
    let cut = accesses(LatencyOf::Request, Direction::Write, None, 0, &[(60, 100)]);
    assert_eq!(cut.ledger.engines.last().unwrap().requests, 3);
    assert_eq!(cut.ledger.flows[0].delivered, 100);
}

#[test]
fn write_combining_buffers_bound_a_core() {
    // A line takes 3.2 ns, but the second follows at once: an engine keeps its pace after a short delay. A buffer is held for
    // 50 ns: two of them pass 4 lines in two rounds, the fourth leaves at 10 + 50 + 3.2 ns, and the fence ends 50 ns later.
    let buffers = |count| Some(WriteBuffers { count, hold: Picos::nanos(50), fence: true });
    let fence =
        |count| latency(&accesses(LatencyOf::Fence, Direction::Write, buffers(count), 0, &[(0, 4 * LINE)]));
    assert_eq!(fence(2), 113);
    // One buffer: the fourth line waits three times. Enough buffers: two more lines, one hold.
    assert_eq!(fence(1), 10 + 150 + 50);
    assert_eq!(fence(4), 66);
}

#[test]
fn a_fence_holds_back_the_next_store() {
    // The second store begins when the first one's buffer is free, 50 ns after it was sent, and takes 10 ns until it is
    // sent itself; without a fence it follows at once, 2.8 ns later on the wire.
    let with = |fence| {
        let buffers = Some(WriteBuffers { count: 8, hold: Picos::nanos(50), fence });
        let two = accesses(LatencyOf::Request, Direction::Write, buffers, 0, &[(0, LINE), (LINE, LINE)]);
        two.ledger.flows[0].last
    };
    assert_eq!(with(true) - with(false), 60_000 - 2_800);
}

#[test]
fn uncached_loads_go_one_at_a_time() {
    // A core with one tag asks for the second line when it has the first; with two it does not wait. The round trip: 20 ns and
    // more inside, the port both ways, the device's 200 ns.
    let time = |tags| {
        accesses(LatencyOf::Request, Direction::Read, None, tags, &[(0, 2 * LINE)]).ledger.flows[0].last
    };
    let one = accesses(LatencyOf::Request, Direction::Read, None, 1, &[(0, LINE)]);
    let round_trip = one.ledger.flows[0].last - 10_000;
    // Fractions of a picosecond are kept: two round trips may take one more.
    assert_eq!(time(1), 10_000 + 2 * round_trip + 1);
    // The second completion follows directly: 84 bytes.
    assert_eq!(time(2), 10_000 + round_trip + 2_673);
}

#[test]
fn a_core_reaches_every_port_of_a_root_complex_that_forwards_nothing_between_ports() {
    let (mut machine, registers) = machine(&shape());
    machine.cpus[0].part.peer_to_peer = false;
    let mut fabric = fabric(&machine, &registers);
    let engine = core(&mut fabric, Direction::Read, None, 1);
    let flow = fabric.add_flow(LatencyOf::Request);
    fabric.submit(Descriptor::new(engine, DmaAddr(bar(&shape(), 1)), Bytes(LINE), flow, 0));
    while fabric.advance().is_some() {}
    fabric.finish();
    assert_eq!(fabric.ledger.flows[0].delivered, LINE);
}

#[test]
fn what_lies_behind_no_host_bridge_never_leaves_the_core() {
    let beyond = accesses(LatencyOf::Request, Direction::Write, None, 0, &[(1 << 50, LINE)]);
    assert_eq!((beyond.ledger.flows[0].refused, beyond.ledger.tlp_hops()), (LINE, 0));
}
