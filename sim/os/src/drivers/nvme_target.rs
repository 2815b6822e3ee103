//! The NVMe target: whether the data of remote requests go through memory of a PCI device, and through which.
//!
//! Three decisions, each when its turn comes. A *namespace* is enabled once: it may ask for peer memory, which its own drive
//! must reach ([`enable_namespace`]). A *controller*, the connection of one host, gets a provider that the adapter of its
//! transport reaches, too ([`controller_memory`]). A *request* of that controller gets a piece of it ([`request_memory`]).
//! Only the first is strict: a namespace that asks in vain stays off, while controllers and requests that get nothing use
//! ordinary pages.
//!
//! Invariants: the data and the metadata of a request come from one provider, or neither does; requests of a controller's
//! first queue, for administration, never use peer memory.

use core::fmt;

use peerbus_units::{Bytes, FunctionId};

use crate::ConfigSpace;
use crate::p2pdma::{Client, Enable, MemoryBug, MemoryError, P2pdma, PeerEntry};
use crate::pci::{FunctionIndex, Tree};

/// Queue of a controller that administrative commands come by.
pub const ADMIN_QUEUE: u16 = 0;

/// What a namespace stores its blocks in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// A file: no block device that the target could ask.
    File,
    /// A block device.
    Block {
        /// The device that moves its data.
        device: Client,
        /// Its queue takes requests with pages of peer memory: the queue feature that drivers of NVMe drives set.
        takes_peer_pages: bool,
    },
}

/// Why a namespace that asks for peer memory was not enabled (`EINVAL`). Nothing can be read from or written to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamespaceError {
    /// It is stored in a file.
    NoBlockDevice,
    /// The queue of its block device takes no pages of peer memory.
    NoPeerPages,
    /// Its device does not reach the provider that was named.
    OutOfReach(FunctionId),
    /// Its device reaches none of the published providers.
    NothingInReach,
}

impl NamespaceError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        "EINVAL"
    }
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamespaceError::NoBlockDevice => f.write_str("it is stored in no block device"),
            NamespaceError::NoPeerPages => {
                f.write_str("the queue of its block device takes no pages of peer memory")
            }
            NamespaceError::OutOfReach(provider) => write!(f, "its device does not reach {provider}"),
            NamespaceError::NothingInReach => f.write_str("its device reaches no published provider"),
        }?;
        write!(f, " ({})", self.errno())
    }
}

impl core::error::Error for NamespaceError {}

/// Decides whether a namespace with this attribute can be enabled.
///
/// # Errors
///
/// It asks for peer memory that it cannot use.
pub fn enable_namespace(
    p2pdma: &mut P2pdma,
    tree: &Tree,
    cs: &impl ConfigSpace,
    attribute: Enable,
    backing: Backing,
) -> Result<(), NamespaceError> {
    if attribute == Enable::Off {
        return Ok(());
    }
    let Backing::Block { device, takes_peer_pages } = backing else {
        return Err(NamespaceError::NoBlockDevice);
    };
    if !takes_peer_pages {
        return Err(NamespaceError::NoPeerPages);
    }
    match attribute {
        Enable::Off => Ok(()),
        Enable::Provider(provider) => {
            let found = tree.find(provider);
            let near = found.and_then(|found| p2pdma.distance(tree, cs, found, device, true));
            near.map(|_| ()).ok_or(NamespaceError::OutOfReach(provider))
        }
        Enable::Automatic => match p2pdma.nearest(tree, cs, &[device]).is_empty() {
            true => Err(NamespaceError::NothingInReach),
            false => Ok(()),
        },
    }
}

/// How requests of a host reach the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// RDMA.
    Rdma {
        /// The device that the adapter is to the DMA layer.
        adapter: Client,
        /// The adapter moves data by DMA of its own. Software RDMA and virtual adapters have a CPU do it.
        moves_data_itself: bool,
    },
    /// Any other, such as TCP: the target has a CPU read or write the data, or does not know which device will.
    Other,
}

impl Transport {
    /// The device that must reach peer memory; none where no PCI function itself moves the data.
    pub const fn client(self) -> Option<FunctionIndex> {
        match self {
            Transport::Rdma { adapter: Client::Function(adapter), moves_data_itself: true } => Some(adapter),
            Transport::Rdma { .. } | Transport::Other => None,
        }
    }
}

/// Why requests of a controller to a namespace use ordinary memory. None is an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrdinaryMemory {
    /// The namespace asks for no peer memory.
    NotAsked,
    /// The transport has no device that could reach any.
    NoClient,
    /// The adapter does not reach the provider that was named. Nobody is told.
    OutOfReach(FunctionId),
    /// No published provider is within reach of both adapter and drive. The kernel logs it.
    NothingInReach,
}

