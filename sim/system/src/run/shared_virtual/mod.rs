//! `SharedVirtual` at run time: one process per workload, its memory management, and a state machine per agent.
//!
//! Everything that is decided (what moves, what is refused, what a device may use where it is) is asked of
//! [`peerbus_os::mm`], [`peerbus_os::migrate`], [`peerbus_os::hmm`] and [`peerbus_os::drivers`]. What they say takes time: work of
//! the kernel by [`costs`], copies as transfers on the fabric. Others run meanwhile.
//!
//! Every write gives its page a new value, and every read is compared with the last one: [`Tally::wrong_reads`] stays 0 as long
//! as no page is lost, doubled or exchanged.
//!
//! Modules in reading order: `costs` (what steps take), `pattern` (which page is next), `plan` (devices, buffers and ways, before
//! anything runs), `tally` (what is counted), `place` (where a page is for a device), `agent` (what an agent is at), `touch`
//! (one touch of a page), `faults` (who serves them), `steps` (what an agent does next), `drive` (the events), `spaces` (what can run out), `collect` (the outcome).

mod agent;
mod collect;
pub mod costs;
mod drive;
mod faults;
mod pattern;
mod place;
mod plan;
mod spaces;
mod steps;
mod tally;
mod touch;

pub use collect::{counters, errors, flows, spaces};
pub use drive::{Driven, Io, Mover, SharedOrder, SharedSpaces, Who};
pub use pattern::Pattern;
pub use plan::{CpuWay, GpuPlan, PeerWay, Role, SharedPlan, design_of, kind_of, ram_for};
