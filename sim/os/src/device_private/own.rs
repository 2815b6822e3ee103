//! [`OwnFrames`]: private memory gets frames in a space of its own.
//!
//! The space is a tree of page maps, keyed by offset; a new map takes the lowest gap that is large enough, rounded to
//! pages only. Page structs are an array of ordinary kernel memory that belongs to the map: 64 B for each page the
//! device has. Finding a page walks the tree (`O(log n)`, ten slots a node), then indexes the array; finding a frame
//! goes through the pointer that each page struct has to its map.

use peerbus_units::{Bytes, DevicePage, Range};

use super::{
    DevicePrivate, EntryBits, Frame, Looked, NotReserved, Platform, PrivateDesign, PrivateRequest,
    ReserveWork, Reserved,
};
use crate::gaps::Gaps;
use crate::pagemap::{MapPage, NoPageMap, PageMapId, PageMaps, Place, RangeIndex, ReferenceBug, Unmap};

/// Slots of a node of a tree that keeps track of gaps.
const SLOTS: u64 = 10;

/// The posted design.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnFrames {
    index: RangeIndex<DevicePage, PageMapId>,
    gaps: Gaps,
    pages: u64,
}

impl OwnFrames {
    /// A space as large as page-table entries can name. Pages are counted from 0.
    pub fn new(bits: EntryBits) -> OwnFrames {
        let pages = bits.frames();
        OwnFrames { index: RangeIndex::default(), gaps: Gaps::new(pages), pages }
    }

    /// Nodes from the root of the tree to a leaf. Gaps are entries as maps are.
    fn depth(&self) -> u32 {
        let entries = self.index.len() + self.gaps.len();
        let entries = u64::try_from(entries).unwrap_or(u64::MAX).max(1);
        // At least one node; log rounded up.
        (entries - 1).checked_ilog(SLOTS).map_or(1, |log| log + 1)
    }

    fn map_at(&self, page: DevicePage) -> Option<(Range<DevicePage>, PageMapId)> {
        self.index.get(page)
    }
}

impl DevicePrivate for OwnFrames {
    fn design(&self) -> PrivateDesign {
        PrivateDesign::OwnSpace
    }

    fn reserve(
        &mut self,
        platform: &mut Platform,
        request: &PrivateRequest,
    ) -> Result<Reserved, NotReserved> {
        let Platform { layout, memory, page_maps, .. } = platform;
        let refused = NotReserved::PageMap;
        PageMaps::check_own(layout, request.owner, request.callbacks).map_err(refused)?;
        let pages = layout.shape.pages(request.size);
        let cost = layout.shape.array(pages);
        if !memory.take(layout.shape.bytes(cost)) {
            return Err(NotReserved::PageMap(NoPageMap::NoMemory));
        }
        let steps = u64::from(self.depth());
        let taken = self.take(pages, layout.shape.page);
        let range = taken.inspect_err(|_| memory.give_back(layout.shape.bytes(cost)))?;
        let map = page_maps.enter_own(layout, request.owner, request.node, range, cost);
        self.index.set(range, map);
        let work = ReserveWork { probes: 1, steps, pages };
        Ok(Reserved { map, first: Frame::Offset(range.first()), pages, cost, work })
    }

    fn release(&mut self, platform: &mut Platform, map: PageMapId) -> Result<Unmap, ReferenceBug> {
        let place = platform.page_maps.get(map).map(|map| map.place.clone());
        let Some(Place::Offsets(range)) = place else { return Err(ReferenceBug::NoPage) };
        let unmap = platform.page_maps.memunmap(&platform.layout.shape, &mut platform.memory, map)?;
        if unmap == Unmap::Done {
            self.index.clear(range);
            self.gaps.give_back(range.first().0, range.size().0);
        }
        Ok(unmap)
    }

    fn frame(&self, platform: &Platform, page: MapPage) -> Option<Looked<Frame>> {
        let offset = platform.page_maps.get(page.map)?.offset_of(page.index)?;
        // The page struct names its map, the map says where its array and its offsets begin.
        Some(Looked { found: Frame::Offset(offset), steps: 2 })
    }

    fn page(&self, _: &Platform, frame: Frame) -> Option<Looked<MapPage>> {
        let Frame::Offset(page) = frame else { return None };
        let (range, map) = self.map_at(page)?;
        let found = MapPage { map, index: page.0 - range.first().0 };
        // The map says where its array begins.
        Some(Looked { found, steps: self.depth() + 1 })
    }
}

impl OwnFrames {
    fn take(&mut self, pages: u64, page: Bytes) -> Result<Range<DevicePage>, NotReserved> {
        let bytes = |pages: u64| Bytes(pages.saturating_mul(page.0));
        if pages == 0 || pages > self.pages {
            return Err(NotReserved::Size { most: bytes(self.pages) });
        }
        let gap = self.gaps.take(pages).ok_or(NotReserved::NoGap { largest: bytes(self.gaps.longest()) })?;
        let range = Range::sized(DevicePage(gap), Bytes(pages));
        assert!(range.is_some(), "{pages} pages at {gap} lie inside the space");
        range.ok_or(NotReserved::Size { most: bytes(self.pages) })
    }
}
