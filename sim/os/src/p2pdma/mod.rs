//! Peer-to-peer DMA: may one PCI function reach another's memory, how far is it, and by which address.
//!
//! A *provider* owns memory in a BAR, a *client* wants to reach it. [`resolve()`] is the kernel's distance
//! calculation: it looks for a common function, for ACS redirection on the way, and, where the path passes the host
//! bridge, at the CPU and the table of host bridges. [`Resolver`] answers the same for many pairs from one reading
//! of the hardware. [`dma_address()`] turns a byte of a BAR into what a driver hands to the client.
//!
//! [`P2pdma`] is what remembers: which memory is registered, who may find it, which types were calculated. Its
//! methods are the kernel's interface to drivers and user space: registering, distances and search, mapping,
//! allocation, mappings of user space.
//!
//! Invariants: an answer of [`resolve()`] depends only on the tree, the ACS control words at the moment of the call,
//! the CPU and the rules; a type once remembered changes only when it is calculated again. Addresses of a pool are
//! handed out once at a time, and while one is in use its range stays registered.
//!
//! Modules in reading order: `resolution` (the answer), `cpu` and `host_bridge` (may the host bridge forward),
//! `resolve` (the walk), `resolver` (many pairs), `warning` (what the kernel logs), `dma_address`; then, with memory,
//! `rules` (kernels), `page_map`, `providers`, `register`, `distance`, `map`, `memory`, `user_map`, `pin`, `enable`,
//! `message`.

mod cpu;
mod distance;
mod dma_address;
mod enable;
mod host_bridge;
mod map;
mod memory;
mod message;
mod page_map;
mod pin;
mod providers;
mod register;
mod resolution;
mod resolve;
mod resolver;
mod rules;
mod user_map;
mod warning;

pub use cpu::{CpuIdentity, CpuVendor};
pub use distance::Client;
pub use dma_address::{DmaError, DmaMapping, dma_address, largest_prefetchable_bar};
pub use enable::{Enable, EnableError, enable_show};
pub use host_bridge::{Listing, allowed_row, head, listing, root_device};
pub use map::{MapState, Peers};
pub use memory::{MemoryBug, MemoryError, PeerEntry};
pub use message::Message;
pub use page_map::{PageMap, PageMaps, PhysicalMemory};
pub use pin::{MappedPage, Pin, PinError, PinFlags, pin};
pub use providers::{InitError, P2pdma, Provider};
pub use register::{RegisterError, Unbind};
pub use resolution::{MapType, Reason, Resolution};
pub use resolve::{resolve, upstream_path};
pub use resolver::{Resolver, resolve_all};
pub use rules::P2pdmaRules;
pub use user_map::{ALLOCATE_FILE_SIZE, MapError, MapRequest, MappingId};
pub use warning::{Warning, advice, advice_overflows, warnings};
