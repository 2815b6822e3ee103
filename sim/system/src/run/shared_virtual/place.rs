//! Where a page of the process is for a device, and by which transfer it is used there.

use peerbus_fabric::{Direction, LinkId, private_addr};
use peerbus_os::mm::Mm;
use peerbus_os::mm::frame::{HUGE, HUGE_ZERO_PAGE, Place, ZERO_PAGE};
use peerbus_units::{Address, Pfn};

use super::plan::{PeerWay, SharedPlan};

const PAGE: u64 = 4096;

/// Where a device uses a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// In its own memory.
    Own,
    /// In RAM, at this DMA address.
    Ram(u64),
    /// In another device's memory.
    Peer {
        /// By which way.
        via: Via,
        /// Address there.
        addr: u64,
    },
    /// Nowhere: its frame number is no address, and no way leads to the memory behind it.
    Nowhere,
}

/// A way to memory elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// PCIe, from the device that asks.
    Pcie,
    /// A private link of the device that asks.
    Private(LinkId),
    /// Loads and stores of a core to a device, both by index in the machine.
    Core {
        /// The CPU.
        cpu: usize,
        /// The device.
        device: usize,
    },
}

/// A transfer of part of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// By which way.
    pub via: Via,
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub bytes: u64,
}

impl SharedPlan {
    /// DMA address of a page of RAM for a device.
    pub(super) fn ram_address(&self, device: usize, pfn: Pfn) -> Option<u64> {
        let offset = (pfn.0 * PAGE).checked_sub(self.ram)?;
        Some(self.ram_for.get(&device)?.wrapping_add(offset))
    }

    /// Where `device` uses page `pfn`, which its table names.
    pub(super) fn find(&self, mm: &Mm, device: usize, pfn: Pfn) -> Found {
        // A page of another device's window leads to private memory behind it.
        let pfn = mm.reached(pfn);
        let huge_zeros = HUGE_ZERO_PAGE.0..HUGE_ZERO_PAGE.0 + HUGE;
        if pfn == ZERO_PAGE || huge_zeros.contains(&pfn.0) {
            // The kernel's page of zeros is in RAM like any other; which page of it does not matter to a link.
            return self.ram_for.get(&device).map_or(Found::Nowhere, |base| Found::Ram(*base));
        }
        if !mm.frames.is_used(pfn) {
            return Found::Nowhere;
        }
        match mm.frames.place(pfn) {
            Place::System => self.ram_address(device, pfn).map_or(Found::Nowhere, Found::Ram),
            Place::Private(owner) | Place::Coherent(owner) => {
                let Some(gpu) = self.gpus.get(owner.0 as usize) else { return Found::Nowhere };
                if gpu.device == device {
                    return Found::Own;
                }
                let offset = mm.offset_in_device(pfn).map_or(0, |page| page * PAGE);
                self.at_peer(device, gpu.device, offset)
            }
        }
    }

    fn at_peer(&self, device: usize, owner: usize, offset: u64) -> Found {
        match self.ways.get(&(device, owner)) {
            Some(PeerWay::Private(link)) => {
                Found::Peer { via: Via::Private(*link), addr: private_addr(owner, offset).raw() }
            }
            Some(PeerWay::Bar { base, room }) if offset < *room => {
                Found::Peer { via: Via::Pcie, addr: base.wrapping_add(offset) }
            }
            _ => Found::Nowhere,
        }
    }
}
