//! One page of a map: mapped, mapped again, unmapped.

use alloc::vec::Vec;

use peerbus_units::{BusAddr, Bytes, CpuAddr, DmaAddr};

use super::map::Way;
use super::{HmmDmaError, HmmDmaMap};
use crate::MapType;
use crate::device_private::{Frame, HmmLayout};
use crate::dma::{Attributes, Context, Dma, DmaError, Mapped, Memory, PeerType, ProviderId};
use crate::pci::FunctionIndex;

/// What mapping remembers from page to page: the last provider of peer memory, and how the device reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PeerState {
    last: Option<(ProviderId, PeerType)>,
}

impl PeerState {
    fn ask(&mut self, provider: ProviderId, device: FunctionIndex, context: &mut Context<'_>) -> PeerType {
        match self.last {
            Some((last, answer)) if last == provider => answer,
            _ => {
                context.work.provider_questions += 1;
                let answer = context.peers.peer_type(provider, device);
                self.last = Some((provider, answer));
                answer
            }
        }
    }
}

impl HmmDmaMap {
    /// Maps the page of word `index`. `provider` provides it if it is peer memory. A page that is mapped already, not by
    /// bus address, only gets its address again.
    pub fn map_pfn(
        &mut self,
        dma: &mut Dma,
        device: FunctionIndex,
        index: usize,
        provider: Option<ProviderId>,
        state: &mut PeerState,
        context: &mut Context<'_>,
    ) -> Result<DmaAddr, HmmDmaError> {
        let word = *self.words.get(index).ok_or(HmmDmaError::NoPage)?;
        let at = self.physical(word)?;
        let mapped = word & (HmmLayout::DMA_MAPPED | HmmLayout::P2PDMA_BUS) == HmmLayout::DMA_MAPPED;
        if let Some(address) = mapped.then(|| self.address_of(index)).flatten() {
            return Ok(address);
        }
        let mut flags = 0;
        let mut memory = Memory::ram(at, self.settings.entry);
        if let Some(provider) = provider {
            let answer = state.ask(provider, device, context);
            match answer.map_type {
                MapType::BusAddr => {
                    self.words[index] |= HmmLayout::P2PDMA_BUS | HmmLayout::DMA_MAPPED;
                    return Ok(DmaAddr::from_bus(BusAddr(at.0.wrapping_add(answer.bus_offset))));
                }
                MapType::ThruHostBridge => flags = HmmLayout::P2PDMA,
                MapType::NotSupported => return Err(HmmDmaError::NoPath(answer.map_type)),
            }
            memory = Memory::peer(provider, at, self.settings.entry);
        }
        match self.map_memory(dma, device, index, &memory, context) {
            Ok(address) => {
                self.words[index] |= flags | HmmLayout::DMA_MAPPED;
                Ok(address)
            }
            Err(error) => {
                self.words[index] &= !HmmLayout::P2PDMA;
                Err(error.into())
            }
        }
    }

    /// Unmaps the page of word `index`, and forgets how it was mapped; false if it was not.
    pub fn unmap_pfn(
        &mut self,
        dma: &mut Dma,
        device: FunctionIndex,
        index: usize,
        context: &mut Context<'_>,
    ) -> Result<bool, HmmDmaError> {
        const MAPPED: u64 = HmmLayout::VALID | HmmLayout::DMA_MAPPED;
        let word = *self.words.get(index).ok_or(HmmDmaError::NoPage)?;
        if word & MAPPED != MAPPED {
            return Ok(false);
        }
        if word & HmmLayout::P2PDMA_BUS == 0 {
            let offset = self.offset(index);
            match &mut self.way {
                Way::Area(area) => dma.unlink(device, area, offset, context)?,
                Way::Each(list) => {
                    let mapped = list.get_mut(index).and_then(Option::take).ok_or(DmaError::NotMapped)?;
                    dma.unmap(device, mapped, context)?;
                }
                Way::Stateless => {}
            }
        }
        self.words[index] &= !self.settings.words.kept();
        Ok(true)
    }

    /// The physical address of the page that a word names.
    fn physical(&self, word: u64) -> Result<CpuAddr, HmmDmaError> {
        if word & HmmLayout::VALID == 0 {
            return Err(HmmDmaError::NotValid);
        }
        match self.settings.words.decode(word).frame {
            Frame::Physical(pfn) => {
                pfn.0.checked_mul(self.settings.page.0).map(CpuAddr).ok_or(HmmDmaError::NotValid)
            }
            Frame::Offset(_) => Err(HmmDmaError::Private),
        }
    }

    /// Where the page lies in the area.
    fn offset(&self, index: usize) -> u64 {
        u64::try_from(index).unwrap_or(u64::MAX).saturating_mul(self.settings.entry.0)
    }

    /// The address of a page that is mapped; `None` where nothing is remembered.
    fn address_of(&self, index: usize) -> Option<DmaAddr> {
        match &self.way {
            Way::Area(area) => area.address(self.offset(index)),
            Way::Each(list) => list.get(index)?.as_ref().and_then(first_address),
            Way::Stateless => None,
        }
    }

    fn map_memory(
        &mut self,
        dma: &mut Dma,
        device: FunctionIndex,
        index: usize,
        memory: &Memory,
        context: &mut Context<'_>,
    ) -> Result<DmaAddr, DmaError> {
        let attributes = Attributes { mmio: memory.provider.is_some(), ..Attributes::default() };
        let offset = self.offset(index);
        if let Way::Area(area) = &mut self.way {
            dma.link(device, area, offset, memory, attributes, context)?;
            return area.address(offset).ok_or(DmaError::Invalid);
        }
        let mapped = dma.map(device, memory, attributes, context)?;
        let address = first_address(&mapped);
        // Device and CPU share the page: what was bounced would be a copy.
        let Some(address) = address.filter(|_| !mapped.is_bounced()) else {
            dma.unmap(device, mapped, context)?;
            return Err(DmaError::Io);
        };
        if let Way::Each(list) = &mut self.way
            && let Some(entry) = list.get_mut(index)
        {
            *entry = Some(mapped);
        }
        Ok(address)
    }

    /// Bytes mapped by IOVAs at the moment.
    pub fn linked(&self) -> Bytes {
        match &self.way {
            Way::Area(area) => area.linked(),
            Way::Each(list) => {
                let mapped: Vec<&Mapped> = list.iter().flatten().collect();
                Bytes(mapped.iter().flat_map(|mapped| &mapped.segments).map(|segment| segment.length.0).sum())
            }
            Way::Stateless => Bytes::ZERO,
        }
    }
}

fn first_address(mapped: &Mapped) -> Option<DmaAddr> {
    mapped.segments.first().map(|segment| segment.address)
}
