//! A device with memory of its own and no other function than to test memory management (`test_hmm`).
//!
//! It follows address spaces through mirrors, reads and writes through its own page table, faulting what is
//! missing, moves pages to its memory and back, makes pages its own, and shows what it sees. Private memory
//! comes in chunks of 256 MiB and is handed out last page first; each private page has a normal page behind it
//! that holds the data. Coherent memory is one such chunk at a fixed address. Chunks are
//! those of [`crate::device_private`], in the design of the machine.
//!
//! Requests to HMM go in windows of 32 or 64 pages, migrations in windows of 512 clipped at mappings.

mod access;
mod exclusive;
mod memory;
mod migrate;
mod remove;
mod snapshot;

pub use access::{Answer, RangeRead, Transfer, read, table_page, write};
pub use exclusive::{check_exclusive, make_exclusive};
pub use memory::{DeviceMemory, Granule, Kind};
pub use migrate::{Eviction, RangeMove, evict, to_device, to_system};
pub(crate) use migrate::{Phase, Way, enter_moved};
pub use remove::Removal;
pub use snapshot::{codes, snapshot};

use crate::mm::{DeviceId, Errno, Mm, SpaceId};
use crate::notifier::MirrorId;

/// The driver takes the end of an invalidated range for its last page.
const DROPS_BEYOND: u64 = 1;

/// Adds a device. Its owner is its own until [`Mm::set_owner`] changes it.
pub fn add(mm: &mut Mm, device: DeviceId, kind: Kind) {
    mm.devices.insert(device, DeviceMemory::new(device, kind));
}

/// Opens a device for a process.
///
/// # Errors
///
/// `NoEntry` for an unknown device or space.
pub fn open(mm: &mut Mm, space: SpaceId, device: DeviceId) -> Result<MirrorId, Errno> {
    if !mm.devices.contains_key(&device) || !mm.spaces.contains_key(&space) {
        return Err(Errno::NoEntry);
    }
    Ok(mm.mirrors.open(space, device, DROPS_BEYOND))
}

/// Closes it: everything in the device's memory, of every process, comes home.
///
/// # Errors
///
/// `BadFile` if it was not open.
pub fn close(mm: &mut Mm, mirror: MirrorId) -> Result<(), Errno> {
    let device = mm.mirrors.get(mirror).ok_or(Errno::BadFile)?.device;
    mm.mirrors.close(mirror);
    evict(mm, device);
    Ok(())
}
