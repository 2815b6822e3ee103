//! [`HmmDmaError`]: why a page has no DMA address.

use core::fmt;

use crate::MapType;
use crate::dma::DmaError;

/// The errors drivers see. None ends a run: the driver's operation fails, usually with `EFAULT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HmmDmaError {
    /// The kernel has no such interface.
    NoInterface,
    /// Caches do not follow the device, its DMA is bounced, or it does not reach all memory (`EOPNOTSUPP`).
    NotSupported,
    /// The map has no such page.
    NoPage,
    /// The word names no page that can be accessed.
    NotValid,
    /// The word names private memory, which has no physical address: the kernel would map something else.
    Private,
    /// There is no way to the peer's memory.
    NoPath(MapType),
    /// Mapping failed.
    Dma(DmaError),
}

impl HmmDmaError {
    /// The kernel's name of the error. Mapping a page returns an address that stands for any error; those who asked
    /// make `EFAULT` of it.
    pub const fn errno(self) -> &'static str {
        match self {
            HmmDmaError::NoInterface | HmmDmaError::NoPage | HmmDmaError::Private => "BUG",
            HmmDmaError::NotSupported => "EOPNOTSUPP",
            HmmDmaError::NotValid | HmmDmaError::NoPath(_) | HmmDmaError::Dma(_) => "EFAULT",
        }
    }
}

impl From<DmaError> for HmmDmaError {
    fn from(error: DmaError) -> HmmDmaError {
        HmmDmaError::Dma(error)
    }
}

impl fmt::Display for HmmDmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HmmDmaError::NoInterface => f.write_str("this kernel does not map pages of range faults"),
            HmmDmaError::NotSupported => {
                f.write_str("the device cannot use any memory as it is (EOPNOTSUPP)")
            }
            HmmDmaError::NoPage => f.write_str("the map has no such page"),
            HmmDmaError::NotValid => f.write_str("there is no page to map (EFAULT)"),
            HmmDmaError::Private => f.write_str("BUG: private memory has no physical address"),
            HmmDmaError::NoPath(_) => f.write_str("no peer-to-peer path (EFAULT)"),
            HmmDmaError::Dma(error) => write!(f, "{error}, seen as EFAULT"),
        }
    }
}

impl core::error::Error for HmmDmaError {}
