//! Collects the outcome: names for numbers, and nothing that was not counted.

use std::collections::BTreeSet;

use peerbus_fabric::{
    Cause, Direction, EngineId, Fabric, FlowLedger, LinkId, MissKind, NodeId, NodeKind, Resource, Standstill,
};
use peerbus_machine::Machine;
use peerbus_machine::model::Fact;
use peerbus_units::{Bytes, Picos};

use super::counters;
use super::drive::{Driven, FlowRun};
use super::failures;
use super::flow::{FlowPlan, Program};
use super::peer_memory;
use super::schedule::MatrixPlan;
use super::{RunInput, RunResult};
use super::{shared_buffer, shared_virtual};
use crate::boot::Booted;
use crate::device_memory::{Refused, bind};
use crate::expand::PeerMemoryRole;
use crate::outcome::{ErrorOutcome, FlowOutcome, LatencyBucket, LinkOutcome, MatrixOutcome, Outcome};
use crate::plan;
use crate::space::{self, Space};

/// Turns a finished run into its outcome. `io` are I/O address spaces with what was mapped for all of the run.
pub fn collect(
    machine: &Machine,
    input: &RunInput,
    booted: &Booted,
    driven: Driven,
    mut io: Vec<Space>,
) -> RunResult {
    let Driven { mut fabric, standstill, schedule, mut flows, peer_memories, io_levels, shared, buffers } =
        driven;
    for memory in &peer_memories {
        note_first_addresses(memory, &mut flows);
    }
    let mut outcomes = Vec::new();
    let mut limits = Vec::new();
    let mut first_outcome = Vec::new();
    for run in &flows {
        first_outcome.push(outcomes.len());
        for (outcome, resources) in flow_outcomes(&fabric, run) {
            outcomes.push(outcome);
            limits.push(resources);
        }
    }
    for process in &shared {
        for outcome in shared_virtual::flows(machine, process) {
            outcomes.push(outcome);
            limits.push(Vec::new());
        }
    }
    let matrices =
        schedule.matrices.iter().map(|matrix| matrix_outcome(machine, matrix, &first_outcome)).collect();
    let mut errors = refusals(&flows, &outcomes);
    for buffer in &buffers {
        shared_buffer::note(buffer, &mut outcomes, &first_outcome);
        errors.extend(shared_buffer::errors(buffer));
    }
    errors.extend(peer_memory::errors(machine, &peer_memories));
    errors.extend(shared.iter().flat_map(|process| shared_virtual::errors(machine, process)));
    errors.extend(unsupported_requests(&fabric, &flows));
    errors.extend(misdirected(&mut fabric, &flows));
    errors.extend(malformed(machine, booted, &fabric, &flows));
    errors.extend(failures::errors(&fabric, &flows));
    errors.extend(failures::poisoned(machine, &fabric, &flows));
    errors.extend(unplaced(machine, booted));
    errors.extend(standstill.iter().map(|standstill| no_progress(standstill, &flows)));
    let mut spaces = space::windows(machine, booted);
    spaces.extend(space::apertures(machine, &schedule.shown));
    let device_memory =
        input.device_memory.map(|binding| bind(machine, booted, input.kernel.profile, &binding));
    if let Some(bound) = device_memory {
        errors.extend(bound.refused.into_iter().map(device_memory_refused));
        spaces.extend(bound.spaces);
    }
    spaces.extend(peer_memory::spaces(machine, &peer_memories));
    space::followed(&mut io, machine, booted, &io_levels);
    spaces.extend(io);
    spaces.extend(shared.iter().flat_map(|process| shared_virtual::spaces(machine, process)));
    spaces.extend(space::tags(&fabric));
    let mut counted = counters::counters(machine, &fabric);
    counted.extend(shared.iter().flat_map(|process| shared_virtual::counters(machine, process)));
    counted.extend(buffers.iter().flat_map(|buffer| shared_buffer::counters(machine, buffer)));
    let outcome = Outcome {
        machine: machine.name.clone(),
        profile: input.kernel.profile.name().to_owned(),
        seed: input.seed,
        digest: fabric.ledger.digest(),
        end: fabric.now(),
        events: fabric.ledger.events,
        tlp_hops: fabric.ledger.tlp_hops(),
        matrices,
        links: link_outcomes(&fabric),
        interval: Picos(fabric.ledger.series.interval),
        peer_memory: peer_memories
            .iter()
            .map(|driven| peer_memory::outcome(machine, &fabric, &flows, driven))
            .collect(),
        spaces,
        errors,
        counters: counted,
        assumed: assumptions(machine),
        flows: outcomes,
    };
    RunResult { outcome, limits, resources: resources(&fabric) }
}

