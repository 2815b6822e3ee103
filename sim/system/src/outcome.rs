//! [`Outcome`]: typed results of a run. Rendering reads it and adds nothing.

use peerbus_units::{Bytes, Picos};

/// Everything a run found out.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// Name of the machine.
    pub machine: String,
    /// Kernel profile, as `Linux_7_3`.
    pub profile: String,
    /// Seed of the random streams.
    pub seed: u64,
    /// What crossed the wires, in one number.
    pub digest: u64,
    /// Simulated time at the end.
    pub end: Picos,
    /// Events handled and TLPs sent over links: the size of the run.
    pub events: u64,
    /// TLPs sent, counted once per link crossed.
    pub tlp_hops: u64,
    /// Flows, in the order of the scenario.
    pub flows: Vec<FlowOutcome>,
    /// Matrices of flows.
    pub matrices: Vec<MatrixOutcome>,
    /// Directed links that carried anything, in the machine's order.
    pub links: Vec<LinkOutcome>,
    /// Length of an interval of [`LinkOutcome::busy`].
    pub interval: Picos,
    /// Address spaces.
    pub spaces: Vec<SpaceOutcome>,
    /// What went wrong, by place and reason.
    pub errors: Vec<ErrorOutcome>,
    /// Facts the machine file does not know and results depend on, as `gpu0: bars, timing`.
    pub assumed: Vec<String>,
}

/// A flow's results.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowOutcome {
    /// Unique name.
    pub name: String,
    /// Where the data came from: a device or `cpu0 memory`.
    pub from: String,
    /// Where it went.
    pub to: String,
    /// What was asked for.
    pub bytes: Bytes,
    /// What arrived.
    pub delivered: Bytes,
    /// What was refused, by the operating system or on the way.
    pub refused: Bytes,
    /// When its first descriptor was given.
    pub start: Picos,
    /// When its last byte arrived or was refused.
    pub end: Picos,
    /// Latency of a request (of a transfer for host DMA): median.
    pub latency_p50: Picos,
    /// 99th percentile.
    pub latency_p99: Picos,
    /// True when the latency is that of whole transfers, not of single requests.
    pub latency_of_transfers: bool,
    /// Resources that held it back; several when they tie. Empty when nothing moved.
    pub limited_by: Vec<String>,
    /// Nodes from source to destination.
    pub path: Vec<String>,
    /// `BUS_ADDR`, `THRU_HOST_BRIDGE`, `NOT_SUPPORTED`; `None` for traffic with host memory.
    pub map_type: Option<String>,
    /// Kernel's distance between the two functions.
    pub distance: Option<u32>,
    /// First DMA address.
    pub dma_addr: Option<u64>,
    /// `BUS`, `CPU` or `IOVA`.
    pub dma_kind: Option<String>,
    /// It went through a buffer in host memory.
    pub staged: bool,
    /// Why the operating system refused peer-to-peer.
    pub refusal: Option<String>,
    /// Facts it depends on that the machine file does not know.
    pub assumed: Vec<String>,
}

impl FlowOutcome {
    /// Time it took.
    pub fn duration(&self) -> Picos {
        self.end.saturating_sub(self.start)
    }

    /// Delivered bytes per second, rounded down; `None` when nothing was delivered.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let duration = u128::from(self.duration().0);
        let scaled = u128::from(self.delivered.0) * 1_000_000_000_000;
        (duration > 0 && self.delivered.0 > 0).then(|| u64::try_from(scaled / duration).unwrap_or(u64::MAX))
    }
}

/// A matrix of flows: rows send, columns receive.
#[derive(Clone, PartialEq, Debug)]
pub struct MatrixOutcome {
    /// Name of the workload.
    pub name: String,
    /// What the cells are, with direction and concurrency.
    pub title: String,
    /// Device names.
    pub devices: Vec<String>,
    /// Per row, per column: index of the flow in [`Outcome::flows`].
    pub cells: Vec<Vec<Option<usize>>>,
}

/// A directed link's results.
#[derive(Clone, PartialEq, Debug)]
pub struct LinkOutcome {
    /// Name with direction.
    pub name: String,
    /// Node it leaves.
    pub from: String,
    /// Node it enters.
    pub to: String,
    /// PCIe generation and lanes; `None` inside or between CPUs.
    pub pcie: Option<(u8, u8)>,
    /// Time it was sending.
    pub busy_time: Picos,
    /// TLPs.
    pub tlps: u64,
    /// Bytes of TLPs with headers and framing.
    pub wire_bytes: Bytes,
    /// Bytes of payload.
    pub payload_bytes: Bytes,
    /// Bytes of DLLPs.
    pub dllp_bytes: Bytes,
    /// Time TLPs waited for credits, all classes together.
    pub starved: Picos,
    /// What crossed it, in one number.
    pub digest: u64,
    /// Time it was sending, per interval.
    pub busy: Vec<Picos>,
}

/// An address space or window.
#[derive(Clone, PartialEq, Debug)]
pub struct SpaceOutcome {
    /// Name, such as `host0 Mem64Prefetch [0x…-0x…]`.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// What is taken.
    pub used: Bytes,
    /// Largest piece that is free.
    pub largest_hole: Bytes,
}

/// Every [`ErrorOutcome::kind`] that runs report. Expectations on another kind are refused when they are read, since
/// their counts could only ever be zero.
pub const ERROR_KINDS: [&str; 5] =
    ["IOMMU_FAULT", "MAPPING_REFUSED", "P2P_REFUSED", "UNPLACED_BAR", "UNSUPPORTED_REQUEST"];

/// Something that went wrong.
#[derive(Clone, PartialEq, Debug)]
pub struct ErrorOutcome {
    /// One of [`ERROR_KINDS`].
    pub kind: String,
    /// Node, flow or function.
    pub place: String,
    /// What happened, in words, with the window that was missed.
    pub text: String,
    /// How often.
    pub count: u64,
    /// Bytes concerned.
    pub bytes: Bytes,
    /// Address of the first.
    pub addr: Option<u64>,
    /// Flow of the first.
    pub flow: Option<String>,
    /// When it first happened.
    pub time: Option<Picos>,
}
