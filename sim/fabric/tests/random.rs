//! Random traffic over random machines: no standstill, no lost byte, no order violated.
//!
//! [`Fabric::end`] asserts that bytes, credits, tags and time are conserved, and debug builds that writes of a flow and
//! completions of a read arrive in the order in which they were sent.
//!
//! Reads the number of cases from the environment, which is an input of the test, not of the simulation.
#![allow(clippy::disallowed_methods)]

use peerbus_engine::Stream;
use peerbus_fabric::{Attributes, Descriptor, Fabric, LatencyOf, LinkLayer, Options, Upcall};
use peerbus_machine::model::{OrderingEnables, VirtualChannel};
use peerbus_units::{Bytes, DmaAddr, Picos};

use crate::machines::{BAR, Shape, bar, host_memory, machine};
use crate::traffic::in_class;

fn pick<T: Copy>(stream: &mut Stream, choices: &[T]) -> T {
    choices[usize::try_from(stream.below(choices.len() as u64)).unwrap()]
}

fn below(stream: &mut Stream, bound: usize) -> usize {
    usize::try_from(stream.below(bound as u64)).unwrap()
}

fn shape(stream: &mut Stream) -> Shape {
    let cpus = pick(stream, &[1, 1, 2, 3]);
    Shape {
        cpus,
        roots: cpus * pick(stream, &[1, 1, 2]).min(4 / cpus).max(1),
        switches: pick(stream, &[0, 1, 2]),
        devices: pick(stream, &[1, 2, 3, 4]),
        generation: pick(stream, &[1, 2, 3, 4, 5, 6, 7]),
        lanes: pick(stream, &[1, 2, 4, 8, 16]),
        credits: pick(stream, &[1, 2, 4, 16, 64]),
        tags: pick(stream, &[1, 2, 8, 64, 256]),
        engine_rate: pick(stream, &["1GB/s", "10GB/s", "100GB/s"]),
        memory_rate: pick(stream, &["2GB/s", "20GB/s", "500GB/s"]),
        acs_control: pick(stream, &[0, 0, 0x1d]),
        bus_offset: pick(stream, &[0, 0, 0x80_0000_0000]),
        virtual_channel: pick(stream, &[false, true]).then(|| VirtualChannel {
            traffic_classes: vec![5, 7],
            buffers: pick(stream, &[10, 50, 90]),
            strict: pick(stream, &[false, true]),
        }),
        ordering: OrderingEnables { relaxed: true, id_based: pick(stream, &[false, true]) },
    }
}

/// Where a transfer goes: memory of a device or of a CPU, or nowhere.
fn target(stream: &mut Stream, shape: &Shape, from: usize, devices: usize) -> u64 {
    let per_root = devices / shape.roots;
    let to = below(stream, devices);
    match stream.below(8) {
        // Into a hole above all windows.
        0 => (1 << 45) + stream.below(1 << 30),
        1 | 2 => host_memory(below(stream, shape.cpus)) + stream.below(1 << 20),
        // Across the end of a BAR.
        3 if to != from => bar(shape, to) + BAR - 1 - stream.below(8192),
        // Below one host bridge by bus address, across by CPU address.
        _ if to != from => {
            let across = to / per_root != from / per_root;
            bar(shape, to) + if across { shape.bus_offset } else { 0 } + stream.below(1 << 20)
        }
        _ => host_memory(0),
    }
}

/// Descriptors of one flow: given one after the other or all at once.
struct Flow {
    descriptors: Vec<Descriptor>,
    given: usize,
}

fn flows(stream: &mut Stream, fabric: &mut Fabric, shape: &Shape) -> Vec<Flow> {
    let devices = shape.roots * shape.switches.max(1) * shape.devices;
    let count = 1 + stream.below(6);
    let flow = |number: u64| {
        let from = below(stream, devices);
        let writes = stream.below(2) == 0;
        let engine = if writes { fabric.spec.writer(from) } else { fabric.spec.reader(from) };
        let engine = match pick(stream, &[0, 1, 7]) {
            0 => engine,
            class => in_class(fabric, engine, class),
        };
        let id = fabric.add_flow(pick(stream, &[LatencyOf::Request, LatencyOf::Descriptor]));
        let attributes = pick(
            stream,
            &[
                Attributes::NONE,
                Attributes::NONE,
                Attributes::RELAXED,
                Attributes::ID_BASED,
                Attributes::POISONED,
            ],
        );
        let descriptors = (0..1 + stream.below(4)).map(|_| {
            let addr = DmaAddr(target(stream, shape, from, devices));
            let bytes = Bytes(1 + pick(stream, &[1, 64, 4096, 20_000]) + stream.below(300));
            let software = Picos(stream.below(2) * stream.below(2_000_000));
            Descriptor { attributes, software, ..Descriptor::new(engine, addr, bytes, id, number) }
        });
        Flow { descriptors: descriptors.collect(), given: 0 }
    };
    (0..count).map(flow).collect()
}

fn run(seed: u64, number: u64) -> Result<u64, String> {
    let mut stream = Stream::new(seed, number);
    let shape = shape(&mut stream);
    let (machine, registers) = machine(&shape);
    let mut fabric =
        Fabric::new(&machine, &registers, &Options { link_layer: LinkLayer::ByRule, scaling: vec![] });
    let mut flows = flows(&mut stream, &mut fabric, &shape);
    let at_once = stream.below(2) == 0;
    let all: usize = flows.iter().map(|flow| flow.descriptors.len()).sum();
    for flow in &mut flows {
        flow.given = if at_once { flow.descriptors.len() } else { 1 };
        flow.descriptors[..flow.given].iter().for_each(|descriptor| fabric.submit(*descriptor));
    }
    fabric.watch();
    let mut done = 0;
    while let Some(upcall) = fabric.advance() {
        let Upcall::Done { token, .. } = upcall else { return Err("no timer was set".to_owned()) };
        done += 1;
        let flow = &mut flows[usize::try_from(token).unwrap()];
        if let Some(next) = flow.descriptors.get(flow.given) {
            fabric.submit(*next);
            flow.given += 1;
        }
    }
    if let Some(standstill) = fabric.end() {
        return Err(format!("{standstill}: {shape:?}"));
    }
    let accounted = |flow: &Flow| {
        let ledger = &fabric.ledger.flows[usize::from(flow.descriptors[0].flow.0)];
        let asked: u64 = flow.descriptors.iter().map(|descriptor| descriptor.bytes.0).sum();
        asked == ledger.delivered + ledger.refused
    };
    match (done == all, flows.iter().all(accounted)) {
        (false, _) => Err(format!("{done} of {all} descriptors ended: {shape:?}")),
        (_, false) => Err(format!("bytes were lost: {shape:?}")),
        _ => Ok(fabric.ledger.tlp_hops()),
    }
}

#[test]
fn whatever_is_sent_arrives_once_in_order_or_is_refused() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let seed = 1;
    println!("{cases} cases, seed {seed}");
    let mut hops = 0;
    let mut failures = Vec::new();
    for number in 0..cases {
        match run(seed, number) {
            Ok(more) => hops += more,
            Err(problem) => failures.push(format!("case {number}: {problem}")),
        }
    }
    println!("{hops} TLP-hops");
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
}
