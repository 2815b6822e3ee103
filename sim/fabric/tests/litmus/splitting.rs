//! How requests and completions are cut: MPS for writes, MRRS for reads, never across 4 KiB; completions end at multiples
//! of the read completion boundary, 128 bytes at a device and 64 at a root complex, and hold at most its MPS.
//!
//! Counted are packets and bytes on the wire of the last link: 24 bytes beside the payload of a write or read request to a
//! 64-bit address, 20 beside that of a completion, payloads in whole double words.

use peerbus_fabric::{Direction, Fabric};

use super::fabric;
use crate::machines::{Shape, bar, machine};
use crate::traffic::run;

/// Packets, their bytes on the wire and their payload on the link of that name.
fn crossed(fabric: &Fabric, name: &str) -> (u64, u64, u64) {
    let link = fabric.spec.links.iter().position(|link| link.name == name).unwrap();
    let link = &fabric.ledger.links[link];
    (link.tlps, link.wire_bytes, link.payload_bytes)
}

/// A write of device 0 to device 1, MPS 256.
#[track_caller]
fn writes(offset: u64, bytes: u64, expected: (u64, u64, u64)) {
    let shape = Shape::default();
    let (machine, registers) = machine(&shape);
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1) + offset, bytes)]);
    assert_eq!(crossed(&fabric, "host0/rp0/sw0/p1/gpu1:down"), expected, "{bytes} at {offset}");
}

/// A read by device 0, MRRS 512, completers' MPS 256: requests up, completions down at the reader's own link.
#[track_caller]
fn reads(addr: u64, bytes: u64, requests: u64, completions: (u64, u64, u64)) {
    let (machine, registers) = machine(&Shape::default());
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, &[(0, Direction::Read, addr, bytes)]);
    assert_eq!(crossed(&fabric, "host0/rp0/sw0/p0/gpu0:up").0, requests, "requests for {bytes} at {addr:#x}");
    assert_eq!(crossed(&fabric, "host0/rp0/sw0/p0/gpu0:down"), completions, "{bytes} at {addr:#x}");
}

#[test]
fn writes_are_cut_at_mps_from_where_they_start() {
    // A writer cuts by size, not by alignment: 256 + 256 from 4 on. From 3 on the first double word holds one byte only, and
    // MPS counts double words: 253, 256 and 3 bytes.
    writes(0, 512, (2, 2 * 280, 512));
    writes(4, 512, (2, 2 * 280, 512));
    writes(3, 512, (3, 2 * 280 + 28, 512));
    writes(0, 1, (1, 28, 1));
    writes(0, 257, (2, 280 + 28, 257));
}

#[test]
fn no_request_crosses_4_kib() {
    // 100 bytes before a page and 156 in it.
    writes(4096 - 100, 256, (2, (100 + 24) + (156 + 24), 256));
    // Reads the same: 100 and 412 bytes; the completions are cut at 128-byte multiples: 100; 256 and 156.
    reads(bar(&Shape::default(), 1) + 4096 - 100, 512, 2, (3, 120 + 276 + 176, 512));
}

#[test]
fn completions_of_a_device_end_at_multiples_of_128() {
    let base = bar(&Shape::default(), 1);
    reads(base, 512, 1, (2, 2 * 276, 512));
    // From 32 on: up to 256 (224 bytes), up to 512 (256), and the last 32.
    reads(base + 32, 512, 1, (3, 244 + 276 + 52, 512));
    // From 124 on: up to 256 (132 bytes), up to 512 (256), and the last 124.
    reads(base + 124, 512, 1, (3, 152 + 276 + 144, 512));
    // From 127 on MRRS leaves 509 bytes: up to 256 are 129 in 33 double words, up to 512, and 124. The last three are a
    // request of their own.
    reads(base + 127, 512, 2, (4, 152 + 276 + 144 + 24, 512));
    // Small ones are not cut.
    reads(base + 96, 64, 1, (1, 84, 64));
}

#[test]
fn completions_of_a_root_complex_end_at_multiples_of_64() {
    let dram = 8 << 30;
    // From 32 on: up to 256 is the largest multiple of 64 within MPS (32 + 256 = 288): 224, then 256, then 32.
    reads(dram + 32, 512, 1, (3, 244 + 276 + 52, 512));
    // From 64 on a device would stop at 256 (192 bytes); a root complex goes on to 320 (256 bytes).
    reads(dram + 64, 512, 1, (2, 2 * 276, 512));
    reads(bar(&Shape::default(), 1) + 64, 512, 1, (3, 212 + 276 + 84, 512));
}

#[test]
fn reads_are_cut_at_mrrs() {
    let base = bar(&Shape::default(), 1);
    reads(base, 4096, 8, (16, 16 * 276, 4096));
    reads(base, 513, 2, (3, 2 * 276 + 24, 513));
}
