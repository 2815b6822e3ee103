//! The device moves pages to its memory and back.

use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::access::{Answer, check_range, read_table};
use crate::migrate::{self, Migration, Request, Selectors, Word};
use crate::mm::frame::{Content, HUGE};
use crate::mm::{DeviceId, Errno, Mm, SpaceId, Vpn};
use crate::notifier::{DeviceEntry, MirrorId, Tag};

/// Moves pages `from..to` to the device and reads them through its table.
///
/// # Errors
///
/// `Invalid` where nothing readable is mapped, or the memory does not migrate; windows before that are moved.
/// `NoEntry`: a page is not in the device's table afterwards.
pub fn to_device(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn) -> Result<Answer, Errno> {
    check_range(from, to)?;
    let found = mm.mirrors.get(mirror).ok_or(Errno::BadFile)?;
    let (space, device) = (found.space, found.device);
    let mut next = from;
    while next < to {
        let request = window(mm, space, device, next, to, select_system())?;
        let mut migration = migrate::setup(mm, &request)?;
        migrate::unmap(mm, &mut migration);
        copy_to_device(mm, device, &mut migration);
        migrate::pages(mm, &mut migration);
        enter_moved(mm, mirror, &migration);
        migrate::finalize(mm, &mut migration);
        next = request.to;
    }
    let mut data = Vec::new();
    if !read_table(mm, mirror, from, to, &mut data) {
        return Err(Errno::NoEntry);
    }
    Ok(Answer { pages: to - from, faults: 0, data })
}

fn select_system() -> Selectors {
    Selectors { system: true, private: false, coherent: false, compound: true }
}

fn select_device(mm: &Mm, device: DeviceId) -> Selectors {
    let coherent = mm.devices.get(&device).is_some_and(|memory| memory.coherent);
    Selectors { system: false, private: !coherent, coherent, compound: true }
}

/// The next window: at most 512 pages, inside one readable mapping.
fn window(
    mm: &Mm,
    space: SpaceId,
    by: DeviceId,
    from: Vpn,
    to: Vpn,
    select: Selectors,
) -> Result<Request, Errno> {
    let vma = mm.vma(space, from).filter(|vma| vma.read).ok_or(Errno::Invalid)?;
    let to = to.min(from + HUGE).min(vma.end);
    Ok(Request { space, from, to, by, select, fault_page: None })
}

/// Gives every page that may move a page of the device, with its contents.
pub(crate) fn copy_to_device(mm: &mut Mm, device: DeviceId, migration: &mut Migration) {
    let writable =
        migration.space.and_then(|space| mm.vma(space, migration.from)).is_some_and(|vma| vma.write);
    let mut index = 0;
    while index < migration.src.len() {
        let src = migration.src[index];
        if !src.moves() {
            index += 1;
            continue;
        }
        let untouched = src.pfn().is_none() && writable && mm.rules.untouched_is_device_writable;
        let write = src.is_writable() || untouched;
        if !src.is_compound() {
            migration.dst[index] = device_copy(mm, device, src.pfn(), 1).writable(write);
            index += 1;
            continue;
        }
        let whole = device_copy(mm, device, src.pfn(), HUGE);
        if whole == Word::NONE {
            for offset in 0..512 {
                let source = src.pfn().map(|pfn| Pfn(pfn.0 + offset as u64));
                migration.dst[index + offset] = device_copy(mm, device, source, 1).writable(write);
            }
        } else {
            migration.dst[index] = whole.compound().writable(write);
        }
        index += 512;
    }
}

fn device_copy(mm: &mut Mm, device: DeviceId, source: Option<Pfn>, pages: u64) -> Word {
    let Some(new) = mm.allocate_device(device, pages == HUGE) else { return Word::NONE };
    if let Some(source) = source {
        mm.frames.copy(source, new, pages);
    }
    Word::destination(new)
}

