//! The device moves pages to its memory and back.

use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::access::{Answer, check_range, read_table};
use crate::hmm::Step;
use crate::migrate::{self, Migration, Request, Selectors, Word};
use crate::mm::frame::{Content, HUGE};
use crate::mm::{DeviceId, Errno, Mm, SpaceId, Vpn, Wait};
use crate::notifier::{DeviceEntry, MirrorId, Tag};

/// Which way pages go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// To the memory of the device that asks.
    ToDevice,
    /// To system memory.
    ToSystem,
}

/// Where a migration is. What takes long goes folio by folio: the kernel may sleep after each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Words from this one on are to be taken out of other page tables.
    Unmap(usize),
    /// Words from this one on are to be copied by the driver.
    Copy(usize),
    /// To be handed over.
    Pages,
    /// To be put back into page tables.
    Finalize,
}

impl Phase {
    /// What follows collecting.
    pub(crate) const START: Phase = Phase::Unmap(0);

    /// Does the next part; none when it was the last.
    pub(crate) fn step(self, mm: &mut Mm, migration: &mut Migration, way: Way) -> Option<Phase> {
        Some(match self {
            Phase::Unmap(from) => match migrate::unmap_next(mm, migration, from) {
                Some(next) => Phase::Unmap(next),
                None => Phase::Copy(0),
            },
            Phase::Copy(from) => match copy_next(mm, migration, from, way) {
                Some(next) => Phase::Copy(next),
                None => Phase::Pages,
            },
            Phase::Pages => {
                migrate::pages(mm, migration);
                Phase::Finalize
            }
            Phase::Finalize => {
                migrate::finalize(mm, migration);
                return None;
            }
        })
    }
}

/// Copies the first word from `from` on that moves; the word to go on with, none at the end.
fn copy_next(mm: &mut Mm, migration: &mut Migration, from: usize, way: Way) -> Option<usize> {
    let index = (from..migration.src.len()).find(|index| migration.src[*index].moves())?;
    match way {
        Way::ToDevice => copy_to_device(mm, migration, index),
        Way::ToSystem => copy_to_system(mm, migration, index),
    }
    Some(index + if migration.src[index].is_compound() { 512 } else { 1 })
}

/// A migration of a range, window by window, phase by phase and folio by folio. It holds the lock of the mappings
/// throughout.
#[derive(Clone, Debug)]
pub struct RangeMove {
    mirror: MirrorId,
    way: Way,
    from: Vpn,
    next: Vpn,
    to: Vpn,
    locked: Option<SpaceId>,
    running: Option<(Migration, Phase)>,
    moved: u64,
}

impl RangeMove {
    /// Moves pages `from..to` to the device.
    pub fn to_device(mirror: MirrorId, from: Vpn, to: Vpn) -> RangeMove {
        let way = Way::ToDevice;
        RangeMove { mirror, way, from, next: from, to, locked: None, running: None, moved: 0 }
    }

    /// Moves pages `from..to` back to system memory.
    pub fn to_system(mirror: MirrorId, from: Vpn, to: Vpn) -> RangeMove {
        RangeMove { way: Way::ToSystem, ..RangeMove::to_device(mirror, from, to) }
    }

    /// Goes on to the next point where Linux could sleep.
    ///
    /// # Errors
    ///
    /// In `Done`: `Invalid` where nothing readable is mapped, or the memory does not migrate; windows before that
    /// are moved. To the device, `NoEntry`: a page is not in its table afterwards.
    pub fn step(&mut self, mm: &mut Mm) -> Step<Result<Answer, Errno>> {
        let Some((mut migration, phase)) = self.running.take() else {
            return match self.begin(mm) {
                Ok(None) => Step::Go,
                Ok(Some(wait)) => Step::Wait(wait),
                Err(error) => self.end(mm, Err(error)),
            };
        };
        let next = phase.step(mm, &mut migration, self.way);
        if phase == Phase::Pages {
            forget_zeros(mm, &migration);
            self.moved += migration.moved();
        }
        let Some(next) = next else {
            self.next = migration.to();
            if self.way == Way::ToDevice {
                enter_moved(mm, self.mirror, &migration);
            }
            return if self.next < self.to { Step::Go } else { self.end(mm, Ok(())) };
        };
        self.running = Some((migration, next));
        Step::Go
    }

