//! What memory holds, as a plain model: values by page, with all that is possible while something is under way.

use std::collections::BTreeMap;

use peerbus_os::mm::{FileId, SpaceId, Vpn};

/// A page's possible values; one, unless a device was or is writing it.
#[derive(Clone, Debug, Default)]
struct Cell {
    values: Vec<u64>,
    version: u64,
}

/// Where a mapped page's value is.
#[derive(Clone, Debug)]
enum Place {
    Own(Cell),
    /// A file's page, until it is written; such files never change.
    Copied(u64),
    /// A file's page, until it is written.
    Private(FileId, u64),
    Shared(FileId, u64),
}

/// All values.
#[derive(Clone, Debug, Default)]
pub struct Model {
    spaces: BTreeMap<SpaceId, BTreeMap<Vpn, Place>>,
    files: BTreeMap<(FileId, u64), Cell>,
    clock: u64,
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn place(&self, space: SpaceId, page: Vpn) -> Option<&Place> {
        self.spaces.get(&space)?.get(&page)
    }

    /// What a reader may see.
    pub fn values(&self, space: SpaceId, page: Vpn) -> Vec<u64> {
        match self.place(space, page) {
            None => Vec::new(),
            Some(Place::Own(cell)) => cell.values.clone(),
            Some(Place::Copied(value)) => vec![*value],
            Some(Place::Private(file, index) | Place::Shared(file, index)) => self.file_values(*file, *index),
        }
    }

    /// Changes whenever the page's value may have; `None` where nothing is mapped.
    pub fn version(&self, space: SpaceId, page: Vpn) -> Option<u64> {
        Some(match self.place(space, page)? {
            Place::Own(cell) => cell.version,
            Place::Copied(_) => 0,
            Place::Private(file, index) | Place::Shared(file, index) => {
                self.files.get(&(*file, *index)).map_or(0, |cell| cell.version)
            }
        })
    }

    fn set(&mut self, space: SpaceId, page: Vpn, values: Vec<u64>) -> Option<u64> {
        let version = self.tick();
        let place = self.spaces.get_mut(&space)?.get_mut(&page)?;
        let cell = Cell { values, version };
        match place {
            Place::Shared(file, index) => {
                self.files.insert((*file, *index), cell);
            }
            other => *other = Place::Own(cell),
        }
        Some(version)
    }

    /// A CPU wrote the page. While devices write too, one of them may still overwrite shared memory.
    pub fn write(&mut self, space: SpaceId, page: Vpn, value: u64, devices_write: bool) {
        if devices_write && matches!(self.place(space, page), Some(Place::Shared(..))) {
            self.may_write(space, page, value);
        } else {
            self.set(space, page, vec![value]);
        }
    }

    /// A device may write the page from now on; the version that says nobody else did.
    pub fn may_write(&mut self, space: SpaceId, page: Vpn, value: u64) -> Option<u64> {
        let mut values = self.values(space, page);
        values.push(value);
        self.set(space, page, values)
    }

    /// It has, if nobody else did since.
    pub fn written(&mut self, space: SpaceId, page: Vpn, value: u64, version: u64) {
        if self.version(space, page) == Some(version) {
            self.set(space, page, vec![value]);
        }
    }

    /// A reader saw this value: it is the one from now on.
    pub fn saw(&mut self, space: SpaceId, page: Vpn, value: u64, settled: bool) {
        if settled && self.values(space, page).len() > 1 {
            self.set(space, page, vec![value]);
        }
    }

    /// Anonymous memory is mapped.
    pub fn map_own(&mut self, space: SpaceId, from: Vpn, to: Vpn) {
        let version = self.tick();
        let pages = self.spaces.entry(space).or_default();
        for page in from..to {
            pages.insert(page, Place::Own(Cell { values: vec![0], version }));
        }
    }

    /// A file is mapped privately: page `index` of it holds `first + index`.
    pub fn map_copied(&mut self, space: SpaceId, from: Vpn, to: Vpn, first: u64) {
        let pages = self.spaces.entry(space).or_default();
        for page in from..to {
            pages.insert(page, Place::Copied(first + page - from));
        }
    }

