//! One thing in words: a flow's limit or path, a link's speed, an error's extent. Text and HTML say the same.

use peerbus_scenario::{Cell, ScenarioResult};
use peerbus_system::outcome::{
    CounterOutcome, ErrorOutcome, FlowOutcome, LinkErrors, LinkOutcome, Outcome, PeerMemoryOutcome,
    PoolOutcome,
};
use peerbus_system::space::{Space, SpaceKind, SpaceRefusal};
use peerbus_units::{Bytes, Picos};

use crate::number;

/// The machine as given, and its name where that says more.
pub fn machine(result: &ScenarioResult) -> String {
    match result.cells.first().map(|cell| cell.outcome.machine.as_str()) {
        Some(name) if !name.is_empty() && name != result.machine => format!("{name} ({})", result.machine),
        _ => result.machine.clone(),
    }
}

/// Variants, events and TLPs of the whole run.
pub fn size(result: &ScenarioResult) -> String {
    let sum = |part: fn(&peerbus_system::outcome::Outcome) -> u64| {
        result.cells.iter().fold(0u64, |all, cell| all.saturating_add(part(&cell.outcome)))
    };
    let variants = match result.cells.len() {
        0 | 1 => String::new(),
        count => format!("{count} variants, "),
    };
    format!(
        "{variants}{} events, {} TLPs sent (counted once per link)",
        number::count_text(sum(|outcome| outcome.events)),
        number::count_text(sum(|outcome| outcome.tlp_hops)),
    )
}

/// `2 of 3 expectations hold`.
pub fn expectations_held(result: &ScenarioResult) -> String {
    let count = result.expectations.len();
    let holds = result.expectations.iter().filter(|it| it.holds).count();
    let held = if count == 0 {
        "nothing was expected".to_owned()
    } else {
        format!("{holds} of {count} expectations hold")
    };
    if result.completed() { held } else { format!("{held}, and a run could not come to its end") }
}

/// What was asked for, and what became of it when that differs.
pub fn amount(flow: &FlowOutcome) -> String {
    let asked = number::bytes_text(flow.bytes);
    if flow.delivered == flow.bytes {
        asked
    } else {
        format!("{} of {asked}", number::bytes_text(flow.delivered))
    }
}

/// Median and 99th percentile; a star marks the latency of a whole transfer.
pub fn latencies(flow: &FlowOutcome) -> (String, String) {
    if flow.delivered.0 == 0 {
        return ("-".to_owned(), "-".to_owned());
    }
    let star = if flow.latency_of_transfers { "*" } else { "" };
    let text = |time| format!("{}{star}", number::time_text(time));
    (text(flow.latency_p50), text(flow.latency_p99))
}

/// Shares of the time of a flow's packets by cause in millionths, in the order of a packet's life.
pub fn shares(flow: &FlowOutcome) -> Vec<(&'static str, u64)> {
    let all = flow.time.iter().fold(0u64, |sum, (_, time)| sum.saturating_add(time.0));
    let share = |time: u64| number::share_millionths(time, all).unwrap_or(0);
    flow.time.iter().map(|(cause, time)| (*cause, share(time.0))).collect()
}

