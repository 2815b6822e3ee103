//! [`DmaError`]: why a mapping was refused. None of these ends a run: the operation that asked fails.

use core::fmt;

/// The errors drivers see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DmaError {
    /// The request makes no sense or cannot be expressed (`EINVAL`).
    Invalid,
    /// No I/O virtual addresses, table memory or bounce buffers (`ENOMEM`).
    NoMemory,
    /// The device cannot reach the memory, or something has no errno of its own (`EIO`).
    Io,
    /// There is no peer-to-peer path (`EREMOTEIO`).
    RemoteIo,
    /// Peer-to-peer memory would have to be bounced (`EPERM`); only where IOVAs are reserved first.
    NotPermitted,
    /// A kernel BUG: what is to be unmapped was not mapped, or not with this size.
    NotMapped,
}

impl DmaError {
    /// The kernel's name of the error; `BUG` for what no errno stands for.
    pub const fn errno(self) -> &'static str {
        match self {
            DmaError::Invalid => "EINVAL",
            DmaError::NoMemory => "ENOMEM",
            DmaError::Io => "EIO",
            DmaError::RemoteIo => "EREMOTEIO",
            DmaError::NotPermitted => "EPERM",
            DmaError::NotMapped => "BUG",
        }
    }
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DmaError::Invalid => "invalid DMA mapping (EINVAL)",
            DmaError::NoMemory => "no IOVA, table memory or bounce buffer left (ENOMEM)",
            DmaError::Io => "the device cannot reach this memory (EIO)",
            DmaError::RemoteIo => "no peer-to-peer path (EREMOTEIO)",
            DmaError::NotPermitted => "peer-to-peer memory cannot be bounced (EPERM)",
            DmaError::NotMapped => "BUG: unmapping what was not mapped",
        })
    }
}

impl core::error::Error for DmaError {}
