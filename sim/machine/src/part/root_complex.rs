//! What a CPU package has beside links and memory, as far as traffic from devices meets it: an IOMMU, a cache in front of
//! memory, and limits for what passes from one port to another. All of it is optional in a part: without a description
//! it takes no time and limits nothing.

use peerbus_units::{Bytes, Picos, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The IOMMU in front of one host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IommuPart {
    /// Translations it keeps (IOTLB entries), whatever the size of their page; 1 to 4096, a multiple of `ways`.
    pub entries: u16,
    /// Entries among which a page has its place; 1 to 64.
    pub ways: u16,
    /// Entries of each upper level of a page table that it keeps; 0 for none, at most 1024.
    pub walk_entries: u16,
    /// Pages that it looks up in tables at the same time; 1 to 64.
    pub walkers: u16,
    /// One access to a page table, from the IOMMU to memory and back.
    pub access_latency: Picos,
}

/// The last-level cache, through which devices read and write memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CachePart {
    /// Its size; a multiple of 64 B × `ways`, at most 1 GiB.
    pub size: Bytes,
    /// Lines of 64 B among which an address has its place; 1 to 64.
    pub ways: u16,
    /// Of those, how many a write of a device to a line that is not there may take: 0 to `ways`. With 0 such writes go to
    /// memory.
    pub write_ways: u16,
    /// From a read request at the cache to its first data, when all of it is there.
    pub latency: Picos,
    /// Rate for what is served without memory.
    pub rate: Rate,
}

/// Limits for requests that a root complex forwards from one of its ports to another, or to another CPU's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerLimits {
    /// Payload rate of writes, all ports of the package together.
    pub write_rate: Option<Rate>,
    /// Rate of bytes that reads ask for, all ports of the package together.
    pub read_rate: Option<Rate>,
    /// Largest payload that leaves in one packet; a power of two of 64 B to 4 KiB.
    pub max_payload: Option<Bytes>,
}
