//! The operating system's buffer, of whichever driver exports it.

use peerbus_os::dma_buf::{
    Amdgpu, AttachError, Attaching, AttachmentId, BufferRequest, DmaBuf, Exporter, MapError, Mapped,
    MoveError, PinError, Placement, Places, Revocation, VfioBuffer, VfioDevice, Xe,
};
use peerbus_os::p2pdma::{P2pdma, P2pdmaRules};

use super::plan::BufferPlan;
use crate::boot::Booted;
use crate::shared_buffer::{BufferPlaces, ExporterDriver};

/// An exported buffer.
#[derive(Clone, Debug)]
pub enum Exported {
    /// Of amdgpu.
    Amdgpu(DmaBuf<Amdgpu>),
    /// Of xe.
    Xe(DmaBuf<Xe>),
    /// Of a function given to user space.
    Vfio(DmaBuf<VfioBuffer>),
}

/// The same for every driver's buffer.
macro_rules! each {
    ($exported:expr, $buffer:ident => $what:expr) => {
        match $exported {
            Exported::Amdgpu($buffer) => $what,
            Exported::Xe($buffer) => $what,
            Exported::Vfio($buffer) => $what,
        }
    };
}

impl Exported {
    /// Makes the buffer.
    ///
    /// # Errors
    ///
    /// Why there is none, in words with the kernel's name of the error.
    pub fn new(plan: &BufferPlan, booted: &Booted, p2pdma: &mut P2pdma) -> Result<Exported, String> {
        let function = plan.function.ok_or("the operating system did not find the exporter")?;
        let given = &plan.spec.exporter;
        let places = match given.places {
            BufferPlaces::Both => Places { device: true, system: true },
            BufferPlaces::Device => Places { device: true, system: false },
            BufferPlaces::System => Places { device: false, system: true },
        };
        Ok(match given.driver {
            ExporterDriver::Amdgpu => {
                let mut buffer = Amdgpu::new(places);
                buffer.giving.compressed = given.compressed;
                buffer.giving.runtime_active = !given.asleep;
                Exported::Amdgpu(DmaBuf::new(buffer))
            }
            ExporterDriver::Xe => Exported::Xe(DmaBuf::new(Xe::new(places))),
            ExporterDriver::Vfio => {
                // The driver makes BARs providers when it takes the function; older kernels have no such call.
                let _ = p2pdma.init(&booted.tree, function);
                let device = VfioDevice { function, exports: true, memory_enabled: !given.memory_disabled };
                let ranges = [(given.offset.0, plan.spec.bytes.0)];
                let request = BufferRequest { region: plan.vfio.region, flags: 0, ranges: &ranges };
                let made = device.buffer(p2pdma, &booted.tree, &request);
                Exported::Vfio(made.map_err(|error| error.to_string())?)
            }
        })
    }

    /// Where the buffer is.
    pub fn placement(&self) -> Placement {
        each!(self, buffer => buffer.exporter.placement())
    }

    /// Attaches an importer: its attachment, and whether it may have the exporter's memory.
    pub fn attach(
        &mut self,
        rules: &P2pdmaRules,
        attaching: &Attaching,
    ) -> Result<(AttachmentId, bool), AttachError> {
        each!(self, buffer => {
            let id = buffer.attach(rules, attaching)?;
            Ok((id, buffer.attachment(id).is_some_and(|attachment| attachment.peer2peer)))
        })
    }

    /// Detaches an importer.
    pub fn detach(&mut self, id: AttachmentId) {
        each!(self, buffer => buffer.detach(id));
    }

    /// Pins the buffer; returns whom it told, where it has to move for that.
    pub fn pin(&mut self, id: AttachmentId) -> Result<Vec<AttachmentId>, PinError> {
        each!(self, buffer => {
            let before = buffer.exporter.placement();
            let moved = buffer.pin(id)? != before;
            Ok(if moved { buffer.invalidate() } else { Vec::new() })
        })
    }

    /// Drops a pin.
    pub fn unpin(&mut self) {
        each!(self, buffer => buffer.unpin());
    }

    /// Maps the buffer.
    pub fn map(&mut self, id: AttachmentId) -> Result<Mapped, MapError> {
        each!(self, buffer => buffer.map(id))
    }

    /// Ends a mapping.
    pub fn unmap(&mut self, id: AttachmentId) {
        each!(self, buffer => buffer.unmap(id));
    }

    /// Mappings in use.
    pub fn mappings(&self) -> usize {
        each!(self, buffer => buffer.mappings())
    }

    /// Pins in use.
    pub fn pins(&self) -> u32 {
        match self {
            Exported::Amdgpu(buffer) => buffer.pin_count(),
            Exported::Xe(buffer) => buffer.pin_count(),
            Exported::Vfio(_) => 0,
        }
    }

    /// A GPU moves the buffer: whom it told.
    pub fn relocate(&mut self, to: Placement) -> Result<Vec<AttachmentId>, MoveError> {
        match self {
            Exported::Amdgpu(buffer) => buffer.relocate(to),
            Exported::Xe(buffer) => buffer.relocate(to),
            Exported::Vfio(_) => Err(MoveError::NoPlace),
        }
    }

    /// VFIO takes the buffer away: whom it told.
    pub fn revoke(&mut self) -> Vec<AttachmentId> {
        match self {
            Exported::Vfio(buffer) => buffer.revoke(),
            _ => Vec::new(),
        }
    }

    /// How far that is, all fences having signalled.
    pub fn revocation(&mut self) -> Revocation {
        match self {
            Exported::Vfio(buffer) => buffer.poll_revocation(true),
            _ => Revocation::None,
        }
    }

    /// VFIO gives it back.
    pub fn unrevoke(&mut self) -> Option<Vec<AttachmentId>> {
        match self {
            Exported::Vfio(buffer) => buffer.unrevoke(),
            _ => None,
        }
    }
}
