//! Why a request fails: the chain from the granule to the limit, and which link decides.
//!
//! In physical address space, with `need` the request in whole sections and `free` what is free below the limit:
//!
//! ```text
//! free < need                  limit:     even in one piece it would not fit
//! largest hole < need <= free  fragments
//! need <= largest hole         alignment: no place that is tried lies in it whole
//! ```
//!
//! Example: with 40 bits and 8 GiB of RAM, seven ranges of 141 GiB leave 29 GiB: the eighth fails by the limit.

use peerbus_os::device_private::NotReserved;
use peerbus_os::iomem::{FreeRegionStep, RegionError};
use peerbus_os::pagemap::{NoPageMap, PAGE_STRUCT};
use peerbus_units::Bytes;

use super::answer::{Ground, largest};
use super::{Asker, Cause, Hole, Obstacle, Reach, ReachedBy, Refused};

/// The refusal of a driver's request, on the ground as it was left; `free` RAM there was before.
pub(super) fn refused(ground: &Ground, asker: &Asker, free: Bytes, error: &NotReserved) -> Refused {
    let need = asker.memory.div_ceil(ground.granule.0).saturating_mul(ground.granule.0);
    let (obstacle, links) = match error {
        NotReserved::PageMap(NoPageMap::NoMemory) => {
            (Obstacle::PageStructs, vec![structs(ground, need, free)])
        }
        NotReserved::Region(RegionError::Exhausted | RegionError::Unusable(None))
        | NotReserved::Size { .. }
        | NotReserved::NoGap { .. } => exhausted(ground, need),
        other => (Obstacle::Other, vec![Cause { what: "kernel", text: other.to_string() }]),
    };
    let mut chain = vec![granule(ground, asker.memory, need)];
    chain.extend(links);
    Refused { device: asker.device.clone(), size: asker.memory, error: error.errno(), obstacle, chain }
}

fn exhausted(ground: &Ground, need: u64) -> (Obstacle, Vec<Cause>) {
    let holes = ground.holes();
    let free: u64 = holes.iter().map(|hole| hole.size).sum();
    let largest = largest(&holes);
    let obstacle = match largest.map_or(0, |hole| hole.size) {
        _ if free < need => Obstacle::Limit,
        most if most < need => Obstacle::Fragments,
        _ => Obstacle::Alignment,
    };
    let text = format!("{}: {}", limit_text(ground.reach), Bytes(ground.reach.last.saturating_add(1)));
    let limit = Cause { what: "limit", text };
    (obstacle, vec![alignment(ground, need), space(free, largest), limit])
}

fn granule(ground: &Ground, asked: u64, need: u64) -> Cause {
    let kind = if ground.is_physical() { "sections" } else { "pages" };
    let granule = ground.granule;
    let text = format!("{} is {} {kind} of {granule}, {}", Bytes(asked), need / granule.0, Bytes(need));
    Cause { what: "granule", text }
}

fn alignment(ground: &Ground, need: u64) -> Cause {
    let rules = &ground.platform.rules.iomem;
    let text = match (ground.is_physical(), rules.free_region_step) {
        (false, _) => "the lowest gap is taken, at any page".to_owned(),
        (true, FreeRegionStep::Size) => {
            format!("places end at {:#x} and, below it, every {} (its size)", ground.reach.last, Bytes(need))
        }
        (true, FreeRegionStep::Alignment) => {
            format!("places end at {:#x} and, below it, every {}", ground.reach.last, ground.granule)
        }
    };
    Cause { what: "alignment", text }
}

fn space(free: u64, largest: Option<Hole>) -> Cause {
    let text = match largest {
        None => "nothing is free".to_owned(),
        Some(Hole { first, size }) => {
            let last = first.saturating_add(size - 1);
            format!("{} free, the largest hole {} at {first:#x}-{last:#x}", Bytes(free), Bytes(size))
        }
    };
    Cause { what: "holes", text }
}

fn structs(ground: &Ground, need: u64, free: Bytes) -> Cause {
    let pages = need / ground.platform.layout.shape.page.0;
    let bytes = Bytes(pages.saturating_mul(PAGE_STRUCT.0));
    Cause {
        what: "page structs",
        text: format!("{pages} pages need {bytes} of RAM, of which {free} were left"),
    }
}

/// What ends a space, in words.
pub(super) fn limit_text(reach: Reach) -> String {
    let bits = reach.last.saturating_add(1).ilog2();
    match reach.by {
        ReachedBy::CpuWidth => format!("the CPU has {bits} bits of physical address"),
        ReachedBy::PageTables => format!("the kernel's page tables reach {bits} bits"),
        ReachedBy::ShortenedDirectMap => "randomisation shortened the direct map".to_owned(),
        ReachedBy::LinearMap => "the linear map ends there".to_owned(),
        ReachedBy::ConfiguredWidth => format!("the kernel is made for {bits} bits"),
        ReachedBy::EntryBits => "page-table entries hold no larger numbers".to_owned(),
    }
}
