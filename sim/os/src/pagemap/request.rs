//! What a driver asks for, and what the machine allows.

use alloc::vec::Vec;

use peerbus_units::{CpuAddr, Range};

use super::{MemoryType, Owner, VmemmapShape};

/// Which callbacks a driver has given.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Callbacks {
    /// Brings a page back to RAM when the CPU touches it.
    pub migrate_to_ram: bool,
    /// Takes a page back that nobody uses any more (`folio_free`; `page_free` in 6.x).
    pub free: bool,
}

impl Callbacks {
    /// All of them.
    pub const ALL: Callbacks = Callbacks { migrate_to_ram: true, free: true };
}

/// A request for page structs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageMapRequest {
    /// For what.
    pub kind: MemoryType,
    /// Where, in the order in which they are mapped.
    pub ranges: Vec<Range<CpuAddr>>,
    /// Whose memory it is.
    pub owner: Option<Owner>,
    /// The driver's callbacks.
    pub callbacks: Callbacks,
    /// Base-2 logarithm of the pages in one compound page (`vmemmap_shift`); 0: single pages.
    pub compound_order: u32,
    /// The page structs lie at the beginning of the memory itself.
    pub altmap: bool,
    /// Memory node; `None`: the one nearest to the CPU that asks.
    pub node: Option<u32>,
}

impl PageMapRequest {
    /// A device's memory in one range, with everything a driver needs for it.
    pub fn device(kind: MemoryType, range: Range<CpuAddr>, owner: Owner) -> PageMapRequest {
        PageMapRequest {
            kind,
            ranges: [range].into(),
            owner: Some(owner),
            callbacks: Callbacks::ALL,
            compound_order: 0,
            altmap: false,
            node: None,
        }
    }
}

/// Physical memory as page maps see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryLayout {
    /// System RAM.
    pub system_ram: Vec<Range<CpuAddr>>,
    /// What the architecture's linear mapping can reach; `None`: nothing.
    pub mappable: Option<Range<CpuAddr>>,
    /// Highest address that may have a page struct
    /// ([`PhysicalSpace::limit`](crate::iomem::PhysicalSpace::limit)).
    pub limit: CpuAddr,
    /// Page structs of the architecture.
    pub shape: VmemmapShape,
    /// The node nearest to the CPU that asks, for requests that name none.
    pub nearest_node: u32,
    /// The kernel has private memory (`CONFIG_DEVICE_PRIVATE`).
    pub private_built: bool,
}

impl MemoryLayout {
    /// An x86-64 machine with `system_ram`, and addresses up to `limit`.
    pub fn x86(system_ram: Vec<Range<CpuAddr>>, limit: CpuAddr) -> MemoryLayout {
        MemoryLayout {
            system_ram,
            mappable: Range::new(CpuAddr(0), limit),
            limit,
            shape: VmemmapShape::X86,
            nearest_node: 0,
            private_built: true,
        }
    }

    /// What a range of this type must lie in; `None` when there is nothing.
    pub(super) fn allowed(&self, kind: MemoryType) -> Option<Range<CpuAddr>> {
        let all = Range::new(CpuAddr(0), self.limit)?;
        if kind.is_mapped() { all.intersection(self.mappable?) } else { Some(all) }
    }
}
