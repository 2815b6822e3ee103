//! Litmus cases: two or three packets each, with what must happen computed by hand from a rule that the case cites.
//!
//! The link of all cases, unless they say otherwise: Gen4 x16. 16 GT/s × 16 lanes / 8 × 128/130 after encoding × 370/371
//! between skip ordered sets is 31,422.77 bytes per microsecond; a 256-byte write to a 64-bit address has 280 bytes on the
//! wire (8,910 ps), a read request 24 (763 ps), a 256-byte completion 276 (8,783 ps).

mod aperture;
mod ats;
mod causes;
mod channels;
mod cores;
mod credits;
mod errors;
mod faults;
mod handling;
mod in_turn;
mod link;
mod memory;
mod ntb;
mod ordering;
mod pages;
mod ports;
mod private;
mod root_complex;
mod sharing;
mod splitting;
mod tags;

use peerbus_fabric::{Cause, Fabric, LinkLayer, Options};
use peerbus_machine::{Machine, Registers};

/// A fabric of a machine, by rule.
fn fabric(machine: &Machine, registers: &Registers) -> Fabric {
    Fabric::new(machine, registers, &Options { link_layer: LinkLayer::ByRule, scaling: vec![] })
}

/// Time of a flow's packets by cause, in picoseconds, causes without any left out.
fn causes(fabric: &Fabric, flow: usize) -> Vec<(Cause, u64)> {
    let time = fabric.ledger.flows[flow].time;
    Cause::ALL.into_iter().map(|cause| (cause, time[cause as usize])).filter(|(_, time)| *time > 0).collect()
}