    fn begin(&mut self, mm: &mut Mm) -> Result<Option<Wait>, Errno> {
        let found = mm.mirrors.get(self.mirror).ok_or(Errno::BadFile)?;
        let (space, device) = (found.space, found.device);
        if self.locked.is_none() {
            if !mm.spaces.contains_key(&space) {
                return Err(Errno::Invalid);
            }
            if !mm.lock_mappings(space) {
                return Ok(Some(Wait::MapLock));
            }
            self.locked = Some(space);
        }
        let select = match self.way {
            Way::ToDevice => select_system(),
            Way::ToSystem => select_device(mm, device),
        };
        let request = window(mm, space, device, self.next, self.to, select)?;
        self.running = Some((migrate::setup(mm, &request)?, Phase::START));
        Ok(None)
    }

    fn end(&mut self, mm: &mut Mm, result: Result<(), Errno>) -> Step<Result<Answer, Errno>> {
        if let Some(space) = self.locked.take() {
            mm.unlock_mappings(space);
        }
        let answer = result.and_then(|()| match self.way {
            Way::ToSystem => Ok(Answer { pages: self.moved, ..Answer::default() }),
            Way::ToDevice => {
                let mut data = Vec::new();
                match read_table(mm, self.mirror, self.from, self.to, &mut data) {
                    true => Ok(Answer { pages: self.to - self.from, faults: 0, data }),
                    false => Err(Errno::NoEntry),
                }
            }
        });
        Step::Done(answer)
    }

    fn run(mut self, mm: &mut Mm) -> Result<Answer, Errno> {
        check_range(self.from, self.to)?;
        loop {
            match self.step(mm) {
                Step::Done(result) => return result,
                Step::Go => {}
                Step::Wait(_) => return Err(Errno::Again),
            }
        }
    }
}

/// Moves pages `from..to` to the device and reads them through its table.
///
/// # Errors
///
/// As [`RangeMove::step`]; `Again` where something would have to be waited for.
pub fn to_device(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn) -> Result<Answer, Errno> {
    RangeMove::to_device(mirror, from, to).run(mm)
}

/// Moves pages `from..to` back to system memory; the answer counts the words that moved.
///
/// # Errors
///
/// As [`RangeMove::step`]; `Again` where something would have to be waited for.
pub fn to_system(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn) -> Result<Answer, Errno> {
    RangeMove::to_system(mirror, from, to).run(mm)
}

fn select_system() -> Selectors {
    Selectors { system: true, private: false, coherent: false, compound: true }
}

