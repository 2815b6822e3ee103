//! May the kernel pin a page of user memory (`get_user_pages`)?

use core::fmt;

/// What a page table entry shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MappedPage {
    /// Ordinary memory.
    Ordinary,
    /// Peer memory of a PCI function, mapped through its `allocate` file.
    PeerMemory,
    /// Private memory of a device: not present for the CPU.
    DevicePrivate,
    /// Coherent memory of a device.
    DeviceCoherent,
    /// A mapping without pages: MMIO of a GPU or a VFIO device.
    Io,
}

/// How a page is to be pinned.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PinFlags {
    /// Peer memory is welcome. Set by block queues that can use it, on bios of user memory.
    pub peer_memory: bool,
    /// The pin lasts (memory registration).
    pub long_term: bool,
}

/// How a pin goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pin {
    /// Pinned in place.
    InPlace,
    /// An ordinary fault first: the device's driver brings the page back to RAM, which is then pinned.
    AfterFaultToRam,
    /// The page is migrated to RAM first: a lasting pin would hold the device's memory.
    AfterMigrationToRam,
}

/// Why a page is not pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinError {
    /// Peer memory and long-term cannot be asked for together (`EINVAL`); the kernel warns.
    LongTermPeerMemory,
    /// Peer memory nobody asked for (`EREMOTEIO`). The path without locks gives up, the other one says this.
    RemoteIo,
    /// There is no page (`EFAULT`).
    NoPage,
}

impl PinError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            PinError::LongTermPeerMemory => "EINVAL",
            PinError::RemoteIo => "EREMOTEIO",
            PinError::NoPage => "EFAULT",
        }
    }
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PinError::LongTermPeerMemory => "peer memory cannot be pinned for long (EINVAL)",
            PinError::RemoteIo => "peer memory is not welcome here (EREMOTEIO)",
            PinError::NoPage => "the mapping has no pages (EFAULT)",
        })
    }
}

impl core::error::Error for PinError {}

/// Decides about one page. Kernels without mappings of peer memory never see any, and have no flag for it.
pub fn pin(page: MappedPage, flags: PinFlags) -> Result<Pin, PinError> {
    if flags.peer_memory && flags.long_term {
        return Err(PinError::LongTermPeerMemory);
    }
    match page {
        MappedPage::Ordinary => Ok(Pin::InPlace),
        MappedPage::PeerMemory if flags.peer_memory => Ok(Pin::InPlace),
        MappedPage::PeerMemory => Err(PinError::RemoteIo),
        MappedPage::DevicePrivate => Ok(Pin::AfterFaultToRam),
        MappedPage::DeviceCoherent if flags.long_term => Ok(Pin::AfterMigrationToRam),
        MappedPage::DeviceCoherent => Ok(Pin::InPlace),
        MappedPage::Io => Err(PinError::NoPage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_memory_is_pinned_only_briefly_and_on_request() {
        let [none, peer, long] = [(false, false), (true, false), (false, true)]
            .map(|(peer_memory, long_term)| PinFlags { peer_memory, long_term });
        let check = |page, flags, expect| assert_eq!(pin(page, flags), expect, "{page:?} {flags:?}");
        check(MappedPage::Ordinary, none, Ok(Pin::InPlace));
        check(MappedPage::PeerMemory, none, Err(PinError::RemoteIo));
        check(MappedPage::PeerMemory, long, Err(PinError::RemoteIo));
        check(MappedPage::PeerMemory, peer, Ok(Pin::InPlace));
        check(MappedPage::Io, peer, Err(PinError::NoPage));
        check(MappedPage::DevicePrivate, none, Ok(Pin::AfterFaultToRam));
        check(MappedPage::DeviceCoherent, none, Ok(Pin::InPlace));
        check(MappedPage::DeviceCoherent, long, Ok(Pin::AfterMigrationToRam));
        let both = PinFlags { peer_memory: true, long_term: true };
        check(MappedPage::Ordinary, both, Err(PinError::LongTermPeerMemory));
        assert_eq!(PinError::LongTermPeerMemory.errno(), "EINVAL");
    }
}
