//! Payload limits: who drops what, and that nothing is lost whatever sizes are programmed.
//!
//! Reads the number of cases from the environment, which is an input of the test, not of the simulation.
#![allow(clippy::disallowed_methods, reason = "the number of cases comes from outside")]

use peerbus_engine::Stream;
use peerbus_fabric::{Direction, Fabric, LinkLayer, NodeKind, Options};
use peerbus_machine::Registers;
use peerbus_machine::model::{FunctionIndex, Machine};

use crate::machines::{Shape, bar, machine};
use crate::traffic::run;

/// Device control of the PCI Express capability.
const DEVICE_CONTROL: u16 = 0x48;
const KIB_64: u64 = 64 << 10;

/// Programs payload and read request size, in bytes.
fn program(registers: &mut Registers, function: FunctionIndex, payload: u64, read_request: u64) {
    let code = |size: u64| (size / 128).ilog2();
    let id = registers.id(function).unwrap();
    registers.write(id, DEVICE_CONTROL, 2, code(payload) << 5 | code(read_request) << 12);
}

fn fabric(machine: &Machine, registers: &Registers) -> Fabric {
    Fabric::new(machine, registers, &Options { link_layer: LinkLayer::ByRule, scaling: vec![] })
}

/// Bytes that arrived, bytes refused, and per receiver that dropped something its name and how many packets.
fn outcome(machine: &Machine, fabric: &Fabric) -> (u64, u64, Vec<(String, u64)>) {
    let links = fabric.spec.links.iter().zip(&fabric.ledger.malformed);
    let dropped = links
        .filter(|(_, malformed)| malformed.packets > 0)
        .map(|(link, malformed)| (machine.functions[link.receiver.unwrap()].name.clone(), malformed.packets));
    let flow = &fabric.ledger.flows[0];
    (flow.delivered, flow.refused, dropped.collect())
}

/// One transfer between devices 0 and 1 with these sizes everywhere but at device 0 and device 1.
fn transfer(
    shape: &Shape,
    ports: u64,
    ends: [u64; 2],
    direction: Direction,
) -> (u64, u64, Vec<(String, u64)>) {
    let (machine, mut registers) = machine(shape);
    for function in machine.functions.node_indices() {
        program(&mut registers, function, ports, 512);
    }
    for (device, size) in ends.into_iter().enumerate() {
        program(&mut registers, machine.devices[device].functions[0], size, size);
    }
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, &[(0, direction, bar(shape, 1), KIB_64)]);
    outcome(&machine, &fabric)
}

#[test]
fn larger_writes_are_malformed_and_reads_are_not() {
    let shape = Shape::default();
    let small = |packets| vec![("host0/rp0/sw0/p1/gpu1".to_owned(), packets)];
    assert_eq!(transfer(&shape, 512, [512, 256], Direction::Write), (0, KIB_64, small(128)));
    // What the reader asks for at a time bounds what comes back.
    for (ends, direction) in
        [([256, 512], Direction::Write), ([256, 512], Direction::Read), ([512, 256], Direction::Read)]
    {
        assert_eq!(transfer(&shape, 512, ends, direction), (KIB_64, 0, vec![]), "{ends:?} {direction:?}");
    }
}

#[test]
fn a_port_on_the_way_drops_as_an_end_does() {
    let port = |packets| vec![("host0/rp0/sw0/p0".to_owned(), packets)];
    assert_eq!(transfer(&Shape::default(), 128, [256, 256], Direction::Write), (0, KIB_64, port(256)));
}

/// A reader whose completions are dropped gets an error for every request, and its tags back.
#[test]
fn dropped_completions_end_their_requests() {
    let shape = Shape::default();
    let (machine, mut registers) = machine(&shape);
    for function in machine.functions.node_indices() {
        program(&mut registers, function, 512, 512);
    }
    program(&mut registers, machine.devices[0].functions[0], 128, 512);
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, &[(0, Direction::Read, bar(&shape, 1), KIB_64)]);
    let dropped = vec![("host0/rp0/sw0/p0/gpu0".to_owned(), 128)];
    assert_eq!(outcome(&machine, &fabric), (0, KIB_64, dropped));
    let first = fabric.ledger.malformed.iter().find_map(|malformed| malformed.first).unwrap();
    assert_eq!((first.2, first.3), (512, true));
}

