//! `limits` is causal: with the named resources 10 % larger a flow is faster, with all others larger it is not.
//!
//! Reads the number of cases from the environment, which is an input of the test, not of the simulation.
#![allow(clippy::disallowed_methods)]

use peerbus_engine::Stream;
use peerbus_fabric::{Direction, EngineId, Fabric, LinkId, NodeId, Resource, Scaling};

use crate::machines::{Shape, bar};
use crate::traffic::{Transfer, fabric, rate, run};

struct Case {
    shape: Shape,
    transfers: Vec<Transfer>,
}

fn pick<T: Copy>(stream: &mut Stream, choices: &[T]) -> T {
    choices[usize::try_from(stream.below(choices.len() as u64)).unwrap()]
}

fn case(stream: &mut Stream) -> Case {
    let shape = Shape {
        roots: pick(stream, &[1, 2]),
        switches: pick(stream, &[0, 1, 2]),
        devices: pick(stream, &[2, 3, 4]),
        generation: pick(stream, &[1, 2, 3, 4, 5]),
        lanes: pick(stream, &[1, 2, 4, 8, 16]),
        credits: pick(stream, &[4, 8, 16, 64, 256]),
        tags: pick(stream, &[1, 4, 16, 64, 256]),
        engine_rate: pick(stream, &["1GB/s", "3GB/s", "10GB/s", "100GB/s"]),
        memory_rate: pick(stream, &["2GB/s", "20GB/s", "500GB/s"]),
        acs_control: pick(stream, &[0, 0, 0x1d]),
        bus_offset: 0,
    };
    let devices = shape.roots * shape.switches.max(1) * shape.devices;
    let flows = pick(stream, &[1, 1, 2, 3]);
    let mut transfers = Vec::new();
    for _ in 0..flows {
        let from = usize::try_from(stream.below(devices as u64)).unwrap();
        let to = (from + 1 + usize::try_from(stream.below(devices as u64 - 1)).unwrap()) % devices;
        let direction = pick(stream, &[Direction::Write, Direction::Read]);
        transfers.push((from, direction, bar(&shape, to), 4 << 20));
    }
    Case { shape, transfers }
}

fn resources(fabric: &Fabric) -> Vec<Resource> {
    let number = |index: usize| u32::try_from(index).unwrap();
    let links = (0..fabric.spec.links.len()).map(|link| LinkId(number(link)));
    let engines = (0..fabric.spec.engines.len()).map(|engine| EngineId(number(engine)));
    let nodes = (0..fabric.spec.nodes.len()).map(|node| NodeId(number(node)));
    links
        .flat_map(|link| [Resource::Link(link), Resource::Credits(link), Resource::Port(link)])
        .chain(engines.flat_map(|engine| [Resource::Engine(engine), Resource::Tags(engine)]))
        .chain(nodes.map(Resource::Memory))
        .collect()
}

fn rates(case: &Case, scaled: &[Resource]) -> (Vec<u64>, Fabric) {
    let scaling =
        scaled.iter().map(|resource| Scaling { resource: *resource, numerator: 11, denominator: 10 });
    let mut fabric = fabric(&case.shape, scaling.collect());
    run(&mut fabric, &case.transfers);
    ((0..case.transfers.len()).map(|flow| rate(&fabric, flow)).collect(), fabric)
}

#[test]
fn limits_are_causal() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let seed = 1;
    println!("{cases} cases, seed {seed}");
    let mut failures = Vec::new();
    for number in 0..cases {
        let case = case(&mut Stream::new(seed, number));
        let (base, fabric) = rates(&case, &[]);
        let flow = 0;
        let limits = fabric.ledger.flows[flow].limits();
        let others: Vec<Resource> = resources(&fabric).into_iter().filter(|r| !limits.contains(r)).collect();
        let (named, _) = rates(&case, &limits);
        let (rest, _) = rates(&case, &others);
        let gain = |rates: &[u64]| (rates[flow] as f64 / base[flow] as f64 - 1.0) * 100.0;
        if gain(&named) <= 0.0 || gain(&rest) >= 1.0 {
            failures.push(format!(
                "{number}: {limits:?} base {base:?} named {named:?} rest {rest:?} named {:+.2} % others {:+.2} % {:?} {:?} {:?}",
                gain(&named),
                gain(&rest),
                case.shape,
                case.transfers,
                fabric.ledger.flows[0].limited
            ));
        }
    }
    for f in &failures {
        println!("{f}");
    }
    assert!(failures.is_empty(), "{} of {cases}", failures.len());
}
