//! From a byte of a BAR to the address a client is given.

use core::fmt;

use peerbus_units::{Address, BusAddr, Bytes, CpuAddr, DmaAddr};

use super::resolve::MapType;
use crate::pci::{FunctionIndex, ResourceFlags, ResourceRef, Tree};

/// The kernel's error number for "remote I/O error".
pub const EREMOTEIO: i32 = 121;

/// Number of standard BARs.
const BARS: u8 = 6;

/// How the client's ordinary DMA is translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Translation {
    /// Not at all: DMA addresses are CPU addresses.
    Direct,
    /// By an IOMMU.
    Iommu,
}

/// What stands behind the address a client is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DmaTarget {
    /// A bus address; an IOMMU is bypassed.
    Bus(BusAddr),
    /// The CPU's physical address.
    Cpu(CpuAddr),
    /// An IOVA has to be mapped to this CPU address first.
    Mapped(CpuAddr),
}

impl DmaTarget {
    /// The address to program into the client; `None` while an IOVA is still to be mapped.
    pub fn address(self) -> Option<DmaAddr> {
        match self {
            DmaTarget::Bus(bus) => Some(DmaAddr::from_bus(bus)),
            DmaTarget::Cpu(cpu) => Some(DmaAddr::from_cpu(cpu)),
            DmaTarget::Mapped(_) => None,
        }
    }
}

/// Why a byte of a BAR has no DMA address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotReachable {
    /// The map type is [`MapType::NotSupported`]; the kernel answers `-EREMOTEIO`.
    NotSupported,
    /// There is no such BAR, it is not memory, it has no address, or the offset lies beyond its end.
    NoSuchMemory,
}

impl NotReachable {
    /// The kernel's error number, positive.
    pub const fn errno(self) -> i32 {
        match self {
            NotReachable::NotSupported => EREMOTEIO,
            NotReachable::NoSuchMemory => 22,
        }
    }
}

impl fmt::Display for NotReachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotReachable::NotSupported => {
                "peer-to-peer DMA between the two functions is not supported (EREMOTEIO)"
            }
            NotReachable::NoSuchMemory => "no assigned memory BAR holds this byte (EINVAL)",
        })
    }
}

impl core::error::Error for NotReachable {}

/// The BAR that peer-to-peer transfers use by default: the largest assigned prefetchable memory BAR, the
/// first of equals.
pub fn largest_prefetchable_bar(tree: &Tree, function: FunctionIndex) -> Option<u8> {
    let prefetchable = ResourceFlags::MEM | ResourceFlags::PREFETCH;
    let bars = (0..BARS).map(|bar| (bar, &tree[function].resources[usize::from(bar)]));
    let usable = bars.filter(|(_, resource)| resource.flags.has(prefetchable) && resource.is_assigned());
    usable.max_by_key(|(bar, resource)| (resource.size, core::cmp::Reverse(*bar))).map(|(bar, _)| bar)
}

/// The address by which a client reaches the byte at `offset` of BAR `bar` of `provider`, given the pair's
/// map type and how the client's DMA is translated.
pub fn dma_address(
    tree: &Tree,
    provider: FunctionIndex,
    bar: u8,
    offset: Bytes,
    map_type: MapType,
    translation: Translation,
) -> Result<DmaTarget, NotReachable> {
    if map_type == MapType::NotSupported {
        return Err(NotReachable::NotSupported);
    }
    if bar >= BARS {
        return Err(NotReachable::NoSuchMemory);
    }
    let at = ResourceRef { function: provider, number: usize::from(bar) };
    let range = tree.resource(at).range().filter(|_| tree.resource(at).flags.is_mem());
    let range = range.filter(|range| offset < range.size()).ok_or(NotReachable::NoSuchMemory)?;
    let bus = tree.bus_address(at).and_then(|first| first.checked_add(offset.0));
    let cpu = range.first().checked_add(offset.0);
    let (Some(bus), Some(cpu)) = (bus, cpu) else { return Err(NotReachable::NoSuchMemory) };
    Ok(match (map_type, translation) {
        (MapType::BusAddr, _) => DmaTarget::Bus(bus),
        (_, Translation::Direct) => DmaTarget::Cpu(cpu),
        (_, Translation::Iommu) => DmaTarget::Mapped(cpu),
    })
}
