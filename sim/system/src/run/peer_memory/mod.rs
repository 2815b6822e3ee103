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
//! Modules in reading order: `plan` (clients and flows, before anything runs), `pools` (the operating system's side,
//! and the levels of its pools over time), `tally` (what is counted), `client` (what a client draws and holds),
//! `choose` (whom it asks), `drive` (the events), `collect` (the outcome).

mod choose;
mod client;
mod collect;
mod drive;
mod plan;
mod pools;
mod tally;

pub use collect::{errors, outcome, spaces};
pub use drive::{Driven, Event, Io, Order, PeerMemories};
pub use plan::PeerMemoryPlan;
pub use pools::Level;
