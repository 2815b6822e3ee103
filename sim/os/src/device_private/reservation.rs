//! Requests for private memory, their results, and why there are none.

use alloc::string::String;
use core::fmt;

use peerbus_units::Bytes;

use super::Frame;
use crate::iomem::RegionError;
use crate::pagemap::{Callbacks, NoPageMap, Owner, PageMapId, PageStructs};

/// A driver's request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrivateRequest {
    /// Device memory that needs frames.
    pub size: Bytes,
    /// Whose memory it is.
    pub owner: Option<Owner>,
    /// The driver's callbacks.
    pub callbacks: Callbacks,
    /// Memory node; `None`: the one nearest to the CPU that asks.
    pub node: Option<u32>,
    /// Name of the reservation, as `/proc/iomem` shows it where it has physical addresses.
    pub name: String,
}

impl PrivateRequest {
    /// A request of a driver with all callbacks.
    pub fn new(size: Bytes, owner: Owner, name: impl Into<String>) -> PrivateRequest {
        PrivateRequest { size, owner: Some(owner), callbacks: Callbacks::ALL, node: None, name: name.into() }
    }
}

/// What a reservation took the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ReserveWork {
    /// Places tried.
    pub probes: u64,
    /// Entries passed at each, or nodes of the tree visited in all.
    pub steps: u64,
    /// Page structs to be initialised ([`Initialisation`](crate::pagemap::Initialisation)).
    pub pages: u64,
}

/// Frames with page structs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// Their page map.
    pub map: PageMapId,
    /// The first frame; the others follow without gaps.
    pub first: Frame,
    /// Pages, which may be more than were asked for.
    pub pages: u64,
    /// Kernel memory of the page structs.
    pub cost: PageStructs,
    /// What it took.
    pub work: ReserveWork,
}

/// Why there is no reservation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotReserved {
    /// No unused physical addresses.
    Region(RegionError),
    /// No page map.
    PageMap(NoPageMap),
    /// Nothing was asked for, or more than the space holds (`EINVAL`).
    Size {
        /// What it holds.
        most: Bytes,
    },
    /// No gap of the space is large enough (`EBUSY`).
    NoGap {
        /// The largest there is.
        largest: Bytes,
    },
}

impl NotReserved {
    /// The kernel's name of the error; `None` where it returns nothing.
    pub fn errno(&self) -> Option<&'static str> {
        match self {
            NotReserved::Region(error) => error.errno(),
            NotReserved::PageMap(error) => Some(error.errno()),
            NotReserved::Size { .. } => Some("EINVAL"),
            NotReserved::NoGap { .. } => Some("EBUSY"),
        }
    }
}

impl fmt::Display for NotReserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReserved::Region(error) => error.fmt(f),
            NotReserved::PageMap(error) => error.fmt(f),
            NotReserved::Size { most } => write!(f, "the space holds {most} (EINVAL)"),
            NotReserved::NoGap { largest } => write!(f, "the largest gap is {largest} (EBUSY)"),
        }
    }
}

impl core::error::Error for NotReserved {}
