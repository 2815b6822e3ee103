//! Workloads on peer memory and their pools, as documents hold them.

use std::collections::BTreeMap;

use peerbus_scenario::Cell;
use peerbus_system::outcome::{PeerMemoryOutcome, PoolOutcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number;

/// What became of a workload on peer memory.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PeerMemoryDocument {
    /// Name of the workload, with the variant in front.
    pub name: String,
    /// Name of the variant.
    pub variant: String,
    /// How memory was chosen and used.
    pub title: String,
    /// Requests made.
    pub requests: u64,
    /// Bytes they asked for.
    pub bytes: u64,
    /// Requests that got peer memory.
    pub granted: u64,
    /// Bytes of those.
    pub granted_bytes: u64,
    /// Requests that went through host memory instead.
    pub staged: u64,
    /// Bytes of those.
    pub staged_bytes: u64,
    /// Requests that got no peer memory, staged ones included, by cause.
    pub refused: BTreeMap<String, RefusalDocument>,
    /// Bytes that clients moved.
    pub moved_bytes: u64,
    /// When the first transfer of a client began.
    pub start_ps: u64,
    /// When the last byte of a client arrived.
    pub end_ps: u64,
    /// Bytes that clients moved per time in 10⁹ bytes per second, rounded down to six decimals; `null` when they moved
    /// nothing.
    pub throughput_gbytes_per_s: Option<f64>,
    /// Median time that requests waited because their client held as many allocations as it may.
    pub wait_p50_ps: u64,
    /// 99th percentile of that.
    pub wait_p99_ps: u64,
}

/// Requests that got no peer memory for one cause.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RefusalDocument {
    /// How many.
    pub count: u64,
    /// Bytes they asked for.
    pub bytes: u64,
    /// When the first was.
    pub first_ps: u64,
    /// Client of the first.
    pub client: String,
    /// The first in words.
    pub text: String,
}

/// The peer memory of a device.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PoolDocument {
    /// `WORKLOAD.PROVIDER`, with the variant in front.
    pub name: String,
    /// Name of the variant.
    pub variant: String,
    /// BARs with the ranges registered, oldest first.
    pub registered: Vec<String>,
    /// Bytes registered.
    pub size_bytes: u64,
    /// Whether clients can find it.
    pub published: bool,
    /// Allocations of the workload.
    pub granted: u64,
    /// Bytes of those.
    pub granted_bytes: u64,
    /// Requests of the workload that asked it in vain.
    pub refused: u64,
    /// Most bytes in use at a time, by all workloads.
    pub peak_bytes: u64,
    /// Smallest that its largest free piece ever was.
    pub least_hole_bytes: u64,
    /// Bytes free at the end.
    pub available_bytes: u64,
    /// Largest free piece at the end.
    pub largest_hole_bytes: u64,
    /// 1 − largest free piece / free bytes, both averaged over time: 0 to 1.
    pub fragmentation: f64,
    /// Its state at regular times. Absent from baselines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<PoolSeriesDocument>,
}

/// State of a pool at regular times, the first at time 0.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PoolSeriesDocument {
    /// Time between two of them.
    pub interval_ps: u64,
    /// Bytes free.
    pub available_bytes: Vec<u64>,
    /// Largest free piece.
    pub largest_hole_bytes: Vec<u64>,
    /// Allocations in use; pages where processes hold them.
    pub allocations: Vec<u64>,
}

/// The document of a workload.
pub(super) fn memory_document(cell: &Cell, memory: &PeerMemoryOutcome) -> PeerMemoryDocument {
    let refused = memory.refused.iter().map(|refused| {
        let document = RefusalDocument {
            count: refused.count,
            bytes: refused.bytes.0,
            first_ps: refused.first.0,
            client: refused.client.clone(),
            text: refused.text.clone(),
        };
        (refused.cause.clone(), document)
    });
    let rate = memory.bytes_per_second().map(|rate| number::from_millionths((rate / 1_000).into()));
    PeerMemoryDocument {
        name: cell.qualified(&memory.name),
        variant: cell.variant.clone(),
        title: memory.title.clone(),
        requests: memory.requests,
        bytes: memory.bytes.0,
        granted: memory.granted,
        granted_bytes: memory.granted_bytes.0,
        staged: memory.staged,
        staged_bytes: memory.staged_bytes.0,
        refused: refused.collect(),
        moved_bytes: memory.moved.0,
        start_ps: memory.start.0,
        end_ps: memory.end.0,
        throughput_gbytes_per_s: rate,
        wait_p50_ps: memory.wait_p50.0,
        wait_p99_ps: memory.wait_p99.0,
    }
}

/// The documents of its pools.
pub(super) fn pool_documents(cell: &Cell, memory: &PeerMemoryOutcome) -> Vec<PoolDocument> {
    let document = |pool: &PoolOutcome| PoolDocument {
        name: cell.qualified(&format!("{}.{}", memory.name, pool.provider)),
        variant: cell.variant.clone(),
        registered: pool.registered.clone(),
        size_bytes: pool.size.0,
        published: pool.published,
        granted: pool.granted,
        granted_bytes: pool.granted_bytes.0,
        refused: pool.refused,
        peak_bytes: pool.peak.0,
        least_hole_bytes: pool.least_hole.0,
        available_bytes: pool.available.0,
        largest_hole_bytes: pool.largest_hole.0,
        fragmentation: number::from_millionths(pool.fragmentation_ppm.into()),
        series: Some(PoolSeriesDocument {
            interval_ps: pool.interval.0,
            available_bytes: pool.samples.iter().map(|sample| sample.available.0).collect(),
            largest_hole_bytes: pool.samples.iter().map(|sample| sample.largest_hole.0).collect(),
            allocations: pool.samples.iter().map(|sample| sample.allocations).collect(),
        }),
    };
    memory.pools.iter().map(document).collect()
}
