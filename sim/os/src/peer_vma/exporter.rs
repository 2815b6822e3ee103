//! [`Exporter`]: a device that lets others reach its memory, its objects and VMAs, and its policy.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use peerbus_units::DevicePage;

use super::object::Object;
use super::{Aperture, CpuFault, Filling, ObjectId, PeerVmaError};

/// Names one VMA; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VmaId(pub u64);

/// A process, whatever the caller's number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProcessId(pub u64);

/// What the exporter allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// It maps for peers at all.
    pub peers: bool,
    /// It also maps for peers that reach it through a host bridge. The posted series knows bus addresses only.
    pub through_host_bridge: bool,
    /// Pages of one object that may be reachable.
    pub object_limit: Option<u64>,
    /// Pages that one process may have made reachable.
    pub process_limit: Option<u64>,
}

impl Default for Policy {
    /// As posted, without limits.
    fn default() -> Policy {
        Policy { peers: true, through_host_bridge: false, object_limit: None, process_limit: None }
    }
}

/// A mapping of part of an object into a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmaPages {
    /// Of which object.
    pub object: ObjectId,
    /// First page of the object.
    pub first: u64,
    /// Pages.
    pub pages: u64,
    /// Whose.
    pub process: ProcessId,
    /// It can be written.
    pub writable: bool,
    /// When its pages get slots.
    pub filling: Filling,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Vma {
    pub at: VmaPages,
    /// What the process has not unmapped, counted from the VMA's first page: sorted, apart, not empty.
    pub parts: Vec<Range<u64>>,
}

impl Vma {
    /// Unmapped by the process as a whole; importers still have addresses.
    pub fn is_closing(&self) -> bool {
        self.parts.is_empty()
    }

    /// True when none of these pages is unmapped. A VMA of which a part is gone is two to the kernel: no request reaches
    /// across.
    pub fn shows(&self, first: u64, pages: u64) -> bool {
        let end = first.checked_add(pages);
        pages > 0
            && end.is_some_and(|end| self.parts.iter().any(|part| part.start <= first && end <= part.end))
    }

    /// Takes pages out of it.
    pub fn cut(&mut self, first: u64, end: u64) {
        let left = |part: &Range<u64>| part.start..part.end.min(first);
        let right = |part: &Range<u64>| part.start.max(end)..part.end;
        let parts = self.parts.iter().flat_map(|part| [left(part), right(part)]);
        self.parts = parts.filter(|part| !part.is_empty()).collect();
    }
}

/// A device whose memory is larger than its BAR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exporter {
    pub(super) aperture: Aperture,
    pub(super) policy: Policy,
    pub(super) objects: BTreeMap<ObjectId, Object>,
    pub(super) vmas: BTreeMap<VmaId, Vma>,
    next: u64,
}

impl Exporter {
    /// An exporter without objects.
    pub fn new(aperture: Aperture, policy: Policy) -> Exporter {
        Exporter { aperture, policy, objects: BTreeMap::new(), vmas: BTreeMap::new(), next: 0 }
    }

    /// An object of `pages` pages from `first` on.
    pub fn add_object(&mut self, first: DevicePage, pages: u64) -> Option<ObjectId> {
        first.0.checked_add(pages)?;
        let id = ObjectId(self.number());
        self.objects.insert(id, Object { first, pages, moving: None, uses: BTreeMap::new() });
        Some(id)
    }

    /// Removes an object that nobody uses; false while there are VMAs or addresses of it.
    pub fn remove_object(&mut self, object: ObjectId) -> bool {
        let shown = self.vmas.values().any(|vma| vma.at.object == object);
        let used = self.objects.get(&object).is_none_or(|object| !object.uses.is_empty());
        !shown && !used && self.objects.remove(&object).is_some()
    }

