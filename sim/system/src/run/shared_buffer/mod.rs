//! `SharedBuffer` at run time: one exporter, its buffer, and a state machine per importer.
//!
//! Everything that is decided (who may attach, who gets the exporter's own memory, where a pin puts the buffer, who is told of
//! a move, what a revocation waits for) is asked of [`peerbus_os::dma_buf`], and addresses of the kernel's DMA layer. What they
//! say takes time: work of the kernel by `costs`, moves as transfers of the exporter's engine, accesses as transfers of
//! the importers'. Mappings are made and undone while the run is under way, so an importer that used an address after it
//! had to let go would meet nothing there.
//!
//! Every write gives its chunk a new version in the memory where it lands, moves copy versions, and every read is compared with
//! the last write: `wrong_reads` stays 0 as long as nobody uses a place that the buffer has left.
//!
//! Invariants: what is mapped, pinned and attached is given back when an importer is over; at the end nothing is left
//! ([`SharedBuffers::finish`] asserts it). A buffer moves only while nobody transfers.
//!
//! Modules in reading order: `costs` (what steps take), `plan` (devices and flows, before anything runs), `exported` (the
//! operating system's buffer, of whichever driver), `contents` (what is in it), `step` (the kernel at one moment), `mapping` (addresses of an importer),
//! `importer` (what one is at), `import` (attaching, mapping, letting go), `moving` (moves and revocations), `drive` (the
//! events), `collect` (the outcome).

mod collect;
mod contents;
mod costs;
mod drive;
mod exported;
mod import;
mod importer;
mod mapping;
mod moving;
mod plan;
mod step;

pub use collect::{counters, errors, note};
pub use drive::{Driven, SharedBuffers};
pub use plan::BufferPlan;
pub use step::{BufferEvent, Io};
