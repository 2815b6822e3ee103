//! [`Arm64`]: where the linear map of physical memory lies on arm64, and what limits follow.
//!
//! With `O(v) = 2^64 - 2^v`, the start of a kernel half of `v` bits, `VA` the configured and `va` the used width:
//!
//! ```text
//! page_end = O(min(VA, 48) - 1)
//! linear   = page_end - O(va)                        at most 2^51 where a hypervisor needs the rest
//! memstart = DRAM start rounded down to a block
//!            - (O(va) - O(VA)) if the CPU cannot use the configured width      (may wrap below zero)
//!            - block * (((linear - 2^PARANGE) / block * seed) >> 16) if randomised
//! pa(x)    = x - O(VA) + memstart
//! limit    = pa(page_end - 1)
//! ```
//!
//! Example: a 52-bit kernel with pages of 4 KiB, RAM from 1 GiB, on a CPU with 48-bit virtual and 44-bit
//! physical addresses: 0x80003fffffff with seed 0; 0x740dbfffffff with seed 6991.

use peerbus_units::{CpuAddr, Range};

use super::physical::ones;
use crate::profile::Rules;

/// Size of a page of an arm64 kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PageSize {
    /// 4 KiB.
    K4,
    /// 16 KiB.
    K16,
    /// 64 KiB.
    K64,
}

impl PageSize {
    /// What the start of the linear map is aligned to: the block that a level of page tables maps at once, not
    /// less than a memory section.
    const fn block(self) -> u64 {
        match self {
            PageSize::K4 | PageSize::K16 => 1 << 30,
            PageSize::K64 => 1 << 29,
        }
    }
}

/// An arm64 kernel on one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arm64 {
    /// Size of a page.
    pub page: PageSize,
    /// Virtual address bits the kernel is configured for, 36 to 52.
    pub configured_va: u32,
    /// Virtual address bits in use, not above `configured_va`: smaller when the CPU lacks the larger width.
    pub used_va: u32,
    /// Physical address bits the kernel is configured for, 48 or 52.
    pub configured_pa: u32,
    /// The CPU's physical address bits from its identification register: 32, 36, 40, 42, 44, 48 or 52.
    pub pa_range: u32,
    /// RAM from its lowest to its highest address.
    pub dram: Range<CpuAddr>,
    /// End of the kernel's image, which stays mapped: RAM up to here is never given up for RAM below.
    pub kernel_end: CpuAddr,
    /// Low 16 bits of the boot seed; 0 without one, or with `nokaslr`.
    pub seed: u16,
    /// The kernel is built with KVM and leaves a hypervisor mode that it does not run in itself.
    pub separate_hypervisor: bool,
}

/// The linear map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arm64LinearMap {
    /// Physical address of the configured start of the kernel half; negative numbers are wrapped into 64 bits.
    pub memstart: u64,
    /// Size in bytes.
    pub size: u64,
    /// Its last physical address.
    pub last: CpuAddr,
    /// Physical addresses that memory with a linear mapping may have; `None` when there are none.
    pub mappable: Option<Range<CpuAddr>>,
}

/// Start of the kernel half of an address space of `bits` bits.
fn half(bits: u32) -> u64 {
    1u64.checked_shl(bits).map_or(0, u64::wrapping_neg)
}

impl Arm64 {
    /// Highest address an unused range may be looked for at.
    pub(super) fn limit(&self, rules: &Rules) -> CpuAddr {
        if rules.iomem.arm64_limit_is_linear_map {
            self.linear_map(rules).last
        } else {
            ones(self.configured_pa)
        }
    }

    /// Where the linear map lies.
    pub fn linear_map(&self, rules: &Rules) -> Arm64LinearMap {
        let page_end = half(self.configured_va.min(48).saturating_sub(1));
        let used = half(self.used_va);
        let whole = page_end.wrapping_sub(used);
        let capped = self.separate_hypervisor && self.used_va == 52;
        let size = if capped { whole.min(1 << 51) } else { whole };
        let mut memstart = self.start_of_memory(size);
        if self.configured_va == 52 && self.used_va != 52 {
            memstart = memstart.wrapping_sub(used.wrapping_sub(half(52)));
        }
        if rules.iomem.arm64_randomised_linear_map {
            memstart = memstart.wrapping_sub(self.displacement(size));
        }
        let physical = |addr: u64| addr.wrapping_sub(half(self.configured_va)).wrapping_add(memstart);
        let last = physical(page_end.wrapping_sub(1));
        let first = physical(used);
        let first = if first > last && rules.iomem.arm64_randomised_linear_map { 0 } else { first };
        let mappable = Range::new(CpuAddr(first), CpuAddr(last));
        Arm64LinearMap { memstart, size, last: CpuAddr(last), mappable }
    }

    /// Lowest physical address of the map of `size` bytes before anything moves it.
    fn start_of_memory(&self, size: u64) -> u64 {
        let block = self.page.block();
        let start = self.dram.first().0 & !(block - 1);
        // RAM above the map is given up, but for what the kernel itself lies in; then RAM below is.
        let map_end = start.saturating_add(size);
        let ram_end = self.dram.last().0.min(map_end.max(self.kernel_end.0).saturating_sub(1));
        match (ram_end.saturating_add(1)).checked_sub(size) {
            Some(lowest) if ram_end >= map_end => lowest.checked_next_multiple_of(block).unwrap_or(start),
            _ => start,
        }
    }

    /// How far the map moves down at random: as many blocks of the room above the CPU's physical width as the seed
    /// is parts of 65536.
    fn displacement(&self, size: u64) -> u64 {
        let block = self.page.block();
        let room = size.saturating_sub(ones(self.pa_range).0.saturating_add(1));
        // At most 2^34 blocks times 2^16: no overflow.
        block * (((room / block) * u64::from(self.seed)) >> 16)
    }
}
