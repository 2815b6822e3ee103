//! [`Device`]: what mapping has to know about one device.

use peerbus_units::Bytes;

use crate::pci::FunctionIndex;

/// A device that does DMA. The defaults are those of a PCI function before its driver says anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its PCI function; `None` for a device that is none. Such a device reaches no peer-to-peer memory.
    pub function: Option<FunctionIndex>,
    /// Highest address it can send in streaming DMA: 2^n − 1 for n bits; 0 counts as not set.
    pub mask: u64,
    /// The same for memory that it shares with the CPU for long.
    pub coherent_mask: u64,
    /// Highest address that buses on the way let through; 0 counts as no limit.
    pub bus_limit: u64,
    /// What direct mapping adds to a CPU address, modulo 2^64; 0 on a PC.
    pub direct_offset: u64,
    /// Caches snoop its accesses.
    pub cache_coherent: bool,
    /// Firmware says it can be plugged in from outside: it must see nothing but what is mapped for it.
    pub untrusted: bool,
    /// All its DMA goes through bounce buffers, as under memory encryption.
    pub force_bounce: bool,
    /// Longest segment it takes.
    pub max_segment: Bytes,
    /// Segments do not cross multiples of this + 1, a power of two.
    pub segment_boundary: u64,
    prefers_low: bool,
}

impl Device {
    /// A PCI function, or, without `function`, a device that is none. `force_high` is the parameter
    /// `iommu.forcedac`: no preference for addresses below 4 GiB.
    pub fn new(function: Option<FunctionIndex>, force_high: bool) -> Device {
        let mut device = Device {
            function,
            mask: 0xffff_ffff,
            coherent_mask: 0xffff_ffff,
            bus_limit: 0,
            direct_offset: 0,
            cache_coherent: true,
            untrusted: false,
            force_bounce: false,
            max_segment: Bytes::kib(64),
            segment_boundary: 0xffff_ffff,
            prefers_low: false,
        };
        device.set_up(force_high);
        device
    }

    pub(super) fn set_up(&mut self, force_high: bool) {
        self.prefers_low = self.function.is_some() && !force_high;
    }

    /// True while IOVAs below 4 GiB are tried first.
    pub fn prefers_low(&self) -> bool {
        self.prefers_low
    }

    pub(super) fn drop_low_preference(&mut self) {
        self.prefers_low = false;
    }

    /// Highest address of streaming DMA, buses on the way included; 0 if neither says anything.
    pub fn limit(&self) -> u64 {
        lower_of_set(self.mask, self.bus_limit)
    }

    /// The same for coherent memory.
    pub fn coherent_limit(&self) -> u64 {
        lower_of_set(self.coherent_mask, self.bus_limit)
    }

    /// True when it can send every address of `size` bytes from `first` in streaming DMA.
    pub fn reaches(&self, first: u64, size: u64) -> bool {
        Device::within(first, size, self.limit())
    }

    pub(super) fn within(first: u64, size: u64, limit: u64) -> bool {
        let last = size.checked_sub(1).and_then(|above| first.checked_add(above));
        last.is_some_and(|last| last <= limit)
    }
}

/// The lower of two limits of which 0 is none.
fn lower_of_set(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { a | b } else { a.min(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_mask_and_bus_limit_counts() {
        let check = |mask, bus_limit, limit| {
            let device = Device { mask, bus_limit, ..Device::new(None, false) };
            assert_eq!(device.limit(), limit, "{mask:#x} {bus_limit:#x}");
        };
        check(u64::MAX, 0, u64::MAX);
        check(u64::MAX, 0xff_ffff_ffff, 0xff_ffff_ffff);
        check(0xffff_ffff, 0xff_ffff_ffff, 0xffff_ffff);
        check(0, 0xfff, 0xfff);
        check(0, 0, 0);
        let device = Device::new(None, false);
        assert!(device.reaches(0xffff_f000, 0x1000) && !device.reaches(0xffff_f001, 0x1000));
        assert!(!device.reaches(u64::MAX, 2) && !device.reaches(0, 0));
    }

    #[test]
    fn only_pci_functions_prefer_low_addresses() {
        let function = Some(FunctionIndex(0));
        let prefers = [(function, false), (function, true), (None, false)];
        let prefers = prefers.map(|(function, force)| Device::new(function, force).prefers_low());
        assert_eq!(prefers, [true, false, false]);
    }
}
