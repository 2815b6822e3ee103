//! [`Config`]: what a capture shows of a function's configuration space. Hand-written files have no need of it.

use peerbus_units::{BusAddr, Bytes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bar, Leaf, is_false};
use crate::model::{PortKind, WindowWidth};
use crate::part::ResourceKind;

/// Stated facts about a function's configuration space.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Leaf<u8>>,
    /// I/O decoding (1), memory decoding (2) and bus master (4) bits of the command register.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Leaf<u16>>,
    /// PCI Express capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub express: Option<Express>,
    /// True for a function without the PCI Express capability.
    #[serde(skip_serializing_if = "is_false")]
    pub conventional: bool,
    /// Bus numbers of a bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buses: Option<Buses>,
    /// Open windows of a bridge, all of them; an empty list means that all are closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<BridgeWindow>>,
    /// Registers of the I/O window of a bridge; default `Wide`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_window: Option<Leaf<WindowWidth>>,
    /// Registers of the prefetchable window of a bridge; default `Wide`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefetch_window: Option<Leaf<WindowWidth>>,
    /// Expansion ROM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rom: Option<Rom>,
    /// Next function in its ARI capability, 0 for none; default: no such capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ari: Option<Leaf<u8>>,
    /// SR-IOV capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sriov: Option<Sriov>,
}

/// The PCI Express capability. In files, `gen` stands for the generation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Express {
    /// Device/port type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Leaf<PortKind>>,
    /// Version, 1 or 2; default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Leaf<u8>>,
    /// Fastest generation of its link, 1–7; default: the part's.
    #[serde(rename = "gen", skip_serializing_if = "Option::is_none")]
    pub generation: Option<Leaf<u8>>,
    /// Widest link in lanes; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<Leaf<u8>>,
    /// Largest payload it supports; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_payload: Option<Leaf<Bytes>>,
    /// Payload size that is programmed; default: the largest that its hierarchy supports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Leaf<Bytes>>,
    /// Read request size that is programmed; default: the part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_request: Option<Leaf<Bytes>>,
    /// Bits of the tags its requests may have: 5, 8, 10 or 14; default: as many as the part's number of tags needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_bits: Option<Leaf<u8>>,
    /// True when the port has a slot.
    #[serde(skip_serializing_if = "is_false")]
    pub slot: bool,
    /// True when the slot can be hot-plugged.
    #[serde(skip_serializing_if = "is_false")]
    pub hot_plug: bool,
    /// True when the port can forward alternative routing ids.
    #[serde(skip_serializing_if = "is_false")]
    pub ari_forwarding: bool,
    /// True when the port forwards them.
    #[serde(skip_serializing_if = "is_false")]
    pub ari_enabled: bool,
}

/// Bus numbers of a bridge.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Buses {
    /// Bus directly below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary: Option<Leaf<u8>>,
    /// Highest bus below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subordinate: Option<Leaf<u8>>,
}

/// An open window of a bridge.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BridgeWindow {
    /// `Io`, `Mem32`, or `Mem64Prefetch` for the prefetchable window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Leaf<ResourceKind>>,
    /// First bus address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Leaf<BusAddr>>,
    /// Last bus address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Leaf<BusAddr>>,
}

/// An expansion ROM.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rom {
    /// Size, a power of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Leaf<Bytes>>,
    /// Address that firmware programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Leaf<BusAddr>>,
}

/// The SR-IOV capability of a physical function.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sriov {
    /// Virtual functions that can be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Leaf<u16>>,
    /// Those that are switched on; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<Leaf<u16>>,
    /// Routing id of the first, counted from the physical function's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Leaf<u16>>,
    /// From one to the next; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<Leaf<u16>>,
    /// Device id of the virtual functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<u16>>,
    /// Page sizes they support: bit n means 2^(n+12) bytes; default 4 KiB to 4 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_sizes: Option<Leaf<u32>>,
    /// Base address registers of one virtual function; the address is that of the first one's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<Bar>,
}
