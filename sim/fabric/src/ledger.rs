//! [`Ledger`]: what happened. Counters only; nothing here decides anything.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use peerbus_machine::model::FunctionIndex;

use crate::aer::ErrorCounters;
use crate::cause::Cause;
use crate::fault::LinkFaults;
use crate::limits::{Resource, Series};
use crate::lost::Lost;
use crate::malformed::Malformed;
use crate::spec::EngineId;

/// Counters of a directed link.
#[derive(Clone, Debug, Default)]
pub struct LinkLedger {
    /// TLPs sent.
    pub tlps: u64,
    /// Bytes of TLPs with headers and framing.
    pub wire_bytes: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Bytes of ACK and flow-control DLLPs.
    pub dllp_bytes: u64,
    /// Time it was sending or held up by errors and training, in picoseconds.
    pub busy: u64,
    /// Part of `busy` in which the port's rate, not the link's, set the time.
    pub port_busy: u64,
    /// Posted requests that passed an older one of the same input.
    pub overtakes: u64,
    /// Time during which posted, non-posted, completion TLPs waited for credits.
    pub starved: [u64; 3],
    /// Fold over (time since the last TLP, flow, size, class) of everything that crossed it.
    pub digest: u64,
    pub(crate) last_start: u64,
}

/// Counters of an engine.
#[derive(Clone, Debug, Default)]
pub struct EngineLedger {
    /// Requests issued.
    pub requests: u64,
    /// Time its rate took for them, in picoseconds.
    pub busy: u64,
}

/// Counters of a memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    /// Bytes written and read.
    pub bytes: u64,
    /// Time its rate took for them, in picoseconds.
    pub busy: u64,
}

/// Counters of a cache in front of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheLedger {
    /// Lines that reads of devices found.
    pub read_hits: u64,
    /// Lines that they did not find.
    pub read_misses: u64,
    /// Lines that writes of devices left in the cache.
    pub writes: u64,
    /// Lines that memory had to take because of them.
    pub written_back: u64,
}

/// Counters of an IOMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IommuLedger {
    /// Requests whose page it remembered.
    pub hits: u64,
    /// Requests whose page it had to look up.
    pub misses: u64,
    /// Accesses to page tables for those.
    pub accesses: u64,
    /// Time its walkers took for those, all together, in picoseconds.
    pub busy: u64,
    /// Times that software had it forget everything.
    pub invalidations: u64,
    /// Page requests that it told software of.
    pub page_requests: u64,
}

/// Counters of a device's cache of translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AtcLedger {
    /// Pages that engines came to and it knew.
    pub hits: u64,
    /// Translation requests.
    pub requests: u64,
    /// Those that told of no translation.
    pub denied: u64,
    /// Pages that were not there and that it asked for.
    pub page_requests: u64,
    /// Times that software had it forget everything.
    pub invalidations: u64,
}

/// What the latencies of a flow are measured over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LatencyOf {
    /// Single requests: a write until it is delivered, a read until its last completion.
    Request,
    /// Whole descriptors: from submission to the last byte.
    Descriptor,
    /// What a store costs the core that does it: from its first write until its fence lets it go on. Its bytes may be
    /// on their way for longer.
    Fence,
    /// What the fabric's user records with [`FlowLedger::record_latency`].
    User,
}

/// Counters of a flow.
#[derive(Clone, Debug)]
pub struct FlowLedger {
    /// Bytes of all descriptors given.
    pub asked: u64,
    /// Bytes that arrived.
    pub delivered: u64,
    /// Bytes refused on the way.
    pub refused: u64,
    /// When the first descriptor was given.
    pub first: Option<u64>,
    /// When the last byte arrived or was refused.
    pub last: u64,
    /// Latencies in picoseconds.
    pub latency: Histogram<u32>,
    /// Their sum, in picoseconds.
    pub latency_sum: u128,
    /// What they are latencies of.
    pub latency_of: LatencyOf,
    /// Time of its packets by [`Cause`], in picoseconds: packets that exist together count together.
    pub time: [u64; Cause::COUNT],
    /// Time its packets existed, in picoseconds: the sum of [`FlowLedger::time`].
    pub lifetime: u64,
    /// The last engine that worked for it.
    pub engine: Option<EngineId>,
    /// Route of its last request.
    pub route: Option<u32>,
    /// Time during which it was watched having work, and in which each resource held it back.
    pub watched: u64,
    /// See [`FlowLedger::watched`]; the shares of ties overlap.
    pub limited: BTreeMap<Resource, u64>,
    /// Delivered bytes at the last look.
    pub(crate) seen: u64,
}

/// Latencies are recorded up to 2^42 ps (4.4 s) with three significant digits.
const LATENCY_MAX: u64 = 1 << 42;

impl FlowLedger {
    pub(crate) fn new(latency_of: LatencyOf) -> FlowLedger {
        FlowLedger {
            asked: 0,
            delivered: 0,
            refused: 0,
            first: None,
            last: 0,
            latency: Histogram::new_with_max(LATENCY_MAX, 3).expect("the bounds of the histogram are fixed"),
            latency_sum: 0,
            latency_of,
            time: [0; Cause::COUNT],
            lifetime: 0,
            engine: None,
            route: None,
            watched: 0,
            limited: BTreeMap::new(),
            seen: 0,
        }
    }

