//! [`ChunkPolicy`]: how much private memory drivers reserve at once, and which pages they hand out first.
//!
//! Drivers with few pages in use reserve a *chunk* when they run out of free pages. Free pages are a stack: a chunk's
//! are pushed from the lowest to the highest, and the highest is handed out first. Some of a chunk may never be
//! pushed.

use peerbus_units::Bytes;

use super::{FreeLists, Reserved};
use crate::pagemap::{MapPage, PAGE_STRUCT};
use crate::profile::Rules;

/// Pages of 4 KiB in a piece of 2 MiB, and the order of a folio of that size.
const PIECE: u64 = 512;
const PIECE_ORDER: u32 = 9;

/// In what sizes chunks are handed out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Handout {
    /// Page by page.
    Pages,
    /// In compound pages of 2 MiB.
    Folios,
}

impl Handout {
    /// Base-2 logarithm of the pages in one piece.
    pub const fn order(self) -> u32 {
        match self {
            Handout::Pages => 0,
            Handout::Folios => PIECE_ORDER,
        }
    }

    /// Pages in one piece.
    pub const fn pages(self) -> u64 {
        1 << self.order()
    }
}

/// What one driver does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkPolicy {
    /// Device memory reserved at once.
    pub size: Bytes,
    /// Pieces of 2 MiB that are made into free pages.
    pieces: u64,
    /// Pages from one piece to the next, and pushed of each, when they are pushed one by one.
    stride: u64,
}

impl ChunkPolicy {
    /// The kernel's own test device: 256 MiB.
    pub const TEST_DEVICE: ChunkPolicy = ChunkPolicy { size: Bytes::mib(256), pieces: 128, stride: PIECE };

    /// nouveau: one piece a chunk in older kernels. In newer ones 128, but with single pages each piece gives only 511
    /// and the next begins right behind, so that the last 128 pages of the chunk are never used.
    pub const fn nouveau(rules: &Rules) -> ChunkPolicy {
        match rules.pagemap.nouveau_pieces {
            1 => ChunkPolicy { size: Bytes::mib(2), pieces: 1, stride: PIECE },
            pieces => ChunkPolicy { size: Bytes::mib(2 * pieces), pieces, stride: PIECE - 1 },
        }
    }

    /// amdkfd and xe: all of a device's memory in one chunk, rounded up to 2 MiB, at its initialisation. Which page is
    /// handed out is decided by the manager of the device's memory: none is pushed.
    pub const fn whole(memory: Bytes) -> ChunkPolicy {
        let rounded = memory.0.div_ceil(Bytes::mib(2).0).saturating_mul(Bytes::mib(2).0);
        ChunkPolicy { size: Bytes(rounded), pieces: 0, stride: PIECE }
    }

    /// The same for a driver whose manager of device memory knows nothing but pages and compound pages of 2 MiB: all of them
    /// are pushed.
    pub const fn managed(memory: Bytes) -> ChunkPolicy {
        let size = ChunkPolicy::whole(memory).size;
        ChunkPolicy { size, pieces: size.0 / Bytes::mib(2).0, stride: PIECE }
    }

    /// What amdkfd counts against its limit of system memory for a device's memory: page structs, of ordinary pages.
    pub const fn amdkfd_charge(memory: Bytes) -> Bytes {
        Bytes(memory.0.div_ceil(4096).saturating_mul(PAGE_STRUCT.0))
    }

    /// The free pages of a new chunk of `pages` pages, in the order in which they are pushed.
    pub fn pushed(&self, handout: Handout, pages: u64) -> impl Iterator<Item = u64> + use<> {
        let (count, step) = match handout {
            Handout::Pages => (self.pieces * self.stride, 1),
            Handout::Folios => (self.pieces, PIECE),
        };
        (0..count).map(move |number| number * step).take_while(move |first| *first < pages)
    }

    /// Pushes the free pages of a new chunk, as far as there is memory for `most` pages.
    pub fn fill(&self, lists: &mut FreeLists, chunk: &Reserved, handout: Handout, most: u64) {
        let map = chunk.map;
        let free = self.pushed(handout, chunk.pages).take_while(|first| first + handout.pages() <= most);
        lists.push_all(free.map(|index| MapPage { map, index }), handout);
    }
}
