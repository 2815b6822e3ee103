//! [`Outcome`]: typed results of a run. Rendering reads it and adds nothing.

use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::space::Space;

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
    /// Workloads on peer memory, in the order of the scenario.
    pub peer_memory: Vec<PeerMemoryOutcome>,
    /// Everything that can run out.
    pub spaces: Vec<Space>,
    /// What went wrong, by place and reason.
    pub errors: Vec<ErrorOutcome>,
    /// What functions, IOMMUs and caches counted, by place.
    pub counters: Vec<CounterOutcome>,
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
    /// Latency of a request (of a transfer for host DMA): mean, rounded down.
    pub latency_mean: Picos,
    /// Median.
    pub latency_p50: Picos,
    /// 99th percentile.
    pub latency_p99: Picos,
    /// True when the latency is that of whole transfers, not of single requests.
    pub latency_of_transfers: bool,
    /// Latencies by quarters of octaves, shortest first; those without any are left out.
    pub latencies: Vec<LatencyBucket>,
    /// Time of its packets by cause, in the order of a packet's life; causes that took none are left out. Packets that
    /// are under way together count together, so the sum is longer than the flow where it has many under way.
    pub time: Vec<(&'static str, Picos)>,
    /// Resources that held it back; several when they tie. Empty when nothing moved.
    pub limited_by: Vec<String>,
    /// Nodes from source to destination.
    pub path: Vec<String>,
    /// `BUS_ADDR`, `THRU_HOST_BRIDGE`, `NOT_SUPPORTED`; `SHARED` for an activity on memory of a process, whose pages are wherever they
    /// are; `None` for traffic with host memory.
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

/// Every cause that [`FlowOutcome::time`] may name, in the order of a packet's life.
pub fn causes() -> Vec<&'static str> {
    peerbus_fabric::Cause::ALL.into_iter().map(peerbus_fabric::Cause::name).collect()
}

/// How often latencies from one time to another occurred.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LatencyBucket {
    /// Shortest.
    pub from: Picos,
    /// First that is longer than these.
    pub to: Picos,
    /// How many.
    pub count: u64,
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
    /// What went wrong on it; `None` when nothing did.
    pub errors: Option<LinkErrors>,
    /// Time it was sending, per interval.
    pub busy: Vec<Picos>,
    /// Packets that waited in front of it at the end of each interval; of intervals that were merged, the most.
    pub queued: Vec<u32>,
}

/// What went wrong on a directed link, as the error registers of its receiver count it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LinkErrors {
    /// TLPs that arrived wrong (Bad TLP).
    pub bad_tlps: u64,
    /// DLLPs that arrived wrong (Bad DLLP).
    pub bad_dllps: u64,
    /// Wrong bytes that the code of a flit mended.
    pub corrected: u64,
    /// Flits that it could not mend.
    pub bad_flits: u64,
    /// Replays.
    pub replays: u64,
    /// Times that the count of replays rolled over.
    pub rollovers: u64,
    /// Times that the link trained.
    pub retrains: u64,
    /// Times that it went down.
    pub downs: u64,
    /// Packets lost on it and in front of it.
    pub lost: u64,
    /// Time it sent again or trained.
    #[serde(rename = "held_up_ps", with = "picos")]
    #[schemars(with = "u64")]
    pub held_up: Picos,
    /// Header and data credits that its sender lost.
    pub leaked_credits: u64,
}

/// Times as numbers of picoseconds.
mod picos {
    use peerbus_units::Picos;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(time: &Picos, serializer: S) -> Result<S::Ok, S::Error> {
        time.0.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Picos, D::Error> {
        u64::deserialize(deserializer).map(Picos)
    }
}

/// A counter of hardware.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CounterOutcome {
    /// Function, host bridge or CPU that counts.
    pub place: String,
    /// One of [`COUNTERS`].
    pub counter: &'static str,
    /// What it stood at in the end.
    pub count: u64,
}