/// Enters pages that moved into the device's table.
pub(crate) fn enter_moved(mm: &mut Mm, mirror: MirrorId, migration: &Migration) {
    let Some(found) = mm.mirrors.get_mut(mirror) else { return };
    for (index, (src, dst)) in migration.src.iter().zip(&migration.dst).enumerate() {
        let Some(pfn) = dst.pfn().filter(|_| src.moves()) else { continue };
        let tag = if dst.is_writable() { Tag::Write } else { Tag::Read };
        let pages = if dst.is_compound() { HUGE } else { 1 };
        for offset in 0..pages {
            let page = migration.from + index as u64 + offset;
            found.table.insert(page, DeviceEntry { pfn: Pfn(pfn.0 + offset), tag });
        }
    }
}

/// Moves pages `from..to` back to system memory; the answer counts the words that moved.
///
/// # Errors
///
/// `Invalid` where nothing readable is mapped; windows before that are moved.
pub fn to_system(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn) -> Result<Answer, Errno> {
    check_range(from, to)?;
    let found = mm.mirrors.get(mirror).ok_or(Errno::BadFile)?;
    let (space, device) = (found.space, found.device);
    let select = select_device(mm, device);
    let mut answer = Answer::default();
    let mut next = from;
    while next < to {
        let request = window(mm, space, device, next, to, select)?;
        let mut migration = migrate::setup(mm, &request)?;
        migrate::unmap(mm, &mut migration);
        copy_to_system(mm, &mut migration);
        migrate::pages(mm, &mut migration);
        answer.pages += migration.moved();
        migrate::finalize(mm, &mut migration);
        next = request.to;
    }
    Ok(answer)
}

/// Answers a CPU fault on a private page; whether the page asked for moved.
pub fn bring_back(mm: &mut Mm, request: &Request) -> bool {
    let Ok(mut migration) = migrate::setup(mm, request) else { return false };
    migrate::unmap(mm, &mut migration);
    copy_to_system(mm, &mut migration);
    migrate::pages(mm, &mut migration);
    let moved = migration.moved() > 0;
    migrate::finalize(mm, &mut migration);
    moved
}

/// Gives every device page that may move a page of system memory, with its contents, and forgets the device's
/// entries for it.
pub(crate) fn copy_to_system(mm: &mut Mm, migration: &mut Migration) {
    let mut index = 0;
    while index < migration.src.len() {
        let src = migration.src[index];
        let Some(old) = src.pfn().filter(|_| src.moves()) else {
            index += 1;
            continue;
        };
        let pages = if src.is_compound() { HUGE } else { 1 };
        if let Some(space) = migration.space {
            let from = migration.from + index as u64;
            mm.mirrors.forget(space, migration.by, from, from + pages);
        }
        let failed = core::mem::take(&mut device_of(mm, migration.by).fail_next) && pages == HUGE;
        let whole = if failed { None } else { system_copy(mm, old, pages) };
        match whole {
            Some(new) => {
                let word = Word::destination(new).writable(src.is_writable());
                migration.dst[index] = if pages == HUGE { word.compound() } else { word };
            }
            None if pages == HUGE => {
                for offset in 0..512 {
                    let new = system_copy(mm, Pfn(old.0 + offset as u64), 1);
                    migration.dst[index + offset] = new.map_or(Word::NONE, Word::destination);
                }
            }
            None => {}
        }
        index += usize::try_from(pages).expect("1 or 512");
    }
}

fn device_of(mm: &mut Mm, device: DeviceId) -> &mut super::DeviceMemory {
    mm.devices.get_mut(&device).expect("a device with pages exists")
}

fn system_copy(mm: &mut Mm, old: Pfn, pages: u64) -> Option<Pfn> {
    let new = match pages {
        1 => mm.frames.allocate(Content::Anonymous)?,
        _ => mm.frames.allocate_huge(Content::Anonymous)?,
    };
    mm.frames.try_lock(new);
    mm.frames.copy(old, new, pages);
    Some(new)
}

/// Brings everything in a device's memory home and lets go of its chunks. Pages somebody holds stay.
pub fn evict(mm: &mut Mm, device: DeviceId) {
    let list = migrate::device_pages(mm, device);
    let mut migration = migrate::setup_pages(mm, device, &list);
    copy_to_system(mm, &mut migration);
    migrate::pages(mm, &mut migration);
    migrate::finalize(mm, &mut migration);
    if migrate::device_pages(mm, device).is_empty() {
        device_of(mm, device).drop_chunks();
    }
}