    /// A file of zeros is mapped shared.
    pub fn map_shared(&mut self, space: SpaceId, from: Vpn, to: Vpn, file: FileId) {
        let version = self.tick();
        for page in from..to {
            self.files.insert((file, page - from), Cell { values: vec![0], version });
            self.spaces.entry(space).or_default().insert(page, Place::Shared(file, page - from));
        }
    }

    /// A page of a file.
    pub fn file_values(&self, file: FileId, index: u64) -> Vec<u64> {
        self.files.get(&(file, index)).map_or(vec![0], |cell| cell.values.clone())
    }

    /// A file's page is written, or seen to have a value.
    pub fn write_file(&mut self, file: FileId, index: u64, value: u64) {
        let version = self.tick();
        self.files.insert((file, index), Cell { values: vec![value], version });
    }

    /// A file is mapped from page `offset` on.
    pub fn map_file(
        &mut self,
        space: SpaceId,
        (from, to): (Vpn, Vpn),
        file: FileId,
        offset: u64,
        shared: bool,
    ) {
        for page in from..to {
            let index = offset + page - from;
            let place = if shared { Place::Shared(file, index) } else { Place::Private(file, index) };
            self.spaces.entry(space).or_default().insert(page, place);
        }
    }

    /// Pages that are mapped no more are forgotten.
    pub fn keep(&mut self, space: SpaceId, mapped: impl Fn(Vpn) -> bool) {
        if let Some(pages) = self.spaces.get_mut(&space) {
            pages.retain(|page, _| mapped(*page));
        }
    }

    /// Pages are again what they were in `before`.
    pub fn copy(&mut self, before: &Model, space: SpaceId, pages: Vec<Vpn>) {
        let Some(map) = self.spaces.get_mut(&space) else { return };
        for page in pages {
            if let Some(place) = before.place(space, page) {
                map.insert(page, place.clone());
            }
        }
    }

    /// A page of its own, all zero.
    pub fn own(&mut self, space: SpaceId, page: Vpn) {
        self.map_own(space, page, page + 1);
    }

    /// Mappings go.
    pub fn unmap(&mut self, space: SpaceId, from: Vpn, to: Vpn) {
        if let Some(pages) = self.spaces.get_mut(&space) {
            pages.retain(|page, _| !(from..to).contains(page));
        }
    }

    /// Pages of anonymous memory are dropped; `file`: what a private file page becomes again.
    pub fn drop_pages(&mut self, space: SpaceId, page: Vpn, file: Option<u64>) {
        let version = self.tick();
        let Some(place) = self.spaces.get_mut(&space).and_then(|pages| pages.get_mut(&page)) else { return };
        match (&place, file) {
            (Place::Shared(..), _) => {}
            (_, Some(value)) => *place = Place::Copied(value),
            (_, None) => *place = Place::Own(Cell { values: vec![0], version }),
        }
    }

    /// Pages move, over what was there.
    pub fn remap(&mut self, space: SpaceId, from: Vpn, pages: u64, to: Vpn) {
        let Some(map) = self.spaces.get_mut(&space) else { return };
        for index in 0..pages {
            map.remove(&(to + index));
            if let Some(place) = map.remove(&(from + index)) {
                map.insert(to + index, place);
            }
        }
    }

    /// The same where holes do not move: what is at their target stays.
    pub fn remap_mapped(&mut self, space: SpaceId, from: Vpn, pages: u64, to: Vpn) {
        let Some(map) = self.spaces.get_mut(&space) else { return };
        for index in 0..pages {
            if let Some(place) = map.remove(&(from + index)) {
                map.insert(to + index, place);
            }
        }
    }

    /// A child with the same memory.
    pub fn fork(&mut self, parent: SpaceId, child: SpaceId) {
        let pages = self.spaces.get(&parent).cloned().unwrap_or_default();
        self.spaces.insert(child, pages);
    }

    /// A process is gone.
    pub fn exit(&mut self, space: SpaceId) {
        self.spaces.remove(&space);
    }
}
