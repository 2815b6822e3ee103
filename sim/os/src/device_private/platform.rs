//! [`Platform`]: what page frames and page structs are taken from.

use alloc::vec::Vec;

use peerbus_units::{Bytes, CpuAddr, Range};

use super::EntryBits;
use super::limits::page_of;
use crate::iomem::{IoMem, PhysicalSpace, RegionSpace};
use crate::pagemap::{KernelMemory, MemoryLayout, PageMaps, VmemmapShape};
use crate::pci::ResourceFlags;
use crate::profile::Rules;

/// The memory of one machine under one kernel.
#[derive(Clone, Debug)]
pub struct Platform {
    /// The kernel.
    pub rules: Rules,
    /// All physical addresses.
    pub iomem: IoMem,
    /// Where unused ones are looked for.
    pub space: RegionSpace,
    /// What may have page structs.
    pub layout: MemoryLayout,
    /// All page maps.
    pub page_maps: PageMaps,
    /// What page structs are allocated from.
    pub memory: KernelMemory,
    /// What page-table entries can hold.
    pub entry_bits: EntryBits,
}

impl Platform {
    /// A machine whose physical addresses, RAM among them, are entered in `iomem`.
    pub fn new(rules: Rules, iomem: IoMem, space: &PhysicalSpace) -> Platform {
        let entries = iomem.walk();
        let ram = entries.filter(|(_, _, entry)| entry.flags.has(ResourceFlags::SYSTEM_RAM));
        let system_ram: Vec<Range<CpuAddr>> = ram.map(|(_, _, entry)| entry.range).collect();
        let limit = space.limit(&rules);
        let section = space.section();
        let layout = MemoryLayout {
            system_ram,
            mappable: mappable(space, &rules, limit),
            limit,
            shape: VmemmapShape { page: page_of(space), section, huge: huge(space) },
            nearest_node: 0,
            private_built: true,
        };
        Platform {
            rules,
            iomem,
            space: RegionSpace { limit, section },
            layout,
            page_maps: PageMaps::default(),
            memory: KernelMemory::UNLIMITED,
            entry_bits: EntryBits::of(space),
        }
    }
}

/// What a linear mapping reaches.
fn mappable(space: &PhysicalSpace, rules: &Rules, limit: CpuAddr) -> Option<Range<CpuAddr>> {
    match space {
        PhysicalSpace::Arm64(arm64) => arm64.linear_map(rules).mappable,
        _ => Range::new(CpuAddr(0), limit),
    }
}

/// Huge pages that page structs are put into.
fn huge(space: &PhysicalSpace) -> Option<Bytes> {
    matches!(space, PhysicalSpace::X86 { .. }).then(|| Bytes::mib(2))
}
