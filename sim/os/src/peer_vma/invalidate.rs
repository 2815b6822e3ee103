//! Taking addresses back: invalidation, moving an object, and the end of a VMA.
//!
//! Processes lose their mappings at once. Importers are told, by the notifier they have registered for the address space,
//! and have to unmap; an object moves when the last has done so.

use alloc::vec::Vec;

use peerbus_units::DevicePage;

use super::{Exporter, Importer, ObjectId, PeerVmaError, VmaId};

/// Addresses that an importer must not use any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stale {
    /// Through which VMA it got them; `None`: for private pages.
    pub vma: Option<VmaId>,
    /// Which importer.
    pub importer: Importer,
    /// First page, of the object.
    pub first: u64,
    /// Pages.
    pub pages: u64,
}

/// How far a move got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MoveObject {
    /// The object is at its new place.
    Done,
    /// These importers have addresses; call again when they have unmapped.
    Wait(Vec<Stale>),
}

impl Exporter {
    /// Takes addresses of pages of an object back from processes, and names the importers that have to unmap.
    pub fn invalidate(
        &mut self,
        object: ObjectId,
        first: u64,
        pages: u64,
    ) -> Result<Vec<Stale>, PeerVmaError> {
        let at = self.objects.get_mut(&object).ok_or(PeerVmaError::Outside)?;
        if !at.has(first, pages) {
            return Err(PeerVmaError::Outside);
        }
        let used: Vec<u64> = at.uses.range(first..first + pages).map(|(page, _)| *page).collect();
        let mut stale = Vec::new();
        for page in used {
            if let Some(used) = at.uses.get_mut(&page) {
                used.cpu.clear();
                let active = used.importers.iter().filter(|(_, active)| **active);
                stale.extend(active.map(|(&(vma, importer), _)| Stale {
                    vma,
                    importer,
                    first: page,
                    pages: 1,
                }));
            }
            at.settle(&mut self.aperture, page);
        }
        Ok(joined(stale))
    }

    /// Moves an object to other pages of the device's memory. While importers have addresses, nothing new is mapped.
    pub fn move_object(&mut self, object: ObjectId, to: DevicePage) -> Result<MoveObject, PeerVmaError> {
        let pages = self.objects.get(&object).ok_or(PeerVmaError::Outside)?.pages;
        to.0.checked_add(pages).ok_or(PeerVmaError::Outside)?;
        let stale = self.invalidate(object, 0, pages)?;
        let at = self.objects.get_mut(&object).ok_or(PeerVmaError::Outside)?;
        if stale.is_empty() {
            (at.first, at.moving) = (to, None);
            return Ok(MoveObject::Done);
        }
        at.moving = Some(to);
        Ok(MoveObject::Wait(stale))
    }

    /// The process unmaps the VMA: promises end. Names the importers that have to unmap; the VMA is gone when they have.
    pub fn close(&mut self, vma: VmaId) -> Result<Vec<Stale>, PeerVmaError> {
        let pages = self.vma(vma).ok_or(PeerVmaError::NoVma)?.pages;
        self.munmap(vma, 0, pages)
    }

    /// The process unmaps pages `first..first + pages` of the VMA, counted from its first; some or all may be gone already.
    /// Promises end for them alone. Names the importers that have to unmap.
    pub fn munmap(&mut self, vma: VmaId, first: u64, pages: u64) -> Result<Vec<Stale>, PeerVmaError> {
        let found = self.vmas.get_mut(&vma).filter(|vma| !vma.is_closing()).ok_or(PeerVmaError::NoVma)?;
        let at = found.at;
        let end = first.checked_add(pages).filter(|end| pages > 0 && *end <= at.pages);
        let end = end.ok_or(PeerVmaError::Outside)?;
        found.cut(first, end);
        let mut stale = Vec::new();
        if let Some(object) = self.objects.get_mut(&at.object) {
            let used: Vec<u64> =
                object.uses.range(at.first + first..at.first + end).map(|(page, _)| *page).collect();
            for page in used {
                if let Some(used) = object.uses.get_mut(&page) {
                    used.cpu.remove(&vma);
                    used.importers.retain(|holder, active| *active || holder.0 != Some(vma));
                    let own = used.importers.keys().filter(|holder| holder.0 == Some(vma));
                    stale.extend(own.map(|&(vma, importer)| Stale { vma, importer, first: page, pages: 1 }));
                }
                object.settle(&mut self.aperture, page);
            }
        }
        self.finish_closing(vma);
        Ok(joined(stale))
    }

    /// Forgets a VMA that is closed and of which nobody has addresses.
    pub(super) fn finish_closing(&mut self, vma: VmaId) {
        let Some(at) = self.vmas.get(&vma).filter(|vma| vma.is_closing()) else { return };
        let object = self.objects.get(&at.at.object);
        let mut uses = object.into_iter().flat_map(|object| object.uses.values());
        if !uses.any(|used| used.importers.keys().any(|holder| holder.0 == Some(vma))) {
            self.vmas.remove(&vma);
        }
    }
}

/// Neighbouring pages of one holder as one entry.
fn joined(mut stale: Vec<Stale>) -> Vec<Stale> {
    stale.sort_unstable();
    stale.dedup_by(|next, last| {
        let follows =
            (last.vma, last.importer, last.first + last.pages) == (next.vma, next.importer, next.first);
        if follows {
            last.pages += next.pages;
        }
        follows
    });
    stale
}
