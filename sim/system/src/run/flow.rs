//! What a flow is: which engine moves which bytes, by which addresses.

use peerbus_fabric::{Direction, LinkId, Warmth};
use peerbus_units::{Bytes, CpuAddr, Picos, Range};

use crate::workload::Packets;

/// One leg: an engine and a region it goes through, again from the start when it reaches the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leg {
    /// Device whose engine works.
    pub device: usize,
    /// Which way the device moves data.
    pub direction: Direction,
    /// The private link it uses; `None` for PCIe.
    pub private: Option<LinkId>,
    /// First DMA address.
    pub base: u64,
    /// Bytes of the region.
    pub extent: u64,
    /// The engine, by index in [`super::schedule::Schedule::engines`]; `None`: the device's own writer or reader.
    pub engine: Option<usize>,
}

impl Leg {
    /// Address of byte `offset` of the flow, and how many bytes are left from there to the end of the region.
    pub fn place(&self, offset: u64) -> (u64, u64) {
        let inside = offset % self.extent;
        (self.base.wrapping_add(inside), self.extent - inside)
    }
}

/// What a flow does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Program {
    /// The operating system refused: nothing moves.
    Refused,
    /// One engine moves everything.
    Direct {
        /// The engine and the region.
        leg: Leg,
    },
    /// The source writes into a host buffer, the destination reads from it.
    Staged {
        /// Source to buffer.
        fill: Leg,
        /// Buffer to destination.
        drain: Leg,
    },
    /// Transfers of one size, a number of them under way.
    Transfers {
        /// One leg, or two that proceed in step: a read and a write.
        legs: Vec<Leg>,
        /// Bytes of a transfer.
        size: u64,
        /// Distance between the starts of transfers in the region.
        stride: u64,
        /// Transfers in all.
        count: u64,
        /// Transfers under way.
        outstanding: u64,
        /// Each starts at a random one of that many places, not in a place of its own.
        places: Option<u64>,
        /// The buffers: CPU whose memory they are in, and where.
        buffers: Vec<(usize, Range<CpuAddr>)>,
        /// What caches hold of them when the flow starts.
        cache: Warmth,
    },
    /// Transfers as clients of peer memory order them.
    Ordered,
    /// Commands, each of which takes several steps.
    Commands(Commands),
}

/// Commands of a drive or an adapter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commands {
    /// Steps of one command, in order; 1–16.
    pub steps: Vec<Step>,
    /// Commands in all.
    pub count: u64,
    /// Commands under way.
    pub depth: u64,
}

/// A step of a command: one descriptor of one engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// What it is counted for.
    pub part: Part,
    /// The engine, and the region for the first command under way.
    pub leg: Leg,
    /// Bytes from there to the region for the next command under way; 0 when they share one.
    pub stride: u64,
    /// Bytes to move.
    pub bytes: u64,
    /// Time that the device takes before it.
    pub wait: Picos,
    /// Least time between two such steps of the device.
    pub spacing: Picos,
    /// The next step begins when this one's requests have been sent; else when all is delivered.
    pub posted: bool,
}

/// What the bytes of a step are; each kind is a flow of the fabric, the data first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Part {
    /// The data.
    Data = 0,
    /// Commands, descriptors and lists that the device fetches.
    Fetch = 1,
    /// Completion entries and interrupts that the device writes.
    Report = 2,
    /// Doorbells and commands that a core stores.
    Core = 3,
}

impl Part {
    /// How many kinds there are.
    pub const COUNT: usize = 4;
}

/// A flow as planned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowPlan {
    /// Unique name.
    pub name: String,
    /// Where the data comes from, for people.
    pub from: String,
    /// Where it goes.
    pub to: String,
    /// Bytes to move.
    pub bytes: Bytes,
    /// Bytes per descriptor of a direct or staged flow.
    pub chunk: Bytes,
    /// What it does.
    pub program: Program,
    /// What the operating system said, for traffic between devices.
    pub peer: Option<Peer>,
    /// Why the operating system could not map memory for a device.
    pub unmappable: Option<String>,
    /// Earliest start.
    pub start: Picos,
    /// What the packets of its data say.
    pub packets: Packets,
}

/// Bytes a direct flow keeps under way where it can.
const UNDER_WAY: u64 = 1 << 20;

/// Descriptors that a direct flow with chunks of that size keeps under way: enough for a round trip, at least two so
/// that the engine never waits for software, at most 64 as in a small hardware queue.
pub fn descriptors_under_way(chunk: u64) -> u64 {
    UNDER_WAY.div_ceil(chunk.max(1)).clamp(2, 64)
}

impl FlowPlan {
    /// Transfers between `from` and `to` as somebody orders them while the run is under way.
    pub fn ordered(name: String, from: String, to: String) -> FlowPlan {
        FlowPlan {
            name,
            from,
            to,
            bytes: Bytes::ZERO,
            chunk: Bytes::ZERO,
            program: Program::Ordered,
            peer: None,
            unmappable: None,
            start: Picos::ZERO,
            packets: Packets::default(),
        }
    }

    /// Most descriptors it ever has under way.
    pub fn most_descriptors(&self) -> u64 {
        match &self.program {
            Program::Refused => 0,
            Program::Direct { .. } => descriptors_under_way(self.chunk.0),
            // A chunk of the buffer may be cut in two where the buffer starts again.
            Program::Staged { .. } => 4 * STAGING_CHUNKS,
            Program::Transfers { legs, outstanding, .. } => outstanding.saturating_mul(legs.len() as u64),
            // Counted for the workload: its allocations share them.
            Program::Ordered => 0,
            // A posted step may still be on its way when the next ones are.
            Program::Commands(commands) => {
                commands.depth.saturating_mul(u64::try_from(commands.steps.len()).unwrap_or(u64::MAX))
            }
        }
    }
}

/// Chunks of a staging buffer: one being filled, one being drained.
pub const STAGING_CHUNKS: u64 = 2;

/// Largest chunk of a staging buffer. What drivers use is not published: with two chunks of 64 KiB and [`STAGING_HANDOVER`] the
/// 114 staged copies one way of `p2p_pairs.tsv`, on three machines, come out with a median error of 3 %.
pub const STAGING_CHUNK: u64 = 64 << 10;

/// From a chunk being full, or empty again, until the other engine knows: it looks at a semaphore in host memory.
pub const STAGING_HANDOVER: Picos = Picos::nanos(200);

/// What the operating system said about a pair of devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// `BUS_ADDR`, …
    pub map_type: String,
    /// Kernel's distance.
    pub distance: u32,
    /// The DMA address of the first byte, and `BUS`, `CPU` or `IOVA`.
    pub dma: Option<(u64, String)>,
    /// Why not, when refused.
    pub refusal: Option<String>,
    /// Facts the answer depends on that the machine file does not know.
    pub assumed: Vec<String>,
}

impl Peer {
    /// A private interconnect: nothing was asked of the operating system.
    pub fn private() -> Peer {
        Peer {
            map_type: "PRIVATE_LINK".to_owned(),
            distance: 0,
            dma: None,
            refusal: None,
            assumed: Vec::new(),
        }
    }
}
