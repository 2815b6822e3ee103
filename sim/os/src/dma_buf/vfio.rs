//! BARs of functions given to user space, exported as dma-bufs and revoked when the function is reset.

use alloc::vec::Vec;
use core::fmt;

use peerbus_units::{Address, Bytes, CpuAddr, Range};

use super::{AttachError, Attaching, AttachmentId, DmaBuf, Exporter, MapError, MappedVectors};
use super::{PhysicalVector, PinError, Placement, VectorError, map_vectors};
use crate::dma::{Context, Dma, ProviderId};
use crate::p2pdma::{P2pdma, P2pdmaRules};
use crate::pci::{FunctionIndex, Tree};

/// The number of the expansion ROM's region; BARs lie below.
const ROM_REGION: usize = 6;

/// Regions are shared in pages of 4 KiB.
const PAGE: u64 = 4096;

/// A buffer's size must stay below: this bit of a size means "bounced" to the layer that maps it.
const BOUNCED: u64 = 1 << 63;

/// What user space asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferRequest<'a> {
    /// Region number; 0–5 are the BARs.
    pub region: usize,
    /// Must be 0.
    pub flags: u32,
    /// Offset and length of each piece, in bytes.
    pub ranges: &'a [(u64, u64)],
}

/// Why there is no buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VfioError {
    /// The kernel or the device's driver exports no buffers (`EOPNOTSUPP`).
    NotSupported,
    /// No range, or flags (`EINVAL`).
    Request,
    /// Not a BAR, or one that cannot be claimed (`ENODEV`).
    NoRegion,
    /// A length of 0, an offset or length that is not whole pages, or too much in sum (`EINVAL`).
    Ranges,
    /// A range ends beyond the BAR (`EINVAL`).
    BeyondBar,
    /// Sums exceed 64 bits (`EOVERFLOW`).
    Overflow,
    /// The BAR has no provider (`EINVAL`).
    NoProvider,
}

impl VfioError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            VfioError::NotSupported => "EOPNOTSUPP",
            VfioError::NoRegion => "ENODEV",
            VfioError::Overflow => "EOVERFLOW",
            VfioError::Request | VfioError::Ranges | VfioError::BeyondBar | VfioError::NoProvider => "EINVAL",
        }
    }
}

impl fmt::Display for VfioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            VfioError::NotSupported => "buffers are not exported",
            VfioError::Request => "at least one range is needed, and no flags",
            VfioError::NoRegion => "the region is no BAR that can be claimed",
            VfioError::Ranges => "a range is empty or not whole pages, or all are too large",
            VfioError::BeyondBar => "a range ends beyond the BAR",
            VfioError::Overflow => "a range exceeds 64 bits",
            VfioError::NoProvider => "the BAR has no provider",
        };
        write!(f, "{text} ({})", self.errno())
    }
}

impl core::error::Error for VfioError {}

/// A function given to user space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VfioDevice {
    /// The function.
    pub function: FunctionIndex,
    /// Its driver exports buffers.
    pub exports: bool,
    /// It decodes memory requests now.
    pub memory_enabled: bool,
}

impl VfioDevice {
    /// A buffer of pieces of one BAR. Born revoked while the function does not decode memory.
    pub fn buffer(
        &self,
        p2pdma: &mut P2pdma,
        tree: &Tree,
        request: &BufferRequest<'_>,
    ) -> Result<DmaBuf<VfioBuffer>, VfioError> {
        if !self.exports || !p2pdma.rules().physical_dma_bufs {
            return Err(VfioError::NotSupported);
        }
        if request.ranges.is_empty() || request.flags != 0 {
            return Err(VfioError::Request);
        }
        let bar = tree[self.function].resources.iter().take(ROM_REGION).nth(request.region);
        let bar = bar.filter(|bar| bar.flags.is_mem()).and_then(|bar| bar.range());
        let vectors = vectors(bar.ok_or(VfioError::NoRegion)?, request.ranges)?;
        let provider = p2pdma.bar_provider(tree, self.function, request.region);
        let provider = provider.ok_or(VfioError::NoProvider)?;
        let revocation = if self.memory_enabled { Revocation::None } else { Revocation::Done };
        Ok(DmaBuf::new(VfioBuffer { provider, vectors, revocation }))
    }
}

