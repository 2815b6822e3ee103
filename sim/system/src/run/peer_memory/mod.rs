//! `PeerMemory` at run time: registrations first, then one state machine per client.
//!
//! Everything that is decided (who may register, which provider is nearest, where a request lies, which address a
//! client sends) is asked of [`peerbus_os::p2pdma`]; nothing here knows how a pool is searched. What it says is
//! counted and timed.
//!
//! Invariants: an allocation is given back exactly once, so at the end every pool is as full as after registration,
//! and bytes granted are bytes given back ([`Driven::finish`] asserts both). A client has at most `outstanding`
//! requests in its slots, and at most one that waits for a slot.
//!
//! Modules in reading order: `plan` (clients and flows, before anything runs), `pools` (the operating system's side), `tally` (what is counted), `client` (what a client draws and holds),
//! `drive` (the events), `obtain` (memory for a request), `transfer` (what is done with it), `target` (both where an NVMe target decides), `collect` (the outcome), `spaces` (pools among all that can run out).

mod client;
mod collect;
mod drive;
mod obtain;
mod plan;
mod pools;
mod spaces;
mod tally;
mod target;
mod transfer;

pub use collect::{errors, outcome};
pub use drive::{Driven, Event, Io, PeerMemories};
pub use plan::PeerMemoryPlan;
pub use spaces::spaces;
pub use transfer::Order;
