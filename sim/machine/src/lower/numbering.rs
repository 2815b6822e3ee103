//! Numbers that the file leaves open: root buses, and, where ids are given, all others around them.
//!
//! Rules, in this order:
//!
//! 1. A host bridge's domain and root bus are those it gives, else those of the first id on its root bus.
//! 2. Root buses that are still open are spread evenly over the 256 buses of their domain when the domain gives
//!    none, with room for the buses below each; otherwise they take the lowest gaps that are large enough.
//! 3. The last bus of a host bridge is the one given, else the one before the next root bus, else 255.
//! 4. Functions on root buses get device numbers in order: a head is device 0, ports follow.
//! 5. Where the file gives any id, or a BAR's address, below a host bridge, firmware has run: every bus below it
//!    is numbered, those that are not given in the gaps between those that are, and every bridge gets its
//!    secondary and subordinate bus. Elsewhere bus numbers are left to the operating system.
//!    Where bridges state their bus numbers, those count and nothing is filled in.
//! 6. Operating systems look for function 0 of a device before its others. Where a root bus lacks it beside a function
//!    that is given, as where a source lists root ports only, an inserted function of class host bridge stands there,
//!    as on real root buses.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_units::FunctionId;

use super::bus::{self, Bus, check_nesting, fix, hulls};
use super::context::Context;
use super::draft::Draft;
use super::tree::{CLASS_HOST_BRIDGE, NO_ID, plain_function};
use crate::codes;
use crate::model::{BridgeFirmware, Fact, Facts, Function, FunctionIndex, Role};

/// Buses of a domain.
const BUSES: usize = 256;

/// A host bridge with its buses, while numbers are being chosen.
struct Host {
    index: usize,
    buses: Vec<Bus>,
    domain: u32,
    root: Option<u8>,
    /// True when every bus is to be numbered.
    firmware: bool,
}

impl Host {
    /// Bus numbers from the root bus up to the last one that must fit.
    fn need(&self, draft: &Draft) -> usize {
        let highest = hulls(&self.buses)[0].map_or(0, |(_, high)| usize::from(high));
        let from_ids = self.root.map_or(0, |root| (highest + 1).saturating_sub(usize::from(root)));
        let bridge = &draft.bridges[self.index];
        let stated = match (self.root, bridge.bus_last) {
            (Some(root), Some(last)) => (usize::from(last) + 1).saturating_sub(usize::from(root)),
            _ => 0,
        };
        if stated > 0 { stated } else { self.buses.len().max(from_ids) }
    }
}

/// Numbers everything; see the rules above.
pub(super) fn number(ctx: &mut Context, draft: &mut Draft) {
    bus::check_ids(ctx, draft);
    let mut domains: BTreeMap<u32, Vec<Host>> = BTreeMap::new();
    for index in 0..draft.bridges.len() {
        let host = host(ctx, draft, index);
        domains.entry(host.domain).or_default().push(host);
    }
    for hosts in domains.values_mut() {
        if !spread(ctx, draft, hosts) {
            continue;
        }
        hosts.sort_by_key(|host| host.root);
        for position in 0..hosts.len() {
            let next = hosts.get(position + 1).and_then(|host| host.root);
            finish(ctx, draft, &hosts[position], next);
        }
    }
}

fn host(ctx: &mut Context, draft: &mut Draft, index: usize) -> Host {
    let mut buses = bus::buses(draft, index);
    let all = || buses.iter().flat_map(|bus| &bus.functions);
    let first_id = all().find_map(|function| draft.functions[*function].id);
    let addressed =
        all().any(|function| draft.functions[*function].bars.iter().any(|bar| bar.address.is_some()));
    let firmware = first_id.is_some() || addressed;
    let domain = draft.bridges[index].domain.or(first_id.map(|id| id.domain)).unwrap_or(0);
    draft.bridges[index].domain = Some(domain);
    buses[0].fixed = draft.bridges[index].bus;
    fix(ctx, draft, &mut buses, domain);
    let root = buses[0].fixed;
    if let (Some(first), Some(last)) = (root, draft.bridges[index].bus_last)
        && last < first
    {
        let message = format!("the last bus, {last:02x}, lies below the first, {first:02x}");
        let place = draft.bridges[index].place.field("bus_last");
        ctx.error(codes::BUS_RANGE_EMPTY, &place, message, format!("write at least {first:#04x}"));
        draft.bridges[index].bus_last = None;
    }
    Host { index, buses, domain, root, firmware }
}