/// The pieces as CPU addresses.
fn vectors(bar: Range<CpuAddr>, ranges: &[(u64, u64)]) -> Result<Vec<PhysicalVector>, VfioError> {
    let mut sum = 0u64;
    for (offset, length) in ranges {
        if *length == 0 || !offset.is_multiple_of(PAGE) || !length.is_multiple_of(PAGE) {
            return Err(VfioError::Ranges);
        }
        sum = sum.checked_add(*length).ok_or(VfioError::Overflow)?;
    }
    if sum >= BOUNCED {
        return Err(VfioError::Ranges);
    }
    let vector = |(offset, length): &(u64, u64)| {
        let end = offset.checked_add(*length).ok_or(VfioError::Overflow)?;
        if end > bar.size().0 {
            return Err(VfioError::BeyondBar);
        }
        let address = bar.first().checked_add(*offset).ok_or(VfioError::Overflow)?;
        Ok(PhysicalVector { address, length: Bytes(*length) })
    };
    ranges.iter().map(vector).collect()
}

/// How far a revocation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// The buffer can be used.
    None,
    /// Importers are told; the fences of that moment have to signal.
    Fences,
    /// So many mappings have to be undone. There is no limit of time.
    Mappings(usize),
    /// Nobody uses it.
    Done,
}

/// Pieces of one BAR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VfioBuffer {
    /// Who is asked for map type and bus offset.
    pub provider: ProviderId,
    /// The memory.
    pub vectors: Vec<PhysicalVector>,
    revocation: Revocation,
}

impl VfioBuffer {
    /// True from the begin of a revocation to its taking back.
    pub fn is_revoked(&self) -> bool {
        self.revocation != Revocation::None
    }

    /// Addresses for an importer; to be asked for after [`DmaBuf::map`] agreed.
    pub fn addresses(
        &self,
        dma: &mut Dma,
        importer: FunctionIndex,
        context: &mut Context<'_>,
    ) -> Result<MappedVectors, VectorError> {
        map_vectors(dma, importer, self.provider, &self.vectors, context)
    }
}

impl Exporter for VfioBuffer {
    /// There is no other memory to fall back to, and every importer must be able to let go.
    fn attach(&mut self, _: &P2pdmaRules, attaching: &Attaching) -> Result<bool, AttachError> {
        if !attaching.peer2peer() {
            return Err(AttachError::NotPeerToPeer);
        }
        if self.is_revoked() {
            return Err(AttachError::Revoked);
        }
        if !attaching.invalidate() {
            return Err(AttachError::NotRevocable);
        }
        Ok(true)
    }

    fn placement(&self) -> Placement {
        Placement::Device
    }

    fn pins(&self) -> bool {
        false
    }

    /// Not asked for: a BAR does not move.
    fn pin(&mut self, _: bool) -> Result<Placement, PinError> {
        Ok(Placement::Device)
    }

    fn unpin(&mut self) {}

    fn place(&mut self, _: bool) -> Result<Placement, MapError> {
        if self.is_revoked() { Err(MapError::Revoked) } else { Ok(Placement::Device) }
    }
}

impl DmaBuf<VfioBuffer> {
    /// The function is reset, closed, or stops decoding memory: all importers have to let go. Returns whom to tell.
    /// Revoking what is revoked does nothing.
    pub fn revoke(&mut self) -> Vec<AttachmentId> {
        if self.exporter.is_revoked() {
            return Vec::new();
        }
        self.exporter.revocation = Revocation::Fences;
        self.invalidate()
    }

    /// How far the revocation is, `fences_signalled` being true once all fences of its begin have signalled.
    pub fn poll_revocation(&mut self, fences_signalled: bool) -> Revocation {
        let mappings = self.mappings();
        let next = match self.exporter.revocation {
            Revocation::Fences if !fences_signalled => Revocation::Fences,
            Revocation::Fences | Revocation::Mappings(_) if mappings > 0 => Revocation::Mappings(mappings),
            Revocation::Fences | Revocation::Mappings(_) => Revocation::Done,
            other => other,
        };
        self.exporter.revocation = next;
        next
    }

    /// The function decodes memory again: the flag is cleared after importers were told once more. They map again by
    /// themselves. None while the revocation is not done, or there is none.
    pub fn unrevoke(&mut self) -> Option<Vec<AttachmentId>> {
        if self.exporter.revocation != Revocation::Done {
            return None;
        }
        let told = self.invalidate();
        self.exporter.revocation = Revocation::None;
        Some(told)
    }
}
