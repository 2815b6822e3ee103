//! The workload [`SharedBuffer`]: a buffer of one device that others use (dma-buf).
//!
//! What it says is here; what happens is decided by the operating system's [`peerbus_os::dma_buf`] when it runs
//! (`run::shared_buffer`). Importers attach to the buffer, each in its own way, map it and transfer chunks of it. Meanwhile the
//! exporter moves it to system memory and back, or, as VFIO, takes it away and gives it back.

use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared_virtual::Order;

/// What an importer does with a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum BufferAccess {
    /// Reads it.
    #[default]
    Read,
    /// Writes it.
    Write,
}

/// Whose driver exports the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum ExporterDriver {
    /// For importers that do not reach the GPU's memory the buffer goes to system memory; XGMI reaches it.
    #[default]
    Amdgpu,
    /// The same, but refuses them where the buffer cannot leave the GPU.
    Xe,
    /// A BAR of a function given to user space: there is no other memory, and it can be revoked. Kernels 7.x have it.
    Vfio,
}

/// Where a buffer of a GPU may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum BufferPlaces {
    /// In the GPU's memory and in system memory; it begins with the GPU.
    #[default]
    Both,
    /// In the GPU's memory alone.
    Device,
    /// In system memory alone.
    System,
}

/// An exporter that moves its buffer: to system memory, back, and so on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Moves {
    /// Time before each, from the start or from the end of the one before.
    pub every: Picos,
    /// How many times, refused ones included.
    pub times: u32,
}

/// A function that is reset, or stops decoding memory, again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revokes {
    /// Time before each, from the start or from the end of the one before.
    pub every: Picos,
    /// How many times.
    pub times: u32,
    /// How long nobody may use the buffer once all have let go.
    pub lasts: Picos,
}

/// Who exports a buffer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BufferExporter {
    /// The device.
    pub device: String,
    /// Its driver.
    #[serde(default)]
    pub driver: ExporterDriver,
    /// Where a GPU's buffer may be.
    #[serde(default)]
    pub places: BufferPlaces,
    /// A GPU's buffer is compressed as only the GPU understands it (GFX12 DCC).
    #[serde(default)]
    pub compressed: bool,
    /// The GPU sleeps (runtime power management).
    #[serde(default)]
    pub asleep: bool,
    /// VFIO's region, 0–5 for BARs; default: the BAR that peer-to-peer uses.
    #[serde(default)]
    pub region: Option<u32>,
    /// Bytes of that region before the buffer.
    #[serde(default)]
    pub offset: Bytes,
    /// The function does not decode memory when the buffer is made: the buffer is born revoked.
    #[serde(default)]
    pub memory_disabled: bool,
    /// When a GPU moves the buffer.
    #[serde(default)]
    pub moves: Option<Moves>,
    /// When VFIO takes it away.
    #[serde(default)]
    pub revokes: Option<Revokes>,
}

/// How a device imports a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum ImporterKind {
    /// A GPU, or another dynamic importer whose jobs have fences: told of a move it ends its job, and maps again for the next.
    #[default]
    Gpu,
    /// One that cannot be told: the buffer is pinned while it is mapped.
    Static,
    /// A region of an RDMA adapter that follows the buffer: told of a move it empties the adapter's table, and the next access
    /// faults.
    OnDemand,
    /// A region of an RDMA adapter that pins the buffer and has no callback.
    Pinned,
    /// A region that pins the buffer and can be taken away for good.
    Revocable,
    /// A pinned region that a second function of the adapter reaches ("data direct").
    DataDirect,
    /// An ordinary region (`reg_mr`) of the buffer mapped into a process.
    Ordinary,
    /// Another function given to user space: its I/O page table is user space's own (iommufd).
    Iommufd,
}

/// One importer, and what it does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BufferImporter {
    /// Its name; the flow is called `BUFFER.NAME`.
    pub name: String,
    /// The device.
    pub device: String,
    /// How it imports.
    #[serde(default)]
    pub kind: ImporterKind,
    /// It accepts memory without page structs. Importers of the kind `Gpu` choose; RDMA regions and iommufd accept it, static
    /// importers never do.
    #[serde(default)]
    pub peer2peer: Option<bool>,
    /// Reads or writes the buffer.
    #[serde(default)]
    pub access: BufferAccess,
    /// Bytes it transfers in all; default: as many as the buffer has.
    #[serde(default)]
    pub bytes: Option<Bytes>,
    /// In what order it goes through the chunks.
    #[serde(default)]
    pub order: Order,
    /// Transfers of a chunk under way at a time.
    #[serde(default = "default_outstanding")]
    pub outstanding: u32,
    /// When it attaches.
    #[serde(default)]
    pub start: Picos,
}

/// A buffer of one device that others use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedBuffer {
    /// Name; the flows are called `NAME.IMPORTER`, and `NAME.EXPORTER.leave` and `.arrive` for moves of a GPU's buffer.
    pub name: String,
    /// Its size.
    pub bytes: Bytes,
    /// Bytes of a transfer. What was written is followed chunk by chunk.
    #[serde(default = "default_chunk")]
    pub chunk: Bytes,
    /// Who exports it.
    pub exporter: BufferExporter,
    /// Who imports it. Those that begin together attach in this order.
    pub importers: Vec<BufferImporter>,
}

