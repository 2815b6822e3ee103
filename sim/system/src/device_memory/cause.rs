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

use super::answer::largest;
use super::frames::Frames;
use super::{Cause, Hole, Obstacle, Reach, ReachedBy, Refused};

/// The refusal of a driver's request for page structs of so much memory of a device, on what was left of numbers; `free` RAM there was before.
pub(crate) fn refused(
    frames: &Frames<'_>,
    (device, memory): (&str, u64),
    free: Bytes,
    error: &NotReserved,
) -> Refused {
    let need = memory.div_ceil(frames.supply.granule.0).saturating_mul(frames.supply.granule.0);
    let (obstacle, links) = match error {
        NotReserved::PageMap(NoPageMap::NoMemory) => {
            (Obstacle::PageStructs, vec![structs(frames, need, free)])
        }
        NotReserved::Region(RegionError::Exhausted | RegionError::Unusable(None))
        | NotReserved::Size { .. }
        | NotReserved::NoGap { .. } => exhausted(frames, need),
        other => (Obstacle::Other, vec![Cause { what: "kernel", text: other.to_string() }]),
    };
    let mut chain = vec![granule(frames, memory, need)];
    chain.extend(links);
    Refused { device: device.to_owned(), size: memory, error: error.errno(), obstacle, chain }
}

fn exhausted(frames: &Frames<'_>, need: u64) -> (Obstacle, Vec<Cause>) {
    let holes = frames.holes();
    let free: u64 = holes.iter().map(|hole| hole.size).sum();
    let largest = largest(&holes);
    let obstacle = match largest.map_or(0, |hole| hole.size) {
        _ if free < need => Obstacle::Limit,
        most if most < need => Obstacle::Fragments,
        _ => Obstacle::Alignment,
    };
    let text =
        format!("{}: {}", limit_text(frames.supply.reach), Bytes(frames.supply.reach.last.saturating_add(1)));
    let limit = Cause { what: "limit", text };
    (obstacle, vec![alignment(frames, need), space(free, largest), limit])
}

fn granule(frames: &Frames<'_>, asked: u64, need: u64) -> Cause {
    let kind = if frames.supply.physical { "sections" } else { "pages" };
    let granule = frames.supply.granule;
    let text = format!("{} is {} {kind} of {granule}, {}", Bytes(asked), need / granule.0, Bytes(need));
    Cause { what: "granule", text }
}

fn alignment(frames: &Frames<'_>, need: u64) -> Cause {
    let rules = &frames.platform.rules.iomem;
    let text = match (frames.supply.physical, rules.free_region_step) {
        (false, _) => "the lowest gap is taken, at any page".to_owned(),
        (true, FreeRegionStep::Size) => {
            format!(
                "places end at {:#x} and, below it, every {} (its size)",
                frames.supply.reach.last,
                Bytes(need)
            )
        }
        (true, FreeRegionStep::Alignment) => {
            format!(
                "places end at {:#x} and, below it, every {}",
                frames.supply.reach.last, frames.supply.granule
            )
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

fn structs(frames: &Frames<'_>, need: u64, free: Bytes) -> Cause {
    let pages = need / frames.platform.layout.shape.page.0;
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
