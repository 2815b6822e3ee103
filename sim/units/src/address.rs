//! Addresses, one type per address space.

use core::fmt;

/// A point in some address space. Implemented by the address types of this module only where intervals of
/// them make sense; gives [`crate::Range`] its arithmetic.
pub trait Address: Copy + Ord + fmt::Debug {
    /// The address as a number in its own space.
    fn raw(self) -> u64;
    /// The address with that number.
    fn from_raw(raw: u64) -> Self;

    /// This address moved up by `bytes`, or `None` beyond the end of the space.
    fn checked_add(self, bytes: u64) -> Option<Self> {
        self.raw().checked_add(bytes).map(Self::from_raw)
    }
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl Address for $name {
            fn raw(self) -> u64 {
                self.0
            }
            fn from_raw(raw: u64) -> $name {
                $name(raw)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// A physical address as the CPU sees it.
    CpuAddr
}
address! {
    /// An address as it appears on the PCI buses below one host bridge. Two host bridges may use the same
    /// number for different things.
    BusAddr
}
address! {
    /// An I/O virtual address: what a device sends when an IOMMU translates for it.
    Iova
}
address! {
    /// What a driver programs into a device. The device cannot know whether it is a bus address, a CPU
    /// address or an IOVA; only decoding says whose it is.
    DmaAddr
}
address! {
    /// The number of a 4 KiB page of CPU physical address space.
    Pfn
}
address! {
    /// The number of a page in the separate space of device-private memory.
    DevicePage
}

impl DmaAddr {
    /// A DMA address that is a bus address.
    pub const fn from_bus(addr: BusAddr) -> DmaAddr {
        DmaAddr(addr.0)
    }

    /// A DMA address that is a CPU physical address (direct mapping, no offset).
    pub const fn from_cpu(addr: CpuAddr) -> DmaAddr {
        DmaAddr(addr.0)
    }

    /// A DMA address that an IOMMU will translate.
    pub const fn from_iova(addr: Iova) -> DmaAddr {
        DmaAddr(addr.0)
    }
}
