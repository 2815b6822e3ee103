//! Names of devices, and the private interconnects that refer to them.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, Place};
use super::draft::DraftDevice;
use crate::codes;
use crate::file::{self, Leaf};
use crate::load::{list_words, nearest};
use crate::model::{Edge, Interconnect, Member};
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
    cpus: usize,
) -> Vec<Interconnect> {
    // Where a device has the name of a CPU, the name is the device's.
    let cpus = (0..cpus).map(|cpu| (format!("cpu{cpu}"), Member::Cpu(cpu)));
    let devices_by_name = devices
        .iter()
        .enumerate()
        .filter_map(|(index, device)| Some((device.name.clone()?, Member::Device(index))));
    let names: BTreeMap<String, Member> = cpus.chain(devices_by_name).collect();
    let unread = ctx.incomplete(&Place::default().field("cpus"));
    let uncertain = unread || devices.iter().any(|device| device.part.is_none() || device.name_lost);
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

type Edges = Vec<Edge>;

/// What a member is written as.
const A_MEMBER: &str = "the name of a device, or of a CPU such as \"cpu0\"";

struct Reader<'r, 'a> {
    ctx: &'r mut Context<'a>,
    names: &'r BTreeMap<String, Member>,
    place: &'r Place,
    /// True when some device has lost its name, or a CPU its place, so that one that is not found proves nothing.
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
        let mut members: Vec<Member> = Vec::new();
        for (index, leaf) in given.members.iter().enumerate() {
            let place = self.place.element("members", index);
            let Some((member, name)) = self.member(leaf, &place) else { continue };
            if members.contains(&member) {
                let message = format!("`{name}` is listed twice");
                self.ctx.error(
                    codes::MEMBER_TWICE,
                    &place,
                    message,
                    "list each member once; `links` counts its links",
                );
            } else {
                members.push(member);
            }
        }
        if let [Member::Cpu(from), Member::Cpu(to), ..] = members[..]
            && members.iter().all(|member| matches!(member, Member::Cpu(_)))
        {
            self.only_cpus((from, to), &self.place.field("members"));
        }
        members.sort_unstable();
        let pairs = members.iter().enumerate().flat_map(|(i, from)| {
            members[i + 1..].iter().map(move |to| Edge { from: *from, to: *to, links })
        });
        pairs.collect()
    }

    /// What joins CPUs and nothing else is no private interconnect: all of their traffic may cross it.
    fn only_cpus(&mut self, (from, to): (usize, usize), place: &Place) {
        let message = format!("cpu{from} and cpu{to} are CPUs, and no device is there");
        let help =
            format!("write a link between CPUs: `cpu_links: [(from: {from}, to: {to}, part: \"upi-16\")]`");
        self.ctx.error(codes::CPUS_ALONE, place, message, help);
    }

    fn pairs(&mut self, given: &[file::Pair]) -> Edges {
        let mut edges: Edges = Vec::new();
        for (index, pair) in given.iter().enumerate() {
            let place = self.place.element("pairs", index);
            let from = self.ctx.require_leaf(&pair.from, &place, "from", A_MEMBER);
            let to = self.ctx.require_leaf(&pair.to, &place, "to", A_MEMBER);
            let from = from.and_then(|leaf| self.member(leaf, &place.field("from")));
            let to = to.and_then(|leaf| self.member(leaf, &place.field("to")));
            let links = self.links(&pair.links, &place);
            let (Some((from, name)), Some((to, other))) = (from, to) else { continue };
            let known = |edge: &Edge| [(edge.from, edge.to), (edge.to, edge.from)].contains(&(from, to));
            if from == to {
                let message = format!("this links `{name}` to itself");
                self.ctx.error(codes::LINK_TO_ITSELF, &place, message, "write the name of another member");
            } else if let (Member::Cpu(from), Member::Cpu(to)) = (from, to) {
                self.only_cpus((from, to), &place);
            } else if edges.iter().any(known) {
                let message = format!("`{name}` and `{other}` are linked already");
                self.ctx.error(
                    codes::LINKED_TWICE,
                    &place,
                    message,
                    "keep one entry, and count its links with `links`",
                );
            } else {
                edges.push(Edge { from, to, links });
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

    /// The member that `leaf` names.
    fn member(&mut self, leaf: &Leaf<String>, place: &Place) -> Option<(Member, String)> {
        let name = self.ctx.read(leaf, place, A_MEMBER)?;
        if let Some(member) = self.names.get(name.as_str()) {
            return Some((*member, name));
        }
        if !self.uncertain && !self.ctx.source.may_have_defined(&name) {
            let names = |cpus: bool| -> Vec<&str> {
                let wanted = |member: &Member| matches!(member, Member::Cpu(_)) == cpus;
                self.names
                    .iter()
                    .filter(|(_, member)| wanted(member))
                    .map(|(name, _)| name.as_str())
                    .collect()
            };
            let listed = |names: &[&str]| list_words(names, 30).replace(" or ", ", ");
            let (devices, cpus) = (names(false), names(true));
            let list = format!("devices: {}; CPUs: {}", listed(&devices), listed(&cpus));
            let help = match nearest(&name, devices.into_iter().chain(cpus)) {
                Some(near) => format!("did you mean `{near}`? {list}"),
                None => list,
            };
            self.ctx.error(codes::UNKNOWN_DEVICE, place, format!("there is no device `{name}`"), help);
        }
        None
    }
}
