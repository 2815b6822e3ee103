//! Page maps: giving page structs to memory that is not ordinary RAM (`memremap_pages`).
//!
//! A *page map* covers ranges of physical addresses, or of a space of its own, with page structs of one
//! [`MemoryType`]. It has an owner (private and coherent memory), counts references, and costs kernel memory: 64 bytes
//! a page, in the map of all page structs ([`Vmemmap`]) or, for private memory outside physical address space, in an
//! ordinary array. It goes in two steps: *dying* gives no new references, and the last reference that is put ends it.
//!
//! Invariants: the kernel memory a page map has taken is given back when it ends, and not before; the number of
//! references of a map is that of its resting ones plus those of pages handed out; a refused request leaves the
//! index as its last check left it and no map behind. No time passes here: what initialisation takes is
//! [`Initialisation::time`], from rates that the caller knows.
//!
//! Modules in reading order: `kind` (types and their first references), `rules` (kernels), `index` (which map a page
//! belongs to), `vmemmap` (where page structs lie and what they cost), `request` and `error`, `maps` (the map of maps),
//! `references`, `initialise` (how long it takes).

mod error;
mod index;
mod initialise;
mod kind;
mod maps;
mod references;
mod request;
mod rules;
mod vmemmap;

pub use error::{NoPageMap, ReferenceBug};
pub use index::RangeIndex;
pub use initialise::{Initialisation, PageRates, PageState};
pub use kind::MemoryType;
pub use maps::{MapPage, Owner, PageMap, PageMapId, PageMaps, Place};
pub use references::Unmap;
pub use request::{Callbacks, MemoryLayout, PageMapRequest};
pub use rules::PageMapRules;
pub use vmemmap::{KernelMemory, PAGE_STRUCT, PageStructs, SUB_SECTION, Vmemmap, VmemmapShape};
