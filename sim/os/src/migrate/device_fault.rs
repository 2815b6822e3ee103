//! A CPU touches a private page: its driver brings it back.

use peerbus_units::Pfn;

use super::{Request, Selectors};
use crate::mm::frame::{At, HUGE, Place};
use crate::mm::{Fault, FaultError, Mm, Wait};
use crate::test_device;

/// Answers a fault at `at` on the private page `pfn`: alone if a small entry led to it, with its whole folio if a
/// huge one did.
///
/// # Errors
///
/// `Bus` if the driver could not bring it back.
pub fn to_ram(mm: &mut Mm, at: At, pfn: Pfn) -> Result<Fault, FaultError> {
    let Place::Private(device) = mm.frames.place(pfn) else { return Err(FaultError::Bus) };
    let locks = mm.rules.private_fault_locks;
    if locks && !mm.frames.try_lock(pfn) {
        return Ok(Fault::Wait(Wait::PageLock(pfn)));
    }
    if !locks && mm.frames.locked(pfn) {
        return Ok(Fault::Wait(Wait::PageLock(pfn)));
    }
    mm.frames.get(pfn);
    let huge = mm.space(at.space).table.huge(at.page).is_some();
    let (from, to) = match huge {
        true => (at.page / HUGE * HUGE, at.page / HUGE * HUGE + HUGE),
        false => (at.page, at.page + 1),
    };
    let request = Request {
        space: at.space,
        from,
        to,
        by: device,
        select: Selectors { system: false, private: true, coherent: false, compound: huge },
        fault_page: Some(pfn),
    };
    let moved = test_device::bring_back(mm, &request);
    if locks {
        mm.frames.unlock(pfn);
    }
    mm.put(pfn);
    if moved { Ok(Fault::Done) } else { Err(FaultError::Bus) }
}
