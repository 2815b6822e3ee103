//! Page maps: worked examples, random lives, and the memory that booted kernels paid for them.

mod random;
mod recorded;
mod worked;

use peerbus_os::device_private::{Platform, PrivateDesign};
use peerbus_os::iomem::{DirectMap, IoMem, IoResource, Paging, PhysicalSpace};
use peerbus_os::pci::ResourceFlags;
use peerbus_os::{Profile, RulesOptions};
use peerbus_units::{Bytes, CpuAddr, Range};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// `size` bytes from `first` on.
pub fn range(first: u64, size: u64) -> Range<CpuAddr> {
    Range::sized(CpuAddr(first), Bytes(size)).unwrap()
}

/// An x86 machine with four levels of page tables and 4 GiB of RAM from 0, whose CPU has 46 bits.
pub fn platform(profile: Profile, design: PrivateDesign) -> Platform {
    platform_of_bits(profile, design, 46)
}

pub fn platform_of_bits(profile: Profile, design: PrivateDesign, physical_bits: u32) -> Platform {
    let options = RulesOptions { private_design: Some(design), ..RulesOptions::default() };
    let direct_map = DirectMap::distribution(CpuAddr(4 * GIB));
    let space = PhysicalSpace::X86 { paging: Paging::FourLevel, physical_bits, direct_map };
    let mut iomem = IoMem::new(space.end());
    let mut ram = IoResource::memory(range(0, 4 * GIB), "System RAM").busy();
    ram.flags |= ResourceFlags::SYSTEM_RAM;
    iomem.request(iomem.root(), ram).unwrap();
    Platform::new(profile.rules(options), iomem, &space)
}
