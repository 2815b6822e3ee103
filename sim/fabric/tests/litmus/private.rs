//! Private interconnects: what packets cost there, who gets there, and who does not.

use peerbus_fabric::{Cause, Descriptor, Direction, EngineSpec, Fabric, LatencyOf, Resource, private_addr};
use peerbus_machine::Machine;
use peerbus_machine::model::Member::{Cpu, Device};
use peerbus_machine::model::{Edge, Interconnect, Member};
use peerbus_machine::part::{InterconnectPart, Sources};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::{causes, fabric};
use crate::machines::{Shape, bar, host_memory, machine};

/// 25 GB/s a link, 16 bytes of header per 256 of data, 700 ns from device to device.
fn part(switched: bool) -> InterconnectPart {
    InterconnectPart {
        id: "private".into(),
        description: String::new(),
        rate: "25GB/s".parse().unwrap(),
        rate_back: None,
        packet_payload: Bytes(256),
        packet_header: Bytes(16),
        packet_unit: Bytes(16),
        latency: Picos::nanos(700),
        switched,
        sources: Sources::new(),
    }
}

fn with_interconnect(shape: &Shape, switched: bool, edges: &[(usize, usize, u32)]) -> (Machine, Fabric) {
    let edges = edges.iter().map(|(from, to, links)| (Device(*from), Device(*to), *links));
    with_part(shape, part(switched), &edges.collect::<Vec<_>>())
}

fn with_part(shape: &Shape, part: InterconnectPart, edges: &[(Member, Member, u32)]) -> (Machine, Fabric) {
    let (mut machine, registers) = machine(shape);
    let edges = edges.iter().map(|(from, to, links)| Edge { from: *from, to: *to, links: *links }).collect();
    machine.interconnects.push(Interconnect { name: "private".into(), part, edges });
    let fabric = fabric(&machine, &registers);
    (machine, fabric)
}

/// A transfer over the private link between two devices.
fn submit(fabric: &mut Fabric, from: usize, to: usize, direction: Direction, addr: DmaAddr, bytes: u64) {
    let flow = fabric.add_flow(LatencyOf::Request);
    let link = fabric.spec.private_link(from, to, direction).unwrap();
    let engine = fabric.spec.private_engine(link, direction).unwrap();
    fabric.submit(Descriptor::new(engine, addr, Bytes(bytes), flow, 0));
}

fn finish(fabric: &mut Fabric) {
    while fabric.advance().is_some() {}
    fabric.finish();
}

#[test]
fn a_packet_has_its_own_header_and_units() {
    // Two links of 25 GB/s: 256 + 16 bytes take 5,440 ps; 100 bytes travel as 112 + 16, 2,560 ps.
    for (bytes, picos) in [(256, 5_440), (100, 2_560)] {
        let (_, mut fabric) = with_interconnect(&Shape::default(), false, &[(0, 1, 2)]);
        submit(&mut fabric, 0, 1, Direction::Write, private_addr(1, 0), bytes);
        finish(&mut fabric);
        assert_eq!(causes(&fabric, 0), [(Cause::Serialisation, picos), (Cause::Interconnect, 700_000)]);
    }
}

#[test]
fn a_switch_is_half_the_way() {
    // One link a member: 10,880 ps, once, since the switch cuts through. Half of 700 ns on either side.
    let (_, mut fabric) = with_interconnect(&Shape::default(), true, &[(0, 1, 1)]);
    submit(&mut fabric, 0, 1, Direction::Write, private_addr(1, 4096), 256);
    finish(&mut fabric);
    assert_eq!(causes(&fabric, 0), [(Cause::Serialisation, 10_880), (Cause::Interconnect, 700_000)]);
}

#[test]
fn a_read_comes_back_the_same_way() {
    // Request of 16 bytes (640 ps), 200 ns in the device, completion of 272 (10,880 ps).
    let (_, mut fabric) = with_interconnect(&Shape::default(), false, &[(0, 1, 1)]);
    submit(&mut fabric, 1, 0, Direction::Read, private_addr(0, 0), 256);
    finish(&mut fabric);
    let expected =
        [(Cause::Serialisation, 640 + 10_880), (Cause::Interconnect, 1_400_000), (Cause::Memory, 200_000)];
    assert_eq!(causes(&fabric, 0), expected);
}

