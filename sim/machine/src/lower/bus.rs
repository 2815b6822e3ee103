//! The buses of a draft: which functions share one, and what the file's ids say about its number.
//!
//! Every host bridge has a root bus; every root port and switch port (both sides) has one bus below it, used or
//! not. Functions share a bus when they hang below the same one. This module checks ids against that structure;
//! `numbering` chooses the numbers that are not given.

use std::collections::BTreeMap;

use peerbus_units::FunctionId;

use super::context::{Context, Place};
use super::draft::Draft;
use crate::codes;
use crate::model::{Attachment, FunctionIndex, Role};

/// A bus.
#[derive(Clone, Debug)]
pub(super) struct Bus {
    /// The bridge above; `None` for a root bus.
    pub bridge: Option<FunctionIndex>,
    /// Index of the bus the bridge is on.
    pub parent: Option<usize>,
    pub functions: Vec<FunctionIndex>,
    /// Buses below bridges on this one.
    pub children: Vec<usize>,
    /// True when the bus is a link, which has only device 0.
    pub is_link: bool,
    /// The number the file gives.
    pub fixed: Option<u8>,
}

/// The buses below one host bridge, a root bus first, parents before children.
pub(super) fn buses(draft: &Draft, bridge: usize) -> Vec<Bus> {
    let root = Bus {
        bridge: None,
        parent: None,
        functions: draft.bridges[bridge].functions.clone(),
        children: Vec::new(),
        is_link: false,
        fixed: None,
    };
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        for function in found[next].functions.clone() {
            if !is_bridge(draft.functions[function].role) {
                continue;
            }
            let mut functions: Vec<_> = draft.functions.neighbors(function).collect();
            functions.sort_unstable();
            let is_link = !matches!(draft.functions[function].role, Role::SwitchUpstream(_));
            let bus = Bus {
                bridge: Some(function),
                parent: Some(next),
                functions,
                children: Vec::new(),
                is_link,
                fixed: None,
            };
            let index = found.len();
            found[next].children.push(index);
            found.push(bus);
        }
        next += 1;
    }
    found
}

/// True for functions with a bus below them.
pub(super) fn is_bridge(role: Role) -> bool {
    matches!(role, Role::RootPort | Role::SwitchUpstream(_) | Role::SwitchDownstream(_))
}

/// The place of the id of `function`.
pub(super) fn id_place(draft: &Draft, function: FunctionIndex) -> Place {
    draft.places[function.index()].field("id")
}

/// Fills in the fixed numbers from the ids on each bus, and reports ids that contradict each other or their
/// place in the tree.
pub(super) fn fix(ctx: &mut Context, draft: &Draft, buses: &mut [Bus], domain: u32) {
    for bus in buses.iter_mut() {
        let stated = bus.bridge.and_then(|bridge| draft.functions[bridge].firmware.as_ref());
        bus.fixed = bus.fixed.or(stated.map(|firmware| firmware.secondary));
        for function in &bus.functions {
            let Some(id) = draft.functions[*function].id else { continue };
            let place = id_place(draft, *function);
            check_domain(ctx, id, domain, &place);
            match bus.fixed {
                Some(number) if number != id.bus => disagree(ctx, id, number, bus, &place),
                _ => bus.fixed = Some(id.bus),
            }
        }
        check_device_zero(ctx, draft, bus);
    }
}

fn check_domain(ctx: &mut Context, id: FunctionId, domain: u32, place: &Place) {
    if id.domain != domain {
        let message = format!("{id} is in domain {:04x}, its host bridge in {domain:04x}", id.domain);
        let right = FunctionId { domain, ..id };
        let help = format!("write \"{right}\", or `domain: {:#x}` in the host bridge", id.domain);
        ctx.error(codes::WRONG_DOMAIN, place, message, help);
    }
}

fn disagree(ctx: &mut Context, id: FunctionId, number: u8, bus: &Bus, place: &Place) {
    let what = match (bus.bridge, bus.is_link) {
        (None, _) => "the root bus",
        (_, true) => "the bus below this port",
        (_, false) => "the bus inside this switch",
    };
    let right = FunctionId { bus: number, ..id };
    let message = format!("{id} is on bus {:02x}, but {what} is {number:02x}", id.bus);
    ctx.error(codes::BUS_DISAGREES, place, message, format!("write \"{right}\", or leave the id out"));
}

/// Only the first function at the end of a link is held to device 0: with alternative routing ids, further
/// functions (such as virtual ones) have all eight bits for their number.
fn check_device_zero(ctx: &mut Context, draft: &Draft, bus: &Bus) {
    let Some(first) = bus.functions.first().filter(|_| bus.is_link) else { return };
    let Some(id) = draft.functions[*first].id.filter(|id| id.device() != 0) else { return };
    let right = FunctionId::new(id.domain, id.bus, 0, id.function());
    let message =
        format!("{id} is device {:#x}, but at the end of a link there is only device 0", id.device());
    ctx.error(codes::DEVICE_NOT_ZERO, &id_place(draft, *first), message, format!("write \"{right}\""));
}

