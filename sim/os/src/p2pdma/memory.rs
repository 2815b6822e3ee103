//! Peer memory in the hands of drivers: allocation, and what it holds on to.

use core::fmt;

use peerbus_units::{Bytes, CpuAddr, FunctionId};

use super::P2pdma;
use super::providers::MemoryPool;
use crate::pagemap::PageMapId;
use crate::pool::{AllocError, Bug};

/// What a kernel would have died of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryBug {
    /// Of the pool's bugs, one.
    Pool(Bug),
    /// A function that is initialised but has registered nothing was asked for memory: it has state and no pool.
    NoPool,
    /// More frees than allocations: a registered range lost a reference it had not.
    NoReference,
}

impl From<Bug> for MemoryBug {
    fn from(bug: Bug) -> MemoryBug {
        MemoryBug::Pool(bug)
    }
}

impl fmt::Display for MemoryBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryBug::Pool(bug) => bug.fmt(f),
            MemoryBug::NoPool => f.write_str("memory is asked of a function that has registered none"),
            MemoryBug::NoReference => f.write_str("a registered range is freed more often than allocated"),
        }
    }
}

impl core::error::Error for MemoryBug {}

/// Why there is no memory. The kernel returns nothing for all but the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryError {
    /// The function has no state.
    NoState,
    /// The pool has none.
    Pool(AllocError),
    /// The pool had some, in a range that is being unregistered.
    Dying,
    /// The kernel would not have survived.
    Bug(MemoryBug),
}

impl From<AllocError> for MemoryError {
    fn from(error: AllocError) -> MemoryError {
        match error {
            AllocError::Bug(bug) => MemoryError::Bug(MemoryBug::Pool(bug)),
            other => MemoryError::Pool(other),
        }
    }
}

impl From<MemoryBug> for MemoryError {
    fn from(bug: MemoryBug) -> MemoryError {
        MemoryError::Bug(bug)
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryError::NoState => f.write_str("the function provides no memory"),
            MemoryError::Pool(error) => error.fmt(f),
            MemoryError::Dying => f.write_str("the memory found is being unregistered"),
            MemoryError::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for MemoryError {}

/// One entry of a scatter list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerEntry {
    /// First byte.
    pub address: CpuAddr,
    /// Bytes.
    pub length: Bytes,
}

impl P2pdma {
    /// Takes `size` bytes of the function's memory, and one reference on the range they lie in: the kernel's
    /// `pci_alloc_p2pmem`.
    ///
    /// The newest range with room is tried and no other: if it is dying, there is no memory, whatever the others have.
    pub fn alloc(&mut self, function: FunctionId, size: Bytes) -> Result<CpuAddr, MemoryError> {
        self.take(function, size).map(|(address, _)| address)
    }

    pub(super) fn take(
        &mut self,
        function: FunctionId,
        size: Bytes,
    ) -> Result<(CpuAddr, PageMapId), MemoryError> {
        let found = self.pool_mut(function)?.alloc(size)?;
        if !self.page_maps.try_get(found.owner) {
            self.pool_mut(function)?.free(found.address, size).map_err(MemoryBug::Pool)?;
            return Err(MemoryError::Dying);
        }
        Ok((found.address, found.owner))
    }

    /// Gives `size` bytes back and drops a reference: the kernel's `pci_free_p2pmem`. Freeing an allocation in parts
    /// drops one for each.
    pub fn free(&mut self, function: FunctionId, address: CpuAddr, size: Bytes) -> Result<(), MemoryBug> {
        let pool = self.functions.get_mut(&function).and_then(|state| state.pool.as_mut());
        let map = pool.ok_or(MemoryBug::NoPool)?.free(address, size)?;
        if self.page_maps.put(map) { Ok(()) } else { Err(MemoryBug::NoReference) }
    }

    /// A scatter list of `length` bytes: always one entry, hence only if there is one run of that length.
    pub fn alloc_sgl(&mut self, function: FunctionId, length: Bytes) -> Result<PeerEntry, MemoryError> {
        self.alloc(function, length).map(|address| PeerEntry { address, length })
    }

    /// Frees what [`P2pdma::alloc_sgl`] gave.
    pub fn free_sgl(&mut self, function: FunctionId, entry: PeerEntry) -> Result<(), MemoryBug> {
        self.free(function, entry.address, entry.length)
    }

    /// Bytes registered; 0 without pool. The attribute `size`.
    pub fn size(&self, function: FunctionId) -> Bytes {
        self.pool(function).map_or(Bytes::ZERO, MemoryPool::size)
    }

    /// Bytes free; 0 without pool. The attribute `available`.
    pub fn available(&self, function: FunctionId) -> Bytes {
        self.pool(function).map_or(Bytes::ZERO, MemoryPool::available)
    }

    /// The function's pool, to look at.
    pub fn pool(&self, function: FunctionId) -> Option<&MemoryPool> {
        self.functions.get(&function)?.pool.as_ref()
    }

    /// Another algorithm for the function's pool than the kernel's first fit, to compare; false without pool.
    pub fn set_algorithm(&mut self, function: FunctionId, algorithm: crate::pool::Algorithm) -> bool {
        let pool = self.functions.get_mut(&function).and_then(|state| state.pool.as_mut());
        pool.map(|pool| pool.set_algorithm(Some(algorithm))).is_some()
    }

    fn pool_mut(&mut self, function: FunctionId) -> Result<&mut MemoryPool, MemoryError> {
        let state = self.functions.get_mut(&function).ok_or(MemoryError::NoState)?;
        state.pool.as_mut().ok_or(MemoryError::Bug(MemoryBug::NoPool))
    }
}
