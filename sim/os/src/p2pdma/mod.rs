//! Peer-to-peer DMA: may one PCI function reach another's memory, how far is it, and by which address.
//!
//! [`resolve`] is the kernel's distance calculation: it looks for a common bridge, for ACS redirection on
//! the way, and, where the path crosses the root complex, at CPU and host bridge. [`Resolver`] does the same
//! for many pairs with everything that does not depend on the pair computed once. [`dma_address`] turns a
//! byte of a BAR into what a driver hands to the client.

mod address;
mod cpu;
mod host_bridge;
mod resolve;
mod warning;

pub use address::{DmaTarget, EREMOTEIO, NotReachable, Translation, dma_address, largest_prefetchable_bar};
pub use cpu::{CpuIdentity, CpuVendor};
pub use host_bridge::root_device;
pub use resolve::{MapType, Reason, Resolution, Resolver, resolve, resolve_all};
pub use warning::{Warning, advice, warnings};