/// Every [`CounterOutcome::counter`]: errors by severity and kind, as Advanced Error Reporting has them, which are given
/// only where they are not 0, and what IOMMUs and caches did, given for each of them that was used.
pub const COUNTERS: [&str; 78] = [
    "correctable.bad_dllp",
    "correctable.bad_tlp",
    "correctable.completer_abort",
    "correctable.replay_rollover",
    "correctable.unexpected_completion",
    "correctable.unsupported_request",
    "nonfatal.acs_violation",
    "nonfatal.completer_abort",
    "nonfatal.completion_timeout",
    "nonfatal.poisoned_tlp",
    "nonfatal.unsupported_request",
    "fatal.malformed_tlp",
    "fatal.surprise_down",
    "iommu.hits",
    "iommu.misses",
    "iommu.walk_accesses",
    "iommu.invalidations",
    "iommu.page_requests",
    "atc.hits",
    "atc.requests",
    "atc.denied",
    "atc.invalidations",
    "atc.page_requests",
    "cache.read_hits",
    "cache.read_misses",
    "cache.writes",
    "cache.written_back",
    "hmm.device_faults",
    "hmm.cpu_faults",
    "hmm.faults_batched",
    "hmm.faults_together",
    "hmm.faults_kept",
    "hmm.prefetches",
    "hmm.pages_arrived",
    "hmm.pages_back",
    "hmm.pages_evicted",
    "hmm.pages_fetched",
    "hmm.pages_pinned",
    "hmm.refused_held",
    "hmm.refused_locked",
    "hmm.refused_other",
    "hmm.blocks_stayed",
    "hmm.retries",
    "hmm.touches_local",
    "hmm.touches_ram",
    "hmm.touches_peer",
    "hmm.wrong_reads",
    "hmm.ns_interrupt",
    "hmm.ns_collect",
    "hmm.ns_unmap",
    "hmm.ns_shootdown",
    "hmm.ns_allocate",
    "hmm.ns_copy",
    "hmm.ns_transfer",
    "hmm.ns_finish",
    "hmm.ns_walk",
    "hmm.ns_bind",
    "hmm.ns_queue",
    "hmm.ns_wait",
    "hmm.ns_time_slice",
    "hmm.ns_replay",
    "hmm.page_struct_bytes",
    "buffer.mappings",
    "buffer.invalidations",
    "buffer.faults",
    "buffer.bytes_device",
    "buffer.bytes_ram",
    "buffer.failed_accesses",
    "buffer.attach_refused",
    "buffer.wrong_reads",
    "buffer.chunks_lost",
    "buffer.ns_fault",
    "buffer.ns_wait",
    "buffer.moves",
    "buffer.moves_refused",
    "buffer.revocations",
    "buffer.ns_stop",
    "buffer.ns_move",
];

/// Every [`ErrorOutcome::kind`] that runs report. Expectations on another kind are refused when they are read, since
/// their counts could only ever be zero.
pub const ERROR_KINDS: [&str; 22] = [
    "ACCESS_FAILED",
    "ACS_VIOLATION",
    "APERTURE_FAULT",
    "ATTACH_REFUSED",
    "COMPLETION_TIMEOUT",
    "DEVICE_MEMORY_REFUSED",
    "EXPORT_REFUSED",
    "IOMMU_FAULT",
    "LINK_DOWN",
    "MALFORMED_TLP",
    "MAPPING_REFUSED",
    "MISDIRECTED",
    "MOVE_REFUSED",
    "NO_PROGRESS",
    "P2P_REFUSED",
    "PEER_MEMORY_REFUSED",
    "POISONED_TLP",
    "REGISTRATION_REFUSED",
    "SURPRISE_DOWN",
    "UNEXPECTED_COMPLETION",
    "UNPLACED_BAR",
    "UNSUPPORTED_REQUEST",
];