/// Reports ids that two functions have, and functions that no system looks for because function 0 of their
/// device is missing.
pub(super) fn check_ids(ctx: &mut Context, draft: &Draft) {
    let mut seen: BTreeMap<FunctionId, FunctionIndex> = BTreeMap::new();
    for function in draft.functions.node_indices() {
        let Some(id) = draft.functions[function].id else { continue };
        if let Some(first) = seen.get(&id) {
            // Functions on different buses that share an id have buses that share a number: reported as such.
            if parent(draft, *first) != parent(draft, function) || !same_bridge(draft, *first, function) {
                continue;
            }
            let message = format!("{id} is the id of `{}` already", draft.places[first.index()]);
            let help = "write the number of another function, or leave the id out";
            ctx.error(codes::DUPLICATE_ID, &id_place(draft, function), message, help);
        } else {
            seen.insert(id, function);
        }
    }
    let mut last = None;
    for (id, function) in &seen {
        let zero = FunctionId { devfn: id.devfn & !7, ..*id };
        // Virtual functions, above 7 on a link, are found through the capability of their physical function.
        let is_virtual = matches!(attachment(draft, *function), Some(Attachment::Link(_))) && id.devfn > 7;
        // On root buses it is added, see `numbering`.
        let on_root = parent(draft, *function).is_none();
        if seen.contains_key(&zero) || last == Some(zero) || is_virtual || on_root {
            continue;
        }
        last = Some(zero);
        let message =
            format!("{id} has no function 0 beside it: {zero} is missing, so no system looks for it");
        let help = format!("add {zero}, or renumber");
        ctx.warning(codes::NO_FUNCTION_ZERO, &id_place(draft, *function), message, help);
    }
}

/// The bridge above `function`.
pub(super) fn parent(draft: &Draft, function: FunctionIndex) -> Option<FunctionIndex> {
    draft.functions.neighbors_directed(function, petgraph::Direction::Incoming).next()
}

fn same_bridge(draft: &Draft, a: FunctionIndex, b: FunctionIndex) -> bool {
    draft.functions[a].host_bridge == draft.functions[b].host_bridge
}

fn attachment(draft: &Draft, function: FunctionIndex) -> Option<Attachment> {
    let above = parent(draft, function)?;
    draft.functions.find_edge(above, function).map(|edge| draft.functions[edge])
}

/// Reports numbers given to two buses, and numbers that are not nested as the bridges are. `root` is the number of
/// the root bus. True when all is well.
pub(super) fn check_nesting(ctx: &mut Context, draft: &Draft, buses: &[Bus], root: u8, last: u8) -> bool {
    let before = ctx.diagnostics.len();
    let mut seen: BTreeMap<u8, usize> = BTreeMap::from([(root, 0)]);
    for (index, bus) in buses.iter().enumerate().skip(1) {
        let Some(number) = bus.fixed else { continue };
        let place = bus.functions.first().map_or_else(Place::default, |first| id_place(draft, *first));
        if number < root || number > last {
            let message = format!(
                "bus {number:02x} is not among the buses of its host bridge, {root:02x} to {last:02x}"
            );
            let help = "write another bus number, or change `bus` and `bus_last` of the host bridge";
            ctx.error(codes::BUS_OUTSIDE_BRIDGE, &place, message, help);
        } else if seen.insert(number, index).is_some() {
            let message = format!("bus {number:02x} is used for another bus already");
            ctx.error(
                codes::BUS_TAKEN,
                &place,
                message,
                "every link and every switch needs a bus number of its own",
            );
        } else if let Some(above) = nearest_fixed(buses, bus, root).filter(|above| number <= *above) {
            let message =
                format!("bus {number:02x} lies below bus {above:02x}, but its number is not higher");
            ctx.error(
                codes::BUS_NOT_NESTED,
                &place,
                message,
                format!("write a bus number above {above:02x}"),
            );
        }
    }
    let clean = ctx.diagnostics.len() == before;
    if clean {
        check_siblings(ctx, draft, buses);
    }
    ctx.diagnostics.len() == before
}

fn nearest_fixed(buses: &[Bus], bus: &Bus, root: u8) -> Option<u8> {
    let mut above = bus.parent;
    while let Some(index) = above {
        if index == 0 {
            return Some(root);
        }
        if let Some(number) = buses[index].fixed {
            return Some(number);
        }
        above = buses[index].parent;
    }
    None
}

/// Lowest and highest number given at or below each bus.
pub(super) fn hulls(buses: &[Bus]) -> Vec<Option<(u8, u8)>> {
    let mut hulls: Vec<Option<(u8, u8)>> = buses.iter().map(|bus| bus.fixed.map(|n| (n, n))).collect();
    // Children come after parents, so going backwards every hull is complete when it is passed on.
    for index in (1..buses.len()).rev() {
        if let (Some((low, high)), Some(parent)) = (hulls[index], buses[index].parent) {
            hulls[parent] = Some(hulls[parent].map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
        }
    }
    hulls
}

fn check_siblings(ctx: &mut Context, draft: &Draft, buses: &[Bus]) {
    let hulls = hulls(buses);
    for bus in buses {
        let mut below: Vec<(u8, u8, usize)> = bus
            .children
            .iter()
            .filter_map(|child| hulls[*child].map(|(low, high)| (low, high, *child)))
            .collect();
        below.sort_unstable();
        for pair in below.windows(2) {
            let ((low, high, _), (next, top, other)) = (pair[0], pair[1]);
            if next > high {
                continue;
            }
            let place = first_id_below(draft, buses, other);
            let message = format!(
                "buses {next:02x} to {top:02x} below this port lie among {low:02x} to {high:02x} of another port"
            );
            let help = "number the buses below each port without a gap that another port's buses fill";
            ctx.error(codes::BUS_NOT_NESTED, &place, message, help);
        }
    }
}

/// The first place at or below a bus that gives a number.
fn first_id_below(draft: &Draft, buses: &[Bus], index: usize) -> Place {
    let mut waiting = vec![index];
    while let Some(index) = waiting.pop() {
        let bus = &buses[index];
        let given = bus.functions.iter().find(|function| draft.functions[**function].id.is_some());
        if let Some(function) = given {
            return id_place(draft, *function);
        }
        waiting.extend(bus.children.iter().rev());
    }
    Place::default()
}
