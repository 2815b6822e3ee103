//! Why the pool gave nothing, and what a kernel would have died of.

use core::fmt;

/// A state in which the kernel stops or destroys itself. The pool is left as it was before the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Freed memory lies in no chunk.
    NoChunk {
        /// Where.
        address: u64,
    },
    /// Freed memory starts in a chunk and ends beyond it.
    BeyondChunk {
        /// Where it starts.
        address: u64,
    },
    /// Freed memory was not all allocated.
    NotAllocated {
        /// Where it starts.
        address: u64,
    },
    /// The pool was destroyed with allocations outstanding.
    InUse,
    /// A request of 2^32 granules or more: the search was for its low 32 bits, found a place too small, and would
    /// be repeated there for ever.
    EndlessSearch,
    /// As above, but the place is at the end of its chunk: the bitmap is written past its end.
    BeyondBitmap,
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bug::NoChunk { address } => write!(f, "memory freed at {address:#x} lies in no chunk"),
            Bug::BeyondChunk { address } => {
                write!(f, "memory freed at {address:#x} ends beyond its chunk")
            }
            Bug::NotAllocated { address } => {
                write!(f, "memory freed at {address:#x} was not all allocated")
            }
            Bug::InUse => f.write_str("a pool is destroyed while memory of it is allocated"),
            Bug::EndlessSearch => {
                f.write_str("a request of 2^32 granules or more is searched for without end")
            }
            Bug::BeyondBitmap => {
                f.write_str("a request of 2^32 granules or more writes past the end of a bitmap")
            }
        }
    }
}

impl core::error::Error for Bug {}

/// Why an allocation has no address. The kernel returns 0 for all but the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocError {
    /// Size 0.
    ZeroSize,
    /// No chunk has room.
    Exhausted,
    /// The place found is at address 0. It stays taken.
    AddressZero,
    /// [`Algorithm::Fixed`](super::Algorithm::Fixed) with an offset that is no multiple of the granule; the kernel
    /// also warns.
    UnalignedOffset,
    /// [`Algorithm::FirstFitAlign`](super::Algorithm::FirstFitAlign) with an alignment that is no power of two, for
    /// which the kernel defines nothing.
    NoPowerOfTwo,
    /// The kernel would not have survived.
    Bug(Bug),
}

impl From<Bug> for AllocError {
    fn from(bug: Bug) -> AllocError {
        AllocError::Bug(bug)
    }
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocError::ZeroSize => f.write_str("size 0"),
            AllocError::Exhausted => f.write_str("no chunk has room"),
            AllocError::AddressZero => f.write_str("the place found is at address 0, which means failure"),
            AllocError::UnalignedOffset => f.write_str("the offset is not a multiple of the granule"),
            AllocError::NoPowerOfTwo => f.write_str("the alignment is not a power of two"),
            AllocError::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for AllocError {}
