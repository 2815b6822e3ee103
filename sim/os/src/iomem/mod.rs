//! Physical address space as the kernel keeps it: a tree of named ranges, and the search for unused ones.
//!
//! [`IoMem`] is what `/proc/iomem` shows. Firmware's memory map, host bridge windows, BARs and drivers' claims are
//! entered in it; what has no entry at the top level is taken to be unused. Memory that only a device can reach
//! is given such an unused range by [`IoMem::request_free_mem_region`], below a limit that depends on the
//! architecture and on how the linear map is laid out ([`PhysicalSpace`]).
//!
//! Invariants: a child lies inside its parent, siblings do not overlap, and both are kept in order of address.
//! Every refusal is a value that names what is in the way.
//!
//! Modules in reading order: `rules` (what differs between kernels), `resource` (an entry), `tree` (entering and removing), `text` (`/proc/iomem`),
//! `region` (the entry points of the search), `grid` (the search itself), `physical` and `arm64` (its limits).

mod arm64;
mod grid;
mod physical;
mod region;
mod resource;
mod rules;
mod text;
mod tree;

pub use arm64::{Arm64, Arm64LinearMap, PageSize};
pub use physical::{DirectMap, Paging, PhysicalSpace};
pub use region::{Region, RegionError, RegionSpace, RegionWork, Searched};
pub use resource::{Conflict, Descriptor, IoResource, Refusal, ResourceId};
pub use rules::{DirectMapTrim, FreeRegionStep, IoMemRules};
pub use text::{ParseIoMemError, ParseProblem};
pub use tree::IoMem;
