//! Memory management: the address spaces of a machine's processes, the pages behind them, and their page tables.
//!
//! [`Mm`] is everything processes and devices share: page frames, files, address spaces, and the mirrors devices
//! keep of them. A call that meets something Linux would sleep on (a page under migration, a locked page, a page a
//! userfaultfd handler fills) changes nothing there and says so with [`Wait`]; the caller tries again later. What
//! differs between kernels is in [`MmRules`].
//!
//! * [`frame`]: page frames, their references, mappings and contents;
//! * [`table`]: page tables as runs;
//! * [`mod@vma`] has the mappings;
//! * `map`, `unmap`, `remap`, `protect`, `advise`: what system calls do to them;
//! * `fault`, `copy`, `huge`: what faults do, `touch`: what a CPU does; `fork`: a second process;
//! * `reverse`: taking a page out of every page table and putting one back.

mod access;
mod advise;
mod copy;
mod fault;
pub mod file;
mod fork;
pub mod frame;
mod huge;
mod lock;
mod map;
mod pin;
mod protect;
mod query;
mod remap;
mod reverse;
pub mod rules;
pub mod table;
mod touch;
mod unmap;
pub mod vma;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use peerbus_units::{Pfn, Picos};

pub use access::CpuError;
pub use fault::{Fault, FaultError};
pub use lock::MapLock;
pub use map::Mapping;
pub use pin::Pin;
pub use query::PageState;
pub use remap::Move;
pub use rules::{HugePolicy, MmRules};
pub use touch::Touch;
pub use unmap::Unmapping;

use crate::device_private::{HmmLayout, MigrateLayout, PrivateMemory};
use crate::notifier::{Event, Mirrors};
use file::Files;
use frame::{At, Content, Frames, Freed, Place};
use table::{Entry, Table};
use vma::{Vma, Vmas};

/// The number of a virtual page of 4 KiB in one address space.
pub type Vpn = u64;

/// An address space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SpaceId(pub u32);

/// A device with memory of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DeviceId(pub u32);

/// A file, or anonymous shared memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileId(pub u32);

/// What a call would have to sleep for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// A page is on its way elsewhere.
    Migration(Pfn),
    /// A page is locked by somebody else.
    PageLock(Pfn),
    /// A userfaultfd handler has to fill this page.
    Handler(At),
    /// An invalidation of the range is running.
    Invalidation,
    /// Mappings are being changed.
    MapLock,
    /// A driver brings a page back.
    Driver,
    /// Somebody holds pages of a device that goes.
    PagesOut(DeviceId),
    /// The page stays with its device until then.
    TimeSlice(Picos),
}

/// Why a call failed, with the number Linux returns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Errno {
    /// Not permitted.
    Perm,
    /// No such entry.
    NoEntry,
    /// Interrupted.
    Interrupted,
    /// Not open.
    BadFile,
    /// Try again.
    Again,
    /// No memory, or nothing is mapped there.
    NoMemory,
    /// Bad address.
    Fault,
    /// Busy.
    Busy,
    /// Exists already.
    Exists,
    /// Invalid argument.
    Invalid,
    /// Not supported there.
    NotSupported,
}

impl Errno {
    /// The positive error number.
    pub const fn number(self) -> i32 {
        match self {
            Errno::Perm => 1,
            Errno::NoEntry => 2,
            Errno::Interrupted => 4,
            Errno::BadFile => 9,
            Errno::Again => 11,
            Errno::NoMemory => 12,
            Errno::Fault => 14,
            Errno::Busy => 16,
            Errno::Exists => 17,
            Errno::Invalid => 22,
            Errno::NotSupported => 95,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.number())
    }
}

impl core::error::Error for Errno {}

/// One address space.
#[derive(Clone, Default, Debug)]
pub struct Space {
    /// Its mappings.
    pub vmas: Vmas,
    /// Its page table.
    pub table: Table,
    /// Who holds the lock of its mappings.
    pub lock: MapLock,
}