/// Largest buffer.
pub const LARGEST_BUFFER: Bytes = Bytes::gib(64);
/// Most chunks of a buffer.
pub const MOST_CHUNKS: u64 = 1 << 20;
/// Most importers of a buffer.
pub const MOST_IMPORTERS: usize = 256;
/// Most moves or revocations.
pub const MOST_TIMES: u32 = 1_000_000;
/// Most transfers of an importer under way.
pub const MOST_OUTSTANDING: u32 = 64;

impl BufferExporter {
    /// One that leaves its buffer where it is.
    pub fn new(device: &str, driver: ExporterDriver) -> BufferExporter {
        BufferExporter {
            device: device.to_owned(),
            driver,
            places: BufferPlaces::Both,
            compressed: false,
            asleep: false,
            region: None,
            offset: Bytes::ZERO,
            memory_disabled: false,
            moves: None,
            revokes: None,
        }
    }
}

impl BufferImporter {
    /// One that reads the buffer once.
    pub fn new(name: &str, device: &str, kind: ImporterKind) -> BufferImporter {
        BufferImporter {
            name: name.to_owned(),
            device: device.to_owned(),
            kind,
            peer2peer: None,
            access: BufferAccess::Read,
            bytes: None,
            order: Order::Sequential,
            outstanding: default_outstanding(),
            start: Picos::ZERO,
        }
    }
}

impl SharedBuffer {
    /// Chunks of the buffer; the last one may be shorter.
    pub fn chunks(&self) -> u64 {
        self.bytes.0.div_ceil(self.chunk.0.max(1))
    }

    /// First byte and bytes of a chunk.
    pub fn chunk_at(&self, number: u64) -> (u64, u64) {
        let first = number.saturating_mul(self.chunk.0);
        (first, self.chunk.0.min(self.bytes.0.saturating_sub(first)))
    }

    /// What is wrong with it, whatever the machine.
    pub fn problem(&self) -> Option<String> {
        let within = |what: &str, found: u64, most: u64| {
            (!(1..=most).contains(&found)).then(|| format!("{what} must be 1 to {most}, not {found}"))
        };
        let importer = |importer: &BufferImporter| {
            let outstanding = within("outstanding", importer.outstanding.into(), MOST_OUTSTANDING.into());
            outstanding.or_else(|| {
                (importer.bytes == Some(Bytes::ZERO)).then(|| "an importer transfers 1 B at least".to_owned())
            })
        };
        within("the bytes of a buffer", self.bytes.0, LARGEST_BUFFER.0)
            .or_else(|| within("the bytes of a chunk", self.chunk.0, LARGEST_BUFFER.0))
            .or_else(|| within("the chunks of a buffer", self.chunks(), MOST_CHUNKS))
            .or_else(|| within("importers", self.importers.len() as u64, MOST_IMPORTERS as u64))
            .or_else(|| self.importers.iter().find_map(importer))
    }
}

/// Bytes of a chunk where none are given.
pub fn default_chunk() -> Bytes {
    Bytes::kib(64)
}

/// Transfers under way where none are given.
pub fn default_outstanding() -> u32 {
    4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: u64, chunk: u64) -> SharedBuffer {
        let exporter = BufferExporter::new("gpu0", ExporterDriver::Amdgpu);
        let importer = BufferImporter::new("a", "nic0", ImporterKind::OnDemand);
        let importers = vec![importer];
        SharedBuffer { name: "b".into(), bytes: Bytes(bytes), chunk: Bytes(chunk), exporter, importers }
    }

    #[test]
    fn chunks_cover_the_buffer() {
        let check = |bytes, chunk, expect: &[(u64, u64)]| {
            let buffer = buffer(bytes, chunk);
            let found: Vec<_> = (0..buffer.chunks()).map(|number| buffer.chunk_at(number)).collect();
            assert_eq!(found, expect, "{bytes} in {chunk}");
        };
        check(8, 8, &[(0, 8)]);
        check(9, 4, &[(0, 4), (4, 4), (8, 1)]);
        check(3, 8, &[(0, 3)]);
    }

    #[test]
    fn sizes_and_numbers_are_checked() {
        let check = |change: fn(&mut SharedBuffer), expect: bool| {
            let mut buffer = buffer(1 << 20, 4096);
            change(&mut buffer);
            assert_eq!(buffer.problem().is_some(), expect, "{:?} of {buffer:?}", buffer.problem());
        };
        check(|_| {}, false);
        check(|buffer| buffer.bytes = Bytes::ZERO, true);
        check(|buffer| buffer.chunk = Bytes::ZERO, true);
        check(|buffer| buffer.bytes = Bytes(1 + LARGEST_BUFFER.0), true);
        check(|buffer| (buffer.bytes, buffer.chunk) = (Bytes::mib(4), Bytes(1)), true);
        check(|buffer| buffer.importers.clear(), true);
        check(|buffer| buffer.importers[0].outstanding = 0, true);
        check(|buffer| buffer.importers[0].bytes = Some(Bytes::ZERO), true);
    }
}
