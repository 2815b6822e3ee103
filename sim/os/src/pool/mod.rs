//! The general-purpose pool allocator: memory in granules, over chunks that drivers add (`lib/genalloc`).
//!
//! A pool hands out addresses of its chunks, rounded up to granules of `2^order` bytes. An allocation lies in one
//! chunk, the most recently added one that can hold it. Which granules it gets is a matter of the [`Algorithm`]; the
//! answers are those of a bitmap searched bit by bit, found through an index of free runs instead (`runs`).
//!
//! Invariants: per chunk, `available` is the chunk's size less the granules in use, so what the size exceeds a
//! multiple of the granule by stays available for ever and is never handed out. Arithmetic on sizes and addresses
//! is unsigned, 64 bits wide, and wraps, as the kernel's does. What a kernel would die of is a [`Bug`], and leaves
//! the pool as it was.
//!
//! Modules in reading order: `error`, `runs` (the index), `search` (the algorithms), `chunk`, and [`Pool`] here.
//!
//! ```
//! use peerbus_os::pool::Pool;
//! use peerbus_units::{Bytes, CpuAddr};
//!
//! let mut pool: Pool<CpuAddr> = Pool::new(12).unwrap();
//! pool.add(CpuAddr(0x10_0000), CpuAddr(0x10_0000), Bytes::mib(4), ());
//! let allocation = pool.alloc(Bytes(1)).unwrap();
//! assert_eq!((allocation.address, pool.available()), (CpuAddr(0x10_0000), Bytes(0x3f_f000)));
//! pool.free(allocation.address, Bytes(1)).unwrap();
//! ```

mod chunk;
mod error;
mod managed;
mod runs;
mod search;

use alloc::vec::Vec;

use peerbus_units::{Address, Bytes};

pub use error::{AllocError, Bug};
pub use managed::{ManagedPools, NameTaken};
pub use search::Algorithm;

use chunk::Chunk;

/// What an allocation returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocation<A, O = ()> {
    /// Address of the first byte; a multiple of the granule above the start of its chunk.
    pub address: A,
    /// Owner of the chunk it lies in, as given to [`Pool::add`].
    pub owner: O,
}

/// A pool over chunks at addresses `A`, each with an address `P` for its other name (what the kernel calls
/// "physical" and p2pdma fills with a bus address) and an owner `O`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool<A, P = A, O = ()> {
    order: u32,
    algorithm: Algorithm,
    /// Oldest first; searched from the end.
    chunks: Vec<Chunk<P, O>>,
    addresses: core::marker::PhantomData<A>,
}

impl<A: Address, P: Address, O: Copy> Pool<A, P, O> {
    /// An empty pool with granules of `2^order` bytes and first fit; `None` for orders above 63.
    pub fn new(order: u32) -> Option<Pool<A, P, O>> {
        let empty =
            Pool { order, algorithm: Algorithm::FirstFit, chunks: Vec::new(), addresses: Default::default() };
        (order < u64::BITS).then_some(empty)
    }

    /// Bytes of one granule.
    pub fn granule(&self) -> Bytes {
        Bytes(1 << self.order)
    }

    /// The algorithm of allocations that name none; `None` means first fit.
    pub fn set_algorithm(&mut self, algorithm: Option<Algorithm>) {
        self.algorithm = algorithm.unwrap_or(Algorithm::FirstFit);
    }

    /// Adds `size` bytes at `start`, all free. Neither alignment nor overlap with other chunks is asked for, and size
    /// 0 is accepted.
    pub fn add(&mut self, start: A, phys: P, size: Bytes, owner: O) {
        self.chunks.push(Chunk::new(start.raw(), phys, size, owner, self.order));
    }

    /// [`Pool::alloc_with`] the pool's algorithm.
    pub fn alloc(&mut self, size: Bytes) -> Result<Allocation<A, O>, AllocError> {
        self.alloc_with(size, self.algorithm)
    }

