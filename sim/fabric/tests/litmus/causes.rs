//! Where time goes, to the picosecond.
//!
//! Every case computes all causes of all its packets by hand. Fractions of a picosecond are kept by each link: a second
//! packet of 280 bytes (8,910.737 ps) takes 8,911 ps after a first of 8,910. An engine that was idle for as long
//! as a request takes has one request prepared ahead: its own rate holds back the third of a burst, not the second.

use peerbus_fabric::{Cause, Descriptor, Direction, Fabric, LatencyOf};
use peerbus_machine::{Machine, Registers};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::{causes, fabric};
use crate::machines::{Shape, bar, host_memory, machine};
use crate::traffic::{Transfer, run};
use Cause::*;
use Direction::{Read, Write};

/// The causes of every flow of these transfers, all given at time 0.
#[track_caller]
fn check(shape: &Shape, transfers: &[Transfer], expected: &[&[(Cause, u64)]]) {
    let (machine, registers) = machine(shape);
    check_on(&machine, &registers, transfers, expected);
}

#[track_caller]
fn check_on(
    machine: &Machine,
    registers: &Registers,
    transfers: &[Transfer],
    expected: &[&[(Cause, u64)]],
) -> Fabric {
    let mut fabric = fabric(machine, registers);
    run(&mut fabric, transfers);
    for (flow, expected) in expected.iter().enumerate() {
        assert_eq!(causes(&fabric, flow), *expected, "flow {flow}");
    }
    fabric
}

/// One packet, or one request and one completion: the causes add up to the time from submission to the end.
#[track_caller]
fn check_alone(machine: &Machine, registers: &Registers, transfer: Transfer, expected: &[(Cause, u64)]) {
    let fabric = check_on(machine, registers, &[transfer], &[expected]);
    let sum: u64 = expected.iter().map(|(_, time)| time).sum();
    assert_eq!(sum, fabric.ledger.flows[0].last, "the causes add up to the latency");
}

/// Latencies and times that many cases share, in picoseconds: start-up of an engine, a switch.
const START: u64 = 50_000;
const SWITCH: u64 = 115_000;
/// Port 100 ns, internal network 50 ns.
const TO_CPU: u64 = 150_000;
/// 280 bytes at 31,422.77 bytes per microsecond.
const WIRE: u64 = 8_910;
/// 256 bytes at 500 GB/s, the memory of a device, and at 400 GB/s, that of a CPU and every path inside it.
const STORE: u64 = 512;
const HOST_STORE: u64 = 640;

#[test]
fn one_write_below_a_switch() {
    // The switch sends it on as it comes (cut-through), so its 280 bytes count once.
    let shape = Shape::default();
    let (machine, registers) = machine(&shape);
    check_alone(
        &machine,
        &registers,
        (0, Write, bar(&shape, 1), 256),
        &[(Engine, START), (Serialisation, WIRE), (Switch, SWITCH), (Memory, STORE)],
    );
}

#[test]
fn two_writers_of_one_port_take_turns() {
    // Both heads are ready behind the switch at the same time; the second waits until the first is out.
    let shape = Shape { devices: 3, ..Shape::default() };
    check(
        &shape,
        &[(0, Write, bar(&shape, 2), 256), (1, Write, bar(&shape, 2), 256)],
        &[
            &[(Engine, START), (Serialisation, WIRE), (Switch, SWITCH), (Memory, STORE)],
            &[
                (Engine, START),
                (Arbitration, WIRE),
                (Serialisation, WIRE + 1),
                (Switch, SWITCH),
                (Memory, STORE),
            ],
        ],
    );
}

#[test]
fn a_read_is_a_request_and_its_completion() {
    // A request of 24 bytes goes out, 200 ns later its completion of 276 bytes comes back. Each passes the switch.
    let shape = Shape::default();
    let (machine, registers) = machine(&shape);
    check_alone(
        &machine,
        &registers,
        (0, Read, bar(&shape, 1) + 128, 256),
        &[(Engine, START), (Serialisation, 763 + 8_783), (Switch, 2 * SWITCH), (Memory, 200_000)],
    );
}

