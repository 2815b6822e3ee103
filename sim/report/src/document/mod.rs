//! The document `peerbus.run/1`: what other programs read.
//!
//! Keys carry their unit; a value that does not exist is `null`; digests are strings of 16 hexadecimal digits,
//! because many readers keep only 53 bits of a number. Names of flows, matrices, links, address spaces and places
//! of errors carry the variant in front (`redirect-on/peer`) and are unique within their list. Fields are
//! written in the order of these structs. Adding a field keeps the schema's number; renaming or removing one,
//! or changing a unit, does not.

mod measured;
mod peer_memory;
mod space;

use std::collections::BTreeMap;

use peerbus_scenario::{Cell, ScenarioResult};
use peerbus_system::outcome::{
    CounterOutcome, ErrorOutcome, FlowOutcome, LinkErrors, LinkOutcome, MatrixOutcome,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number;
pub use measured::MeasuredDocument;
use measured::measured_document;
pub use peer_memory::{PeerMemoryDocument, PoolDocument, PoolSeriesDocument, RefusalDocument};
use peer_memory::{memory_document, pool_documents};
use space::space_document;
pub use space::{
    NOT_IN_BASELINES, SpaceCauseDocument, SpaceDetailDocument, SpaceDocument, SpaceOwnerDocument,
    SpaceRefusalDocument, SpaceSeriesDocument,
};

/// Name and number of the schema.
pub const SCHEMA: &str = "peerbus.run/1";

/// Everything a scenario's run found out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "peerbus.run/1")]
pub struct RunDocument {
    /// `peerbus.run/1`.
    pub schema: String,
    /// Version of the tool that wrote it.
    pub tool_version: String,
    /// Path of the scenario file as given.
    pub scenario: String,
    /// What the scenario shows: its first comment lines.
    pub description: String,
    /// Path or synthetic form of the machine.
    pub machine: String,
    /// Kernel profiles of the variants, joined by " + " when they differ.
    pub profile: String,
    /// Seed of the random streams.
    pub seed: u64,
    /// The variants' digests in one: 16 hexadecimal digits.
    pub digest: String,
    /// Events handled in all variants together.
    pub events: u64,
    /// True when every run came to its end and every expectation held.
    pub passed: bool,
    /// One per variant, in the scenario's order; a scenario without variants has one whose name is empty.
    pub cells: Vec<CellDocument>,
    /// Flows of all variants.
    pub flows: Vec<FlowDocument>,
    /// Matrices of flows.
    pub matrices: Vec<MatrixDocument>,
    /// Directed links that carried anything.
    pub links: Vec<LinkDocument>,
    /// Workloads on peer memory.
    #[serde(default)]
    pub peer_memory: Vec<PeerMemoryDocument>,
    /// Their pools.
    #[serde(default)]
    pub pools: Vec<PoolDocument>,
    /// Everything that can run out. Baselines leave out windows of bridges, apertures, I/O virtual addresses and tags.
    pub spaces: Vec<SpaceDocument>,
    /// What went wrong, by place and reason.
    pub errors: Vec<ErrorDocument>,
    /// What functions, IOMMUs and caches counted. Absent from baselines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<CounterDocument>,
    /// The scenario's conditions.
    pub expectations: Vec<ExpectationDocument>,
    /// Measured values beside what was simulated.
    #[serde(default)]
    pub measured: Vec<MeasuredDocument>,
}

/// One variant's run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CellDocument {
    /// Name of the variant; empty in a scenario without variants.
    pub variant: String,
    /// Name of the machine.
    pub machine: String,
    /// Kernel profile.
    pub profile: String,
    /// Seed of the random streams.
    pub seed: u64,
    /// What crossed the wires: 16 hexadecimal digits.
    pub digest: String,
    /// Simulated time at the end.
    pub end_ps: u64,
    /// Events handled.
    pub events: u64,
    /// TLPs sent, counted once per link crossed.
    pub tlp_hops: u64,
    /// Length of an interval of the links' `busy_per_interval_ps`.
    pub interval_ps: u64,
    /// Facts the machine file does not know and results depend on.
    pub assumed: Vec<String>,
}

