//! What became of a `SharedVirtual`: its activities as flows, its counts as counters.

use std::collections::BTreeMap;

use peerbus_machine::Machine;
use peerbus_os::drivers::Part;
use peerbus_os::migrate::Refusal;
use peerbus_units::{Bytes, Picos};

use super::agent::Agent;
use super::drive::{Driven, Who};
use super::tally::{Step, Tally};
use crate::outcome::{CounterOutcome, ErrorOutcome, FlowOutcome, LatencyBucket};
use crate::space::Space;

/// Activities, phase by phase.
pub fn flows(machine: &Machine, driven: &Driven) -> Vec<FlowOutcome> {
    driven.agents.iter().map(|agent| flow(machine, driven, agent)).collect()
}

fn flow(machine: &Machine, driven: &Driven, agent: &Agent) -> FlowOutcome {
    let spec = &driven.plan.spec;
    let what = &spec.phases[agent.activity.0][agent.activity.1];
    let mut times = agent.fault_times.clone();
    times.sort_unstable();
    let at = |hundredths: usize| {
        let place = (times.len() * hundredths).div_ceil(100).saturating_sub(1);
        times.get(place).copied().unwrap_or_default()
    };
    let sum: u128 = times.iter().map(|time| u128::from(time.0)).sum();
    let mean = u64::try_from(sum / (times.len().max(1) as u128)).unwrap_or(u64::MAX);
    let asked = Bytes(what.touches.unwrap_or(agent.pages).saturating_mul(what.bytes.0));
    let used = Bytes(agent.used);
    let (from, to) = (name_of(machine, driven, agent.who), format!("{}.{}", spec.name, what.range));
    FlowOutcome {
        name: format!("{}.{}", spec.name, what.name),
        from,
        to,
        bytes: asked,
        delivered: used,
        refused: Bytes(asked.0.saturating_sub(used.0)),
        start: agent.start,
        end: agent.end.unwrap_or(agent.start),
        latency_mean: Picos(mean),
        latency_p50: at(50),
        latency_p99: at(99),
        latency_of_transfers: true,
        latencies: buckets(&times),
        time: Vec::new(),
        limited_by: limits(agent),
        path: Vec::new(),
        map_type: Some("SHARED".to_owned()),
        distance: None,
        dma_addr: None,
        dma_kind: None,
        staged: false,
        refusal: agent.failed.clone(),
        assumed: Vec::new(),
    }
}

/// What took most of an agent's time, and whatever took at least half as much: parts of its faults, or its own accesses.
fn limits(agent: &Agent) -> Vec<String> {
    let Some(end) = agent.end.filter(|_| agent.used > 0) else { return Vec::new() };
    let faults: u64 = agent.time.values().map(|time| time.0).sum();
    let own = end.saturating_sub(agent.start).0.saturating_sub(faults);
    let mut parts: Vec<(u64, &str)> = agent.time.iter().map(|(step, time)| (time.0, step.text())).collect();
    parts.push((own, "its own accesses"));
    parts.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let most = parts.first().map_or(0, |(time, _)| *time);
    parts
        .into_iter()
        .filter(|(time, _)| 2 * time >= most && *time > 0)
        .map(|(_, text)| text.to_owned())
        .collect()
}

/// Sorted times, counted by quarters of octaves.
fn buckets(times: &[Picos]) -> Vec<LatencyBucket> {
    let mut buckets: Vec<LatencyBucket> = Vec::new();
    for time in times {
        let (from, to) = peerbus_fabric::quarter_octave(time.0);
        match buckets.last_mut().filter(|bucket| bucket.from.0 == from) {
            Some(bucket) => bucket.count += 1,
            None => buckets.push(LatencyBucket { from: Picos(from), to: Picos(to), count: 1 }),
        }
    }
    buckets
}

fn name_of(machine: &Machine, driven: &Driven, who: Who) -> String {
    match who {
        Who::Cpu(cpu) => format!("cpu{cpu}"),
        Who::Gpu(gpu) => machine.devices[driven.plan.gpus[gpu].device].name.clone(),
        Who::Adapter(adapter) => machine.devices[driven.plan.adapters[adapter]].name.clone(),
    }
}

/// Counts of everybody who took part, at `WORKLOAD.WHO`.
pub fn counters(machine: &Machine, driven: &Driven) -> Vec<CounterOutcome> {
    let mut counters = Vec::new();
    for (who, tally) in &driven.tallies {
        let place = format!("{}.{}", driven.plan.spec.name, name_of(machine, driven, *who));
        let structs = match who {
            Who::Gpu(gpu) => driven.page_structs.get(*gpu).map_or(0, |bytes| bytes.0),
            _ => 0,
        };
        for (counter, count) in counts(tally, structs) {
            let always = matches!(who, Who::Gpu(_)) && ALWAYS.contains(&counter);
            if count > 0 || always {
                counters.push(CounterOutcome { place: place.clone(), counter, count });
            }
        }
    }
    counters
}

