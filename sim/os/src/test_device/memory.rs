//! A device's memory: chunks, and what is free in them.

use alloc::vec::Vec;

use peerbus_units::{CpuAddr, Pfn, Range};

use crate::device_private::{ChunkPolicy, FreeLists, Handout, PrivateMemory, PrivateRequest, Reserved};
use crate::mm::frame::{HUGE, Place};
use crate::mm::{DeviceId, Mm};
use crate::pagemap::{Owner, Unmap};

/// What a CPU can do with a device's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing.
    Private,
    /// Reach it like its own, at this address.
    Coherent(CpuAddr),
}

/// The memory of one device.
#[derive(Clone, Debug)]
pub struct DeviceMemory {
    /// The device.
    pub device: DeviceId,
    /// What a CPU can do with it.
    pub kind: Kind,
    /// The next allocation fails.
    pub fail_next: bool,
    /// Chunks it may have.
    pub chunks_max: usize,
    /// Where peers reach private pages, if the device lets them: page of its window for its first page, and how many.
    pub peer_window: Option<(Pfn, u64)>,
    owner: Owner,
    chunks: Vec<Reserved>,
    free: FreeLists,
}

impl DeviceMemory {
    /// A device without chunks.
    pub fn new(device: DeviceId, kind: Kind) -> DeviceMemory {
        DeviceMemory {
            device,
            kind,
            fail_next: false,
            chunks_max: if kind == Kind::Private { usize::MAX } else { 1 },
            peer_window: None,
            owner: Owner(u64::from(device.0)),
            chunks: Vec::new(),
            free: FreeLists::default(),
        }
    }

    /// Whose private pages are this device's own to it: the device alone, or an interconnect domain.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// A CPU reaches it.
    pub fn is_coherent(&self) -> bool {
        self.kind != Kind::Private
    }

    /// Its chunks, oldest first.
    pub fn chunks(&self) -> &[Reserved] {
        &self.chunks
    }

    /// Pages of all chunks.
    pub fn pages(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.pages).sum()
    }

    /// Pages nobody uses.
    pub fn free_pages(&self) -> u64 {
        let all = [Handout::Pages, Handout::Folios];
        all.iter().map(|handout| self.free.len(*handout) as u64 * handout.pages()).sum()
    }
}

fn handout(pages: u64) -> Handout {
    if pages == HUGE { Handout::Folios } else { Handout::Pages }
}

impl Mm {
    /// A locked page, or a locked huge folio, of a device's memory.
    pub(crate) fn allocate_device(&mut self, device: DeviceId, huge: bool) -> Option<Pfn> {
        let memory = self.devices.get_mut(&device)?;
        if memory.is_coherent() && huge {
            return None;
        }
        if core::mem::take(&mut memory.fail_next) {
            return None;
        }
        let handout = if huge { Handout::Folios } else { Handout::Pages };
        let page = match memory.free.pop(handout) {
            Some(page) => page,
            None => {
                memory.add_chunk(&mut self.private, handout)?;
                memory.free.pop(handout)?
            }
        };
        let place = match memory.kind {
            Kind::Coherent(_) => Place::Coherent(device),
            Kind::Private => Place::Private(device),
        };
        let pfn = self.private.number_of(page)?;
        self.private.hand_out(pfn, handout.order()).ok()?;
        if huge {
            self.frames.enter_huge(pfn, place);
        } else {
            self.frames.enter(pfn, place);
        }
        self.frames.try_lock(pfn);
        Some(pfn)
    }

    /// A driver takes back pages that nobody refers to any more.
    pub(crate) fn give_back(&mut self, device: DeviceId, head: Pfn, pages: u64) {
        let handout = handout(pages);
        let page = self.private.device_page(head);
        let freed = self.private.free(head, handout.order());
        assert!(freed.is_ok(), "a page that is given back was handed out: {freed:?}");
        if let (Some(memory), Some(page)) = (self.devices.get_mut(&device), page) {
            memory.free.push(page, handout);
        }
    }

    /// The device lets go of all its chunks, of which no page is in use.
    pub(crate) fn drop_chunks(&mut self, device: DeviceId) {
        let Some(memory) = self.devices.get_mut(&device) else { return };
        for chunk in core::mem::take(&mut memory.chunks) {
            memory.free.remove(chunk.map);
            let released = self.private.release(chunk.map);
            assert_eq!(released, Ok(Unmap::Done), "no page of the chunk is in use");
        }
    }

    /// First pages of the folios in use of one device's memory, chunk by chunk.
    pub(crate) fn device_folios(&self, device: DeviceId) -> Vec<Pfn> {
        let chunks = self.devices.get(&device).map_or(&[][..], |memory| memory.chunks());
        let folios =
            |chunk: &Reserved| self.frames.folios_in(PrivateMemory::number(chunk.first), chunk.pages);
        chunks.iter().flat_map(folios).collect()
    }

    /// Changes whose memory a device's is, as when it joins or leaves an interconnect: of pages in use too.
    pub fn set_owner(&mut self, device: DeviceId, owner: Owner) {
        let Some(memory) = self.devices.get_mut(&device) else { return };
        memory.owner = owner;
        for chunk in &memory.chunks {
            self.private.platform.page_maps.set_owner(chunk.map, owner);
        }
    }

    /// The page of a device's window through which peers reach one of its private pages.
    pub(crate) fn peer_page(&self, pfn: Pfn) -> Option<Pfn> {
        let Place::Private(device) = self.frames.place(pfn) else { return None };
        let memory = self.devices.get(&device)?;
        let (window, pages) = memory.peer_window?;
        let page = self.private.device_page(pfn)?;
        let position = memory.chunks.iter().position(|chunk| chunk.map == page.map)?;
        let before: u64 = memory.chunks[..position].iter().map(|chunk| chunk.pages).sum();
        let offset = (before + page.index < pages).then_some(before + page.index)?;
        Some(Pfn(window.0 + offset))
    }
}

impl DeviceMemory {
    /// Reserves another chunk; `None` if there may be none or there is no room.
    fn add_chunk(&mut self, private: &mut PrivateMemory, handout: Handout) -> Option<()> {
        if self.chunks.len() >= self.chunks_max {
            return None;
        }
        let policy = ChunkPolicy::TEST_DEVICE;
        let chunk = match self.kind {
            Kind::Private => private.reserve(&PrivateRequest::new(policy.size, self.owner, "test device")),
            Kind::Coherent(at) => private.reserve_coherent(Range::sized(at, policy.size)?, self.owner),
        };
        let chunk = chunk.ok()?;
        policy.fill(&mut self.free, &chunk, handout);
        self.chunks.push(chunk);
        Some(())
    }
}