#[test]
fn a_faster_link_gets_a_packet_that_is_there_as_a_whole() {
    // Cut-through into a link that is not faster, store and forward into one that is: a packet must not run dry. Gen3
    // carries 15,711.38 bytes per microsecond: 280 bytes in 17,821 ps.
    let shape = Shape::default();
    for (slow, wire) in [(1, 17_821 + WIRE), (2, 17_821)] {
        let (mut machine, registers) = machine(&shape);
        machine.links[slow].generation = 3;
        check_alone(
            &machine,
            &registers,
            (0, Write, bar(&shape, 1), 256),
            &[(Engine, START), (Serialisation, wire), (Switch, SWITCH), (Memory, STORE)],
        );
    }
}

#[test]
fn a_write_to_host_memory_pays_port_and_network() {
    // Through the switch as it comes; whole into the root complex, whose paths are faster, and across it in 640 ps.
    let shape = Shape::default();
    let (machine, registers) = machine(&shape);
    check_alone(
        &machine,
        &registers,
        (0, Write, host_memory(0), 256),
        &[
            (Engine, START),
            (Serialisation, WIRE + HOST_STORE),
            (Switch, SWITCH),
            (RootComplex, TO_CPU),
            (Memory, HOST_STORE),
        ],
    );
}

#[test]
fn redirection_pays_the_switch_twice_and_both_ports() {
    // Up through the switch, root port 100 ns, network 50 ns, root port 100 ns, down through the switch. It arrives
    // whole at the root complex and at the device.
    let shape = Shape { acs_control: 0x1d, ..Shape::default() };
    let (machine, registers) = machine(&shape);
    check_alone(
        &machine,
        &registers,
        (0, Write, bar(&shape, 1), 256),
        &[
            (Engine, START),
            (Serialisation, 2 * WIRE),
            (Switch, 2 * SWITCH),
            (RootComplex, TO_CPU + 100_000),
            (Memory, STORE),
        ],
    );
}

#[test]
fn another_socket_costs_its_link() {
    // 100 ns, and 256 bytes at 50 GB/s where it arrives whole; it left the root complex's faster path as it came.
    let shape = Shape { cpus: 2, roots: 2, ..Shape::default() };
    let (machine, registers) = machine(&shape);
    check_alone(
        &machine,
        &registers,
        (0, Write, host_memory(1), 256),
        &[
            (Engine, START),
            (Serialisation, WIRE + 5_120),
            (Switch, SWITCH),
            (RootComplex, TO_CPU),
            (SocketLink, 100_000),
            (Memory, HOST_STORE),
        ],
    );
}

#[test]
fn nobody_claims_a_write_at_the_end_of_its_way() {
    // As far as the CPU, where no memory and no window holds the address: it dies on arrival.
    let shape = Shape::default();
    let (machine, registers) = machine(&shape);
    check_alone(
        &machine,
        &registers,
        (0, Write, bar(&shape, 1) + (8 << 30), 256),
        &[(Engine, START), (Serialisation, WIRE + HOST_STORE), (Switch, SWITCH), (RootComplex, TO_CPU)],
    );
}

#[test]
fn a_slow_port_sets_the_pace_of_its_link() {
    // Root ports that sustain 10 GB/s of payload: 256 bytes take 25,600 ps on a link that could do it in 8,910. The
    // second request waits for the link as long as the first is on it.
    let shape = Shape { switches: 0, ..Shape::default() };
    let (mut machine, registers) = machine(&shape);
    machine.cpus[0].part.root_port_rate = Some("10GB/s".parse().unwrap());
    check_on(
        &machine,
        &registers,
        &[(0, Write, host_memory(0), 512)],
        &[&[
            (Engine, START),
            (Arbitration, 25_600),
            (Serialisation, 2 * (25_600 + HOST_STORE)),
            (RootComplex, 2 * TO_CPU),
            (Memory, 2 * HOST_STORE),
        ]],
    );
}

#[test]
fn a_slow_engine_paces_its_requests() {
    // 256 bytes at 1 GB/s. The engine's start-up is shorter than the 256 ns of a request, so its pace counts from the
    // beginning: requests leave at 50,000, 256,000 and 512,000 and meet nobody.
    let shape = Shape { engine_rate: "1GB/s", ..Shape::default() };
    check(
        &shape,
        &[(0, Write, bar(&shape, 1), 768)],
        &[&[(Engine, 512_000), (Serialisation, 3 * WIRE + 2), (Switch, 3 * SWITCH), (Memory, 3 * STORE)]],
    );
}

