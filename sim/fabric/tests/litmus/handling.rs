//! What a DMA engine does with a transfer beside sending requests.
//!
//! Device 0 and the memory of its CPU, without a switch. The engine starts after 20 ns, takes a completion 200 ns after it
//! came, and copies in 4 ns and 17 ns for each 128 bytes.

use peerbus_fabric::{Cause, Direction, Fabric, Fault};
use peerbus_machine::part::{CopyPart, DmaPart};
use peerbus_units::{Bytes, Picos};

use super::fabric;
use crate::machines::{Shape, host_memory, machine};
use crate::traffic::run;
use Direction::{Read, Write};

const NS: u64 = 1000;

fn copy() -> CopyPart {
    let (transfer, piece) = (Picos::nanos(4), Picos::nanos(17));
    CopyPart { transfer, piece, piece_size: Bytes(128), end_apart: false }
}

fn dma() -> DmaPart {
    DmaPart {
        request_latency: Picos::nanos(20),
        completion_latency: Picos::nanos(200),
        write_gap: Picos::ZERO,
        write: copy(),
        read: copy(),
        both_rate: None,
    }
}

fn engine(dma: Option<DmaPart>, tags: u16) -> Fabric {
    let (mut machine, registers) = machine(&Shape { switches: 0, tags, ..Shape::default() });
    machine.devices[0].part.dma = dma;
    fabric(&machine, &registers)
}

/// Transfers of device 0 with host memory, given together, each a flow: when each was done, and what the engine cost it.
fn transfers(mut fabric: Fabric, list: &[(Direction, u64)]) -> Vec<(u64, u64)> {
    let list: Vec<_> =
        list.iter().map(|(direction, bytes)| (0, *direction, host_memory(0), *bytes)).collect();
    run(&mut fabric, &list);
    let flows = fabric.ledger.flows.iter();
    flows.map(|flow| (flow.last, flow.time[Cause::Engine as usize])).collect()
}

#[test]
fn a_write_is_copied_whole_before_its_first_request() {
    // 20 ns, then 4 and two times 17 ns for 200 bytes. The second copy begins when the first one is done.
    let done = transfers(engine(Some(dma()), 8), &[(Write, 200), (Write, 64)]);
    assert_eq!([done[0].1, done[1].1], [(20 + 38) * NS, 21 * NS]);
    // Without a copy the engine starts after the 50 ns of its part, and the second write follows on the link.
    let done = transfers(engine(None, 8), &[(Write, 200)]);
    assert_eq!(done[0].1, 50 * NS);
}

#[test]
fn requests_of_a_write_have_a_gap() {
    // 768 bytes in three requests: 2.56 ns of payload at 100 GB/s and 30 ns each. An engine that was idle sends two at once;
    // the third leaves 32.56 ns after the first, and otherwise as soon as the link has taken two, 17.821 ns.
    let [with, without] = [30, 0].map(|gap| {
        let dma = DmaPart { write_gap: Picos::nanos(gap), ..dma() };
        transfers(engine(Some(dma), 8), &[(Write, 768)])[0].0
    });
    assert_eq!(with - without, 32_560 - 17_821);
}

#[test]
fn a_read_is_copied_whole_after_its_last_completion() {
    // The same round trip: 30 ns less in front of it, 200 and 21 ns more behind it.
    let [with, without] = [Some(dma()), None].map(|dma| transfers(engine(dma, 8), &[(Read, 64)])[0].0);
    assert_eq!(with - without, (200 + 21 - 30) * NS);
    // 512 bytes in four pieces.
    let [with, without] = [Some(dma()), None].map(|dma| transfers(engine(dma, 8), &[(Read, 512)])[0].0);
    assert_eq!(with - without, (200 + 4 + 4 * 17 - 30) * NS);
}

#[test]
fn a_tag_is_used_until_the_engine_has_taken_the_completion() {
    // With one tag, the second read waits for the first one's 200 ns, but not for its copy. The copy of the second is
    // the only one then.
    let two = |dma| {
        let done = transfers(engine(dma, 1), &[(Read, 64), (Read, 64)]);
        done[1].0 - done[0].0
    };
    assert_eq!(two(Some(dma())) - two(None), 200 * NS);
}

#[test]
fn one_copy_follows_the_other() {
    // Eight reads of 64 bytes with a tag each come back on each other's heels, faster than one in 21 ns.
    let done = transfers(engine(Some(dma()), 8), &[(Read, 64); 8]);
    let mut ends: Vec<u64> = done.iter().map(|(last, _)| *last).collect();
    ends.sort_unstable();
    assert!(ends.windows(2).all(|pair| pair[1] - pair[0] == 21 * NS), "{ends:?}");
}

#[test]
fn both_directions_share_a_rate() {
    // A write of 2000 bytes is copied from 20 ns on: it has had its share of 1 GB/s at 2020 ns. The read's data is there
    // before: it is copied then, in 21 ns, and without a shared rate long before.
    let shared = DmaPart { both_rate: Some("1GB/s".parse().unwrap()), ..dma() };
    let read = |dma| transfers(engine(Some(dma), 8), &[(Write, 2000), (Read, 64)])[1].0;
    assert_eq!(read(shared), 2041 * NS);
    assert!(read(dma()) < 1000 * NS);
}

#[test]
fn what_is_copied_when_the_link_goes_down_is_lost() {
    // At 30 ns the first write is being copied and the second waits for it.
    let mut fabric = engine(Some(dma()), 8);
    let device = fabric.spec.device(0).0 as usize;
    let link = fabric.spec.nodes[device].upstream.unwrap();
    fabric.plan(Picos::nanos(30), Fault::LinkDown(link));
    run(&mut fabric, &[(0, Write, host_memory(0), 200), (0, Write, host_memory(0), 64)]);
    let bytes: Vec<_> = fabric.ledger.flows.iter().map(|flow| (flow.delivered, flow.refused)).collect();
    assert_eq!(bytes, [(0, 200), (0, 64)]);
    assert_eq!(fabric.ledger.faults[link.0 as usize].abandoned.bytes, 264);
}
