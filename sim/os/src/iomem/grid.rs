//! The search for an unused range: candidates at equal distances, tried in order.
//!
//! ```text
//! descending: addr = limit - size + 1, then addr -= step   while addr > step and addr >= lowest
//! ascending:  addr = start,            then addr += step   while addr > addr - step and addr <= limit
//! ```
//!
//! in 64-bit arithmetic that wraps, as the kernel's does. The first candidate `[addr, addr + size - 1]` that no
//! occupied range overlaps is tried; the kernel tests each candidate against the whole list. Here, when a
//! candidate meets an occupied range, all candidates that meet the same range are counted at once and left out:
//! the answer and the number of candidates are the kernel's, the time is that of one walk over the ranges.
//!
//! What was occupied stays so until something is removed: until then the same search again begins where the last one ended
//! ([`LastSearch`]), so that many equal requests, one below the other, take no longer each than a few.
//!
//! Example: limit `2^40 - 1`, size and step 128 MiB, `[0xe000000000, 0xffffffffff]` occupied: 1024 candidates
//! meet it (0xfff8000000 down to 0xe000000000), the 1025th is free, at 0xdff8000000.

use peerbus_units::CpuAddr;

use super::resource::ResourceId;
use super::tree::Children;

/// How a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The candidate at this address meets nothing.
    Free(u64),
    /// There is no further candidate.
    Exhausted,
    /// The step is zero and the only candidate is occupied: the kernel never returns.
    Endless,
}

/// The end of a search and the number of candidates tested, the last one included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Search {
    pub end: End,
    pub probes: u64,
}

/// What is searched for downwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Downwards {
    /// Whose children are in the way.
    pub base: ResourceId,
    /// Where candidates end.
    pub limit: u64,
    /// No candidate begins below.
    pub lowest: u64,
    /// Bytes.
    pub size: u64,
    /// Distance of candidates.
    pub step: u64,
}

/// A search and how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LastSearch(Downwards, Search);

impl Downwards {
    /// Searches. `last` is the search before, since which nothing was removed; afterwards it is this one.
    pub fn search(self, taken: &Children, last: &mut Option<LastSearch>) -> Search {
        let Downwards { limit, lowest, size, step, .. } = self;
        let found = match last.filter(|last| last.0 == self).map(|last| last.1) {
            Some(Search { end: End::Free(addr), probes }) => {
                descend(taken, addr, lowest, size, step, probes.saturating_sub(1))
            }
            Some(in_vain) => in_vain,
            None => descending(taken, limit, lowest, size, step),
        };
        *last = Some(LastSearch(self, found));
        found
    }
}

/// An occupied range.
type Taken = (u64, u64);

/// Searches downwards from `limit`, not below `lowest`.
pub(super) fn descending(taken: &Children, limit: u64, lowest: u64, size: u64, step: u64) -> Search {
    let mut addr = limit.wrapping_sub(size).wrapping_add(1);
    let mut probes = 0u64;
    // Beyond zero a candidate wraps: its last address lies below its first. Each turn leaves such a range behind.
    loop {
        let last = addr.wrapping_add(size).wrapping_sub(1);
        if last >= addr {
            break;
        }
        let left = candidates_below(addr, lowest, step);
        let met = highest_overlap(taken, addr, last);
        let Some((first, _)) = met.filter(|_| left > 0) else { return stop(addr, left, probes) };
        if step == 0 {
            return Search { end: End::Endless, probes };
        }
        // A range met by a wrapped candidate begins at or below its last address.
        let jump = ((last - first) / step).saturating_add(1);
        if jump >= left {
            return Search { end: End::Exhausted, probes: probes.saturating_add(left) };
        }
        probes += jump;
        addr -= jump * step;
    }
    descend(taken, addr, lowest, size, step, probes)
}

/// The same from a candidate that does not wrap; then no lower one does.
fn descend(taken: &Children, start: u64, lowest: u64, size: u64, step: u64, tested: u64) -> Search {
    let (mut addr, mut probes) = (start, tested);
    let end = |addr: u64| addr.wrapping_add(size).wrapping_sub(1);
    let below = taken.range(..=CpuAddr(end(start))).rev();
    let mut below = below.map(|(first, (last, _))| (first.0, last.0));
    loop {
        let left = candidates_below(addr, lowest, step);
        let met = below.find(|(first, _)| *first <= end(addr)).filter(|(_, last)| *last >= addr);
        let Some((first, _)) = met.filter(|_| left > 0) else { return stop(addr, left, probes) };
        if step == 0 {
            return Search { end: End::Endless, probes };
        }
        // The highest candidate below the range ends right before it, or further down by less than a step.
        let jump = match first.checked_sub(size) {
            Some(target) => (addr - target).div_ceil(step),
            None => left,
        };
        if jump >= left {
            return Search { end: End::Exhausted, probes: probes.saturating_add(left) };
        }
        probes += jump;
        addr -= jump * step;
    }
}

/// Number of candidates from `addr` downwards, `addr` included.
fn candidates_below(addr: u64, lowest: u64, step: u64) -> u64 {
    if addr <= step || addr < lowest {
        return 0;
    }
    // addr > step, so step + 1 does not wrap.
    (addr - lowest.max(step + 1)).checked_div(step).map_or(1, |more| more.saturating_add(1))
}