/// Between its root ports a root complex cuts packets to the size of the port they leave by.
#[test]
fn a_root_complex_cuts() {
    for roots in [1, 2] {
        let shape = Shape { switches: 0, devices: 2 / roots, roots, ..Shape::default() };
        for direction in [Direction::Write, Direction::Read] {
            let (machine, mut registers) = machine(&shape);
            for (device, sizes) in [(512, 512), (128, 512)].into_iter().enumerate() {
                let function = machine.devices[device].functions[0];
                program(&mut registers, function, sizes.0, sizes.1);
                program(&mut registers, machine.parent(function).unwrap(), sizes.0, sizes.1);
            }
            // The one with small packets reads from the other; the other writes to it.
            let (engine, target) = if direction == Direction::Write { (0, 1) } else { (1, 0) };
            let mut fabric = fabric(&machine, &registers);
            run(&mut fabric, &[(engine, direction, bar(&shape, target), KIB_64)]);
            assert_eq!(outcome(&machine, &fabric), (KIB_64, 0, vec![]), "{roots} {direction:?}");
            let last = fabric.spec.links.iter().position(|link| link.name.ends_with("gpu1:down")).unwrap();
            assert_eq!(fabric.ledger.links[last].tlps, KIB_64 / 128, "{roots} {direction:?}");
        }
    }
}

/// Largest payload that leaves `from` on a way, and whether a receiver on it drops that.
fn dropped(fabric: &Fabric, machine: &Machine, registers: &Registers, route: u32, mut payload: u64) -> bool {
    fabric.route_links(route).into_iter().any(|link| {
        let link = &fabric.spec.links[link.0 as usize];
        let size = |function: Option<FunctionIndex>| {
            function.map_or(u64::MAX, |function| registers.max_payload(function).0)
        };
        let lower = link.receiver.filter(|_| link.pcie.is_some());
        if let (NodeKind::Root(_), Some(lower)) = (fabric.spec.nodes[link.from.0 as usize].kind, lower) {
            payload = payload.min(size(machine.parent(lower)));
        }
        payload > size(link.receiver)
    })
}

/// Whatever sizes are programmed, every byte is delivered or refused, and refused exactly when some receiver takes
/// less than what reaches it.
#[test]
fn any_sizes_end_defined() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let seed = 7;
    println!("seed {seed}, {cases} cases");
    let mut refused = 0;
    for case in 0..cases {
        let mut stream = Stream::new(seed, case);
        let mut pick =
            |choices: &[u64]| choices[usize::try_from(stream.below(choices.len() as u64)).unwrap()];
        let shape = Shape {
            roots: usize::try_from(pick(&[1, 2])).unwrap(),
            switches: usize::try_from(pick(&[0, 1, 2])).unwrap(),
            devices: 2,
            credits: u16::try_from(pick(&[1, 16, 64])).unwrap(),
            acs_control: u16::try_from(pick(&[0, 0x1d])).unwrap(),
            ..Shape::default()
        };
        let (machine, mut registers) = machine(&shape);
        for function in machine.functions.node_indices() {
            program(
                &mut registers,
                function,
                pick(&[128, 256, 256, 512, 512, 1024, 4096]),
                pick(&[128, 256, 512, 4096]),
            );
        }
        let devices = machine.devices.len() as u64;
        let from = usize::try_from(pick(&[0, 1])).unwrap();
        let to =
            (from + 1 + usize::try_from(pick(&[0, 1, 2]) % (devices - 1)).unwrap()) % machine.devices.len();
        let size = |device: usize| registers.max_payload(machine.devices[device].functions[0]).0;
        let mut fabric = fabric(&machine, &registers);
        run(&mut fabric, &[(from, Direction::Write, bar(&shape, to), KIB_64)]);
        let (delivered, lost, _) = outcome(&machine, &fabric);
        let route = fabric.ledger.flows[0].route.unwrap();
        let expect = dropped(&fabric, &machine, &registers, route, size(from));
        assert_eq!(
            (delivered, lost),
            if expect { (0, KIB_64) } else { (KIB_64, 0) },
            "case {case}: {shape:?}"
        );
        refused += u64::from(expect);
        let mut fabric = self::fabric(&machine, &registers);
        run(&mut fabric, &[(from, Direction::Read, bar(&shape, to), KIB_64 + 100)]);
        let (delivered, lost, _) = outcome(&machine, &fabric);
        assert_eq!(delivered + lost, KIB_64 + 100);
    }
    assert!(refused * 10 > cases && refused * 10 < 9 * cases, "{refused} of {cases} were refused");
}