/// Chooses the root buses of one domain that are open. False when there is no room.
fn spread(ctx: &mut Context, draft: &mut Draft, hosts: &mut [Host]) -> bool {
    let needs: Vec<usize> = hosts.iter().map(|host| host.need(draft)).collect();
    let mut used: Vec<(usize, usize)> = hosts
        .iter()
        .zip(&needs)
        .filter_map(|(host, need)| host.root.map(|root| (usize::from(root), usize::from(root) + need)))
        .collect();
    let even = used.is_empty().then(|| even_roots(&needs)).flatten();
    for position in 0..hosts.len() {
        if hosts[position].root.is_some() {
            continue;
        }
        let chosen = match &even {
            Some(roots) => Some(roots[position]),
            None => lowest_gap(&mut used, needs[position]),
        };
        hosts[position].root = chosen.and_then(|root| u8::try_from(root).ok());
        if hosts[position].root.is_none() {
            let message = format!(
                "no {} bus numbers are left in domain {:04x}",
                needs[position], hosts[position].domain
            );
            let help =
                "put host bridges into another `domain`, or give each a `bus` with room for those below it";
            ctx.error(codes::NO_BUS_LEFT, &draft.bridges[hosts[position].index].place, message, help);
            return false;
        }
    }
    for host in hosts.iter() {
        draft.bridges[host.index].bus = host.root;
    }
    true
}

/// Evenly spaced root buses, or ones with equal slack when the needs differ too much. `None` when they do not
/// fit.
fn even_roots(needs: &[usize]) -> Option<Vec<usize>> {
    let total: usize = needs.iter().sum();
    let slack = BUSES.checked_sub(total)? / needs.len().max(1);
    let step = BUSES / needs.len().max(1);
    if needs.iter().all(|need| *need <= step) {
        return Some((0..needs.len()).map(|index| index * step).collect());
    }
    let roots = needs.iter().scan(0, |next, need| {
        let root = *next;
        *next += need + slack;
        Some(root)
    });
    Some(roots.collect())
}

/// The lowest free run of `need` buses, which is marked as used.
fn lowest_gap(used: &mut Vec<(usize, usize)>, need: usize) -> Option<usize> {
    used.sort_unstable();
    let mut from = 0;
    for (first, end) in used.iter() {
        if from + need <= *first {
            break;
        }
        from = from.max(*end);
    }
    let fits = from + need <= BUSES;
    fits.then(|| used.push((from, from + need)));
    fits.then_some(from)
}

/// Everything about one host bridge once its root bus is known.
fn finish(ctx: &mut Context, draft: &mut Draft, host: &Host, next: Option<u8>) {
    let Some(root) = host.root else { return };
    let place = draft.bridges[host.index].place.clone();
    let before_next = next.map(|next| next.saturating_sub(1).max(root));
    let stated = draft.bridges[host.index].bus_last;
    let last = stated.or(before_next).unwrap_or(u8::MAX);
    if next.is_some_and(|next| next <= last) {
        let next = next.unwrap_or(0);
        let message =
            format!("buses {root:02x} to {last:02x} reach into those of the host bridge with bus {next:02x}");
        let help = if next > root {
            format!("write `bus_last: {:#04x}` at most", next - 1)
        } else {
            "give every host bridge of a domain another `bus`".to_owned()
        };
        ctx.error(codes::HOST_BRIDGES_SHARE_BUSES, &place, message, help);
        return;
    }
    draft.bridges[host.index].bus_last = Some(last);
    if !check_nesting(ctx, draft, &host.buses, root, last) {
        return;
    }
    let is_stated = |bus: &Bus| bus.bridge.is_some_and(|bridge| draft.functions[bridge].firmware.is_some());
    if host.buses.iter().any(is_stated) {
        number_stated(ctx, draft, host, root);
        return;
    }
    let room = usize::from(last) - usize::from(root) + 1;
    let numbers = if host.firmware {
        place_buses(&host.buses, root, last)
    } else {
        (host.buses.len() <= room).then(Vec::new)
    };
    let Some(numbers) = numbers else {
        let needed = host.buses.len();
        let message = format!(
            "{needed} buses do not fit into {root:02x} to {last:02x} around the numbers that are given"
        );
        let help =
            "give the host bridge a larger range with `bus` and `bus_last`, or leave larger gaps between ids";
        ctx.error(codes::NO_BUS_LEFT, &place, message, help);
        return;
    };
    for (index, bus) in host.buses.iter().enumerate() {
        let number = if index == 0 { Some(root) } else { numbers.get(index).map(|range| range.0) };
        if let Some(number) = number {
            number_functions(ctx, draft, bus, host.domain, number);
        }
        if let (Some(bridge), Some((secondary, subordinate))) = (bus.bridge, numbers.get(index).copied()) {
            let firmware = BridgeFirmware { secondary, subordinate, windows: Vec::new() };
            draft.functions[bridge].firmware = Some(firmware);
        }
    }
    insert_missing_zeros(draft, host);
    let functions = &mut draft.bridges[host.index].functions;
    functions.sort_by_key(|function| draft.functions[*function].id);
}

