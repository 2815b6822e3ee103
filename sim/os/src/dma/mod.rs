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
//! Modules in reading order: `rules` (kernels), `work` (costs), `error`; `alias`, `group` (who is
//! together); `default_domain` (translated or not); `iova_tree`, `iova_cache`, `iova_space`, `flush_queue`,
//! `reserved`, `domain` (addresses); `device`, `memory`, `peers`, `tables`, `bounce` (what mapping asks and
//! writes); `mapper`, `list`, `two_step` (mapping); `layer`, which holds all of it together; `attach` (whose requests
//! a table is for), `ats` (devices that translate themselves).

mod alias;
mod ats;
mod attach;
mod bounce;
mod default_domain;
mod device;
mod domain;
mod error;
mod flush_queue;
mod group;
mod iova_cache;
mod iova_space;
mod iova_tree;
mod layer;
mod list;
mod mapper;
mod memory;
mod peers;
mod reserved;
mod rules;
mod tables;
mod two_step;
mod work;

pub use alias::{Alias, AliasQuirks, dma_aliases};
pub use bounce::{BounceArea, BounceBuffers, NoBounce};
pub use default_domain::{
    DeviceKind, DomainParameters, DomainType, GroupDomain, IommuDriver, Member, ProbeRefused,
    TranslationFeatures, Wish, global_domain_type, group_domain, translation_features,
};
pub use device::Device;
pub use domain::{DomainError, DomainShape, Invalidation, TranslatedDomain};
pub use error::DmaError;
pub use flush_queue::{Drained, FlushQueue, FlushShape, FlushTimer, Pages};
pub use group::{GroupNumber, Grouping, Groups};
pub use iova_cache::{IovaCaches, MAGAZINE};
pub use iova_space::{Call, IovaSpace};
pub use iova_tree::IovaTree;
pub use layer::{Dma, DmaSettings, Domain, Iommu, Operations, peers_supported};
pub use mapper::Context;
pub use memory::{Attributes, DmaKind, Mapped, Memory, Segment, entries_or_zero};
pub use peers::{NoPeers, PeerType, PeerTypes, ProviderId};
pub use reserved::{ReservedKind, ReservedRegion, amd_aperture_end, intel_aperture_end, reserved_ranges};
pub use rules::DmaRules;
pub use tables::{IommuTables, TableFull, Translations};
pub use two_step::Reservation;
pub use work::DmaWork;
