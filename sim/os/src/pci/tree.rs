//! [`Tree`]: what enumeration found, and what was assigned to it.
//!
//! Functions stand in the order in which the kernel finds them (its device list per bus, depth first); buses
//! likewise. Resources of a function carry the kernel's numbers: 0–5 BARs, 6 ROM, 7–12 VF BARs, 13–15 the windows
//! of a bridge (I/O, memory, prefetchable memory).

use alloc::vec::Vec;

use peerbus_units::{BusAddr, Bytes, CpuAddr, FunctionId, Range};

/// Number of a function in [`Tree::functions`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FunctionIndex(pub u32);

/// Number of a bus in [`Tree::buses`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BusIndex(pub u32);

/// Type bits of a resource, as the kernel keeps them (`IORESOURCE_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Flags {
    /// I/O ports.
    pub io: bool,
    /// Memory.
    pub memory: bool,
    /// Prefetchable.
    pub prefetch: bool,
    /// May lie above 4 GiB.
    pub mem_64: bool,
    /// Wanted but without an address.
    pub unset: bool,
    /// Switched off: does not take part any more.
    pub disabled: bool,
}

/// Resource number of the ROM.
pub const ROM_RESOURCE: usize = 6;
/// Resource number of a bridge's I/O window; memory and prefetchable memory follow.
pub const BRIDGE_RESOURCES: usize = 13;
/// Number of resources of a function.
pub const RESOURCE_COUNT: usize = 16;

/// A BAR or a bridge window.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// Type. All false: the function has no such resource, or it was switched off.
    pub flags: Flags,
    /// Size asked for: of the BAR, or of the window after sizing.
    pub size: Bytes,
    /// Alignment asked for, in bytes.
    pub align: u64,
    /// Where it is, in CPU physical addresses; `None` while it has no address.
    pub range: Option<Range<CpuAddr>>,
    /// Bus address of its first byte, when it has an address.
    pub bus: Option<BusAddr>,
    /// Why it has none.
    pub why_not: Option<WhyNot>,
}

/// Why a resource has no address: the cause chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WhyNot {
    /// What went wrong.
    pub cause: Cause,
    /// Size that was asked for.
    pub size: Bytes,
    /// Alignment that was asked for.
    pub align: u64,
    /// Windows that were tried.
    pub windows: Vec<TriedWindow>,
}

/// Kinds of [`WhyNot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// No window above has the right type.
    NoWindow,
    /// Windows exist, but none has a hole of that size and alignment.
    NoSpace,
    /// The bridge above has no window of that type because the window itself found no place.
    WindowUnassigned,
    /// The alignment is beyond what the kernel handles.
    BadAlignment,
}

/// A window that was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TriedWindow {
    /// The bridge whose window it is; `None` for a host bridge's.
    pub bridge: Option<FunctionId>,
    /// The window.
    pub range: Range<CpuAddr>,
    /// Free bytes in it at that moment.
    pub free: Bytes,
    /// Largest free piece, whatever its alignment.
    pub largest_hole: Bytes,
}

/// PCIe device/port type of the PCI Express capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PcieType {
    /// PCI Express endpoint.
    Endpoint,
    /// Legacy endpoint.
    LegacyEndpoint,
    /// Root port.
    RootPort,
    /// Switch upstream port.
    Upstream,
    /// Switch downstream port.
    Downstream,
    /// PCIe to PCI bridge.
    PcieToPci,
    /// PCI to PCIe bridge.
    PciToPcie,
    /// Root complex integrated endpoint.
    RootComplexEndpoint,
    /// Root complex event collector.
    EventCollector,
}

/// A PCI function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Where it answers.
    pub id: FunctionId,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Class code, 24 bits.
    pub class: u32,
    /// Header type without the multi-function bit: 0 device, 1 bridge.
    pub header_type: u8,
    /// Multi-function bit.
    pub multifunction: bool,
    /// PCIe type; `None` for a conventional function.
    pub pcie_type: Option<PcieType>,
    /// Offset of the PCI Express capability.
    pub pcie_cap: Option<u16>,
    /// Offset of the ACS extended capability.
    pub acs_cap: Option<u16>,
    /// Offset of the Resizable BAR extended capability.
    pub rebar_cap: Option<u16>,
    /// Offset of the SR-IOV extended capability.
    pub sriov_cap: Option<u16>,
    /// For a virtual function: its physical function.
    pub physfn: Option<FunctionIndex>,
    /// The bus it is on.
    pub bus: BusIndex,
    /// The bus below it, of a bridge.
    pub subordinate: Option<BusIndex>,
    /// Resources by the kernel's number; [`RESOURCE_COUNT`] entries.
    pub resources: Vec<Resource>,
}

/// A bus.
#[derive(Clone, Debug)]
pub struct Bus {
    /// PCI domain.
    pub domain: u32,
    /// Its number.
    pub number: u8,
    /// Highest bus number below it.
    pub last: u8,
    /// The bridge above it; `None` for a root bus.
    pub bridge: Option<FunctionIndex>,
    /// Index of its host bridge in the list given to enumeration.
    pub host_bridge: usize,
    /// Functions on it, in the kernel's order.
    pub functions: Vec<FunctionIndex>,
}

/// Everything enumeration found.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// All functions.
    pub functions: Vec<Function>,
    /// All buses; the root bus of host bridge h is `roots[h]`.
    pub buses: Vec<Bus>,
    /// Root buses in the order of the host bridges.
    pub roots: Vec<BusIndex>,
}

impl Tree {
    /// The function with that index.
    pub fn function(&self, index: FunctionIndex) -> &Function {
        &self.functions[index.0 as usize]
    }

    /// The bus with that index.
    pub fn bus(&self, index: BusIndex) -> &Bus {
        &self.buses[index.0 as usize]
    }

    /// The function that answers at `id`.
    pub fn find(&self, id: FunctionId) -> Option<FunctionIndex> {
        let position = self.functions.iter().position(|function| function.id == id)?;
        u32::try_from(position).ok().map(FunctionIndex)
    }

    /// The kernel's `pci_upstream_bridge`, with a virtual function counted as its physical function: the bridge
    /// above, or `None` on a root bus.
    pub fn upstream(&self, index: FunctionIndex) -> Option<FunctionIndex> {
        let index = self.function(index).physfn.unwrap_or(index);
        self.bus(self.function(index).bus).bridge
    }

    /// Index of the host bridge above a function.
    pub fn host_bridge(&self, index: FunctionIndex) -> usize {
        self.bus(self.function(index).bus).host_bridge
    }
}