/// The first address that a client sent to a provider belongs to their flow.
fn note_first_addresses(memory: &peer_memory::Driven, flows: &mut [FlowRun]) {
    for ((role, _), flow) in &memory.plan.flows {
        let PeerMemoryRole::Peer { client, provider } = *role else { continue };
        if let (Some(peer), Some((addr, kind))) =
            (&mut flows[*flow].plan.peer, memory.first_dma.get(&(client, provider)))
        {
            peer.dma = Some((*addr, kind.to_string()));
        }
    }
}

/// One outcome per flow; two for transfers that read and write in step.
fn flow_outcomes(fabric: &Fabric, run: &FlowRun) -> Vec<(FlowOutcome, Vec<Resource>)> {
    let ledgers: Vec<&FlowLedger> =
        run.legs.iter().map(|leg| &fabric.ledger.flows[usize::from(leg.0)]).collect();
    let plan = &run.plan;
    match (&plan.program, ledgers.as_slice()) {
        (Program::Refused, _) => vec![(refused_outcome(plan, run.started.unwrap_or_default()), Vec::new())],
        (Program::Staged { .. }, [fill, drain]) => vec![staged_outcome(fabric, plan, fill, drain)],
        (Program::Transfers { legs, .. }, [_, _]) => {
            // They proceed in step, hence last equally long: until the last byte of either.
            let end = ledgers.iter().map(|ledger| Picos(ledger.last)).max().unwrap_or_default();
            let both = legs.iter().zip(&ledgers).map(|(leg, ledger)| {
                let (way, from, to) = match leg.direction {
                    Direction::Read => ("read", &plan.to, &plan.from),
                    Direction::Write => ("write", &plan.from, &plan.to),
                };
                let (mut outcome, limits) = single_outcome(fabric, plan, ledger);
                outcome.name = format!("{}.{way}", plan.name);
                outcome.bytes = Bytes(ledger.asked);
                outcome.end = end;
                (outcome.from, outcome.to) = (from.clone(), to.clone());
                (outcome, limits)
            });
            both.collect()
        }
        (Program::Ordered, [ledger, ..]) => {
            let (outcome, limits) = single_outcome(fabric, plan, ledger);
            vec![(FlowOutcome { bytes: Bytes(ledger.asked), ..outcome }, limits)]
        }
        (_, [ledger, ..]) => vec![single_outcome(fabric, plan, ledger)],
        (_, []) => Vec::new(),
    }
}

fn refused_outcome(plan: &FlowPlan, at: Picos) -> FlowOutcome {
    FlowOutcome { refused: plan.bytes, start: at, end: at, ..blank(plan) }
}

/// A flow's outcome without results.
fn blank(plan: &FlowPlan) -> FlowOutcome {
    let peer = plan.peer.as_ref();
    let transfers =
        matches!(plan.program, Program::Transfers { .. } | Program::Ordered | Program::Commands(_));
    FlowOutcome {
        name: plan.name.clone(),
        from: plan.from.clone(),
        to: plan.to.clone(),
        bytes: plan.bytes,
        delivered: Bytes::ZERO,
        refused: Bytes::ZERO,
        start: Picos::ZERO,
        end: Picos::ZERO,
        latency_mean: Picos::ZERO,
        latency_p50: Picos::ZERO,
        latency_p99: Picos::ZERO,
        latency_of_transfers: transfers,
        latencies: Vec::new(),
        time: Vec::new(),
        limited_by: Vec::new(),
        path: Vec::new(),
        map_type: peer.map(|peer| peer.map_type.clone()),
        distance: peer.map(|peer| peer.distance),
        dma_addr: peer.and_then(|peer| peer.dma.as_ref()).map(|(addr, _)| *addr),
        dma_kind: peer.and_then(|peer| peer.dma.as_ref()).map(|(_, kind)| kind.clone()),
        staged: false,
        refusal: plan.unmappable.clone().or_else(|| peer.and_then(|peer| peer.refusal.clone())),
        assumed: peer.map(|peer| peer.assumed.clone()).unwrap_or_default(),
    }
}

