//! One importer: what it is at, and what is counted for it.

use peerbus_engine::Stream;
use peerbus_os::dma::DmaKind;
use peerbus_os::dma_buf::{AttachmentId, ImportedPages, Importer, Invalidated, RegionKind};
use peerbus_units::Picos;

use super::mapping::BufferMapping;
use crate::run::shared_virtual::Pattern;
use crate::shared_buffer::{BufferImporter, ImporterKind, SharedBuffer};

/// Transfers of a job of a GPU: its fence signals when all have ended. Assumed.
pub const JOB: u64 = 8;

/// What an importer is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It has not attached.
    Before,
    /// The kernel attaches, maps, or handles its fault, until a timer.
    Kernel,
    /// Waits for the buffer, since then.
    Waits(Picos),
    /// It has mapped the buffer.
    Uses,
    /// It is done, or gave up.
    Over,
}

/// Why an importer gave up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// One of the kinds of errors of a run.
    pub kind: &'static str,
    /// In words, with the kernel's name of the error.
    pub text: String,
}

/// What is counted.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// Times that it mapped the buffer.
    pub mappings: u64,
    /// Times that it was told to let go of what it had mapped.
    pub invalidations: u64,
    /// Accesses that found the adapter's table empty.
    pub faults: u64,
    /// Bytes transferred to or from the exporter's memory.
    pub bytes_device: u64,
    /// The same of system memory.
    pub bytes_ram: u64,
    /// Accesses to a revoked buffer.
    pub failed_accesses: u64,
    /// Reads that did not find what was written last.
    pub wrong_reads: u64,
    /// Time of faults, and of mapping.
    pub kernel: Picos,
    /// Time it waited for the buffer.
    pub waited: Picos,
    /// Time it had the buffer mapped.
    pub mapped: Picos,
}

/// An importer under way.
#[derive(Debug)]
pub struct ImporterRun {
    /// What it does.
    pub spec: BufferImporter,
    /// What it is at.
    pub state: State,
    /// Its attachment.
    pub attachment: Option<AttachmentId>,
    /// The exporter let it have its memory.
    pub peer2peer: bool,
    /// Pages in user space's own I/O page table.
    pub pages: Option<ImportedPages>,
    /// Where those were, for a device that was not told.
    pub stale: Option<u64>,
    /// It has pinned the buffer.
    pub pinned: bool,
    /// Its addresses.
    pub mapping: Option<BufferMapping>,
    /// Since when.
    pub mapped_at: Picos,
    /// It has been told to let go and has not done so.
    pub told: bool,
    /// Transfers of its job that are still to be given.
    pub job: u64,
    /// Transfers under way.
    pub under_way: u32,
    /// Bytes still to be given.
    pub left: u64,
    /// Which chunk is next.
    pub pattern: Pattern,
    /// The first address it was given.
    pub first: Option<(u64, Option<DmaKind>)>,
    /// What was counted.
    pub tally: Tally,
    /// Why it gave up.
    pub failed: Option<Failure>,
}

impl ImporterRun {
    /// Before it attaches.
    pub fn new(spec: &BufferImporter, buffer: &SharedBuffer, stream: Stream) -> ImporterRun {
        ImporterRun {
            spec: spec.clone(),
            state: State::Before,
            attachment: None,
            peer2peer: false,
            pages: None,
            stale: None,
            pinned: false,
            mapping: None,
            mapped_at: Picos::ZERO,
            told: false,
            job: 0,
            under_way: 0,
            left: spec.bytes.unwrap_or(buffer.bytes).0,
            pattern: Pattern::new(spec.order, buffer.chunks(), stream),
            first: None,
            tally: Tally::default(),
            failed: None,
        }
    }

    /// The kind of its memory region, if it is an RDMA adapter's.
    pub fn region(&self) -> Option<RegionKind> {
        match self.spec.kind {
            ImporterKind::OnDemand => Some(RegionKind::DmaBuf),
            ImporterKind::Pinned => Some(RegionKind::PinnedDmaBuf),
            ImporterKind::Revocable => Some(RegionKind::RevocableDmaBuf),
            ImporterKind::DataDirect => Some(RegionKind::DataDirect),
            ImporterKind::Ordinary => Some(RegionKind::Ordinary),
            ImporterKind::Gpu | ImporterKind::Static | ImporterKind::Iommufd => None,
        }
    }

    /// What it brings when it attaches; none if it is static.
    pub fn brings(&self) -> Option<Importer> {
        match self.spec.kind {
            ImporterKind::Static => None,
            ImporterKind::Gpu => {
                let allow_peer2peer = self.spec.peer2peer.unwrap_or(true);
                Some(Importer { allow_peer2peer, ..Importer::DYNAMIC })
            }
            ImporterKind::Iommufd => Some(Importer::DYNAMIC),
            _ => self.region().and_then(RegionKind::importer),
        }
    }

    /// It pins the buffer when it registers a region of it.
    pub fn pins(&self) -> bool {
        let pinned = [ImporterKind::Pinned, ImporterKind::DataDirect, ImporterKind::Revocable];
        pinned.contains(&self.spec.kind)
    }

    /// Its jobs end before it lets go.
    fn has_fences(&self) -> bool {
        self.spec.kind == ImporterKind::Gpu
    }

    /// Told to let go, it never comes back.
    pub fn is_revoked_for_good(&self) -> bool {
        self.region().map(RegionKind::invalidated) == Some(Invalidated::RevokedForEver)
    }

    /// It finds out by a fault that it has to map again.
    pub fn faults(&self) -> bool {
        self.region().map(RegionKind::invalidated) == Some(Invalidated::MappedAgainAtFault)
    }

    /// It may give another transfer.
    pub fn may_give(&self) -> bool {
        let job = !self.told || self.has_fences() && self.job > 0;
        self.state == State::Uses
            && self.mapping.is_some()
            && self.left > 0
            && job
            && self.under_way < self.spec.outstanding
    }

    /// It has been told, and nothing of what it had to finish is under way.
    pub fn has_stopped(&self) -> bool {
        self.told && self.under_way == 0 && (self.left == 0 || self.job == 0 || !self.has_fences())
    }

    /// All is transferred.
    pub fn has_all(&self) -> bool {
        self.left == 0 && self.under_way == 0
    }

    /// Counts a transfer that is given: one of this job, or the first of the next.
    pub fn give(&mut self, bytes: u64) {
        if self.job == 0 {
            self.job = JOB;
        }
        self.job -= 1;
        self.under_way += 1;
        self.left -= bytes;
        self.pattern.touched();
    }
}
