//! Placement of one resource: which windows are tried, which addresses of them, which free run.
//!
//! Windows of exactly the resource's kind first, then ever less fitting ones; a 64-bit resource above 4 GiB
//! (of *bus* address) first; each window from its low end, first fit.

use alloc::vec::Vec;

use peerbus_units::{Bytes, CpuAddr, Range};

use super::bridge::is_granular;
use super::failure::{ConsideredWindow, Rejection};
use super::options::Platform;
use super::resource::{Parent, Place, ResourceFlags, ResourceRef};
use super::space::align_up;
use super::tree::{BusIndex, Tree};
use crate::Rules;

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub at: ResourceRef,
    pub flags: ResourceFlags,
    pub size: Bytes,
    pub align: u64,
}

/// Bus addresses a resource can be set to.
#[derive(Clone, Copy)]
struct Reach {
    first: u64,
    last: u64,
}

const BELOW_4_GIB: Reach = Reach { first: 0, last: 0xffff_ffff };
const ABOVE_4_GIB: Reach = Reach { first: 1 << 32, last: u64::MAX };
const ANYWHERE: Reach = Reach { first: 0, last: u64::MAX };

/// Finds addresses in allocated windows. Changes nothing.
pub(crate) struct Placer<'a> {
    pub tree: &'a Tree,
    pub rules: &'a Rules,
    pub platform: &'a Platform,
}

