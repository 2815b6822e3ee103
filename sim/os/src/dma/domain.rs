//! [`TranslatedDomain`]: the I/O address space of one group whose DMA an IOMMU translates.
//!
//! Sizes become whole granules. A device that can address more than 4 GiB is first offered a place below 4 GiB, so that
//! devices with broken 64-bit addressing and single-cycle addressing profit; only if there is none, and the kernel lets
//! go of that preference, do its addresses come from the top of what device and IOMMU can address.
//!
//! When a freed address can come back depends on the mode. *Strict*: every unmapping is flushed at once, the next
//! request of that size on that CPU gets the same address. *Lazy*: unmapped ranges wait in a [`FlushQueue`].

use alloc::collections::BTreeMap;

use peerbus_units::{Bytes, Iova, Range};

use super::flush_queue::{Drained, FlushQueue, FlushShape, FlushTimer};
use super::iova_cache::IovaCaches;
use super::iova_space::{Call, IovaSpace};
use super::iova_tree::IovaTree;
use super::{Device, DmaError, DmaRules, DmaWork};

/// When an unmapped address may be used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalidation {
    /// At once, after a flush of its own.
    Strict,
    /// After a flush for many.
    Lazy(FlushShape, FlushTimer),
}

/// What a domain is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DomainShape {
    /// log2 of the smallest page the IOMMU can map: 12 on Intel and AMD.
    pub granule_shift: u32,
    /// The addresses the IOMMU can translate.
    pub aperture: Range<Iova>,
    /// Strict or lazy.
    pub invalidation: Invalidation,
    /// CPUs online.
    pub cpus: usize,
}

/// A domain that cannot give out addresses: its devices map directly, with a warning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DomainError {
    /// The granule is below 4 KiB or above 1 GiB.
    Granule,
    /// The aperture holds no page but page 0.
    NoPages,
}

/// Last address below 4 GiB.
const LAST_LOW: u64 = 0xffff_ffff;

/// One I/O address space and what is mapped in it.
///
/// ```
/// use peerbus_os::dma::{Call, Device, DmaRules, DmaWork, DomainShape, Invalidation, TranslatedDomain};
/// use peerbus_os::pci::FunctionIndex;
/// use peerbus_units::{Iova, Range};
///
/// let (rules, mut work) = (DmaRules::LINUX_6_12, DmaWork::default());
/// let aperture = Range::new(Iova(0), Iova(0x7f_ffff_ffff)).unwrap();
/// let shape = DomainShape { granule_shift: 12, aperture, invalidation: Invalidation::Strict, cpus: 1 };
/// let mut domain = TranslatedDomain::new(&shape, &[], &rules).unwrap();
/// let mut device = Device::new(Some(FunctionIndex(0)), false);
/// device.mask = u64::MAX;
/// let mut take = |size| {
///     let range = domain.allocate(&mut device, size, u64::MAX, &rules, Call::default(), &mut work);
///     range.unwrap().first()
/// };
/// assert_eq!(take(0x1000), Iova(0xffff_f000));
/// assert_eq!(take(0x3000), Iova(0xffff_8000)); // four pages, aligned
/// assert_eq!(take(1 << 32), Iova(0x7f_0000_0000)); // too large for 32 bits: the preference ends
/// assert_eq!(take(0x1000), Iova(0x7e_ffff_f000));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TranslatedDomain {
    shift: u32,
    last: u64,
    space: IovaSpace,
    queue: Option<FlushQueue>,
    /// Number of pages by first page, of everything allocated and not freed.
    live: BTreeMap<u64, u64>,
}

impl TranslatedDomain {
    /// An empty domain. Page 0 is never given out, nor is any page of `reserved`.
    pub fn new(
        shape: &DomainShape,
        reserved: &[Range<Iova>],
        rules: &DmaRules,
    ) -> Result<TranslatedDomain, DomainError> {
        let shift = shape.granule_shift;
        if !(12..=30).contains(&shift) {
            return Err(DomainError::Granule);
        }
        let start = (shape.aperture.first().0 >> shift).max(1);
        if start > shape.aperture.last().0 >> shift {
            return Err(DomainError::NoPages);
        }
        let reserved = reserved.iter().map(|range| (range.first().0 >> shift, range.last().0 >> shift));
        let tree = IovaTree::new(start, 1 << (32 - shift), reserved);
        let caches = IovaCaches::new(shape.cpus, rules.depot_limit);
        let queue = match shape.invalidation {
            Invalidation::Strict => None,
            Invalidation::Lazy(shape, timer) => Some(FlushQueue::new(shape, timer)),
        };
        let space = IovaSpace::new(tree, caches);
        Ok(TranslatedDomain { shift, last: shape.aperture.last().0, space, queue, live: BTreeMap::new() })
    }

