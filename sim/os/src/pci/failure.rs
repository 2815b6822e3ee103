//! [`WhyNot`]: a resource without an address, and its cause.

use alloc::vec::Vec;
use core::fmt;

use peerbus_units::{Bytes, CpuAddr, FunctionId, Range};

use super::resource::{IO_WINDOW, MEMORY_WINDOW, PREFETCH_WINDOW, Parent, ResourceFlags, ResourceRef};
use super::tree::Tree;

/// Why a window did not take a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// The kinds do not go together: I/O and memory, or a non-prefetchable resource and a prefetchable window.
    WrongKind,
    /// No part of the window has bus addresses the resource can be set to (32-bit resource, window above
    /// 4 GiB).
    OutOfReach,
    /// No free run is long enough at the alignment.
    NoHole,
}

/// A window that was considered for a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsideredWindow {
    /// Which window.
    pub window: Parent,
    /// Its addresses.
    pub range: Range<CpuAddr>,
    /// Why it did not do.
    pub rejection: Rejection,
    /// Bytes free within reach of the resource.
    pub free: Bytes,
    /// Longest free run within reach.
    pub largest_hole: Bytes,
}

/// Why a resource has no address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// No window above has room; the windows tried are listed, none when the bridge above has no window.
    NoSpace(Vec<ConsideredWindow>),
    /// Its alignment is larger than the kernel can size; the kernel disabled it.
    AlignmentTooLarge,
    /// It cannot be given another address, and no window above contains it or something else lies there. The function
    /// answers there all the same.
    Immovable,
}

/// A resource that has no address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WhyNot {
    /// The function that asked.
    pub function: FunctionId,
    /// Owner and number of the resource.
    pub resource: ResourceRef,
    /// Kind of the resource; the resource itself may have been cleared.
    pub flags: ResourceFlags,
    /// Bytes it asked for in the last attempt.
    pub size: Bytes,
    /// Alignment it asked for.
    pub align: u64,
    /// The cause.
    pub cause: Cause,
}

impl Tree {
    /// `why` and what it follows from: where the window that the resource belongs in has no address either, that
    /// window's own failure, and so on upwards. The last one is the root of the matter.
    pub fn cause_chain<'a>(&'a self, why: &'a WhyNot) -> Vec<&'a WhyNot> {
        core::iter::successors(Some(why), |why| self.missing_window(why)).collect()
    }

    fn missing_window(&self, why: &WhyNot) -> Option<&WhyNot> {
        let bridge = self.upstream(why.resource.function)?;
        let windows = self[bridge].windows;
        let reaches = why.flags.has(ResourceFlags::MEM_64) || !windows.prefetch_64;
        let number = match why.flags.has(ResourceFlags::PREFETCH) && windows.prefetch && reaches {
            _ if why.flags.is_io() => IO_WINDOW,
            true => PREFETCH_WINDOW,
            false => MEMORY_WINDOW,
        };
        let window = ResourceRef { function: bridge, number };
        self.failures.iter().find(|above| above.resource == window)
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} resource {}: {}", self.function, self.resource.number, self.size)?;
        match &self.cause {
            Cause::AlignmentTooLarge => {
                write!(f, " cannot be sized: alignment {} is too large", Bytes(self.align))
            }
            Cause::Immovable => write!(f, " cannot move, and its addresses cannot be claimed"),
            Cause::NoSpace(windows) if windows.is_empty() => write!(f, " has no window above it"),
            Cause::NoSpace(windows) => {
                write!(f, " does not fit at alignment {}", Bytes(self.align))?;
                windows.iter().try_for_each(|window| write!(f, "; {window}"))
            }
        }
    }
}

impl fmt::Display for ConsideredWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rejection {
            Rejection::WrongKind => write!(f, "{} is of the wrong kind", self.range),
            Rejection::OutOfReach => write!(f, "{} is out of its reach", self.range),
            Rejection::NoHole => {
                write!(f, "{} has {} free, at most {} in one piece", self.range, self.free, self.largest_hole)
            }
        }
    }
}
