//! Mappings of processes: filled at once or page by page.

use peerbus_units::CpuAddr;

use super::{Exporter, PeerVmaError, VmaId};

/// When the pages of a VMA get slots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Filling {
    /// All when it is mapped. There is no fault handler: a page taken back is lost to the process.
    Eager,
    /// Each when the CPU touches it first.
    Lazy,
}

/// What the CPU meets in a VMA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuFault {
    /// The page is at this address of the BAR.
    Mapped(CpuAddr),
    /// The process is killed, unless it has a handler.
    SigBus(PeerVmaError),
    /// The object is being moved; the fault repeats.
    Retry,
}

impl Exporter {
    /// The CPU touches page `page` of a VMA, counted from the VMA's first.
    pub fn touch(&mut self, vma: VmaId, page: u64) -> CpuFault {
        let Some(at) = self.vma(vma).copied() else { return CpuFault::SigBus(PeerVmaError::NoVma) };
        if !self.vmas.get(&vma).is_some_and(|vma| vma.shows(page, 1)) {
            return CpuFault::SigBus(PeerVmaError::Outside);
        }
        let page = at.first + page;
        let Some(object) = self.objects.get(&at.object) else {
            return CpuFault::SigBus(PeerVmaError::Outside);
        };
        let used = object.uses.get(&page);
        if let Some(slot) = used.filter(|used| used.cpu.contains(&vma)).and_then(|used| used.slot) {
            return CpuFault::Mapped(slot);
        }
        if object.moving.is_some() {
            return CpuFault::Retry;
        }
        if at.filling == Filling::Eager {
            return CpuFault::SigBus(PeerVmaError::NoFault);
        }
        match self.room(at.object, Some(at.process), page, 1) {
            Ok(_) => self.show(vma, at.object, page),
            Err(error) => CpuFault::SigBus(error),
        }
    }
}
