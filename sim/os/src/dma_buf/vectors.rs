//! Memory without page structs as a list of DMA addresses.

use alloc::vec::Vec;
use core::fmt;

use peerbus_units::{Bytes, CpuAddr, DmaAddr, Iova};

use crate::MapType;
use crate::dma::PeerType;

/// A piece of a BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhysicalVector {
    /// First byte.
    pub address: CpuAddr,
    /// Bytes; not 0.
    pub length: Bytes,
}

/// A piece of what the importer is given. There is no page for the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// What goes into the device.
    pub address: DmaAddr,
    /// Bytes, at most [`LARGEST`].
    pub length: Bytes,
}

/// The largest piece: the last multiple of a page that fits in 32 bits.
pub const LARGEST: Bytes = Bytes(0xffff_f000);

/// How the importer's DMA layer maps MMIO.
pub trait MapPhysical {
    /// Reserves one IOVA area for `size` bytes; none where the device's DMA is not translated.
    fn reserve(&mut self, size: Bytes) -> Option<Iova>;
    /// Fills an area from `offset` on with `vector`, as MMIO. Errors by the kernel's name.
    fn link(&mut self, area: Iova, offset: Bytes, vector: PhysicalVector) -> Result<(), &'static str>;
    /// Gives an area and all that fills it back.
    fn release(&mut self, area: Iova, size: Bytes);
    /// Maps one piece for itself, as MMIO.
    fn map(&mut self, vector: PhysicalVector) -> Result<DmaAddr, &'static str>;
    /// Undoes [`MapPhysical::map`].
    fn unmap(&mut self, address: DmaAddr, length: Bytes);
}

/// Why vectors were not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VectorError {
    /// There is no path (`EINVAL`).
    NotSupported,
    /// The vectors make up more than 64 bits count (`EINVAL`).
    TooLarge,
    /// The DMA layer refused.
    Refused(&'static str),
}

impl VectorError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            VectorError::NotSupported | VectorError::TooLarge => "EINVAL",
            VectorError::Refused(errno) => errno,
        }
    }
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VectorError::NotSupported => f.write_str("there is no path (EINVAL)"),
            VectorError::TooLarge => f.write_str("the size exceeds 64 bits (EINVAL)"),
            VectorError::Refused(errno) => write!(f, "the memory could not be mapped ({errno})"),
        }
    }
}

impl core::error::Error for VectorError {}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Way {
    Bus,
    Area(Iova, Bytes),
    Pieces(Vec<(DmaAddr, Bytes)>),
}

/// Mapped vectors; to be undone with the mapper that made them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MappedVectors {
    /// Addresses in order.
    pub segments: Vec<Segment>,
    way: Way,
}

impl MappedVectors {
    /// Gives back what mapping took.
    pub fn unmap(self, mapper: &mut impl MapPhysical) {
        match self.way {
            Way::Bus => {}
            Way::Area(area, size) => mapper.release(area, size),
            Way::Pieces(pieces) => {
                pieces.into_iter().for_each(|(address, length)| mapper.unmap(address, length));
            }
        }
    }
}

/// Maps `vectors` for an importer whose way to their provider is `peer`.
///
/// By bus, each is moved by the bus offset. Through the host bridge, all together take one IOVA area if the importer's
/// DMA is translated, in which they follow each other; else each is mapped for itself.
pub fn map_vectors(
    peer: PeerType,
    vectors: &[PhysicalVector],
    mapper: &mut impl MapPhysical,
) -> Result<MappedVectors, VectorError> {
    let size = vectors.iter().try_fold(Bytes::ZERO, |sum, vector| sum.checked_add(vector.length));
    let size = size.ok_or(VectorError::TooLarge)?;
    match peer.map_type {
        MapType::NotSupported => Err(VectorError::NotSupported),
        MapType::BusAddr => {
            let pieces = vectors
                .iter()
                .map(|vector| (DmaAddr(vector.address.0.wrapping_add(peer.bus_offset)), vector.length));
            Ok(MappedVectors { segments: split(pieces), way: Way::Bus })
        }
        MapType::ThruHostBridge => match mapper.reserve(size) {
            Some(area) => map_area(area, size, vectors, mapper),
            None => map_pieces(vectors, mapper),
        },
    }
}

fn map_area(
    area: Iova,
    size: Bytes,
    vectors: &[PhysicalVector],
    mapper: &mut impl MapPhysical,
) -> Result<MappedVectors, VectorError> {
    let mut offset = Bytes::ZERO;
    for vector in vectors {
        if let Err(errno) = mapper.link(area, offset, *vector) {
            mapper.release(area, size);
            return Err(VectorError::Refused(errno));
        }
        offset += vector.length;
    }
    let segments = split(core::iter::once((DmaAddr::from_iova(area), size)));
    Ok(MappedVectors { segments, way: Way::Area(area, size) })
}

fn map_pieces(
    vectors: &[PhysicalVector],
    mapper: &mut impl MapPhysical,
) -> Result<MappedVectors, VectorError> {
    let mut pieces: Vec<(DmaAddr, Bytes)> = Vec::new();
    for vector in vectors {
        match mapper.map(*vector) {
            Ok(address) => pieces.push((address, vector.length)),
            Err(errno) => {
                pieces.into_iter().for_each(|(address, length)| mapper.unmap(address, length));
                return Err(VectorError::Refused(errno));
            }
        }
    }
    Ok(MappedVectors { segments: split(pieces.iter().copied()), way: Way::Pieces(pieces) })
}

/// Cuts pieces so that none is longer than [`LARGEST`].
fn split(pieces: impl Iterator<Item = (DmaAddr, Bytes)>) -> Vec<Segment> {
    let mut segments = Vec::new();
    for (mut address, mut left) in pieces {
        while left > Bytes::ZERO {
            let length = left.min(LARGEST);
            segments.push(Segment { address, length });
            address = DmaAddr(address.0.wrapping_add(length.0));
            left -= length;
        }
    }
    segments
}