    /// Takes `size` bytes, rounded up to granules, from the newest chunk that can hold them.
    ///
    /// A chunk that starts at address 0 and would hand out its first granule loses it: the kernel cannot tell that
    /// address from failure ([`AllocError::AddressZero`]).
    pub fn alloc_with(&mut self, size: Bytes, algorithm: Algorithm) -> Result<Allocation<A, O>, AllocError> {
        if size == Bytes::ZERO {
            return Err(AllocError::ZeroSize);
        }
        algorithm.check(self.order)?;
        for chunk in self.chunks.iter_mut().rev() {
            match chunk.alloc(size, algorithm, self.order)? {
                None => {}
                Some(0) => return Err(AllocError::AddressZero),
                Some(address) => {
                    return Ok(Allocation { address: A::from_raw(address), owner: chunk.owner });
                }
            }
        }
        Err(AllocError::Exhausted)
    }

    /// [`Pool::alloc`], together with the other address of what it got: the kernel's `dma_alloc` variants.
    pub fn alloc_phys(&mut self, size: Bytes) -> Result<(Allocation<A, O>, Option<P>), AllocError> {
        let allocation = self.alloc(size)?;
        Ok((allocation, self.virt_to_phys(allocation.address)))
    }

    /// Gives `size` bytes from `address` back, in whole granules, and tells the owner of their chunk. Any part of an
    /// allocation may be freed. Size 0 inside a chunk does nothing.
    pub fn free(&mut self, address: A, size: Bytes) -> Result<O, Bug> {
        let order = self.order;
        let chunk = self.chunks.iter_mut().rev().find(|chunk| chunk.contains(address.raw()));
        let chunk = chunk.ok_or(Bug::NoChunk { address: address.raw() })?;
        chunk.free(address.raw(), size, order)?;
        Ok(chunk.owner)
    }

    /// Sum of the chunks' sizes, modulo 2^64.
    pub fn size(&self) -> Bytes {
        Bytes(self.chunks.iter().fold(0, |sum: u64, chunk| sum.wrapping_add(chunk.size())))
    }

    /// Sum of the chunks' available bytes, modulo 2^64.
    pub fn available(&self) -> Bytes {
        Bytes(self.chunks.iter().fold(0, |sum: u64, chunk| sum.wrapping_add(chunk.available())))
    }

    /// Bytes of the largest free run of granules in any chunk: the most that one allocation by first fit can get, but
    /// for a chunk's odd remainder.
    pub fn largest_free(&self) -> Bytes {
        Bytes(self.chunks.iter().map(|chunk| chunk.longest_free() << self.order).max().unwrap_or(0))
    }

    /// Number of separate free runs in all chunks.
    pub fn free_runs(&self) -> usize {
        self.chunks.iter().map(Chunk::free_runs).sum()
    }

    /// True when one chunk holds both the first and the last of `size` bytes from `address`.
    pub fn has_addr(&self, address: A, size: Bytes) -> bool {
        let last = address.raw().wrapping_add(size.0).wrapping_sub(1);
        self.chunks.iter().any(|chunk| chunk.contains(address.raw()) && chunk.contains(last))
    }

    /// The other address of `address`, by the newest chunk that holds it; `None` (the kernel: all ones) in no chunk.
    pub fn virt_to_phys(&self, address: A) -> Option<P> {
        let chunk = self.chunks.iter().rev().find(|chunk| chunk.contains(address.raw()))?;
        Some(P::from_raw(chunk.phys.raw().wrapping_add(address.raw().wrapping_sub(chunk.start))))
    }

    /// True while any granule is in use.
    pub fn in_use(&self) -> bool {
        self.chunks.iter().any(Chunk::in_use)
    }

    /// Ends the pool; a bug while anything is allocated.
    pub fn destroy(self) -> Result<(), Bug> {
        if self.in_use() { Err(Bug::InUse) } else { Ok(()) }
    }
}
