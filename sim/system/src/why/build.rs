//! [`why`]: asks all parts and puts the answer together.

use peerbus_machine::Machine;
use peerbus_machine::model::{FunctionIndex, Role};

use super::search::{self, Question};
use super::situation::{Pair, Situation};
use super::{End, Side, Transfer, Why, hopeless, host, log, route};
use crate::boot::Booted;
use crate::kernel::KernelSettings;
use crate::p2p::{self, MapType, pair_of};

/// Why `client` reaches memory of `provider` as it does, and what would change that. `None` when the operating system does
/// not find both.
pub fn why(
    machine: &Machine,
    settings: &KernelSettings,
    provider: FunctionIndex,
    client: FunctionIndex,
) -> Option<Why> {
    let base = Situation::new(machine, settings);
    let pair = Pair { provider, client };
    let now = base.outcome(pair)?;
    let resolution = now.booted.resolve(provider, client)?;
    let question = Question { base, pair, now, resolution };
    let changes = search::changes(&question);
    let hopeless = hopeless::explain(&question, &changes);
    let Question { now, resolution, .. } = question;
    let booted = &now.booted;
    let (from, to) = (booted.os_function(provider)?, booted.os_function(client)?);
    let answer = pair_of(machine, booted, provider, client)?;
    let walk = route::walk(booted, from, to);
    let hops = route::hops(machine, booted, &walk);
    Some(Why {
        schema: "peerbus.why/1",
        version: env!("CARGO_PKG_VERSION"),
        machine: machine.name.clone(),
        profile: settings.profile,
        provider: end(machine, booted, provider)?,
        client: end(machine, booted, client)?,
        map_type: answer.map_type,
        distance: answer.distance,
        transfers: transfers(machine, booted, &answer, pair),
        common: hops.iter().find(|hop| hop.side == Side::Common).map(|hop| hop.function),
        payload_conflicts: route::payload_conflicts(&hops),
        route: hops,
        host: host::rules(machine, booted, from, to, answer.map_type != MapType::BusAddr),
        log: log::lines(booted, &resolution, from, to),
        reasons: answer.reasons,
        assumed: answer.assumed,
        changes,
        hopeless,
    })
}

fn end(machine: &Machine, booted: &Booted, index: FunctionIndex) -> Option<End> {
    let function = &machine.functions[index];
    let part = match function.role {
        Role::Endpoint(device) => Some(machine.devices[device].part.id.clone()),
        _ => None,
    };
    Some(End {
        function: booted.tree[booted.os_function(index)?].id,
        name: function.name.clone(),
        pci: format!("{:04x}:{:04x}", function.pci.vendor, function.pci.device),
        part,
    })
}

/// The client's view first, then the provider's of the client's memory.
fn transfers(machine: &Machine, booted: &Booted, answer: &p2p::Pair, pair: Pair) -> Vec<Transfer> {
    let back = (pair.provider != pair.client)
        .then(|| pair_of(machine, booted, pair.client, pair.provider))
        .flatten();
    let transfer = |answer: &p2p::Pair| Transfer {
        provider: answer.provider,
        client: answer.client,
        bar: answer.bar,
        cpu_addr: answer.cpu_addr,
        dma_addr: answer.dma_addr,
        dma_kind: answer.dma_kind,
    };
    std::iter::once(transfer(answer)).chain(back.as_ref().map(transfer)).collect()
}
