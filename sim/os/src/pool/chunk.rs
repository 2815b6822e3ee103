//! [`Chunk`]: one contiguous piece of a pool.

use peerbus_units::Bytes;

use super::runs::FreeRuns;
use super::{Algorithm, AllocError, Bug};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Chunk<P, O> {
    pub start: u64,
    /// Last address; below `start` for a chunk of size 0 (but at 0) or one that wraps.
    end: u64,
    pub phys: P,
    pub owner: O,
    available: u64,
    runs: FreeRuns,
}

/// Granules for `size` bytes, rounded up; the sum wraps.
fn granules(size: Bytes, order: u32) -> u64 {
    size.0.wrapping_add((1 << order) - 1) >> order
}

impl<P, O> Chunk<P, O> {
    pub fn new(start: u64, phys: P, size: Bytes, owner: O, order: u32) -> Chunk<P, O> {
        let end = start.wrapping_add(size.0).wrapping_sub(1);
        Chunk { start, end, phys, owner, available: size.0, runs: FreeRuns::new(size.0 >> order) }
    }

    pub fn contains(&self, address: u64) -> bool {
        self.start <= address && address <= self.end
    }

    pub fn size(&self) -> u64 {
        self.end.wrapping_sub(self.start).wrapping_add(1)
    }

    pub fn available(&self) -> u64 {
        self.available
    }

    pub fn in_use(&self) -> bool {
        self.runs.any_taken()
    }

    /// Granules in the longest free run.
    pub fn longest_free(&self) -> u64 {
        self.runs.longest_run()
    }

    pub fn free_runs(&self) -> usize {
        self.runs.count()
    }

    /// The address of `size` bytes taken from here, or `None` without room.
    ///
    /// The search counts granules in 32 bits; what is taken is counted in full. From 2^32 granules on the two differ.
    pub fn alloc(
        &mut self,
        size: Bytes,
        algorithm: Algorithm,
        order: u32,
    ) -> Result<Option<u64>, AllocError> {
        if size.0 > self.available {
            return Ok(None);
        }
        let count = granules(size, order);
        let searched = count & u64::from(u32::MAX);
        let Some(first) = algorithm.place(&self.runs, self.start, order, searched) else {
            return Ok(None);
        };
        if searched != count {
            self.check_truncated(first, count)?;
        }
        self.runs.take(first, count);
        self.available -= count << order;
        Ok(Some(self.start.wrapping_add(first << order)))
    }

    /// Whether all of what a truncated search stands for is free, too.
    fn check_truncated(&self, first: u64, count: u64) -> Result<(), Bug> {
        match self.runs.holding(first) {
            Some(run) if count <= run.end() - first => Ok(()),
            Some(run) if run.end() == self.runs.granules() => Err(Bug::BeyondBitmap),
            _ => Err(Bug::EndlessSearch),
        }
    }

    /// Frees granules of a chunk that contains `address`.
    pub fn free(&mut self, address: u64, size: Bytes, order: u32) -> Result<(), Bug> {
        let last = address.wrapping_add(size.0).wrapping_sub(1);
        if last > self.end {
            return Err(Bug::BeyondChunk { address });
        }
        let (first, count) = ((address - self.start) >> order, granules(size, order));
        if !self.runs.give(first, count) {
            return Err(Bug::NotAllocated { address });
        }
        self.available += count << order;
        Ok(())
    }
}
