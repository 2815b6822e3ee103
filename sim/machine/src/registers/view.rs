//! Typed views of programmed registers: pure reads of the bytes, for the fabric's decode tables and for reports.

use peerbus_units::{BusAddr, Bytes, Range};

use super::Registers;
use super::layout::*;
use super::space::ConfigSpace;
use super::tags;
use crate::model::FunctionIndex;
use crate::part::ResourceKind;

/// A base address register as it decodes now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodedBar {
    /// Register number, 0–5.
    pub index: u8,
    /// Bus addresses it answers to.
    pub range: Range<BusAddr>,
    /// Kind of its space.
    pub kind: ResourceKind,
}

/// A window of a bridge as it decodes now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodedWindow {
    /// Bus addresses it passes downstream.
    pub range: Range<BusAddr>,
    /// [`ResourceKind::Mem32`] or [`ResourceKind::Mem64Prefetch`]; [`ResourceKind::Io`] for an I/O window.
    pub kind: ResourceKind,
}

/// Bus numbers of a bridge; all zero before they are assigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusNumbers {
    /// Bus above.
    pub primary: u8,
    /// Bus directly below.
    pub secondary: u8,
    /// Highest bus below.
    pub subordinate: u8,
}

impl Registers {
    /// True for a type 1 header.
    pub fn is_bridge(&self, function: FunctionIndex) -> bool {
        self.space(function).u8(HEADER_TYPE) & 0x7f == HEADER_BRIDGE
    }

    /// Memory BARs that decode now: memory decoding enabled and an address programmed. Address 0 counts as none.
    pub fn bars(&self, function: FunctionIndex) -> Vec<DecodedBar> {
        self.decoded_bars(function, COMMAND_MEMORY, false)
    }

    /// I/O BARs that decode now.
    pub fn io_bars(&self, function: FunctionIndex) -> Vec<DecodedBar> {
        self.decoded_bars(function, COMMAND_IO, true)
    }

    fn decoded_bars(&self, function: FunctionIndex, enable: u16, io: bool) -> Vec<DecodedBar> {
        let space = self.space(function);
        if space.u16(COMMAND) & enable == 0 {
            return Vec::new();
        }
        let registers = if self.is_bridge(function) { 2 } else { 6 };
        let mut bars = Vec::new();
        let mut index = 0;
        while index < registers {
            let (bar, wide) = decode_bar(space, index);
            bars.extend(bar.filter(|bar| (bar.kind == ResourceKind::Io) == io));
            index += 1 + u8::from(wide);
        }
        bars
    }

    /// Size of a BAR as its mask has it now; `None` where there is none.
    pub fn bar_size(&self, function: FunctionIndex, index: u8) -> Option<Bytes> {
        bar_mask(self.space(function), index).map(|(mask, _)| mask_size(mask))
    }

    /// Memory windows of a bridge that are open now; empty for an endpoint.
    pub fn windows(&self, function: FunctionIndex) -> Vec<DecodedWindow> {
        let space = self.space(function);
        if !self.is_bridge(function) || space.u16(COMMAND) & COMMAND_MEMORY == 0 {
            return Vec::new();
        }
        let base = |offset: u16| u64::from(space.u16(offset) & 0xfff0) << 16;
        let upper = |offset: u16| u64::from(space.u32(offset)) << 32;
        let memory = (base(MEMORY_BASE), base(MEMORY_LIMIT) | 0xf_ffff, ResourceKind::Mem32);
        let prefetch = (
            base(PREFETCH_BASE) | upper(PREFETCH_BASE_UPPER),
            base(PREFETCH_LIMIT) | upper(PREFETCH_LIMIT_UPPER) | 0xf_ffff,
            ResourceKind::Mem64Prefetch,
        );
        [memory, prefetch].into_iter().filter_map(open).collect()
    }

    /// I/O window of a bridge, if it is open now.
    pub fn io_window(&self, function: FunctionIndex) -> Option<DecodedWindow> {
        let space = self.space(function);
        if !self.is_bridge(function) || space.u16(COMMAND) & COMMAND_IO == 0 {
            return None;
        }
        let address = |offset: u16, upper: u16| {
            u64::from(space.u8(offset) & 0xf0) << 8 | u64::from(space.u16(upper)) << 16
        };
        open((address(IO_BASE, IO_BASE_UPPER), address(IO_LIMIT, IO_LIMIT_UPPER) | 0xfff, ResourceKind::Io))
    }

    /// Bus numbers of a bridge; `None` for an endpoint.
    pub fn bus_numbers(&self, function: FunctionIndex) -> Option<BusNumbers> {
        let space = self.space(function);
        self.is_bridge(function).then(|| BusNumbers {
            primary: space.u8(PRIMARY_BUS),
            secondary: space.u8(SECONDARY_BUS),
            subordinate: space.u8(SUBORDINATE_BUS),
        })
    }

    /// True when the function may send requests of its own, or a bridge may forward them upstream.
    pub fn is_bus_master(&self, function: FunctionIndex) -> bool {
        self.space(function).u16(COMMAND) & COMMAND_MASTER != 0
    }

    /// ACS control word; `None` without the capability.
    pub fn acs_control(&self, function: FunctionIndex) -> Option<u16> {
        let space = self.space(function);
        space.acs.map(|offset| space.u16(offset + ACS_CONTROL))
    }

