//! Pages a device has for itself, for atomic operations.

use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::access::{Answer, check_range, read_table};
use crate::mm::frame::{At, HUGE};
use crate::mm::rules::ExclusiveRule;
use crate::mm::table::Entry;
use crate::mm::{Errno, Mm, Pin, SpaceId, Vpn};
use crate::notifier::{DeviceEntry, Event, MirrorId, Tag};

/// Pages 6.x makes exclusive at once.
const WINDOW: u64 = 64;

const FOR_WRITING: Pin = Pin { write: true, pinned: false, long_term: false, split: true };

/// Makes pages `from..to` the device's own and reads them. Pages made so before an error stay so.
///
/// # Errors
///
/// 6.x: `Busy` on any failure; the pages of a window that has one are not entered in the device's table. 7.x:
/// `Fault` where nothing is writable, `NotSupported` for other than anonymous memory, `Busy`. `NoEntry` when the
/// device's table lost a page again. `Again` while mappings are being changed.
pub fn make_exclusive(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn) -> Result<Answer, Errno> {
    check_range(from, to)?;
    let space = mm.mirrors.get(mirror).ok_or(Errno::BadFile)?.space;
    if mm.mappings_change(space) {
        return Err(Errno::Again);
    }
    match mm.rules.exclusive {
        ExclusiveRule::ByFolio => by_folio(mm, mirror, space, from, to)?,
        ExclusiveRule::ByPage => {
            for page in from..to {
                let pfn = one_page(mm, space, page)?;
                enter(mm, mirror, page, pfn);
            }
        }
    }
    let mut data = Vec::new();
    if !read_table(mm, mirror, from, to, &mut data) {
        return Err(Errno::NoEntry);
    }
    Ok(Answer { pages: to - from, faults: 0, data })
}

fn enter(mm: &mut Mm, mirror: MirrorId, page: Vpn, pfn: Pfn) {
    if let Some(found) = mm.mirrors.get_mut(mirror) {
        found.table.insert(page, DeviceEntry { pfn, tag: Tag::Atomic });
    }
}

fn one_page(mm: &mut Mm, space: SpaceId, page: Vpn) -> Result<Pfn, Errno> {
    let at = At { space, page };
    let pfn = mm.hold(space, page, FOR_WRITING)?;
    let result = match () {
        () if !mm.is_anonymous(pfn) => Err(Errno::NotSupported),
        () if !mm.frames.try_lock(pfn) => Err(Errno::Busy),
        () => Ok(()),
    };
    if let Err(error) = result {
        mm.put(pfn);
        return Err(error);
    }
    mm.invalidate(space, page, page + 1, Event::Exclusive);
    mm.table(space).set(page, Some(Entry::Exclusive { pfn, write: true }));
    debug_assert!(mm.frames.maps(pfn).contains(&at), "the page stays mapped");
    mm.frames.unlock(pfn);
    // The entry keeps the mapping's reference; the lookup's goes.
    mm.put(pfn);
    Ok(pfn)
}

fn by_folio(mm: &mut Mm, mirror: MirrorId, space: SpaceId, from: Vpn, to: Vpn) -> Result<(), Errno> {
    let mut next = from;
    while next < to {
        let end = (next + WINDOW).min(to);
        let held = hold_window(mm, space, next, end);
        let mut locked = Vec::new();
        for (page, pfn) in (next..).zip(&held) {
            if folio_exclusive(mm, At { space, page }, *pfn) {
                locked.push((page, *pfn));
            } else {
                mm.put(*pfn);
            }
        }
        let complete = held.len() as u64 == end - next;
        let mut entered = 0;
        for (page, pfn) in locked {
            if complete {
                enter(mm, mirror, page, pfn);
                entered += 1;
            }
            mm.frames.unlock(pfn);
            mm.put(pfn);
        }
        if entered < end - next {
            return Err(Errno::Busy);
        }
        next = end;
    }
    Ok(())
}

/// Pages of a window that can be had for writing, up to the first that cannot.
fn hold_window(mm: &mut Mm, space: SpaceId, from: Vpn, to: Vpn) -> Vec<Pfn> {
    let mut held = Vec::new();
    for page in from..to {
        match mm.hold(space, page, FOR_WRITING) {
            Ok(pfn) => held.push(pfn),
            Err(_) => break,
        }
    }
    held
}

/// Makes all pages of a folio exclusive, wherever they are mapped, if `pfn` is its first page. The caller's
/// reference stays; on success the folio is locked.
fn folio_exclusive(mm: &mut Mm, at: At, pfn: Pfn) -> bool {
    if mm.frames.head(pfn) != pfn || !mm.frames.try_lock(pfn) {
        return false;
    }
    if !mm.is_anonymous(pfn) {
        mm.frames.unlock(pfn);
        return false;
    }
    let pages = mm.frames.folio_pages(pfn);
    let mut valid = false;
    for (space, from, to) in mm.reverse_ranges(pfn) {
        if mm.frames.folio_mapcount(pfn) == 0 {
            break;
        }
        mm.invalidate(space, from, to, Event::Exclusive);
        for here in mm.mapped_in(pfn, space, from, to) {
            let Some(Entry::Page { pfn: one, write }) = mm.space(here.space).table.get(here.page) else {
                continue;
            };
            valid |= here == at && write;
            mm.table(here.space).set(here.page, Some(Entry::Exclusive { pfn: one, write }));
            mm.frames.unmap(one, here);
        }
    }
    let done = valid && mm.frames.folio_mapcount(pfn) == 0;
    if !done {
        mm.frames.unlock(pfn);
    }
    debug_assert!(pages == 1 || pages == HUGE);
    done
}

/// Fails if a page of `from..to` is still the device's own.
///
/// # Errors
///
/// `Perm` if one is.
pub fn check_exclusive(mm: &Mm, mirror: MirrorId, from: Vpn, to: Vpn) -> Result<(), Errno> {
    check_range(from, to)?;
    let found = mm.mirrors.get(mirror).ok_or(Errno::BadFile)?;
    match found.table.range(from..to).any(|(_, entry)| entry.tag == Tag::Atomic) {
        true => Err(Errno::Perm),
        false => Ok(()),
    }
}
