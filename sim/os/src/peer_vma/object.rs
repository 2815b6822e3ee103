//! Objects in the exporter's memory, and who uses which of their pages.

use alloc::collections::{BTreeMap, BTreeSet};

use peerbus_units::{CpuAddr, DevicePage};

use super::{Aperture, Importer, VmaId};

/// Names one object; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ObjectId(pub u64);

/// Who asked for a page: an importer through a VMA, or, without one, for the memory itself.
pub(super) type Holder = (Option<VmaId>, Importer);

/// A run of pages of device memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Object {
    pub first: DevicePage,
    pub pages: u64,
    /// Where it is to go when nobody uses it any more.
    pub moving: Option<DevicePage>,
    /// Pages that are, or were and may be again.
    pub uses: BTreeMap<u64, PageUse>,
}

/// Who uses one page.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct PageUse {
    pub slot: Option<CpuAddr>,
    /// VMAs through which processes see it.
    pub cpu: BTreeSet<VmaId>,
    /// Importers that may ask for it; true: they have its address now.
    pub importers: BTreeMap<Holder, bool>,
}

impl PageUse {
    /// Somebody has its address.
    pub fn is_mapped(&self) -> bool {
        !self.cpu.is_empty() || self.is_imported()
    }

    /// An importer has its address.
    pub fn is_imported(&self) -> bool {
        self.importers.values().any(|active| *active)
    }

    /// Nobody has it, and nobody was promised anything.
    pub fn is_nothing(&self) -> bool {
        self.cpu.is_empty() && self.importers.is_empty()
    }
}

impl Object {
    /// True when the pages lie inside.
    pub fn has(&self, first: u64, pages: u64) -> bool {
        first.checked_add(pages).is_some_and(|end| end <= self.pages)
    }

    /// Gives a page a slot. Claims are counted before: there is one.
    pub fn fill(&mut self, aperture: &mut Aperture, page: u64) -> CpuAddr {
        let memory = DevicePage(self.first.0 + page);
        let slot = &mut self.uses.entry(page).or_default().slot;
        *slot.get_or_insert_with(|| {
            let filled = aperture.fill(memory);
            assert!(filled.is_some(), "claims do not exceed slots");
            filled.unwrap_or_default()
        })
    }

    /// Frees the slot of a page that nobody has, and forgets a page that nobody may ask for.
    pub fn settle(&mut self, aperture: &mut Aperture, page: u64) {
        let Some(at) = self.uses.get_mut(&page) else { return };
        if !at.is_mapped()
            && let Some(slot) = at.slot.take()
        {
            aperture.empty(slot);
        }
        if at.is_nothing() {
            self.uses.remove(&page);
        }
    }
}
