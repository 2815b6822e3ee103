//! [`Aperture`]: pages of a BAR, each of which leads to a page of the device's memory.

use alloc::collections::BTreeMap;

use peerbus_units::{Bytes, CpuAddr, DevicePage, Range};

use crate::gaps::Gaps;

/// The device's table from slots to its memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Aperture {
    page: Bytes,
    /// Free slots, by the number of their page of physical addresses.
    free: Gaps,
    table: BTreeMap<u64, DevicePage>,
}

impl Aperture {
    /// The whole pages of these parts of a BAR, which do not overlap; what lies between them is something else, and never
    /// given out. `page` is a power of two.
    pub fn new(parts: &[Range<CpuAddr>], page: Bytes) -> Aperture {
        assert!(page.is_power_of_two(), "a page of {page}");
        let mut free = Gaps::default();
        for part in parts {
            // Whole pages: from the first that begins inside to the last that ends inside.
            let first = part.first().0.div_ceil(page.0);
            let behind = match part.last().0.checked_add(1) {
                Some(end) => end / page.0,
                None => u64::MAX / page.0 + 1,
            };
            if first < behind {
                free.give_back(first, behind - first);
            }
        }
        Aperture { page, free, table: BTreeMap::new() }
    }

    /// Size of a slot.
    pub fn page(&self) -> Bytes {
        self.page
    }

    /// Slots.
    pub fn slots(&self) -> u64 {
        self.free.free() + self.used()
    }

    /// Slots that lead somewhere.
    pub fn used(&self) -> u64 {
        u64::try_from(self.table.len()).unwrap_or(u64::MAX)
    }

    /// Where an access to the BAR ends: the page of memory, and the offset inside it.
    pub fn translate(&self, address: CpuAddr) -> Option<(DevicePage, u64)> {
        let page = self.table.get(&(address.0 / self.page.0))?;
        Some((*page, address.0 % self.page.0))
    }

    /// Makes the lowest free slot lead to `memory`.
    pub(super) fn fill(&mut self, memory: DevicePage) -> Option<CpuAddr> {
        let number = self.free.take(1)?;
        self.table.insert(number, memory);
        Some(CpuAddr(number * self.page.0))
    }

    /// Makes a slot lead nowhere.
    pub(super) fn empty(&mut self, slot: CpuAddr) {
        let number = slot.0 / self.page.0;
        if self.table.remove(&number).is_some() {
            self.free.give_back(number, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_of_a_bar_are_never_given_out() {
        let part = |first, last| Range::new(CpuAddr(first), CpuAddr(last)).unwrap();
        let parts = [part(0x1000, 0x2fff), part(0x4800, 0x6fff), part(u64::MAX - 0xfff, u64::MAX)];
        let mut aperture = Aperture::new(&parts, Bytes::kib(4));
        assert_eq!((aperture.slots(), aperture.used()), (5, 0));
        let slots: alloc::vec::Vec<_> = (0..6).map(|page| aperture.fill(DevicePage(page))).collect();
        let addresses = [0x1000, 0x2000, 0x5000, 0x6000, u64::MAX - 0xfff].map(|at| Some(CpuAddr(at)));
        assert_eq!((&slots[..5], slots[5]), (&addresses[..], None));
        assert_eq!(aperture.translate(CpuAddr(0x5678)), Some((DevicePage(2), 0x678)));
        aperture.empty(CpuAddr(0x2000));
        assert_eq!(aperture.translate(CpuAddr(0x2000)), None);
        assert_eq!(aperture.fill(DevicePage(9)), Some(CpuAddr(0x2000)));
        assert_eq!(Aperture::new(&[part(0x1001, 0x2ffe)], Bytes::kib(4)).slots(), 0);
    }
}