#[test]
fn only_members_are_there_and_pcie_traffic_stays_away() {
    let shape = Shape { devices: 3, ..Shape::default() };
    let (_, mut fabric) = with_interconnect(&shape, false, &[(0, 1, 1)]);
    assert_eq!(fabric.spec.private_link(0, 2, Direction::Write), None);
    submit(&mut fabric, 0, 1, Direction::Write, private_addr(2, 0), 256);
    let flow = fabric.add_flow(LatencyOf::Request);
    let writer = fabric.spec.writer(0);
    fabric.submit(Descriptor::new(writer, DmaAddr(bar(&shape, 1)), Bytes(256), flow, 0));
    finish(&mut fabric);
    assert_eq!(fabric.ledger.flows[0].refused, 256, "device 2 is no member");
    assert_eq!(fabric.ledger.flows[1].delivered, 256);
    let sent = fabric.spec.links.iter().zip(&fabric.ledger.links).filter(|(spec, _)| spec.private);
    assert_eq!(sent.map(|(_, ledger)| ledger.tlps).sum::<u64>(), 1, "the refused one alone");
}

/// 100 GB/s from the first member, 25 GB/s back.
fn uneven(switched: bool) -> InterconnectPart {
    InterconnectPart {
        rate: "100GB/s".parse().unwrap(),
        rate_back: Some("25GB/s".parse().unwrap()),
        ..part(switched)
    }
}

/// A transfer between a device and memory of a CPU.
fn submit_to_host(fabric: &mut Fabric, device: usize, cpu: usize, direction: Direction, bytes: u64) {
    let flow = fabric.add_flow(LatencyOf::Request);
    let link = fabric.spec.private_link_to_host(device, cpu, direction).unwrap();
    let engine = fabric.spec.private_engine(link, direction).unwrap();
    fabric.submit(Descriptor::new(engine, DmaAddr(host_memory(cpu)), Bytes(bytes), flow, 0));
}

#[test]
fn each_direction_has_its_own_rate() {
    // 272 bytes: 2,720 ps at 100 GB/s, 10,880 ps at 25 GB/s. Device 0 is named first.
    for (from, to, picos) in [(0, 1, 2_720), (1, 0, 10_880)] {
        let (_, mut fabric) = with_part(&Shape::default(), uneven(false), &[(Device(0), Device(1), 1)]);
        submit(&mut fabric, from, to, Direction::Write, private_addr(to, 0), 256);
        finish(&mut fabric);
        assert_eq!(causes(&fabric, 0), [(Cause::Serialisation, picos), (Cause::Interconnect, 700_000)]);
    }
}

#[test]
fn named_the_other_way_round_the_rates_change_places() {
    let (_, mut fabric) = with_part(&Shape::default(), uneven(false), &[(Device(1), Device(0), 1)]);
    submit(&mut fabric, 0, 1, Direction::Write, private_addr(1, 0), 256);
    finish(&mut fabric);
    assert_eq!(causes(&fabric, 0), [(Cause::Serialisation, 10_880), (Cause::Interconnect, 700_000)]);
}

#[test]
fn to_a_switch_and_from_it_rates_differ() {
    // Into the switch at 100 GB/s; it cuts through to the slower link, where all 272 bytes count: 10,880 ps, and before that
    // the head waits for nothing.
    let (_, mut fabric) = with_part(&Shape::default(), uneven(true), &[(Device(0), Device(1), 1)]);
    submit(&mut fabric, 0, 1, Direction::Write, private_addr(1, 0), 256);
    finish(&mut fabric);
    assert_eq!(causes(&fabric, 0), [(Cause::Serialisation, 10_880), (Cause::Interconnect, 700_000)]);
}

