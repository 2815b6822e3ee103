//! Peer memory in the hands of user space: mappings of the file `allocate` and the life of their pages.
//!
//! A mapping takes one contiguous run and inserts all its pages at once; nothing is faulted in later. From then on
//! each page lives by its own references, one per mapping that shows it and one per pin, and returns to the pool when
//! the last is gone, whatever happens to its neighbours. Each page in use holds one reference on its range.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use peerbus_units::{Bytes, CpuAddr, FunctionId};

use super::{MemoryBug, MemoryError, P2pdma};
use crate::pagemap::PageMapId;

/// Size that the file `allocate` advertises.
pub const ALLOCATE_FILE_SIZE: Bytes = Bytes::gib(1024);

/// Names one mapping; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MappingId(pub u64);

/// What a process asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapRequest {
    /// The mapping is, or may become, shared.
    pub may_share: bool,
    /// Offset into the file, in pages.
    pub page_offset: u64,
    /// Pages.
    pub pages: u64,
}

/// Why a mapping failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// This kernel, or this function at this time, has no file `allocate`.
    NoFile,
    /// The mapping is private (`EINVAL`).
    Private,
    /// The offset is not 0 (`EINVAL`).
    Offset,
    /// The function has no state (`ENODEV`).
    NoState,
    /// No run of that size is free (`ENOMEM`).
    NoMemory(crate::pool::AllocError),
    /// The memory found is being unregistered (`ENODEV`).
    Dying,
    /// A page could not be inserted into the address space; the error is the inserter's.
    Insert(&'static str),
    /// The kernel would not have survived.
    Bug(MemoryBug),
}

impl MapError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            MapError::NoFile => "ENOENT",
            MapError::Private | MapError::Offset => "EINVAL",
            MapError::NoState | MapError::Dying => "ENODEV",
            MapError::NoMemory(_) => "ENOMEM",
            MapError::Insert(errno) => errno,
            MapError::Bug(_) => "BUG",
        }
    }
}

impl From<MemoryError> for MapError {
    fn from(error: MemoryError) -> MapError {
        match error {
            MemoryError::NoState => MapError::NoState,
            MemoryError::Pool(error) => MapError::NoMemory(error),
            MemoryError::Dying => MapError::Dying,
            MemoryError::Bug(bug) => MapError::Bug(bug),
        }
    }
}

