//! Memory without page structs as a list of DMA addresses.

use alloc::vec::Vec;
use core::fmt;

use peerbus_units::{Bytes, CpuAddr, DmaAddr};

use crate::MapType;
use crate::dma::{
    Attributes, Context, Dma, DmaError, DmaKind, Mapped, Memory, ProviderId, Reservation, Segment,
};
use crate::pci::FunctionIndex;

/// A piece of a BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhysicalVector {
    /// First byte.
    pub address: CpuAddr,
    /// Bytes; not 0.
    pub length: Bytes,
}

/// The largest segment an importer is given: the last multiple of a page that fits in 32 bits.
pub const LARGEST_SEGMENT: Bytes = Bytes(0xffff_f000);

/// Device memory is never bounced, nor kept in caches.
const MMIO: Attributes = Attributes { mmio: true, coherent: false };

/// Why vectors were not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VectorError {
    /// There is no path (`EINVAL`).
    NotSupported,
    /// Together they exceed 64 bits (`EINVAL`).
    TooLarge,
    /// The DMA layer refused one.
    Dma(DmaError),
}

impl VectorError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            VectorError::NotSupported | VectorError::TooLarge => "EINVAL",
            VectorError::Dma(error) => error.errno(),
        }
    }
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VectorError::NotSupported => f.write_str("there is no path (EINVAL)"),
            VectorError::TooLarge => f.write_str("the size exceeds 64 bits (EINVAL)"),
            VectorError::Dma(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for VectorError {}

impl From<DmaError> for VectorError {
    fn from(error: DmaError) -> VectorError {
        VectorError::Dma(error)
    }
}

/// Mapped vectors; to be undone for the same importer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "vectors that are dropped stay mapped"]
pub struct MappedVectors {
    /// What the device is told, in order. There are no pages for the CPU.
    pub segments: Vec<Segment>,
    area: Option<Reservation>,
    pieces: Vec<Mapped>,
}

impl MappedVectors {
    /// Gives back what mapping took.
    pub fn unmap(
        self,
        dma: &mut Dma,
        importer: FunctionIndex,
        context: &mut Context<'_>,
    ) -> Result<(), DmaError> {
        if let Some(area) = self.area {
            dma.destroy(importer, area, context)?;
        }
        self.pieces.into_iter().try_for_each(|piece| dma.unmap(importer, piece, context))
    }
}

/// Maps `vectors`, memory of `provider`, for `importer`.
///
/// By bus, each is moved by the bus offset. Through the host bridge, all together take one IOVA area if the importer's
/// DMA is translated, in which they follow each other; else each is mapped for itself.
///
/// Here each vector is linked behind the one before. Linux 7.2.13 and 7.3.4 are reported to link every one at offset 0; what
/// the second does to IOVAs that are mapped already is not known, and no recording has a list of two through an IOMMU. One
/// vector is the same either way. An importer is told one segment for all, which only the running offset makes true.
pub fn map_vectors(
    dma: &mut Dma,
    importer: FunctionIndex,
    provider: ProviderId,
    vectors: &[PhysicalVector],
    context: &mut Context<'_>,
) -> Result<MappedVectors, VectorError> {
    let size = vectors.iter().try_fold(Bytes::ZERO, |sum, vector| sum.checked_add(vector.length));
    let size = size.ok_or(VectorError::TooLarge)?;
    let peer = context.peers.peer_type(provider, importer);
    match peer.map_type {
        MapType::NotSupported => return Err(VectorError::NotSupported),
        MapType::BusAddr => {
            let pieces = vectors.iter().map(|vector| Segment {
                address: DmaAddr(vector.address.0.wrapping_add(peer.bus_offset)),
                length: vector.length,
                kind: DmaKind::Bus,
            });
            return Ok(MappedVectors { segments: split(pieces), area: None, pieces: Vec::new() });
        }
        MapType::ThruHostBridge => {}
    }
    let first = vectors.first().map_or(CpuAddr(0), |vector| vector.address);
    let memory: Vec<Memory> =
        vectors.iter().map(|vector| Memory::peer(provider, vector.address, vector.length)).collect();
    match dma.reserve(importer, first, size, context)? {
        Some(area) => map_area(dma, importer, area, &memory, context),
        None => map_pieces(dma, importer, &memory, context),
    }
}

fn map_area(
    dma: &mut Dma,
    importer: FunctionIndex,
    mut area: Reservation,
    memory: &[Memory],
    context: &mut Context<'_>,
) -> Result<MappedVectors, VectorError> {
    let mut offset = 0;
    for piece in memory {
        if let Err(error) = dma.link(importer, &mut area, offset, piece, MMIO, context) {
            dma.destroy(importer, area, context)?;
            return Err(error.into());
        }
        // At most the sum of all lengths, which fits.
        offset += piece.length.0;
    }
    let segments = split(core::iter::once(area.segment()));
    Ok(MappedVectors { segments, area: Some(area), pieces: Vec::new() })
}

fn map_pieces(
    dma: &mut Dma,
    importer: FunctionIndex,
    memory: &[Memory],
    context: &mut Context<'_>,
) -> Result<MappedVectors, VectorError> {
    let mut pieces: Vec<Mapped> = Vec::new();
    for piece in memory {
        match dma.map(importer, piece, MMIO, context) {
            Ok(mapped) => pieces.push(mapped),
            Err(error) => {
                pieces.into_iter().try_for_each(|piece| dma.unmap(importer, piece, context))?;
                return Err(error.into());
            }
        }
    }
    let segments = split(pieces.iter().flat_map(|piece| piece.segments.iter().copied()));
    Ok(MappedVectors { segments, area: None, pieces })
}

/// Cuts pieces so that none is longer than [`LARGEST_SEGMENT`].
fn split(pieces: impl Iterator<Item = Segment>) -> Vec<Segment> {
    let mut segments = Vec::new();
    for Segment { mut address, length: mut left, kind } in pieces {
        while left > Bytes::ZERO {
            let length = left.min(LARGEST_SEGMENT);
            segments.push(Segment { address, length, kind });
            address = DmaAddr(address.0.wrapping_add(length.0));
            left -= length;
        }
    }
    segments
}
