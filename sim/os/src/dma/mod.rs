//! DMA: from memory to the address a device is given, with and without an IOMMU.
//!
//! Functions that could reach each other unseen form a *group*; a group has one *domain*: none or identity (the
//! device uses CPU physical addresses), or a translated one with its own space of I/O virtual addresses (IOVAs).
//! Mapping asks for the masks of the device, for the type of peer-to-peer memory, and takes IOVAs where the domain
//! translates.
//!
//! Invariants: no clock is read and nothing is random, both are arguments ([`Call`]); no IOVA is handed out twice
//! while in use, outside the device's limits, or in a reserved range; a call that fails leaves nothing mapped.
//!
//! Modules in reading order: `rules` (kernels), `work` (costs), `peers` (what is asked about peer-to-peer memory);
//! `iova_tree`, `iova_cache`, `iova_space`, `flush_queue` (allocation).

mod flush_queue;
mod iova_cache;
mod iova_space;
mod iova_tree;
mod peers;
mod rules;
mod work;

pub use flush_queue::{Drained, FlushQueue, FlushShape, FlushTimer, Pages};
pub use iova_cache::{IovaCaches, MAGAZINE};
pub use iova_space::{Call, IovaSpace};
pub use iova_tree::IovaTree;
pub use peers::{NoPeers, PeerType, PeerTypes, ProviderId};
pub use rules::DmaRules;
pub use work::DmaWork;
