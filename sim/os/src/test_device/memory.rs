//! A device's memory: chunks, and what is free in them.

use alloc::vec::Vec;

use peerbus_units::Pfn;

use crate::mm::frame::{HUGE, Place};
use crate::mm::{DeviceFreed, DeviceId, Mm};

/// Who may use a device's private pages as they are: the device alone, or an interconnect domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OwnerId(pub u32);

/// Pages of one chunk: 256 MiB.
const CHUNK: u64 = 256 << 8;

/// Free pages, last one given back first; kept as runs.
#[derive(Clone, Default, Debug)]
struct FreeList {
    runs: Vec<(u64, u64)>,
}

impl FreeList {
    fn push(&mut self, pfn: u64, step: u64) {
        match self.runs.last_mut() {
            Some((first, count)) if *first + *count * step == pfn => *count += 1,
            _ => self.runs.push((pfn, 1)),
        }
    }

    fn pop(&mut self, step: u64) -> Option<u64> {
        let (first, count) = self.runs.last_mut()?;
        *count -= 1;
        let pfn = *first + *count * step;
        if *count == 0 {
            self.runs.pop();
        }
        Some(pfn)
    }
}

/// The memory of one device.
#[derive(Clone, Debug)]
pub struct DeviceMemory {
    /// The device.
    pub device: DeviceId,
    /// Whose private pages these are to HMM.
    pub owner: OwnerId,
    /// A CPU reaches it.
    pub coherent: bool,
    /// The next allocation fails.
    pub fail_next: bool,
    /// Chunks it may have.
    pub chunks_max: u64,
    /// Where peers reach private pages, if the device lets them: page of its window for its first page.
    pub peer_window: Option<(Pfn, u64)>,
    chunks: u64,
    first: Option<Pfn>,
    pages: FreeList,
    folios: FreeList,
}

impl DeviceMemory {
    /// A device without chunks.
    pub fn new(device: DeviceId, coherent: bool) -> DeviceMemory {
        DeviceMemory {
            device,
            owner: OwnerId(device.0),
            coherent,
            fail_next: false,
            chunks_max: if coherent { 1 } else { u64::MAX },
            peer_window: None,
            chunks: 0,
            first: None,
            pages: FreeList::default(),
            folios: FreeList::default(),
        }
    }

    /// Chunks in use.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Pages of all chunks.
    pub fn pages(&self) -> u64 {
        self.chunks * CHUNK
    }

    /// Pages nobody uses.
    pub fn free_pages(&self) -> u64 {
        let sum = |list: &FreeList| list.runs.iter().map(|(_, count)| count).sum::<u64>();
        sum(&self.pages) + sum(&self.folios) * HUGE
    }

    /// Takes back what nobody refers to any more.
    pub fn give_back(&mut self, freed: DeviceFreed) {
        if self.chunks == 0 {
            // The chunk went while a page was out.
            return;
        }
        if freed.pages == HUGE {
            self.folios.push(freed.head.0, HUGE);
        } else {
            self.pages.push(freed.head.0, 1);
        }
    }

    /// Forgets all chunks: the device lets go of its memory.
    pub fn drop_chunks(&mut self) {
        self.chunks = 0;
        self.first = None;
        self.pages = FreeList::default();
        self.folios = FreeList::default();
    }

    fn add_chunk(&mut self, first: Pfn, huge: bool) {
        self.chunks += 1;
        self.first.get_or_insert(first);
        if huge {
            for index in 0..CHUNK / HUGE {
                self.folios.push(first.0 + index * HUGE, HUGE);
            }
        } else {
            self.pages.runs.push((first.0, CHUNK));
        }
    }
}

impl Mm {
    /// A locked page, or a locked huge folio, of a device's memory.
    pub(crate) fn allocate_device(&mut self, device: DeviceId, huge: bool) -> Option<Pfn> {
        let memory = self.devices.get_mut(&device)?;
        if memory.coherent && huge {
            return None;
        }
        if core::mem::take(&mut memory.fail_next) {
            return None;
        }
        let pop = |memory: &mut DeviceMemory| match huge {
            true => memory.folios.pop(HUGE),
            false => memory.pages.pop(1),
        };
        let pfn = match pop(memory) {
            Some(pfn) => pfn,
            None => {
                if memory.chunks >= memory.chunks_max {
                    return None;
                }
                memory.add_chunk(self.frames.reserve_device(CHUNK / HUGE), huge);
                pop(memory)?
            }
        };
        let place = match memory.coherent {
            true => Place::Coherent(device),
            false => Place::Private(device),
        };
        let pfn = Pfn(pfn);
        if huge {
            self.frames.enter_huge(pfn, place);
        } else {
            self.frames.enter(pfn, place);
        }
        self.frames.try_lock(pfn);
        Some(pfn)
    }

    /// The page of a device's window through which peers reach one of its private pages.
    pub(crate) fn peer_page(&self, pfn: Pfn) -> Option<Pfn> {
        let Place::Private(device) = self.frames.place(pfn) else { return None };
        let memory = self.devices.get(&device)?;
        let (window, pages) = memory.peer_window?;
        let offset = pfn.0.checked_sub(memory.first?.0).filter(|offset| *offset < pages)?;
        Some(Pfn(window.0 + offset))
    }
}
