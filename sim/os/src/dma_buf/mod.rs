//! Buffers shared between drivers (dma-buf), as far as peer memory goes through them.
//!
//! An *exporter* owns a buffer and decides where it lies; *importers* attach to it and map it. An importer is
//! *dynamic* when it can be told that a mapping is no longer valid; otherwise the buffer is pinned while it is mapped.
//! Whether an attachment may be given the exporter's own memory is its `peer2peer` flag: asked for by the importer,
//! taken back by the exporter. One importer without it keeps the whole buffer in system memory.
//!
//! Invariants: nothing here waits; where the kernel would, a call says for what. A buffer with pins does not move.
//!
//! Modules in reading order: `life` (attach, map, pin, invalidate), `exporter` (who decides where a buffer lies),
//! `vectors` (memory without page structs), `vfio` and `iommufd` (BARs of functions given to user space), `rdma`.

mod exporter;
mod iommufd;
mod life;
mod rdma;
mod vectors;
mod vfio;

pub use exporter::{Amdgpu, AmdgpuGiving, Giving, GpuBuffer, MoveError, Placement, Places, Xe, XeGiving};
pub use iommufd::{ImportError, ImportedPages};
pub use life::{
    AttachError, Attaching, Attachment, AttachmentId, DmaBuf, Exporter, Importer, MapError, Mapped, PinError,
};
pub use rdma::{Invalidated, Region, RegionError, RegionKind, RegionSource, register};
pub use vectors::{LARGEST_SEGMENT, MappedVectors, PhysicalVector, VectorError, map_vectors};
pub use vfio::{BufferRequest, Revocation, VfioBuffer, VfioDevice, VfioError};
