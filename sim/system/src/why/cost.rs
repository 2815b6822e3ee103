//! What a change alters besides the pair it is made for.

use std::collections::BTreeMap;

use peerbus_machine::Machine;
use peerbus_machine::model::FunctionIndex;
use peerbus_os::MapType;
use peerbus_os::dma::GroupNumber;
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

/// IOMMU groups of the kernel that has the change which hold devices that were in different groups before it, as those
/// devices' names. None where the kernel with the change uses no IOMMU, and none by words written at run time: groups are
/// formed at boot and stay.
pub(super) fn groups_merged(machine: &Machine, before: &Booted, after: &Booted) -> Vec<Vec<String>> {
    let group = |booted: &Booted, function| booted.dma.groups().of(booted.os_function(function)?);
    let groups = |function| (group(before, function), group(after, function));
    merged(machine.devices.iter().map(|device| (device.name.as_str(), groups(device.functions[0]))))
}

/// Of devices with their groups before and after: those that share one after and did not before, by group.
fn merged<'a>(
    devices: impl Iterator<Item = (&'a str, (Option<GroupNumber>, Option<GroupNumber>))>,
) -> Vec<Vec<String>> {
    let mut joined: BTreeMap<GroupNumber, Vec<(GroupNumber, &str)>> = BTreeMap::new();
    for (name, groups) in devices {
        if let (Some(before), Some(after)) = groups {
            joined.entry(after).or_default().push((before, name));
        }
    }
    let apart = |members: &Vec<(GroupNumber, &str)>| members.iter().any(|member| member.0 != members[0].0);
    let names = |members: Vec<(GroupNumber, &str)>| -> Vec<String> {
        members.into_iter().map(|(_, name)| name.to_owned()).collect()
    };
    joined.into_values().filter(apart).map(names).collect()
}

/// Devices that ports isolate from all others up to the root before, and no longer after.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_become_one_are_named() {
        let check = |devices: &[(&str, Option<u32>, Option<u32>)], expect: &[&[&str]]| {
            let number = |group: Option<u32>| group.map(GroupNumber);
            let devices = devices.iter().map(|(name, old, new)| (*name, (number(*old), number(*new))));
            assert_eq!(merged(devices), expect);
        };
        check(&[("a", Some(1), Some(1)), ("b", Some(2), Some(2))], &[]);
        check(&[("a", Some(1), Some(5)), ("b", Some(1), Some(5))], &[]);
        check(&[("a", Some(1), Some(1)), ("b", Some(2), Some(1)), ("c", Some(3), Some(3))], &[&["a", "b"]]);
        check(&[("a", Some(1), None), ("b", Some(2), None)], &[]);
        check(&[("a", None, Some(1)), ("b", None, Some(1))], &[]);
        let two = [
            ("a", Some(1), Some(9)),
            ("b", Some(2), Some(0)),
            ("c", Some(3), Some(9)),
            ("d", Some(4), Some(0)),
        ];
        check(&two, &[&["b", "d"], &["a", "c"]]);
    }
}
