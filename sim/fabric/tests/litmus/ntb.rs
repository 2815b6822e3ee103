//! Non-transparent bridges: two hosts, each with a CPU, a switch and three devices below it, of which the last are the two
//! sides of a bridge (devices 2 and 5). Between the sides: 25 GB/s and 150 ns. The CPUs have no other link.

use peerbus_fabric::{Cause, Descriptor, Direction, Fabric, Fault, LatencyOf, Miss, PacketError, Severity};
use peerbus_machine::part::NtbPart;
use peerbus_machine::registers::DomainNumber;
use peerbus_machine::{Machine, Registers};
use peerbus_units::{Bytes, CpuAddr, DmaAddr, Iova, Picos, Range};

use super::{causes, fabric};
use crate::machines::{BAR, Shape, bar, host_memory, machine};
use crate::traffic::run;
use Direction::{Read, Write};

const NS: u64 = 1000;
/// The sides.
const HERE: usize = 2;
const THERE: usize = 5;

fn shape() -> Shape {
    Shape { cpus: 2, roots: 2, devices: 3, ..Shape::default() }
}

fn two_hosts() -> (Machine, Registers) {
    let (mut machine, registers) = machine(&shape());
    machine.cpu_links.clear();
    let rate = "25GB/s".parse().unwrap();
    let part = NtbPart { windows: vec![0], requesters: 2, latency: Picos::nanos(150), rate };
    for side in [HERE, THERE] {
        machine.devices[side].part.ntb = Some(part.clone());
    }
    machine.ntbs.push((HERE, THERE));
    (machine, registers)
}

/// The window of this host's side leads to `to`, and its table of requesters holds those of `admitted`.
fn leading(to: u64, admitted: &[usize]) -> (Machine, Fabric) {
    let (machine, registers) = two_hosts();
    let mut fabric = fabric(&machine, &registers);
    assert!(fabric.lead_window(HERE, 0, to));
    for device in admitted {
        assert!(fabric.admit_requester(HERE, machine.devices[*device].functions[0]));
    }
    (machine, fabric)
}

fn window(at: u64) -> u64 {
    bar(&shape(), HERE) + at
}

fn bytes(fabric: &Fabric, flow: usize) -> (u64, u64) {
    (fabric.ledger.flows[flow].delivered, fabric.ledger.flows[flow].refused)
}

fn the_miss(fabric: &Fabric) -> Miss {
    let [miss] = fabric.misses() else { panic!("{:?}", fabric.misses()) };
    miss.clone()
}

#[test]
fn a_write_to_a_window_lands_where_the_window_leads() {
    // 50 ns in the engine. Each switch takes 115 ns, the bridge 150. The write is sent on from the switches while it arrives,
    // and from this side to the slower link inside the bridge; the other side's link is faster than that, so all 256 bytes
    // must be there first, 10,240 ps. The last link takes 8,910 ps for 280 bytes; memory 512 ps.
    let (_, mut fabric) = leading(bar(&shape(), 3) + 4096, &[0]);
    let found = fabric.place_in_memory(fabric.spec.writer(0), window(512));
    assert_eq!(found, Some((fabric.spec.device(3), bar(&shape(), 3) + 4096 + 512)));
    run(&mut fabric, &[(0, Write, window(512), 256)]);
    assert_eq!(bytes(&fabric, 0), (256, 0));
    let expected = [
        (Cause::Engine, 50 * NS),
        (Cause::Serialisation, 10_240 + 8_910),
        (Cause::Switch, (115 + 150 + 115) * NS),
        (Cause::Memory, 512),
    ];
    let found = causes(&fabric, 0);
    assert_eq!(found, expected);
}