    /// Records a latency in picoseconds; longer ones than the histogram holds count as its largest.
    pub fn record_latency(&mut self, picos: u64) {
        self.latency.saturating_record(picos);
        self.latency_sum += u128::from(picos);
    }

    /// Mean latency in picoseconds, rounded down; 0 without any.
    pub fn latency_mean(&self) -> u64 {
        u64::try_from(self.latency_sum / u128::from(self.latency.len().max(1))).unwrap_or(u64::MAX)
    }

    /// Resources that held it back for at least a tenth of the time it was watched, longest first; those that
    /// differ by less than a quarter of the time in the order of their numbers.
    pub fn limits(&self) -> Vec<Resource> {
        let mut limits: Vec<_> =
            self.limited.iter().filter(|(_, time)| 10 * **time >= self.watched).collect();
        limits.sort_by_key(|(resource, time)| {
            (std::cmp::Reverse(4 * **time / self.watched.max(1)), **resource)
        });
        limits.into_iter().map(|(resource, _)| *resource).collect()
    }

    /// Latencies counted in quarters of octaves: the first picosecond of each, the first one behind it, and how many
    /// there are; those without any left out.
    pub fn latency_buckets(&self) -> Vec<(u64, u64, u64)> {
        let mut buckets: Vec<(u64, u64, u64)> = Vec::new();
        for step in self.latency.iter_recorded() {
            let (low, high) = quarter_octave(step.value_iterated_to());
            let count = u64::from(step.count_at_value());
            match buckets.last_mut().filter(|bucket| bucket.0 == low) {
                Some(bucket) => bucket.2 += count,
                None => buckets.push((low, high, count)),
            }
        }
        buckets
    }

    /// Latency below which `percent` of all requests stay, in picoseconds.
    pub fn latency_percentile(&self, percent: f64) -> u64 {
        self.latency.value_at_percentile(percent)
    }
}

/// The quarter of an octave that holds `value`: first value, and first one behind it.
pub fn quarter_octave(value: u64) -> (u64, u64) {
    let width = 1u64 << value.max(4).ilog2().saturating_sub(2);
    let low = value / width * width;
    (low, low.saturating_add(width))
}

/// Requests that nobody claimed, at one place for one reason.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// Requests refused.
    pub requests: u64,
    /// Bytes they asked to move.
    pub bytes: u64,
    /// Time, flow and address of the first.
    pub first: Option<(u64, u16, u64)>,
}

/// Everything counted in a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Per directed link.
    pub links: Vec<LinkLedger>,
    /// Per engine.
    pub engines: Vec<EngineLedger>,
    /// Per node.
    pub memories: Vec<MemoryLedger>,
    /// Per node.
    pub caches: Vec<CacheLedger>,
    /// Per node.
    pub iommus: Vec<IommuLedger>,
    /// Per node.
    pub atcs: Vec<AtcLedger>,
    /// Per node: time that its limits for writes and for reads between its ports took, in picoseconds.
    pub peers: Vec<[u64; 2]>,
    /// Per flow.
    pub flows: Vec<FlowLedger>,
    /// Per place and reason, in the order of [`crate::Fabric::misses`].
    pub refusals: Vec<Refusal>,
    /// Per directed link, what its receiver dropped.
    pub malformed: Vec<Malformed>,
    /// Per directed link, what it has been through.
    pub faults: Vec<LinkFaults>,
    /// Per engine, reads that ended in a completion timeout.
    pub timeouts: Vec<Lost>,
    /// Per engine, completions that nobody waited for any more (uncorrectable error: Unexpected Completion).
    pub unexpected: Vec<Lost>,
    /// Errors as functions count them.
    pub errors: ErrorCounters,
    /// Poisoned packets whose data somebody would have used, by function.
    pub poisoned: BTreeMap<Option<FunctionIndex>, Lost>,
    /// Events handled.
    pub events: u64,
    /// Utilisation of links over time.
    pub series: Series,
}

impl Ledger {
    /// TLPs sent over all links: the unit of work of the simulator.
    pub fn tlp_hops(&self) -> u64 {
        self.links.iter().map(|link| link.tlps).sum()
    }

    /// One number for everything that crossed the wires: the links' digests combined in order of their numbers.
    pub fn digest(&self) -> u64 {
        self.links.iter().fold(0, |all, link| all.rotate_left(7).wrapping_mul(31) ^ link.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_counted_in_quarters_of_octaves() {
        for (value, low, high) in
            [(0, 0, 1), (3, 3, 4), (4, 4, 5), (8, 8, 10), (11, 10, 12), (1_000_000, 917_504, 1_048_576)]
        {
            assert_eq!(quarter_octave(value), (low, high), "{value}");
        }
        let mut flow = FlowLedger::new(LatencyOf::Request);
        [900, 901, 1_023, 1_024, 5_000_000].into_iter().for_each(|picos| flow.record_latency(picos));
        let buckets = [(896, 1_024, 3), (1_024, 1_280, 1), (4_194_304, 5_242_880, 1)];
        assert_eq!(flow.latency_buckets(), buckets);
    }
}