/// The functions of a host bridge some of whose bridges state their bus numbers: the others are left as they are, not
/// configured, as a source shows them.
fn number_stated(ctx: &mut Context, draft: &mut Draft, host: &Host, root: u8) {
    for (index, bus) in host.buses.iter().enumerate() {
        let number = if index == 0 { Some(root) } else { bus.fixed };
        if let Some(number) = number {
            number_functions(ctx, draft, bus, host.domain, number);
        }
    }
    insert_missing_zeros(draft, host);
    let functions = &mut draft.bridges[host.index].functions;
    functions.sort_by_key(|function| draft.functions[*function].id);
}

/// Adds function 0 of devices on the root bus that lack it.
fn insert_missing_zeros(draft: &mut Draft, host: &Host) {
    let ids: BTreeMap<FunctionId, FunctionIndex> = draft.bridges[host.index]
        .functions
        .iter()
        .filter_map(|function| Some((draft.functions[*function].id?, *function)))
        .collect();
    let zero = |id: &FunctionId| FunctionId { devfn: id.devfn & !7, ..*id };
    let missing: BTreeMap<FunctionId, FunctionIndex> = ids
        .iter()
        .map(|(id, beside)| (zero(id), *beside))
        .filter(|(zero, _)| !ids.contains_key(zero))
        .collect();
    let cpu = draft.bridges[host.index].cpu.and_then(|cpu| draft.cpus[cpu].part.as_ref());
    let pci = cpu.map_or(NO_ID, |part| part.root_bus_head.map_or(part.root_port, |head| head.id));
    for (id, beside) in missing {
        let function = Function {
            id: Some(id),
            class: CLASS_HOST_BRIDGE,
            inserted: true,
            assumed: Facts::from([Fact::Function]),
            ..plain_function(host.index, Role::RootBusHead, pci)
        };
        let index = draft.functions.add_node(function);
        draft.places.push(draft.places[beside.index()].clone());
        draft.bridges[host.index].functions.push(index);
    }
}

/// Gives the functions of one bus the device and function numbers they lack.
fn number_functions(ctx: &mut Context, draft: &mut Draft, bus: &Bus, domain: u32, number: u8) {
    let mut taken: BTreeSet<u8> = bus
        .functions
        .iter()
        .filter_map(|function| draft.functions[*function].id.map(|id| id.devfn))
        .collect();
    for function in &bus.functions {
        if draft.functions[*function].id.is_some() {
            continue;
        }
        let Some(devfn) = free_number(draft, bus, *function, &taken) else {
            // Once is enough: what comes after one function without a number has none either.
            if !ctx.diagnostics.iter().any(|found| found.code == codes::NO_NUMBER_LEFT) {
                let message = "no function number is left on this bus or in this device".to_owned();
                let help = "a bus has 32 devices and a device 8 functions: put some elsewhere";
                ctx.error(codes::NO_NUMBER_LEFT, &draft.places[function.index()], message, help);
            }
            continue;
        };
        taken.insert(devfn);
        draft.functions[*function].id = Some(FunctionId { domain, bus: number, devfn });
    }
}

/// The next number on a bus: beside its device's other functions if it has some, else function 0 of the next free
/// device; at the end of a link there is only device 0. When devices run out, further functions of used ones.
fn free_number(draft: &Draft, bus: &Bus, function: FunctionIndex, taken: &BTreeSet<u8>) -> Option<u8> {
    let is_free = |devfn: &u8| !taken.contains(devfn);
    let functions_of = |device: u8| (device << 3)..=(device << 3 | 7);
    if let Role::Endpoint(device) = draft.functions[function].role {
        let first = draft.devices[device].functions[0];
        let first_id = draft.functions[first].id.filter(|_| first != function);
        if let Some(id) = first_id {
            return functions_of(id.device()).find(is_free);
        }
    }
    if bus.is_link {
        return functions_of(0).find(is_free);
    }
    let unused = (0..32u8).find(|device| functions_of(*device).all(|devfn| is_free(&devfn)));
    unused.map(|device| device << 3).or_else(|| (0..=255).find(is_free))
}

/// Secondary and subordinate numbers of all buses, from `root` to at most `last`, around those that are fixed.
/// `None` when they do not fit.
fn place_buses(buses: &[Bus], root: u8, last: u8) -> Option<Vec<(u8, u8)>> {
    let mut plan = Plan {
        buses,
        first: vec![None; buses.len()],
        sizes: vec![1; buses.len()],
        numbers: vec![(0, 0); buses.len()],
    };
    plan.measure()?;
    plan.place(0, usize::from(root), usize::from(last))?;
    Some(plan.numbers)
}