#[test]
fn a_read_comes_back_through_the_bridge_to_its_own_requester() {
    // Devices 0 and 1 both use tag 0. Behind the bridge both requests have the same id; the answers find their ways apart.
    let (_, mut fabric) = leading(bar(&shape(), 3), &[0, 1]);
    run(&mut fabric, &[(0, Read, window(0), 512), (1, Read, window(4096), 256)]);
    assert_eq!((bytes(&fabric, 0), bytes(&fabric, 1)), ((512, 0), (256, 0)));
    // There and back: two switches and the bridge each way, nothing else.
    for flow in [0, 1] {
        let packets = if flow == 0 { 3 } else { 2 };
        let switches = fabric.ledger.flows[flow].time[Cause::Switch as usize];
        assert_eq!(switches, packets * (115 + 150 + 115) * NS);
        assert_eq!(fabric.ledger.flows[flow].time[Cause::RootComplex as usize], 0);
    }
}

#[test]
fn memory_of_the_other_host_is_behind_a_window_too() {
    let (_, mut fabric) = leading(host_memory(1), &[0]);
    let found = fabric.place_in_memory(fabric.spec.reader(0), window(64));
    assert_eq!(found, Some((fabric.spec.cpu(1), host_memory(1) + 64)));
    run(&mut fabric, &[(0, Read, window(64), 4096), (0, Write, window(1 << 20), 4096)]);
    assert_eq!((bytes(&fabric, 0), bytes(&fabric, 1)), ((4096, 0), (4096, 0)));
}

#[test]
fn a_requester_that_is_not_in_the_table_is_refused() {
    // The side that has the window refuses: an Unsupported Request, advisory for the read, Non-Fatal for each of the writes.
    let check = |direction, severity, count| {
        let (machine, mut fabric) = leading(bar(&shape(), 3), &[0]);
        run(&mut fabric, &[(1, direction, window(0), 512)]);
        assert_eq!(bytes(&fabric, 0), (0, 512));
        let function = Some(machine.devices[HERE].functions[0]);
        let errors: Vec<_> = fabric.ledger.errors.iter().collect();
        assert_eq!(errors, [(&(function, severity, PacketError::UnsupportedRequest), &count)]);
        let miss = the_miss(&fabric);
        assert_eq!(miss.node, fabric.spec.device(HERE));
        assert!(miss.text.contains("gpu1 is not in the table of requesters of"), "{}", miss.text);
        // Nothing went on.
        let inside = fabric.spec.link_between(fabric.spec.device(HERE), fabric.spec.device(THERE)).unwrap();
        assert_eq!(fabric.ledger.links[inside.0 as usize].tlps, 0);
    };
    check(Read, Severity::Correctable, 1);
    check(Write, Severity::NonFatal, 2);
}

#[test]
fn the_table_of_requesters_has_an_end() {
    let (machine, mut fabric) = leading(bar(&shape(), 3), &[0, 1]);
    let function = |device: usize| machine.devices[device].functions[0];
    assert!(fabric.admit_requester(HERE, function(1)), "it is there already");
    assert!(!fabric.admit_requester(HERE, function(3)), "two fit");
    assert!(!fabric.admit_requester(0, function(1)), "device 0 is no bridge");
    assert!(!fabric.lead_window(HERE, 2, 0), "BAR 2 is no window");
}

#[test]
fn a_window_that_leads_nowhere_refuses() {
    let (machine, registers) = two_hosts();
    let mut fabric = fabric(&machine, &registers);
    fabric.admit_requester(HERE, machine.devices[0].functions[0]);
    run(&mut fabric, &[(0, Read, window(0), 256)]);
    assert_eq!(bytes(&fabric, 0), (0, 256));
    assert!(the_miss(&fabric).text.contains("leads nowhere"), "{}", the_miss(&fabric).text);
}

#[test]
fn behind_the_end_of_a_window_there_is_no_other_host() {
    // One byte behind the window begin addresses of the other host's first device. Here they are nobody's: the requests go up
    // to this host's CPU, which has no link to the other one.
    let (_, mut fabric) = leading(bar(&shape(), 3), &[0]);
    assert_eq!(window(BAR), bar(&shape(), 3));
    run(&mut fabric, &[(0, Write, window(BAR), 256)]);
    assert_eq!(bytes(&fabric, 0), (0, 256));
    let miss = the_miss(&fabric);
    assert_eq!((miss.node, miss.text.as_str()), (fabric.spec.cpu(0), "no link leads from cpu0 to cpu1"));
}

