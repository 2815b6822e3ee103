//! [`IoResource`]: one entry of the tree, and why an entry is refused.

use alloc::string::String;
use core::fmt;

use peerbus_units::{CpuAddr, Range};

use crate::pci::ResourceFlags;

impl ResourceFlags {
    /// Ordinary memory of the system, beside [`ResourceFlags::MEM`].
    pub const SYSTEM_RAM: ResourceFlags = ResourceFlags(0x100_0000);
    /// A bridge forwards it.
    pub const WINDOW: ResourceFlags = ResourceFlags(0x20_0000);
    /// Claimed by a driver: nothing can be requested inside.
    pub const BUSY: ResourceFlags = ResourceFlags(0x8000_0000);
}

/// Stands for one entry as long as it is in the tree. Never given to another entry afterwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceId(pub(super) u64);

/// What a range is used for, beyond its name. Shown nowhere; asked by code that maps memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub enum Descriptor {
    /// Nothing in particular.
    #[default]
    None,
    /// Page frames of memory that only a device can reach.
    DevicePrivate,
    /// Firmware keeps it.
    Reserved,
}

/// A named range with its flags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IoResource {
    /// CPU physical addresses.
    pub range: Range<CpuAddr>,
    /// As `/proc/iomem` shows it.
    pub name: String,
    /// Type, and whether it is busy.
    pub flags: ResourceFlags,
    /// What it is used for.
    pub descriptor: Descriptor,
}

impl IoResource {
    /// Memory called `name`: not busy, of no particular use.
    pub fn memory(range: Range<CpuAddr>, name: impl Into<String>) -> IoResource {
        IoResource { range, name: name.into(), flags: ResourceFlags::MEM, descriptor: Descriptor::None }
    }

    /// The same, busy.
    pub fn busy(mut self) -> IoResource {
        self.flags |= ResourceFlags::BUSY;
        self
    }
}

/// The entry that is in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Which one.
    pub with: ResourceId,
    /// Its addresses.
    pub range: Range<CpuAddr>,
    /// Its name.
    pub name: String,
    /// The new range does not lie inside this entry, which was to become its parent; otherwise the two overlap.
    pub outside: bool,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.outside { "lies outside of" } else { "overlaps" };
        write!(f, "{how} {} {}", self.name, self.range)
    }
}

/// Why an entry was not made or removed. The tree is as it was before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Another entry is in the way.
    Conflict(Conflict),
    /// There is no memory for one more entry (`-ENOMEM`).
    NoMemory,
    /// No entry has this id any more.
    Unknown(ResourceId),
    /// The root stays.
    Root,
    /// No busy entry has exactly this range.
    NotRequested(Range<CpuAddr>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Conflict(conflict) => conflict.fmt(f),
            Refusal::NoMemory => f.write_str("no memory for one more entry"),
            Refusal::Unknown(id) => write!(f, "there is no entry {}", id.0),
            Refusal::Root => f.write_str("the root of the tree stays"),
            Refusal::NotRequested(range) => write!(f, "no busy entry is {range}"),
        }
    }
}

impl core::error::Error for Refusal {}