fn single_outcome(fabric: &Fabric, plan: &FlowPlan, ledger: &FlowLedger) -> (FlowOutcome, Vec<Resource>) {
    let limits = if ledger.delivered > 0 { ledger.limits() } else { Vec::new() };
    let outcome = FlowOutcome {
        delivered: Bytes(ledger.delivered),
        refused: Bytes(ledger.refused),
        start: Picos(ledger.first.unwrap_or(0)),
        end: Picos(ledger.last),
        latency_mean: Picos(ledger.latency_mean()),
        latency_p50: Picos(ledger.latency_percentile(50.0)),
        latency_p99: Picos(ledger.latency_percentile(99.0)),
        latencies: latencies(ledger),
        time: time_by_cause(&[ledger]),
        limited_by: limits.iter().map(|resource| resource_name(fabric, *resource)).collect(),
        path: path(fabric, ledger),
        ..blank(plan)
    };
    (outcome, limits)
}

/// A staged copy is held back by what holds back its slower leg; the faster one waits for buffers.
fn staged_outcome(
    fabric: &Fabric,
    plan: &FlowPlan,
    fill: &FlowLedger,
    drain: &FlowLedger,
) -> (FlowOutcome, Vec<Resource>) {
    let mut limits = fill.limits();
    for resource in drain.limits() {
        if !limits.contains(&resource) {
            limits.push(resource);
        }
    }
    if limits.iter().any(|resource| !matches!(resource, Resource::Window(_))) {
        limits.retain(|resource| !matches!(resource, Resource::Window(_)));
    }
    let mut nodes = path(fabric, fill);
    nodes.extend(path(fabric, drain).into_iter().skip(1));
    let outcome = FlowOutcome {
        delivered: Bytes(drain.delivered),
        refused: Bytes(plan.bytes.0 - drain.delivered),
        start: Picos(fill.first.unwrap_or(0)),
        end: Picos(drain.last),
        latency_mean: Picos(drain.latency_mean()),
        latency_p50: Picos(drain.latency_percentile(50.0)),
        latency_p99: Picos(drain.latency_percentile(99.0)),
        latencies: latencies(drain),
        time: time_by_cause(&[fill, drain]),
        limited_by: limits.iter().map(|resource| resource_name(fabric, *resource)).collect(),
        path: nodes,
        staged: true,
        ..blank(plan)
    };
    (outcome, limits)
}

fn latencies(ledger: &FlowLedger) -> Vec<LatencyBucket> {
    let bucket = |(from, to, count)| LatencyBucket { from: Picos(from), to: Picos(to), count };
    ledger.latency_buckets().into_iter().map(bucket).collect()
}

fn time_by_cause(ledgers: &[&FlowLedger]) -> Vec<(&'static str, Picos)> {
    let sum = |cause: Cause| ledgers.iter().map(|ledger| ledger.time[cause as usize]).sum();
    let all = Cause::ALL.into_iter().map(|cause| (cause.name(), Picos(sum(cause))));
    all.filter(|(_, time)| *time > Picos::ZERO).collect()
}

/// Nodes from where the data comes from to where it goes.
fn path(fabric: &Fabric, ledger: &FlowLedger) -> Vec<String> {
    let (Some(route), Some(engine)) = (ledger.route, ledger.engine) else { return Vec::new() };
    let links = fabric.route_links(route);
    let name = |node: NodeId| fabric.spec.nodes[node.0 as usize].name.clone();
    let start = fabric.spec.engines[engine.0 as usize].node;
    let mut nodes = vec![name(start)];
    nodes.extend(links.iter().map(|link| name(fabric.spec.links[link.0 as usize].to)));
    if fabric.spec.engines[engine.0 as usize].direction == Direction::Read {
        nodes.reverse();
    }
    nodes
}

