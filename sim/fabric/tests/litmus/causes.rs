//! Where time goes, to the picosecond.

use peerbus_fabric::{Cause, Direction};

use super::{causes, fabric};
use crate::machines::{Shape, bar, machine};
use crate::traffic::{Transfer, run};

/// The causes of every flow of these transfers, all given at time 0.
#[track_caller]
fn check(shape: &Shape, transfers: &[Transfer], expected: &[&[(Cause, u64)]]) {
    let (machine, registers) = machine(shape);
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, transfers);
    for (flow, expected) in expected.iter().enumerate() {
        assert_eq!(causes(&fabric, flow), *expected, "flow {flow}");
    }
}

#[test]
fn one_write_below_a_switch() {
    // 50 ns until the engine starts, 115 ns in the switch, which sends it on as it comes (cut-through), so its 280 bytes
    // count once; 256 bytes at 500 GB/s in the memory.
    let shape = Shape::default();
    check(
        &shape,
        &[(0, Direction::Write, bar(&shape, 1), 256)],
        &[&[
            (Cause::Engine, 50_000),
            (Cause::Serialisation, 8_910),
            (Cause::Switch, 115_000),
            (Cause::Memory, 512),
        ]],
    );
}

#[test]
fn two_writers_of_one_port_take_turns() {
    // Both heads are ready behind the switch at the same time; the second waits until the first is out. Fractions of a
    // picosecond are kept: 280 bytes take 8,910.7 ps, so the second of two ends 17,821 after the first began.
    let shape = Shape { devices: 3, ..Shape::default() };
    let common = [(Cause::Engine, 50_000), (Cause::Serialisation, 8_910), (Cause::Switch, 115_000)];
    let [engine, wire, switch] = common;
    let memory = (Cause::Memory, 512);
    check(
        &shape,
        &[(0, Direction::Write, bar(&shape, 2), 256), (1, Direction::Write, bar(&shape, 2), 256)],
        &[
            &[engine, wire, switch, memory],
            &[engine, (Cause::Arbitration, 8_910), (Cause::Serialisation, 8_911), switch, memory],
        ],
    );
}

#[test]
fn a_read_is_a_request_and_its_completion() {
    // A request of 24 bytes goes out, 200 ns later its completion of 276 bytes comes back. Each passes the switch.
    let shape = Shape::default();
    check(
        &shape,
        &[(0, Direction::Read, bar(&shape, 1) + 128, 256)],
        &[&[
            (Cause::Engine, 50_000),
            (Cause::Serialisation, 763 + 8_783),
            (Cause::Switch, 2 * 115_000),
            (Cause::Memory, 200_000),
        ]],
    );
}