    /// Whether software lets the function translate addresses itself (ATS).
    pub fn ats_enabled(&self, function: FunctionIndex) -> bool {
        let space = self.space(function);
        space.ats.is_some_and(|offset| space.u16(offset + ATS_CONTROL) & ATS_ENABLE != 0)
    }

    /// ACS capability word; `None` without the capability.
    pub fn acs_capability(&self, function: FunctionIndex) -> Option<u16> {
        let space = self.space(function);
        space.acs.map(|offset| space.u16(offset + ACS_CAPABILITY))
    }

    /// Egress control vector: true when `port` may not be reached directly. False without the vector.
    pub fn acs_egress(&self, function: FunctionIndex, port: u8) -> bool {
        let space = self.space(function);
        let has_vector =
            |word: u16| word & ACS_EGRESS != 0 && (word >> 8 == 0 || u16::from(port) < word >> 8);
        match space.acs {
            Some(offset) if has_vector(space.u16(offset + ACS_CAPABILITY)) => {
                space.u8(offset + ACS_EGRESS_VECTOR + u16::from(port / 8)) >> (port % 8) & 1 != 0
            }
            _ => false,
        }
    }

    /// True with a PCI Express capability.
    pub fn is_express(&self, function: FunctionIndex) -> bool {
        self.space(function).is_express()
    }

    /// Largest payload the function sends and accepts; 128 bytes without a PCI Express capability.
    pub fn max_payload(&self, function: FunctionIndex) -> Bytes {
        self.device_control(function).map_or(Bytes(128), |word| decode_transfer_size(word >> 5 & 7))
    }

    /// Largest read request the function sends; 128 bytes without a PCI Express capability.
    pub fn max_read_request(&self, function: FunctionIndex) -> Bytes {
        self.device_control(function).map_or(Bytes(128), |word| decode_transfer_size(word >> 12 & 7))
    }

    /// Tags that the function's requests may have at a time; 32 without a PCI Express capability.
    pub fn tags(&self, function: FunctionIndex) -> u16 {
        tags::enabled(self.space(function))
    }

    /// Whether its requests may have Relaxed Ordering.
    pub fn relaxed_ordering(&self, function: FunctionIndex) -> bool {
        self.device_control(function).is_some_and(|word| word & RELAXED_ORDERING != 0)
    }

    /// Whether its requests may have No Snoop.
    pub fn no_snoop(&self, function: FunctionIndex) -> bool {
        self.device_control(function).is_some_and(|word| word & NO_SNOOP != 0)
    }

    /// Whether its requests, and whether its completions, may have ID-based Ordering.
    pub fn id_based_ordering(&self, function: FunctionIndex) -> [bool; 2] {
        let space = self.space(function);
        let word = if space.is_express() { space.u16(EXPRESS + DEVICE_CONTROL2) } else { 0 };
        [ID_ORDERED_REQUESTS, ID_ORDERED_COMPLETIONS].map(|bit| word & bit != 0)
    }

    fn device_control(&self, function: FunctionIndex) -> Option<u16> {
        let space = self.space(function);
        space.is_express().then(|| space.u16(EXPRESS + DEVICE_CONTROL))
    }
}

/// A window unless its base lies above its limit.
fn open((first, last, kind): (u64, u64, ResourceKind)) -> Option<DecodedWindow> {
    Some(DecodedWindow { range: Range::new(BusAddr(first), BusAddr(last))?, kind })
}

/// Address bits of a BAR as a 64-bit mask, and its kind; `None` where no BAR is implemented.
fn bar_mask(space: &ConfigSpace, index: u8) -> Option<(u64, ResourceKind)> {
    let offset = BAR0 + 4 * u16::from(index);
    let flags = space.u32(offset);
    let mask = u64::from(space.writable32(offset));
    // Implemented 32-bit registers keep their upper bits writable; 64-bit ones of 4 GiB and more do not.
    let above = !u64::from(u32::MAX);
    let kind = match flags & 0xf {
        low if low & BAR_IO != 0 => ResourceKind::Io,
        low if low & (BAR_64BIT | BAR_PREFETCH) == BAR_64BIT | BAR_PREFETCH => ResourceKind::Mem64Prefetch,
        low if low & BAR_64BIT != 0 => ResourceKind::Mem64,
        low if low & BAR_PREFETCH != 0 => ResourceKind::Mem32Prefetch,
        _ => ResourceKind::Mem32,
    };
    if kind.is_64bit() {
        return Some((mask | u64::from(space.writable32(offset + 4)) << 32, kind));
    }
    (mask != 0).then_some((mask | above, kind))
}

fn mask_size(mask: u64) -> Bytes {
    Bytes(mask.wrapping_neg())
}

/// The decoded BAR at `index` if it has an address, and whether it takes the next register too.
fn decode_bar(space: &ConfigSpace, index: u8) -> (Option<DecodedBar>, bool) {
    let Some((mask, kind)) = bar_mask(space, index) else {
        return (None, false);
    };
    let offset = BAR0 + 4 * u16::from(index);
    let upper = if kind.is_64bit() { u64::from(space.u32(offset + 4)) << 32 } else { 0 };
    let address = (upper | u64::from(space.u32(offset))) & mask;
    let range = Range::sized(BusAddr(address), mask_size(mask)).filter(|_| address != 0);
    (range.map(|range| DecodedBar { index, range, kind }), kind.is_64bit())
}
