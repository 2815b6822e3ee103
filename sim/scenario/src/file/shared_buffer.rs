//! `SharedBuffer` as written.

use peerbus_machine::file::Leaf;
use peerbus_system::shared_buffer::{BufferAccess, BufferPlaces, ExporterDriver, ImporterKind};
use peerbus_system::shared_virtual::Order;
use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A buffer of one device that others import (dma-buf).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SharedBuffer {
    /// Name; flows are called `NAME.IMPORTER`, and `NAME.EXPORTER.leave` and `.arrive` for moves of a GPU's buffer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// Its size, up to 64GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Leaf<Bytes>>,
    /// Bytes of a transfer; default 64KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<Leaf<Bytes>>,
    /// Who exports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exporter: Option<Exporter>,
    /// Who imports it, and what each does.
    pub importers: Vec<Importer>,
}

/// Who exports a buffer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exporter {
    /// The device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// Its driver: `Amdgpu`, `Xe` or `Vfio`; default `Amdgpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Leaf<ExporterDriver>>,
    /// Where a GPU's buffer may be: `Both`, `Device` or `System`; default `Both`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<Leaf<BufferPlaces>>,
    /// A GPU's buffer is compressed as only the GPU understands it; default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressed: Option<Leaf<bool>>,
    /// The GPU sleeps; default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asleep: Option<Leaf<bool>>,
    /// VFIO's region, 0 to 5 for BARs; default: the largest prefetchable memory BAR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Leaf<u32>>,
    /// Bytes of that region before the buffer; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Leaf<Bytes>>,
    /// The function does not decode memory when the buffer is made, which is born revoked; default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_disabled: Option<Leaf<bool>>,
    /// A GPU moves the buffer to system memory, back, and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moves: Option<Moves>,
    /// VFIO takes the buffer away and gives it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revokes: Option<Revokes>,
}

/// Moves of a buffer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Moves {
    /// Time before each, from the start or from the end of the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Leaf<Picos>>,
    /// How many, refused ones included, up to 1000000; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Leaf<u32>>,
}

/// Revocations of a buffer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Revokes {
    /// Time before each, from the start or from the end of the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Leaf<Picos>>,
    /// How many, up to 1000000; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Leaf<u32>>,
    /// How long the buffer is gone once all have let go; default 100us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Leaf<Picos>>,
}

/// One importer, and what it does.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Importer {
    /// Its name, unique in the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf<String>>,
    /// The device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Leaf<String>>,
    /// `Gpu` (or another dynamic importer with fences), `Static`, regions of an RDMA adapter: `OnDemand`, `Pinned`, `Revocable`,
    /// `DataDirect` and `Ordinary` (`reg_mr`), or `Iommufd`; default `Gpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Leaf<ImporterKind>>,
    /// A `Gpu` accepts memory without page structs; default `true`. The other kinds have no choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer2peer: Option<Leaf<bool>>,
    /// `Read` or `Write`; default `Read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Leaf<BufferAccess>>,
    /// Bytes it transfers in all, up to 1PiB; default: as many as the buffer has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Leaf<Bytes>>,
    /// In what order it goes through the chunks: `Sequential`, `Strided(CHUNKS)`, `Random` or `Zipf(EXPONENT)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Leaf<Order>>,
    /// Transfers under way at a time, 1 to 64; default 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outstanding: Option<Leaf<u32>>,
    /// When it attaches; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Leaf<Picos>>,
}
