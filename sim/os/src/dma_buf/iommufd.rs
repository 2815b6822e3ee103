//! A VFIO buffer in an IOMMU page table that user space manages.

use core::fmt;

use peerbus_units::Bytes;

use super::{AttachError, Attaching, AttachmentId, DmaBuf, Importer, PhysicalVector, VfioBuffer};
use crate::p2pdma::P2pdmaRules;

/// Why a buffer was not imported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImportError {
    /// It has more than one range (`EOPNOTSUPP`).
    SeveralRanges,
    /// Attaching failed, as it does to a revoked buffer.
    Attach(AttachError),
}

impl ImportError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            ImportError::SeveralRanges => "EOPNOTSUPP",
            ImportError::Attach(error) => error.errno(),
        }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::SeveralRanges => f.write_str("the buffer has more than one range (EOPNOTSUPP)"),
            ImportError::Attach(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ImportError {}

/// An imported buffer: a physical range, mapped as MMIO, until it is revoked for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImportedPages {
    /// The attachment it holds.
    pub attachment: AttachmentId,
    memory: PhysicalVector,
}

impl ImportedPages {
    /// Imports the one range of a buffer.
    pub fn import(
        rules: &P2pdmaRules,
        buffer: &mut DmaBuf<VfioBuffer>,
    ) -> Result<ImportedPages, ImportError> {
        let attaching = Attaching { importer: Some(Importer::DYNAMIC), distance: None, xgmi: false };
        let attachment = buffer.attach(rules, &attaching).map_err(ImportError::Attach)?;
        match buffer.exporter.vectors[..] {
            [memory] => Ok(ImportedPages { attachment, memory }),
            _ => {
                buffer.detach(attachment);
                Err(ImportError::SeveralRanges)
            }
        }
    }

    /// What is mapped; length 0 after an invalidation.
    pub fn memory(&self) -> PhysicalVector {
        self.memory
    }

    /// The buffer is invalidated: its pages are unmapped from all areas, and never mapped again.
    pub fn invalidated(&mut self) {
        self.memory.length = Bytes::ZERO;
    }

    /// True after an invalidation.
    pub fn is_revoked(&self) -> bool {
        self.memory.length == Bytes::ZERO
    }
}