/// A resource as reports name it.
pub fn resource_name(fabric: &Fabric, resource: Resource) -> String {
    let link = |link: LinkId| &fabric.spec.links[link.0 as usize].name;
    let engine = |engine: EngineId| &fabric.spec.engines[engine.0 as usize].name;
    let node = |node: NodeId| &fabric.spec.nodes[node.0 as usize].name;
    match resource {
        Resource::Link(id) => format!("link {}", link(id)),
        Resource::Port(id) => format!("root port rate of {}", link(id)),
        Resource::Engine(id) => format!("engine {}", engine(id)),
        Resource::Tags(id) => format!("tags of {}", engine(id)),
        Resource::Memory(id) => format!("memory of {}", node(id)),
        Resource::Credits(id) => format!("credits of {}", link(id)),
        Resource::Walkers(id) => format!("page walkers of {}", node(id)),
        Resource::PeerWrites(id) => format!("writes between ports of {}", node(id)),
        Resource::PeerReads(id) => format!("reads between ports of {}", node(id)),
        Resource::Window(_) => "transfers under way (the workload offers no more)".to_owned(),
    }
}

/// Everything that can be scaled.
fn resources(fabric: &Fabric) -> Vec<Resource> {
    let spec = &fabric.spec;
    let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let mut all = Vec::new();
    for (index, link) in spec.links.iter().enumerate() {
        let id = LinkId(number(index));
        all.push(Resource::Link(id));
        all.push(Resource::Credits(id));
        if link.port_rate.is_some() || link.peer_rate.is_some() {
            all.push(Resource::Port(id));
        }
    }
    // Engines beyond those of devices belong to the run: another one would not have them.
    let devices = spec.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Device(_))).count();
    for index in 0..2 * devices {
        let id = EngineId(number(index));
        all.push(Resource::Engine(id));
        all.push(Resource::Tags(id));
    }
    let memories = spec.nodes.iter().enumerate().filter(|(_, node)| node.memory.is_some());
    all.extend(memories.map(|(index, _)| Resource::Memory(NodeId(number(index)))));
    for (index, node) in spec.nodes.iter().enumerate() {
        let id = NodeId(number(index));
        all.extend(node.iommu.map(|_| Resource::Walkers(id)));
        let limits = node.peer_limits;
        all.extend(limits.and_then(|limits| limits.write_rate).map(|_| Resource::PeerWrites(id)));
        all.extend(limits.and_then(|limits| limits.read_rate).map(|_| Resource::PeerReads(id)));
    }
    all
}

fn matrix_outcome(machine: &Machine, plan: &MatrixPlan, first_outcome: &[usize]) -> MatrixOutcome {
    let mut next = plan.first_flow;
    let cells = plan.devices.iter().map(|row| {
        let cells = plan.devices.iter().map(|column| {
            (row != column).then(|| {
                next += 1;
                first_outcome[next - 1]
            })
        });
        cells.collect()
    });
    MatrixOutcome {
        name: plan.name.clone(),
        title: plan.title.clone(),
        cells: cells.collect(),
        devices: plan.devices.iter().map(|device| machine.devices[*device].name.clone()).collect(),
    }
}

fn link_outcomes(fabric: &Fabric) -> Vec<LinkOutcome> {
    let mut outcomes = Vec::new();
    for (index, (spec, ledger)) in fabric.spec.links.iter().zip(&fabric.ledger.links).enumerate() {
        if ledger.tlps == 0 {
            continue;
        }
        outcomes.push(LinkOutcome {
            name: spec.name.clone(),
            from: fabric.spec.nodes[spec.from.0 as usize].name.clone(),
            to: fabric.spec.nodes[spec.to.0 as usize].name.clone(),
            pcie: spec.pcie,
            busy_time: Picos(ledger.busy),
            tlps: ledger.tlps,
            wire_bytes: Bytes(ledger.wire_bytes),
            payload_bytes: Bytes(ledger.payload_bytes),
            dllp_bytes: Bytes(ledger.dllp_bytes),
            starved: Picos(ledger.starved.iter().sum()),
            digest: ledger.digest,
            errors: failures::link_errors(&fabric.ledger.faults[index]),
            busy: fabric.ledger.series.busy.iter().map(|links| Picos(links[index])).collect(),
            queued: fabric.ledger.series.queued.iter().map(|links| links[index]).collect(),
        });
    }
    outcomes
}

