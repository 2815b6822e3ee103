//! A device's memory: chunks, and what is free in them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::{Bytes, CpuAddr, Pfn, Picos, Range};

use crate::device_private::{
    ChunkPolicy, FreeLists, Handout, NotReserved, PrivateMemory, PrivateRequest, Reserved,
};
use crate::mm::frame::{HUGE, Place};
use crate::mm::{DeviceId, Errno, Mm};
use crate::pagemap::{MapPage, MemoryType, Owner, Unmap};

/// What a CPU can do with a device's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing.
    Private,
    /// Reach it like its own, at this address.
    Coherent(CpuAddr),
}

/// What a driver brings home when a CPU touches one of its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Granule {
    /// The page or huge folio that was touched.
    Folio,
    /// The aligned block of so many pages around it, as far as the mapping goes.
    Aligned(u64),
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
    /// What it reserves when it runs out of free pages.
    pub chunk: ChunkPolicy,
    /// Pages of memory that it has: of its last chunk no more are handed out.
    pub memory_pages: u64,
    /// Without a free page of one size, those of the other are broken up or gathered.
    pub both_sizes: bool,
    /// What it brings home when a CPU touches a page.
    pub brings_back: Granule,
    /// The driver takes pages of peers' windows instead of having the pages moved to system memory.
    pub takes_peer_pages: bool,
    /// Chunks that were refused: how many, and why the last was.
    refused: (u64, Option<NotReserved>),
    /// First pages of folios that do not go home before a time.
    stays: BTreeMap<Pfn, Picos>,
    owner: Owner,
    /// By the page of the device's memory at which they begin.
    chunks: BTreeMap<u64, Reserved>,
    free: FreeLists,
    /// Where peers reach private pages, if the device lets them.
    window: Option<Reserved>,
    /// The device goes: nothing is handed out any more.
    ending: bool,
}

impl DeviceMemory {
    /// A device without chunks.
    pub fn new(device: DeviceId, kind: Kind) -> DeviceMemory {
        DeviceMemory {
            device,
            kind,
            fail_next: false,
            chunks_max: if kind == Kind::Private { usize::MAX } else { 1 },
            chunk: ChunkPolicy::TEST_DEVICE,
            memory_pages: u64::MAX,
            both_sizes: false,
            brings_back: Granule::Folio,
            takes_peer_pages: false,
            refused: (0, None),
            stays: BTreeMap::new(),
            owner: Owner(u64::from(device.0)),
            chunks: BTreeMap::new(),
            free: FreeLists::default(),
            window: None,
            ending: false,
        }
    }

    /// Whose private pages are this device's own to it: the device alone, or an interconnect domain.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// How many chunks were refused, and why the last one was.
    pub fn refused(&self) -> (u64, Option<&NotReserved>) {
        (self.refused.0, self.refused.1.as_ref())
    }

    /// Until when the folio at `head` does not go home for a CPU's fault.
    pub fn stays_until(&self, head: Pfn) -> Option<Picos> {
        self.stays.get(&head).copied()
    }

    /// The folio at `head` stays until then; `None`: it may go at once.
    pub(crate) fn keep_until(&mut self, head: Pfn, until: Option<Picos>) {
        match until {
            Some(until) => self.stays.insert(head, until),
            None => self.stays.remove(&head),
        };
    }

    /// A CPU reaches it.
    pub fn is_coherent(&self) -> bool {
        self.kind != Kind::Private
    }