/// One flow.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FlowDocument {
    /// Unique name, with the variant in front.
    pub name: String,
    /// Name of the variant.
    pub variant: String,
    /// Where the data came from.
    pub from: String,
    /// Where it went.
    pub to: String,
    /// Bytes asked for.
    pub bytes: u64,
    /// Bytes that arrived.
    pub delivered_bytes: u64,
    /// Bytes refused by the operating system or on the way.
    pub refused_bytes: u64,
    /// When its first descriptor was given.
    pub start_ps: u64,
    /// When its last byte arrived or was refused.
    pub end_ps: u64,
    /// Delivered bytes per time in 10⁹ bytes per second, rounded down to six decimals; `null` when nothing
    /// was delivered.
    pub throughput_gbytes_per_s: Option<f64>,
    /// Latency of a request or a transfer.
    pub latency_ns: LatencyDocument,
    /// Latencies by quarters of octaves: from, to (exclusive), how many. Absent from baselines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_histogram_ps: Option<Vec<(u64, u64, u64)>>,
    /// Time of its packets by cause; packets under way together count together. Absent from baselines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ps: Option<BTreeMap<String, u64>>,
    /// Resources that held it back, joined by " + "; `null` when nothing moved.
    pub limited_by: Option<String>,
    /// The same resources one by one.
    pub limited_by_all: Vec<String>,
    /// Nodes from source to destination.
    pub path: Vec<String>,
    /// `BUS_ADDR`, `THRU_HOST_BRIDGE` or `NOT_SUPPORTED`; `null` for traffic with host memory.
    pub map_type: Option<String>,
    /// The kernel's distance between the two functions.
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

/// Percentiles of a latency; `null` when nothing was delivered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LatencyDocument {
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// What was timed: `request` or `transfer`.
    pub of: String,
}

/// A matrix of flows: rows send, columns receive.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MatrixDocument {
    /// Name of the workload, with the variant in front.
    pub name: String,
    /// Name of the variant.
    pub variant: String,
    /// What the cells are, with direction and concurrency.
    pub title: String,
    /// Names of rows and columns.
    pub devices: Vec<String>,
    /// Row by row; `null` where there is no flow or it delivered nothing.
    pub cells_gbytes_per_s: Vec<Vec<Option<f64>>>,
}

/// A directed link.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LinkDocument {
    /// Name with direction, with the variant in front.
    pub name: String,
    /// Name of the variant.
    pub variant: String,
    /// Node it leaves.
    pub from: String,
    /// Node it enters.
    pub to: String,
    /// PCIe generation; `null` inside or between CPUs.
    pub pcie_generation: Option<u8>,
    /// PCIe lanes; `null` inside or between CPUs.
    pub pcie_lanes: Option<u8>,
    /// Share of the run it was sending, 0 to 1.
    pub utilisation: f64,
    /// Time it was sending.
    pub busy_ps: u64,
    /// TLPs sent.
    pub tlps: u64,
    /// Bytes of TLPs with headers and framing.
    pub wire_bytes: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Bytes of DLLPs.
    pub dllp_bytes: u64,
    /// Time TLPs waited for credits, all classes together.
    pub starved_ps: u64,
    /// What crossed it: 16 hexadecimal digits.
    pub digest: String,
    /// What went wrong on it. Absent when nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<LinkErrors>,
    /// Time it was sending, per interval of the variant's `interval_ps`. Absent from baselines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_per_interval_ps: Option<Vec<u64>>,
    /// Packets that waited in front of it at the end of each interval; of intervals that were merged, the most. Absent
    /// from baselines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_per_interval: Option<Vec<u32>>,
}

/// Something that went wrong.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDocument {
    /// `UNSUPPORTED_REQUEST`, `IOMMU_FAULT`, `APERTURE_FAULT`, `MALFORMED_TLP`, `MISDIRECTED`, `P2P_REFUSED`, `MAPPING_REFUSED`, `PEER_MEMORY_REFUSED`,
    /// `REGISTRATION_REFUSED`, `UNPLACED_BAR`, `NO_PROGRESS`, `EXPORT_REFUSED`, `ATTACH_REFUSED`, `MOVE_REFUSED`, `ACCESS_FAILED`.
    pub kind: String,
    /// Name of the variant.
    pub variant: String,
    /// Node, flow or function, with the variant in front.
    pub place: String,
    /// What happened, in words.
    pub text: String,
    /// How often.
    pub count: u64,
    /// Bytes concerned.
    pub bytes: u64,
    /// Address of the first.
    pub addr: Option<u64>,
    /// Flow of the first, with the variant in front.
    pub flow: Option<String>,
    /// When it first happened.
    pub time_ps: Option<u64>,
}