impl OrdinaryMemory {
    /// Whether the kernel logs it.
    pub const fn is_logged(self) -> bool {
        matches!(self, OrdinaryMemory::NothingInReach)
    }
}

impl fmt::Display for OrdinaryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrdinaryMemory::NotAsked => f.write_str("the namespace asks for no peer memory"),
            OrdinaryMemory::NoClient => f.write_str("the transport has no device that could reach any"),
            OrdinaryMemory::OutOfReach(provider) => write!(f, "the adapter does not reach {provider}"),
            OrdinaryMemory::NothingInReach => {
                f.write_str("no published provider is within reach of both adapter and drive")
            }
        }
    }
}

/// The provider of memory for a controller's requests to an enabled namespace on `drive`.
///
/// A named one is asked about the adapter alone: the drive was, when the namespace was enabled. Otherwise it is the published
/// one nearest to both, of equals the one that a number of `random` says ([`P2pdma::find_many`]).
///
/// # Errors
///
/// Requests use ordinary memory, and why.
pub fn controller_memory(
    p2pdma: &mut P2pdma,
    tree: &Tree,
    cs: &impl ConfigSpace,
    attribute: Enable,
    (transport, drive): (Transport, Client),
    random: &mut impl FnMut() -> u32,
) -> Result<FunctionIndex, OrdinaryMemory> {
    if attribute == Enable::Off {
        return Err(OrdinaryMemory::NotAsked);
    }
    let adapter = Client::Function(transport.client().ok_or(OrdinaryMemory::NoClient)?);
    match attribute {
        Enable::Off => Err(OrdinaryMemory::NotAsked),
        Enable::Provider(provider) => {
            let found = tree.find(provider);
            let near = found.filter(|found| p2pdma.distance(tree, cs, *found, adapter, false).is_some());
            near.ok_or(OrdinaryMemory::OutOfReach(provider))
        }
        Enable::Automatic => {
            let found = p2pdma.find_many(tree, cs, &[adapter, drive], random);
            found.ok_or(OrdinaryMemory::NothingInReach)
        }
    }
}

/// Peer memory of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestMemory {
    /// For its data, in one piece.
    pub data: PeerEntry,
    /// For its metadata, if it has any.
    pub metadata: Option<PeerEntry>,
}

/// Why a request uses ordinary pages. None is an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrdinaryPages {
    /// It is an administrative command.
    Administrative,
    /// The provider has no memory for its data.
    Data(MemoryError),
    /// It had for the data, and has none for the metadata.
    Metadata(MemoryError),
}

impl fmt::Display for OrdinaryPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrdinaryPages::Administrative => f.write_str("administrative commands use no peer memory"),
            OrdinaryPages::Data(error) => write!(f, "for the data: {error}"),
            OrdinaryPages::Metadata(error) => write!(f, "for the metadata: {error}"),
        }
    }
}

/// Memory of `provider` for a request that came by `queue`: for its `data`, and for `metadata` beside them if there are any.
///
/// # Errors
///
/// Both use ordinary pages, and why; nothing is allocated then.
pub fn request_memory(
    p2pdma: &mut P2pdma,
    provider: FunctionId,
    queue: u16,
    data: Bytes,
    metadata: Bytes,
) -> Result<RequestMemory, OrdinaryPages> {
    if queue == ADMIN_QUEUE {
        return Err(OrdinaryPages::Administrative);
    }
    let data = p2pdma.alloc_sgl(provider, data).map_err(OrdinaryPages::Data)?;
    if metadata == Bytes::ZERO {
        return Ok(RequestMemory { data, metadata: None });
    }
    match p2pdma.alloc_sgl(provider, metadata) {
        Ok(metadata) => Ok(RequestMemory { data, metadata: Some(metadata) }),
        Err(error) => {
            p2pdma.free_sgl(provider, data).map_err(|bug| OrdinaryPages::Metadata(bug.into()))?;
            Err(OrdinaryPages::Metadata(error))
        }
    }
}

/// Gives back what [`request_memory`] gave.
///
/// # Errors
///
/// It was given back before.
pub fn free_request_memory(
    p2pdma: &mut P2pdma,
    provider: FunctionId,
    memory: RequestMemory,
) -> Result<(), MemoryBug> {
    if let Some(metadata) = memory.metadata {
        p2pdma.free_sgl(provider, metadata)?;
    }
    p2pdma.free_sgl(provider, memory.data)
}
