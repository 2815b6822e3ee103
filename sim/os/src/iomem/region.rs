//! Entry points of the search for unused physical addresses.

use alloc::string::String;
use core::fmt;

use peerbus_units::{Bytes, CpuAddr, Range};

use super::grid::{Downwards, End, ascending};
use super::resource::{Descriptor, IoResource, Refusal, ResourceId};
use super::rules::FreeRegionStep;
use super::tree::IoMem;
use crate::profile::Rules;

/// What a search depends on besides the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegionSpace {
    /// Highest address a result may have, whatever the tree's end
    /// ([`PhysicalSpace::limit`](super::PhysicalSpace::limit)).
    pub limit: CpuAddr,
    /// Sizes are rounded up to this: the size of a memory section
    /// ([`PhysicalSpace::section`](super::PhysicalSpace::section)), or of a page in a kernel without them.
    pub section: Bytes,
}

/// What a search cost the kernel. It walks the list of siblings once per probe, from its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RegionWork {
    /// Candidates tested.
    pub probes: u64,
    /// Length of the list that each probe walks.
    pub siblings: u64,
}

/// A range that was found and entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Its entry.
    pub id: ResourceId,
    /// Its addresses.
    pub range: Range<CpuAddr>,
}

/// Why there is no region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegionError {
    /// Every candidate is occupied, or there is none (`-ERANGE`).
    Exhausted,
    /// A candidate met nothing, but could not be entered, which ends the search (`-ERANGE`). Without a conflict
    /// the candidate begins above its own end.
    Unusable(Option<Refusal>),
    /// No memory for the entry (`-ENOMEM`).
    NoMemory,
    /// The range to search in is not in the tree.
    UnknownBase,
    /// A kernel that steps by the request's size was asked for zero bytes at an occupied place: it never returns.
    NeverEnds,
}

impl RegionError {
    /// The name of the error code that callers get; `None` where they get nothing back.
    pub fn errno(&self) -> Option<&'static str> {
        match self {
            RegionError::Exhausted | RegionError::Unusable(_) => Some("ERANGE"),
            RegionError::NoMemory => Some("ENOMEM"),
            RegionError::UnknownBase => Some("EINVAL"),
            RegionError::NeverEnds => None,
        }
    }
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionError::Exhausted => f.write_str("every place on the grid is occupied"),
            RegionError::Unusable(Some(refusal)) => write!(f, "the free place {refusal}"),
            RegionError::Unusable(None) => f.write_str("the request is larger than the address space"),
            RegionError::NoMemory => f.write_str("no memory for one more entry"),
            RegionError::UnknownBase => f.write_str("the range to search in is not in the tree"),
            RegionError::NeverEnds => f.write_str("the kernel probes one place for ever"),
        }
    }
}

impl core::error::Error for RegionError {}

/// The result of a search, and what it cost whether or not it succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Searched {
    /// The region, or why there is none.
    pub result: Result<Region, RegionError>,
    /// What it cost.
    pub work: RegionWork,
}

impl IoMem {
    /// Finds an unused range of at least `size` bytes in `base`, the highest on the grid, and enters it as busy
    /// memory that only a device can reach. `base` is the whole tree in practice.
    ///
    /// The size is rounded up to whole sections; candidates end at the lower of `base`'s end and the space's
    /// limit, and lie below each other by a section or, in older kernels, by the rounded size. Whatever overlaps
    /// a direct child of `base` is occupied, busy or not: so is a host bridge's window where it is empty.
    pub fn request_free_mem_region(
        &mut self,
        rules: &Rules,
        space: &RegionSpace,
        base: ResourceId,
        size: Bytes,
        name: impl Into<String>,
    ) -> Searched {
        let (work, within) = match self.searchable(base) {
            Ok(found) => found,
            Err(error) => return Searched::failed(error),
        };
        let size = align_up(size.0, space.section.0);
        let step = step(rules, size, space.section.0);
        let limit = within.last().min(space.limit).0;
        let downwards = Downwards { base, limit, lowest: within.first().0, size, step };
        let mut last = self.searched;
        let search = downwards.search(self.occupied(base), &mut last);
        self.searched = last;
        let result = candidate(search.end, size).and_then(|range| {
            let id = self.request_region(self.root(), range, name).map_err(RegionError::refused)?;
            self.describe(id, Descriptor::DevicePrivate);
            Ok(Region { id, range })
        });
        Searched { result, work: RegionWork { probes: search.probes, ..work } }
    }

    /// Finds an unused range of at least `size` bytes in `base`, the lowest on the grid, and enters it there. Size
    /// and place are multiples of `align`, a power of two of the caller's choice. Used for memory that becomes
    /// ordinary RAM, such as CXL memory.
    ///
    /// The last candidate *begins* at or below the limit; it is refused when it does not end inside `base`.
    pub fn alloc_free_mem_region(
        &mut self,
        rules: &Rules,
        space: &RegionSpace,
        base: ResourceId,
        size: Bytes,
        align: Bytes,
        name: impl Into<String>,
    ) -> Searched {
        let (work, within) = match self.searchable(base) {
            Ok(found) => found,
            Err(error) => return Searched::failed(error),
        };
        let size = align_up(size.0, align.0);
        let from = match rules.iomem.ascending_from_alignment {
            true => within.first().0.max(align.0),
            false => within.first().0,
        };
        let limit = within.last().min(space.limit).0;
        let step = step(rules, size, align.0);
        let search = ascending(self.occupied(base), align_up(from, align.0), limit, size, step);
        let result = candidate(search.end, size).and_then(|range| {
            let id = self.insert(base, IoResource::memory(range, name)).map_err(RegionError::refused)?;
            assert!(self.children(id).next().is_none(), "{range} was free and holds something");
            Ok(Region { id, range })
        });
        Searched { result, work: RegionWork { probes: search.probes, ..work } }
    }

    /// The addresses of `base`, and the cost of one look at everything in it; or why no search is made there.
    fn searchable(&self, base: ResourceId) -> Result<(RegionWork, Range<CpuAddr>), RegionError> {
        let within = self.get(base).ok_or(RegionError::UnknownBase)?.range;
        if !self.has_descriptor() {
            return Err(RegionError::NoMemory);
        }
        let siblings = u64::try_from(self.occupied(base).len()).unwrap_or(u64::MAX);
        Ok((RegionWork { probes: 0, siblings }, within))
    }
}

impl Searched {
    /// No search was made.
    fn failed(error: RegionError) -> Searched {
        Searched { result: Err(error), work: RegionWork::default() }
    }
}

impl RegionError {
    fn refused(refusal: Refusal) -> RegionError {
        RegionError::Unusable(Some(refusal))
    }
}

/// The range that a search ended at.
fn candidate(end: End, size: u64) -> Result<Range<CpuAddr>, RegionError> {
    match end {
        End::Free(addr) => Range::sized(CpuAddr(addr), Bytes(size)).ok_or(RegionError::Unusable(None)),
        End::Exhausted => Err(RegionError::Exhausted),
        End::Endless => Err(RegionError::NeverEnds),
    }
}

/// Distance of candidates.
fn step(rules: &Rules, size: u64, align: u64) -> u64 {
    match rules.iomem.free_region_step {
        FreeRegionStep::Size => size,
        FreeRegionStep::Alignment => align,
    }
}

/// `value` rounded up to a multiple of `align`, a power of two, in 64 bits: beyond them the sum wraps, as in the
/// kernel.
fn align_up(value: u64, align: u64) -> u64 {
    let mask = align.wrapping_sub(1);
    value.wrapping_add(mask) & !mask
}
