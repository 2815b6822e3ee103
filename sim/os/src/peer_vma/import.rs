//! Mappings of other devices: `p2p_map`, `p2p_unmap`, the same for memory without a VMA, and asking beforehand.

use alloc::vec::Vec;

use peerbus_units::{BusAddr, CpuAddr, DmaAddr, FunctionId};

use super::object::{Holder, Object};
use super::{Exporter, ObjectId, PeerVmaBug, PeerVmaError, ProcessId, VmaId};
use crate::MapType;
use crate::dma::PeerType;

/// A device that works in the address space of a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Importer(pub FunctionId);

/// Whether a mapping would succeed now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enough {
    /// Slots it would claim that are not claimed yet.
    pub needed: u64,
    /// Slots that nobody claims.
    pub left: u64,
}

/// Pages of one object, and who is to be shown them.
#[derive(Clone, Copy)]
struct Wanted {
    object: ObjectId,
    first: u64,
    pages: u64,
    holder: Holder,
    process: Option<ProcessId>,
}

impl Exporter {
    /// Maps pages `first..first + pages` of a VMA for `importer`, which reaches the BAR as `reach` says: all of them or
    /// none. Returns an address for each.
    pub fn p2p_map(
        &mut self,
        vma: VmaId,
        importer: Importer,
        first: u64,
        pages: u64,
        write: bool,
        reach: PeerType,
    ) -> Result<Vec<DmaAddr>, PeerVmaError> {
        let wanted = self.wanted(vma, importer, first, pages)?;
        if write && !self.vma(vma).is_some_and(|vma| vma.writable) {
            return Err(PeerVmaError::ReadOnly);
        }
        self.permitted(reach)?;
        self.movable(wanted.object)?;
        self.room(wanted.object, wanted.process, wanted.first, wanted.pages)?;
        Ok(self.import(wanted, reach))
    }

    /// Unmaps pages of a VMA. The promise to map them again lasts as long as the
    /// process has them mapped.
    pub fn p2p_unmap(
        &mut self,
        vma: VmaId,
        importer: Importer,
        first: u64,
        pages: u64,
    ) -> Result<(), PeerVmaBug> {
        let at = self.vmas.get(&vma).ok_or(PeerVmaBug::NotMapped)?.at;
        let inside = first.checked_add(pages).is_some_and(|end| end <= at.pages);
        if !inside {
            return Err(PeerVmaBug::NotMapped);
        }
        self.unimport(at.object, at.first + first, pages, (Some(vma), importer))?;
        self.finish_closing(vma);
        Ok(())
    }

    /// Maps device memory that private pages of a process stand for, without a VMA: as many pages as possible from
    /// `first` on. None: the pages go to main memory. Nothing is promised.
    pub fn map_private(
        &mut self,
        object: ObjectId,
        importer: Importer,
        first: u64,
        pages: u64,
        reach: PeerType,
    ) -> Vec<DmaAddr> {
        let possible = self.permitted(reach).is_ok() && self.movable(object).is_ok();
        let has = self.objects.get(&object).is_some_and(|object| object.has(first, pages));
        let mut addresses = Vec::new();
        if !possible || !has {
            return addresses;
        }
        for page in first..first + pages {
            if self.room(object, None, page, 1).is_err() {
                break;
            }
            let wanted = Wanted { object, first: page, pages: 1, holder: (None, importer), process: None };
            addresses.extend(self.import(wanted, reach));
        }
        addresses
    }

    /// Unmaps what [`Exporter::map_private`] mapped.
    pub fn unmap_private(
        &mut self,
        object: ObjectId,
        importer: Importer,
        first: u64,
        pages: u64,
    ) -> Result<(), PeerVmaBug> {
        self.unimport(object, first, pages, (None, importer))
    }

