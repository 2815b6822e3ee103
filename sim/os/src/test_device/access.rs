//! Reading and writing through the device's page table.

use alloc::vec::Vec;

use peerbus_units::Pfn;

use crate::hmm::{Flags, Range, RangeFault, Step, Word};
use crate::mm::{Errno, Mm, Vpn, Wait};
use crate::notifier::{DeviceEntry, MirrorId, Tag, WatchId};

/// What a command came to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Answer {
    /// Pages it reached.
    pub pages: u64,
    /// Times it faulted the rest of its range.
    pub faults: u64,
    /// Contents, one word per page.
    pub data: Vec<u64>,
}

/// Reads what the device's table reaches of `from..to`, from the end of `data` on; false where it ends before.
pub(super) fn read_table(mm: &Mm, mirror: MirrorId, from: Vpn, to: Vpn, data: &mut Vec<u64>) -> bool {
    let Some(found) = mm.mirrors.get(mirror) else { return false };
    for page in from + data.len() as u64..to {
        let Some(entry) = found.table.get(&page) else { return false };
        data.push(mm.frames.data(mm.reached(entry.pfn)));
    }
    true
}

/// Stores words HMM gave in the device's table.
///
/// # Errors
///
/// `Fault`: writing was asked for and a page came back read-only, as private pages of the device do. Pages before
/// it are stored.
fn store(mm: &mut Mm, mirror: MirrorId, from: Vpn, words: &[Word], write: bool) -> Result<(), Errno> {
    let layout = mm.hmm_words();
    let Some(found) = mm.mirrors.get_mut(mirror) else { return Err(Errno::BadFile) };
    for (page, word) in (from..).zip(words) {
        if !word.is_valid() || (write && !word.is_writable()) {
            return Err(Errno::Fault);
        }
        let tag = if word.is_writable() { Tag::Write } else { Tag::Read };
        found.table.insert(page, DeviceEntry { pfn: word.pfn(layout), tag });
    }
    Ok(())
}

/// Faults a range into the device's table, window by window. Each window holds the lock of the mappings.
#[derive(Clone, Debug)]
pub struct RangeRead {
    mirror: MirrorId,
    next: Vpn,
    to: Vpn,
    write: bool,
    lets_go: bool,
    running: Option<Window>,
}

#[derive(Clone, Debug)]
struct Window {
    fault: RangeFault,
    watch: WatchId,
    sequence: u64,
}

impl RangeRead {
    /// Starts with `from`; `lets_go`: through the helper that lets go of the lock.
    pub fn new(mirror: MirrorId, from: Vpn, to: Vpn, write: bool, lets_go: bool) -> RangeRead {
        RangeRead { mirror, next: from, to, write, lets_go, running: None }
    }

    /// Goes on to the next point where Linux could sleep.
    ///
    /// # Errors
    ///
    /// In `Done`: those of HMM, and `Fault` where a page came back without the right asked for.
    pub fn step(&mut self, mm: &mut Mm) -> Step<Result<(), Errno>> {
        let Some(mut window) = self.running.take() else { return self.window(mm) };
        match window.fault.step(mm) {
            Step::Go => {
                self.running = Some(window);
                Step::Go
            }
            // Whoever lets go of the lock starts over: mappings may be different afterwards.
            Step::Wait(wait) if self.lets_go && matches!(wait, Wait::Handler(_)) => {
                end_window(mm, &window);
                Step::Wait(wait)
            }
            Step::Wait(wait) => {
                self.running = Some(window);
                Step::Wait(wait)
            }
            Step::Done(result) => {
                let retry = mm.mirrors.read_retry(window.watch, window.sequence);
                end_window(mm, &window);
                match result {
                    Err(Errno::Busy) => Step::Go,
                    Err(error) => Step::Done(Err(error)),
                    Ok(()) if retry => Step::Go,
                    Ok(()) => self.stored(mm, &window.fault.range),
                }
            }
        }
    }

    fn stored(&mut self, mm: &mut Mm, range: &Range) -> Step<Result<(), Errno>> {
        if let Err(error) = store(mm, self.mirror, range.from, &range.words, self.write) {
            return Step::Done(Err(error));
        }
        self.next = range.to();
        if self.next < self.to { Step::Go } else { Step::Done(Ok(())) }
    }

    fn window(&mut self, mm: &mut Mm) -> Step<Result<(), Errno>> {
        let Some(found) = mm.mirrors.get(self.mirror) else { return Step::Done(Err(Errno::BadFile)) };
        let (space, device) = (found.space, found.device);
        if !mm.spaces.contains_key(&space) {
            return Step::Done(Err(Errno::Fault));
        }
        let to = (self.next + mm.rules.test_device_window).min(self.to);
        let watch = mm.mirrors.watch(space, self.next, to);
        let Some(sequence) = mm.mirrors.read_begin(watch) else {
            mm.mirrors.unwatch(watch);
            return Step::Wait(Wait::Invalidation);
        };
        if !mm.lock_mappings(space) {
            mm.mirrors.unwatch(watch);
            return Step::Wait(Wait::MapLock);
        }
        let flags = if self.write { Flags::WRITE_FAULT } else { Flags::FAULT };
        let owner = mm.devices.get(&device).map(|memory| memory.owner());
        let mut range = Range::new(space, self.next, to - self.next, flags, owner);
        range.watch = Some((watch, sequence));
        range.takes_peer_pages = mm.devices.get(&device).is_some_and(|memory| memory.takes_peer_pages);
        let mut fault = RangeFault::new(range);
        fault.lets_go = self.lets_go;
        self.running = Some(Window { fault, watch, sequence });
        Step::Go
    }

