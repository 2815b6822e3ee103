//! What a booted machine looks like from both sides.
// PEERBUS_CASES says how long property tests run.
#![allow(clippy::disallowed_methods, reason = "tests read PEERBUS_CASES, and machines from files")]
#![allow(clippy::print_stdout, reason = "tests say what they compared and what they skipped")]

mod address_space;
mod boot;
mod build;
mod captured;
mod captures;
mod closed_form;
mod device_memory;
mod iommu;
mod nvme_target;
mod p2p;
mod page_structs;
mod payload;
mod peer_memory;
mod plan;
mod replay;
mod run;
mod set_up;
mod shared_buffer;
mod shared_choices;
mod shared_virtual;
mod shipped;
mod spaces;
mod translation_services;
mod why;
mod wrx90;
