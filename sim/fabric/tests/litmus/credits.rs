//! Flow-control credits: what a packet takes of which buffer, and when it is given back (Base Specification, Flow Control
//! Rules).
//!
//! The buffers are those of the switch, for what devices send up. A write of 256 bytes leaves at 50,000 ps, is out of the
//! switch at 50,000 + 115,000 + 8,910 = 173,910 and its credits are known to be back 30 ns later, at 203,910.

use peerbus_fabric::{Cause, Direction, Fabric};
use peerbus_machine::part::{Buffers, Credits};

use super::fabric;
use crate::machines::{Shape, bar, machine};
use crate::traffic::{Transfer, run};
use Direction::{Read, Write};

const PLENTY: Credits = Credits { header: 128, data: 2048 };
const INFINITE: Credits = Credits { header: 0, data: 0 };

/// Runs `transfers` through a switch with those buffers for posted and non-posted requests.
fn run_with(posted: Credits, non_posted: Credits, transfers: impl Fn(u64) -> Vec<Transfer>) -> Fabric {
    let shape = Shape::default();
    let (mut machine, registers) = machine(&shape);
    machine.switches[0].part.buffers = Buffers { posted, non_posted, completion: PLENTY };
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, &transfers(bar(&shape, 1)));
    fabric
}

fn waited(fabric: &Fabric, flow: usize) -> u64 {
    fabric.ledger.flows[flow].time[Cause::Credits as usize]
}

/// Time that the writes of one transfer of `bytes` from `offset` wait for `posted` credits.
fn writes_wait(posted: Credits, offset: u64, bytes: u64) -> u64 {
    waited(&run_with(posted, PLENTY, |bar| vec![(0, Write, bar + offset, bytes)]), 0)
}

#[test]
fn a_packet_takes_one_header_credit() {
    // The third finds the link free at 50,000 + 2 × 8,910.737 = 67,821 and none of two header credits.
    let posted = |header| Credits { header, data: 2048 };
    assert_eq!(writes_wait(posted(2), 0, 768), 203_910 - 67_821);
    assert_eq!(writes_wait(posted(3), 0, 768), 0);
}

#[test]
fn a_packet_takes_a_data_credit_for_16_bytes() {
    // 256 bytes take 16: of 31 the second packet finds 15, at 58,910 when the link is free.
    let posted = |data| Credits { header: 128, data };
    assert_eq!(writes_wait(posted(31), 0, 512), 203_910 - 58_910);
    assert_eq!(writes_wait(posted(32), 0, 512), 0);
}

#[test]
fn data_counts_in_whole_double_words() {
    // 240 bytes from the third byte of a double word on lie in 61 of them: 242 bytes and more, 16 credits. In 60 double
    // words they take 15. Two of the latter fit in 31 credits.
    let twice = |offset| {
        let posted = Credits { header: 128, data: 31 };
        let transfers = move |bar| vec![(0, Write, bar + offset, 240), (0, Write, bar + 4096 + offset, 240)];
        let fabric = run_with(posted, PLENTY, transfers);
        waited(&fabric, 0) + waited(&fabric, 1)
    };
    assert!(twice(2) > 0);
    assert_eq!(twice(0), 0);
}

#[test]
fn a_read_request_takes_no_data_credit() {
    // Three requests, as many header credits, one data credit that nobody needs.
    let non_posted = |header| Credits { header, data: 1 };
    let reads = |header| run_with(PLENTY, non_posted(header), |bar| vec![(0, Read, bar, 1536)]);
    assert_eq!(waited(&reads(3), 0), 0);
    assert!(waited(&reads(2), 0) > 0);
}

#[test]
fn classes_have_buffers_of_their_own() {
    // The second write waits for the only posted header; the read beside it goes at once.
    let posted = Credits { header: 1, data: 2048 };
    let fabric = run_with(posted, PLENTY, |bar| vec![(0, Write, bar, 512), (0, Read, bar + 4096, 64)]);
    assert_eq!(waited(&fabric, 0), 203_910 - 58_910);
    assert_eq!(waited(&fabric, 1), 0);
}

#[test]
fn infinite_credits_are_never_waited_for() {
    assert_eq!(writes_wait(INFINITE, 0, 256 << 10), 0);
}

#[test]
fn a_round_trip_longer_than_its_credits_costs_rate() {
    // Four packets are out at 50,000 + 4 × 8,910.737 = 85,642; the fifth leaves at 203,910, and every four 153,910 after
    // the four before: three times 118,268 of waiting in 16 packets, apart from the fractions of picoseconds that links
    // keep.
    let posted = Credits { header: 4, data: 2048 };
    let waited = writes_wait(posted, 0, 16 * 256);
    assert!(waited.abs_diff(3 * 118_268) <= 16, "{waited}");
}
