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
    let mut shape = Shape {
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
        ..Shape::default()
    };
    let devices = shape.roots * shape.switches.max(1) * shape.devices;
    let flows = pick(stream, &[1, 1, 2, 3]);
    if flows > 1 {
        // With a handful of tags or credits, flows that share a queue fall into step with each other, and which
        // step they fall into can change with any capacity: throughput is then no monotone function of anything.
        shape.tags = shape.tags.max(64);
        shape.credits = shape.credits.max(64);
    }
    // Writes and reads together meet the ordering rules: a faster link can let writes pile up in front of the
    // completions of others, and then slower is faster. One kind at a time here.
    let direction = pick(stream, &[Direction::Write, Direction::Read]);
    let mut transfers: Vec<Transfer> = Vec::new();
    while transfers.len() < flows {
        let from = usize::try_from(stream.below(devices as u64)).unwrap();
        let to = (from + 1 + usize::try_from(stream.below(devices as u64 - 1)).unwrap()) % devices;
        // Two readers of one memory share it by who asked first, which any change of timing reshuffles: flows
        // meet on links here, not in one engine or one memory.
        let apart = |other: &Transfer| other.0 != from && other.2 != bar(&shape, to);
        if transfers.iter().all(apart) || devices < 4 {
            transfers.push((from, direction, bar(&shape, to), 4 << 20));
        }
        if devices < 4 {
            break;
        }
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
        let limits = fabric.ledger.flows[0].limits();
        let others: Vec<Resource> = resources(&fabric).into_iter().filter(|r| !limits.contains(r)).collect();
        let (named, _) = rates(&case, &limits);
        let (rest, _) = rates(&case, &others);
        let gain = |rates: &[u64]| (rates[0] as f64 / base[0] as f64 - 1.0) * 100.0;
        if gain(&named) <= 0.0 || gain(&rest) >= 1.0 {
            failures.push(format!(
                "case {number}: {limits:?}, larger {:+.2} %, all others larger {:+.2} %: {:?} {:?}",
                gain(&named),
                gain(&rest),
                case.shape,
                case.transfers
            ));
        }
    }
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
}