#[test]
fn the_slow_way_of_requests_does_not_slow_down_what_they_ask_for() {
    // Device 1 asks for a megabyte: 4,096 requests of 16 bytes at 25 GB/s, 640 ps each, for completions of 272 bytes at
    // 100 GB/s, 2,720 ps each. What it reads comes at the pace of the completions.
    let (_, mut fabric) = with_part(&Shape::default(), uneven(false), &[(Device(0), Device(1), 1)]);
    submit(&mut fabric, 1, 0, Direction::Read, private_addr(0, 0), 1 << 20);
    finish(&mut fabric);
    // The first request arrives after 640 ps and 700 ns, and has its first data after 200 ns more.
    let first = 640 + 700_000 + 200_000;
    assert_eq!(fabric.ledger.flows[0].last, first + 4096 * 2_720 + 700_000);
}

#[test]
fn a_write_into_memory_of_a_cpu_pays_the_link_and_the_cpus_network() {
    // 272 bytes at 100 GB/s; 700 ns of link and 50 ns of the CPU's network; 256 bytes in memory of 400 GB/s.
    let (_, mut fabric) = with_part(&Shape::default(), uneven(false), &[(Device(0), Cpu(0), 1)]);
    submit_to_host(&mut fabric, 0, 0, Direction::Write, 256);
    finish(&mut fabric);
    let expected = [(Cause::Serialisation, 2_720), (Cause::Interconnect, 750_000), (Cause::Memory, 640)];
    assert_eq!(causes(&fabric, 0), expected);
}

#[test]
fn a_read_of_memory_of_a_cpu_comes_back_by_the_link() {
    // Request of 16 bytes at 100 GB/s (160 ps), 750 ns; memory 90 ns and the network back 50 ns; 272 bytes at 25 GB/s, 700 ns.
    let (_, mut fabric) = with_part(&Shape::default(), uneven(false), &[(Device(0), Cpu(0), 1)]);
    submit_to_host(&mut fabric, 0, 0, Direction::Read, 256);
    finish(&mut fabric);
    let expected = [
        (Cause::Serialisation, 160 + 10_880),
        (Cause::Interconnect, 750_000 + 700_000),
        (Cause::Memory, 140_000),
    ];
    assert_eq!(causes(&fabric, 0), expected);
}

#[test]
fn a_switch_leads_to_memory_of_a_cpu() {
    let edges = [(Device(0), Device(1), 1), (Device(0), Cpu(0), 1), (Device(1), Cpu(0), 1)];
    let (_, mut fabric) = with_part(&Shape::default(), part(true), &edges);
    submit_to_host(&mut fabric, 1, 0, Direction::Write, 256);
    finish(&mut fabric);
    let expected = [(Cause::Serialisation, 10_880), (Cause::Interconnect, 750_000), (Cause::Memory, 640)];
    assert_eq!(causes(&fabric, 0), expected);
}

#[test]
fn memory_of_another_cpu_is_behind_the_link_between_the_two() {
    // 272 bytes at 100 GB/s, 750 ns into the CPU; then 256 bytes without a header at 50 GB/s take 5,120 ps, and 100 ns. The
    // slower link's time counts alone, since the CPU cuts through.
    let shape = Shape { cpus: 2, ..Shape::default() };
    let (_, mut fabric) = with_part(&shape, uneven(false), &[(Device(0), Cpu(0), 1)]);
    submit_to_host(&mut fabric, 0, 1, Direction::Write, 256);
    finish(&mut fabric);
    let expected = [
        (Cause::Serialisation, 5_120),
        (Cause::Interconnect, 750_000),
        (Cause::SocketLink, 100_000),
        (Cause::Memory, 640),
    ];
    let mut found = causes(&fabric, 0);
    found.sort_unstable_by_key(|(cause, _)| *cause as usize);
    let mut expected = expected;
    expected.sort_unstable_by_key(|(cause, _)| *cause as usize);
    assert_eq!(found, expected);
}

