//! Everything that can run out.

use peerbus_scenario::Cell;
use peerbus_system::space::{Space, SpaceKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number;

/// Kinds of spaces that baselines leave out: they follow from addresses and from what digests pin.
pub const NOT_IN_BASELINES: [SpaceKind; 4] =
    [SpaceKind::BridgeWindow, SpaceKind::Aperture, SpaceKind::IoAddresses, SpaceKind::Tags];

/// Something that can run out. Amounts are bytes unless `detail.unit` says otherwise.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpaceDocument {
    /// Its name, with the variant in front.
    pub name: String,
    /// Name of the variant.
    pub variant: String,
    /// Its size.
    pub size_bytes: u64,
    /// The most that was taken at a time.
    pub used_bytes: u64,
    /// The smallest that the largest free piece ever was.
    pub largest_hole_bytes: u64,
    /// More of it. Absent from baselines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<SpaceDetailDocument>,
}

/// What else is known of a space.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpaceDetailDocument {
    /// `host_bridge_window`, `bridge_window`, `aperture`, `peer_pool`, `physical_addresses`, `private_offsets`,
    /// `page_struct_memory`, `device_memory`, `io_addresses` or `tags`.
    pub kind: String,
    /// `bytes`, or `pieces` of what is counted.
    pub unit: String,
    /// What is taken at the end.
    pub used_at_end: u64,
    /// The largest free piece at the end.
    pub largest_hole_at_end: u64,
    /// Taken and used by nobody, because something larger lies at a multiple of its size.
    pub alignment_slack: u64,
    /// The same because of whole pages, sections or megabytes.
    pub granule_slack: u64,
    /// 1 − largest free piece / all that is free, over time: 0 to 1.
    pub fragmentation: f64,
    /// Who had how much when most was taken, the largest first.
    pub owners: Vec<SpaceOwnerDocument>,
    /// Requests that got nothing of it.
    pub refusals: u64,
    /// The first of them.
    pub first_refusal: Option<SpaceRefusalDocument>,
    /// Its state at regular times; one value for what does not change.
    pub series: SpaceSeriesDocument,
}

/// Who has part of a space.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpaceOwnerDocument {
    /// A device, a bridge, or what else it is.
    pub name: String,
    /// How much.
    pub amount: u64,
}

/// A request that got nothing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpaceRefusalDocument {
    /// When; `null` when the machine came up.
    pub time_ps: Option<u64>,
    /// Who asked.
    pub who: String,
    /// What for.
    pub amount: u64,
    /// Which link of the chain decided.
    pub decided: String,
    /// From the granule to the limit.
    pub chain: Vec<SpaceCauseDocument>,
}

/// A link of the chain.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpaceCauseDocument {
    /// `granule`, `alignment`, `holes`, `window`, `aperture`, `limit`, `page structs` or `kernel`.
    pub what: String,
    /// In words.
    pub text: String,
}

/// State of a space at regular times, the first at time 0.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpaceSeriesDocument {
    /// Time between two of them; 0 for what does not change.
    pub interval_ps: u64,
    /// What is taken.
    pub used: Vec<u64>,
    /// The largest free piece.
    pub largest_hole: Vec<u64>,
}

impl SpaceDocument {
    /// True for what baselines leave out.
    pub(super) fn is_left_out(&self) -> bool {
        let kind = self.detail.as_ref().map(|detail| detail.kind.as_str());
        NOT_IN_BASELINES.iter().any(|left_out| kind == Some(left_out.name()))
    }
}

/// The document of a space.
pub(super) fn space_document(cell: &Cell, space: &Space) -> SpaceDocument {
    SpaceDocument {
        name: cell.qualified(&space.name),
        variant: cell.variant.clone(),
        size_bytes: space.size,
        used_bytes: space.peak,
        largest_hole_bytes: space.least_hole,
        detail: Some(detail(space)),
    }
}

fn detail(space: &Space) -> SpaceDetailDocument {
    let owners = space.owners.iter();
    let owners =
        owners.map(|owner| SpaceOwnerDocument { name: owner.name.clone(), amount: owner.amount }).collect();
    let first_refusal = space.first_refusal.as_ref().map(|refusal| SpaceRefusalDocument {
        time_ps: refusal.time.map(|time| time.0),
        who: refusal.who.clone(),
        amount: refusal.amount,
        decided: refusal.decided.to_owned(),
        chain: refusal
            .chain
            .iter()
            .map(|cause| SpaceCauseDocument { what: cause.what.to_owned(), text: cause.text.clone() })
            .collect(),
    });
    SpaceDetailDocument {
        kind: space.kind.name().to_owned(),
        unit: if space.kind.is_counted() { "pieces" } else { "bytes" }.to_owned(),
        used_at_end: space.used,
        largest_hole_at_end: space.largest_hole,
        alignment_slack: space.alignment,
        granule_slack: space.granule,
        fragmentation: number::from_millionths(space.fragmentation_ppm.into()),
        owners,
        refusals: space.refusals,
        first_refusal,
        series: SpaceSeriesDocument {
            interval_ps: space.interval.0,
            used: space.samples.iter().map(|sample| sample.used).collect(),
            largest_hole: space.samples.iter().map(|sample| sample.largest_hole).collect(),
        },
    }
}
