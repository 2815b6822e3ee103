//! Memory that only a device can reach, and two designs of giving it page frames.
//!
//! The kernel keeps a page struct for each page of such memory, so that it can take part in migration as any other
//! page does; page tables hold a swap entry with the number of its *frame*. What that number is, is the design:
//!
//! * in *physical address space* ([`PhysicalFrames`]): an unused range of physical addresses, whole sections of it,
//!   taken from the top. The frames mean nothing to the CPU and lead nowhere, but look like any other;
//! * in a *space of its own* ([`OwnFrames`], posted): offsets from 0 up, page by page, limited by what a page-table
//!   entry can hold and shared with nothing else. No section, no place in the map of page structs; words that carry
//!   frames need a flag to say which kind they carry.
//!
//! [`DevicePrivate`] is what both have in common, and what migration and page tables use. Coherent device memory has
//! real physical addresses in both designs.
//!
//! Invariants: no frame belongs to two pages; a page's frame leads back to the page; what a refused or released
//! reservation took is given back, except page structs of sections that were populated before memory ran out.
//!
//! Modules in reading order: `design` (which), `frame` (numbers, and what the CPU finds there), `platform` (the machine
//! around it), `reservation` (requests and refusals), `physical`, `own`, `any` (the designs), `memory` (pages by one kind of number), `words` (flags),
//! `limits` (bits of entries), `chunk` (what drivers ask for at once), `free_lists` (what they hand out), `owners` (devices that share).

mod any;
mod chunk;
mod design;
mod frame;
mod free_lists;
mod limits;
mod memory;
mod own;
mod owners;
mod physical;
mod platform;
mod reservation;
mod words;

pub use any::{AnyDesign, design_of};
pub use chunk::{ChunkPolicy, Handout};
pub use design::PrivateDesign;
pub use frame::{CpuAccess, Frame, Looked};
pub use free_lists::FreeLists;
pub use limits::EntryBits;
pub use memory::PrivateMemory;
pub use own::OwnFrames;
pub use owners::OwnerGroups;
pub use physical::PhysicalFrames;
pub use platform::Platform;
pub use reservation::{NotReserved, PrivateRequest, ReserveWork, Reserved};
pub use words::{FrameWord, HmmLayout, MigrateLayout};

use crate::pagemap::{MapPage, PageMapId, ReferenceBug, Unmap};

/// A design of page frames for private memory.
pub trait DevicePrivate {
    /// Which it is.
    fn design(&self) -> PrivateDesign;

    /// Reserves frames and page structs for a driver's memory.
    fn reserve(&mut self, platform: &mut Platform, request: &PrivateRequest)
    -> Result<Reserved, NotReserved>;

    /// Gives a reservation back, after its last page is.
    fn release(&mut self, platform: &mut Platform, map: PageMapId) -> Result<Unmap, ReferenceBug>;

    /// The frame of a page, and the steps to it.
    fn frame(&self, platform: &Platform, page: MapPage) -> Option<Looked<Frame>>;

    /// The page of a frame, and the steps to it; `None` for frames that belong to nobody, or are of the other kind.
    fn page(&self, platform: &Platform, frame: Frame) -> Option<Looked<MapPage>>;
}
