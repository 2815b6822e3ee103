//! Drivers: what each decides with the kernel's memory services.
//!
//! [`nvme_target`] and [`memory_buffer`] are the two sides of peer memory that NVMe has: who uses it, and who offers it. The rest
//! is about GPUs that share address spaces with processes: what each of their drivers moves when, and how much of it.
//!
//! A [`Policy`] is what tells drivers apart: which blocks move on a device's fault, whether some of a block may stay behind, what
//! comes home when a CPU touches a page, how much is evicted, what is reserved when. A [`Driver`] keeps what its device
//! has and in what order it was used; a [`DeviceFault`] brings one block to the device and into its table, a [`HomeComing`]
//! is what a CPU's touch or an eviction leads to. None of them knows time: they go on call by call, and say as
//! [`Work`] what the kernel and the copy engine would be busy with. Others may run after every call.

mod device_fault;
mod home;
pub mod memory_buffer;
mod moving;
pub mod nvme_target;
mod policy;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::{Bytes, Pfn};

pub use device_fault::{DeviceAccess, DeviceFault, Served};
pub use home::HomeComing;
pub use policy::{ATOMIC_TRIES, DriverKind, LARGEST_GRANULE, Policy, SharesWith};

use crate::device_private::ChunkPolicy;
use crate::mm::frame::Place;
use crate::mm::{DeviceId, Errno, Mm, SpaceId, Vpn, Wait};
use crate::notifier::MirrorId;
use crate::pagemap::Owner;
use crate::test_device::{self, Kind};

/// What a call of a driver is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// Taking what may move out of the page table, and locking it.
    Collect,
    /// Taking it out of all other page tables.
    Unmap,
    /// Telling CPUs to forget their translations of it, once for all of it.
    Shootdown,
    /// Finding pages for it where it goes.
    Allocate,
    /// Handing pages over and putting them into page tables.
    Finish,
    /// Walking the CPU's page table for the device, and faulting what is missing.
    Walk,
    /// Writing the device's page table.
    Bind,
}

impl Part {
    /// All of them, in the order in which they happen.
    pub const ALL: [Part; 7] =
        [Part::Collect, Part::Unmap, Part::Shootdown, Part::Allocate, Part::Finish, Part::Walk, Part::Bind];
}

/// One page or huge folio that a copy engine moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The page of the device that copies.
    pub device: Pfn,
    /// The page at the other end: of system memory, or of another device of the same owner that it comes from.
    pub other: Pfn,
    /// 1 or 512.
    pub pages: u64,
    /// It goes to the device.
    pub to_device: bool,
}

/// What a driver's call leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work<T> {
    /// The kernel works on so many pages or huge folios; then call again.
    Kernel(Part, u64),
    /// The device's copy engine moves these; call again when it has.
    Copy(Vec<Piece>),
    /// Something has to happen before: call again later.
    Wait(Wait),
    /// It is over.
    Done(T),
}

/// A block of pages that came to a device together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Block {
    to: Vpn,
    used: u64,
}

/// A driver and its device.
#[derive(Clone, Debug)]
pub struct Driver {
    /// Its device.
    pub device: DeviceId,
    /// What it does.
    pub policy: Policy,
    /// The device's view of each address space it works in.
    mirrors: BTreeMap<SpaceId, MirrorId>,
    blocks: BTreeMap<(SpaceId, Vpn), Block>,
    /// Blocks by when they were last used.
    order: BTreeMap<u64, (SpaceId, Vpn)>,
    clock: u64,
}

impl Driver {
    /// Loads a driver for a device with so many bytes of memory of its own, of a kind, whose pages are `owner`'s. Drivers that
    /// reserve all at their start do so, as all do whose memory is coherent.
    ///
    /// # Errors
    ///
    /// `NoMemory`: there is no room for the page structs of its memory, and nothing can move to it.
    pub fn load(
        mm: &mut Mm,
        device: DeviceId,
        policy: Policy,
        (memory, kind): (Bytes, Kind),
        owner: Owner,
    ) -> Result<Driver, Errno> {
        test_device::add(mm, device, kind);
        let whole = policy.whole_at_start || kind != Kind::Private;
        let chunk = match whole {
            true => ChunkPolicy::managed(memory),
            false => ChunkPolicy::nouveau(&mm.private_memory().platform.rules),
        };
        let Some(added) = mm.devices.get_mut(&device) else { return Err(Errno::NoEntry) };
        added.chunk = chunk;
        added.chunks_max = usize::try_from(memory.0 / chunk.size.0.max(1)).unwrap_or(usize::MAX).max(1);
        added.both_sizes = whole;
        added.memory_pages = memory.0 / 4096;
        added.brings_back = policy.brings_back;
        added.takes_peer_pages = true;
        mm.set_owner(device, owner);
        let driver = Driver {
            device,
            policy,
            mirrors: BTreeMap::new(),
            blocks: BTreeMap::new(),
            order: BTreeMap::new(),
            clock: 0,
        };
        if whole && !mm.reserve_chunk(device) {
            return Err(Errno::NoMemory);
        }
        Ok(driver)
    }