/// The memory management of one machine.
#[derive(Clone, Debug)]
pub struct Mm {
    /// Page frames.
    pub frames: Frames,
    /// Address spaces.
    pub spaces: BTreeMap<SpaceId, Space>,
    /// Files and their pages.
    pub files: Files,
    /// What devices know of address spaces.
    pub mirrors: Mirrors,
    /// Page frames of device memory, and the machine around them.
    pub(crate) private: PrivateMemory,
    /// Drivers with device memory.
    pub devices: BTreeMap<DeviceId, crate::test_device::DeviceMemory>,
    /// What the kernel does.
    pub rules: MmRules,
    /// Where a page under migration is awaited by small entries, by the page it still is.
    pub(crate) awaited: BTreeMap<Pfn, Vec<At>>,
    /// The same for huge entries.
    pub(crate) awaited_huge: BTreeMap<Pfn, Vec<At>>,
    /// Pages pinned for direct access, with the number of pins.
    pub(crate) pins: BTreeMap<Pfn, u32>,
    /// The time, as whoever drives this says; only time slices of drivers look at it.
    pub now: Picos,
    pub(crate) defers: bool,
    pub(crate) jobs: Vec<crate::migrate::BringBack>,
    /// Groups that fork derived, with the group they come from.
    pub(crate) group_parents: BTreeMap<u64, u64>,
    fresh_group: u64,
    fresh_space: u32,
    fresh_job: u64,
}

impl Mm {
    /// A machine without processes. RAM, the kernel's rules and the design of private memory are those of `private`.
    pub fn new(private: PrivateMemory) -> Mm {
        let rules = private.platform.rules.mm;
        Mm {
            frames: Frames::new(&private.platform.layout.system_ram),
            private,
            spaces: BTreeMap::new(),
            files: Files::default(),
            mirrors: Mirrors::default(),
            devices: BTreeMap::new(),
            rules,
            awaited: BTreeMap::new(),
            awaited_huge: BTreeMap::new(),
            pins: BTreeMap::new(),
            now: Picos::ZERO,
            defers: false,
            jobs: Vec::new(),
            group_parents: BTreeMap::new(),
            fresh_group: 0,
            fresh_space: 0,
            fresh_job: 0,
        }
    }

    /// Page frames of device memory, and the machine around them.
    pub fn private_memory(&self) -> &PrivateMemory {
        &self.private
    }

    /// How words of range faults are made up.
    pub fn hmm_words(&self) -> HmmLayout {
        self.private.platform.rules.pagemap.hmm_words
    }

    /// How words of migration are made up.
    pub fn migrate_words(&self) -> MigrateLayout {
        self.private.platform.rules.pagemap.migrate_words
    }

    /// A process with an empty address space.
    pub fn create_space(&mut self) -> SpaceId {
        let id = SpaceId(self.fresh_space);
        self.fresh_space += 1;
        self.spaces.insert(id, Space::default());
        id
    }

    pub(crate) fn space(&self, space: SpaceId) -> &Space {
        self.spaces.get(&space).expect("an address space in use exists")
    }

    pub(crate) fn space_mut(&mut self, space: SpaceId) -> &mut Space {
        self.spaces.get_mut(&space).expect("an address space in use exists")
    }

    pub(crate) fn table(&mut self, space: SpaceId) -> &mut Table {
        &mut self.space_mut(space).table
    }

    /// The mapping around a page.
    pub fn vma(&self, space: SpaceId, page: Vpn) -> Option<Vma> {
        self.spaces.get(&space)?.vmas.find(page).copied()
    }

    /// Numbers drivers' answers to CPU faults.
    pub(crate) fn fresh_job(&mut self) -> u64 {
        self.fresh_job += 1;
        self.fresh_job
    }

    pub(crate) fn prepare_group(&mut self, space: SpaceId, page: Vpn) {
        let Some(found) = self.spaces.get_mut(&space) else { return };
        found.vmas.prepare_group(page, &mut self.fresh_group);
    }

    pub(crate) fn invalidate(&mut self, space: SpaceId, from: Vpn, to: Vpn, event: Event) {
        self.mirrors.invalidate(space, from, to, event);
    }

    /// Drops a reference; device memory goes back to its driver.
    pub(crate) fn put(&mut self, pfn: Pfn) {
        if let Some(freed) = self.frames.put(pfn) {
            self.freed(freed);
        }
    }

    pub(crate) fn freed(&mut self, freed: Freed) {
        if let Place::Private(device) | Place::Coherent(device) = freed.place {
            self.give_back(device, freed.head, freed.pages);
        }
    }

    /// Whether a page of anonymous memory may be pinned, so that a copy made now would miss later writes.
    pub(crate) fn may_be_pinned(&self, pfn: Pfn) -> bool {
        self.pins.contains_key(&self.frames.head(pfn))
    }

    pub(crate) fn is_anonymous(&self, pfn: Pfn) -> bool {
        self.frames.content(pfn) == Content::Anonymous
    }

    /// Puts a small entry that leads to a page into a page table, with the reference and mapping it needs.
    pub(crate) fn install(&mut self, at: At, entry: Entry) {
        let pfn = entry.pfn().expect("an entry that is installed leads to a page");
        self.frames.get(pfn);
        self.frames.map(pfn, at);
        self.table(at.space).set(at.page, Some(entry));
    }
}
