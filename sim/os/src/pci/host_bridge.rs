//! Host bridges: the windows at the top, and the translation between CPU and bus addresses.

use alloc::vec::Vec;

use peerbus_units::{Address, BusAddr, CpuAddr, Range};

use super::Flags;

/// An address window of a host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Where the CPU sees it.
    pub cpu: Range<CpuAddr>,
    /// Bus address of its first byte: differs from the CPU's where the bridge translates.
    pub bus: BusAddr,
    /// Type of what may be placed in it.
    pub flags: Flags,
}

/// A host bridge as firmware describes it.
#[derive(Clone, Debug)]
pub struct HostBridge {
    /// PCI domain.
    pub domain: u32,
    /// Root bus number.
    pub bus_first: u8,
    /// Highest bus number.
    pub bus_last: u8,
    /// Windows, in the order firmware lists them.
    pub windows: Vec<Window>,
}

impl HostBridge {
    /// `pcibios_resource_to_bus`: the window of that type (I/O or memory) that contains `range` translates it;
    /// without one, bus and CPU addresses are the same number.
    pub fn to_bus(&self, flags: Flags, range: Range<CpuAddr>) -> BusAddr {
        let window = self.windows.iter().find(|window| window.flags.io == flags.io && window.cpu.covers(range));
        let offset = window.map_or(0, |window| window.cpu.first().raw().wrapping_sub(window.bus.raw()));
        BusAddr(range.first().raw().wrapping_sub(offset))
    }

    /// `pcibios_bus_to_resource`: the other way.
    pub fn to_cpu(&self, flags: Flags, range: Range<BusAddr>) -> CpuAddr {
        let window = self.windows.iter().find(|window| {
            let bus = Range::sized(window.bus, window.cpu.size());
            window.flags.io == flags.io && bus.is_some_and(|bus| bus.covers(range))
        });
        let offset = window.map_or(0, |window| window.cpu.first().raw().wrapping_sub(window.bus.raw()));
        CpuAddr(range.first().raw().wrapping_add(offset))
    }
}
