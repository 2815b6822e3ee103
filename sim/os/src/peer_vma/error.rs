//! Why a mapping was refused, and bugs of importers.

use core::fmt;

/// Why pages are not reachable. None ends a run: the CPU gets `SIGBUS`, an importer falls back to main memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerVmaError {
    /// There is no such VMA, or it is going (`EINVAL`).
    NoVma,
    /// There is no such object, or the pages lie outside of it or of the VMA (`EINVAL`).
    Outside,
    /// Writing was asked for, and the VMA cannot be written (`EPERM`).
    ReadOnly,
    /// The exporter maps nothing for peers (`EPERM`).
    Refused,
    /// The importer does not reach the BAR in a way the exporter accepts (`EREMOTEIO`).
    NoPath,
    /// Too many pages of the object, or of the process, would be reachable (`ENOSPC`).
    OverLimit {
        /// Pages that may be.
        limit: u64,
    },
    /// The aperture has not enough slots (`ENOMEM`).
    Full {
        /// Slots that were needed.
        needed: u64,
        /// Slots that nobody claims.
        left: u64,
    },
    /// The VMA was filled when it was mapped, and has lost this page since: there is nothing to fill it again.
    NoFault,
    /// The object is being moved. The kernel sleeps; call again when it has moved.
    Wait,
}

impl PeerVmaError {
    /// The kernel's name of the error; `None` where it only waits.
    pub const fn errno(self) -> Option<&'static str> {
        Some(match self {
            PeerVmaError::NoVma | PeerVmaError::Outside => "EINVAL",
            PeerVmaError::ReadOnly | PeerVmaError::Refused => "EPERM",
            PeerVmaError::NoPath => "EREMOTEIO",
            PeerVmaError::OverLimit { .. } => "ENOSPC",
            PeerVmaError::Full { .. } => "ENOMEM",
            PeerVmaError::NoFault => "EFAULT",
            PeerVmaError::Wait => return None,
        })
    }
}

impl fmt::Display for PeerVmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerVmaError::NoVma => f.write_str("there is no such VMA"),
            PeerVmaError::Outside => f.write_str("the pages are not all there"),
            PeerVmaError::ReadOnly => f.write_str("the VMA is read-only"),
            PeerVmaError::Refused => f.write_str("the exporter maps nothing for peers"),
            PeerVmaError::NoPath => f.write_str("the importer does not reach the BAR by bus address"),
            PeerVmaError::OverLimit { limit } => write!(f, "the exporter allows {limit} pages"),
            PeerVmaError::Full { needed, left } => {
                write!(f, "{needed} slots of the aperture are needed, {left} are left")
            }
            PeerVmaError::NoFault => f.write_str("the page was taken back"),
            PeerVmaError::Wait => return f.write_str("the object is being moved"),
        }?;
        write!(f, " ({})", self.errno().unwrap_or("none"))
    }
}

impl core::error::Error for PeerVmaError {}

/// What an importer must not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerVmaBug {
    /// It unmaps what it has not mapped.
    NotMapped,
}

impl fmt::Display for PeerVmaBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BUG: an importer unmaps what it has not mapped")
    }
}

impl core::error::Error for PeerVmaBug {}