struct Plan<'a> {
    buses: &'a [Bus],
    /// The highest number a bus can have so that the fixed ones below it keep theirs; `None` for a bus with
    /// nothing fixed at or below it.
    first: Vec<Option<usize>>,
    /// Buses at and below each.
    sizes: Vec<usize>,
    numbers: Vec<(u8, u8)>,
}

impl Plan<'_> {
    fn measure(&mut self) -> Option<()> {
        // Children come after parents.
        for index in (0..self.buses.len()).rev() {
            let children = &self.buses[index].children;
            self.sizes[index] = 1 + children.iter().map(|child| self.sizes[*child]).sum::<usize>();
            let below = children.iter().filter_map(|child| self.first[*child]).min();
            self.first[index] = match (self.buses[index].fixed, below) {
                (Some(fixed), _) => Some(usize::from(fixed)),
                (None, Some(below)) => Some(below.checked_sub(1)?),
                (None, None) => None,
            };
        }
        Some(())
    }

    /// Numbers the bus `index` as `number` and all below it with numbers up to `limit`; the highest used.
    fn place(&mut self, index: usize, number: usize, limit: usize) -> Option<usize> {
        if number > limit {
            return None;
        }
        let buses = self.buses;
        let (mut fixed, open): (Vec<usize>, Vec<usize>) =
            buses[index].children.iter().partition(|child| self.first[**child].is_some());
        fixed.sort_by_key(|child| self.first[*child]);
        let mut open = open.into_iter().peekable();
        let mut used = number;
        for position in 0..=fixed.len() {
            // Open children go into the gap before the next fixed one, as many as fit.
            let next = fixed.get(position).copied();
            let gap_end = next.and_then(|next| self.first[next]).unwrap_or(limit + 1);
            while let Some(child) = open.next_if(|child| used + self.sizes[*child] < gap_end) {
                used = self.place(child, used + 1, gap_end - 1)?;
            }
            let Some(next) = next else { break };
            if gap_end <= used {
                return None;
            }
            let after = fixed.get(position + 1).and_then(|after| self.first[*after]);
            used = self.place(next, gap_end, after.map_or(limit, |after| after - 1))?;
        }
        if open.peek().is_some() {
            return None;
        }
        self.numbers[index] = (u8::try_from(number).ok()?, u8::try_from(used).ok()?);
        Some(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Buses as `(parent, fixed number)`; the first is the root.
    fn tree(shape: &[(usize, Option<u8>)]) -> Vec<Bus> {
        let mut buses: Vec<Bus> = Vec::new();
        for (index, (parent, fixed)) in shape.iter().enumerate() {
            let parent = (index > 0).then_some(*parent);
            if let Some(parent) = parent {
                buses[parent].children.push(index);
            }
            let bus = Bus {
                bridge: None,
                parent,
                functions: vec![],
                children: vec![],
                is_link: true,
                fixed: *fixed,
            };
            buses.push(bus);
        }
        buses
    }

    #[test]
    fn open_buses_fill_the_gaps_between_fixed_ones() {
        // Two ports: below the first a switch with two links of which one is 5; the second is open.
        let buses = tree(&[(0, Some(0)), (0, None), (1, None), (2, Some(5)), (2, None), (0, None)]);
        let numbers = place_buses(&buses, 0, 255);
        let expected = vec![(0, 6), (3, 6), (4, 6), (5, 5), (6, 6), (1, 1)];
        assert_eq!(numbers, Some(expected));
        assert_eq!(place_buses(&buses, 0, 5), None, "the second link of the switch has no number left");
    }

    #[test]
    fn fixed_buses_need_room_above_them() {
        let buses = tree(&[(0, Some(4)), (0, None), (1, None), (2, Some(6))]);
        assert_eq!(place_buses(&buses, 4, 255), None, "two open buses do not fit between 4 and 6");
        let buses = tree(&[(0, Some(4)), (0, None), (1, None), (2, Some(7))]);
        assert_eq!(place_buses(&buses, 4, 255), Some(vec![(4, 7), (5, 7), (6, 7), (7, 7)]));
    }

    #[test]
    fn roots_are_spread_evenly_where_needs_allow() {
        assert_eq!(even_roots(&[10, 10, 10, 10]), Some(vec![0, 64, 128, 192]));
        assert_eq!(even_roots(&[200, 10]), Some(vec![0, 223]));
        assert_eq!(even_roots(&[200, 57]), None);
        let mut used = vec![(0x80, 0x90)];
        assert_eq!(lowest_gap(&mut used, 0x80), Some(0));
        assert_eq!(lowest_gap(&mut used, 0x20), Some(0x90));
        assert_eq!(lowest_gap(&mut used, 0x60), None);
    }
}
