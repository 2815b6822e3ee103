//! From what was counted to [`PeerMemoryOutcome`]: names for numbers, and nothing that was not counted.

use peerbus_fabric::Fabric;
use peerbus_machine::Machine;
use peerbus_units::{Bytes, Picos};

use super::drive::Driven;
use super::tally::{Granted, Refusals};
use crate::expand::PeerMemoryRole;
use crate::outcome::{ErrorOutcome, PeerMemoryOutcome, PoolOutcome, RefusalOutcome};
use crate::peer_memory::{Choose, PeerMemory, Policy, TargetMemory, Transfer, User};
use crate::run::drive::FlowRun;
use crate::space::Level;

/// What became of one workload.
pub fn outcome(machine: &Machine, fabric: &Fabric, flows: &[FlowRun], driven: &Driven) -> PeerMemoryOutcome {
    let (plan, tally) = (&driven.plan, &driven.tally);
    let name = |device: usize| machine.devices[device].name.clone();
    let refused = tally.refused.iter().map(|(cause, all)| {
        let Refusals { count, bytes, first, client, text } = all.clone();
        RefusalOutcome { cause: cause.name().to_owned(), count, bytes, first, client: name(client), text }
    });
    let is_client = |device: usize| plan.clients.iter().any(|client| client.device == device);
    let own = plan.flows.iter().filter(|((role, _), _)| match role {
        PeerMemoryRole::Peer { client, .. } | PeerMemoryRole::Client(client) => is_client(*client),
        PeerMemoryRole::Provider(_) => false,
    });
    let ledgers = own.flat_map(|(_, flow)| &flows[*flow].legs);
    let ledgers: Vec<_> = ledgers.map(|leg| &fabric.ledger.flows[usize::from(leg.0)]).collect();
    let granted = tally.granted.values();
    PeerMemoryOutcome {
        name: plan.spec.name.clone(),
        title: title(&plan.spec, plan.clients.len()),
        requests: tally.requests,
        bytes: tally.bytes,
        granted: granted.clone().map(|granted| granted.count).sum(),
        granted_bytes: granted.map(|granted| granted.bytes).sum(),
        staged: tally.staged,
        staged_bytes: tally.staged_bytes,
        refused: refused.collect(),
        moved: Bytes(ledgers.iter().map(|ledger| ledger.delivered).sum()),
        start: Picos(ledgers.iter().filter_map(|ledger| ledger.first).min().unwrap_or(0)),
        end: Picos(ledgers.iter().map(|ledger| ledger.last).max().unwrap_or(0)),
        wait_p50: tally.wait_percentile(50),
        wait_p99: tally.wait_percentile(99),
        pools: plan.providers.iter().map(|device| pool(machine, driven, *device)).collect(),
    }
}

fn title(spec: &PeerMemory, clients: usize) -> String {
    let policy = match spec.policy {
        Policy::FirstFit => "first fit".to_owned(),
        Policy::BestFit => "best fit".to_owned(),
        Policy::OrderAlign => "aligned to the size's power of two".to_owned(),
        Policy::Align(align) => format!("aligned to {align}"),
    };
    let choose = match (&spec.target, spec.choose) {
        (Some(target), _) => match &target.memory {
            TargetMemory::Off => "ordinary memory".to_owned(),
            TargetMemory::Automatic => "nearest provider, found once".to_owned(),
            TargetMemory::Named(name) => format!("memory of {name}"),
        },
        (None, Choose::Nearest) => "nearest provider".to_owned(),
        (None, Choose::NearestOnce) => "nearest provider, found once".to_owned(),
        (None, Choose::InOrder) => "providers in order".to_owned(),
    };
    let user = match (&spec.target, spec.user) {
        (Some(target), _) => format!("NVMe target of {}", target.namespace),
        (None, User::Kernel) => "drivers".to_owned(),
        (None, User::Mmap) => "processes".to_owned(),
    };
    let transfer = match spec.transfer {
        Transfer::Nothing => "move nothing",
        Transfer::Write => "write",
        Transfer::Read => "read",
        Transfer::WriteThenRead => "write, then read",
    };
    let refused = if spec.falls_back() { "host memory when refused" } else { "lost when refused" };
    let plural = if clients == 1 { "client" } else { "clients" };
    format!("{clients} {plural} ({user}) {transfer}; {choose}, {policy}, {refused}")
}

fn pool(machine: &Machine, driven: &Driven, device: usize) -> PoolOutcome {
    let made = driven.registrations.iter().filter(|made| made.device == device);
    let registered = made.filter_map(|made| {
        let range = made.result.as_ref().ok()?;
        let bar = made.bar.map_or(String::new(), |bar| format!("BAR{bar} "));
        Some(format!("{bar}{range} ({})", range.size()))
    });
    let registered: Vec<String> = registered.collect();
    let mut made = driven.registrations.iter().filter(|made| made.device == device && made.result.is_ok());
    let holds_data = made.next_back().is_some_and(|made| made.holds_data);
    let granted = driven.tally.granted.get(&device).cloned().unwrap_or_default();
    let Granted { count, bytes, refused, .. } = granted;
    let level = driven.levels.get(&device);
    let size = |size: fn(&Level) -> Bytes| level.map_or(Bytes::ZERO, size);
    PoolOutcome {
        provider: machine.devices[device].name.clone(),
        published: driven.plan.spec.publish && holds_data,
        registered,
        size: size(|level| level.size),
        granted: count,
        granted_bytes: bytes,
        refused,
        peak: size(|level| level.peak),
        least_hole: size(|level| level.least_hole),
        available: size(|level| level.available),
        largest_hole: size(|level| level.largest_hole),
        fragmentation_ppm: level.map_or(0, Level::fragmentation_ppm),
        interval: level.map_or(Picos::ZERO, |level| level.interval),
        samples: level.map(|level| level.samples.clone()).unwrap_or_default(),
    }
}

/// Registrations and requests that the operating system refused.
pub fn errors(machine: &Machine, driven: &[Driven]) -> Vec<ErrorOutcome> {
    let mut errors = Vec::new();
    for of in driven {
        let name = &of.plan.spec.name;
        for made in &of.registrations {
            let Err(text) = &made.result else { continue };
            errors.push(ErrorOutcome {
                kind: "REGISTRATION_REFUSED".to_owned(),
                place: format!("{name}.{}", machine.devices[made.device].name),
                text: text.clone(),
                count: 1,
                bytes: Bytes::ZERO,
                addr: None,
                flow: None,
                time: Some(Picos::ZERO),
            });
        }
        for (cause, refused) in &of.tally.refused {
            errors.push(ErrorOutcome {
                kind: "PEER_MEMORY_REFUSED".to_owned(),
                place: format!("{name}.{}", machine.devices[refused.client].name),
                text: format!("{}: {}", cause.name(), refused.text),
                count: refused.count,
                bytes: refused.bytes,
                addr: None,
                flow: None,
                time: Some(refused.first),
            });
        }
    }
    errors
}
