//! What a change alters besides the pair it is made for.

use peerbus_machine::Machine;
use peerbus_machine::model::FunctionIndex;
use peerbus_os::MapType;
use peerbus_os::p2pdma::Resolver;
use peerbus_os::pci::{AcsWord, acs_control, acs_path};

use super::change::{Others, WordChange};
use super::situation::Pair;
use crate::boot::Booted;

/// Devices beyond which pairs are not counted: their number grows with the square.
const MOST: usize = 256;

/// ACS control words that differ, in the order of the machine's functions; addresses are those of `after`.
pub(super) fn words(machine: &Machine, before: &Booted, after: &Booted) -> Vec<WordChange> {
    let word = |booted: &Booted, index| {
        let function = booted.os_function(index)?;
        Some((booted.tree[function].id, acs_control(&booted.tree, &booted.registers, function)?.0))
    };
    let change = |index| {
        let ((_, before), (function, after)) = (word(before, index)?, word(after, index)?);
        (before != after).then_some(WordChange { function, before, after })
    };
    machine.functions.node_indices().filter_map(change).collect()
}

/// Devices that ports isolate from all others up to the root before, and no longer after: with an IOMMU, such a device is in
/// a group of its own.
pub(super) fn isolation_lost(machine: &Machine, before: &Booted, after: &Booted) -> Vec<String> {
    let isolated = |booted: &Booted, function| {
        let above = booted.tree.upstream(booted.os_function(function)?)?;
        Some(acs_path(&booted.tree, &booted.registers, above, None, AcsWord::ISOLATION))
    };
    let lost =
        |function| isolated(before, function) == Some(true) && isolated(after, function) == Some(false);
    machine
        .devices
        .iter()
        .filter(|device| lost(device.functions[0]))
        .map(|device| device.name.clone())
        .collect()
}

/// How the answers of all other pairs of devices differ; `None` when there are too many.
pub(super) fn others(machine: &Machine, before: &Booted, after: &Booted, pair: Pair) -> Option<Others> {
    let devices: Vec<FunctionIndex> = machine.devices.iter().map(|device| device.functions[0]).collect();
    if devices.len() > MOST {
        return None;
    }
    let (old, new) = (Answers::of(before), Answers::of(after));
    let mut others = Others::default();
    for (position, first) in devices.iter().enumerate() {
        for second in &devices[position + 1..] {
            let asked = [pair.provider, pair.client];
            if asked.contains(first) && asked.contains(second) {
                continue;
            }
            if let (Some(old), Some(new)) = (old.of_pair(*first, *second), new.of_pair(*first, *second)) {
                count(&mut others, old, new);
            }
        }
    }
    Some(others)
}

fn count(others: &mut Others, old: MapType, new: MapType) {
    match (old, new) {
        (MapType::BusAddr, MapType::ThruHostBridge) => others.cease_to_be_direct += 1,
        (MapType::BusAddr | MapType::ThruHostBridge, MapType::NotSupported) => others.become_refused += 1,
        (MapType::NotSupported, MapType::ThruHostBridge) => others.become_possible += 1,
        (MapType::ThruHostBridge | MapType::NotSupported, MapType::BusAddr) => others.become_direct += 1,
        _ => {}
    }
}

/// The answers of one boot.
struct Answers<'a> {
    booted: &'a Booted,
    resolver: Resolver,
}

impl<'a> Answers<'a> {
    fn of(booted: &'a Booted) -> Answers<'a> {
        let resolver = Resolver::new(&booted.tree, &booted.registers, &booted.cpu, &booted.rules);
        Answers { booted, resolver }
    }

    fn of_pair(&self, first: FunctionIndex, second: FunctionIndex) -> Option<MapType> {
        let (first, second) = (self.booted.os_function(first)?, self.booted.os_function(second)?);
        Some(self.resolver.resolve(first, second).map_type)
    }
}
