//! Private interconnects: what packets cost there, who gets there, and who does not.

use peerbus_fabric::{Cause, Descriptor, Direction, Fabric, LatencyOf, private_addr};
use peerbus_machine::Machine;
use peerbus_machine::model::Interconnect;
use peerbus_machine::part::{InterconnectPart, Sources};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::{causes, fabric};
use crate::machines::{Shape, bar, machine};

/// 25 GB/s a link, 16 bytes of header per 256 of data, 700 ns from device to device.
fn with_interconnect(shape: &Shape, switched: bool, edges: &[(usize, usize, u32)]) -> (Machine, Fabric) {
    let (mut machine, registers) = machine(shape);
    let part = InterconnectPart {
        id: "private".into(),
        description: String::new(),
        rate: "25GB/s".parse().unwrap(),
        packet_payload: Bytes(256),
        packet_header: Bytes(16),
        packet_unit: Bytes(16),
        latency: Picos::nanos(700),
        switched,
        sources: Sources::new(),
    };
    machine.interconnects.push(Interconnect { name: "private".into(), part, edges: edges.to_vec() });
    let fabric = fabric(&machine, &registers);
    (machine, fabric)
}

/// A transfer over the private link between two devices.
fn submit(fabric: &mut Fabric, from: usize, to: usize, direction: Direction, addr: DmaAddr, bytes: u64) {
    let flow = fabric.add_flow(LatencyOf::Request);
    let link = fabric.spec.private_link(from, to).unwrap();
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
    assert_eq!(fabric.spec.private_link(0, 2), None);
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
