//! Files in memory and their page cache.
//!
//! The cache holds one reference to each page it has. A page that was never written is not in the cache until a
//! mapping touches it; reading the file there gives zero without making one. That is what a memory file system
//! does, and anonymous shared memory is such a file.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::frame::{Content, Frames};
use super::{Errno, FileId};

/// One file.
#[derive(Clone, Default, Debug)]
struct File {
    /// Length in pages.
    pages: u64,
    cached: BTreeMap<u64, Pfn>,
}

/// All files.
#[derive(Clone, Default, Debug)]
pub struct Files {
    list: Vec<File>,
}

impl Files {
    /// A file of so many pages, all holes.
    pub fn create(&mut self, pages: u64) -> FileId {
        self.list.push(File { pages, cached: BTreeMap::new() });
        FileId(u32::try_from(self.list.len() - 1).expect("files are few"))
    }

    fn file(&self, id: FileId) -> &File {
        &self.list[id.0 as usize]
    }

    /// Whether there is such a file.
    pub fn exists(&self, id: FileId) -> bool {
        (id.0 as usize) < self.list.len()
    }

    /// Length in pages.
    pub fn pages(&self, id: FileId) -> u64 {
        self.file(id).pages
    }

    /// The cached page.
    pub fn cached(&self, id: FileId, index: u64) -> Option<Pfn> {
        self.file(id).cached.get(&index).copied()
    }

    /// The page, made if it is a hole. `None` within the file's length: no memory.
    pub fn find_or_make(&mut self, frames: &mut Frames, id: FileId, index: u64) -> Option<Pfn> {
        if let Some(pfn) = self.cached(id, index) {
            return Some(pfn);
        }
        let pfn = frames.allocate(Content::File(id, index))?;
        self.list[id.0 as usize].cached.insert(index, pfn);
        Some(pfn)
    }

    /// The page moved to another frame.
    pub(crate) fn replace(&mut self, id: FileId, index: u64, pfn: Pfn) {
        self.list[id.0 as usize].cached.insert(index, pfn);
    }

    /// Reads a page with the file interface; `None` at the end of the file.
    pub fn read(&self, frames: &Frames, id: FileId, index: u64) -> Option<u64> {
        (index < self.pages(id)).then(|| self.cached(id, index).map_or(0, |pfn| frames.data(pfn)))
    }

    /// Writes a page with the file interface; the file grows as needed.
    ///
    /// # Errors
    ///
    /// `NoMemory` without a page for it.
    pub fn write(&mut self, frames: &mut Frames, id: FileId, index: u64, value: u64) -> Result<(), Errno> {
        let pfn = self.find_or_make(frames, id, index).ok_or(Errno::NoMemory)?;
        frames.set_data(pfn, value);
        let file = &mut self.list[id.0 as usize];
        file.pages = file.pages.max(index + 1);
        Ok(())
    }

    /// All cached pages; for checks.
    pub fn all_cached(&self) -> impl Iterator<Item = Pfn> {
        self.list.iter().flat_map(|file| file.cached.values().copied())
    }
}
