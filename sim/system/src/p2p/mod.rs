//! Who may send peer-to-peer DMA to whom, by which way and at which address: the decisions of the kernel's
//! `p2pdma` for every ordered pair of functions.
//!
//! [`Matrix`] is plain data; its JSON form is `peerbus.p2p/1`, its text form a table of devices. Both show what
//! is here and add nothing. The decision of a pair is that of the distance calculation, whether or not the
//! provider has registered memory.

mod build;
mod depends;
mod text;

use peerbus_machine::model::Fact;
use peerbus_units::FunctionId;
use serde::Serialize;

use crate::kernel::ProfileName;

pub use build::{matrix, pair_of};
pub use text::render_matrix;

/// Everything `peerbus p2p` shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Matrix {
    /// `peerbus.p2p/1`.
    pub schema: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Name of the machine.
    pub machine: String,
    /// Kernel that decides.
    pub profile: ProfileName,
    /// Functions with a type 0 header, in the kernel's order.
    pub functions: Vec<MatrixFunction>,
    /// Every ordered pair of them, providers in order, each with all clients in order, itself included.
    pub pairs: Vec<Pair>,
}

/// A row or column.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MatrixFunction {
    /// Where it answers.
    pub function: FunctionId,
    /// Its path.
    pub name: String,
    /// Short name of its device when it is the device's first function; heads of root buses and further
    /// functions have none.
    pub device: Option<String>,
    /// Class code, 24 bits.
    pub class: u32,
    /// True for what the text form shows without being asked: the first function of a device that may send or be
    /// sent requests. Bridges and system peripherals (base classes 06 and 08) may not, nor may what has neither BARs
    /// nor a link.
    pub peer: bool,
}

/// The decision for one ordered pair.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Pair {
    /// Whose memory it is.
    pub provider: FunctionId,
    /// Who sends requests to it.
    pub client: FunctionId,
    /// By which way.
    pub map_type: MapType,
    /// Steps up from both to where they meet; valid for every map type.
    pub distance: u32,
    /// Why it is not a bus address.
    pub reasons: Vec<Reason>,
    /// The provider's BAR concerned: its largest prefetchable one.
    pub bar: Option<u8>,
    /// Address of its first byte as the CPU sees it.
    pub cpu_addr: Option<u64>,
    /// What the client is given for the BAR's first page, if that is the first thing mapped for it since the machine
    /// came up; none where the path or the mapping is refused.
    pub dma_addr: Option<u64>,
    /// What kind of address that is.
    pub dma_kind: Option<DmaKind>,
    /// What the machine's source did not say and the answer depends on.
    pub assumed: Vec<Fact>,
}

/// The kernel's map types.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MapType {
    /// By bus address, without the root complex.
    BusAddr,
    /// Through the host bridge, like a request to memory.
    ThruHostBridge,
    /// Refused.
    NotSupported,
}

impl MapType {
    /// The letter of the text table.
    pub fn letter(self) -> char {
        match self {
            MapType::BusAddr => 'B',
            MapType::ThruHostBridge => 'H',
            MapType::NotSupported => 'N',
        }
    }
}

/// Kinds of DMA addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DmaKind {
    /// A bus address.
    Bus,
    /// A CPU physical address.
    Cpu,
    /// An I/O virtual address, which an IOMMU translates.
    Iova,
}

impl DmaKind {
    /// Several of them, in words.
    pub fn plural(self) -> &'static str {
        match self {
            DmaKind::Bus => "bus addresses",
            DmaKind::Cpu => "CPU addresses",
            DmaKind::Iova => "IOVAs",
        }
    }
}

/// Why a pair's requests do not go by bus address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Reason {
    /// What stands in the way, as the operating system names it: `ACS_REDIRECT`, `HOST_BRIDGE_NOT_LISTED`, …
    pub kind: &'static str,
    /// The functions that do.
    pub functions: Vec<FunctionId>,
}