    /// Gives up: what was stored stays.
    pub fn cancel(&mut self, mm: &mut Mm) {
        if let Some(window) = self.running.take() {
            end_window(mm, &window);
        }
    }
}

fn end_window(mm: &mut Mm, window: &Window) {
    mm.mirrors.unwatch(window.watch);
    mm.unlock_mappings(window.fault.range.space);
}

/// A read or a write by the device, step by step.
#[derive(Clone, Debug)]
pub struct Transfer {
    mirror: MirrorId,
    from: Vpn,
    next: Vpn,
    to: Vpn,
    /// The value for the first page; the next gets one more. `None`: a read.
    values: Option<u64>,
    lets_go: bool,
    answer: Answer,
    fault: Option<RangeRead>,
}

impl Transfer {
    /// A read of pages `from..to`.
    pub fn read(mirror: MirrorId, from: Vpn, to: Vpn) -> Transfer {
        let answer = Answer::default();
        Transfer { mirror, from, next: from, to, values: None, lets_go: false, answer, fault: None }
    }

    /// A write of pages `from..to`, the first of them `value`.
    pub fn write(mirror: MirrorId, from: Vpn, to: Vpn, value: u64) -> Transfer {
        Transfer { values: Some(value), ..Transfer::read(mirror, from, to) }
    }

    /// The same, faulting through the helper that lets go of the lock while a handler fills pages.
    pub fn letting_go(self) -> Transfer {
        Transfer { lets_go: true, ..self }
    }

    /// Goes on to the next point where Linux could sleep.
    ///
    /// # Errors
    ///
    /// In `Done`: those of faulting what is missing. What was written before stays.
    pub fn step(&mut self, mm: &mut Mm) -> Step<Result<Answer, Errno>> {
        if let Some(fault) = &mut self.fault {
            return match fault.step(mm) {
                Step::Done(Ok(())) => {
                    self.answer.faults += 1;
                    self.fault = None;
                    Step::Go
                }
                Step::Done(Err(error)) => Step::Done(Err(error)),
                Step::Go => Step::Go,
                Step::Wait(wait) => Step::Wait(wait),
            };
        }
        match self.values {
            Some(value) => {
                let (next, wait) =
                    write_table(mm, self.mirror, self.next, self.to, value.wrapping_sub(self.from));
                self.next = next;
                if let Some(wait) = wait {
                    return Step::Wait(wait);
                }
            }
            None => {
                read_table(mm, self.mirror, self.from, self.to, &mut self.answer.data);
                self.next = self.from + self.answer.data.len() as u64;
            }
        }
        if self.next == self.to {
            self.answer.pages = self.to - self.from;
            return Step::Done(Ok(core::mem::take(&mut self.answer)));
        }
        let write = self.values.is_some();
        self.fault = Some(RangeRead::new(self.mirror, self.next, self.to, write, self.lets_go));
        Step::Go
    }

    /// Gives up.
    pub fn cancel(&mut self, mm: &mut Mm) {
        if let Some(fault) = &mut self.fault {
            fault.cancel(mm);
        }
    }

    fn run(mut self, mm: &mut Mm) -> Result<Answer, Errno> {
        loop {
            match self.step(mm) {
                Step::Done(result) => return result,
                Step::Go => {}
                Step::Wait(_) => {
                    self.cancel(mm);
                    return Err(Errno::Again);
                }
            }
        }
    }
}

/// The device reads pages `from..to`.
///
/// # Errors
///
/// Those of faulting what is missing; `Again` where something would have to be waited for.
pub fn read(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn) -> Result<Answer, Errno> {
    check_range(from, to)?;
    Transfer::read(mirror, from, to).run(mm)
}

/// The device writes pages `from..to`: `value`, and one more for each page. What was written before an error stays.
///
/// # Errors
///
/// Those of faulting what is missing; `Again` where something would have to be waited for.
pub fn write(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn, value: u64) -> Result<Answer, Errno> {
    check_range(from, to)?;
    Transfer::write(mirror, from, to, value).run(mm)
}

/// Writes what the device's table allows, each page its number plus `base`; returns the first page it does not, and
/// what has to be waited for there.
///
/// A device skips what is announced for its own migrations, so its entries still lead to the page that is being copied.
/// What it wrote there after the copy would be lost: it writes when the migration is over.
fn write_table(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn, base: u64) -> (Vpn, Option<Wait>) {
    for page in from..to {
        let Some(found) = mm.mirrors.get(mirror) else { return (page, None) };
        let Some(DeviceEntry { pfn, tag: Tag::Write }) = found.table.get(&page).copied() else {
            return (page, None);
        };
        if mm.is_migrating(found.space, page) {
            return (page, Some(Wait::Migration(pfn)));
        }
        mm.frames.set_data(mm.reached(pfn), page.wrapping_add(base));
    }
    (to, None)
}

pub(super) fn check_range(from: Vpn, to: Vpn) -> Result<(), Errno> {
    if from < to { Ok(()) } else { Err(Errno::Invalid) }
}

/// The page a device entry leads to; for checks.
pub fn table_page(mm: &Mm, mirror: MirrorId, page: Vpn) -> Option<Pfn> {
    mm.mirrors.get(mirror)?.table.get(&page).map(|entry| entry.pfn)
}
