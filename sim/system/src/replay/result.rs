//! [`Entry`]: what a call returned, and the document that holds them all.

use peerbus_units::FunctionId;
use serde::Serialize;

use super::call::Replay;
use crate::kernel::ProfileName;
use crate::p2p::{DmaKind, MapType};

/// Everything `peerbus replay` shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Document {
    /// `peerbus.replay/1`.
    pub schema: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Kernel whose code was called.
    pub profile: ProfileName,
    /// One entry per call that returns something or fails, in the order of the calls.
    pub results: Vec<Entry>,
}

/// What one call returned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Entry {
    /// Number of the call, from 0.
    pub call: usize,
    /// What it returned.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What a call returned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// An allocation.
    Allocated {
        /// Its first byte.
        address: u64,
    },
    /// Free memory.
    Available {
        /// Bytes.
        bytes: u64,
    },
    /// A range of unused physical addresses.
    Region {
        /// First address.
        first: u64,
        /// Last address.
        last: u64,
        /// Places the kernel looks at, this one included.
        probes: u64,
    },
    /// A pair.
    Resolved {
        /// By which way.
        map_type: MapType,
        /// Steps up from both to where they meet; valid for every map type.
        distance: u32,
    },
    /// A provider and its clients.
    Distance {
        /// Sum of the distances; −1 when there is no client or one is not supported.
        distance: i64,
    },
    /// A search.
    Found {
        /// The nearest providers, in order of enumeration. A kernel draws one of them.
        providers: Vec<FunctionId>,
    },
    /// A page for a client.
    Mapped {
        /// What the client sends.
        dma_addr: u64,
        /// What kind of address that is.
        dma_kind: DmaKind,
    },
    /// A failure.
    Failed {
        /// The kernel's name for it; `BUG` where the kernel stops, hangs or destroys itself.
        error: &'static str,
        /// Why, in words.
        reason: String,
    },
}

impl Outcome {
    /// A failure.
    pub(super) fn failed(error: &'static str, reason: impl Into<String>) -> Outcome {
        Outcome::Failed { error, reason: reason.into() }
    }
}

impl Document {
    /// The document of `replay`'s results.
    pub(super) fn new(replay: &Replay, results: Vec<Entry>) -> Document {
        let version = env!("CARGO_PKG_VERSION");
        Document { schema: "peerbus.replay/1", version, profile: replay.profile, results }
    }
}