/// Searches upwards from `start` to `limit`.
pub(super) fn ascending(taken: &Children, start: u64, limit: u64, size: u64, step: u64) -> Search {
    let (mut addr, mut probes) = (start, 0u64);
    loop {
        let left = candidates_above(addr, limit, step);
        let last = addr.wrapping_add(size).wrapping_sub(1);
        let Some((_, end)) = highest_overlap(taken, addr, last).filter(|_| left > 0) else {
            return stop(addr, left, probes);
        };
        // Candidates that begin inside the range meet it, but for those beyond the top, which are compared anew.
        let until_wrap = if last >= addr { (u64::MAX - last) / step } else { u64::MAX };
        let jump = ((end - addr) / step).min(until_wrap).saturating_add(1);
        if jump >= left {
            return Search { end: End::Exhausted, probes: probes.saturating_add(left) };
        }
        probes += jump;
        addr += jump * step;
    }
}

/// Number of candidates from `addr` upwards, `addr` included. A step of zero, or beyond `addr`, ends the search.
fn candidates_above(addr: u64, limit: u64, step: u64) -> u64 {
    if step == 0 || addr < step || addr > limit {
        return 0;
    }
    ((limit - addr) / step).saturating_add(1)
}

/// The end at a candidate that meets nothing, or that is no candidate any more.
fn stop(addr: u64, left: u64, probes: u64) -> Search {
    match left {
        0 => Search { end: End::Exhausted, probes },
        _ => Search { end: End::Free(addr), probes: probes.saturating_add(1) },
    }
}

/// The highest occupied range that a candidate meets: one that begins at or below its `last` and ends at or above
/// its `first`, whichever of the two is larger. Siblings do not overlap, so only the nearest needs a look.
fn highest_overlap(taken: &Children, first: u64, last: u64) -> Option<Taken> {
    let (start, (end, _)) = taken.range(..=CpuAddr(last)).next_back()?;
    (end.0 >= first).then_some((start.0, end.0))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::iomem::ResourceId;

    fn occupied(ranges: &[Taken]) -> Children {
        let entry = |(first, last): &Taken| (CpuAddr(*first), (CpuAddr(*last), ResourceId(0)));
        ranges.iter().map(entry).collect()
    }

    /// Every candidate against every range, as the kernel does; `None` after too many.
    fn probing(
        ranges: &[Taken],
        mut addr: u64,
        size: u64,
        next: impl Fn(u64) -> u64,
        go_on: impl Fn(u64) -> bool,
    ) -> Option<Search> {
        for probes in 0..200 {
            if !go_on(addr) {
                return Some(Search { end: End::Exhausted, probes });
            }
            let last = addr.wrapping_add(size).wrapping_sub(1);
            if !ranges.iter().any(|(from, to)| *from <= last && *to >= addr) {
                return Some(Search { end: End::Free(addr), probes: probes + 1 });
            }
            addr = next(addr);
        }
        None
    }

    fn down(ranges: &[Taken], limit: u64, lowest: u64, size: u64, step: u64) -> Option<Search> {
        let start = limit.wrapping_sub(size).wrapping_add(1);
        probing(ranges, start, size, |addr| addr.wrapping_sub(step), |addr| addr > step && addr >= lowest)
    }

    fn up(ranges: &[Taken], start: u64, limit: u64, size: u64, step: u64) -> Option<Search> {
        let go_on = |addr: u64| addr > addr.wrapping_sub(step) && addr <= limit;
        probing(ranges, start, size, |addr| addr.wrapping_add(step), go_on)
    }

    #[test]
    fn the_worked_example_holds() {
        let ranges = [(0xe0_0000_0000, 0xff_ffff_ffff)];
        let found = descending(&occupied(&ranges), (1 << 40) - 1, 0, 1 << 27, 1 << 27);
        assert_eq!(found, Search { end: End::Free(0xdf_f800_0000), probes: 1025 });
    }

    #[test]
    fn a_step_of_zero_never_ends() {
        let taken = occupied(&[(0, 100)]);
        assert_eq!(descending(&taken, 50, 0, 0, 0), Search { end: End::Endless, probes: 0 });
        assert_eq!(descending(&taken, 100, 0, 0, 0), Search { end: End::Free(101), probes: 1 });
        assert_eq!(ascending(&taken, 50, 70, 0, 0), Search { end: End::Exhausted, probes: 0 });
    }

    /// All small spaces: up to three ranges, at the bottom of 64 bits and at the top.
    #[test]
    fn jumping_equals_probing() {
        let ends: Vec<u64> = (0..10).chain(u64::MAX - 3..=u64::MAX).collect();
        let mut seen = 0u64;
        let mut check = |ranges: &[Taken]| {
            let taken = occupied(ranges);
            for limit in [0, 1, 5, 8, 9, u64::MAX - 1, u64::MAX] {
                for size in [0, 1, 2, 3, 7, 10, 12, u64::MAX] {
                    for step in [0, 1, 2, 5, u64::MAX] {
                        for from in [0, 3] {
                            let expected = down(ranges, limit, from, size, step);
                            let found = descending(&taken, limit, from, size, step);
                            if let Some(expected) = expected {
                                assert_eq!(
                                    found, expected,
                                    "down {ranges:x?} {limit:x} {from} {size} {step}"
                                );
                                seen += 1;
                            }
                            let expected = up(ranges, from, limit, size, step);
                            let found = ascending(&taken, from, limit, size, step);
                            if let Some(expected) = expected {
                                assert_eq!(found, expected, "up {ranges:x?} {limit:x} {from} {size} {step}");
                                seen += 1;
                            }
                        }
                    }
                }
            }
        };
        check(&[]);
        for (i, a) in ends.iter().enumerate() {
            for (j, b) in ends.iter().enumerate().skip(i) {
                check(&[(*a, *b)]);
                for (k, c) in ends.iter().enumerate().skip(j + 1).step_by(2) {
                    for d in ends.iter().skip(k).step_by(3) {
                        check(&[(*a, *b), (*c, *d)]);
                    }
                }
            }
        }
        assert!(seen > 100_000, "only {seen} searches ended in time");
    }
}