/// What the operating system refused, by reason: a way between devices, or a mapping.
fn refusals(runs: &[FlowRun], flows: &[FlowOutcome]) -> Vec<ErrorOutcome> {
    let unmappable = |text: &str| runs.iter().any(|run| run.plan.unmappable.as_deref() == Some(text));
    let mut errors: Vec<ErrorOutcome> = Vec::new();
    for flow in flows {
        let Some(refusal) = &flow.refusal else { continue };
        if let Some(known) = errors.iter_mut().find(|error| error.text == *refusal) {
            known.count += 1;
            known.bytes += flow.refused;
            continue;
        }
        let kind = if unmappable(refusal) { "MAPPING_REFUSED" } else { "P2P_REFUSED" };
        errors.push(ErrorOutcome {
            kind: kind.to_owned(),
            place: flow.name.clone(),
            text: refusal.clone(),
            count: 1,
            bytes: flow.refused,
            addr: None,
            flow: Some(flow.name.clone()),
            time: None,
        });
    }
    errors
}

/// Name of the flow that a leg of that number belongs to.
pub fn flow_name(flows: &[FlowRun], number: u16) -> Option<String> {
    let owner = flows.iter().find(|run| run.legs.iter().any(|leg| leg.0 == number));
    owner.map(|run| run.plan.name.clone())
}

/// Packets dropped because their payload is larger than their receiver's MPS, by receiver.
fn malformed(machine: &Machine, booted: &Booted, fabric: &Fabric, flows: &[FlowRun]) -> Vec<ErrorOutcome> {
    let links = fabric.spec.links.iter().zip(&fabric.ledger.malformed);
    let found = links.filter_map(|(link, dropped)| {
        let ((time, flow, payload, completion), receiver) = (dropped.first?, link.receiver?);
        let kind = if completion { "completion" } else { "write" };
        let mps = booted.registers.max_payload(receiver);
        let text = format!(
            "a {kind} with {} of payload is malformed for a receiver with an MPS of {mps}",
            Bytes(payload)
        );
        Some(ErrorOutcome {
            kind: "MALFORMED_TLP".to_owned(),
            place: machine.functions[receiver].name.clone(),
            text,
            count: dropped.packets,
            bytes: Bytes(dropped.bytes),
            addr: None,
            flow: flow_name(flows, flow),
            time: Some(Picos(time)),
        })
    });
    found.collect()
}

fn unsupported_requests(fabric: &Fabric, flows: &[FlowRun]) -> Vec<ErrorOutcome> {
    let misses =
        fabric.misses().iter().zip(&fabric.ledger.refusals).filter(|(_, refusal)| refusal.requests > 0);
    misses
        .map(|(miss, refusal)| ErrorOutcome {
            kind: miss_kind(miss.kind).to_owned(),
            place: fabric.spec.nodes[miss.node.0 as usize].name.clone(),
            text: miss.text.clone(),
            count: refusal.requests,
            bytes: Bytes(refusal.bytes),
            addr: refusal.first.map(|(_, _, addr)| addr),
            flow: refusal.first.and_then(|(_, flow, _)| flow_name(flows, flow)),
            time: refusal.first.map(|(time, _, _)| Picos(time)),
        })
        .collect()
}

