//! Resources: what a function asks for, by the kernel's resource number, and where it got it.
//!
//! Numbers: 0–5 BARs, 6 expansion ROM, 7–12 BARs of all virtual functions together, 13–15 a bridge's I/O,
//! memory and prefetchable windows. I/O port numbers are kept in [`CpuAddr`] too: a resource and the window
//! it lies in are always of one kind, so ports and memory never meet.
//!
//! Invariant: [`Resource::at`] is set exactly while the resource is entered in the tree's
//! [`Space`](super::Space) below that parent.

use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign, Not};

use peerbus_units::{Bytes, CpuAddr, Range};

use super::tree::FunctionIndex;

/// Number of resources of a function.
pub const RESOURCES: usize = 16;
/// Number of the expansion ROM.
pub const ROM: usize = 6;
/// Number of the first SR-IOV BAR.
pub const IOV_FIRST: usize = 7;
/// Number of the last SR-IOV BAR.
pub const IOV_LAST: usize = 12;
/// Number of a bridge's I/O window.
pub const IO_WINDOW: usize = 13;
/// Number of a bridge's memory window.
pub const MEMORY_WINDOW: usize = 14;
/// Number of a bridge's prefetchable memory window.
pub const PREFETCH_WINDOW: usize = 15;

/// True for the numbers of bridge windows.
pub const fn is_window(number: usize) -> bool {
    number >= IO_WINDOW
}

/// True for the numbers of SR-IOV BARs.
pub const fn is_iov(number: usize) -> bool {
    IOV_FIRST <= number && number <= IOV_LAST
}

/// Kind of a host bridge's window, as firmware describes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ResourceKind {
    /// I/O ports.
    Io,
    /// Memory. Linux on x86 and arm64 describes every memory window like this, above 4 GiB too, unless
    /// firmware says it is prefetchable.
    Mem,
    /// Memory marked as reachable with 64-bit addresses.
    Mem64,
    /// Prefetchable memory.
    MemPrefetch,
    /// Prefetchable memory marked as reachable with 64-bit addresses.
    Mem64Prefetch,
}

impl ResourceKind {
    /// The kernel's flags of a window of this kind.
    pub const fn flags(self) -> ResourceFlags {
        ResourceFlags(match self {
            ResourceKind::Io => ResourceFlags::IO.0,
            ResourceKind::Mem => ResourceFlags::MEM.0,
            ResourceKind::Mem64 => ResourceFlags::MEM.0 | ResourceFlags::MEM_64.0,
            ResourceKind::MemPrefetch => ResourceFlags::MEM.0 | ResourceFlags::PREFETCH.0,
            ResourceKind::Mem64Prefetch => {
                ResourceFlags::MEM.0 | ResourceFlags::PREFETCH.0 | ResourceFlags::MEM_64.0
            }
        })
    }

    /// The kind that these flags describe.
    pub const fn of(flags: ResourceFlags) -> ResourceKind {
        match (flags.is_io(), flags.has(ResourceFlags::PREFETCH), flags.has(ResourceFlags::MEM_64)) {
            (true, _, _) => ResourceKind::Io,
            (false, false, false) => ResourceKind::Mem,
            (false, false, true) => ResourceKind::Mem64,
            (false, true, false) => ResourceKind::MemPrefetch,
            (false, true, true) => ResourceKind::Mem64Prefetch,
        }
    }
}

/// The kernel's resource flags with the kernel's values. The low bits are those of the BAR or window
/// register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ResourceFlags(pub u64);

impl ResourceFlags {
    /// No flags: the resource does not exist or was given up.
    pub const NONE: ResourceFlags = ResourceFlags(0);
    /// Expansion ROM: decoding enabled.
    pub const ROM_ENABLE: ResourceFlags = ResourceFlags(0x1);
    /// Immovable: the function answers at these addresses and no others.
    pub const FIXED: ResourceFlags = ResourceFlags(0x10);
    /// I/O ports.
    pub const IO: ResourceFlags = ResourceFlags(0x100);
    /// Memory.
    pub const MEM: ResourceFlags = ResourceFlags(0x200);
    /// Prefetchable.
    pub const PREFETCH: ResourceFlags = ResourceFlags(0x2000);
    /// Read-only (expansion ROM).
    pub const READONLY: ResourceFlags = ResourceFlags(0x4000);
    /// Alignment is the size.
    pub const SIZEALIGN: ResourceFlags = ResourceFlags(0x4_0000);
    /// Sized, not placed: alignment was computed.
    pub const STARTALIGN: ResourceFlags = ResourceFlags(0x8_0000);
    /// Reachable with 64-bit addresses.
    pub const MEM_64: ResourceFlags = ResourceFlags(0x10_0000);
    /// Window switched off because nothing needs it.
    pub const DISABLED: ResourceFlags = ResourceFlags(0x1000_0000);
    /// Wanted but without an address.
    pub const UNSET: ResourceFlags = ResourceFlags(0x2000_0000);

