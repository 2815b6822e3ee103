//! [`Draft`]: a machine under construction, in the order of its file.
//!
//! Differs from [`crate::Machine`] where something may still be missing: parts that were not found, bus numbers
//! that are not chosen yet, names that depend on them.

use peerbus_units::Bytes;
use petgraph::graph::Graph;

use super::context::Place;
use crate::model::{
    Arbitration, Attachment, Cpu, Device, Facts, Function, FunctionIndex, Link, OrderingEnables, Switch,
    Window,
};
use crate::part::{AperturePart, CpuPart, DeviceKind, DevicePart, SwitchPart};

#[derive(Default)]
pub(super) struct Draft {
    pub cpus: Vec<DraftCpu>,
    pub bridges: Vec<DraftBridge>,
    pub switches: Vec<DraftSwitch>,
    pub devices: Vec<DraftDevice>,
    pub links: Vec<Link>,
    pub functions: Graph<Function, Attachment>,
    /// Where each function stands in the file.
    pub places: Vec<Place>,
}

pub(super) struct DraftCpu {
    pub part: Option<CpuPart>,
    pub memory: Bytes,
    /// False when the memory is our default.
    pub memory_given: bool,
    pub assumed: Facts,
}

pub(super) struct DraftBridge {
    pub place: Place,
    pub cpu: Option<usize>,
    pub domain: Option<u32>,
    pub bus: Option<u8>,
    pub bus_last: Option<u8>,
    pub windows: Vec<Window>,
    /// False when windows are laid out by rule.
    pub windows_given: bool,
    pub functions: Vec<FunctionIndex>,
    pub placed: bool,
    pub assumed: Facts,
}

pub(super) struct DraftSwitch {
    pub place: Place,
    pub part: Option<SwitchPart>,
    pub upstream: FunctionIndex,
    pub downstream: Vec<FunctionIndex>,
    pub arbitration: Arbitration,
    /// The chip that it is a partition of, with others of that name.
    pub chip: Option<String>,
    /// Links of its ports; the first is the upstream one.
    pub links: Vec<usize>,
    /// Ports in use: upstream, downstream and invisible ones.
    pub ports: usize,
    pub assumed: Facts,
}

pub(super) struct DraftDevice {
    pub place: Place,
    pub part: Option<DevicePart>,
    pub name: Option<String>,
    /// True when the file gives a name that cannot be used.
    pub name_lost: bool,
    pub functions: Vec<FunctionIndex>,
    pub memory: Option<Bytes>,
    pub link: Option<usize>,
    pub max_read_request: Bytes,
    pub ordering: OrderingEnables,
    pub aperture: Option<AperturePart>,
    pub assumed: Facts,
}

impl DraftCpu {
    pub fn finish(self, name: String) -> Option<Cpu> {
        Some(Cpu { name, part: self.part?, memory: self.memory, assumed: self.assumed })
    }
}

impl DraftSwitch {
    pub fn finish(self, name: String) -> Option<Switch> {
        let DraftSwitch { part, upstream, downstream, arbitration, assumed, .. } = self;
        Some(Switch { name, part: part?, upstream, downstream, arbitration, assumed })
    }
}

impl DraftDevice {
    /// The stem of a generated name.
    pub fn stem(&self) -> &'static str {
        self.part.as_ref().map_or(DeviceKind::Other, |part| part.kind).stem()
    }

    pub fn finish(self) -> Option<Device> {
        Some(Device {
            name: self.name?,
            part: self.part?,
            functions: self.functions,
            memory: self.memory,
            link: self.link,
            max_read_request: self.max_read_request,
            ordering: self.ordering,
            aperture: self.aperture,
            assumed: self.assumed,
        })
    }
}
