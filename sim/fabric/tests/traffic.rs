//! Traffic over small machines.

use peerbus_fabric::{Descriptor, Direction, Fabric, LatencyOf, LinkLayer, Options};
use peerbus_units::{Bytes, DmaAddr};

use crate::machines::{Shape, bar, machine};

fn fabric(shape: &Shape) -> Fabric {
    let (machine, registers) = machine(shape);
    Fabric::new(&machine, &registers, &Options { link_layer: LinkLayer::ByRule, scaling: vec![] })
}

/// Runs copies (mover, direction, address, bytes) together and returns bytes per nanosecond of each.
fn run(fabric: &mut Fabric, copies: &[(usize, Direction, u64, u64)]) -> Vec<f64> {
    let flows: Vec<_> = copies.iter().map(|_| fabric.add_flow(LatencyOf::Request)).collect();
    for (flow, (device, direction, addr, bytes)) in flows.iter().zip(copies) {
        let engine = match direction {
            Direction::Write => fabric.spec.writer(*device),
            Direction::Read => fabric.spec.reader(*device),
        };
        let (addr, bytes) = (DmaAddr(*addr), Bytes(*bytes));
        fabric.submit(Descriptor { engine, direction: *direction, addr, bytes, flow: *flow, token: 0 });
    }
    fabric.watch();
    while fabric.advance().is_some() {}
    fabric.finish();
    let rate = |flow: &peerbus_fabric::FlowId| {
        let ledger = &fabric.ledger.flows[usize::from(flow.0)];
        ledger.delivered as f64 * 1000.0 / (ledger.last - ledger.first.unwrap_or(0)) as f64
    };
    flows.iter().map(rate).collect()
}

#[test]
fn quick() {
    let shape = Shape { roots: 2, switches: 2, devices: 4, ..Shape::default() };
    let mut fabric = fabric(&shape);
    let rates = run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 64 << 20), (4, Direction::Read, bar(&shape, 9), 64 << 20)]);
    println!("{rates:?}");
    for flow in &fabric.ledger.flows {
        println!("{:?} {} {} {:?}", flow.limits(), flow.latency_percentile(50.0), flow.latency_percentile(99.0), fabric.route_links(flow.route.unwrap()).iter().map(|l| &fabric.spec.links[l.0 as usize].name).collect::<Vec<_>>());
    }
    println!("{} hops {} events {:x}", fabric.ledger.tlp_hops(), fabric.ledger.events, fabric.ledger.digest());
}

#[test]
fn speed() {
    for (name, shape, all) in [
        ("chain", Shape { roots: 1, switches: 1, devices: 2, generation: 5, ..Shape::default() }, false),
        ("chain16", Shape { roots: 1, switches: 1, devices: 2, credits: 16, generation: 5, ..Shape::default() }, false),
        ("a2a8", Shape { devices: 8, generation: 5, ..Shape::default() }, true),
        ("a2a16", Shape { switches: 4, devices: 4, generation: 5, ..Shape::default() }, true),
    ] {
        let mut fabric = fabric(&shape);
        let n = shape.roots * shape.switches.max(1) * shape.devices;
        let mut copies = vec![];
        if all { for a in 0..n { for b in 0..n { if a != b { copies.push((a, if (a + b) % 3 == 0 { Direction::Read } else { Direction::Write }, bar(&shape, b), 4 << 20)); } } } }
        else { copies.push((0, Direction::Write, bar(&shape, 1), 256 << 20)); }
        let t = std::time::Instant::now();
        run(&mut fabric, &copies);
        let e = t.elapsed().as_secs_f64();
        println!("{name} {} hops {:.2} M/s {:.2} ev/hop", fabric.ledger.tlp_hops(), fabric.ledger.tlp_hops() as f64 / e / 1e6, fabric.ledger.events as f64 / fabric.ledger.tlp_hops() as f64);
    }
}