impl From<MemoryBug> for MapError {
    fn from(bug: MemoryBug) -> MapError {
        MapError::Bug(bug)
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::NoFile => f.write_str("there is no file to map"),
            MapError::Private => f.write_str("peer memory cannot be mapped privately (EINVAL)"),
            MapError::Offset => f.write_str("the offset is not 0 (EINVAL)"),
            MapError::NoState => f.write_str("the function provides no memory (ENODEV)"),
            MapError::NoMemory(error) => write!(f, "{error} (ENOMEM)"),
            MapError::Dying => f.write_str("the memory found is being unregistered (ENODEV)"),
            MapError::Insert(errno) => write!(f, "a page could not be inserted ({errno})"),
            MapError::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for MapError {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct UserPage {
    function: FunctionId,
    map: PageMapId,
    references: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Mapping {
    function: FunctionId,
    /// By position; none where unmapped.
    pages: Vec<Option<CpuAddr>>,
}

/// Pages in use by user space, and the mappings that show them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct UserPages {
    pages: BTreeMap<CpuAddr, UserPage>,
    mappings: BTreeMap<MappingId, Mapping>,
    next: u64,
}

impl UserPages {
    fn add_mapping(&mut self, mapping: Mapping) -> MappingId {
        let id = MappingId(self.next);
        self.next += 1;
        self.mappings.insert(id, mapping);
        id
    }
}

impl P2pdma {
    /// Maps memory of `function` into a process. `insert` puts a page into its address space, or names an error.
    pub fn map(
        &mut self,
        function: FunctionId,
        request: MapRequest,
        insert: &mut impl FnMut(CpuAddr) -> Result<(), &'static str>,
    ) -> Result<MappingId, MapError> {
        if !self.rules().user_mappings {
            return Err(MapError::NoFile);
        }
        if !request.may_share {
            return Err(MapError::Private);
        }
        if request.page_offset != 0 {
            return Err(MapError::Offset);
        }
        let state = self.functions.get(&function).ok_or(MapError::NoState)?;
        if !state.allocate_file {
            return Err(MapError::NoFile);
        }
        let page = self.page_size().0;
        let length = Bytes(request.pages.saturating_mul(page));
        let (first, map) = self.take(function, length)?;
        let mut pages = Vec::new();
        for offset in (0..length.0).step_by(usize::try_from(page).unwrap_or(usize::MAX)) {
            let address = CpuAddr(first.0 + offset);
            if let Err(errno) = insert(address) {
                self.undo(function, first, Bytes(offset), length, &pages)?;
                return Err(MapError::Insert(errno));
            }
            // Cannot fail: the reference taken with the memory keeps the range alive.
            self.page_maps.try_get(map);
            self.user_pages.pages.insert(address, UserPage { function, map, references: 1 });
            pages.push(Some(address));
        }
        self.page_maps.put(map);
        Ok(self.user_pages.add_mapping(Mapping { function, pages }))
    }

    /// Gives back a mapping of which `inserted` bytes were shown: the rest at once, the pages one by one.
    fn undo(
        &mut self,
        function: FunctionId,
        first: CpuAddr,
        inserted: Bytes,
        length: Bytes,
        pages: &[Option<CpuAddr>],
    ) -> Result<(), MemoryBug> {
        self.free(function, CpuAddr(first.0 + inserted.0), length - inserted)?;
        pages.iter().flatten().try_for_each(|page| self.put_page(*page))
    }

    /// Unmaps `count` pages from position `from` on; positions already unmapped or beyond the end are nothing.
    pub fn unmap(&mut self, mapping: MappingId, from: usize, count: usize) -> Result<(), MemoryBug> {
        let Some(shown) = self.user_pages.mappings.get_mut(&mapping) else { return Ok(()) };
        let gone: Vec<CpuAddr> =
            shown.pages.iter_mut().skip(from).take(count).filter_map(Option::take).collect();
        if shown.pages.iter().all(Option::is_none) {
            self.user_pages.mappings.remove(&mapping);
        }
        gone.into_iter().try_for_each(|page| self.put_page(page))
    }

    /// A child process inherits the mapping: the same pages, each with one more reference.
    pub fn fork(&mut self, mapping: MappingId) -> Option<MappingId> {
        let copy = self.user_pages.mappings.get(&mapping)?.clone();
        for page in copy.pages.iter().flatten() {
            self.get_page(*page);
        }
        Some(self.user_pages.add_mapping(copy))
    }

    /// The pages a mapping shows, by position.
    pub fn mapped_pages(&self, mapping: MappingId) -> &[Option<CpuAddr>] {
        self.user_pages.mappings.get(&mapping).map_or(&[], |mapping| &mapping.pages)
    }

    /// References of the page at `address`: those of user space, or those of a page nobody uses; 0 where there is no
    /// page.
    pub fn page_references(&self, address: CpuAddr) -> u64 {
        let page = CpuAddr(address.0 & !(self.page_size().0 - 1));
        match self.user_pages.pages.get(&page) {
            Some(page) => page.references,
            None if self.page_maps.owner(address).is_some() => u64::from(self.rules().resting_references),
            None => 0,
        }
    }

    /// One more reference on a page in use, as a pin takes; false when user space does not have the page.
    pub fn get_page(&mut self, page: CpuAddr) -> bool {
        let page = self.user_pages.pages.get_mut(&page);
        page.map(|page| page.references += 1).is_some()
    }

    /// Drops a reference of a page; the last returns the page to its pool.
    pub fn put_page(&mut self, address: CpuAddr) -> Result<(), MemoryBug> {
        let page = self.user_pages.pages.get_mut(&address).ok_or(MemoryBug::NoReference)?;
        page.references -= 1;
        let UserPage { function, map, references } = *page;
        if references > 0 {
            return Ok(());
        }
        self.user_pages.pages.remove(&address);
        let size = self.page_size();
        let pool = self.functions.get_mut(&function).and_then(|state| state.pool.as_mut());
        pool.ok_or(MemoryBug::NoPool)?.free(address, size)?;
        if self.page_maps.put(map) { Ok(()) } else { Err(MemoryBug::NoReference) }
    }

    /// Takes all mappings of the function's memory away from user space. Pinned pages stay in use.
    pub(super) fn unmap_all(&mut self, function: FunctionId) -> Result<(), MemoryBug> {
        let mappings = self.user_pages.mappings.iter();
        let own = mappings.filter(|(_, mapping)| mapping.function == function).map(|(id, _)| *id);
        let own: Vec<MappingId> = own.collect();
        own.into_iter().try_for_each(|mapping| self.unmap(mapping, 0, usize::MAX))
    }
}
