//! [`PeerTypes`]: the question about a provider of peer-to-peer memory, as mapping asks it.
//!
//! Mapping does not know how map types are found or kept. It asks once whenever the provider changes along a list,
//! and never for devices that are not PCI functions: those reach no peer memory.

use crate::MapType;
use crate::pci::FunctionIndex;

/// Who provides a page: 6.x has one per registered page map, 7.x one per BAR. The number is the implementor's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProviderId(pub u32);

/// How a client reaches a provider's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerType {
    /// The way.
    pub map_type: MapType,
    /// Bus address − CPU address of the provider's memory, modulo 2^64.
    pub bus_offset: u64,
}

/// Answers for pairs of provider and client; `p2pdma` keeps them in each provider's cache.
pub trait PeerTypes {
    /// How `client` reaches memory of `provider`. A provider that is not known (any more) is
    /// [`MapType::NotSupported`].
    fn peer_type(&mut self, provider: ProviderId, client: FunctionIndex) -> PeerType;
}

/// No peer-to-peer memory at all.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoPeers;

impl PeerTypes for NoPeers {
    fn peer_type(&mut self, _: ProviderId, _: FunctionIndex) -> PeerType {
        PeerType { map_type: MapType::NotSupported, bus_offset: 0 }
    }
}
