//! [`HmmDmaMap`]: the words of a range, and where its addresses come from.

use alloc::vec;
use alloc::vec::Vec;

use peerbus_units::{Bytes, CpuAddr};

use super::HmmDmaError;
use crate::device_private::HmmLayout;
use crate::dma::{Context, Device, Dma, DmaError, Mapped, Reservation};
use crate::pci::FunctionIndex;

/// What a map is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapSettings {
    /// The kernel's words.
    pub words: HmmLayout,
    /// Pages.
    pub pages: usize,
    /// Bytes mapped for each.
    pub entry: Bytes,
    /// Size of a page.
    pub page: Bytes,
    /// Highest address of RAM.
    pub highest_ram: CpuAddr,
}

/// Pages of a range and their DMA addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a map that is dropped keeps its addresses"]
pub struct HmmDmaMap {
    pub(super) settings: MapSettings,
    pub(super) words: Vec<u64>,
    pub(super) way: Way,
}

/// Where addresses come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// One area of IOVAs.
    Area(Reservation),
    /// Each page by itself, remembered because unmapping needs it.
    Each(Vec<Option<Mapped>>),
    /// Each page by itself, and unmapping needs nothing.
    Stateless,
}

/// Pages of one map: the words of more do not fit into the largest array that the kernel allocates, 2 GiB.
const MOST_PAGES: usize = (1 << 31) / 8 - 1;

impl HmmDmaMap {
    /// A map for `device`, with no page in it yet.
    pub fn alloc(
        dma: &mut Dma,
        device: FunctionIndex,
        settings: MapSettings,
        context: &mut Context<'_>,
    ) -> Result<HmmDmaMap, HmmDmaError> {
        if settings.words.kept() == 0 {
            return Err(HmmDmaError::NoInterface);
        }
        let translated = dma.is_translated(device);
        let able = dma.device(device).is_some_and(|it| able(it, translated, settings.highest_ram));
        if !able {
            return Err(HmmDmaError::NotSupported);
        }
        if settings.pages > MOST_PAGES {
            return Err(HmmDmaError::Dma(DmaError::NoMemory));
        }
        let pages = u64::try_from(settings.pages).unwrap_or(u64::MAX);
        let size = Bytes(pages.saturating_mul(settings.page.0));
        let way = match dma.reserve(device, CpuAddr(0), size, context)? {
            Some(area) => Way::Area(area),
            None if translated => Way::Each(vec![None; settings.pages]),
            None => Way::Stateless,
        };
        Ok(HmmDmaMap { settings, words: vec![0; settings.pages], way })
    }

    /// The words, for a range fault to fill in.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// The words.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// True with one area of IOVAs for all pages.
    pub fn has_area(&self) -> bool {
        matches!(self.way, Way::Area(_))
    }

    /// Unmaps what is still mapped and gives the addresses back.
    pub fn free(
        mut self,
        dma: &mut Dma,
        device: FunctionIndex,
        context: &mut Context<'_>,
    ) -> Result<(), HmmDmaError> {
        for index in 0..self.words.len() {
            self.unmap_pfn(dma, device, index, context)?;
        }
        match self.way {
            Way::Area(area) => Ok(dma.destroy(device, area, context)?),
            Way::Each(_) | Way::Stateless => Ok(()),
        }
    }
}

/// The device can use any memory as it is. One whose DMA is translated needs addresses of 32 bits.
fn able(device: &Device, translated: bool, highest_ram: CpuAddr) -> bool {
    let needed = if translated { 0xffff_ffff } else { highest_ram.0.wrapping_add(device.direct_offset) };
    device.cache_coherent && !device.force_bounce && device.limit() >= needed
}
