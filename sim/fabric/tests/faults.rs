//! Random faults in random traffic: every transfer ends, no byte, credit, tag or picosecond is lost.
//!
//! Reads the number of cases from the environment, which is an input of the test, not of the simulation.
#![allow(clippy::disallowed_methods, reason = "the number of cases comes from outside")]

use peerbus_engine::Stream;
use peerbus_fabric::{Class, Direction, Fabric, Fault, LinkId};
use peerbus_units::{BitErrorRate, Picos};

use crate::machines::{Shape, bar};
use crate::traffic::{Transfer, fabric, run};

fn pick<T: Copy>(stream: &mut Stream, choices: &[T]) -> T {
    choices[usize::try_from(stream.below(choices.len() as u64)).unwrap()]
}

fn shape(stream: &mut Stream) -> Shape {
    Shape {
        roots: pick(stream, &[1, 2]),
        switches: pick(stream, &[0, 1, 2]),
        devices: pick(stream, &[2, 3, 4]),
        generation: pick(stream, &[1, 2, 3, 4, 5, 6, 7]),
        lanes: pick(stream, &[1, 2, 4, 8, 12, 16, 32]),
        credits: pick(stream, &[4, 16, 64, 256]),
        tags: pick(stream, &[1, 4, 64, 256]),
        acs_control: pick(stream, &[0, 0, 0x1d]),
        ..Shape::default()
    }
}

/// Any fault at all, on any PCIe link or device.
fn fault(stream: &mut Stream, fabric: &Fabric, shape: &Shape, devices: u64) -> Fault {
    let links: Vec<u32> = (0..).take(fabric.spec.links.len()).collect();
    let links: Vec<u32> =
        links.into_iter().filter(|link| fabric.spec.links[*link as usize].pcie.is_some()).collect();
    let link = LinkId(pick(stream, &links));
    let device = fabric.spec.device(usize::try_from(stream.below(devices)).unwrap());
    match stream.below(12) {
        0..3 => Fault::LinkDown(link),
        3..6 => Fault::LinkUp(link),
        6..8 => Fault::Retrain {
            link,
            generation: 1 + u8::try_from(stream.below(u64::from(shape.generation))).unwrap(),
            lanes: pick(stream, &[1, 2, 4, 8, 12, 16, 32]).min(shape.lanes),
            time: Picos(stream.below(3_000_000)),
        },
        8 => Fault::ErrorRate { link, rate: pick(stream, &[BitErrorRate::ZERO, BitErrorRate::MOST]) },
        9 => Fault::SurpriseRemove(device),
        10 => Fault::StopCompleting(device),
        _ => {
            let class = pick(stream, &Class::ALL);
            Fault::LeakCredits { link, class, header: 1, data: 8 }
        }
    }
}

fn check(seed: u64, number: u64) {
    let stream = &mut Stream::new(seed, number);
    let shape = shape(stream);
    let devices = shape.roots * shape.switches.max(1) * shape.devices;
    let mut transfers: Vec<Transfer> = Vec::new();
    for _ in 0..1 + stream.below(6) {
        let from = usize::try_from(stream.below(devices as u64)).unwrap();
        let to = (from + 1 + usize::try_from(stream.below(devices as u64 - 1)).unwrap()) % devices;
        let direction = pick(stream, &[Direction::Write, Direction::Read]);
        let addr = pick(stream, &[bar(&shape, to), bar(&shape, to), 8 << 30]) + stream.below(4096);
        transfers.push((from, direction, addr, 1 + stream.below(100_000)));
    }
    let mut fabric = fabric(&shape, vec![]);
    fabric.set_error_seed(number);
    let mut leaks = false;
    for _ in 0..stream.below(6) {
        let fault = fault(stream, &fabric, &shape, devices as u64);
        // Leaks add up until nothing can be sent: one is enough.
        if matches!(fault, Fault::LeakCredits { .. }) && std::mem::replace(&mut leaks, true) {
            continue;
        }
        fabric.plan(Picos(stream.below(20_000_000)), fault);
    }
    // Ends every transfer once and calls `finish`, which asserts that nothing was lost.
    run(&mut fabric, &transfers);
    for (flow, transfer) in fabric.ledger.flows.iter().zip(&transfers) {
        assert_eq!(flow.delivered + flow.refused, transfer.3, "case {number}");
    }
}

#[test]
fn every_transfer_ends_whatever_fails() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let seed = 20_261_121;
    println!("seed {seed}, {cases} cases");
    for number in 0..cases {
        check(seed, number);
    }
}
