//! What a device sees of a range, without faulting anything.

use alloc::vec::Vec;

use super::access::check_range;
use crate::device_private::HmmLayout;
use crate::hmm::{Flags, Range, RangeFault, Word};
use crate::mm::frame::{Place, ZERO_PAGE};
use crate::mm::{DeviceId, Errno, Mm, Vpn};
use crate::notifier::MirrorId;

/// The codes of a snapshot.
pub mod codes {
    /// No page can be there.
    pub const ERROR: u8 = 0xff;
    /// Nothing there.
    pub const NONE: u8 = 0;
    /// It can be read.
    pub const READ: u8 = 1;
    /// It can be read and written.
    pub const WRITE: u8 = 2;
    /// Part of a mapping of 2 MiB.
    pub const PMD: u8 = 4;
    /// Part of a mapping of 1 GiB.
    pub const PUD: u8 = 8;
    /// The page of zeros.
    pub const ZERO: u8 = 0x10;
    /// The device's own private memory.
    pub const PRIVATE_LOCAL: u8 = 0x20;
    /// Another device's private memory.
    pub const PRIVATE_REMOTE: u8 = 0x30;
    /// The device's own coherent memory.
    pub const COHERENT_LOCAL: u8 = 0x40;
    /// Another device's coherent memory.
    pub const COHERENT_REMOTE: u8 = 0x50;
}

/// A code per page of `from..to`.
///
/// # Errors
///
/// `BadFile` if the device is not open, `Invalid` for an empty range, `Again` where a page is on its way.
pub fn snapshot(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn) -> Result<Vec<u8>, Errno> {
    check_range(from, to)?;
    let found = mm.mirrors.get(mirror).ok_or(Errno::BadFile)?;
    let (space, device) = (found.space, found.device);
    if mm.mappings_change(space) {
        return Err(Errno::Again);
    }
    let owner = mm.devices.get(&device).map(|memory| memory.owner());
    let layout = mm.hmm_words();
    let mut list = Vec::new();
    let mut next = from;
    while next < to {
        let end = (next + mm.rules.test_device_window).min(to);
        let mut fault = RangeFault::new(Range::new(space, next, end - next, Flags::NONE, owner));
        fault.run(mm)?;
        list.extend(fault.range.words.iter().map(|word| code(mm, device, *word, layout)));
        next = end;
    }
    Ok(list)
}

fn code(mm: &Mm, device: DeviceId, word: Word, layout: HmmLayout) -> u8 {
    if word.is_error() {
        return codes::ERROR;
    }
    if !word.is_valid() {
        return codes::NONE;
    }
    let pfn = word.pfn(layout);
    let place = if mm.frames.is_used(pfn) { mm.frames.place(pfn) } else { Place::System };
    let kind = match place {
        Place::Private(owner) if owner == device => codes::PRIVATE_LOCAL,
        Place::Private(_) => codes::PRIVATE_REMOTE,
        Place::Coherent(owner) if owner == device => codes::COHERENT_LOCAL,
        Place::Coherent(_) => codes::COHERENT_REMOTE,
        Place::System if pfn == ZERO_PAGE => codes::ZERO,
        Place::System => codes::NONE,
    };
    let access = if word.is_writable() { codes::WRITE } else { codes::READ };
    let size = match word.order(layout) {
        0..9 => 0,
        9..18 => codes::PMD,
        _ => codes::PUD,
    };
    kind | access | size
}
