//! Pools as spaces.

use std::collections::BTreeMap;

use peerbus_machine::Machine;

use super::drive::Driven;
use super::tally::{Cause, FirstRefusal};
use crate::peer_memory::Policy;
use crate::space::{self, Level, Space, SpaceKind, SpaceRefusal};

/// Pools, each once; what all workloads were refused counts.
pub fn spaces(machine: &Machine, driven: &[Driven]) -> Vec<Space> {
    let mut found: BTreeMap<usize, (usize, Space)> = BTreeMap::new();
    for of in driven {
        for (device, level) in &of.levels {
            let order = found.len();
            let (_, space) = found.entry(*device).or_insert_with(|| (order, pool(machine, *device, level)));
            let Some(granted) = of.tally.granted.get(device) else { continue };
            let Some(first) = &granted.first_lack else { continue };
            let known = space.first_refusal.as_ref().and_then(|known| known.time);
            let refusal = refusal(machine, of, *device, first);
            if known.is_none_or(|known| first.at < known) {
                space.first_refusal = Some(refusal);
            }
            space.refusals = space.refusals.saturating_add(granted.lacks);
        }
    }
    let mut found: Vec<(usize, Space)> = found.into_values().collect();
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().map(|(_, space)| space).collect()
}

fn pool(machine: &Machine, device: usize, level: &Level) -> Space {
    let name = |device: usize| machine.devices[device].name.clone();
    let owners = level.at_peak().devices.iter().map(|(client, bytes)| (name(*client), *bytes));
    let space = level.space(SpaceKind::PeerPool, format!("{} p2pmem, at its fullest", name(device)));
    space.owned_by(owners)
}

/// The first request that a pool could not serve, with its chain.
fn refusal(machine: &Machine, driven: &Driven, device: usize, first: &FirstRefusal) -> SpaceRefusal {
    let (name, level) = (&machine.devices[device].name, driven.levels.get(&device));
    let policy = match driven.plan.spec.policy {
        Policy::FirstFit | Policy::BestFit => "at any page".to_owned(),
        Policy::OrderAlign => "at a multiple of the size's power of two".to_owned(),
        Policy::Align(align) => format!("at a multiple of {align}"),
    };
    let decided = match first.cause {
        Cause::LargerThanChunk => "window",
        Cause::Fragmented if first.aligned => "alignment",
        Cause::Fragmented => "fragments",
        _ => "limit",
    };
    let registered = driven.registrations.iter().filter(|made| made.device == device);
    let ranges = registered.filter_map(|made| made.result.as_ref().ok().map(|range| (made.bar, *range)));
    let ranges: Vec<String> = ranges
        .map(|(bar, range)| {
            let bar = bar.map_or(String::new(), |bar| format!("BAR{bar} "));
            format!("{bar}{range} ({})", range.size())
        })
        .collect();
    let shown = crate::aperture::memory_bar(machine, device);
    let memory = machine.devices[device].memory;
    let aperture = shown.map(|bar| match memory {
        Some(memory) if memory > bar => format!("the BAR shows {bar} of {memory}"),
        _ => format!("the BAR has {bar}"),
    });
    let size = level.map_or(peerbus_units::Bytes::ZERO, |level| level.size);
    let mut chain = vec![
        space::Cause::new("granule", format!("{} is {} in whole pages", first.size, first.rounded)),
        space::Cause::new("alignment", policy),
        space::Cause::new("holes", first.text.clone()),
        space::Cause::new("window", format!("registered: {}", ranges.join(", "))),
    ];
    chain.extend(aperture.map(|text| space::Cause::new("aperture", text)));
    chain.push(space::Cause::new("limit", format!("{name} has registered {size}")));
    SpaceRefusal {
        time: Some(first.at),
        who: machine.devices[first.client].name.clone(),
        amount: first.size.0,
        decided,
        chain,
    }
}
