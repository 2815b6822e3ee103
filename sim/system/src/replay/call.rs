//! [`Replay`]: what is to be called, checked and ready to run.

use std::fmt;
use std::sync::Arc;

use peerbus_machine::Machine;
use peerbus_os::iomem::{FreeRegionStep, RegionSpace};
use peerbus_os::pci::FunctionIndex;
use peerbus_os::pool::Algorithm;
use peerbus_units::{Address, BusAddr, Bytes, CpuAddr, Range};

use super::diff::Recording;
use crate::boot::Booted;
use crate::kernel::ProfileName;

/// A file's calls.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Kernel whose code is called.
    pub profile: ProfileName,
    /// The calls, in order.
    pub calls: Vec<Call>,
    /// What they returned elsewhere; `None` when the file does not say.
    pub recorded: Option<Vec<Recording>>,
}

impl Replay {
    /// All calls as a file would say them.
    pub fn shown(&self) -> Vec<String> {
        let mut machine: Option<&PeerSetup> = None;
        let shown = |call: &Call, machine: Option<&PeerSetup>| match (call, machine) {
            (Call::Peer(call), Some(machine)) => call.shown(machine),
            (other, _) => other.to_string(),
        };
        let mut texts = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            if let Call::Machine(setup) = call {
                machine = Some(setup);
            }
            texts.push(shown(call, machine));
        }
        texts
    }
}

/// One call. Ids refer to what an earlier call of the same list was given.
#[derive(Clone, Debug)]
pub enum Call {
    /// Makes the pool.
    Pool {
        /// Granules of `2^order` bytes, below 64.
        order: u32,
        /// What allocations follow that name nothing else.
        algorithm: Algorithm,
    },
    /// Adds memory.
    AddChunk {
        /// First address.
        base: CpuAddr,
        /// Bytes.
        size: Bytes,
    },
    /// Allocates.
    Alloc {
        /// Its name in later calls.
        id: Option<u64>,
        /// Bytes.
        size: Bytes,
        /// Instead of the pool's.
        algorithm: Option<Algorithm>,
    },
    /// Frees.
    Free {
        /// What.
        what: Freed,
        /// Bytes; `None`: all that was asked for.
        size: Option<Bytes>,
    },
    /// Asks for the free bytes.
    Avail,
    /// Makes the tree of physical addresses.
    Region(RegionSetup),
    /// Enters a range.
    Busy {
        /// Its addresses.
        range: Range<CpuAddr>,
        /// Its name.
        name: String,
    },
    /// Looks for a range.
    Request {
        /// Its name in later calls.
        id: Option<u64>,
        /// Bytes.
        size: Bytes,
        /// Upwards with this alignment; `None`: downwards.
        upwards: Option<Bytes>,
    },
    /// Gives a range back.
    Release {
        /// Which.
        id: u64,
    },
    /// Boots on a machine.
    Machine(Arc<PeerSetup>),
    /// A call on the machine that the last such call booted on.
    Peer(PeerCall),
}

/// A machine on which the operating system has come up.
#[derive(Clone, Debug)]
pub struct PeerSetup {
    /// As the file names it.
    pub name: String,
    /// The machine.
    pub machine: Machine,
    /// What the operating system found on it, before any call.
    pub booted: Booted,
}

/// A call of peer-to-peer DMA. Functions are those that the operating system found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerCall {
    /// Makes memory of a BAR peer memory.
    Register {
        /// Whose.
        function: FunctionIndex,
        /// Which; `None`: the largest prefetchable one.
        bar: Option<usize>,
        /// Bytes; 0: all from the offset.
        size: Bytes,
        /// Bytes from the BAR's start.
        offset: Bytes,
    },
    /// Lets search find it.
    Publish {
        /// Whose memory.
        function: FunctionIndex,
        /// Or no longer.
        published: bool,
    },
    /// Calculates a pair.
    Resolve {
        /// Whose memory.
        provider: FunctionIndex,
        /// Who is to reach it.
        client: FunctionIndex,
    },
    /// Sums up distances.
    Distance {
        /// Whose memory.
        provider: FunctionIndex,
        /// Who is to reach it.
        clients: Vec<FunctionIndex>,
    },
    /// Looks for providers.
    Find {
        /// Who is to reach them.
        clients: Vec<FunctionIndex>,
    },
    /// Maps a page.
    Map {
        /// Whose memory.
        provider: FunctionIndex,
        /// Who is to reach it.
        client: FunctionIndex,
        /// Which BAR; `None`: the largest prefetchable one.
        bar: Option<usize>,
        /// Bytes from the BAR's start.
        offset: Bytes,
    },
    /// Writes an ACS control word.
    SetAcs {
        /// Whose.
        function: FunctionIndex,
        /// The word.
        control: u16,
    },
    /// Overwrites ids in the kernel's memory.
    SetIds {
        /// Whose.
        function: FunctionIndex,
        /// Vendor id.
        vendor: u16,
        /// Device id.
        device: u16,
    },
    /// Overwrites the place of a window in the kernel's memory.
    SetWindow {
        /// First CPU address of the window.
        cpu: CpuAddr,
        /// First bus address it is to have.
        bus: BusAddr,
    },
}

/// What is freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freed {
    /// An allocation.
    Id(u64),
    /// Whatever lies there.
    Address(CpuAddr),
}

