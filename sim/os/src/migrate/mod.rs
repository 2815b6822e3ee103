//! Moving pages between system memory and devices' memory (`migrate_vma`).
//!
//! A [`Migration`] goes through four phases, between which others may run: *collect* ([`setup`]) takes what may
//! move out of one page table, [`unmap`] takes it out of all others and rejects what somebody holds, the driver
//! then copies and names destinations, [`pages`] hands each page's identity over or refuses, [`finalize`] puts
//! everything back into page tables. Every refusal has its reason. A phase never fails: a page that cannot move
//! stays, and its word says so.

mod collect;
mod device_fault;
mod finish;
mod range;
mod word;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::Pfn;

pub use collect::setup;
pub use device_fault::{BringBack, to_ram};
pub use finish::{finalize, pages, unmap, unmap_next};
pub use range::{coherent_page_to_ram, device_pages, setup_pages};
pub use word::Word;

use crate::mm::{DeviceId, SpaceId, Vpn};

/// Which pages may move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Selectors {
    /// Pages of system memory.
    pub system: bool,
    /// Private pages of the owner's devices.
    pub private: bool,
    /// Coherent pages of the owner's devices.
    pub coherent: bool,
    /// Huge folios move whole where the range allows it; only where the kernel knows that.
    pub compound: bool,
}

/// What to move, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The address space.
    pub space: SpaceId,
    /// First page.
    pub from: Vpn,
    /// One beyond the last page.
    pub to: Vpn,
    /// The device that asks: its own mirror is not told of the migration.
    pub by: DeviceId,
    /// Which pages may move; device pages only of this device's owner.
    pub select: Selectors,
    /// The page whose CPU fault is being answered: its fault handler holds a reference and perhaps the lock.
    pub fault_page: Option<Pfn>,
}

/// Why a page did not move.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// Nothing there, and not anonymous memory.
    Hole,
    /// Not among the selected kinds.
    NotSelected,
    /// Device memory of another owner.
    ForeignOwner,
    /// On its way already, device exclusive, or marked.
    Busy,
    /// Belongs to a driver.
    Driver,
    /// Locked by somebody else.
    Locked,
    /// Pinned.
    Pinned,
    /// A huge folio that could not be split.
    CannotSplit,
    /// A huge folio mapped by small entries, on a kernel that leaves those alone.
    PartOfHuge,
    /// Somebody holds a reference, or it is still mapped.
    Referenced,
    /// The driver gave no destination.
    NoDestination,
    /// Something else is there by now.
    Changed,
    /// A file's page cannot be in that kind of memory.
    FilePage,
    /// Source and destination differ in size.
    SizeDiffers,
}

/// A migration under way.
#[derive(Clone, Debug)]
pub struct Migration {
    /// The address space; none when pages were named without one.
    pub space: Option<SpaceId>,
    /// First page.
    pub from: Vpn,
    /// The device that asked.
    pub by: DeviceId,
    /// Whose CPU fault is answered.
    pub fault_page: Option<Pfn>,
    /// A word per page: what moves.
    pub src: Vec<Word>,
    /// A word per page: where to. The driver fills it after [`unmap`].
    pub dst: Vec<Word>,
    /// How many words may still move.
    pub collected: u64,
    /// Why the others do not.
    pub refusals: BTreeMap<usize, Refusal>,
    announced: bool,
}

impl Migration {
    fn refuse(&mut self, index: usize, why: Refusal) {
        self.refusals.entry(index).or_insert(why);
    }

    /// Words of pages that moved.
    pub fn moved(&self) -> u64 {
        self.src.iter().filter(|word| word.is_valid() && word.moves()).count() as u64
    }

    /// One beyond the last page.
    pub fn to(&self) -> Vpn {
        self.from + self.src.len() as u64
    }
}