/// A counter of hardware.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CounterDocument {
    /// Place and counter, with the variant in front: `translate/host0.iommu.hits`.
    pub name: String,
    /// Name of the variant.
    pub variant: String,
    /// Function, host bridge or CPU that counts.
    pub place: String,
    /// What it counts: severity and kind of an error, or what an IOMMU or a cache did.
    pub counter: String,
    /// What it stood at in the end.
    pub count: u64,
}

/// A condition and whether it held.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExpectationDocument {
    /// As written in the scenario.
    pub text: String,
    /// Whether it held.
    pub holds: bool,
    /// The values compared, in words.
    pub detail: String,
}

impl RunDocument {
    /// The document of a result, with all series.
    pub fn new(result: &ScenarioResult) -> RunDocument {
        let cells = &result.cells;
        RunDocument {
            schema: SCHEMA.to_owned(),
            tool_version: crate::TOOL_VERSION.to_owned(),
            scenario: result.scenario.clone(),
            description: result.description.clone(),
            machine: result.machine.clone(),
            profile: crate::summary::profiles(result),
            seed: result.seed,
            digest: number::digest_text(result.digest()),
            events: cells.iter().fold(0, |sum, cell| sum.saturating_add(cell.outcome.events)),
            passed: result.passed(),
            cells: cells.iter().map(cell_document).collect(),
            flows: collect(cells, |cell| each(cell, &cell.outcome.flows, flow_document)),
            matrices: collect(cells, |cell| each(cell, &cell.outcome.matrices, matrix_document)),
            links: collect(cells, |cell| each(cell, &cell.outcome.links, link_document)),
            peer_memory: collect(cells, |cell| each(cell, &cell.outcome.peer_memory, memory_document)),
            pools: collect(cells, |cell| {
                let memories = cell.outcome.peer_memory.iter();
                memories.flat_map(|memory| pool_documents(cell, memory)).collect()
            }),
            spaces: collect(cells, |cell| each(cell, &cell.outcome.spaces, space_document)),
            errors: collect(cells, |cell| each(cell, &cell.outcome.errors, error_document)),
            counters: collect(cells, |cell| each(cell, &cell.outcome.counters, counter_document)),
            expectations: result
                .expectations
                .iter()
                .map(|it| ExpectationDocument {
                    text: it.text.clone(),
                    holds: it.holds,
                    detail: it.detail.clone(),
                })
                .collect(),
            measured: result.measured.iter().map(measured_document).collect(),
        }
    }

    /// The same without what a baseline leaves out: the links' series, which their digests already pin, those of
    /// pools, whose sums over time remain, details of spaces and those that follow from others, where the flows' time went, and counters, which follow from what the digest pins.
    pub fn without_series(mut self) -> RunDocument {
        for pool in &mut self.pools {
            pool.series = None;
        }
        self.spaces.retain(|space| !space.is_left_out());
        self.spaces.iter_mut().for_each(|space| space.detail = None);
        self.counters.clear();
        for link in &mut self.links {
            link.busy_per_interval_ps = None;
            link.queued_per_interval = None;
        }
        for flow in &mut self.flows {
            flow.latency_histogram_ps = None;
            flow.time_ps = None;
        }
        self
    }
}

/// The JSON Schema of the document.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(RunDocument).to_value()
}

fn collect<T>(cells: &[Cell], part: impl Fn(&Cell) -> Vec<T>) -> Vec<T> {
    cells.iter().flat_map(part).collect()
}

fn each<T, D>(cell: &Cell, items: &[T], document: impl Fn(&Cell, &T) -> D) -> Vec<D> {
    items.iter().map(|item| document(cell, item)).collect()
}

fn cell_document(cell: &Cell) -> CellDocument {
    let outcome = &cell.outcome;
    CellDocument {
        variant: cell.variant.clone(),
        machine: outcome.machine.clone(),
        profile: outcome.profile.clone(),
        seed: outcome.seed,
        digest: number::digest_text(outcome.digest),
        end_ps: outcome.end.0,
        events: outcome.events,
        tlp_hops: outcome.tlp_hops,
        interval_ps: outcome.interval.0,
        assumed: outcome.assumed.clone(),
    }
}

