//! `limits` is causal: with the named resources 10 % larger a flow is faster, with all others larger it is not.
//!
//! Reads the number of cases from the environment, which is an input of the test, not of the simulation.
#![allow(clippy::disallowed_methods)]

use peerbus_engine::Stream;
use peerbus_fabric::{Direction, EngineId, Fabric, LinkId, LinkLayer, NodeId, Options, Resource, Scaling};
use peerbus_machine::Machine;
use peerbus_machine::part::PeerLimits;
use peerbus_units::Bytes;

use crate::machines::{Shape, bar, machine};
use crate::traffic::{Transfer, rate, run};

struct Case {
    shape: Shape,
    mechanisms: Mechanisms,
    transfers: Vec<Transfer>,
}

/// What parts may have beside rates and buffers.
#[derive(Clone, Copy, Debug, Default)]
struct Mechanisms {
    root_port_rate: Option<&'static str>,
    peer_writes: Option<&'static str>,
    peer_reads: Option<&'static str>,
    peer_payload: Option<u64>,
    in_order: bool,
    store_and_forward: bool,
}

impl Mechanisms {
    fn draw(stream: &mut Stream) -> Mechanisms {
        Mechanisms {
            root_port_rate: pick(stream, &[None, Some("5GB/s"), Some("40GB/s")]),
            peer_writes: pick(stream, &[None, Some("3GB/s"), Some("20GB/s")]),
            peer_reads: pick(stream, &[None, Some("2GB/s"), Some("15GB/s")]),
            peer_payload: pick(stream, &[None, Some(64), Some(256)]),
            in_order: pick(stream, &[false, true]),
            store_and_forward: pick(stream, &[false, true]),
        }
    }

    fn fit(self, machine: &mut Machine) {
        let rate = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        for cpu in &mut machine.cpus {
            cpu.part.root_port_rate = rate(self.root_port_rate);
            cpu.part.peer_limits = Some(PeerLimits {
                write_rate: rate(self.peer_writes),
                read_rate: rate(self.peer_reads),
                max_payload: self.peer_payload.map(Bytes),
            });
        }
        for switch in &mut machine.switches {
            switch.part.in_order = self.in_order;
            switch.part.store_and_forward = self.store_and_forward;
        }
    }
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
    // Every other case has more than links, buffers and engines.
    let mut mechanisms = if stream.below(2) == 1 { Mechanisms::draw(stream) } else { Mechanisms::default() };
    // With one queue per input a flow waits for what others wait for, one after the other, and falls into step with them.
    mechanisms.in_order &= transfers.len() == 1;
    if stream.below(4) == 0 {
        shape.generation = pick(stream, &[6, 7]);
    }
    Case { shape, mechanisms, transfers }
}

fn resources(fabric: &Fabric) -> Vec<Resource> {
    let number = |index: usize| u32::try_from(index).unwrap();
    let links = (0..fabric.spec.links.len()).map(|link| LinkId(number(link)));
    let engines = (0..fabric.spec.engines.len()).map(|engine| EngineId(number(engine)));
    let nodes = (0..fabric.spec.nodes.len()).map(|node| NodeId(number(node)));
    links
        .flat_map(|link| [Resource::Link(link), Resource::Credits(link), Resource::Port(link)])
        .chain(engines.flat_map(|engine| [Resource::Engine(engine), Resource::Tags(engine)]))
        .chain(nodes.flat_map(|node| {
            [
                Resource::Memory(node),
                Resource::PeerWrites(node),
                Resource::PeerReads(node),
                Resource::Walkers(node),
            ]
        }))
        .collect()
}

fn rates(case: &Case, scaled: &[Resource]) -> (Vec<u64>, Fabric) {
    let scaling =
        scaled.iter().map(|resource| Scaling { resource: *resource, numerator: 11, denominator: 10 });
    let (mut machine, registers) = machine(&case.shape);
    case.mechanisms.fit(&mut machine);
    let options = Options { link_layer: LinkLayer::ByRule, scaling: scaling.collect() };
    let mut fabric = Fabric::new(&machine, &registers, &options);
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
                "case {number}: {limits:?}, larger {:+.2} %, all others larger {:+.2} %: {:?} {:?} {:?}",
                gain(&named),
                gain(&rest),
                case.shape,
                case.mechanisms,
                case.transfers
            ));
        }
    }
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
}
