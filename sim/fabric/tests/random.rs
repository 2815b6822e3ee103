//! Random traffic over random machines: no standstill, no lost byte, no order violated.
//!
//! [`Fabric::end`] asserts that bytes, credits, tags and time are conserved, and debug builds that writes of a flow and
//! completions of a read arrive in the order in which they were sent.
//!
//! Reads the number of cases from the environment, which is an input of the test, not of the simulation.
#![allow(clippy::disallowed_methods)]

use peerbus_engine::Stream;
use peerbus_fabric::{
    Attributes, Descriptor, EngineId, EngineSpec, Fabric, LatencyOf, LinkId, LinkLayer, NodeKind, Options,
    Upcall, private_addr,
};
use peerbus_machine::Machine;
use peerbus_machine::model::{Edge, Interconnect, Member, OrderingEnables, VirtualChannel};
use peerbus_machine::part::{InterconnectPart, Sources};
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

/// A private interconnect of some of the devices and some of the CPUs, the same rate both ways or not.
fn interconnect(stream: &mut Stream, machine: &Machine) -> Option<Interconnect> {
    let mut members: Vec<Member> = Vec::new();
    members.extend((0..machine.devices.len()).map(Member::Device).filter(|_| stream.below(2) == 0));
    members.extend((0..machine.cpus.len()).map(Member::Cpu).filter(|_| stream.below(2) == 0));
    let rates = ["1GB/s", "30GB/s", "300GB/s"];
    let part = InterconnectPart {
        id: "private".into(),
        description: String::new(),
        rate: pick(stream, &rates).parse().unwrap(),
        rate_back: (stream.below(2) == 0).then(|| pick(stream, &rates).parse().unwrap()),
        packet_payload: Bytes(pick(stream, &[64, 128, 256])),
        packet_header: Bytes(pick(stream, &[0, 16])),
        packet_unit: Bytes(16),
        latency: Picos::nanos(pick(stream, &[0, 200, 700])),
        switched: stream.below(2) == 0,
        sources: Sources::new(),
    };
    let pairs =
        members.iter().enumerate().flat_map(|(i, a)| members[i + 1..].iter().map(|b| (*a, *b))).filter(
            |pair| {
                !matches!(pair, (Member::Cpu(_), Member::Cpu(_))) && (part.switched || stream.below(2) == 0)
            },
        );
    let pairs: Vec<_> = pairs.collect();
    let edges = pairs.into_iter().map(|(from, to)| match !part.switched && stream.below(2) == 0 {
        true => Edge { from: to, to: from, links: 1 },
        false => Edge { from, to, links: 1 + u32::try_from(stream.below(3)).unwrap() },
    });
    let edges: Vec<Edge> = edges.collect();
    (!edges.is_empty()).then(|| Interconnect { name: "private".into(), part, edges })
}

/// Engines of private links: those of devices, and a core where a link leaves a CPU.
fn private_engines(fabric: &mut Fabric) -> Vec<EngineId> {
    let private: Vec<usize> =
        (0..fabric.spec.links.len()).filter(|link| fabric.spec.links[*link].private).collect();
    for link in &private {
        let from = fabric.spec.links[*link].from;
        if matches!(fabric.spec.nodes[usize::try_from(from.0).unwrap()].kind, NodeKind::Cpu(_)) {
            let own = fabric.spec.engines[1].clone();
            fabric.add_engine(EngineSpec {
                name: "core".into(),
                node: from,
                requester: None,
                link: Some(LinkId(u32::try_from(*link).unwrap())),
                max_read_request: 64,
                boundary: 64,
                ..own
            });
        }
    }
    private.iter().flat_map(|link| fabric.spec.links[*link].sources.clone()).collect()
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

/// An address on a private interconnect: of a device, of memory of a CPU, or of nobody.
fn private_target(stream: &mut Stream, shape: &Shape, devices: usize) -> u64 {
    match stream.below(4) {
        0 => (1 << 45) + stream.below(1 << 30),
        1 => host_memory(below(stream, shape.cpus)) + stream.below(1 << 20),
        _ => private_addr(below(stream, devices), stream.below(1 << 20)).0,
    }
}

fn flows(stream: &mut Stream, fabric: &mut Fabric, shape: &Shape) -> Vec<Flow> {
    let devices = shape.roots * shape.switches.max(1) * shape.devices;
    let private = private_engines(fabric);
    let count = 1 + stream.below(6);
    let flow = |number: u64| {
        let from = below(stream, devices);
        let writes = stream.below(2) == 0;
        let engine = if writes { fabric.spec.writer(from) } else { fabric.spec.reader(from) };
        let engine = match pick(stream, &[0, 1, 7]) {
            0 => engine,
            class => in_class(fabric, engine, class),
        };
        let by_private = !private.is_empty() && stream.below(3) == 0;
        let engine = if by_private { pick(stream, &private) } else { engine };
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
            let addr = DmaAddr(match by_private {
                true => private_target(stream, shape, devices),
                false => target(stream, shape, from, devices),
            });
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
    let (mut machine, registers) = machine(&shape);
    machine.interconnects.extend(interconnect(&mut stream, &machine));
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