#[test]
fn what_nobody_claims_behind_the_bridge_is_answered_through_it() {
    // The window leads below the first BAR of the other host, which is this host's side of the bridge. Nobody there has it.
    let (_, mut fabric) = leading(bar(&shape(), HERE), &[0]);
    run(&mut fabric, &[(0, Read, window(0), 256)]);
    assert_eq!(bytes(&fabric, 0), (0, 256));
    assert_eq!(the_miss(&fabric).node, fabric.spec.cpu(1));
    // No completion timeout: the answer came.
    assert!(fabric.now() < Picos::nanos(5_000), "{}", fabric.now());
}

#[test]
fn the_port_of_a_dead_device_behind_the_bridge_answers_through_it() {
    // As without a bridge: the port in front of a link that is down completes reads as Unsupported Requests.
    let (_, mut fabric) = leading(bar(&shape(), 3), &[0]);
    let up = fabric.spec.nodes[fabric.spec.device(3).0 as usize].upstream.unwrap();
    fabric.plan(Picos::nanos(100), Fault::LinkDown(up));
    run(&mut fabric, &[(0, Read, window(0), 256)]);
    assert_eq!(bytes(&fabric, 0), (0, 256));
    assert!(fabric.now() < Picos::nanos(5_000), "{}", fabric.now());
}

#[test]
fn the_other_hosts_iommu_sees_the_bridges_own_id() {
    // The other host translates for the bridge's side in a domain where one page leads to its memory. The requester's own id
    // means nothing there; the page behind the first has no translation.
    let (machine, mut registers) = two_hosts();
    let id = registers.id(machine.devices[THERE].functions[0]).unwrap();
    let tables = registers.iommu_mut();
    let (domain, iova) = (DomainNumber(4), 0xffe0_0000);
    tables.attach(id.domain, id.requester(), Some(domain));
    tables.map(domain, Range::sized(Iova(iova), Bytes(4096)).unwrap(), CpuAddr(host_memory(1)));
    let mut fabric = fabric(&machine, &registers);
    fabric.lead_window(HERE, 0, iova);
    fabric.admit_requester(HERE, machine.devices[0].functions[0]);
    let found = fabric.place_in_memory(fabric.spec.reader(0), window(128));
    assert_eq!(found, Some((fabric.spec.cpu(1), host_memory(1) + 128)));
    run(&mut fabric, &[(0, Read, window(0), 4096), (0, Read, window(4096), 4096)]);
    assert_eq!((bytes(&fabric, 0), bytes(&fabric, 1)), ((4096, 0), (0, 4096)));
    assert!(the_miss(&fabric).text.contains("gpu5 has no translation"), "{}", the_miss(&fabric).text);
}

#[test]
fn both_ways_at_once_and_to_the_end() {
    // Each side's window leads to a device of the other host; 1 MiB each way at 25 GB/s take 42 us.
    let (machine, mut fabric) = leading(bar(&shape(), 3), &[0]);
    assert!(fabric.lead_window(THERE, 0, bar(&shape(), 0)));
    assert!(fabric.admit_requester(THERE, machine.devices[4].functions[0]));
    let flow = fabric.add_flow(LatencyOf::Request);
    let (engine, addr) = (fabric.spec.writer(4), DmaAddr(bar(&shape(), THERE)));
    fabric.submit(Descriptor::new(engine, addr, Bytes(1 << 20), flow, 0));
    let flow = fabric.add_flow(LatencyOf::Request);
    fabric.submit(Descriptor::new(fabric.spec.writer(0), DmaAddr(window(0)), Bytes(1 << 20), flow, 1));
    while fabric.advance().is_some() {}
    fabric.finish();
    for flow in [0, 1] {
        assert_eq!(bytes(&fabric, flow), (1 << 20, 0));
    }
    let last = fabric.ledger.flows[1].last;
    assert!((41_900 * NS..44_000 * NS).contains(&last), "{last}");
}
