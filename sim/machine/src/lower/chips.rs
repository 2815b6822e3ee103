//! Switch chips: their ports and lanes are those of all their partitions together.
//!
//! A chip that is divided into virtual switches looks like several switches: each partition has an upstream port and a
//! hierarchy of its own, and what goes from one to another goes by way of the roots. What they share is the chip.

use super::context::Context;
use super::draft::{Draft, DraftSwitch};
use crate::codes;

/// Reports chips with more ports, or links with more lanes in all, than their parts have, and partitions of one chip that
/// are of different parts.
pub(super) fn check_switches(ctx: &mut Context, draft: &Draft) {
    for (index, switch) in draft.switches.iter().enumerate() {
        let same = |other: &&DraftSwitch| switch.chip.is_some() && other.chip == switch.chip;
        let first = draft.switches[..index].iter().find(same);
        if let Some(first) = first {
            check_part(ctx, first, switch);
            continue;
        }
        let partitions: Vec<&DraftSwitch> =
            std::iter::once(switch).chain(draft.switches[index + 1..].iter().filter(same)).collect();
        check_chip(ctx, draft, &partitions);
    }
}

fn check_part(ctx: &mut Context, first: &DraftSwitch, switch: &DraftSwitch) {
    let (Some(one), Some(other)) = (&first.part, &switch.part) else { return };
    if one.id != other.id {
        let chip = switch.chip.as_deref().unwrap_or_default();
        let message = format!("chip `{chip}` is a `{}` before, and a `{}` here", one.id, other.id);
        let help = format!("write `part: \"{}\"`, or name another chip", one.id);
        ctx.error(codes::CHIP_OF_TWO_PARTS, &switch.place.field("chip"), message, help);
    }
}

/// The first of `partitions`, all of one chip, stands for it.
fn check_chip(ctx: &mut Context, draft: &Draft, partitions: &[&DraftSwitch]) {
    let switch = partitions[0];
    let Some(part) = &switch.part else { return };
    let ports: usize = partitions.iter().map(|partition| partition.ports).sum();
    if ports > usize::from(part.ports) {
        let included = if partitions.len() > 1 { "those of all partitions" } else { "upstream" };
        let message = format!(
            "{ports} ports, {included} included, are more than switch part `{}` has: {}",
            part.id, part.ports
        );
        let help = "put some below another switch, or use a part with more ports";
        ctx.error(codes::TOO_MANY_PORTS, &switch.place, message, help);
    }
    let links = partitions.iter().flat_map(|partition| &partition.links);
    let lanes: u32 = links.map(|link| u32::from(draft.links[*link].lanes)).sum();
    if lanes > u32::from(part.total_lanes) {
        let message = format!(
            "its links have {lanes} lanes, more than switch part `{}` has: {}",
            part.id, part.total_lanes
        );
        let help = "make links narrower with `link: (lanes: 8)`, or use a part with more lanes";
        ctx.error(codes::TOO_MANY_LANES, &switch.place, message, help);
    }
}
