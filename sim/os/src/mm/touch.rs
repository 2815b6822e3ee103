//! What one CPU does, with the points where it could sleep: a read or a write of one page.
//!
//! A fault on a private page begins under the lock of its mapping alone where the kernel has such locks, and again under the
//! lock of all mappings. A copy is made before devices are told; what they were told of may take long, and afterwards the
//! copy is only used if what was copied is still there.

use peerbus_units::Pfn;

use super::access::Reach;
use super::fault::Fault;
use super::frame::At;
use super::table::{Entry, SlotKind};
use super::{CpuError, Mm, SpaceId, Vpn, Wait};
use crate::hmm::Step;
use crate::notifier::Event;

/// A CPU's access under way.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    space: SpaceId,
    page: Vpn,
    /// What is written; `None`: a read.
    value: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Under the lock of one mapping, where there are such locks.
    Begins,
    /// Under the lock of all mappings.
    Locked,
    /// `new` is a copy of what `entry` leads to, and devices are being told. Both pages are held, and so is the lock.
    Copied { entry: Entry, new: Pfn },
}

impl Touch {
    /// A read.
    pub fn read(space: SpaceId, page: Vpn) -> Touch {
        Touch { space, page, value: None, state: State::Begins }
    }

    /// A write of `value`.
    pub fn write(space: SpaceId, page: Vpn, value: u64) -> Touch {
        Touch { value: Some(value), ..Touch::read(space, page) }
    }

    /// Goes on to the next point where Linux could sleep. Done: what was read, or written.
    pub fn step(&mut self, mm: &mut Mm) -> Step<Result<u64, CpuError>> {
        if let State::Copied { entry, new } = self.state {
            self.installed(mm, entry, new);
            self.state = State::Begins;
            return Step::Go;
        }
        match self.begun(mm) {
            Ok(step) => step,
            Err(error) => Step::Done(Err(error)),
        }
    }

    fn begun(&mut self, mm: &mut Mm) -> Result<Step<Result<u64, CpuError>>, CpuError> {
        let (space, page, write) = (self.space, self.page, self.value.is_some());
        let vma = mm.vma(space, page).ok_or(CpuError::Segv)?;
        if !(if write { vma.write } else { vma.read }) {
            return Err(CpuError::Segv);
        }
        if mm.space(space).lock.writer {
            return Ok(Step::Wait(Wait::MapLock));
        }
        if let Some(reach) = mm.reach(space, page, write) {
            return Ok(Step::Done(Ok(self.reached(mm, &reach))));
        }
        let at = At { space, page };
        let small = matches!(mm.space(space).table.slot(page), SlotKind::Table);
        if small
            && write
            && let Some(entry) = mm.copied_by_write(at, &vma)
        {
            let old = entry.pfn();
            let new = mm.make_copy(at, old)?;
            old.into_iter().for_each(|old| mm.frames.get(old));
            assert!(mm.lock_mappings(space), "nobody changes mappings");
            mm.mirrors.begin(space, page, page + 1, Event::Clear);
            self.state = State::Copied { entry, new };
            return Ok(Step::Go);
        }
        let private = small && matches!(mm.space(space).table.get(page), Some(Entry::Private { .. }));
        if private && mm.rules.fault_begins_under_mapping_lock && matches!(self.state, State::Begins) {
            self.state = State::Locked;
            return Ok(Step::Go);
        }
        self.state = State::Begins;
        Ok(match mm.fault(space, page, write)? {
            Fault::Done => Step::Go,
            Fault::Wait(wait) => Step::Wait(wait),
        })
    }

    fn reached(&self, mm: &mut Mm, reach: &Reach) -> u64 {
        match (reach, self.value) {
            (Reach::Page(pfn), Some(value)) => {
                mm.frames.set_data(*pfn, value);
                value
            }
            (Reach::Page(pfn), None) => mm.frames.data(*pfn),
            (Reach::Zero, _) => 0,
        }
    }

    /// Devices have let go: the copy takes the place of what was copied, unless something else is there by now.
    fn installed(&self, mm: &mut Mm, entry: Entry, new: Pfn) {
        let (space, page, old) = (self.space, self.page, entry.pfn());
        let vma = mm.vma(space, page);
        match vma.filter(|_| mm.space(space).table.get(page) == Some(entry)) {
            Some(vma) => mm.install_copy(At { space, page }, &vma, old, new),
            None => mm.put(new),
        }
        mm.mirrors.end(space, page, page + 1);
        old.into_iter().for_each(|old| mm.put(old));
        mm.unlock_mappings(space);
    }
}
