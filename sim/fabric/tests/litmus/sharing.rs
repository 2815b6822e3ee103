//! What several flows share beside links: memory that takes writes slower than it gives reads, links between CPUs that are
//! slower for what is between devices, and switches whose inputs keep one queue each.

use peerbus_fabric::{Cause, Direction, Fabric, Resource};
use peerbus_units::Rate;

use super::fabric;
use crate::machines::{Shape, bar, host_memory, machine};
use crate::traffic::run;
use Direction::{Read, Write};

const NS: u64 = 1000;
const MIB: u64 = 1 << 20;

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn time(fabric: &Fabric, flow: usize, cause: Cause) -> u64 {
    fabric.ledger.flows[flow].time[cause as usize]
}

/// Two devices below two root ports of one CPU, whose memory takes writes at that rate.
fn writing_at(write_rate: Option<&str>) -> Fabric {
    let (mut machine, registers) = machine(&Shape { switches: 0, ..Shape::default() });
    machine.cpus[0].part.memory_write_rate = write_rate.map(rate);
    fabric(&machine, &registers)
}

#[test]
fn a_write_takes_the_memory_for_its_length_at_the_rate_of_writes() {
    // 256 bytes take 0.64 ns at 400 GB/s and 8 ns at 32 GB/s. A read of as much takes no longer than it did.
    let check = |direction, expect: u64| {
        let charged = [Some("32GB/s"), None].map(|write_rate| {
            let mut fabric = writing_at(write_rate);
            run(&mut fabric, &[(0, direction, host_memory(0), 256)]);
            time(&fabric, 0, Cause::Memory)
        });
        assert_eq!(charged[0] - charged[1], expect, "{direction:?}");
    };
    check(Write, 8 * NS - 640);
    check(Read, 0);
}

#[test]
fn devices_share_what_memory_takes() {
    // Each link carries 28.7 GB/s of writes; both together get 40 GB/s, half each: 10 MiB in 524.3 us.
    let mut fabric = writing_at(Some("40GB/s"));
    run(
        &mut fabric,
        &[(0, Write, host_memory(0), 10 * MIB), (1, Write, host_memory(0) + (1 << 30), 10 * MIB)],
    );
    for flow in &fabric.ledger.flows[..2] {
        assert!((520_000 * NS..528_000 * NS).contains(&flow.last), "{}", flow.last);
        assert!(flow.limits().contains(&Resource::Memory(fabric.spec.cpu(0))), "{:?}", flow.limits());
    }
}

/// One device on each of two CPUs, whose link carries what is between devices at that rate, of 50 GB/s otherwise.
fn crossing_at(peer_rate: Option<&str>) -> (Shape, Fabric) {
    let shape = Shape { cpus: 2, roots: 2, switches: 0, devices: 1, ..Shape::default() };
    let (mut machine, registers) = machine(&shape);
    machine.cpu_links[0].part.peer_rate = peer_rate.map(rate);
    let fabric = fabric(&machine, &registers);
    (shape, fabric)
}

#[test]
fn requests_between_devices_of_two_cpus_go_at_the_pace_of_their_link() {
    // 256 bytes at 8 GB/s are 32 ns. The second write comes 8.9 ns after the first, the second read 0.8 ns after it.
    let check = |direction, apart: u64| {
        let charged = [Some("8GB/s"), None].map(|peer_rate| {
            let (shape, mut fabric) = crossing_at(peer_rate);
            let addr = bar(&shape, 1);
            run(&mut fabric, &[(0, direction, addr, 256), (0, direction, addr + 256, 256)]);
            time(&fabric, 1, Cause::SocketLink)
        });
        assert_eq!(charged[0] - charged[1], 32 * NS - apart, "{direction:?}");
    };
    check(Write, 8_911);
    check(Read, 764);
}

#[test]
fn memory_of_another_cpu_is_no_device() {
    let charged = [Some("8GB/s"), None].map(|peer_rate| {
        let (_, mut fabric) = crossing_at(peer_rate);
        run(&mut fabric, &[(0, Write, host_memory(1), 256), (0, Write, host_memory(1) + 256, 256)]);
        time(&fabric, 1, Cause::SocketLink)
    });
    assert_eq!(charged[0], charged[1]);
}

#[test]
fn the_pace_between_cpus_is_named_as_the_limit() {
    let (shape, mut fabric) = crossing_at(Some("8GB/s"));
    run(&mut fabric, &[(0, Write, bar(&shape, 1), 8 * MIB)]);
    let flow = &fabric.ledger.flows[0];
    let link = fabric.spec.link_between(fabric.spec.cpu(0), fabric.spec.cpu(1)).unwrap();
    assert_eq!(flow.limits(), [Resource::Port(link)]);
    // 8 GB/s and less than two microseconds for the way.
    assert!((8 * MIB * 125..8 * MIB * 125 + 2000 * NS).contains(&flow.last), "{}", flow.last);
}

/// Four devices below one switch.
fn below_one_switch(in_order: bool) -> (Shape, Fabric) {
    let shape = Shape { devices: 4, ..Shape::default() };
    let (mut machine, registers) = machine(&shape);
    machine.switches[0].part.in_order = in_order;
    let fabric = fabric(&machine, &registers);
    (shape, fabric)
}

#[test]
fn a_packet_whose_way_is_taken_holds_up_what_is_behind_it() {
    // Devices 0 and 1 send 256 bytes to device 2 at the same time, and device 1 as much to device 3 right after it, 8,911 ps
    // later. On the way to device 2 the input with the lower number goes first and the other one waits 8,911 ps, until what
    // is behind it comes. With one queue per input that waits until the one before it has been read out, 8,911 ps more.
    let waits = [true, false].map(|in_order| {
        let (shape, mut fabric) = below_one_switch(in_order);
        run(
            &mut fabric,
            &[
                (0, Write, bar(&shape, 2), 256),
                (1, Write, bar(&shape, 2) + 4096, 256),
                (1, Write, bar(&shape, 3), 256),
            ],
        );
        time(&fabric, 2, Cause::Arbitration)
    });
    assert!((8_900..8_920).contains(&(waits[0] - waits[1])), "{waits:?}");
}

#[test]
fn one_queue_per_input_takes_a_third_of_a_full_switch() {
    // Everybody to everybody else: with a queue per output every link is full; four inputs with one queue each reach 0.655
    // with independent traffic (Karol, Hluchyj and Morgan 1987), and something near it with requests in turn.
    let times = [true, false].map(|in_order| {
        let (shape, mut fabric) = below_one_switch(in_order);
        let mut transfers = Vec::new();
        for from in 0..4 {
            for to in (0..4).filter(|to| *to != from) {
                transfers.push((from, Write, bar(&shape, to) + u64::try_from(from).unwrap() * MIB, MIB));
            }
        }
        run(&mut fabric, &transfers);
        fabric.ledger.flows.iter().map(|flow| flow.last).max().unwrap()
    });
    // 3 MiB out of each device at 28.7 GB/s.
    assert!((109_000 * NS..116_000 * NS).contains(&times[1]), "{times:?}");
    assert!(times[0] * 100 > times[1] * 110, "{times:?}");
}
