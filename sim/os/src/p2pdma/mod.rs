//! Who may talk to whom, by which way, and at which address: `drivers/pci/p2pdma.c`.
//!
//! A *provider* owns memory in a BAR, a *client* wants to reach it. [`resolve()`] answers as the kernel does: how many
//! steps apart they are and whether a transfer may use bus addresses below a common bridge, must pass the host
//! bridge, or is refused; and it gives the [`Reason`]s. [`dma_address`] then tells what the client's driver writes
//! into its descriptors.
//!
//! Invariants: nothing here writes; the answer depends only on the tree, the ACS control words at the moment of the
//! call, the CPU and the rules. [`resolve()`] follows the kernel's walk step by step; [`Resolver`] gives the same
//! answers for many pairs from one reading of the hardware.
//!
//! Modules in reading order: `resolution` (the answer), `acs` (what redirects), `cpu` and `allow_list` (may the host
//! bridge forward), `resolve` (the walk), `resolver` (many pairs), `dma_address`.

mod acs;
mod allow_list;
mod cpu;
mod dma_address;
mod resolution;
mod resolve;
mod resolver;

pub use acs::redirects;
pub use allow_list::{Listing, identifying_function, listing};
pub use cpu::{CpuIdentity, CpuVendor};
pub use dma_address::{DmaError, DmaMapping, dma_address, largest_prefetchable_bar};
pub use resolution::{MapType, Reason, Resolution};
pub use resolve::{resolve, upstream_path};
pub use resolver::{Resolver, resolve_all};
