//! What a booted machine looks like from both sides.
// PEERBUS_CASES says how long property tests run.
#![allow(clippy::disallowed_methods, reason = "tests read PEERBUS_CASES")]

mod boot;
mod build;
mod closed_form;
mod p2p;
mod plan;
mod run;
mod shipped;
mod wrx90;
