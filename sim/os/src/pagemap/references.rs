//! References on page maps: pages handed out, pages freed, and the end of a map.
//!
//! ```text
//! references = resting + pages handed out          a compound page of order n counts 2^n
//! ```
//!
//! Resting references are one per page (per compound page) for types whose pages exist from the beginning. Unmapping
//! makes the map dying, puts its resting references, and ends it with the last one.

use super::{
    KernelMemory, MapPage, PageMap, PageMapId, PageMapRules, PageMaps, Place, ReferenceBug, VmemmapShape,
};

/// How far unmapping got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmap {
    /// The map is gone, its page structs too.
    Done,
    /// Pages are still out; the kernel sleeps until they are back. Call again.
    Wait {
        /// References left.
        references: u64,
    },
}

impl PageMaps {
    /// Hands out the page at `page` as one of 2^`order` pages (`zone_device_page_init`): that many references.
    pub fn hand_out(&mut self, rules: &PageMapRules, page: MapPage, order: u32) -> Result<(), ReferenceBug> {
        let count = pages_of(order)?;
        if order > 0 && !rules.private_folios {
            return Err(ReferenceBug::NoSuchOrder);
        }
        let map = self.map_of(page, count)?;
        if map.dying {
            return Err(ReferenceBug::Dying);
        }
        map.references += count;
        Ok(())
    }

    /// The last user of a compound page of 2^`order` pages has put it; its driver gets it back.
    pub fn free(&mut self, page: MapPage, order: u32) -> Result<(), ReferenceBug> {
        let count = pages_of(order)?;
        let map = self.map_of(page, count)?;
        let held = map.references.checked_sub(map.resting).ok_or(ReferenceBug::NotHeld)?;
        let left = held.checked_sub(count).ok_or(ReferenceBug::NotHeld)?;
        map.references = map.resting + left;
        Ok(())
    }

    /// Takes a reference on the map itself, unless it is dying.
    pub fn try_get(&mut self, id: PageMapId) -> bool {
        let map = self.maps.get_mut(&id).filter(|map| !map.dying);
        map.map(|map| map.references += 1).is_some()
    }

    /// Puts a reference that [`PageMaps::try_get`] took.
    pub fn put(&mut self, id: PageMapId) -> Result<(), ReferenceBug> {
        let map = self.maps.get_mut(&id).ok_or(ReferenceBug::NoPage)?;
        let held = map.references > map.resting;
        if held {
            map.references -= 1;
        }
        held.then_some(()).ok_or(ReferenceBug::NotHeld)
    }

    /// Ends a map (`memunmap_pages`): no new references, and gone with the last old one.
    pub fn memunmap(
        &mut self,
        shape: &VmemmapShape,
        memory: &mut KernelMemory,
        id: PageMapId,
    ) -> Result<Unmap, ReferenceBug> {
        let map = self.maps.get_mut(&id).ok_or(ReferenceBug::NoPage)?;
        map.dying = true;
        map.references -= core::mem::take(&mut map.resting);
        if map.references > 0 {
            return Ok(Unmap::Wait { references: map.references });
        }
        if let Some(map) = self.maps.remove(&id) {
            match &map.place {
                Place::Physical(ranges) => {
                    ranges.iter().for_each(|range| self.index.clear_value(*range, id));
                }
                Place::Offsets(_) => memory.give_back(shape.bytes(map.cost)),
            }
            map.populated.iter().for_each(|made| self.vmemmap.depopulate(shape, memory, made));
        }
        Ok(Unmap::Done)
    }

    fn map_of(&mut self, page: MapPage, count: u64) -> Result<&mut PageMap, ReferenceBug> {
        let map = self.maps.get_mut(&page.map).ok_or(ReferenceBug::NoPage)?;
        let inside = page.index.checked_add(count).is_some_and(|end| end <= map.pages);
        if inside { Ok(map) } else { Err(ReferenceBug::NoPage) }
    }
}

fn pages_of(order: u32) -> Result<u64, ReferenceBug> {
    1_u64.checked_shl(order).ok_or(ReferenceBug::NoSuchOrder)
}