/// What a GPU is counted even where it is 0.
const ALWAYS: [&str; 5] =
    ["hmm.device_faults", "hmm.pages_arrived", "hmm.pages_evicted", "hmm.pages_back", "hmm.wrong_reads"];

fn counts(tally: &Tally, structs: u64) -> Vec<(&'static str, u64)> {
    let refused = |reasons: &[Refusal]| {
        let of = |why| tally.refused.get(why).copied().unwrap_or(0);
        reasons.iter().map(of).sum::<u64>()
    };
    let all: u64 = tally.refused.values().sum();
    // A huge page that is held cannot be split either.
    let held = refused(&[Refusal::Pinned, Refusal::Referenced, Refusal::CannotSplit]);
    let locked = refused(&[Refusal::Locked, Refusal::Busy]);
    let time = |steps: &[Step]| {
        let of = |step: &Step| tally.time.get(step).map_or(0, |time| time.0);
        steps.iter().map(of).sum::<u64>() / 1000
    };
    let kernel = |part| time(&[Step::Kernel(part)]);
    vec![
        ("hmm.device_faults", tally.device_faults),
        ("hmm.cpu_faults", tally.cpu_faults),
        ("hmm.faults_batched", tally.batched),
        ("hmm.faults_together", tally.together),
        ("hmm.faults_kept", tally.kept),
        ("hmm.prefetches", tally.prefetches),
        ("hmm.pages_arrived", tally.arrived),
        ("hmm.pages_back", tally.back),
        ("hmm.pages_evicted", tally.evicted),
        ("hmm.pages_fetched", tally.fetched),
        ("hmm.pages_pinned", tally.pinned),
        ("hmm.refused_held", held),
        ("hmm.refused_locked", locked),
        ("hmm.refused_other", all - held - locked),
        ("hmm.blocks_stayed", tally.stayed),
        ("hmm.retries", tally.retries),
        ("hmm.touches_local", tally.local),
        ("hmm.touches_ram", tally.in_ram),
        ("hmm.touches_peer", tally.at_peer),
        ("hmm.wrong_reads", tally.wrong_reads),
        ("hmm.ns_interrupt", time(&[Step::Interrupt])),
        ("hmm.ns_collect", kernel(Part::Collect)),
        ("hmm.ns_unmap", kernel(Part::Unmap)),
        ("hmm.ns_shootdown", kernel(Part::Shootdown)),
        ("hmm.ns_allocate", kernel(Part::Allocate)),
        ("hmm.ns_copy", time(&[Step::Copy])),
        ("hmm.ns_transfer", time(&[Step::Transfer])),
        ("hmm.ns_finish", kernel(Part::Finish)),
        ("hmm.ns_walk", kernel(Part::Walk)),
        ("hmm.ns_bind", kernel(Part::Bind)),
        ("hmm.ns_queue", time(&[Step::Queue])),
        ("hmm.ns_wait", time(&[Step::Wait])),
        ("hmm.ns_time_slice", time(&[Step::TimeSlice])),
        ("hmm.ns_replay", time(&[Step::Replay])),
        ("hmm.page_struct_bytes", structs),
    ]
}

/// What it could have run out of, over time.
pub fn spaces(machine: &Machine, driven: &Driven) -> Vec<Space> {
    driven.levels.spaces(machine, &driven.plan, &driven.memory)
}

/// Device memory without page structs, and activities that gave up.
pub fn errors(machine: &Machine, driven: &Driven) -> Vec<ErrorOutcome> {
    let error = |kind: &str, place: String, text: String| ErrorOutcome {
        kind: kind.to_owned(),
        place,
        text,
        count: 1,
        bytes: Bytes::ZERO,
        addr: None,
        flow: None,
        time: None,
    };
    let structs = (0..driven.plan.gpus.len()).filter_map(|gpu| {
        let refused = driven.levels.refusal(gpu);
        let why = driven.without_structs.get(&gpu).cloned();
        let why =
            why.or(refused.map(|refused| format!("{} of memory get no page structs", Bytes(refused.size))))?;
        let cause = refused.and_then(|refused| refused.chain.last());
        let cause = cause.map_or(String::new(), |cause| format!(" ({}: {})", cause.what, cause.text));
        Some(error("DEVICE_MEMORY_REFUSED", name_of(machine, driven, Who::Gpu(gpu)), why + &cause))
    });
    let failed: BTreeMap<String, &String> = driven
        .agents
        .iter()
        .filter_map(|agent| {
            let what = &driven.plan.spec.phases[agent.activity.0][agent.activity.1];
            Some((format!("{}.{}", driven.plan.spec.name, what.name), agent.failed.as_ref()?))
        })
        .collect();
    let failed = failed.into_iter().map(|(name, why)| error("ACCESS_FAILED", name, why.clone()));
    structs.chain(failed).collect()
}