#[test]
fn one_tag_is_one_read_at_a_time() {
    // Reads of 512 bytes (MRRS), completions of 256 (MPS): requests 763.78 ps, completions 8,783.44 ps.
    //   50,000 request 1 leaves; 165,000 behind the switch; 165,763 at the memory; 365,763 data ready
    //   480,763 completion 1 behind the switch, 489,546 there; completion 2 waited 8,783 for it and is there at 498,329
    //   498,329 request 2 leaves: it lacked a tag since request 1 left
    //   its completions likewise, with 8,784 (.88 + .44 carried over) and 8,783; request 2 takes 764
    let shape = Shape { tags: 1, ..Shape::default() };
    check(
        &shape,
        &[(0, Read, bar(&shape, 1), 1024)],
        &[&[
            (Engine, START),
            (Tags, 498_329 - START),
            (Arbitration, 8_783 + 8_784),
            (Serialisation, 763 + 764 + 8_783 + 8_783 + 8_784 + 8_783),
            (Switch, 6 * SWITCH),
            (Memory, 2 * 200_000),
        ]],
    );
}

#[test]
fn one_credit_is_one_packet_between_two_updates() {
    // The switch holds one packet. The first leaves it at 50,000 + 115,000 + 8,910 = 173,910; 30 ns later its sender
    // knows. The second was ready at 50,000, found the link free at 58,910 and had no credit until 203,910.
    let shape = Shape { credits: 1, ..Shape::default() };
    check(
        &shape,
        &[(0, Write, bar(&shape, 1), 512)],
        &[&[
            (Engine, START),
            (Credits, 203_910 - 58_910),
            (Arbitration, 58_910 - START),
            (Serialisation, 2 * WIRE + 1),
            (Switch, 2 * SWITCH),
            (Memory, 2 * STORE),
        ]],
    );
}

#[test]
fn a_busy_memory_makes_the_second_writer_wait() {
    // 256 bytes at 2 GB/s take 128 ns. The first is there at 173,910 and done at 301,910; the second, there at 182,821,
    // waits until then and is done at 429,910.
    let shape = Shape { devices: 3, memory_rate: "2GB/s", ..Shape::default() };
    check(
        &shape,
        &[(0, Write, bar(&shape, 2), 256), (1, Write, bar(&shape, 2), 256)],
        &[
            &[(Engine, START), (Serialisation, WIRE), (Switch, SWITCH), (Memory, 128_000)],
            &[
                (Engine, START),
                (Arbitration, WIRE),
                (Serialisation, WIRE + 1),
                (Switch, SWITCH),
                (Memory, 429_910 - 182_821),
            ],
        ],
    );
}

#[test]
fn a_read_across_a_page_is_two_requests() {
    // 64 bytes on each side of a 4 KiB boundary, which no request may cross: two requests (763 and 764 ps) and two
    // completions of 84 bytes (2,673.2 ps).
    //   request 2 waits for the link until 50,763: 763 ps of arbitration
    //   data is ready at 365,763 and 366,527; completion 1 leaves until 368,436: 1,909 ps of arbitration for the second
    let shape = Shape::default();
    check(
        &shape,
        &[(0, Read, bar(&shape, 1) + 4096 - 64, 128)],
        &[&[
            (Engine, START),
            (Arbitration, 763 + 1_909),
            (Serialisation, 763 + 764 + 2 * 2_673),
            (Switch, 4 * SWITCH),
            (Memory, 2 * 200_000),
        ]],
    );
}

#[test]
fn software_comes_first() {
    // 7 us until the engine knows of the descriptor.
    let shape = Shape::default();
    let (machine, registers) = machine(&shape);
    let mut fabric = fabric(&machine, &registers);
    let flow = fabric.add_flow(LatencyOf::Request);
    let addr = DmaAddr(bar(&shape, 1));
    let descriptor = Descriptor::new(fabric.spec.writer(0), addr, Bytes(256), flow, 0);
    fabric.submit(Descriptor { software: Picos(7_000_000), ..descriptor });
    while fabric.advance().is_some() {}
    fabric.finish();
    let expected =
        [(Software, 7_000_000), (Engine, START), (Serialisation, WIRE), (Switch, SWITCH), (Memory, STORE)];
    assert_eq!(causes(&fabric, 0), expected);
}