impl Placer<'_> {
    /// Where `wanted` would go on its bus, as if it owned nothing yet. Below a bridge that forwards
    /// everything else (subtractive decode) the bus above will do too.
    pub fn find(&self, wanted: Wanted) -> Option<Place> {
        let mut bus = self.tree[wanted.at.function].bus;
        loop {
            if let Some(place) = self.find_on_bus(bus, wanted) {
                return Some(place);
            }
            bus = self.transparent_parent(bus)?;
        }
    }

    fn transparent_parent(&self, bus: BusIndex) -> Option<BusIndex> {
        let bridge = self.tree[bus].bridge?;
        let transparent = self.tree[bridge].class & 0xff == 1;
        self.tree[bus].parent.filter(|_| transparent)
    }

    /// Windows whose prefetchable and 64-bit flags equal the resource's; then, for a 64-bit prefetchable
    /// one, any prefetchable window; then, for a prefetchable or 64-bit one, any memory window.
    fn find_on_bus(&self, bus: BusIndex, wanted: Wanted) -> Option<Place> {
        let prefetch_64 = ResourceFlags::PREFETCH | ResourceFlags::MEM_64;
        let kind = wanted.flags & prefetch_64;
        let mut place = self.find_matching(bus, wanted, prefetch_64);
        if kind == prefetch_64 {
            place = place.or_else(|| self.find_matching(bus, wanted, ResourceFlags::PREFETCH));
        }
        if !kind.is_empty() {
            place = place.or_else(|| self.find_matching(bus, wanted, ResourceFlags::NONE));
        }
        place
    }

    fn find_matching(&self, bus: BusIndex, wanted: Wanted, mask: ResourceFlags) -> Option<Place> {
        let reaches: &[Reach] = reaches(wanted.flags);
        reaches.iter().find_map(|reach| self.find_within(bus, wanted, mask, *reach))
    }

    fn find_within(&self, bus: BusIndex, wanted: Wanted, mask: ResourceFlags, reach: Reach) -> Option<Place> {
        let mask = mask | ResourceFlags::TYPE_BITS;
        for parent in self.tree.bus_windows(bus) {
            let Some((flags, range)) = self.tree.window(parent) else { continue };
            if flags & mask != wanted.flags & mask || !may_hold(flags, wanted.flags) {
                continue;
            }
            let first =
                self.reachable(bus, flags, range, reach).and_then(|r| self.fit(parent, range, r, wanted));
            if let Some(first) = first {
                return Some(Place { first, parent });
            }
        }
        None
    }

    /// The part of a window whose bus addresses lie within `reach`, and not below what the platform keeps
    /// for itself in windows that start at 0.
    fn reachable(
        &self,
        bus: BusIndex,
        flags: ResourceFlags,
        range: Range<CpuAddr>,
        reach: Reach,
    ) -> Option<Range<CpuAddr>> {
        let bus_first = self.tree.host_bridges[self.tree[bus].host_bridge].to_bus(flags, range).0;
        let bus_last = bus_first.checked_add(range.size().0 - 1)?;
        let (first, last) = (bus_first.max(reach.first), bus_last.min(reach.last));
        if last < first {
            return None;
        }
        let mut first = range.first().0 + (first - bus_first);
        let last = range.first().0 + (last - bus_first);
        if first == 0 {
            first = self.platform.minimum(flags);
        }
        Range::new(CpuAddr(first), CpuAddr(last))
    }

    /// The lowest address of a free run of `window` that will do, within `reachable`.
    fn fit(
        &self,
        parent: Parent,
        window: Range<CpuAddr>,
        reachable: Range<CpuAddr>,
        wanted: Wanted,
    ) -> Option<CpuAddr> {
        let gaps = self.tree.space.gaps(parent, window, Some(wanted.at));
        let reachable = gaps.into_iter().filter_map(|gap| gap.intersection(reachable));
        reachable.filter_map(|gap| self.platform.usable(gap, wanted.flags)).find_map(|gap| {
            let aligned = align_up(gap.first().0, wanted.align)?;
            let first = self.adjusted(gap, aligned, wanted);
            let found = Range::sized(CpuAddr(first), wanted.size)?;
            gap.covers(found).then_some(found.first())
        })
    }

    /// `aligned` as rules and platform change it.
    fn adjusted(&self, gap: Range<CpuAddr>, aligned: u64, wanted: Wanted) -> u64 {
        let tail = Bytes(wanted.size.0 & (wanted.align - 1));
        let mut first = aligned;
        if self.rules.tail_below_alignment
            && wanted.flags.is_mem()
            && tail.0 != 0
            && is_granular(wanted.flags, tail)
        {
            first = aligned.checked_sub(tail.0).filter(|first| *first >= gap.first().0).unwrap_or(aligned);
        }
        self.platform.align(first, wanted.flags)
    }

    /// True when a free run of the window `parent` could take `size` bytes at `align`.
    pub fn has_room(&self, parent: Parent, size: u64, align: u64) -> bool {
        let Some((_, range)) = self.tree.window(parent) else { return false };
        let gaps = self.tree.space.gaps(parent, range, None);
        gaps.into_iter().any(|gap| gap.fit_low(Bytes(size), align).is_some())
    }

    /// All windows above `wanted`, each with the reason it does not do; below a transparent bridge those of the
    /// bus above too.
    pub fn considered(&self, wanted: Wanted) -> Vec<ConsideredWindow> {
        let bus = self.tree[wanted.at.function].bus;
        let buses = core::iter::successors(Some(bus), |bus| self.transparent_parent(*bus));
        let windows = buses.flat_map(|bus| self.tree.bus_windows(bus).into_iter().map(move |w| (bus, w)));
        windows.filter_map(|(bus, window)| self.rejected(bus, window, wanted)).collect()
    }

    /// Why `window` did not do; `None` for a window that holds I/O in place of memory or the other way.
    fn rejected(&self, bus: BusIndex, window: Parent, wanted: Wanted) -> Option<ConsideredWindow> {
        let (flags, range) = self.tree.window(window)?;
        if !flags.same_type(wanted.flags) {
            return None;
        }
        let reach = *reaches(wanted.flags).last().unwrap_or(&ANYWHERE);
        let reachable = self.reachable(bus, flags, range, reach);
        let (free, largest_hole) =
            reachable.map_or((Bytes::ZERO, Bytes::ZERO), |part| self.tree.space.free(window, part));
        let rejection = match reachable {
            _ if !may_hold(flags, wanted.flags) => Rejection::WrongKind,
            None => Rejection::OutOfReach,
            Some(_) => Rejection::NoHole,
        };
        Some(ConsideredWindow { window, range, rejection, free, largest_hole })
    }
}

/// A window that prefetches must not hold a resource that has side effects on reads.
fn may_hold(window: ResourceFlags, resource: ResourceFlags) -> bool {
    !window.has(ResourceFlags::PREFETCH) || resource.has(ResourceFlags::PREFETCH)
}

fn reaches(flags: ResourceFlags) -> &'static [Reach] {
    if flags.has(ResourceFlags::MEM_64) { &[ABOVE_4_GIB, ANYWHERE] } else { &[BELOW_4_GIB] }
}
