//! PCI: enumeration, sizing, assignment, ACS, payload sizes, and CPU ↔ bus addresses.
//!
//! [`boot`] does what a kernel does between finding a host bridge and probing drivers. Its result, the
//! [`Tree`], is plain data; all writes go through [`ConfigSpace`](crate::ConfigSpace).

pub mod acs;
mod align;
mod assign;
mod bars;
mod boot;
mod bridge;
mod capability;
mod claim;
mod distribute;
mod extent;
mod failure;
mod host;
mod hotplug;
mod mps;
mod options;
mod place;
mod program;
mod rebar;
mod regs;
mod rescan;
pub mod resource;
mod rounds;
mod scan;
mod setup;
mod size;
mod space;
mod sriov;
mod transaction;
mod tree;
mod unplaced;
mod wishes;

pub use acs::{
    AcsEvent, AcsParameters, AcsWord, acs_capability, acs_control, acs_enabled, acs_path, set_acs_control,
};
pub use boot::{boot, enumerate};
pub use capability::{find_capability, find_extended_capability};
pub use failure::{Cause, ConsideredWindow, Rejection, WhyNot};
pub use host::{HostBridge, Window};
pub use hotplug::hot_add;
pub use mps::{
    MpsPolicy, PayloadEvent, ReadRequestError, configure_bus, max_payload, max_payload_supported,
    max_read_request, set_read_request,
};
pub use options::{BootOptions, Platform, Realloc};
pub use rebar::{ResizableSize, ResizableSizes, Resize, ResizeError, resizable_sizes, resize};
pub use rescan::rescan;
pub use resource::{Parent, Place, Resource, ResourceFlags, ResourceKind, ResourceRef};
pub use space::{Claim, Space};
pub use sriov::{VirtualFunctionError, enable_virtual_functions};
pub use tree::{
    BridgeWindows, Bus, BusIndex, Capabilities, Function, FunctionIndex, HeaderType, PcieType, Tree,
};
