//! Peer-to-peer DMA on a booted machine: what calls work on.
//!
//! Memory is mapped by the kernel's DMA layer, by which an IOMMU's users get their addresses, and unmapped at once. All
//! calls are made at one moment.

use std::sync::Arc;

use peerbus_os::dma::{Memory, Translations};
use peerbus_os::p2pdma::{Client, P2pdma, Peers, PhysicalMemory, largest_prefetchable_bar};
use peerbus_os::pci::{AcsWord, FunctionIndex, ResourceRef, set_acs_control};
use peerbus_units::{Address, BusAddr, Bytes, CpuAddr, FunctionId, Picos, Range};

use super::call::{PeerCall, PeerSetup};
use super::result::Outcome;
use crate::boot::{Booted, kernel_memory};
use crate::iommu::{MapError, map_list, unmap};
use crate::p2p::{DmaKind, MapType};

/// A machine as calls left it.
#[derive(Clone, Debug)]
pub(super) struct PeerState {
    booted: Booted,
    p2pdma: P2pdma,
    ram: Vec<Range<CpuAddr>>,
    mappable: Range<CpuAddr>,
}

impl PeerState {
    pub fn new(setup: &Arc<PeerSetup>) -> PeerState {
        let booted = setup.booted.clone();
        let p2pdma = P2pdma::new(&booted.rules, &booted.cpu);
        let (ram, mappable) = kernel_memory(&setup.machine, &booted);
        PeerState { booted, p2pdma, ram, mappable }
    }

    /// Nothing for a call that succeeds and returns nothing.
    pub fn call(&mut self, call: &PeerCall) -> Option<Outcome> {
        let outcome = match call {
            PeerCall::Register { function, bar, size, offset } => {
                return self.register(*function, *bar, *size, *offset);
            }
            PeerCall::Publish { function, published } => {
                self.p2pdma.publish(self.booted.tree[*function].id, *published);
                return None;
            }
            PeerCall::SetAcs { function, control } => return self.set_acs(*function, *control),
            PeerCall::SetIds { function, vendor, device } => {
                let function = &mut self.booted.tree[*function];
                (function.vendor, function.device) = (*vendor, *device);
                return None;
            }
            PeerCall::SetWindow { cpu, bus } => {
                self.set_window(*cpu, *bus);
                return None;
            }
            PeerCall::Resolve { provider, client } => {
                let Booted { tree, registers, .. } = &self.booted;
                let (map_type, distance) = self.p2pdma.calculate(tree, registers, *provider, *client, true);
                Outcome::Resolved { map_type: MapType::from(map_type), distance }
            }
            PeerCall::Distance { provider, clients } => {
                let Booted { tree, registers, .. } = &self.booted;
                let distance =
                    self.p2pdma.distance_many(tree, registers, *provider, &functions(clients), true);
                Outcome::Distance { distance: distance.map_or(-1, i64::from) }
            }
            PeerCall::Find { clients } => {
                let Booted { tree, registers, .. } = &self.booted;
                let found = self.p2pdma.nearest(tree, registers, &functions(clients));
                let providers: Vec<FunctionId> =
                    found.into_iter().map(|function| tree[function].id).collect();
                match providers.is_empty() {
                    true => Outcome::failed("ENODEV", "no published provider is near all clients"),
                    false => Outcome::Found { providers },
                }
            }
            PeerCall::Map { provider, client, bar, offset } => self.map(*provider, *client, *bar, *offset),
        };
        Some(outcome)
    }

    /// The BAR meant.
    fn bar(&self, function: FunctionIndex, bar: Option<usize>) -> Result<usize, Outcome> {
        let bar = bar.or_else(|| largest_prefetchable_bar(&self.booted.tree, function));
        bar.ok_or_else(|| Outcome::failed("EINVAL", "the function has no prefetchable memory BAR"))
    }

    fn register(
        &mut self,
        function: FunctionIndex,
        bar: Option<usize>,
        size: Bytes,
        offset: Bytes,
    ) -> Option<Outcome> {
        let bar = match self.bar(function, bar) {
            Ok(bar) => bar,
            Err(failed) => return Some(failed),
        };
        let memory = PhysicalMemory { system_ram: &self.ram, mappable: self.mappable };
        let added = self.p2pdma.add_resource(&self.booted.tree, &memory, function, bar, size, offset);
        added.err().map(|error| Outcome::failed(error.errno(), error.to_string()))
    }

    fn set_acs(&mut self, function: FunctionIndex, control: u16) -> Option<Outcome> {
        let Booted { tree, registers, .. } = &mut self.booted;
        let written = set_acs_control(tree, registers, function, AcsWord(control));
        (!written).then(|| Outcome::failed("EINVAL", "the function has no ACS"))
    }

    /// Loading made sure that there is such a window.
    fn set_window(&mut self, cpu: CpuAddr, bus: BusAddr) {
        let bridges = self.booted.tree.host_bridges.iter_mut();
        for window in bridges.flat_map(|bridge| &mut bridge.windows) {
            if window.cpu.first() == cpu {
                window.bus = bus;
            }
        }
    }

    fn map(
        &mut self,
        provider: FunctionIndex,
        client: FunctionIndex,
        bar: Option<usize>,
        offset: Bytes,
    ) -> Outcome {
        let bar = match self.bar(provider, bar) {
            Ok(bar) => bar,
            Err(failed) => return failed,
        };
        let tree = &self.booted.tree;
        let range = tree.resource(ResourceRef { function: provider, number: bar }).range();
        let address = range
            .and_then(|range| range.first().checked_add(offset.0).filter(|address| range.contains(*address)));
        let Some(address) = address else {
            return Outcome::failed("EINVAL", format!("BAR {bar} has no byte {:#x}", offset.0));
        };
        match self.mapped(client, address) {
            None => Outcome::failed("EINVAL", format!("{address} is no registered memory")),
            Some(Err(MapError::Dma(error))) => Outcome::failed(error.errno(), error.to_string()),
            Some(Err(error)) => Outcome::failed("EINVAL", error.to_string()),
            Some(Ok((dma_addr, dma_kind))) => Outcome::Mapped { dma_addr, dma_kind },
        }
    }

    /// What `client` sends for `address`, mapped to the end of its page and unmapped; `None` for what is no peer memory.
    fn mapped(
        &mut self,
        client: FunctionIndex,
        address: CpuAddr,
    ) -> Option<Result<(u64, DmaKind), MapError>> {
        let provider = self.p2pdma.provider_of(address)?;
        let page = self.p2pdma.page_size().0;
        let list = [Memory::peer(provider, address, Bytes(page - address.0 % page))];
        let Booted { tree, registers, dma, .. } = &mut self.booted;
        let mut peers = Peers { p2pdma: &mut self.p2pdma, tree, config: registers };
        // Nobody looks at tables while nothing moves, and the mapping leaves none behind.
        let mut tables = Translations::default();
        let mapping = match map_list(dma, &mut tables, client, &list, &mut peers, Picos::ZERO) {
            Ok(mapping) => mapping,
            Err(error) => return Some(Err(error)),
        };
        let given = (mapping.address.0, DmaKind::from(mapping.kind));
        let unmapped = unmap(dma, &mut tables, mapping, Picos::ZERO);
        assert!(unmapped.is_ok(), "{address} was just mapped");
        Some(Ok(given))
    }
}

fn functions(clients: &[FunctionIndex]) -> Vec<Client> {
    clients.iter().map(|client| Client::Function(*client)).collect()
}
