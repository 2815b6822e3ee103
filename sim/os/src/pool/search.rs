//! [`Algorithm`]: where in a chunk an allocation goes.
//!
//! All are defined over the chunk's bitmap: `find(n)` is the lowest place i, aligned as (i + off) & mask = 0, with n
//! clear bits from it. A place inside a free run depends on the run's start alone, so it is enough to look at one
//! place per run that is long enough.

use super::AllocError;
use super::runs::{FreeRuns, Run};

/// How to choose among free places. Sizes and offsets in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// The lowest place.
    FirstFit,
    /// The lowest place whose *address* is a multiple of `align`, a power of two; exact where the chunk starts on a
    /// granule. Alignments up to the granule change nothing.
    FirstFitAlign {
        /// Power of two.
        align: u64,
    },
    /// Exactly `offset` bytes above the start of a chunk, in the newest chunk where that is free.
    Fixed {
        /// A multiple of the granule.
        offset: u64,
    },
    /// The lowest place that is a multiple of the size rounded up to a power of two of granules, counted from the
    /// chunk's start, whatever its address.
    OrderAlign,
    /// The start of the shortest free run that is long enough; the lowest of equals.
    BestFit,
}

impl Algorithm {
    /// Refuses parameters that no chunk can satisfy, for granules of `2^order` bytes.
    pub(super) fn check(self, order: u32) -> Result<(), AllocError> {
        match self {
            Algorithm::Fixed { offset } if offset & ((1 << order) - 1) != 0 => {
                Err(AllocError::UnalignedOffset)
            }
            Algorithm::FirstFitAlign { align } if !align.is_power_of_two() => Err(AllocError::NoPowerOfTwo),
            _ => Ok(()),
        }
    }

    /// The place for `count` granules in a chunk whose first byte is at `start`.
    pub(super) fn place(self, runs: &FreeRuns, start: u64, order: u32, count: u64) -> Option<u64> {
        match self {
            Algorithm::FirstFit => runs.at_least(count, 0).map(|run| run.first),
            Algorithm::FirstFitAlign { align } => {
                let mask = (align >> order).max(1) - 1;
                aligned(runs, count, mask, (start & (align - 1)) >> order)
            }
            Algorithm::Fixed { offset } => {
                let place = offset >> order;
                runs.holding(place).filter(|run| count <= run.end() - place).map(|_| place)
            }
            // Zero granules, left of a request of 2^32, have no order; the lowest one serves.
            Algorithm::OrderAlign => aligned(runs, count, count.checked_next_power_of_two()? - 1, 0),
            Algorithm::BestFit => runs.shortest(count).map(|run| run.first),
        }
    }
}

/// The lowest i such that i + `offset` is a multiple of `mask` + 1 and `count` granules from i are free.
fn aligned(runs: &FreeRuns, count: u64, mask: u64, offset: u64) -> Option<u64> {
    let up = |first: u64| Some((first.checked_add(offset)?.checked_add(mask)? & !mask) - offset);
    let mut from = 0;
    loop {
        let run = runs.at_least(count, from)?;
        let place = up(run.first)?;
        if fits(run, place, count) {
            return Some(place);
        }
        if count == 0 {
            // Nothing has to be free: the place behind the first free granule is taken wherever it lies.
            return (place < runs.granules()).then_some(place);
        }
        // The next aligned place is the lowest candidate: no run that ends before it can hold one.
        from = run.end();
    }
}

fn fits(run: Run, place: u64, count: u64) -> bool {
    place.checked_add(count).is_some_and(|end| end <= run.end())
}
