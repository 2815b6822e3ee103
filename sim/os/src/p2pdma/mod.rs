//! Peer-to-peer DMA: may one PCI function reach another's memory, how far is it, and by which address.
//!
//! A *provider* owns memory in a BAR, a *client* wants to reach it. [`resolve()`] is the kernel's distance
//! calculation: it looks for a common function, for ACS redirection on the way, and, where the path passes the host
//! bridge, at the CPU and the table of host bridges. [`Resolver`] answers the same for many pairs from one reading
//! of the hardware. [`dma_address()`] turns a byte of a BAR into what a driver hands to the client.
//!
//! Invariants: nothing here writes; an answer depends only on the tree, the ACS control words at the moment of the
//! call, the CPU and the rules.
//!
//! Modules in reading order: `resolution` (the answer), `cpu` and `host_bridge` (may the host bridge forward),
//! `resolve` (the walk), `resolver` (many pairs), `warning` (what the kernel logs), `dma_address`.

mod cpu;
mod dma_address;
mod host_bridge;
mod resolution;
mod resolve;
mod resolver;
mod warning;

pub use cpu::{CpuIdentity, CpuVendor};
pub use dma_address::{DmaError, DmaMapping, dma_address, largest_prefetchable_bar};
pub use host_bridge::{Listing, allowed_row, head, listing, root_device};
pub use resolution::{MapType, Reason, Resolution};
pub use resolve::{resolve, upstream_path};
pub use resolver::{Resolver, resolve_all};
pub use warning::{Warning, advice, warnings};
