//! RDMA memory regions: what they can be made of, and how they let go.

use core::fmt;

use super::Importer;
use crate::p2pdma::{MappedPage, Pin, PinError, PinFlags, pin};

/// Kinds of memory regions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionKind {
    /// `reg_mr`: pinned for its life.
    Ordinary,
    /// On demand: pages are mapped when the adapter faults.
    OnDemand,
    /// Of a dma-buf, following its moves.
    DmaBuf,
    /// Of a dma-buf that stays where it is.
    PinnedDmaBuf,
    /// Of a dma-buf that stays until it is taken away.
    RevocableDmaBuf,
    /// Of a dma-buf reached by a second PCI function of the adapter ("data direct").
    DataDirect,
}

impl RegionKind {
    /// What it brings to a dma-buf; none for regions of virtual memory.
    pub const fn importer(self) -> Option<Importer> {
        match self {
            RegionKind::Ordinary | RegionKind::OnDemand => None,
            RegionKind::DmaBuf | RegionKind::RevocableDmaBuf => Some(Importer::DYNAMIC),
            RegionKind::PinnedDmaBuf | RegionKind::DataDirect => Some(Importer::PINNED),
        }
    }

    /// What happens when the exporter invalidates.
    pub const fn invalidated(self) -> Invalidated {
        match self {
            RegionKind::OnDemand | RegionKind::DmaBuf => Invalidated::MappedAgainAtFault,
            RegionKind::RevocableDmaBuf => Invalidated::RevokedForEver,
            RegionKind::Ordinary | RegionKind::PinnedDmaBuf | RegionKind::DataDirect => Invalidated::Never,
        }
    }
}

/// What an invalidation does to a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalidated {
    /// It is pinned and has no callback: there is none.
    Never,
    /// The adapter's table is emptied; its next access faults, and finds new addresses.
    MappedAgainAtFault,
    /// Unmapped and unpinned; the region stays dead.
    RevokedForEver,
}

/// What a region is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionSource {
    /// A page of virtual memory.
    Page(MappedPage),
    /// A dma-buf.
    DmaBuf {
        /// It is revoked.
        revoked: bool,
        /// Offset and length are whole pages.
        page_aligned: bool,
    },
}

/// How a region is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Region {
    /// The page is pinned for long.
    Pinned(Pin),
    /// Mapped at each fault, by the map type of the page's provider.
    PeerPage,
    /// Brought back to RAM at each fault, and mapped there.
    FaultToRam,
    /// Mapped at each fault, where it is.
    AtFault,
    /// The buffer is mapped at registration.
    Buffer,
}

/// Why there is no region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionError {
    /// The page cannot be pinned.
    Pin(PinError),
    /// The mapping has no pages (`EFAULT`).
    NoPage,
    /// The buffer is revoked (`EINVAL`).
    Revoked,
    /// The kind is not made of this source, or not at this alignment (`EINVAL`).
    Unsuited,
}

impl RegionError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            RegionError::Pin(error) => error.errno(),
            RegionError::NoPage => "EFAULT",
            RegionError::Revoked | RegionError::Unsuited => "EINVAL",
        }
    }
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionError::Pin(error) => error.fmt(f),
            RegionError::NoPage => f.write_str("the mapping has no pages (EFAULT)"),
            RegionError::Revoked => f.write_str("the buffer is revoked (EINVAL)"),
            RegionError::Unsuited => f.write_str("the region cannot be made of this (EINVAL)"),
        }
    }
}

impl core::error::Error for RegionError {}

/// Decides how a region of this kind is made of `source`, or why it is not.
pub fn register(kind: RegionKind, source: RegionSource) -> Result<Region, RegionError> {
    match (kind, source) {
        // Pinned for long and without the flag for peer memory, which excludes each other anyway.
        (RegionKind::Ordinary, RegionSource::Page(page)) => {
            let flags = PinFlags { peer_memory: false, long_term: true };
            pin(page, flags).map(Region::Pinned).map_err(RegionError::Pin)
        }
        (RegionKind::OnDemand, RegionSource::Page(page)) => match page {
            MappedPage::PeerMemory => Ok(Region::PeerPage),
            MappedPage::DevicePrivate => Ok(Region::FaultToRam),
            MappedPage::Ordinary | MappedPage::DeviceCoherent => Ok(Region::AtFault),
            MappedPage::Io => Err(RegionError::NoPage),
        },
        (RegionKind::Ordinary | RegionKind::OnDemand, RegionSource::DmaBuf { .. }) => {
            Err(RegionError::Unsuited)
        }
        (_, RegionSource::Page(_)) => Err(RegionError::Unsuited),
        (_, RegionSource::DmaBuf { revoked: true, .. }) => Err(RegionError::Revoked),
        (RegionKind::DataDirect, RegionSource::DmaBuf { page_aligned: false, .. }) => {
            Err(RegionError::Unsuited)
        }
        (_, RegionSource::DmaBuf { .. }) => Ok(Region::Buffer),
    }
}
