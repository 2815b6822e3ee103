//! GPUs as exporters: when their memory is given to a peer, and where a pinned buffer lies.

use super::{AttachError, Attaching, Exporter, MapError, PinError};
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

/// What both GPU drivers keep of a buffer.
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

/// A buffer of amdgpu.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Amdgpu {
    /// It is compressed as only the GPU itself understands (GFX12 DCC).
    pub compressed: bool,
    /// The GPU is awake.
    pub runtime_active: bool,
    placed: Placed,
}

impl Amdgpu {
    /// An uncompressed buffer of a GPU that is awake, in the GPU's memory if it may be there.
    pub fn new(places: Places) -> Amdgpu {
        Amdgpu { compressed: false, runtime_active: true, placed: Placed::new(places) }
    }
}

impl Exporter for Amdgpu {
    /// Never fails for the flag: without it, the buffer goes to system memory.
    fn attach(&mut self, rules: &P2pdmaRules, attaching: &Attaching) -> Result<bool, AttachError> {
        let reachable = attaching.xgmi || attaching.distance.is_some();
        let private = self.compressed && rules.compressed_buffers_stay_private;
        let asleep = !self.runtime_active && rules.sleeping_exporters_stay_private;
        Ok(attaching.peer2peer() && reachable && !private && !asleep)
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

/// A buffer of xe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Xe {
    placed: Placed,
}

impl Xe {
    /// A buffer in the GPU's memory if it may be there.
    pub fn new(places: Places) -> Xe {
        Xe { placed: Placed::new(places) }
    }
}

impl Exporter for Xe {
    /// Fails where the importer does not reach the GPU's memory and the buffer cannot leave it.
    fn attach(&mut self, _: &P2pdmaRules, attaching: &Attaching) -> Result<bool, AttachError> {
        let peer2peer = attaching.peer2peer() && attaching.distance.is_some();
        if !peer2peer && !self.placed.places.system {
            return Err(AttachError::CannotMove);
        }
        Ok(peer2peer)
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
