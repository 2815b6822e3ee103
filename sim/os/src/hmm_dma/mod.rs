//! Pages of a range fault, mapped for a device one by one (`hmm_dma_map_alloc`, `hmm_dma_map_pfn`,
//! `hmm_dma_unmap_pfn`; 7.x).
//!
//! A driver keeps one word per page. Range faults fill in the frame and its flags but leave three flags alone, in which
//! the mapping remembers what it has done: mapped, as peer memory, by bus address. Addresses come from one area of IOVAs
//! for all pages where the device's DMA is translated, and are made page by page where it is not.
//!
//! Invariants: a page that has the flag *mapped* has an address, and only it; what a failing call has taken is given
//! back; frames of private memory have no physical address and are refused.
//!
//! Modules in reading order: `error`, `map` (the area and the words), `page` (one page).

mod error;
mod map;
mod page;

pub use error::HmmDmaError;
pub use map::{HmmDmaMap, MapSettings};
pub use page::PeerState;
