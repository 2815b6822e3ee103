//! Runs that cannot go on say which waits hold them.

use peerbus_fabric::{
    Descriptor, Direction, Fabric, LatencyOf, LinkLayer, Options, Resource, Scaling, Standstill,
};
use peerbus_machine::part::Credits;
use peerbus_machine::{Machine, Registers};
use peerbus_units::{Bytes, DmaAddr};

use crate::machines::{Shape, bar, host_memory, machine};
use crate::traffic::Transfer;

/// Starts `transfers`, lets time pass until nothing is due, and says why it is not the end.
fn end_of(
    machine: &Machine,
    registers: &Registers,
    scaled: &dyn Fn(&Fabric) -> Vec<Scaling>,
    transfers: &[Transfer],
) -> Option<Standstill> {
    let options = Options { link_layer: LinkLayer::ByRule, scaling: vec![] };
    let scaling = scaled(&Fabric::new(machine, registers, &options));
    let mut fabric = Fabric::new(machine, registers, &Options { scaling, ..options });
    for (device, direction, addr, bytes) in transfers {
        let flow = fabric.add_flow(LatencyOf::Request);
        let engine = match direction {
            Direction::Write => fabric.spec.writer(*device),
            Direction::Read => fabric.spec.reader(*device),
        };
        fabric.submit(Descriptor::new(engine, DmaAddr(*addr), Bytes(*bytes), flow, 0));
    }
    fabric.watch();
    while fabric.advance().is_some() {}
    fabric.end()
}

/// Buffers behind the links whose names begin so, divided.
fn divided<'a>(prefix: &'a str, by: u64) -> impl Fn(&Fabric) -> Vec<Scaling> + 'a {
    move |fabric| {
        let links = (0u32..).zip(&fabric.spec.links).filter(|(_, link)| link.name.starts_with(prefix));
        let scaling = links.map(|(link, _)| Scaling {
            resource: Resource::Credits(peerbus_fabric::LinkId(link)),
            numerator: 1,
            denominator: by,
        });
        scaling.collect()
    }
}

/// Five CPUs in a ring, each with a device that writes to the memory of the next but one: the shortest way there leads
/// through the next.
fn ring() -> (Shape, Vec<Transfer>) {
    let shape = Shape { cpus: 5, roots: 5, devices: 1, ..Shape::default() };
    let next_but_one = |device: usize| host_memory((device + 2) % 5);
    (shape, (0..5).map(|device| (device, Direction::Write, next_but_one(device), 64 << 10)).collect())
}

#[test]
fn a_ring_of_full_buffers_is_a_cycle() {
    // Every link of the ring has a buffer for one packet behind it. It holds one that wants the next link.
    let (shape, transfers) = ring();
    let (machine, registers) = machine(&shape);
    let standstill = end_of(&machine, &registers, &divided("cpu", 512), &transfers).expect("it stands still");
    assert_eq!(standstill.flows.len(), 5);
    assert_eq!(standstill.bytes, 5 * (64 << 10));
    let cycle = standstill.cycle.expect("the chain bites its tail");
    // Per link of the ring: it has no credits, and the buffer behind it is full.
    assert_eq!(standstill.waits.len() - cycle, 10, "{standstill}");
    let text = standstill.to_string();
    for link in ["cpu0-cpu1", "cpu1-cpu2", "cpu2-cpu3", "cpu3-cpu4", "cpu4-cpu0"] {
        assert!(text.contains(&format!("link {link} has none of 1 posted header credits")), "{text}");
    }
    assert!(text.contains("in a circle"), "{text}");
}

#[test]
fn the_same_ring_with_buffers_to_spare_comes_to_its_end() {
    let (shape, transfers) = ring();
    let (machine, registers) = machine(&shape);
    assert_eq!(end_of(&machine, &registers, &|_| vec![], &transfers), None);
}

#[test]
fn a_packet_that_no_buffer_can_hold_waits_for_ever() {
    // 32 data credits for 32 headers; divided by 16, two data credits are left: 32 bytes, and a write has 256.
    let shape = Shape::default();
    let (mut machine, registers) = machine(&shape);
    machine.devices[1].part.buffers.posted = Credits { header: 32, data: 32 };
    let transfers = [(0, Direction::Write, bar(&shape, 1), 4096)];
    let to_device = divided("host0/rp0/sw0/p1/gpu1:down", 16);
    let standstill = end_of(&machine, &registers, &to_device, &transfers).expect("it stands still");
    assert_eq!((standstill.bytes, standstill.cycle), (4096, None));
    let text = standstill.to_string();
    assert!(text.contains("has 2 of 2 posted data credits and needs 16"), "{text}");
    assert!(text.ends_with("the buffer at gpu1 can never hold it"), "{text}");
}

#[test]
fn a_read_whose_answer_cannot_leave_names_the_link() {
    // Completions to the switch need 16 data credits and have two.
    let shape = Shape::default();
    let (mut machine, registers) = machine(&shape);
    machine.switches[0].part.buffers.completion = Credits { header: 32, data: 32 };
    let transfers = [(0, Direction::Read, bar(&shape, 1), 4096), (1, Direction::Write, bar(&shape, 0), 4096)];
    let from_device = divided("host0/rp0/sw0/p1/gpu1:up", 16);
    let standstill = end_of(&machine, &registers, &from_device, &transfers).expect("it stands still");
    assert_eq!(standstill.bytes, 4096, "the write got through");
    let text = standstill.to_string();
    assert!(
        text.starts_with("nothing can move any more: gpu0/reader waits for the answer to a read"),
        "{text}"
    );
    assert!(text.contains("the answer stands in front of link host0/rp0/sw0/p1/gpu1:up"), "{text}");
    assert!(text.ends_with("the buffer at host0/rp0/sw0 can never hold it"), "{text}");
}
