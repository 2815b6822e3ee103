//! Reads that a completer answers in turn. Device 0 reads from device 1, whose completions have 256 bytes and take 8,783 ps
//! each on the link; requests are 763 ps apart.
//!
//! All data of a request comes from one completer: a request never crosses 4 KiB, and what a BAR or a window claims are whole
//! pages.

use peerbus_fabric::{Descriptor, Fabric, LatencyOf};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::fabric;
use crate::machines::{Shape, bar, host_memory, machine};

const COMPLETION: u64 = 8_783;

/// A machine whose devices and CPU answer so many reads in turn.
fn answering(reads: Option<u8>) -> Fabric {
    let (mut machine, registers) = machine(&Shape::default());
    machine.cpus[0].part.reads_in_turn = reads;
    machine.cpus[0].part.host_bridge_rate = "20GB/s".parse().unwrap();
    machine.devices.iter_mut().for_each(|device| device.part.reads_in_turn = reads);
    fabric(&machine, &registers)
}

/// When each of several reads of device 0 is complete: address, bytes, and when its engine learns of it.
fn ends(fabric: &mut Fabric, reads: &[(u64, u64, Picos)]) -> Vec<u64> {
    for (addr, bytes, software) in reads {
        let flow = fabric.add_flow(LatencyOf::Request);
        let (engine, addr) = (fabric.spec.reader(0), DmaAddr(*addr));
        let descriptor = Descriptor::new(engine, addr, Bytes(*bytes), flow, 0);
        fabric.submit(Descriptor { software: *software, ..descriptor });
    }
    while fabric.advance().is_some() {}
    fabric.finish();
    fabric.ledger.flows.iter().map(|flow| flow.last).collect()
}

/// How much later each of several reads of device 1 ends when so many are answered in turn than when they are answered one
/// after the other, in completions of 256 bytes.
#[track_caller]
fn later(in_turn: u8, reads: &[u64], expect: &[i64]) {
    let start = bar(&Shape::default(), 1);
    let reads: Vec<_> =
        (0..).zip(reads).map(|(number, bytes)| (start + number * 4096, *bytes, Picos::ZERO)).collect();
    let plain = ends(&mut answering(None), &reads);
    let turns = ends(&mut answering(Some(in_turn)), &reads);
    let later: Vec<i64> =
        turns.iter().zip(&plain).map(|(turn, plain)| turn.cast_signed() - plain.cast_signed()).collect();
    let completion = COMPLETION.cast_signed();
    let near = later.iter().zip(expect).all(|(found, expect)| (found - expect * completion).abs() <= 2);
    assert!(near, "{later:?} ps are not {expect:?} completions");
}

#[test]
fn without_turns_a_read_is_answered_whole_before_the_next() {
    // A turn of one is none.
    later(1, &[512, 512, 512], &[0, 0, 0]);
}

#[test]
fn two_reads_send_a_completion_each_in_turn() {
    // A A B B becomes A B A B: the first read ends one completion later, the second when it would have.
    later(2, &[512, 512], &[1, 0]);
}

#[test]
fn a_third_read_waits_for_its_turn() {
    // A A B B C C becomes A B A B C C where two take part, and A B C A B C where three do.
    later(2, &[512, 512, 512], &[1, 0, 0]);
    later(3, &[512, 512, 512], &[2, 1, 0]);
}

#[test]
fn a_short_read_does_not_wait_for_a_long_one() {
    // A A B becomes A B A: the short one gains what the long one loses.
    later(2, &[512, 256], &[1, -1]);
}

#[test]
fn a_read_whose_data_is_not_there_loses_its_turn() {
    // The second read comes 12 ns after the first: when the first completion has been sent, 8.8 ns later, the second read has
    // no data, and the first one goes on.
    let start = bar(&Shape::default(), 1);
    let reads = [(start, 512, Picos::ZERO), (start + 4096, 512, Picos::nanos(12))];
    assert_eq!(ends(&mut answering(Some(2)), &reads), ends(&mut answering(None), &reads));
}

#[test]
fn host_memory_answers_in_turn_as_well() {
    // Completions of a root complex are cut at 256 bytes here too (MPS), so two of each, 12.8 ns on the way out of the CPU
    // at 20 GB/s: by then the second read has its data.
    let reads = [(host_memory(0), 512, Picos::ZERO), (host_memory(0) + 4096, 512, Picos::ZERO)];
    let plain = ends(&mut answering(None), &reads);
    let turns = ends(&mut answering(Some(2)), &reads);
    // Each link's parts of a picosecond add up by themselves.
    assert!((12_799..=12_801).contains(&(turns[0] - plain[0])), "{turns:?} {plain:?}");
    assert_eq!(turns[1], plain[1]);
}