#[test]
fn a_core_reaches_memory_of_a_device_by_the_link() {
    // A load of a line: 16 bytes from the CPU at 25 GB/s (640 ps) and 700 ns; 200 ns in the device; 80 bytes at 100 GB/s
    // (800 ps), 700 ns and the CPU's network of 50 ns.
    let (_, mut fabric) = with_part(&Shape::default(), uneven(false), &[(Device(0), Cpu(0), 1)]);
    let link = fabric.spec.private_link_from_cpu(0, 0, Direction::Read).unwrap();
    let own = fabric.spec.engines[0].clone();
    let core = fabric.add_engine(EngineSpec {
        name: "core".into(),
        direction: Direction::Read,
        node: fabric.spec.cpu(0),
        requester: None,
        link: Some(link),
        tags: 1,
        max_read_request: 64,
        boundary: 64,
        request_latency: Picos::ZERO,
        ..own
    });
    let flow = fabric.add_flow(LatencyOf::Request);
    fabric.submit(Descriptor::new(core, private_addr(0, 4096), Bytes(64), flow, 0));
    finish(&mut fabric);
    let expected = [
        (Cause::Serialisation, 640 + 800),
        (Cause::Interconnect, 700_000 + 750_000),
        (Cause::Memory, 200_000),
    ];
    assert_eq!(causes(&fabric, 0), expected);
}

#[test]
fn cpus_pass_nothing_on_to_devices_and_others_keep_to_pcie() {
    // Devices 0 and 1 are each linked to the CPU, device 2 is not: 0 reaches neither 1 nor a hole, and DMA of device 2 and of
    // device 0's own PCIe engine never shows on the private links.
    let shape = Shape { devices: 3, ..Shape::default() };
    let edges = [(Device(0), Cpu(0), 1), (Device(1), Cpu(0), 1)];
    let (_, mut fabric) = with_part(&shape, uneven(false), &edges);
    assert_eq!(fabric.spec.private_link(0, 1, Direction::Write), None);
    assert_eq!(fabric.spec.private_link_to_host(2, 0, Direction::Write), None);
    let link = fabric.spec.private_link_to_host(0, 0, Direction::Write).unwrap();
    let private = fabric.spec.private_engine(link, Direction::Write).unwrap();
    for addr in [private_addr(1, 0), private_addr(9, 0), DmaAddr(1 << 45)] {
        let flow = fabric.add_flow(LatencyOf::Request);
        fabric.submit(Descriptor::new(private, addr, Bytes(128), flow, 0));
    }
    for device in [0, 2] {
        let flow = fabric.add_flow(LatencyOf::Request);
        let writer = fabric.spec.writer(device);
        fabric.submit(Descriptor::new(writer, DmaAddr(host_memory(0)), Bytes(256), flow, 0));
    }
    finish(&mut fabric);
    let refused: Vec<u64> = fabric.ledger.flows.iter().map(|flow| flow.refused).collect();
    assert_eq!(refused, [128, 128, 128, 0, 0]);
    let sent = fabric.spec.links.iter().zip(&fabric.ledger.links).filter(|(spec, _)| spec.private);
    assert_eq!(sent.map(|(_, ledger)| ledger.tlps).sum::<u64>(), 3, "the refused ones alone");
}

#[test]
fn what_limits_a_flow_to_a_cpu_is_its_link_or_the_cpus_memory() {
    // 400 GB/s of memory: one link of 100 GB/s limits, eight of them do not.
    for (links, by_memory) in [(1, false), (8, true)] {
        let (_, mut fabric) = with_part(&Shape::default(), uneven(false), &[(Device(0), Cpu(0), links)]);
        fabric.watch();
        submit_to_host(&mut fabric, 0, 0, Direction::Write, 4 << 20);
        finish(&mut fabric);
        let limits = fabric.ledger.flows[0].limits();
        let memory = limits.contains(&Resource::Memory(fabric.spec.cpu(0)));
        let link = fabric.spec.private_link_to_host(0, 0, Direction::Write).unwrap();
        assert_eq!((memory, limits.contains(&Resource::Link(link))), (by_memory, !by_memory), "{limits:?}");
    }
}
