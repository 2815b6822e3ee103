//! Reading and writing through the device's page table.

use alloc::vec::Vec;

use peerbus_units::Pfn;

use crate::hmm::{Flags, Layout, Range, RangeFault, Step, Word};
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
        data.push(mm.frames.data(entry.pfn));
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
    let layout = Layout { order_shift: mm.rules.order_shift };
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

/// Faults a range into the device's table, window by window.
#[derive(Clone, Debug)]
pub struct RangeRead {
    mirror: MirrorId,
    next: Vpn,
    to: Vpn,
    write: bool,
    lets_go: bool,
    running: Option<(RangeFault, WatchId)>,
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
        let Some((mut fault, watch)) = self.running.take() else { return self.window(mm) };
        match fault.step(mm) {
            Step::Go => {
                self.running = Some((fault, watch));
                Step::Go
            }
            Step::Wait(wait) => {
                // Whoever lets go of the lock starts over: mappings may be different afterwards.
                if self.lets_go && matches!(wait, Wait::Handler(_)) {
                    mm.mirrors.unwatch(watch);
                } else {
                    self.running = Some((fault, watch));
                }
                Step::Wait(wait)
            }
            Step::Done(result) => {
                let retry =
                    fault.range.watch.is_some_and(|(id, sequence)| mm.mirrors.read_retry(id, sequence));
                mm.mirrors.unwatch(watch);
                match result {
                    Err(Errno::Busy) => Step::Go,
                    Err(error) => Step::Done(Err(error)),
                    Ok(()) if retry => Step::Go,
                    Ok(()) => self.stored(mm, &fault.range),
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
        let flags = if self.write { Flags::WRITE_FAULT } else { Flags::FAULT };
        let owner = mm.devices.get(&device).map(|memory| memory.owner);
        let mut range = Range::new(space, self.next, to - self.next, flags, owner);
        range.watch = Some((watch, sequence));
        let mut fault = RangeFault::new(range);
        fault.lets_go = self.lets_go;
        self.running = Some((fault, watch));
        Step::Go
    }

    /// Runs to the end where nothing is waited for.
    ///
    /// # Errors
    ///
    /// As [`RangeRead::step`]; `Again` where something would have to be waited for.
    pub fn run(mut self, mm: &mut Mm) -> Result<(), Errno> {
        loop {
            match self.step(mm) {
                Step::Done(result) => return result,
                Step::Go => {}
                Step::Wait(_) => {
                    if let Some((_, watch)) = self.running {
                        mm.mirrors.unwatch(watch);
                    }
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
/// Those of faulting what is missing.
pub fn read(mm: &mut Mm, mirror: MirrorId, from: Vpn, to: Vpn) -> Result<Answer, Errno> {
    check_range(from, to)?;
    let mut data = Vec::new();
    let mut faults = 0;
    while !read_table(mm, mirror, from, to, &mut data) {
        RangeRead::new(mirror, from + data.len() as u64, to, false, false).run(mm)?;
        faults += 1;
    }
    Ok(Answer { pages: to - from, faults, data })
}

/// The device writes `value(page)` to pages `from..to`. What was written before an error stays.
///
/// # Errors
///
/// Those of faulting what is missing.
pub fn write(
    mm: &mut Mm,
    mirror: MirrorId,
    from: Vpn,
    to: Vpn,
    value: impl Fn(Vpn) -> u64,
) -> Result<Answer, Errno> {
    check_range(from, to)?;
    let mut next = from;
    let mut faults = 0;
    loop {
        next = write_table(mm, mirror, next, to, &value);
        if next == to {
            return Ok(Answer { pages: to - from, faults, data: Vec::new() });
        }
        RangeRead::new(mirror, next, to, true, false).run(mm)?;
        faults += 1;
    }
}

/// Writes what the device's table allows; returns the first page it does not.
pub(super) fn write_table(
    mm: &mut Mm,
    mirror: MirrorId,
    from: Vpn,
    to: Vpn,
    value: impl Fn(Vpn) -> u64,
) -> Vpn {
    for page in from..to {
        let entry = mm.mirrors.get(mirror).and_then(|found| found.table.get(&page).copied());
        match entry {
            Some(DeviceEntry { pfn, tag: Tag::Write }) => mm.frames.set_data(pfn, value(page)),
            _ => return page,
        }
    }
    to
}

pub(super) fn check_range(from: Vpn, to: Vpn) -> Result<(), Errno> {
    if from < to { Ok(()) } else { Err(Errno::Invalid) }
}

/// The page a device entry leads to; for checks.
pub fn table_page(mm: &Mm, mirror: MirrorId, page: Vpn) -> Option<Pfn> {
    mm.mirrors.get(mirror)?.table.get(&page).map(|entry| entry.pfn)
}