/// Where the time of a flow's packets went, longest first, shares below a thousandth together.
fn breakdown(flow: &FlowOutcome) -> Option<String> {
    let mut shares = shares(flow);
    shares.sort_by_key(|(_, share)| std::cmp::Reverse(*share));
    let text = |(cause, share): &(&str, u64)| format!("{cause} {}", number::percent_text(*share));
    let mut words: Vec<String> = shares.iter().filter(|(_, share)| *share >= 1_000).map(text).collect();
    let small = shares.len() - words.len();
    if small > 0 {
        words.push(format!("{small} more below 0.1 %"));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

/// Map type, or that the traffic is with host memory, and whether it was staged there.
pub fn map_type(flow: &FlowOutcome) -> String {
    let kind = flow.map_type.as_deref().unwrap_or("host memory");
    if flow.staged { format!("{kind}, staged") } else { kind.to_owned() }
}

/// What held a flow back, in words.
pub fn limit(flow: &FlowOutcome) -> String {
    match &flow.refusal {
        Some(refusal) if flow.delivered.0 == 0 => format!("refused: {refusal}"),
        _ if flow.limited_by.is_empty() => "nothing moved".to_owned(),
        _ => flow.limited_by.join(" + "),
    }
}

/// Where a flow's path leads, hop by hop: `gpu0 → sw0 → gpu1`.
pub fn path(flow: &FlowOutcome) -> String {
    flow.path.join(" → ")
}

/// What there is to know of a flow beside its line in the table, label by label.
pub fn facts(flow: &FlowOutcome) -> Vec<(&'static str, String)> {
    let time = format!("{} to {}", number::time_text(flow.start), number::time_text(flow.end));
    let mut facts = vec![("from … to", time)];
    if flow.refused.0 > 0 {
        facts.push(("refused", number::bytes_text(flow.refused)));
    }
    if let Some(refusal) = &flow.refusal {
        facts.push(("why refused", refusal.clone()));
    }
    if flow.staged {
        facts.push(("staged", "through a buffer in host memory".to_owned()));
    }
    if !flow.path.is_empty() {
        facts.push(("path", path(flow)));
    }
    if let Some(addr) = flow.dma_addr {
        let kind = flow.dma_kind.as_deref().map_or(String::new(), |kind| format!(" ({kind} address)"));
        facts.push(("DMA address", format!("{}{kind}", number::address_text(addr))));
    }
    if let Some(distance) = flow.distance {
        facts.push(("distance", distance.to_string()));
    }
    if !flow.limited_by.is_empty() {
        facts.push(("limited by", flow.limited_by.join(" + ")));
    }
    if let Some(breakdown) = breakdown(flow) {
        facts.push(("time", breakdown));
    }
    if !flow.assumed.is_empty() {
        facts.push(("assumed", flow.assumed.join("; ")));
    }
    facts
}

/// What became of a workload on peer memory, label by label.
pub fn peer_memory(memory: &PeerMemoryOutcome) -> Vec<(String, String)> {
    let some = |count: u64, bytes| format!("{} ({})", number::count_text(count), number::bytes_text(bytes));
    let lost = memory.refusals().saturating_sub(memory.staged);
    let mut requests = format!(
        "{}, of which {} got peer memory",
        some(memory.requests, memory.bytes),
        some(memory.granted, memory.granted_bytes)
    );
    if memory.staged > 0 {
        requests
            .push_str(&format!(", {} went through host memory", some(memory.staged, memory.staged_bytes)));
    }
    if lost > 0 {
        requests.push_str(&format!(", {} were lost", number::count_text(lost)));
    }
    let mut facts = vec![("what".to_owned(), memory.title.clone()), ("requests".to_owned(), requests)];
    if let Some(rate) = memory.bytes_per_second() {
        let time = number::time_text(memory.end.saturating_sub(memory.start));
        let (rate, moved) = (number::gbytes_text(rate / 1_000), number::bytes_text(memory.moved));
        facts.push(("throughput".to_owned(), format!("{rate} GB/s: clients moved {moved} in {time}")));
    }
    if memory.wait_p99.0 > 0 {
        let (p50, p99) = (number::time_text(memory.wait_p50), number::time_text(memory.wait_p99));
        facts.push(("waited".to_owned(), format!("p50 {p50}, p99 {p99} for an allocation to be given back")));
    }
    for refused in &memory.refused {
        let text = format!(
            "{}; first after {} for {}: {}",
            some(refused.count, refused.bytes),
            number::time_text(refused.first),
            refused.client,
            refused.text
        );
        facts.push((refused.cause.clone(), text));
    }
    facts
}

/// Titles of the columns of [`pools`].
pub const POOL_TITLES: [&str; 7] =
    ["pool", "registered", "granted", "refused", "peak use", "least largest hole", "fragmentation"];

/// The pools of a workload, one row each.
pub fn pools(memory: &PeerMemoryOutcome) -> Vec<Vec<String>> {
    let row = |pool: &PoolOutcome| {
        let published = if pool.published || pool.size.0 == 0 { "" } else { " (not published)" };
        vec![
            format!("{}{published}", pool.provider),
            number::bytes_text(pool.size),
            number::count_text(pool.granted),
            number::count_text(pool.refused),
            number::bytes_text(pool.peak),
            number::bytes_text(pool.least_hole),
            number::percent_text(u64::from(pool.fragmentation_ppm)),
        ]
    };
    memory.pools.iter().map(row).collect()
}

/// Flows that were asked to move something, and how many others there are. Clients of peer memory have a flow to every
/// provider they might find.
pub fn busy_flows<'a>(flows: Vec<(&'a Cell, &'a FlowOutcome)>) -> (Vec<(&'a Cell, &'a FlowOutcome)>, usize) {
    let count = flows.len();
    let busy: Vec<_> = flows.into_iter().filter(|(_, flow)| flow.bytes.0 > 0).collect();
    let idle = count - busy.len();
    (busy, idle)
}

/// `gen4 x16`, or a dash inside and between CPUs.
pub fn pcie(link: &LinkOutcome) -> String {
    link.pcie.map_or("-".to_owned(), |(generation, lanes)| format!("gen{generation} x{lanes}"))
}

/// How often and how much.
pub fn extent(error: &ErrorOutcome) -> String {
    let times = match error.count {
        1 => "once".to_owned(),
        count => format!("{} times", number::count_text(count)),
    };
    if error.bytes.0 == 0 { times } else { format!("{times}, {}", number::bytes_text(error.bytes)) }
}

/// The first occurrence: address, flow and time, as far as known.
pub fn first(cell: &Cell, error: &ErrorOutcome) -> Option<String> {
    let mut parts = Vec::new();
    parts.extend(error.addr.map(|addr| format!("at address {}", number::address_text(addr))));
    parts.extend(error.flow.as_deref().map(|flow| format!("in flow {}", cell.qualified(flow))));
    parts.extend(error.time.map(|time| format!("after {}", number::time_text(time))));
    (!parts.is_empty()).then(|| format!("first {}", parts.join(" ")))
}

/// Titles of the columns of [`counters`].
pub const COUNTER_TITLES: [&str; 3] = ["place", "what counts", "counted"];

/// What hardware counted, a row for each place and kind of counter; those at 0 left out.
pub fn counters(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for CounterOutcome { place, counter, count } in outcome.counters.iter().filter(|one| one.count > 0) {
        let (kind, what) = counter.split_once('.').unwrap_or((counter, ""));
        let kind = match kind {
            "iommu" => "IOMMU".to_owned(),
            "atc" => "translations".to_owned(),
            "correctable" | "nonfatal" | "fatal" => format!("{kind} errors"),
            _ => kind.to_owned(),
        };
        let text = format!("{} {}", number::count_text(*count), what.replace('_', " "));
        match rows.last_mut().filter(|row| row[0] == *place && row[1] == kind) {
            Some(row) => row[2] = format!("{}, {text}", row[2]),
            None => rows.push(vec![place.clone(), kind, text]),
        }
    }
    rows
}

/// How many flows had nothing to move.
pub fn idle_flows(count: usize) -> String {
    if count == 1 { "1 flow was never used".to_owned() } else { format!("{count} flows were never used") }
}

/// How many links were sending for 1 % of the run or less.
pub fn idle_links(count: usize) -> String {
    format!("{count} link{} at or below 1 %", if count == 1 { "" } else { "s" })
}

/// What went wrong on a link, in a line: `12 replays for 12 bad TLPs, 1 training, held up for 3.2 us`.
pub fn link_errors(errors: &LinkErrors) -> String {
    let mut parts = Vec::new();
    let mut add = |count: u64, one: &str, many: &str| {
        if count > 0 {
            parts.push(format!("{count} {}", if count == 1 { one } else { many }));
        }
    };
    add(errors.bad_tlps, "bad TLP", "bad TLPs");
    add(errors.bad_dllps, "bad DLLP", "bad DLLPs");
    add(errors.corrected, "byte of a flit mended", "bytes of flits mended");
    add(errors.bad_flits, "bad flit", "bad flits");
    add(errors.replays, "replay", "replays");
    add(errors.rollovers, "rollover of the count of replays", "rollovers of the count of replays");
    add(errors.retrains, "training", "trainings");
    add(errors.downs, "time down", "times down");
    add(errors.lost, "packet lost", "packets lost");
    add(errors.leaked_credits, "credit leaked", "credits leaked");
    if errors.held_up.0 > 0 {
        parts.push(format!("held up for {}", number::time_text(errors.held_up)));
    }
    parts.join(", ")
}

/// An amount of a space in its unit.
pub fn amount_of(space: &Space, amount: u64) -> String {
    if space.kind.is_counted() { number::count_text(amount) } else { number::bytes_text(Bytes(amount)) }
}

/// True for what is no part of a larger space, and for what ran out.
pub fn is_of_interest(space: &Space) -> bool {
    let part = matches!(space.kind, SpaceKind::BridgeWindow | SpaceKind::Tags | SpaceKind::IoAddresses);
    !part || space.refusals > 0
}

/// Who has how much of a space.
pub fn owners(space: &Space) -> String {
    let owner = |owner: &peerbus_system::space::SpaceOwner| {
        format!("{} {}", owner.name, amount_of(space, owner.amount))
    };
    let owners: Vec<String> = space.owners.iter().take(8).map(owner).collect();
    let left = space.owners.len().saturating_sub(owners.len());
    let more = if left > 0 { format!(" and {left} more") } else { String::new() };
    format!("{}{more}", owners.join(", "))
}

/// Slack, fragmentation and owners of a space, as far as there are any.
pub fn space_details(space: &Space) -> Vec<String> {
    let slack = [("alignment", space.alignment), ("granule", space.granule)];
    let slack = slack.iter().filter(|(_, amount)| *amount > 0);
    let slack: Vec<String> =
        slack.map(|(why, amount)| format!("{} lost to {why}", amount_of(space, *amount))).collect();
    let mut lines = Vec::new();
    lines.extend((!slack.is_empty()).then(|| slack.join(", ")));
    if space.fragmentation_ppm > 0 {
        lines.push(format!("fragmentation {}", number::percent_text(space.fragmentation_ppm.into())));
    }
    lines.extend((!space.owners.is_empty()).then(|| format!("taken by {}", owners(space))));
    lines
}

/// What was taken of a space over time, at some of its samples. Nothing for what does not change.
pub fn space_series(space: &Space) -> Option<String> {
    let step = space.samples.len().div_ceil(8).max(1);
    let at = |(number, sample): (u64, &peerbus_system::space::SpaceSample)| {
        let time = number::time_text(Picos(space.interval.0.saturating_mul(number)));
        format!("{} at {time}", amount_of(space, sample.used))
    };
    let samples: Vec<String> = (0..).zip(&space.samples).step_by(step).map(at).collect();
    space.is_followed().then(|| format!("over time {}", samples.join(", ")))
}

/// The first request that got nothing of a space, and how many there were.
pub fn space_refusal(space: &Space, first: &SpaceRefusal) -> String {
    let when = first
        .time
        .map_or("when the machine came up".to_owned(), |time| format!("at {}", number::time_text(time)));
    format!(
        "{} refused; first {} for {} {when}, decided by {}",
        number::count_text(space.refusals),
        first.who,
        amount_of(space, first.amount),
        first.decided
    )
}