    /// The last address that its IOMMU can translate.
    pub fn last(&self) -> Iova {
        Iova(self.last)
    }

    /// Bytes of a granule.
    pub fn granule(&self) -> u64 {
        1 << self.shift
    }

    /// The part of `address` inside its granule.
    pub fn offset(&self, address: u64) -> u64 {
        address & (self.granule() - 1)
    }

    /// `bytes` in whole granules, as bytes; `None` beyond 64 bits.
    pub fn round_up(&self, bytes: u64) -> Option<u64> {
        Some(bytes.checked_add(self.granule() - 1)? & !(self.granule() - 1))
    }

    /// Takes `size` bytes of addresses, rounded up to whole granules, that `device` can send when its limit is
    /// `limit` (streaming or coherent). Ends the device's preference for low addresses where the kernel does.
    pub fn allocate(
        &mut self,
        device: &mut Device,
        size: u64,
        limit: u64,
        rules: &DmaRules,
        call: Call,
        work: &mut DmaWork,
    ) -> Option<Range<Iova>> {
        self.advance(call, work);
        let bytes = self.round_up(size).filter(|bytes| *bytes > 0)?;
        let (pages, limit) = (bytes >> self.shift, limit.min(self.last));
        let mut first = None;
        if limit > LAST_LOW && device.prefers_low() {
            first = self.space.allocate(pages, LAST_LOW >> self.shift, false, call, work);
            if first.is_none() && rules.low_preference_ends {
                device.drop_low_preference();
            }
        }
        let first = first.or_else(|| self.space.allocate(pages, limit >> self.shift, true, call, work))?;
        let twice = self.live.insert(first, pages);
        assert!(twice.is_none(), "page {first:#x} was given out twice");
        Range::sized(Iova(first << self.shift), Bytes(bytes))
    }

    /// Gives back a range that [`TranslatedDomain::allocate`] returned; its translation is gone from the table.
    /// Returns the number of flushes that this took.
    pub fn free(&mut self, range: Range<Iova>, call: Call, work: &mut DmaWork) -> Result<u64, DmaError> {
        let flushes = self.advance(call, work);
        let pages = self.owns(range).ok_or(DmaError::NotMapped)?;
        let first = range.first().0 >> self.shift;
        self.live.remove(&first);
        match &mut self.queue {
            None => {
                work.flushes += 1;
                self.space.free(first, pages, call, work);
                Ok(flushes + 1)
            }
            Some(queue) => {
                let drained = queue.push((first, pages), call);
                Ok(flushes + self.release(&drained, call, work))
            }
        }
    }

    /// Gives back a range that was never mapped: nothing has to be flushed.
    pub fn free_unused(
        &mut self,
        range: Range<Iova>,
        call: Call,
        work: &mut DmaWork,
    ) -> Result<(), DmaError> {
        let pages = self.owns(range).ok_or(DmaError::NotMapped)?;
        let first = range.first().0 >> self.shift;
        self.live.remove(&first);
        self.space.free(first, pages, call, work);
        Ok(())
    }

    /// The pages of `range` if exactly it is in use.
    pub fn owns(&self, range: Range<Iova>) -> Option<u64> {
        let pages = self.live.get(&(range.first().0 >> self.shift)).copied()?;
        let whole = self.offset(range.first().0) == 0 && range.size().0 == pages << self.shift;
        whole.then_some(pages)
    }

    /// Fires the flush timer if its time has come. Every call does so first; to ask for it alone lets a caller keep
    /// time between calls. Returns the number of flushes.
    pub fn advance(&mut self, call: Call, work: &mut DmaWork) -> u64 {
        let fired = self.queue.as_mut().and_then(|queue| queue.fire(call.now));
        fired.map_or(0, |(call, drained)| self.release(&drained, call, work))
    }

    fn release(&mut self, drained: &Drained, call: Call, work: &mut DmaWork) -> u64 {
        work.flushes += drained.flushes;
        for (first, pages) in &drained.pages {
            self.space.free(*first, *pages, call, work);
        }
        drained.flushes
    }

    /// Moves what the caches of a CPU hold to where all CPUs find it; the CPU goes offline.
    pub fn cpu_offline(&mut self, cpu: u32, work: &mut DmaWork) {
        self.space.cpu_offline(cpu, work);
    }

    /// When the flush timer fires next.
    pub fn timer(&self) -> Option<Call> {
        self.queue.as_ref().and_then(FlushQueue::due)
    }

    /// Unmapped ranges that wait for a flush.
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, FlushQueue::len)
    }

    /// The ranges in use, lowest first.
    pub fn live(&self) -> impl Iterator<Item = Range<Iova>> + '_ {
        let range = |(first, pages): (&u64, &u64)| {
            Range::sized(Iova(*first << self.shift), Bytes(*pages << self.shift))
        };
        self.live.iter().filter_map(range)
    }
}
