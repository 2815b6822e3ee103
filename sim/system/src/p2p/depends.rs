//! Which unknown facts a pair's answer depends on.
//!
//! A fact counts where the kernel's algorithm looks at it: ACS words of the functions it walks up to the common
//! one; where functions sit along that way; and, when the way leads through the root complex, the CPU and the
//! host bridges. An address depends on the provider's BARs and its host bridge's windows.

use std::collections::BTreeSet;

use peerbus_machine::model::{Fact, FunctionIndex, Machine};

use peerbus_os::MapType;

use crate::boot::Booted;

/// The facts for one pair. `bar` says whether an address is part of the answer.
pub(super) fn facts(
    machine: &Machine,
    booted: &Booted,
    (provider, client): (FunctionIndex, FunctionIndex),
    map_type: MapType,
) -> Vec<Fact> {
    let (up, down) = (chain(machine, provider), chain(machine, client));
    let common = up.iter().find(|index| down.contains(index)).copied();
    let until = |chain: &[FunctionIndex]| -> Vec<FunctionIndex> {
        let end = chain.iter().position(|index| Some(*index) == common).unwrap_or(chain.len());
        chain[..end].to_vec()
    };
    let mut walked: BTreeSet<FunctionIndex> = until(&up).into_iter().chain(until(&down)).collect();
    walked.extend(common);
    let mut facts = BTreeSet::new();
    for &index in &walked {
        let unknown = booted.facts(machine, index);
        if machine.functions[index].inserted || unknown.contains(&Fact::Function) {
            facts.insert(Fact::Function);
        }
        // Without a common function the kernel does not ask; when it clears the words they are known.
        if common.is_some() && !booted.settings.clears_redirection() && unknown.contains(&Fact::Acs) {
            facts.insert(Fact::Acs);
        }
    }
    if map_type != MapType::BusAddr {
        facts.extend(host_facts(machine, provider));
        facts.extend(host_facts(machine, client));
    }
    facts.extend(address_facts(machine, booted, provider));
    facts.into_iter().collect()
}

/// `function` and all above it.
fn chain(machine: &Machine, function: FunctionIndex) -> Vec<FunctionIndex> {
    std::iter::successors(Some(function), |index| machine.parent(*index)).collect()
}

/// What the question "may the root complex forward it" depends on: the CPU the kernel runs on, the host bridge,
/// and the function that identifies it.
fn host_facts(machine: &Machine, function: FunctionIndex) -> BTreeSet<Fact> {
    let bridge = &machine.host_bridges[machine.functions[function].host_bridge];
    let mut facts = BTreeSet::new();
    let boot_cpu = machine.cpus.first().map(|cpu| &cpu.assumed);
    if boot_cpu.is_some_and(|unknown| unknown.contains(&Fact::Cpu)) || machine.assumed.contains(&Fact::Cpu) {
        facts.insert(Fact::Cpu);
    }
    if bridge.assumed.contains(&Fact::HostBridge) || machine.assumed.contains(&Fact::HostBridge) {
        facts.insert(Fact::HostBridge);
    }
    let head = bridge.functions.first().map(|head| &machine.functions[*head]);
    if head.is_some_and(|head| head.inserted || head.assumed.contains(&Fact::Function)) {
        facts.insert(Fact::Function);
    }
    facts
}

/// What the address of the provider's BAR depends on.
fn address_facts(machine: &Machine, booted: &Booted, provider: FunctionIndex) -> BTreeSet<Fact> {
    let bridge = &machine.host_bridges[machine.functions[provider].host_bridge];
    let mut facts = BTreeSet::new();
    if booted.facts(machine, provider).contains(&Fact::Bars) {
        facts.insert(Fact::Bars);
    }
    let has_bars = !machine.functions[provider].bars.is_empty();
    if has_bars && (bridge.assumed.contains(&Fact::Windows) || machine.assumed.contains(&Fact::Windows)) {
        facts.insert(Fact::Windows);
    }
    facts
}