fn gbytes(flow: &FlowOutcome) -> Option<f64> {
    number::throughput_millionths(flow).map(|value| number::from_millionths(value.into()))
}

fn flow_document(cell: &Cell, flow: &FlowOutcome) -> FlowDocument {
    let moved = flow.delivered.0 > 0;
    FlowDocument {
        name: cell.qualified(&flow.name),
        variant: cell.variant.clone(),
        from: flow.from.clone(),
        to: flow.to.clone(),
        bytes: flow.bytes.0,
        delivered_bytes: flow.delivered.0,
        refused_bytes: flow.refused.0,
        start_ps: flow.start.0,
        end_ps: flow.end.0,
        throughput_gbytes_per_s: gbytes(flow),
        latency_ns: LatencyDocument {
            p50: moved.then(|| number::nanoseconds(flow.latency_p50)),
            p99: moved.then(|| number::nanoseconds(flow.latency_p99)),
            of: if flow.latency_of_transfers { "transfer" } else { "request" }.to_owned(),
        },
        latency_histogram_ps: Some(
            flow.latencies.iter().map(|bucket| (bucket.from.0, bucket.to.0, bucket.count)).collect(),
        ),
        time_ps: Some(flow.time.iter().map(|(cause, time)| (cause.replace(' ', "_"), time.0)).collect()),
        limited_by: (!flow.limited_by.is_empty()).then(|| flow.limited_by.join(" + ")),
        limited_by_all: flow.limited_by.clone(),
        path: flow.path.clone(),
        map_type: flow.map_type.clone(),
        distance: flow.distance,
        dma_addr: flow.dma_addr,
        dma_kind: flow.dma_kind.clone(),
        staged: flow.staged,
        refusal: flow.refusal.clone(),
        assumed: flow.assumed.clone(),
    }
}

fn matrix_document(cell: &Cell, matrix: &MatrixOutcome) -> MatrixDocument {
    let value = |index: &Option<usize>| index.and_then(|at| cell.outcome.flows.get(at)).and_then(gbytes);
    MatrixDocument {
        name: cell.qualified(&matrix.name),
        variant: cell.variant.clone(),
        title: matrix.title.clone(),
        devices: matrix.devices.clone(),
        cells_gbytes_per_s: matrix.cells.iter().map(|row| row.iter().map(value).collect()).collect(),
    }
}

fn link_document(cell: &Cell, link: &LinkOutcome) -> LinkDocument {
    let utilisation = number::utilisation_millionths(link, cell.outcome.end);
    LinkDocument {
        name: cell.qualified(&link.name),
        variant: cell.variant.clone(),
        from: link.from.clone(),
        to: link.to.clone(),
        pcie_generation: link.pcie.map(|(generation, _)| generation),
        pcie_lanes: link.pcie.map(|(_, lanes)| lanes),
        utilisation: number::from_millionths(utilisation.into()),
        busy_ps: link.busy_time.0,
        tlps: link.tlps,
        wire_bytes: link.wire_bytes.0,
        payload_bytes: link.payload_bytes.0,
        dllp_bytes: link.dllp_bytes.0,
        starved_ps: link.starved.0,
        digest: number::digest_text(link.digest),
        errors: link.errors,
        busy_per_interval_ps: Some(link.busy.iter().map(|time| time.0).collect()),
        queued_per_interval: Some(link.queued.clone()),
    }
}

fn error_document(cell: &Cell, error: &ErrorOutcome) -> ErrorDocument {
    ErrorDocument {
        kind: error.kind.clone(),
        variant: cell.variant.clone(),
        place: cell.qualified(&error.place),
        text: error.text.clone(),
        count: error.count,
        bytes: error.bytes.0,
        addr: error.addr,
        flow: error.flow.as_deref().map(|flow| cell.qualified(flow)),
        time_ps: error.time.map(|time| time.0),
    }
}

fn counter_document(cell: &Cell, counter: &CounterOutcome) -> CounterDocument {
    let CounterOutcome { place, counter, count } = counter;
    CounterDocument {
        name: cell.qualified(&format!("{place}.{counter}")),
        variant: cell.variant.clone(),
        place: place.clone(),
        counter: (*counter).to_owned(),
        count: *count,
    }
}