    /// What a mapping of these pages would need and what is left; or why it would be refused for other reasons. Nothing
    /// is taken: another may be faster.
    pub fn enough(
        &self,
        vma: VmaId,
        importer: Importer,
        first: u64,
        pages: u64,
        reach: PeerType,
    ) -> Result<Enough, PeerVmaError> {
        let wanted = self.wanted(vma, importer, first, pages)?;
        self.permitted(reach)?;
        let left = self.aperture.slots() - self.claims();
        match self.room(wanted.object, wanted.process, wanted.first, wanted.pages) {
            Ok(needed) | Err(PeerVmaError::Full { needed, .. }) => Ok(Enough { needed, left }),
            Err(error) => Err(error),
        }
    }

    fn wanted(&self, vma: VmaId, importer: Importer, first: u64, pages: u64) -> Result<Wanted, PeerVmaError> {
        let at = self.vma(vma).ok_or(PeerVmaError::NoVma)?;
        if !self.vmas.get(&vma).is_some_and(|vma| vma.shows(first, pages)) {
            return Err(PeerVmaError::Outside);
        }
        let (object, first) = (at.object, at.first + first);
        Ok(Wanted { object, first, pages, holder: (Some(vma), importer), process: Some(at.process) })
    }

    fn permitted(&self, reach: PeerType) -> Result<(), PeerVmaError> {
        if !self.policy.peers {
            return Err(PeerVmaError::Refused);
        }
        match reach.map_type {
            MapType::BusAddr => Ok(()),
            MapType::ThruHostBridge if self.policy.through_host_bridge => Ok(()),
            MapType::ThruHostBridge | MapType::NotSupported => Err(PeerVmaError::NoPath),
        }
    }

    fn movable(&self, object: ObjectId) -> Result<(), PeerVmaError> {
        let moving = self.objects.get(&object).is_some_and(|object| object.moving.is_some());
        if moving { Err(PeerVmaError::Wait) } else { Ok(()) }
    }

    /// Gives an importer the addresses of pages for which there is room.
    fn import(&mut self, wanted: Wanted, reach: PeerType) -> Vec<DmaAddr> {
        let Some(object) = self.objects.get_mut(&wanted.object) else { return Vec::new() };
        let pages = wanted.first..wanted.first + wanted.pages;
        let aperture = &mut self.aperture;
        let slots = pages.map(|page| {
            let slot = object.fill(aperture, page);
            object.uses.entry(page).or_default().importers.insert(wanted.holder, true);
            slot
        });
        slots.map(|slot| dma_address(slot, reach)).collect()
    }

    fn unimport(
        &mut self,
        object: ObjectId,
        first: u64,
        pages: u64,
        holder: Holder,
    ) -> Result<(), PeerVmaBug> {
        let vma = holder.0.and_then(|vma| self.vmas.get(&vma));
        let parts = vma.map_or(Vec::new(), |vma| {
            vma.parts.iter().map(|part| vma.at.first + part.start..vma.at.first + part.end).collect()
        });
        let promised = |page: u64| parts.iter().any(|part| part.contains(&page));
        let object = self.objects.get_mut(&object).ok_or(PeerVmaBug::NotMapped)?;
        let end = first.checked_add(pages).ok_or(PeerVmaBug::NotMapped)?;
        if !object.has(first, pages) || !(first..end).all(|page| has_address(object, page, holder)) {
            return Err(PeerVmaBug::NotMapped);
        }
        for page in first..end {
            if let Some(at) = object.uses.get_mut(&page) {
                if promised(page) {
                    at.importers.insert(holder, false);
                } else {
                    at.importers.remove(&holder);
                }
            }
            object.settle(&mut self.aperture, page);
        }
        Ok(())
    }
}

fn has_address(object: &Object, page: u64, holder: Holder) -> bool {
    object.uses.get(&page).and_then(|at| at.importers.get(&holder)).is_some_and(|active| *active)
}

/// What the importer is told: the bus address of the slot where both meet on the bus, the CPU's otherwise.
fn dma_address(slot: CpuAddr, reach: PeerType) -> DmaAddr {
    match reach.map_type {
        MapType::BusAddr => DmaAddr::from_bus(BusAddr(slot.0.wrapping_add(reach.bus_offset))),
        MapType::ThruHostBridge | MapType::NotSupported => DmaAddr::from_cpu(slot),
    }
}