/// Every [`RefusalOutcome::cause`].
pub const REFUSAL_CAUSES: [&str; 7] =
    ["NOT_ENABLED", "NO_PROVIDER", "NOT_SUPPORTED", "LARGER_THAN_CHUNK", "EXHAUSTED", "FRAGMENTED", "FAILED"];

/// What became of a workload on peer memory.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerMemoryOutcome {
    /// Name of the workload.
    pub name: String,
    /// How memory was chosen and used, in a line.
    pub title: String,
    /// Requests made, by all clients.
    pub requests: u64,
    /// Bytes they asked for.
    pub bytes: Bytes,
    /// Requests that got peer memory.
    pub granted: u64,
    /// Bytes of those.
    pub granted_bytes: Bytes,
    /// Requests that went through host memory instead.
    pub staged: u64,
    /// Bytes of those.
    pub staged_bytes: Bytes,
    /// Requests that got no peer memory, staged ones included, by cause.
    pub refused: Vec<RefusalOutcome>,
    /// Bytes that clients moved, to and from peer memory and host memory.
    pub moved: Bytes,
    /// When the first transfer of a client began.
    pub start: Picos,
    /// When the last byte of a client arrived.
    pub end: Picos,
    /// How long requests waited because their client held as many allocations as it may: median.
    pub wait_p50: Picos,
    /// 99th percentile.
    pub wait_p99: Picos,
    /// Pools of its providers, in the order of the workload.
    pub pools: Vec<PoolOutcome>,
}

impl PeerMemoryOutcome {
    /// Requests that got no peer memory.
    pub fn refusals(&self) -> u64 {
        self.refused.iter().fold(0, |sum, refused| sum.saturating_add(refused.count))
    }

    /// Bytes that clients moved per second, rounded down; `None` when they moved nothing.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let duration = u128::from(self.end.saturating_sub(self.start).0);
        let scaled = u128::from(self.moved.0) * 1_000_000_000_000;
        (duration > 0 && self.moved.0 > 0).then(|| u64::try_from(scaled / duration).unwrap_or(u64::MAX))
    }
}

/// Requests that got no peer memory for one cause.
#[derive(Clone, PartialEq, Debug)]
pub struct RefusalOutcome {
    /// One of [`REFUSAL_CAUSES`].
    pub cause: String,
    /// How many.
    pub count: u64,
    /// Bytes they asked for.
    pub bytes: Bytes,
    /// When the first was.
    pub first: Picos,
    /// Client of the first.
    pub client: String,
    /// The first in words, with its numbers.
    pub text: String,
}

/// The peer memory of one device.
#[derive(Clone, PartialEq, Debug)]
pub struct PoolOutcome {
    /// The device.
    pub provider: String,
    /// What it registered: BARs with their ranges, oldest first.
    pub registered: Vec<String>,
    /// Bytes registered.
    pub size: Bytes,
    /// Whether clients can find it.
    pub published: bool,
    /// Allocations of this workload.
    pub granted: u64,
    /// Bytes of those.
    pub granted_bytes: Bytes,
    /// Requests of this workload that asked it in vain.
    pub refused: u64,
    /// Most bytes that were in use at a time, by all workloads, in whole pages.
    pub peak: Bytes,
    /// Smallest that its largest free piece ever was.
    pub least_hole: Bytes,
    /// Bytes free at the end.
    pub available: Bytes,
    /// Largest free piece at the end.
    pub largest_hole: Bytes,
    /// 1 − largest free piece / free bytes, both averaged over time, in millionths. A pool of several registrations is
    /// never in one piece.
    pub fragmentation_ppm: u32,
    /// Time between two samples.
    pub interval: Picos,
    /// Its state at regular times, from time 0 on.
    pub samples: Vec<PoolSample>,
}

/// State of a pool at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolSample {
    /// Bytes free.
    pub available: Bytes,
    /// Largest free piece.
    pub largest_hole: Bytes,
    /// Allocations in use; pages where processes hold them.
    pub allocations: u64,
}

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
