//! From a byte of a BAR to the address a client's driver programs: `pci_p2pdma_map_sg`, one page.

use core::cmp::Reverse;
use core::fmt;

use peerbus_units::{Address, BusAddr, Bytes, CpuAddr, DmaAddr};

use super::MapType;
use crate::pci::{FunctionIndex, ResourceFlags, ResourceRef, Tree};

/// An address of provider memory as a client sends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DmaMapping {
    /// A bus address below the provider's host bridge. No IOMMU translates it, even if the client is translated.
    Bus(BusAddr),
    /// The CPU physical address: mapped as ordinary memory, without an IOMMU.
    Cpu(CpuAddr),
}

impl DmaMapping {
    /// What is programmed into the device.
    pub const fn dma_addr(self) -> DmaAddr {
        match self {
            DmaMapping::Bus(address) => DmaAddr::from_bus(address),
            DmaMapping::Cpu(address) => DmaAddr::from_cpu(address),
        }
    }
}

/// Why there is no such address. None of these ends a run: the operation that asked fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DmaError {
    /// The path is not supported (`EREMOTEIO`).
    RemoteIo,
    /// The function has no memory BAR of that number, or the BAR has no address (`EINVAL`).
    NoBar,
    /// The offset is not inside the BAR (`EINVAL`).
    OutsideBar,
}

impl DmaError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            DmaError::RemoteIo => "EREMOTEIO",
            DmaError::NoBar | DmaError::OutsideBar => "EINVAL",
        }
    }
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DmaError::RemoteIo => "no peer-to-peer path (EREMOTEIO)",
            DmaError::NoBar => "no memory BAR with an address (EINVAL)",
            DmaError::OutsideBar => "offset beyond the end of the BAR (EINVAL)",
        })
    }
}

impl core::error::Error for DmaError {}

/// Number of BARs of a function.
const BARS: usize = 6;

/// The largest prefetchable memory BAR (0–5) of a function; the lowest number among equals. Counts BARs that have no
/// address yet, but not those that were given up because they found no place.
pub fn largest_prefetchable_bar(tree: &Tree, function: FunctionIndex) -> Option<usize> {
    let wanted = ResourceFlags::MEM | ResourceFlags::PREFETCH;
    let bars =
        tree[function].resources.iter().take(BARS).enumerate().filter(|(_, bar)| bar.flags.has(wanted));
    bars.max_by_key(|(number, bar)| (bar.size, Reverse(*number))).map(|(number, _)| number)
}

/// The address at which a client reaches byte `offset` of BAR `bar` (0–5) of `provider`, when
/// [`resolve()`](super::resolve()) gave `map_type` and no IOMMU translates for the client.
///
/// The bus address is the CPU physical address moved by the offset of the *provider's* host bridge window. Whether
/// the BAR exists is asked before the type: memory that is not there cannot be registered, hence not mapped.
pub fn dma_address(
    tree: &Tree,
    map_type: MapType,
    provider: FunctionIndex,
    bar: usize,
    offset: Bytes,
) -> Result<DmaMapping, DmaError> {
    let resource = tree[provider].resources.iter().take(BARS).nth(bar).ok_or(DmaError::NoBar)?;
    let range = resource.range().filter(|_| resource.flags.is_mem()).ok_or(DmaError::NoBar)?;
    let address = range.first().checked_add(offset.0).filter(|address| range.contains(*address));
    let address = address.ok_or(DmaError::OutsideBar)?;
    match map_type {
        MapType::BusAddr => {
            let start =
                tree.bus_address(ResourceRef { function: provider, number: bar }).ok_or(DmaError::NoBar)?;
            // Modulo 2^64, as the kernel adds its bus offset.
            Ok(DmaMapping::Bus(BusAddr(start.0.wrapping_add(offset.0))))
        }
        MapType::ThruHostBridge => Ok(DmaMapping::Cpu(address)),
        MapType::NotSupported => Err(DmaError::RemoteIo),
    }
}
