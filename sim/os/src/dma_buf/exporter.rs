//! GPUs as exporters: when their memory is given to a peer, and where a pinned buffer lies.

use alloc::vec::Vec;
use core::fmt;

use super::{AttachError, Attaching, AttachmentId, DmaBuf, Exporter, MapError, PinError};
use crate::p2pdma::P2pdmaRules;

/// Where a buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// In the device's own memory: importers need `peer2peer`.
    Device,
    /// In system memory.
    System,
}

/// Where a buffer may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Places {
    /// In the device's own memory.
    pub device: bool,
    /// In system memory.
    pub system: bool,
}

impl Places {
    /// The place for a pinned buffer: with the device if every importer reaches it there.
    fn for_pin(self, every_peer2peer: bool) -> Option<Placement> {
        let device = (self.device && every_peer2peer).then_some(Placement::Device);
        device.or(self.system.then_some(Placement::System))
    }
}

/// Why a driver could not move its buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveError {
    /// Somebody pinned it.
    Pinned,
    /// It may not be there.
    NoPlace,
}

impl fmt::Display for MoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MoveError::Pinned => "the buffer is pinned",
            MoveError::NoPlace => "the buffer may not be there",
        })
    }
}

impl core::error::Error for MoveError {}

/// When a driver gives its device's memory to an importer.
pub trait Giving {
    /// Whether an importer may have the device's memory; or it may not attach at all.
    fn attach(&self, rules: &P2pdmaRules, places: Places, attaching: &Attaching)
    -> Result<bool, AttachError>;
}

/// A buffer of a GPU: where it lies is every driver's same business, to whom it is given is its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GpuBuffer<G> {
    /// What the driver decides by.
    pub giving: G,
    placed: Placed,
}

impl<G> GpuBuffer<G> {
    /// A buffer in the GPU's memory if it may be there.
    fn with(giving: G, places: Places) -> GpuBuffer<G> {
        GpuBuffer { giving, placed: Placed::new(places) }
    }
}

impl<G: Giving> Exporter for GpuBuffer<G> {
    fn attach(&mut self, rules: &P2pdmaRules, attaching: &Attaching) -> Result<bool, AttachError> {
        self.giving.attach(rules, self.placed.places, attaching)
    }

    fn placement(&self) -> Placement {
        self.placed.at
    }

    fn pins(&self) -> bool {
        true
    }

    fn pin(&mut self, every_peer2peer: bool) -> Result<Placement, PinError> {
        self.placed.pin(every_peer2peer)
    }

    fn unpin(&mut self) {
        self.placed.pins = self.placed.pins.saturating_sub(1);
    }

    fn place(&mut self, peer2peer: bool) -> Result<Placement, MapError> {
        self.placed.place(peer2peer)
    }
}

impl<G: Giving> DmaBuf<GpuBuffer<G>> {
    /// The driver moves the buffer for reasons of its own, as when its memory is full. Returns whom it told: they stop using
    /// what they mapped, and only then may the data move.
    pub fn relocate(&mut self, to: Placement) -> Result<Vec<AttachmentId>, MoveError> {
        let placed = &mut self.exporter.placed;
        if !placed.may_be(to) {
            return Err(MoveError::NoPlace);
        }
        if placed.at == to {
            return Ok(Vec::new());
        }
        if !placed.bring(to) {
            return Err(MoveError::Pinned);
        }
        Ok(self.invalidate())
    }

    /// How often the buffer is pinned.
    pub fn pin_count(&self) -> u32 {
        self.exporter.placed.pins
    }
}

/// Where a buffer may be, where it is, and how often it is pinned there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Placed {
    places: Places,
    at: Placement,
    pins: u32,
}

impl Placed {
    fn new(places: Places) -> Placed {
        let at = if places.device { Placement::Device } else { Placement::System };
        Placed { places, at, pins: 0 }
    }

    fn may_be(&self, at: Placement) -> bool {
        match at {
            Placement::Device => self.places.device,
            Placement::System => self.places.system,
        }
    }

    /// Moves what is not pinned.
    fn bring(&mut self, to: Placement) -> bool {
        if self.pins == 0 {
            self.at = to;
        }
        self.at == to
    }

    fn pin(&mut self, every_peer2peer: bool) -> Result<Placement, PinError> {
        let place = self.places.for_pin(every_peer2peer).ok_or(PinError::NoPlace)?;
        if !self.bring(place) {
            return Err(PinError::PinnedElsewhere);
        }
        self.pins += 1;
        Ok(place)
    }

    /// An importer with the flag takes the buffer where it is; one without needs it in system memory.
    fn place(&mut self, peer2peer: bool) -> Result<Placement, MapError> {
        if peer2peer && self.at == Placement::Device {
            return Ok(self.at);
        }
        let found = self.places.system && self.bring(Placement::System);
        if found { Ok(Placement::System) } else { Err(MapError::NoPlace) }
    }
}

/// amdgpu: without the flag, the buffer goes to system memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AmdgpuGiving {
    /// The buffer is compressed as only the GPU itself understands (GFX12 DCC).
    pub compressed: bool,
    /// The GPU is awake.
    pub runtime_active: bool,
}

/// A buffer of amdgpu.
pub type Amdgpu = GpuBuffer<AmdgpuGiving>;

impl Amdgpu {
    /// An uncompressed buffer of a GPU that is awake, in the GPU's memory if it may be there.
    pub fn new(places: Places) -> Amdgpu {
        GpuBuffer::with(AmdgpuGiving { compressed: false, runtime_active: true }, places)
    }
}

impl Giving for AmdgpuGiving {
    /// Never fails for the flag.
    fn attach(&self, rules: &P2pdmaRules, _: Places, attaching: &Attaching) -> Result<bool, AttachError> {
        let reachable = attaching.xgmi || attaching.distance.is_some();
        let private = self.compressed && rules.compressed_buffers_stay_private;
        let asleep = !self.runtime_active && rules.sleeping_exporters_stay_private;
        Ok(attaching.peer2peer() && reachable && !private && !asleep)
    }
}

/// xe: refuses importers that do not reach the GPU's memory if the buffer cannot leave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XeGiving;

/// A buffer of xe.
pub type Xe = GpuBuffer<XeGiving>;

impl Xe {
    /// A buffer in the GPU's memory if it may be there.
    pub fn new(places: Places) -> Xe {
        GpuBuffer::with(XeGiving, places)
    }
}

impl Giving for XeGiving {
    fn attach(&self, _: &P2pdmaRules, places: Places, attaching: &Attaching) -> Result<bool, AttachError> {
        let peer2peer = attaching.peer2peer() && attaching.distance.is_some();
        if !peer2peer && !places.system {
            return Err(AttachError::CannotMove);
        }
        Ok(peer2peer)
    }
}
