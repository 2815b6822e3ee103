//! Why memory gets no page structs, and bugs of those who use them.

use core::fmt;

use peerbus_units::{CpuAddr, Range};

use super::{MemoryType, PageMapId};

/// Why a page map was refused. The ranges before the one at fault have been undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPageMap {
    /// No range (`EINVAL`).
    NoRange,
    /// Compound pages larger than the largest folio (`EINVAL`).
    CompoundTooLarge,
    /// The kernel was built without memory of this type (`EINVAL`).
    NotBuilt(MemoryType),
    /// The driver has no callback for CPU faults (`EINVAL`).
    NoMigrateCallback,
    /// The driver has no callback for free pages (`EINVAL`).
    NoFreeCallback,
    /// Nobody owns the memory (`EINVAL`).
    NoOwner,
    /// The page structs shall lie in the memory, and there is a second range (`EINVAL`).
    AltmapWithRanges,
    /// Private memory has a space of its own in this kernel (`EINVAL`).
    NotPhysical,
    /// The first or the last page of a range belongs to a live page map (`ENOMEM`).
    Owned {
        /// Which.
        by: PageMapId,
    },
    /// Part of a range is system RAM (`ENXIO`).
    OverlapsRam {
        /// The RAM.
        ram: Range<CpuAddr>,
    },
    /// A range ends beyond what the kernel can address, or map (`EINVAL`).
    OutsideAllowed {
        /// What it could; `None`: nothing.
        allowed: Option<Range<CpuAddr>>,
    },
    /// Start or size of a range is no multiple of [`SUB_SECTION`](super::SUB_SECTION) (`EINVAL`).
    NoSubSections,
    /// No memory for page structs (`ENOMEM`). Those of the sections before stay.
    NoMemory,
}

impl NoPageMap {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            NoPageMap::NoRange
            | NoPageMap::CompoundTooLarge
            | NoPageMap::NotBuilt(_)
            | NoPageMap::NoMigrateCallback
            | NoPageMap::NoFreeCallback
            | NoPageMap::NoOwner
            | NoPageMap::AltmapWithRanges
            | NoPageMap::NotPhysical
            | NoPageMap::OutsideAllowed { .. }
            | NoPageMap::NoSubSections => "EINVAL",
            NoPageMap::Owned { .. } | NoPageMap::NoMemory => "ENOMEM",
            NoPageMap::OverlapsRam { .. } => "ENXIO",
        }
    }

    /// The kernel logs a warning: the driver is at fault, not the machine.
    pub const fn warns(self) -> bool {
        !matches!(self, NoPageMap::AltmapWithRanges | NoPageMap::OutsideAllowed { .. } | NoPageMap::NoMemory)
    }
}

impl fmt::Display for NoPageMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPageMap::NoRange => f.write_str("there is no range"),
            NoPageMap::CompoundTooLarge => f.write_str("its compound pages exceed the largest folio"),
            NoPageMap::NotBuilt(kind) => write!(f, "the kernel was built without {kind}"),
            NoPageMap::NoMigrateCallback => f.write_str("the driver cannot migrate to RAM"),
            NoPageMap::NoFreeCallback => f.write_str("the driver takes no free pages back"),
            NoPageMap::NoOwner => f.write_str("nobody owns it"),
            NoPageMap::AltmapWithRanges => f.write_str("page structs in the memory allow one range only"),
            NoPageMap::NotPhysical => f.write_str("private memory has no physical addresses in this kernel"),
            NoPageMap::Owned { by } => write!(f, "its first or last page belongs to page map {}", by.0),
            NoPageMap::OverlapsRam { ram } => write!(f, "it overlaps system RAM {ram}"),
            NoPageMap::OutsideAllowed { allowed: Some(allowed) } => {
                write!(f, "it does not lie inside {allowed}")
            }
            NoPageMap::OutsideAllowed { allowed: None } => f.write_str("nothing can be mapped"),
            NoPageMap::NoSubSections => f.write_str("start or size is no multiple of 2 MiB"),
            NoPageMap::NoMemory => f.write_str("no memory for page structs"),
        }?;
        write!(f, " ({})", self.errno())
    }
}

impl core::error::Error for NoPageMap {}

/// What the kernel would not have survived, or not noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReferenceBug {
    /// There is no such page map, or no such page in it.
    NoPage,
    /// More references are put than were taken.
    NotHeld,
    /// A page is handed out by a page map that is dying.
    Dying,
    /// A page is handed out larger than the kernel, or the page map, can.
    NoSuchOrder,
}

impl fmt::Display for ReferenceBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReferenceBug::NoPage => "BUG: no such page",
            ReferenceBug::NotHeld => "BUG: a reference is put that nobody holds",
            ReferenceBug::Dying => "BUG: a page of a dying page map is handed out",
            ReferenceBug::NoSuchOrder => "BUG: no compound page of this order",
        })
    }
}

impl core::error::Error for ReferenceBug {}
