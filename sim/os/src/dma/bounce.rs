//! [`BounceBuffers`]: memory every device can reach, through which the kernel copies what a device cannot reach itself.

use alloc::collections::BTreeMap;

use peerbus_units::{Address, Bytes, CpuAddr, Range};

/// The machine's bounce buffers.
pub trait BounceBuffers {
    /// Takes `size` bytes for the memory at `original`, whose address modulo `keep`, a power of two, the buffer shares,
    /// with the rest of its first and last `keep` bytes to itself. `None` when there are no buffers or none is free.
    fn take(&mut self, original: CpuAddr, size: u64, keep: u64) -> Option<CpuAddr>;

    /// Gives back a buffer that starts at `buffer`.
    fn give_back(&mut self, buffer: CpuAddr);
}

/// A kernel without bounce buffers: all memory lies where devices reach it, or they were switched off.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoBounce;

impl BounceBuffers for NoBounce {
    fn take(&mut self, _: CpuAddr, _: u64, _: u64) -> Option<CpuAddr> {
        None
    }

    fn give_back(&mut self, _: CpuAddr) {}
}

/// Bounce buffers in one piece of memory, given out first fit. Which place a request gets is ours: no decision of
/// the kernel depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BounceArea {
    area: Range<CpuAddr>,
    /// What is taken, by the address given out.
    taken: BTreeMap<CpuAddr, Range<CpuAddr>>,
}

impl BounceArea {
    /// Buffers in `area`.
    pub fn new(area: Range<CpuAddr>) -> BounceArea {
        BounceArea { area, taken: BTreeMap::new() }
    }

    /// Buffers in use.
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    /// True when none is in use.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }
}

impl BounceBuffers for BounceArea {
    fn take(&mut self, original: CpuAddr, size: u64, keep: u64) -> Option<CpuAddr> {
        let offset = original.0 & (keep - 1);
        let whole = size.checked_add(offset)?.checked_next_multiple_of(keep)?;
        let mut free = Some(self.area);
        let mut found = None;
        for taken in self.taken.values() {
            let (below, above) = free.map_or((None, None), |free| free.without(*taken));
            found = below.and_then(|gap| gap.fit_low(Bytes(whole), keep));
            free = above;
            if found.is_some() {
                break;
            }
        }
        let place = found.or_else(|| free?.fit_low(Bytes(whole), keep))?;
        let buffer = place.first().checked_add(offset)?;
        self.taken.insert(buffer, place);
        Some(buffer)
    }

    fn give_back(&mut self, buffer: CpuAddr) {
        self.taken.remove(&buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_disjoint_and_reused() {
        let mut area = BounceArea::new(Range::new(CpuAddr(0x1000), CpuAddr(0x4fff)).unwrap());
        let mut take = |at, size, keep| area.take(CpuAddr(at), size, keep).map(|buffer| buffer.0);
        assert_eq!(take(0x9_9123, 0x10, 0x1000), Some(0x1123));
        assert_eq!(take(0x9_9fff, 2, 0x1000), Some(0x2fff));
        assert_eq!(take(0, 0x1000, 0x1000), Some(0x4000));
        assert_eq!(take(0, 1, 1), None);
        area.give_back(CpuAddr(0x2fff));
        assert_eq!(area.take(CpuAddr(0x77), 0x10, 1), Some(CpuAddr(0x2000)));
        assert_eq!((area.len(), area.is_empty()), (3, false));
    }
}