    /// Its chunks, by their place in its memory.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = &Reserved> {
        self.chunks.values()
    }

    /// Pages of all chunks.
    pub fn pages(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.pages).sum()
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
        let memory = self.devices.get_mut(&device).filter(|memory| !memory.ending)?;
        if memory.is_coherent() && huge {
            return None;
        }
        if core::mem::take(&mut memory.fail_next) {
            return None;
        }
        let handout = if huge { Handout::Folios } else { Handout::Pages };
        let page = memory.take(&mut self.private, handout)?;
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

    /// A driver reserves a chunk before it needs it; false if there may be none, or no room for it.
    pub(crate) fn reserve_chunk(&mut self, device: DeviceId) -> bool {
        let handout = if self.rules.huge_migration { Handout::Folios } else { Handout::Pages };
        let Some(memory) = self.devices.get_mut(&device) else { return false };
        memory.add_chunk(&mut self.private, handout).is_some()
    }

    /// Pages of its device's memory in front of a device page.
    pub fn offset_in_device(&self, pfn: Pfn) -> Option<u64> {
        let (Place::Private(device) | Place::Coherent(device)) = self.frames.place(pfn) else { return None };
        let memory = self.devices.get(&device)?;
        let page = self.private.device_page(pfn)?;
        let (at, _) = memory.chunks.iter().find(|(_, chunk)| chunk.map == page.map)?;
        Some(at + page.index)
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

    /// A device's page maps are to end: those of which pages are in use when they are back.
    ///
    /// # Errors
    ///
    /// `NoEntry` for an unknown device, `Busy` if they are to end already.
    pub(crate) fn end_page_maps(&mut self, device: DeviceId) -> Result<(), Errno> {
        let memory = self.devices.get_mut(&device).ok_or(Errno::NoEntry)?;
        if core::mem::replace(&mut memory.ending, true) {
            return Err(Errno::Busy);
        }
        for (at, chunk) in core::mem::take(&mut memory.chunks) {
            match self.private.release(chunk.map) {
                Ok(Unmap::Wait { .. }) => {
                    memory.chunks.insert(at, chunk);
                }
                ended => {
                    assert_eq!(ended, Ok(Unmap::Done), "the device has the chunk");
                    memory.free.remove(chunk.map);
                }
            }
        }
        Ok(())
    }

    /// The device is gone, with its mirrors and its window. No page of it is in use.
    pub(crate) fn forget_device(&mut self, device: DeviceId) {
        self.drop_chunks(device);
        if let Some(window) = self.devices.remove(&device).and_then(|memory| memory.window) {
            let closed = self.private.release(window.map);
            assert_eq!(closed, Ok(Unmap::Done), "nobody holds pages of a window");
        }
        self.mirrors.close_all(device);
    }

    /// The device lets go of all its chunks, of which no page is in use.
    pub(crate) fn drop_chunks(&mut self, device: DeviceId) {
        let Some(memory) = self.devices.get_mut(&device) else { return };
        for chunk in core::mem::take(&mut memory.chunks).into_values() {
            memory.free.remove(chunk.map);
            let released = self.private.release(chunk.map);
            assert_eq!(released, Ok(Unmap::Done), "no page of the chunk is in use");
        }
    }

    /// First pages of the folios in use of one device's memory, chunk by chunk.
    pub(crate) fn device_folios(&self, device: DeviceId) -> Vec<Pfn> {
        let chunks = self.devices.get(&device).into_iter().flat_map(DeviceMemory::chunks);
        let folios =
            |chunk: &Reserved| self.frames.folios_in(PrivateMemory::number(chunk.first), chunk.pages);
        chunks.flat_map(folios).collect()
    }

    /// Changes whose memory a device's is, as when it joins or leaves an interconnect: of pages in use too.
    pub fn set_owner(&mut self, device: DeviceId, owner: Owner) {
        let Some(memory) = self.devices.get_mut(&device) else { return };
        memory.owner = owner;
        for chunk in memory.chunks.values() {
            self.private.platform.page_maps.set_owner(chunk.map, owner);
        }
    }

    /// Lets peers reach a device's private pages through `window`, a part of its BAR that leads to the beginning of its
    /// memory. The window's pages are peer memory with page structs of their own.
    ///
    /// # Errors
    ///
    /// `NoEntry` for an unknown device, `Exists` if it has a window, `Invalid` if the window cannot have page structs.
    pub fn open_peer_window(&mut self, device: DeviceId, window: Range<CpuAddr>) -> Result<(), Errno> {
        let memory = self.devices.get_mut(&device).ok_or(Errno::NoEntry)?;
        if memory.window.is_some() {
            return Err(Errno::Exists);
        }
        let reserved = self.private.reserve_at(MemoryType::PciP2pdma, window, memory.owner);
        memory.window = Some(reserved.map_err(|_| Errno::Invalid)?);
        Ok(())
    }

    /// Kernel memory of the page structs of a device's memory: one for each page of its chunks, and another for each page
    /// of its window.
    pub fn page_structs(&self, device: DeviceId) -> Bytes {
        let Some(memory) = self.devices.get(&device) else { return Bytes(0) };
        let shape = &self.private.platform.layout.shape;
        let all = memory.chunks().chain(&memory.window);
        Bytes(all.map(|reserved| shape.bytes(reserved.cost).0).sum())
    }

    /// The page of a device's window through which peers reach one of its private pages.
    pub(crate) fn peer_page(&self, pfn: Pfn) -> Option<Pfn> {
        let Place::Private(device) = self.frames.place(pfn) else { return None };
        let memory = self.devices.get(&device)?;
        let window = memory.window.as_ref()?;
        let index = self.offset_in_device(pfn)?;
        (index < window.pages).then(|| self.private.number_of(MapPage { map: window.map, index })).flatten()
    }

    /// The page that a device's access to `pfn` ends at: behind the window for a page of one.
    pub fn reached(&self, pfn: Pfn) -> Pfn {
        self.behind_window(pfn).unwrap_or(pfn)
    }

    fn behind_window(&self, pfn: Pfn) -> Option<Pfn> {
        let page = self.private.device_page(pfn)?;
        let shown = |memory: &&DeviceMemory| memory.window.is_some_and(|window| window.map == page.map);
        let memory = self.devices.values().find(shown)?;
        let (at, chunk) = memory.chunks.range(..=page.index).next_back()?;
        self.private.number_of(MapPage { map: chunk.map, index: page.index - at })
    }
}

