//! [`Facts`]: what a capture shows of one function, from whichever of its texts.
//!
//! Two views exist of an address: what the kernel believes (text of `lspci`, `resource` of sysfs: CPU addresses) and
//! what the registers hold (hexadecimal dump: bus addresses). Both are kept until the windows of host bridges are
//! known. A fact that no text shows stays unknown; nothing is filled in here.

use std::ops::Range;

use peerbus_units::{Bytes, FunctionId};

use crate::part::{PciId, ResourceKind};

/// What is known about a capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Known<T> {
    /// The capture does not say whether there is one.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// There is one.
    Present(T),
}

impl<T: Copy> Known<T> {
    /// The capability, if there is known to be one.
    pub fn get(self) -> Option<T> {
        if let Known::Present(value) = self { Some(value) } else { None }
    }

    /// This, or `other` where this says nothing.
    pub fn or(self, other: Known<T>) -> Known<T> {
        if matches!(self, Known::Unknown) { other } else { self }
    }
}

/// Device/port types of the PCI Express capability, as numbers of its register.
pub mod port_type {
    /// PCI Express endpoint.
    pub const ENDPOINT: u8 = 0;
    /// Legacy PCI Express endpoint.
    pub const LEGACY_ENDPOINT: u8 = 1;
    /// Root port.
    pub const ROOT_PORT: u8 = 4;
    /// Upstream port of a switch.
    pub const UPSTREAM: u8 = 5;
    /// Downstream port of a switch.
    pub const DOWNSTREAM: u8 = 6;
    /// PCI Express to conventional PCI bridge.
    pub const TO_CONVENTIONAL: u8 = 7;
    /// Conventional PCI to PCI Express bridge.
    pub const FROM_CONVENTIONAL: u8 = 8;
    /// Root complex integrated endpoint.
    pub const INTEGRATED: u8 = 9;
    /// Root complex event collector.
    pub const EVENT_COLLECTOR: u8 = 10;
}

/// Speed and width of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// PCIe generation, 1–7.
    pub generation: u8,
    /// Lanes; 0 when no link is up.
    pub lanes: u8,
}

/// The PCI Express capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Express {
    /// One of [`port_type`].
    pub port: u8,
    /// Version of the capability.
    pub version: Option<u8>,
    /// Implements a slot.
    pub slot: bool,
    /// The slot supports hot-plug.
    pub hot_plug: bool,
    /// Largest payload it supports.
    pub max_payload: Option<Bytes>,
    /// Payload size that is programmed.
    pub payload: Option<Bytes>,
    /// Read request size that is programmed.
    pub read_request: Option<Bytes>,
    /// Bits of the tags its requests may have.
    pub tag_bits: Option<u8>,
    /// What its link can do.
    pub capable: Option<Link>,
    /// What its link has negotiated.
    pub status: Option<Link>,
    /// A port can forward alternative routing ids.
    pub ari_forwarding: bool,
    /// A port does so.
    pub ari_enabled: bool,
}

/// Capability and control word of ACS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acs {
    /// What it can do.
    pub capability: u16,
    /// What is set.
    pub control: u16,
}

/// A base address register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bar {
    /// Register number.
    pub index: u8,
    /// Kind of its space.
    pub kind: ResourceKind,
    /// Its size, if shown.
    pub size: Option<Bytes>,
    /// Address as the kernel shows it.
    pub cpu: Option<u64>,
    /// Address that its register holds.
    pub bus: Option<u64>,
    /// The kernel's view was shown and does not have it: it found no place.
    pub unplaced: bool,
}

/// An expansion ROM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rom {
    /// Its size, if shown.
    pub size: Option<Bytes>,
    /// Address as the kernel shows it.
    pub cpu: Option<u64>,
    /// Address that its register holds.
    pub bus: Option<u64>,
}

/// A window of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// First and last address, bus addresses where the registers were shown; `None` for a closed window.
    pub range: Option<(u64, u64)>,
    /// Its registers have upper halves: 32-bit I/O, 64-bit memory. `None` when not shown.
    pub wide: Option<bool>,
}

/// The windows of a bridge, those that are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Windows {
    /// I/O ports.
    pub io: Known<Window>,
    /// Memory.
    pub memory: Known<Window>,
    /// Prefetchable memory.
    pub prefetch: Known<Window>,
}

/// Single Root I/O Virtualization.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sriov {
    /// Virtual functions that can be had.
    pub total: u16,
    /// Those that are switched on.
    pub enabled: u16,
    /// Routing id of the first, counted from the physical function's.
    pub offset: u16,
    /// From one to the next.
    pub stride: u16,
    /// Their device id.
    pub device: u16,
    /// Page sizes they support: bit n means 2^(n+12) bytes.
    pub page_sizes: u32,
    /// Their base address registers; sizes are those of one virtual function.
    pub bars: Vec<Bar>,
}

/// Bus numbers of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buses {
    /// Directly below; 0 when not configured.
    pub secondary: u8,
    /// Highest below.
    pub subordinate: u8,
}

/// What is shown of one function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Where it is.
    pub id: FunctionId,
    /// File and place of its first mention.
    pub place: (String, Range<usize>),
    /// Vendor and product in words.
    pub description: Option<String>,
    /// Vendor and device.
    pub pci: Option<PciId>,
    /// Subsystem vendor and device.
    pub subsystem: Option<PciId>,
    /// Class code, 24 bits.
    pub class: Option<u32>,
    /// Revision.
    pub revision: Option<u8>,
    /// Header type without its multi-function bit.
    pub header: Option<u8>,
    /// Command register: decoding and bus master bits.
    pub command: Option<u16>,
    /// Bus numbers of a bridge.
    pub buses: Option<Buses>,
    /// PCI Express capability.
    pub express: Known<Express>,
    /// ACS capability.
    pub acs: Known<Acs>,
    /// Base address registers.
    pub bars: Vec<Bar>,
    /// Expansion ROM.
    pub rom: Option<Rom>,
    /// Windows of a bridge.
    pub windows: Windows,
    /// SR-IOV capability.
    pub sriov: Option<Sriov>,
    /// ARI capability: the next function.
    pub ari: Option<u8>,
    /// Sizes of resizable BARs by register: bit n means 2^n MiB.
    pub resizable: Vec<(u8, u64)>,
    /// NUMA node.
    pub node: Option<u32>,
    /// A device tree describes it: the machine is no PC.
    pub device_tree: bool,
    /// Its base address registers as the kernel has them are shown, so that one which is missing has no place.
    pub detailed: bool,
}

impl Facts {
    /// A function of which only the place is known.
    pub fn new(id: FunctionId, place: (String, Range<usize>)) -> Facts {
        Facts {
            id,
            place,
            description: None,
            pci: None,
            subsystem: None,
            class: None,
            revision: None,
            header: None,
            command: None,
            buses: None,
            express: Known::Unknown,
            acs: Known::Unknown,
            bars: Vec::new(),
            rom: None,
            windows: Windows::default(),
            sriov: None,
            ari: None,
            resizable: Vec::new(),
            node: None,
            device_tree: false,
            detailed: false,
        }
    }

    /// True for a PCI-to-PCI bridge.
    pub fn is_bridge(&self) -> bool {
        match self.header {
            Some(header) => header == 1,
            None => self.buses.is_some() || self.class.is_some_and(|class| class >> 8 == 0x0604),
        }
    }
}
