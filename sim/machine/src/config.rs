//! [`Config`]: what a source shows of a function's configuration space beyond what its role and part imply.
//!
//! A machine written by hand says what a function is, and its registers follow. A capture shows the registers
//! themselves: a port whose type is not that of its place, a bridge without PCI Express, an expansion ROM. Where
//! nothing is stated, role and part decide.

use peerbus_units::{BusAddr, Bytes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Bar;
use crate::part::ResourceKind;

/// Stated facts about one function; the default states none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Revision; 0 when not stated.
    pub revision: u8,
    /// I/O decoding, memory decoding and bus master bits of the command register as the source shows them.
    pub command: Option<u16>,
    /// PCI Express capability.
    pub express: Stated<Express>,
    /// Expansion ROM.
    pub rom: Option<Rom>,
    /// Registers of the I/O window of a bridge; by default 32-bit ones.
    pub io_window: Option<WindowWidth>,
    /// Registers of the prefetchable window of a bridge; by default 64-bit ones.
    pub prefetch_window: Option<WindowWidth>,
    /// Single Root I/O Virtualization.
    pub sriov: Option<Sriov>,
    /// ARI capability: the next function of the device, 0 for none.
    pub ari: Option<u8>,
    /// Base address registers of unknown size: they are listed, and hardware does not have them.
    pub unsized_bars: Vec<UnsizedBar>,
    /// True when [`crate::model::Function::firmware`] lists the windows of a bridge, open ones and no others.
    pub windows_stated: bool,
}

/// A structure that a function may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stated<T> {
    /// Nothing is stated: its role decides.
    #[default]
    ByRole,
    /// It has none.
    Absent,
    /// It has this one.
    Present(T),
}

impl<T: Copy> Stated<T> {
    /// What is stated, if anything.
    pub fn get(self) -> Option<T> {
        if let Stated::Present(value) = self { Some(value) } else { None }
    }
}

/// The PCI Express capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Express {
    /// Device/port type.
    pub port: PortKind,
    /// Version of the capability, 1 or 2.
    pub version: u8,
    /// Implements a slot.
    pub slot: bool,
    /// The slot can be hot-plugged.
    pub hot_plug: bool,
    /// Payload size that is programmed; by default the largest that its hierarchy supports.
    pub payload: Option<Bytes>,
    /// Read request size that is programmed; by default the part's.
    pub read_request: Option<Bytes>,
    /// Bits of the tags its requests may have, 5, 8, 10 or 14; by default as many as the part's number of tags needs.
    pub tag_bits: Option<u8>,
    /// Fastest generation of its link; by default the part's.
    pub generation: Option<u8>,
    /// Widest link; by default the part's.
    pub lanes: Option<u8>,
    /// A port can forward alternative routing ids.
    pub ari_forwarding: bool,
    /// A port does so.
    pub ari_enabled: bool,
}

/// Device/port types of the PCI Express capability.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub enum PortKind {
    /// An endpoint.
    Endpoint,
    /// An endpoint that may use I/O ports.
    LegacyEndpoint,
    /// A root port.
    RootPort,
    /// Upstream port of a switch.
    Upstream,
    /// Downstream port of a switch.
    Downstream,
    /// A bridge from PCI Express to conventional PCI.
    ToConventional,
    /// A bridge from conventional PCI to PCI Express.
    FromConventional,
    /// An endpoint inside the root complex.
    Integrated,
    /// An event collector inside the root complex.
    EventCollector,
}

impl PortKind {
    const NUMBERS: [(PortKind, u8); 9] = [
        (PortKind::Endpoint, 0),
        (PortKind::LegacyEndpoint, 1),
        (PortKind::RootPort, 4),
        (PortKind::Upstream, 5),
        (PortKind::Downstream, 6),
        (PortKind::ToConventional, 7),
        (PortKind::FromConventional, 8),
        (PortKind::Integrated, 9),
        (PortKind::EventCollector, 10),
    ];

    /// The number in the register.
    pub fn number(self) -> u8 {
        Self::NUMBERS.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, number)| *number)
    }

    /// The type with that number.
    pub fn from_number(number: u8) -> Option<PortKind> {
        Self::NUMBERS.iter().find(|(_, known)| *known == number).map(|(kind, _)| *kind)
    }
}

/// An expansion ROM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rom {
    /// Size, a power of two from 2 KiB up.
    pub size: Bytes,
    /// Address programmed by firmware.
    pub address: Option<BusAddr>,
}

/// How wide the registers of a bridge's window are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum WindowWidth {
    /// The bridge has no such window.
    Absent,
    /// Without upper halves: 16-bit I/O, 32-bit memory.
    Narrow,
    /// With upper halves: 32-bit I/O, 64-bit memory.
    Wide,
}

/// The SR-IOV capability of a physical function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sriov {
    /// Virtual functions that can be had.
    pub total: u16,
    /// Those that the source shows.
    pub enabled: u16,
    /// Routing id of the first, counted from the physical function's.
    pub offset: u16,
    /// From one to the next.
    pub stride: u16,
    /// Their device id.
    pub device: u16,
    /// Page sizes they support: bit n means 2^(n+12) bytes.
    pub page_sizes: u32,
    /// Base address registers of one virtual function; the address is that of the first one's.
    pub bars: Vec<Bar>,
}

/// A base address register of which the source does not show the size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnsizedBar {
    /// Register number.
    pub index: u8,
    /// Kind of its space.
    pub kind: ResourceKind,
}