/// A tree of physical addresses and the rules of searching it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegionSetup {
    /// Last address of the tree.
    pub end: CpuAddr,
    /// Where the part begins that is searched; 0 for all of it.
    pub start: CpuAddr,
    /// Limit and section.
    pub space: RegionSpace,
    /// Distance of candidates.
    pub step: FreeRegionStep,
    /// Entries there is memory for.
    pub descriptors: Option<u64>,
}

impl PeerCall {
    fn shown(&self, machine: &PeerSetup) -> String {
        let id = |function: &FunctionIndex| format!("\"{}\"", machine.booted.tree[*function].id);
        let all = |clients: &[FunctionIndex]| clients.iter().map(id).collect::<Vec<_>>().join(", ");
        let bar = |bar: &Option<usize>| bar.map_or(String::new(), |bar| format!(", bar: {bar}"));
        let bytes = |name: &str, size: &Bytes| match *size {
            Bytes::ZERO => String::new(),
            size => format!(", {name}: {}", quoted(size)),
        };
        match self {
            PeerCall::Register { function, bar: number, size, offset } => {
                let (size, offset) = (bytes("size", size), bytes("offset", offset));
                format!("Register(function: {}{}{size}{offset})", id(function), bar(number))
            }
            PeerCall::Publish { function, published } => {
                let no = if *published { "" } else { ", published: false" };
                format!("Publish(function: {}{no})", id(function))
            }
            PeerCall::Resolve { provider, client } => {
                format!("Resolve(provider: {}, client: {})", id(provider), id(client))
            }
            PeerCall::Distance { provider, clients } => {
                format!("Distance(provider: {}, clients: [{}])", id(provider), all(clients))
            }
            PeerCall::Find { clients } => format!("Find(clients: [{}])", all(clients)),
            PeerCall::Map { provider, client, bar: number, offset } => {
                let (bar, offset) = (bar(number), bytes("offset", offset));
                format!("Map(provider: {}, client: {}{bar}{offset})", id(provider), id(client))
            }
            PeerCall::SetAcs { function, control } => {
                format!("SetAcs(function: {}, control: {control:#x})", id(function))
            }
            PeerCall::SetIds { function, vendor, device } => {
                format!("SetIds(function: {}, vendor: {vendor:#x}, device: {device:#x})", id(function))
            }
            PeerCall::SetWindow { cpu, bus } => format!("SetWindow(cpu: {cpu}, bus: {bus})"),
        }
    }
}

/// As a file would say it. Functions of peer-to-peer calls have no names here: see [`Replay::shown`].
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |id: &Option<u64>| id.map_or(String::new(), |id| format!("id: {id}, "));
        match self {
            Call::Pool { order, algorithm } => match algorithm {
                Algorithm::FirstFit => write!(f, "Pool(granule: {})", quoted(Bytes(1 << order))),
                other => {
                    let granule = quoted(Bytes(1 << order));
                    write!(f, "Pool(granule: {granule}, algorithm: {})", shown(*other))
                }
            },
            Call::AddChunk { base, size } => write!(f, "AddChunk(base: {base}, size: {})", quoted(*size)),
            Call::Alloc { id: number, size, algorithm } => {
                let algorithm =
                    algorithm.map_or(String::new(), |other| format!(", algorithm: {}", shown(other)));
                write!(f, "Alloc({}size: {}{algorithm})", id(number), quoted(*size))
            }
            Call::Free { what, size } => {
                let size = size.map_or(String::new(), |size| format!(", size: {}", quoted(size)));
                match what {
                    Freed::Id(id) => write!(f, "Free(id: {id}{size})"),
                    Freed::Address(address) => write!(f, "Free(address: {address}{size})"),
                }
            }
            Call::Avail => f.write_str("Avail"),
            Call::Region(setup) => setup.fmt(f),
            Call::Busy { range, name } => {
                write!(f, "Busy(first: {}, last: {}, name: {name:?})", range.first(), range.last())
            }
            Call::Request { id: number, size, upwards: None } => {
                write!(f, "Request({}size: {})", id(number), quoted(*size))
            }
            Call::Request { id: number, size, upwards: Some(align) } => {
                let (size, align) = (quoted(*size), quoted(*align));
                write!(f, "Request({}size: {size}, direction: Up, align: {align})", id(number))
            }
            Call::Release { id } => write!(f, "Release(id: {id})"),
            Call::Machine(setup) => write!(f, "Machine({:?})", setup.name),
            Call::Peer(call) => write!(f, "{call:?}"),
        }
    }
}

impl fmt::Display for RegionSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region(limit: {}", self.space.limit)?;
        if self.end.raw() != u64::MAX {
            write!(f, ", end: {}", self.end)?;
        }
        if self.start.raw() != 0 {
            write!(f, ", start: {}", self.start)?;
        }
        if let Some(left) = self.descriptors {
            write!(f, ", descriptors: {left}")?;
        }
        write!(f, ", section: {})", quoted(self.space.section))
    }
}

/// A size as files write it.
fn quoted(size: Bytes) -> String {
    format!("\"{size}\"")
}

fn shown(algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::FirstFit => "FirstFit".to_owned(),
        Algorithm::BestFit => "BestFit".to_owned(),
        Algorithm::OrderAlign => "OrderAlign".to_owned(),
        Algorithm::FirstFitAlign { align } => format!("FirstFitAlign(align: {})", quoted(Bytes(align))),
        Algorithm::Fixed { offset } => format!("Fixed(offset: {})", quoted(Bytes(offset))),
    }
}
