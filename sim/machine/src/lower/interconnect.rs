//! Names of devices, and the private interconnects that refer to them.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, Place};
use super::draft::DraftDevice;
use crate::codes;
use crate::file::{self, Leaf};
use crate::load::{list_words, nearest};
use crate::model::Interconnect;
use crate::part::InterconnectPart;

/// Names the devices that have none: `gpu0`, `gpu1`, `nic0`, … in order, around the names that are given. Reports
/// names given twice.
pub(super) fn name_devices(ctx: &mut Context, devices: &mut [DraftDevice]) {
    let mut given: BTreeMap<String, Place> = BTreeMap::new();
    for device in devices.iter() {
        let Some(name) = &device.name else { continue };
        if let Some(first) = given.get(name) {
            let message = format!("device name `{name}` is given already, in `{first}`");
            let help = "write another name, or drop it for a generated one";
            ctx.error(codes::DUPLICATE_NAME, &device.place.field("name"), message, help);
        } else {
            given.insert(name.clone(), device.place.clone());
        }
    }
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for device in devices.iter_mut().filter(|device| device.name.is_none()) {
        let stem = device.stem();
        let count = counts.entry(stem).or_default();
        while given.contains_key(&format!("{stem}{count}")) {
            *count += 1;
        }
        device.name = Some(format!("{stem}{count}"));
        *count += 1;
    }
}

/// The private interconnects of a file.
pub(super) fn interconnects(
    ctx: &mut Context,
    given: &[file::Interconnect],
    devices: &[DraftDevice],
) -> Vec<Interconnect> {
    let names: BTreeMap<&str, usize> = devices
        .iter()
        .enumerate()
        .filter_map(|(index, device)| Some((device.name.as_deref()?, index)))
        .collect();
    let uncertain = devices.iter().any(|device| device.part.is_none() || device.name_lost);
    let mut taken = BTreeSet::new();
    let mut found = Vec::new();
    for (index, interconnect) in given.iter().enumerate() {
        let place = Place::default().element("interconnects", index);
        let name = ctx.take(&interconnect.name, &place, "name", "a name such as \"nvlink\"");
        let name = name.unwrap_or_else(|| format!("interconnect{index}"));
        if !taken.insert(name.clone()) {
            let message = format!("interconnect name `{name}` is given already");
            ctx.error(codes::DUPLICATE_NAME, &place.field("name"), message, "write another name");
        }
        let part: Option<InterconnectPart> = ctx.part(&interconnect.part, &place);
        let edges =
            Reader { ctx, names: &names, place: &place, uncertain }.edges(interconnect, part.as_ref());
        found.extend(part.map(|part| Interconnect { name, part, edges }));
    }
    found
}

type Edges = Vec<(usize, usize, u32)>;

struct Reader<'r, 'a> {
    ctx: &'r mut Context<'a>,
    names: &'r BTreeMap<&'r str, usize>,
    place: &'r Place,
    /// True when some device has lost its name, so that one that is not found proves nothing.
    uncertain: bool,
}

impl Reader<'_, '_> {
    fn edges(&mut self, given: &file::Interconnect, part: Option<&InterconnectPart>) -> Edges {
        let switched = part.map_or(given.pairs.is_empty(), |part| part.switched);
        let wrong_form = if switched { !given.pairs.is_empty() } else { !given.members.is_empty() };
        let empty = if switched { given.members.len() < 2 } else { given.pairs.is_empty() };
        if part.is_some() && (wrong_form || empty) && !self.ctx.incomplete(self.place) {
            let id = part.map_or("", |part| &part.id);
            let (is, needs) =
                if switched { ("switched", "`members`, at least two") } else { ("direct", "`pairs`") };
            let place = match (wrong_form, switched) {
                (true, true) => self.place.field("pairs"),
                (true, false) => self.place.field("members"),
                _ => self.place.clone(),
            };
            let message = format!("interconnect part `{id}` is {is}: it connects {needs}");
            let form = if switched {
                "members: [\"gpu0\", \"gpu1\"]"
            } else {
                "pairs: [(from: \"gpu0\", to: \"gpu1\")]"
            };
            self.ctx.error(
                codes::INTERCONNECT_FORM,
                &place,
                message,
                format!("write `{form}`, or another part"),
            );
        }
        let members = self.members(given);
        let pairs = self.pairs(&given.pairs);
        if switched { members } else { pairs }
    }

    fn members(&mut self, given: &file::Interconnect) -> Edges {
        let links = self.links(&given.links, &self.place.clone());
        let mut members: Vec<usize> = Vec::new();
        for (index, leaf) in given.members.iter().enumerate() {
            let place = self.place.element("members", index);
            let Some((device, name)) = self.device(leaf, &place) else { continue };
            if members.contains(&device) {
                let message = format!("`{name}` is listed twice");
                self.ctx.error(
                    codes::MEMBER_TWICE,
                    &place,
                    message,
                    "list each member once; `links` counts its links",
                );
            } else {
                members.push(device);
            }
        }
        members.sort_unstable();
        let pairs =
            members.iter().enumerate().flat_map(|(i, a)| members[i + 1..].iter().map(|b| (*a, *b, links)));
        pairs.collect()
    }

    fn pairs(&mut self, given: &[file::Pair]) -> Edges {
        let mut edges: Edges = Vec::new();
        for (index, pair) in given.iter().enumerate() {
            let place = self.place.element("pairs", index);
            let from = self.ctx.require_leaf(&pair.from, &place, "from", "the name of a device");
            let to = self.ctx.require_leaf(&pair.to, &place, "to", "the name of a device");
            let from = from.and_then(|leaf| self.device(leaf, &place.field("from")));
            let to = to.and_then(|leaf| self.device(leaf, &place.field("to")));
            let links = self.links(&pair.links, &place);
            let (Some((from, name)), Some((to, other))) = (from, to) else { continue };
            let (low, high) = (from.min(to), from.max(to));
            if low == high {
                let message = format!("this links `{name}` to itself");
                self.ctx.error(codes::LINK_TO_ITSELF, &place, message, "write the name of another device");
            } else if edges.iter().any(|(a, b, _)| (*a, *b) == (low, high)) {
                let message = format!("`{name}` and `{other}` are linked already");
                self.ctx.error(
                    codes::LINKED_TWICE,
                    &place,
                    message,
                    "keep one entry, and count its links with `links`",
                );
            } else {
                edges.push((low, high, links));
            }
        }
        edges
    }

    fn links(&mut self, leaf: &Option<Leaf<u32>>, place: &Place) -> u32 {
        let links =
            self.ctx.take(leaf, place, "links", "a number of parallel links, at least 1").unwrap_or(1);
        if links == 0 {
            let message = "no links at all".to_owned();
            self.ctx.error(
                codes::ZERO_LINKS,
                &place.field("links"),
                message,
                "write at least 1, or drop the entry",
            );
        }
        links
    }

    /// The device that `leaf` names.
    fn device(&mut self, leaf: &Leaf<String>, place: &Place) -> Option<(usize, String)> {
        let name = self.ctx.read(leaf, place, "the name of a device")?;
        if let Some(device) = self.names.get(name.as_str()) {
            return Some((*device, name));
        }
        if !self.uncertain && !self.ctx.source.may_have_defined(&name) {
            let names: Vec<&str> = self.names.keys().copied().collect();
            let list = format!("devices: {}", list_words(&names, 30).replace(" or ", ", "));
            let help = match nearest(&name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? {list}"),
                None => list,
            };
            self.ctx.error(codes::UNKNOWN_DEVICE, place, format!("there is no device `{name}`"), help);
        }
        None
    }
}
