//! The pool that calls work on, and the allocations they named.

use std::collections::BTreeMap;

use peerbus_os::pool::{Algorithm, AllocError, Bug, Pool};
use peerbus_units::{Bytes, CpuAddr};

use super::call::Freed;
use super::result::Outcome;

/// A pool and what was taken from it.
#[derive(Clone, Debug)]
pub(super) struct PoolState {
    pool: Pool<CpuAddr>,
    /// By id: address and the size asked for; `None` when there was no memory.
    allocations: BTreeMap<u64, Option<(CpuAddr, Bytes)>>,
}

impl PoolState {
    /// An empty pool of granules of `2^order` bytes, `order` below 64.
    pub fn new(order: u32, algorithm: Algorithm) -> PoolState {
        let pool = Pool::new(order);
        assert!(pool.is_some(), "an order of {order} was let through");
        let mut pool = pool.unwrap_or_else(|| unreachable!("checked above"));
        pool.set_algorithm(Some(algorithm));
        PoolState { pool, allocations: BTreeMap::new() }
    }

    pub fn add(&mut self, base: CpuAddr, size: Bytes) {
        self.pool.add(base, base, size, ());
    }

    pub fn available(&self) -> Outcome {
        Outcome::Available { bytes: self.pool.available().0 }
    }

    pub fn alloc(&mut self, id: Option<u64>, size: Bytes, algorithm: Option<Algorithm>) -> Outcome {
        let result = match algorithm {
            Some(algorithm) => self.pool.alloc_with(size, algorithm),
            None => self.pool.alloc(size),
        };
        let address = result.as_ref().ok().map(|allocation| allocation.address);
        if let Some(id) = id {
            self.allocations.insert(id, address.map(|address| (address, size)));
        }
        match result {
            Ok(allocation) => Outcome::Allocated { address: allocation.address.0 },
            Err(AllocError::Bug(bug)) => Outcome::failed("BUG", bug.to_string()),
            Err(other) => Outcome::failed("ENOMEM", other.to_string()),
        }
    }

    /// Nothing on success. What an id names stays known: freeing it twice is a call like any other, and a bug.
    pub fn free(&mut self, what: Freed, size: Option<Bytes>) -> Option<Outcome> {
        let (address, asked) = match what {
            Freed::Address(address) => (address, Bytes::ZERO),
            Freed::Id(id) => match self.allocations.get(&id) {
                Some(Some(taken)) => *taken,
                _ => {
                    let reason = format!("allocation {id} failed; there is nothing to free");
                    return Some(Outcome::failed("EINVAL", reason));
                }
            },
        };
        let freed: Result<(), Bug> = self.pool.free(address, size.unwrap_or(asked));
        freed.err().map(|bug| Outcome::failed("BUG", bug.to_string()))
    }
}