    /// Of a device without memory of its own, or without page structs for it, that follows address spaces: an adapter with on-demand paging. No page moves to
    /// it, and private pages of all devices are foreign to it.
    pub fn without_memory(mm: &mut Mm, device: DeviceId) -> Driver {
        if !mm.devices.contains_key(&device) {
            test_device::add(mm, device, Kind::Private);
        }
        if let Some(added) = mm.devices.get_mut(&device) {
            added.chunks_max = 0;
            added.takes_peer_pages = true;
        }
        mm.set_owner(device, Owner(u64::MAX - u64::from(device.0)));
        let rules = mm.private_memory().platform.rules;
        Driver {
            device,
            // As many faults at a time as there are: an adapter's requests wait for their own pages only.
            policy: Policy { handlers: u32::MAX, ..Policy::of(DriverKind::Amdkfd, &rules) },
            mirrors: BTreeMap::new(),
            blocks: BTreeMap::new(),
            order: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Follows an address space.
    ///
    /// # Errors
    ///
    /// `NoEntry` for an unknown space.
    pub fn follow(&mut self, mm: &mut Mm, space: SpaceId) -> Result<(), Errno> {
        if !mm.spaces.contains_key(&space) {
            return Err(Errno::NoEntry);
        }
        let mirror = mm.mirrors.open(space, self.device, 0);
        self.mirrors.insert(space, mirror);
        Ok(())
    }

    /// The device's view of an address space.
    pub fn mirror(&self, space: SpaceId) -> Option<MirrorId> {
        self.mirrors.get(&space).copied()
    }

    /// The device used `page`: its block is the last to be evicted.
    pub fn used(&mut self, space: SpaceId, page: Vpn) {
        let Some((key, block)) = self.blocks.range_mut(..=(space, page)).next_back() else { return };
        if key.0 == space && page < block.to {
            self.order.remove(&block.used);
            self.clock += 1;
            block.used = self.clock;
            self.order.insert(self.clock, *key);
        }
    }

    /// A block has come to the device.
    fn arrived(&mut self, space: SpaceId, from: Vpn, to: Vpn) {
        self.forget(space, from);
        self.clock += 1;
        self.blocks.insert((space, from), Block { to, used: self.clock });
        self.order.insert(self.clock, (space, from));
    }

    /// A block other than `from..to` itself has come to the device and shares pages with it.
    fn overlaps(&self, space: SpaceId, from: Vpn, to: Vpn) -> bool {
        let before = self.blocks.range(..(space, to)).rev().take_while(|((of, _), _)| *of == space);
        // Blocks do not share pages with each other: of those before the end, only the last two can reach into it.
        before.take(2).any(|((_, first), block)| block.to > from && (*first, block.to) != (from, to))
    }

    fn forget(&mut self, space: SpaceId, from: Vpn) {
        if let Some(block) = self.blocks.remove(&(space, from)) {
            self.order.remove(&block.used);
        }
    }

    /// The pages of the block that was used least recently and still has some; blocks without any are forgotten.
    fn victim(&mut self, mm: &Mm, keep: (SpaceId, Vpn)) -> Option<Vec<Pfn>> {
        loop {
            let (_, key) = self.order.iter().find(|(_, key)| **key != keep)?;
            let (space, from) = *key;
            let to = self.blocks.get(key).map_or(from, |block| block.to);
            let pages = own_pages(mm, self.device, space, from, to);
            self.forget(space, from);
            if !pages.is_empty() {
                return Some(pages);
            }
        }
    }

    /// Pages that its device can still take without evicting any.
    fn room(&self, mm: &Mm) -> u64 {
        mm.devices.get(&self.device).map_or(0, |memory| memory.room())
    }
}

/// First pages of the folios of `device` behind pages `from..to`.
fn own_pages(mm: &Mm, device: DeviceId, space: SpaceId, from: Vpn, to: Vpn) -> Vec<Pfn> {
    let mut found: Vec<Pfn> = Vec::new();
    for page in from..to {
        let Some(pfn) = mm.page_behind(space, page) else { continue };
        let own = [Place::Private(device), Place::Coherent(device)];
        if mm.frames.is_used(pfn) && own.contains(&mm.frames.place(pfn)) {
            let head = mm.frames.head(pfn);
            if found.last() != Some(&head) {
                found.push(head);
            }
        }
    }
    found
}
