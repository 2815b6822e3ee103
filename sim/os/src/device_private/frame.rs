//! [`Frame`]: the number under which page tables know a page of private memory.

use core::fmt;

use peerbus_units::{CpuAddr, DevicePage, Pfn};

use super::Platform;
use crate::iomem::Descriptor;
use crate::pci::ResourceFlags;

/// A page frame number, of physical address space or of the space of private memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Frame {
    /// A page frame in physical address space.
    Physical(Pfn),
    /// A page in the space of private memory.
    Offset(DevicePage),
}

impl Frame {
    /// The bare number, as words and page-table entries hold it.
    pub const fn number(self) -> u64 {
        match self {
            Frame::Physical(pfn) => pfn.0,
            Frame::Offset(page) => page.0,
        }
    }

    /// The frame `pages` further on, of the same kind.
    pub fn checked_add(self, pages: u64) -> Option<Frame> {
        let number = self.number().checked_add(pages)?;
        Some(match self {
            Frame::Physical(_) => Frame::Physical(Pfn(number)),
            Frame::Offset(_) => Frame::Offset(DevicePage(number)),
        })
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Physical(pfn) => write!(f, "pfn {pfn}"),
            Frame::Offset(page) => write!(f, "device page {page}"),
        }
    }
}

/// What was looked up, and what it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Looked<T> {
    /// It.
    pub found: T,
    /// Dependent memory accesses on the way: pointers followed, tree nodes visited.
    pub steps: u32,
}

/// What is found at the physical address that a frame's number would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuAccess {
    /// Nothing: the addresses are a reservation that no memory answers at. Reads return all ones, writes are lost, and
    /// a device's request is an Unsupported Request.
    Nowhere {
        /// The address.
        address: CpuAddr,
    },
    /// Something else: the number is that of RAM, or of another's addresses, which the access reads or destroys.
    Elsewhere {
        /// The address.
        address: CpuAddr,
        /// It is RAM.
        ram: bool,
    },
    /// The number is no physical address at all.
    NoAddress,
}

impl Platform {
    /// What a CPU, or a device by DMA, meets that takes the number of a frame for a physical page number. A frame of
    /// physical space is reserved there; one of a space of its own begins at 0, where RAM is.
    pub fn at_frame(&self, frame: Frame) -> CpuAccess {
        let address = frame.number().checked_mul(self.layout.shape.page.0).map(CpuAddr);
        let Some(address) = address.filter(|address| {
            self.iomem.get(self.iomem.root()).is_some_and(|all| all.range.contains(*address))
        }) else {
            return CpuAccess::NoAddress;
        };
        let entry = self.iomem.children(self.iomem.root()).find(|(_, entry)| entry.range.contains(address));
        match entry.map(|(_, entry)| (entry.descriptor, entry.flags.has(ResourceFlags::SYSTEM_RAM))) {
            None | Some((Descriptor::DevicePrivate, _)) => CpuAccess::Nowhere { address },
            Some((_, ram)) => CpuAccess::Elsewhere { address, ram },
        }
    }
}

impl fmt::Display for CpuAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CpuAccess::Nowhere { address } => {
                write!(f, "{address} is reserved for device memory: nothing answers")
            }
            CpuAccess::Elsewhere { address, ram: true } => write!(f, "{address} is RAM of somebody else"),
            CpuAccess::Elsewhere { address, ram: false } => write!(f, "{address} is no private memory"),
            CpuAccess::NoAddress => f.write_str("the frame is no physical address"),
        }
    }
}
