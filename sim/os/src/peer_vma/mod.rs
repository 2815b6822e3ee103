//! Peer VMAs: device memory mapped into another device, under control of the device that has it.
//!
//! The *exporter* has memory that is larger than its BAR. Pages become reachable one by one, through slots of an
//! aperture inside the BAR; any slot can lead to any page. A process maps an object of that memory (a *VMA*), and
//! another device, the *importer*, that works in the same address space asks for DMA addresses of the VMA's pages. The
//! contract, as posted in 2019:
//!
//! 1. The exporter decides. It may refuse, and it may map for a peer what the CPU cannot reach.
//! 2. What was mapped once for an importer can be mapped again as long as the process has it mapped.
//! 3. After an invalidation the importer stops using the addresses and unmaps. It may unmap at any time.
//! 4. The exporter may move an object after an invalidation; the next mapping finds it at its new place.
//! 5. How many pages of an object or of a process may be reachable is the exporter's policy.
//! 6. Slots are filled page by page and freed by unmapping; that none is left is a failure of the mapping, nothing worse.
//!
//! Rules 2 and 6 together mean that a promise costs a slot: a page that may be asked for again keeps its *claim* on one
//! slot, though not on a particular one, until it is unmapped. Therefore
//!
//! ```text
//! claims = pages with a slot, or promised to an importer        claims ≤ slots
//! ```
//!
//! and importers can ask beforehand how many more claims there is room for.
//!
//! Memory of a BAR that is mapped as a whole by user space is another matter: [`P2pdma::map`](crate::p2pdma::P2pdma::map).
//!
//! Modules in reading order: `aperture` (slots), `object` (memory and who uses which page), `error`, `exporter` (VMAs and
//! policy), `cpu` (mappings of processes), `import` (mappings of devices), `invalidate` (taking back and moving).

mod aperture;
mod cpu;
mod error;
mod exporter;
mod import;
mod invalidate;
mod object;

pub use aperture::Aperture;
pub use cpu::{CpuFault, Filling};
pub use error::{PeerVmaBug, PeerVmaError};
pub use exporter::{Exporter, Policy, ProcessId, VmaId, VmaPages};
pub use import::{Enough, Importer};
pub use invalidate::{MoveObject, Stale};
pub use object::ObjectId;
