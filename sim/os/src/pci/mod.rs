//! PCI: enumeration, sizing and assignment of addresses, ACS programming.
//!
//! Modules in reading order: `tree` (what was found), `host_bridge` (the windows at the top).

mod host_bridge;
mod tree;

pub use host_bridge::{HostBridge, Window};
pub use tree::{
    BRIDGE_RESOURCES, Bus, BusIndex, Cause, Flags, Function, FunctionIndex, PcieType, RESOURCE_COUNT, ROM_RESOURCE,
    Resource, Tree, TriedWindow, WhyNot,
};