/// Bytes of flows between devices that reached a memory other than the one they were for, by flow and memory.
fn misdirected(fabric: &mut Fabric, flows: &[FlowRun]) -> Vec<ErrorOutcome> {
    let mut errors = Vec::new();
    for run in flows {
        let Program::Direct { leg } = &run.plan.program else { continue };
        let (engine, meant, what) = match leg.direction {
            Direction::Write => (fabric.spec.writer(leg.device), &run.plan.to, "written to"),
            Direction::Read => (fabric.spec.reader(leg.device), &run.plan.from, "read from"),
        };
        let touched = leg.extent.min(run.plan.bytes.0);
        for (node, addr, bytes) in fabric.destinations(engine, leg.base, touched) {
            let Some(place) = node.map(|node| fabric.spec.nodes[node.0 as usize].name.clone()) else {
                continue;
            };
            if place != *meant {
                let text = format!("{} meant for {meant} were {what} the memory of {place}", Bytes(bytes));
                errors.push(ErrorOutcome {
                    kind: "MISDIRECTED".to_owned(),
                    place,
                    text,
                    count: 1,
                    bytes: Bytes(bytes),
                    addr: Some(addr),
                    flow: Some(run.plan.name.clone()),
                    time: run.started,
                });
            }
        }
    }
    errors
}

fn miss_kind(kind: MissKind) -> &'static str {
    match kind {
        MissKind::AcsViolation => "ACS_VIOLATION",
        MissKind::Unclaimed => "UNSUPPORTED_REQUEST",
        MissKind::IommuFault => "IOMMU_FAULT",
        MissKind::ApertureFault => "APERTURE_FAULT",
    }
}

/// A run that stood still before its end.
fn no_progress(standstill: &Standstill, flows: &[FlowRun]) -> ErrorOutcome {
    let first = standstill.flows.first().and_then(|flow| flow_name(flows, flow.0));
    ErrorOutcome {
        kind: "NO_PROGRESS".to_owned(),
        place: first.clone().unwrap_or_else(|| "fabric".to_owned()),
        text: standstill.to_string(),
        count: u64::try_from(standstill.flows.len()).unwrap_or(u64::MAX),
        bytes: Bytes(standstill.bytes),
        addr: None,
        flow: first,
        time: Some(standstill.at),
    }
}

/// A driver whose device's memory, or a chunk of it, got no page structs.
fn device_memory_refused(refused: Refused) -> ErrorOutcome {
    let chain = refused.chain.iter().map(|cause| format!("{}: {}", cause.what, cause.text));
    let chain: Vec<String> = chain.collect();
    ErrorOutcome {
        kind: "DEVICE_MEMORY_REFUSED".to_owned(),
        place: refused.device,
        text: format!("{}; {}", refused.obstacle.name(), chain.join("; ")),
        count: 1,
        bytes: Bytes(refused.size),
        addr: None,
        flow: None,
        time: None,
    }
}

/// BARs that found no place.
fn unplaced(machine: &Machine, booted: &Booted) -> Vec<ErrorOutcome> {
    let unplaced = plan::unplaced(machine, booted).into_iter();
    unplaced
        .map(|(place, size, text)| ErrorOutcome {
            kind: "UNPLACED_BAR".to_owned(),
            place,
            text,
            count: 1,
            bytes: size,
            addr: None,
            flow: None,
            time: None,
        })
        .collect()
}

/// `gpu0: bars, timing`, …: elements with facts that their sources do not state.
fn assumptions(machine: &Machine) -> Vec<String> {
    let line = |name: &str, facts: &BTreeSet<Fact>| {
        let words: Vec<&str> = facts.iter().map(|fact| fact.word()).collect();
        (!words.is_empty()).then(|| format!("{name}: {}", words.join(", ")))
    };
    let whole = std::iter::once(("machine", &machine.assumed));
    let cpus = machine.cpus.iter().map(|cpu| (cpu.name.as_str(), &cpu.assumed));
    let bridges = machine.host_bridges.iter().map(|bridge| (bridge.name.as_str(), &bridge.assumed));
    let switches = machine.switches.iter().map(|switch| (switch.name.as_str(), &switch.assumed));
    let devices = machine.devices.iter().map(|device| (device.name.as_str(), &device.assumed));
    let links = machine.links.iter().map(|link| (link.name.as_str(), &link.assumed));
    let all = whole.chain(cpus).chain(bridges).chain(switches).chain(devices).chain(links);
    all.filter_map(|(name, facts)| line(name, facts)).collect()
}
