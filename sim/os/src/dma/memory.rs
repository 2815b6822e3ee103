//! What is mapped, and what a device is told.

use core::fmt;

use alloc::vec::Vec;

use peerbus_units::{Bytes, CpuAddr, DmaAddr, Iova, Range};

use super::{DmaError, GroupNumber, ProviderId};

/// A piece of memory to be mapped: one call's, or one entry of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Its first CPU physical address.
    pub at: CpuAddr,
    /// Its size.
    pub length: Bytes,
    /// Who provides it, for peer-to-peer memory.
    pub provider: Option<ProviderId>,
    /// A small heap buffer that shares cache lines with other data.
    pub shares_cache_lines: bool,
}

impl Memory {
    /// Ordinary memory.
    pub const fn ram(at: CpuAddr, length: Bytes) -> Memory {
        Memory { at, length, provider: None, shares_cache_lines: false }
    }

    /// Memory of a peer's BAR.
    pub const fn peer(provider: ProviderId, at: CpuAddr, length: Bytes) -> Memory {
        Memory { at, length, provider: Some(provider), shares_cache_lines: false }
    }

    /// It has bytes, and all of them have addresses.
    pub(super) fn exists(&self) -> bool {
        Range::sized(self.at, self.length).is_some()
    }
}

/// How a mapping is meant.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Attributes {
    /// The memory is a device's: never to be bounced or to be kept in caches. Kernels that look at pages ignore it.
    pub mmio: bool,
    /// Device and CPU use it together for long: the coherent mask counts.
    pub coherent: bool,
}

/// Whose address a device is given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DmaKind {
    /// A bus address: no IOMMU translates it.
    Bus,
    /// A CPU physical address, moved by the device's offset.
    Cpu,
    /// An I/O virtual address of the device's group.
    Iova,
}

impl fmt::Display for DmaKind {
    /// As documents carry it: `BUS`, `CPU`, `IOVA`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DmaKind::Bus => "BUS",
            DmaKind::Cpu => "CPU",
            DmaKind::Iova => "IOVA",
        })
    }
}

/// One contiguous range of addresses for the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// First address.
    pub address: DmaAddr,
    /// Size.
    pub length: Bytes,
    /// What kind of address it is.
    pub kind: DmaKind,
}

/// What a mapping holds until it is undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// IOVAs and their translations.
    Iova(GroupNumber, Range<Iova>),
    /// A bounce buffer.
    Bounce(CpuAddr),
}

/// A mapping of one piece or of a list, to be given to [`Dma::unmap`](super::Dma::unmap).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[must_use = "a mapping that is dropped stays mapped"]
pub struct Mapped {
    /// What the device is told, in order.
    pub segments: Vec<Segment>,
    pub(super) held: Vec<Held>,
}

impl Mapped {
    /// True when anything of it goes through bounce buffers.
    pub fn is_bounced(&self) -> bool {
        self.held.iter().any(|held| matches!(held, Held::Bounce(_)))
    }

    /// The IOVAs it holds.
    pub fn iovas(&self) -> impl Iterator<Item = (GroupNumber, Range<Iova>)> + '_ {
        self.held.iter().filter_map(|held| match held {
            Held::Iova(group, range) => Some((*group, *range)),
            Held::Bounce(_) => None,
        })
    }
}

/// What `dma_map_sg` returns where `dma_map_sgtable` returns `result`: the number of segments, or 0 for any error.
pub fn entries_or_zero(result: &Result<Mapped, DmaError>) -> usize {
    result.as_ref().map_or(0, |mapped| mapped.segments.len())
}