    /// The bits that tell I/O from memory.
    pub(crate) const TYPE_BITS: ResourceFlags = ResourceFlags(0x1f00);

    /// The bits that tell kinds of resources apart.
    pub(crate) const KIND: ResourceFlags = ResourceFlags(
        ResourceFlags::IO.0 | ResourceFlags::MEM.0 | ResourceFlags::PREFETCH.0 | ResourceFlags::MEM_64.0,
    );

    /// True when all bits of `bits` are set.
    pub const fn has(self, bits: ResourceFlags) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// True for I/O ports.
    pub const fn is_io(self) -> bool {
        self.has(ResourceFlags::IO)
    }

    /// True for memory of any kind.
    pub const fn is_mem(self) -> bool {
        self.has(ResourceFlags::MEM)
    }

    /// True for a resource that cannot be given another address. (The bit means this in BARs of I/O only: those of memory
    /// use the four bits below it, windows none.)
    pub const fn is_fixed(self) -> bool {
        self.has(ResourceFlags(ResourceFlags::IO.0 | ResourceFlags::FIXED.0))
    }

    /// True when no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// I/O or memory, whichever both are, and nothing else compared.
    pub(crate) fn same_type(self, other: ResourceFlags) -> bool {
        self & ResourceFlags::TYPE_BITS == other & ResourceFlags::TYPE_BITS
    }
}

impl BitOr for ResourceFlags {
    type Output = ResourceFlags;
    fn bitor(self, other: ResourceFlags) -> ResourceFlags {
        ResourceFlags(self.0 | other.0)
    }
}

impl BitOrAssign for ResourceFlags {
    fn bitor_assign(&mut self, other: ResourceFlags) {
        self.0 |= other.0;
    }
}

impl BitAnd for ResourceFlags {
    type Output = ResourceFlags;
    fn bitand(self, other: ResourceFlags) -> ResourceFlags {
        ResourceFlags(self.0 & other.0)
    }
}

impl Not for ResourceFlags {
    type Output = ResourceFlags;
    fn not(self) -> ResourceFlags {
        ResourceFlags(!self.0)
    }
}

impl fmt::Debug for ResourceFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A resource by owner and number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceRef {
    /// The function that has the resource.
    pub function: FunctionIndex,
    /// The kernel's resource number.
    pub number: usize,
}

/// What a resource lies directly inside of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Parent {
    /// Window `window` of host bridge `host_bridge` (indices into the tree's lists).
    HostBridge {
        /// Index into [`Tree::host_bridges`](super::Tree::host_bridges).
        host_bridge: usize,
        /// Index into [`HostBridge::windows`](super::HostBridge::windows).
        window: usize,
    },
    /// A window of a bridge function; for a BAR of a virtual function, the BAR of all of them together that its
    /// physical function has.
    Window(ResourceRef),
    /// Addresses in no window, where firmware put a function of a root bus.
    Outside {
        /// I/O ports; otherwise memory.
        io: bool,
    },
}

/// Where a resource was placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its first address (I/O: port).
    pub first: CpuAddr,
    /// What contains it directly.
    pub parent: Parent,
}

/// One resource of a function.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Resource {
    /// Kind and state; [`ResourceFlags::NONE`] when it does not exist or was given up.
    pub flags: ResourceFlags,
    /// Bytes (I/O: ports) it spans. For SR-IOV BARs, those of all virtual functions together.
    pub size: Bytes,
    /// Alignment its address must have, a power of two; 0 for a window that was not sized yet.
    pub align: u64,
    /// Where it is, while it is assigned.
    pub at: Option<Place>,
    /// The address that firmware left in the register, as a CPU address; 0 counts as none.
    pub firmware: Option<CpuAddr>,
}

impl Resource {
    /// The addresses it owns, while it is assigned.
    pub fn range(&self) -> Option<Range<CpuAddr>> {
        self.at.and_then(|place| Range::sized(place.first, self.size))
    }

    /// True while it has an address.
    pub const fn is_assigned(&self) -> bool {
        self.at.is_some()
    }
}