fn select_device(mm: &Mm, device: DeviceId) -> Selectors {
    let coherent = mm.devices.get(&device).is_some_and(|memory| memory.is_coherent());
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

/// Gives a page or folio that may move one of the device, with its contents.
fn copy_to_device(mm: &mut Mm, migration: &mut Migration, index: usize) {
    let words = mm.migrate_words();
    let device = migration.by;
    let writable =
        migration.space.and_then(|space| mm.vma(space, migration.from)).is_some_and(|vma| vma.write);
    let src = migration.src[index];
    let untouched = src.pfn(words).is_none();
    let write = src.is_writable() || (untouched && writable && mm.rules.untouched_is_device_writable);
    if !src.is_compound() {
        migration.dst[index] = device_copy(mm, device, src.pfn(words), 1).writable(write);
        return;
    }
    let whole = device_copy(mm, device, src.pfn(words), HUGE);
    if whole != Word::NONE {
        migration.dst[index] = whole.compound().writable(write);
        return;
    }
    for offset in 0..512 {
        let source = src.pfn(words).map(|pfn| Pfn(pfn.0 + offset as u64));
        migration.dst[index + offset] = device_copy(mm, device, source, 1).writable(write);
    }
}

fn device_copy(mm: &mut Mm, device: DeviceId, source: Option<Pfn>, pages: u64) -> Word {
    let words = mm.migrate_words();
    let Some(new) = mm.allocate_device(device, pages == HUGE) else { return Word::NONE };
    if let Some(source) = source {
        mm.frames.copy(source, new, pages);
    }
    Word::destination(words, new)
}

/// Forgets the page of zeros where a page was put in its place. No migration entry stood for it, and the device ignores
/// what is announced for its own migrations.
fn forget_zeros(mm: &mut Mm, migration: &Migration) {
    let words = mm.migrate_words();
    let Some(space) = migration.space else { return };
    for (index, src) in
        migration.src.iter().enumerate().filter(|(_, src)| src.moves() && src.pfn(words).is_none())
    {
        let from = migration.from + index as u64;
        let pages = if src.is_compound() { HUGE } else { 1 };
        mm.mirrors.forget(space, migration.by, from, from + pages);
    }
}

/// Enters pages that moved into the device's table, if they are still there: others may have dropped them while they
/// were on their way.
pub(crate) fn enter_moved(mm: &mut Mm, mirror: MirrorId, migration: &Migration) {
    let words = mm.migrate_words();
    let Some(space) = migration.space else { return };
    for (index, (src, dst)) in migration.src.iter().zip(&migration.dst).enumerate() {
        let Some(pfn) = dst.pfn(words).filter(|_| src.moves()) else { continue };
        let tag = if dst.is_writable() { Tag::Write } else { Tag::Read };
        let pages = if dst.is_compound() { HUGE } else { 1 };
        for offset in 0..pages {
            let page = migration.from + index as u64 + offset;
            let entry = DeviceEntry { pfn: Pfn(pfn.0 + offset), tag };
            let there = mm.page_behind(space, page) == Some(entry.pfn);
            if let Some(found) = mm.mirrors.get_mut(mirror).filter(|_| there) {
                found.table.insert(page, entry);
            }
        }
    }
}

/// Gives a device page or folio that may move one of system memory, with its contents, and forgets the device's entries
/// for it.
fn copy_to_system(mm: &mut Mm, migration: &mut Migration, index: usize) {
    let words = mm.migrate_words();
    let src = migration.src[index];
    let Some(old) = src.pfn(words) else { return };
    let pages = if src.is_compound() { HUGE } else { 1 };
    if let Some(space) = migration.space {
        let from = migration.from + index as u64;
        mm.mirrors.forget(space, migration.by, from, from + pages);
    }
    let by = mm.devices.get_mut(&migration.by);
    let failed = by.is_some_and(|memory| core::mem::take(&mut memory.fail_next)) && pages == HUGE;
    let whole = if failed { None } else { system_copy(mm, old, pages) };
    match whole {
        Some(new) => {
            let word = Word::destination(words, new).writable(src.is_writable());
            migration.dst[index] = if pages == HUGE { word.compound() } else { word };
        }
        None if pages == HUGE => {
            for offset in 0..512 {
                let new = system_copy(mm, Pfn(old.0 + offset as u64), 1);
                migration.dst[index + offset] = new.map_or(Word::NONE, |new| Word::destination(words, new));
            }
        }
        None => {}
    }
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

/// Everything in a device's memory on its way home: what a driver does before its device goes.
#[derive(Clone, Debug)]
pub struct Eviction {
    device: DeviceId,
    migration: Migration,
    phase: Phase,
}

impl Eviction {
    /// Starts: pages in use that nobody has locked are locked.
    pub fn start(mm: &mut Mm, device: DeviceId) -> Eviction {
        let list = migrate::device_pages(mm, device);
        Eviction { device, migration: migrate::setup_pages(mm, device, &list), phase: Phase::START }
    }

    /// Goes on to the next point where Linux could sleep; true when it is over. Pages somebody holds stay, and with them
    /// the memory.
    pub fn step(&mut self, mm: &mut Mm) -> bool {
        match self.phase.step(mm, &mut self.migration, Way::ToSystem) {
            Some(next) => {
                self.phase = next;
                false
            }
            None => {
                if migrate::device_pages(mm, self.device).is_empty() {
                    mm.drop_chunks(self.device);
                }
                true
            }
        }
    }
}

/// Brings everything in a device's memory home and lets go of its chunks. Pages somebody holds stay.
pub fn evict(mm: &mut Mm, device: DeviceId) {
    let mut eviction = Eviction::start(mm, device);
    while !eviction.step(mm) {}
}