impl DeviceMemory {
    /// A free page, of another chunk or of another size if need be.
    fn take(&mut self, private: &mut PrivateMemory, handout: Handout) -> Option<MapPage> {
        if let Some(page) = self.free.pop(handout) {
            return Some(page);
        }
        if self.add_chunk(private, handout).is_none() {
            let found = self.both_sizes
                && match handout {
                    Handout::Pages => self.free.split(),
                    Handout::Folios => self.free.gather(),
                };
            if !found {
                return None;
            }
        }
        self.free.pop(handout)
    }

    /// Pages that it can still hand out: free ones, and those of chunks it may have.
    pub fn room(&self) -> u64 {
        let whole = self.chunk.size.0 / 4096;
        let more = self.chunks_max.saturating_sub(self.chunks.len()) as u64;
        let left = self.memory_pages.saturating_sub(whole.saturating_mul(self.chunks.len() as u64));
        self.free_pages().saturating_add(more.saturating_mul(whole).min(left))
    }

    /// Reserves another chunk; `None` if there may be none or there is no room.
    fn add_chunk(&mut self, private: &mut PrivateMemory, handout: Handout) -> Option<()> {
        if self.chunks.len() >= self.chunks_max {
            return None;
        }
        let policy = self.chunk;
        let chunk = match self.kind {
            Kind::Private => private.reserve(&PrivateRequest::new(policy.size, self.owner, "test device")),
            Kind::Coherent(at) => {
                private.reserve_at(MemoryType::Coherent, Range::sized(at, policy.size)?, self.owner)
            }
        };
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                self.refused = (self.refused.0 + 1, Some(error));
                return None;
            }
        };
        // A chunk may have more page structs than there is memory behind it.
        let mut at = 0;
        while self.chunks.contains_key(&at) {
            at += policy.size.0 / 4096;
        }
        policy.fill(&mut self.free, &chunk, handout, self.memory_pages.saturating_sub(at));
        self.chunks.insert(at, chunk);
        Some(())
    }
}
