//! What the caller of [`boot`](super::boot) chooses: kernel parameters and facts about the platform.

use alloc::vec::Vec;

use peerbus_units::{CpuAddr, Range};

use super::acs::AcsParameters;
use super::mps::MpsPolicy;
use super::resource::ResourceFlags;

/// `pci=realloc`: whether windows that failed are released and sized again.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Realloc {
    /// Only when an SR-IOV BAR has no address, and firmware's configuration need not be preserved: the default of
    /// kernels built with that option, as distributions do. The default of other kernels is `Off`.
    #[default]
    Auto,
    /// `pci=realloc=off`.
    Off,
    /// `pci=realloc=on`.
    On,
}

/// What an architecture keeps out of the allocator's hands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    /// Lowest I/O port given out in a window that starts at 0.
    pub minimum_io: u64,
    /// Lowest memory address given out in a window that starts at 0.
    pub minimum_memory: u64,
    /// No memory is given out below this address.
    pub memory_floor: u64,
    /// I/O ports with bits 9–8 set alias legacy ISA cards and are skipped (shown by I/O BARs behind ports that
    /// were found again on a PC).
    pub skip_isa_aliases: bool,
    /// Windows of bridges are read while scanning, even where they are not claimed.
    pub reads_bridge_windows: bool,
    /// Ranges of memory cut out of every free run, keeping the larger side.
    pub reserved: Vec<Range<CpuAddr>>,
    /// System RAM and whatever else of physical memory is taken before buses are looked at. A function on a root bus
    /// that goes back to firmware's address outside of all windows must not meet it.
    pub taken: Vec<Range<CpuAddr>>,
}

impl Platform {
    /// A machine without legacy: arm64 and most others. Ports below 0x1000 are not given out.
    pub fn generic() -> Platform {
        Platform {
            minimum_io: 0x1000,
            minimum_memory: 0,
            memory_floor: 0,
            skip_isa_aliases: false,
            reads_bridge_windows: false,
            reserved: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// A PC: nothing below 1 MiB, nor in the 2 MiB below 4 GiB where the BIOS lies. `minimum_memory` is the
    /// start of the largest gap of the firmware's memory map below 4 GiB.
    pub fn x86(minimum_memory: u64) -> Platform {
        let bios = Range::new(CpuAddr(0xffe0_0000), CpuAddr(0xffff_ffff));
        Platform {
            minimum_io: 0x1000,
            minimum_memory,
            memory_floor: 0x10_0000,
            skip_isa_aliases: true,
            reads_bridge_windows: true,
            reserved: bios.into_iter().collect(),
            taken: Vec::new(),
        }
    }

    /// The same, with physical memory that is taken.
    pub fn with_taken(mut self, ranges: impl IntoIterator<Item = Range<CpuAddr>>) -> Platform {
        self.taken.extend(ranges);
        self
    }

    pub(crate) fn minimum(&self, flags: ResourceFlags) -> u64 {
        if flags.is_io() { self.minimum_io } else { self.minimum_memory }
    }

    /// What is left of a free run: of each reserved range the larger side is kept.
    pub(crate) fn usable(&self, gap: Range<CpuAddr>, flags: ResourceFlags) -> Option<Range<CpuAddr>> {
        if flags.is_io() {
            return Some(gap);
        }
        self.reserved.iter().try_fold(gap, |gap, reserved| {
            if !gap.overlaps(*reserved) {
                return Some(gap);
            }
            let (below, above) = gap.without(*reserved);
            let size = |side: Option<Range<CpuAddr>>| side.map_or(0, |side| side.size().0);
            if size(below) > size(above) { below } else { above }
        })
    }

    /// `first`, moved up where the platform wants it.
    pub(crate) fn align(&self, first: u64, flags: ResourceFlags) -> u64 {
        if flags.is_io() {
            let aliased = self.skip_isa_aliases && first & 0x300 != 0;
            return if aliased { (first | 0x3ff).wrapping_add(1) } else { first };
        }
        first.max(self.memory_floor)
    }
}

/// Kernel parameters and platform of one boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootOptions {
    /// Ignore the addresses firmware assigned and place everything anew.
    pub reassign: bool,
    /// Host bridges, by their place in the list, below which what has no address is left without: a kernel that was
    /// running before found none. Does not count with `reassign`.
    pub keep: Vec<usize>,
    /// Host bridges ask that firmware's configuration stay as it is: no windows are released unless
    /// [`Realloc::On`] says so, and no BAR is resized.
    pub preserve_firmware: bool,
    /// `pci=realloc`.
    pub realloc: Realloc,
    /// `pci=hpiosize=`: I/O ports kept for a hot-plug bridge.
    pub hotplug_io: u64,
    /// `pci=hpmmiosize=`: bytes of memory kept for a hot-plug bridge.
    pub hotplug_memory: u64,
    /// `pci=hpmmioprefsize=`: bytes of prefetchable memory kept for a hot-plug bridge.
    pub hotplug_prefetch: u64,
    /// What concerns Access Control Services.
    pub acs: AcsParameters,
    /// How payload sizes are chosen.
    pub mps: MpsPolicy,
    /// The architecture.
    pub platform: Platform,
}

impl Default for BootOptions {
    fn default() -> BootOptions {
        BootOptions {
            reassign: false,
            keep: Vec::new(),
            preserve_firmware: false,
            realloc: Realloc::Auto,
            hotplug_io: 256,
            hotplug_memory: 2 << 20,
            hotplug_prefetch: 2 << 20,
            acs: AcsParameters::default(),
            mps: MpsPolicy::Default,
            platform: Platform::generic(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pc_keeps_its_legacy() {
        let pc = Platform::x86(0x4000_0000);
        assert_eq!(pc.align(0x5140, ResourceFlags::IO), 0x5400);
        assert_eq!(pc.align(0x5040, ResourceFlags::IO), 0x5040);
        assert_eq!(pc.align(0xa_0000, ResourceFlags::MEM), 0x10_0000);
        let gap = Range::new(CpuAddr(0xfebf_0000), CpuAddr(0xffff_ffff)).unwrap();
        let left = Range::new(CpuAddr(0xfebf_0000), CpuAddr(0xffdf_ffff));
        assert_eq!(pc.usable(gap, ResourceFlags::MEM), left);
        let inside = Range::new(CpuAddr(0xfff0_0000), CpuAddr(0xffff_ffff)).unwrap();
        assert_eq!(pc.usable(inside, ResourceFlags::MEM), None);
    }
}
