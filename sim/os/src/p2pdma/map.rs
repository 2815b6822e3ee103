//! From a page of peer memory to the address a client is given, by the type its provider remembers.

use peerbus_units::{BusAddr, CpuAddr};

use super::{Client, DmaError, DmaMapping, MapType, P2pdma};
use crate::ConfigSpace;
use crate::dma::{PeerType, PeerTypes, ProviderId};
use crate::pci::{FunctionIndex, Tree};

/// What mapping remembers along a list: the last provider and its answer. Asked anew only when the provider changes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MapState {
    last: Option<(ProviderId, PeerType)>,
}

impl P2pdma {
    /// The kernel's `pci_p2pdma_map_type`: what the provider remembers of `client`; calculated, with warnings, if it
    /// remembers nothing. Unlike distances, types are those of PCI functions only: a device below one gets nothing.
    pub fn map_type(
        &mut self,
        tree: &Tree,
        cs: &impl ConfigSpace,
        provider: ProviderId,
        client: Client,
    ) -> MapType {
        let owner = self.providers.get(&provider).map(|provider| provider.function);
        let owner = owner.filter(|owner| self.has_state(*owner)).and_then(|owner| tree.find(owner));
        let (Some(owner), Client::Function(client)) = (owner, client) else {
            return MapType::NotSupported;
        };
        match self.cached(tree[owner].id, tree[client].id) {
            Some(map_type) => map_type,
            None => self.calculate(tree, cs, owner, client, true).0,
        }
    }

    /// The provider of the page at `address`; none for other memory.
    pub fn provider_of(&self, address: CpuAddr) -> Option<ProviderId> {
        self.page_maps.owner(address).map(|map| map.provider)
    }

    /// Maps the page of peer memory at `address` for `client` without an IOMMU; `None` for other memory. Of a list, all
    /// pages share `state`.
    pub fn map_page(
        &mut self,
        tree: &Tree,
        cs: &impl ConfigSpace,
        state: &mut MapState,
        client: Client,
        address: CpuAddr,
    ) -> Option<Result<DmaMapping, DmaError>> {
        let provider = self.provider_of(address)?;
        let answer = match state.last {
            Some((last, answer)) if last == provider => answer,
            _ => {
                let map_type = self.map_type(tree, cs, provider, client);
                let bus_offset = self.provider(provider).map_or(0, |provider| provider.bus_offset);
                PeerType { map_type, bus_offset }
            }
        };
        state.last = Some((provider, answer));
        Some(match answer.map_type {
            MapType::BusAddr => Ok(DmaMapping::Bus(BusAddr(address.0.wrapping_add(answer.bus_offset)))),
            MapType::ThruHostBridge => Ok(DmaMapping::Cpu(address)),
            MapType::NotSupported => Err(DmaError::RemoteIo),
        })
    }

    /// The kernel's `pci_p2pmem_virt_to_bus`: the bus address registration noted for a byte of the pool. 0 for address 0
    /// and without state, all ones for what is in no chunk.
    pub fn virt_to_bus(&self, function: peerbus_units::FunctionId, address: CpuAddr) -> BusAddr {
        let Some(state) = self.functions.get(&function).filter(|_| address.0 != 0) else {
            return BusAddr(0);
        };
        let bus = state.pool.as_ref().and_then(|pool| pool.virt_to_phys(address));
        bus.unwrap_or(BusAddr(u64::MAX))
    }
}

/// [`P2pdma`] answering for DMA mapping, with the hardware it calculates from.
#[derive(Debug)]
pub struct Peers<'a, C> {
    /// What it remembers.
    pub p2pdma: &'a mut P2pdma,
    /// Functions as they are now.
    pub tree: &'a Tree,
    /// Their registers.
    pub config: &'a C,
}

impl<C: ConfigSpace> PeerTypes for Peers<'_, C> {
    fn peer_type(&mut self, provider: ProviderId, client: FunctionIndex) -> PeerType {
        let map_type = self.p2pdma.map_type(self.tree, self.config, provider, Client::Function(client));
        let bus_offset = self.p2pdma.provider(provider).map_or(0, |provider| provider.bus_offset);
        PeerType { map_type, bus_offset }
    }
}
