//! Private interconnects of GPUs: `<nvlink>` and `<xgmi>`.
//!
//! Each end lists the link, so a pair appears twice and is kept once. A link to a switch (class 0x0680) makes
//! its GPU a member of a switched interconnect.

use std::collections::BTreeMap;

use peerbus_units::FunctionId;

use super::choose::family;
use super::tree::Endpoint;
use super::xml::{Function, Private, PrivateLink};
use crate::file::{Interconnect, Leaf, Pair};
use crate::import::Note;

/// What joins two GPUs: (interconnect part, lower name, higher name) → counts as each end gives them.
type Pairs = BTreeMap<(String, FunctionId, FunctionId), [Option<u32>; 2]>;

struct Reader<'a> {
    /// Name of the device of every listed function, and its function 0.
    devices: BTreeMap<FunctionId, (FunctionId, &'a Function, &'a str)>,
    pairs: Pairs,
    /// Members of switched interconnects: (part, GPU) → links.
    members: BTreeMap<(String, FunctionId), u32>,
    notes: &'a mut Vec<Note>,
}

/// The interconnects of `devices`, whose names are `names` by function 0.
pub(super) fn interconnects(
    devices: &[&Endpoint],
    names: &BTreeMap<FunctionId, String>,
    notes: &mut Vec<Note>,
) -> Vec<Interconnect> {
    let mut listed = BTreeMap::new();
    for device in devices {
        let name = names.get(&device.id).map_or("", String::as_str);
        listed.extend(device.functions.iter().map(|function| (function.id, (device.id, *function, name))));
    }
    let mut reader = Reader { devices: listed, pairs: BTreeMap::new(), members: BTreeMap::new(), notes };
    let gpus: Vec<_> = reader.devices.values().copied().collect();
    for (device, function, name) in gpus {
        for link in function.gpu.iter().flat_map(|gpu| &gpu.links) {
            reader.link(device, function, name, link);
        }
    }
    reader.finish(names)
}

impl Reader<'_> {
    fn link(&mut self, device: FunctionId, function: &Function, name: &str, link: &PrivateLink) {
        let target = self.devices.get(&link.target).copied();
        let dropped = match target {
            _ if link.count == 0 => Some("has no lanes".to_owned()),
            Some((other, ..)) if other == device => Some("leads back to it".to_owned()),
            None if !link.is_switched() => {
                Some(format!("leads to {}, which is not in the file", link.target))
            }
            _ => None,
        };
        if let Some(why) = dropped {
            self.notes.push(Note::new(name, format!("a private link that {why} is left out")));
            return;
        }
        match target {
            Some((other, far, _)) if !link.is_switched() => {
                let part = part(if function.id <= far.id { function } else { far }, link);
                let (low, high) = (device.min(other), device.max(other));
                let counts = self.pairs.entry((part, low, high)).or_default();
                let end = &mut counts[usize::from(device != low)];
                *end = Some(end.unwrap_or_default().saturating_add(link.count));
            }
            _ => {
                let links =
                    self.members.entry((format!("{}-switch", part(function, link)), device)).or_default();
                *links = links.saturating_add(link.count);
            }
        }
    }

    fn finish(self, names: &BTreeMap<FunctionId, String>) -> Vec<Interconnect> {
        let name = |id: &FunctionId| names.get(id).cloned().unwrap_or_default();
        let mut found: BTreeMap<String, Interconnect> = BTreeMap::new();
        for ((part, low, high), counts) in self.pairs {
            let links = counts.iter().flatten().copied().max().unwrap_or(1);
            if counts != [Some(links); 2] {
                let text = "its two ends give different numbers of private links, or one gives none; the larger is kept";
                self.notes.push(Note::new(format!("{} and {}", name(&low), name(&high)), text));
            }
            let pair = Pair { from: leaf(name(&low)), to: leaf(name(&high)), links: leaf(links) };
            interconnect(&mut found, &part).pairs.push(pair);
        }
        for ((part, device), links) in self.members {
            let interconnect = interconnect(&mut found, &part);
            let before = interconnect.links.as_ref().and_then(|links| links.get()).copied();
            if before.is_some_and(|before| before != links) {
                let text = format!(
                    "has {links} links to the switches, others {}; the smaller number is kept",
                    before.unwrap_or_default()
                );
                self.notes.push(Note::new(name(&device), text));
            }
            interconnect.links = leaf(before.map_or(links, |before| before.min(links)));
            interconnect.members.extend(leaf(name(&device)));
        }
        let alone = |one: &Interconnect| one.members.len() == 1 && one.pairs.is_empty();
        for one in found.values().filter(|one| alone(one)) {
            let name = one.members.first().and_then(Leaf::get).cloned().unwrap_or_default();
            self.notes.push(Note::new(name, "the only one with links to the switches; they are left out"));
        }
        found.into_values().filter(|one| !alone(one)).collect()
    }
}

fn leaf<T>(value: T) -> Option<Leaf<T>> {
    Some(Leaf::new(value))
}

fn interconnect<'a>(found: &'a mut BTreeMap<String, Interconnect>, part: &str) -> &'a mut Interconnect {
    found
        .entry(part.to_owned())
        .or_insert_with(|| Interconnect { part: leaf(part.to_owned()), ..Interconnect::default() })
}

/// The interconnect part of one link, by the family of the GPU and the kind of the link.
fn part(function: &Function, link: &PrivateLink) -> String {
    let prefix = match link.kind {
        Private::NvLink => "nvlink",
        Private::Xgmi => "xgmi",
    };
    let family = family(function).map(|family| family.link).filter(|link| link.starts_with(prefix));
    family.map_or_else(|| format!("{prefix}-generic"), str::to_owned)
}