    /// Maps an object into a process. Filled at once, it needs a slot for each page, or fails.
    pub fn mmap(&mut self, request: VmaPages) -> Result<VmaId, PeerVmaError> {
        let object = self.objects.get(&request.object).ok_or(PeerVmaError::Outside)?;
        if request.pages == 0 || !object.has(request.first, request.pages) {
            return Err(PeerVmaError::Outside);
        }
        if object.moving.is_some() && request.filling == Filling::Eager {
            return Err(PeerVmaError::Wait);
        }
        if request.filling == Filling::Eager {
            self.room(request.object, Some(request.process), request.first, request.pages)?;
        }
        let id = VmaId(self.number());
        let parts = core::iter::once(0..request.pages).collect();
        self.vmas.insert(id, Vma { at: request, parts });
        if request.filling == Filling::Eager {
            for page in request.first..request.first + request.pages {
                self.show(id, request.object, page);
            }
        }
        Ok(id)
    }

    /// A child inherits a VMA as it is: it sees the pages that its parent sees, in the same slots, and costs none. What
    /// importers were promised in the parent's address space is no promise in the child's. It cannot be refused, whatever
    /// the policy says of processes; that counts again when the child asks for more.
    pub fn fork(&mut self, vma: VmaId, process: ProcessId) -> Result<VmaId, PeerVmaError> {
        let parent = self.vmas.get(&vma).filter(|vma| !vma.is_closing()).ok_or(PeerVmaError::NoVma)?;
        let child = Vma { at: VmaPages { process, ..parent.at }, ..parent.clone() };
        let id = VmaId(self.number());
        if let Some(object) = self.objects.get_mut(&child.at.object) {
            for used in object.uses.values_mut().filter(|used| used.cpu.contains(&vma)) {
                used.cpu.insert(id);
            }
        }
        self.vmas.insert(id, child);
        Ok(id)
    }

    /// The device's table.
    pub fn aperture(&self) -> &Aperture {
        &self.aperture
    }

    /// A VMA, as it was asked for, until all of it is unmapped.
    pub fn vma(&self, vma: VmaId) -> Option<&VmaPages> {
        self.vmas.get(&vma).filter(|vma| !vma.is_closing()).map(|vma| &vma.at)
    }

    /// Pages that have a slot or a promise of one.
    pub fn claims(&self) -> u64 {
        self.objects.values().map(|object| count(object.uses.len())).sum()
    }

    /// What stands against making these pages reachable: limits first, then the aperture.
    pub(super) fn room(
        &self,
        object: ObjectId,
        process: Option<ProcessId>,
        first: u64,
        pages: u64,
    ) -> Result<u64, PeerVmaError> {
        let at = self.objects.get(&object).ok_or(PeerVmaError::Outside)?;
        let claimed = count(at.uses.range(first..first + pages).count());
        let needed = pages - claimed;
        if let Some(limit) = self.policy.object_limit.filter(|limit| count(at.uses.len()) + needed > *limit) {
            return Err(PeerVmaError::OverLimit { limit });
        }
        if let (Some(limit), Some(process)) = (self.policy.process_limit, process)
            && self.of_process(process, object, first, pages) > limit
        {
            return Err(PeerVmaError::OverLimit { limit });
        }
        let left = self.aperture.slots() - self.claims();
        if needed > left { Err(PeerVmaError::Full { needed, left }) } else { Ok(needed) }
    }

    /// Pages that a process would have made reachable with these.
    fn of_process(&self, process: ProcessId, object: ObjectId, first: u64, pages: u64) -> u64 {
        let new = |id: ObjectId, page: u64| id == object && (first..first + pages).contains(&page);
        let own = |vma: VmaId| self.vmas.get(&vma).is_some_and(|vma| vma.at.process == process);
        let old = self.objects.iter().flat_map(|(id, object)| object.uses.iter().map(move |at| (*id, at)));
        let old = old.filter(|(id, (page, at))| {
            let mut vmas = at.cpu.iter().copied().chain(at.importers.keys().filter_map(|(vma, _)| *vma));
            !new(*id, **page) && vmas.any(own)
        });
        count(old.count()) + pages
    }

    /// Lets a process see a page for which there is room.
    pub(super) fn show(&mut self, vma: VmaId, object: ObjectId, page: u64) -> CpuFault {
        let Some(at) = self.objects.get_mut(&object) else { return CpuFault::SigBus(PeerVmaError::Outside) };
        let slot = at.fill(&mut self.aperture, page);
        at.uses.entry(page).or_default().cpu.insert(vma);
        CpuFault::Mapped(slot)
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
