//! [`PhysicalSpace`]: how far physical address space reaches, by architecture.
//!
//! Three numbers: where the tree of physical addresses ends (`end`), how high an unused range may be looked for
//! (`limit`), and the size of a memory section. The search ends at the lower of the first two.
//!
//! On x86-64 the limit is the end of the direct map: 64 TiB with four levels of page tables, 4 PiB with five.
//! Randomisation of kernel memory may shorten the direct map to
//!
//! ```text
//! ceil(end of RAM / 1 TiB) + padding       in TiB, when that is less
//! ```
//!
//! which kernels have gradually given up ([`DirectMapTrim`]). Example: 1 TiB of RAM and the usual padding of 10
//! leave 11 TiB, limit 0xaffffffffff.

use peerbus_units::{Bytes, CpuAddr};

use super::arm64::{Arm64, PageSize};
use super::rules::DirectMapTrim;
use crate::parameters::Parameters;
use crate::profile::Rules;

/// Levels of page tables of an x86-64 kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Paging {
    /// 48 bits of virtual addresses, 46 of physical ones.
    FourLevel,
    /// 57 bits of virtual addresses, 52 of physical ones.
    FiveLevel,
}

impl Paging {
    /// Bits of the largest physical address the kernel is made for.
    pub const fn physical_bits(self) -> u32 {
        match self {
            Paging::FourLevel => 46,
            Paging::FiveLevel => 52,
        }
    }
}

/// What decides whether an x86-64 kernel shortens its direct map.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DirectMap {
    /// Kernel memory is placed at random: `nokaslr` was not given and the kernel can.
    pub randomised: bool,
    /// First address above the highest RAM. Holes below it count.
    pub ram_end: CpuAddr,
    /// TiB kept for memory added later: 10 in kernels with memory hotplug unless configured otherwise, else 0.
    pub padding_tib: u64,
    /// The kernel has device memory zones (`CONFIG_ZONE_DEVICE`).
    pub zone_device: bool,
    /// The kernel has peer-to-peer DMA (`CONFIG_PCI_P2PDMA`).
    pub peer_to_peer: bool,
}

impl DirectMap {
    /// A distribution's kernel on a machine whose RAM ends below `ram_end`.
    pub fn distribution(ram_end: CpuAddr) -> DirectMap {
        DirectMap { randomised: true, ram_end, padding_tib: 10, zone_device: true, peer_to_peer: true }
    }

    /// TiB of the direct map, at most `most`.
    fn tib(&self, rules: &Rules, most: u64) -> u64 {
        let may = match rules.iomem.direct_map_trim {
            DirectMapTrim::Always => true,
            DirectMapTrim::WithoutPeerToPeer => !self.peer_to_peer,
            DirectMapTrim::WithoutZoneDevice => !self.zone_device,
        };
        let wanted = self.ram_end.0.div_ceil(TIB).saturating_add(self.padding_tib);
        if self.randomised && may { wanted.min(most) } else { most }
    }
}

/// Physical address space of one kind of kernel on one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PhysicalSpace {
    /// x86-64.
    X86 {
        /// Levels of page tables.
        paging: Paging,
        /// The CPU's physical address bits, 1 to 64.
        physical_bits: u32,
        /// What decides about the length of the direct map.
        direct_map: DirectMap,
    },
    /// arm64.
    Arm64(Arm64),
    /// 64-bit POWER servers.
    Ppc64 {
        /// Bits of the largest physical address the kernel is configured for, 46 or 51.
        physical_bits: u32,
    },
    /// RISC-V, 64-bit.
    Riscv64,
    /// LoongArch, 64-bit.
    Loongarch64,
    /// A kernel without memory sections on pages of this size.
    NoSections {
        /// Size of a page.
        page: Bytes,
    },
}

const TIB: u64 = 1 << 40;

impl PhysicalSpace {
    /// That of a distribution's kernel on a PC. `physical_bits` is what the CPU says; with `la57` it can do five levels
    /// of page tables, which the kernel uses unless `no5lvl` is on the command line. `nokaslr` leaves the direct map at
    /// its full length. RAM ends below `ram_end`.
    pub fn pc(parameters: &Parameters, physical_bits: u32, la57: bool, ram_end: CpuAddr) -> PhysicalSpace {
        let five = la57 && !parameters.four_level_paging;
        let randomised = !parameters.no_kaslr;
        PhysicalSpace::X86 {
            paging: if five { Paging::FiveLevel } else { Paging::FourLevel },
            physical_bits,
            direct_map: DirectMap { randomised, ..DirectMap::distribution(ram_end) },
        }
    }

    /// Last address of the tree: of the CPU's physical width on x86, of 64 bits elsewhere.
    pub fn end(&self) -> CpuAddr {
        match self {
            PhysicalSpace::X86 { physical_bits, .. } => ones(*physical_bits),
            _ => CpuAddr(u64::MAX),
        }
    }

    /// Highest address an unused range may be looked for at.
    pub fn limit(&self, rules: &Rules) -> CpuAddr {
        match self {
            PhysicalSpace::X86 { paging, direct_map, .. } => {
                let most = 1 << (paging.physical_bits() - 40);
                // At most 4096 TiB, and at least one: the end cannot wrap.
                CpuAddr(direct_map.tib(rules, most).max(1) * TIB - 1)
            }
            PhysicalSpace::Arm64(arm64) => arm64.limit(rules),
            PhysicalSpace::Ppc64 { physical_bits } => ones(*physical_bits),
            PhysicalSpace::Riscv64 => ones(56),
            PhysicalSpace::Loongarch64 => ones(48),
            PhysicalSpace::NoSections { .. } => ones(63),
        }
    }

    /// Size of a memory section, to which requests for device memory are rounded up.
    pub fn section(&self) -> Bytes {
        match self {
            PhysicalSpace::X86 { .. } | PhysicalSpace::Riscv64 => Bytes::mib(128),
            PhysicalSpace::Arm64(Arm64 { page: PageSize::K64, .. }) => Bytes::mib(512),
            PhysicalSpace::Arm64(_) => Bytes::mib(128),
            PhysicalSpace::Ppc64 { .. } => Bytes::mib(16),
            PhysicalSpace::Loongarch64 => Bytes::mib(512),
            PhysicalSpace::NoSections { page } => *page,
        }
    }
}

/// The last address of `bits` bits; of 64 for more.
pub(super) fn ones(bits: u32) -> CpuAddr {
    CpuAddr(u64::MAX.checked_shl(bits).map_or(u64::MAX, |above| !above))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Profile, RulesOptions};

    #[test]
    fn the_command_line_moves_the_limit() {
        let options =
            RulesOptions { direct_map_trim: Some(DirectMapTrim::Always), ..RulesOptions::default() };
        let check = |line: &str, la57, options, expect: u64| {
            for profile in Profile::ALL {
                let space = PhysicalSpace::pc(&Parameters::parse(line), 52, la57, CpuAddr(1 << 40));
                assert_eq!(space.limit(&profile.rules(options)).0, expect, "{profile} {line} {la57}");
                assert_eq!(space.end().0, (1 << 52) - 1);
            }
        };
        let usual = RulesOptions::default();
        check("", false, usual, (1 << 46) - 1);
        check("", true, usual, (1 << 52) - 1);
        check("no5lvl", true, usual, (1 << 46) - 1);
        check("nokaslr", true, usual, (1 << 52) - 1);
        // Kernels that shorten the direct map do not without randomisation.
        check("", false, options, (11 << 40) - 1);
        check("nokaslr", false, options, (1 << 46) - 1);
        check("nokaslr no5lvl", true, options, (1 << 46) - 1);
    }
}
