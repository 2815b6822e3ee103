//! The capability lists: PCI Express, and as extended capabilities ACS, Resizable BAR, ARI, SR-IOV and ATS.

use peerbus_units::Bytes;

use super::header::{bar_flags, has_room};
use super::layout::*;
use super::space::{ConfigSpace, ResizableBar, high, low};
use super::tags;
use crate::model::{Acs, Bar, Express, Function, OrderingEnables, PortKind, Sriov};

/// What a function's link can do and has negotiated: generation 1–7 and lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkState {
    pub(crate) max_generation: u8,
    pub(crate) max_lanes: u8,
    /// `None` while nothing is connected.
    pub(crate) negotiated: Option<(u8, u8)>,
}

/// The PCI Express capability of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Capability {
    pub(crate) port: PortKind,
    pub(crate) max_payload: Bytes,
    pub(crate) link: Option<LinkState>,
    /// What a source states beside.
    pub(crate) stated: Option<Express>,
}

/// Adds the PCI Express capability, by default version 2, with the payload size at 128 bytes and the read request size
/// at 512 bytes, as the specification asks for after reset.
pub(crate) fn express(space: &mut ConfigSpace, capability: &Capability) {
    let Capability { port, max_payload, link, stated } = *capability;
    let version = stated.map_or(2, |stated| u16::from(stated.version));
    space.set_u16(STATUS, space.u16(STATUS) | STATUS_CAPABILITIES);
    space.set_u16(CAPABILITIES, EXPRESS);
    space.set_u8(EXPRESS, EXPRESS_ID);
    space.set_u16(EXPRESS + EXPRESS_FLAGS, version | u16::from(port.number()) << 4);
    if version > 1 {
        space.set_writable16(EXPRESS + DEVICE_CONTROL2, ID_ORDERED_REQUESTS | ID_ORDERED_COMPLETIONS);
    }
    if let Some(stated) = stated {
        port_features(space, &stated);
    }
    let payload = u32::from(encode_transfer_size(max_payload));
    space.set_u32(EXPRESS + DEVICE_CAPABILITIES, DEVICE_CAPABILITIES_FIXED | payload);
    space.set_u16(EXPRESS + DEVICE_CONTROL, DEVICE_CONTROL_POWER_ON);
    space.set_writable16(EXPRESS + DEVICE_CONTROL, DEVICE_CONTROL_WRITABLE);
    set_transfer_sizes(space, Bytes(128), Bytes(512));
    space.set_clear_on_write16(EXPRESS + DEVICE_STATUS, DEVICE_STATUS_ERRORS);
    if let Some(link) = link {
        express_link(space, link);
    }
}

/// Slots, and forwarding of alternative routing ids.
fn port_features(space: &mut ConfigSpace, stated: &Express) {
    if stated.slot {
        space.set_u16(EXPRESS + EXPRESS_FLAGS, space.u16(EXPRESS + EXPRESS_FLAGS) | SLOT_IMPLEMENTED);
        let capable = if stated.hot_plug { HOT_PLUG_CAPABLE } else { 0 };
        space.set_u32(EXPRESS + SLOT_CAPABILITIES, capable);
    }
    if stated.ari_forwarding {
        space.set_u32(EXPRESS + DEVICE_CAPABILITIES2, ARI_FORWARDING);
        let others = ID_ORDERED_REQUESTS | ID_ORDERED_COMPLETIONS;
        space.set_writable16(EXPRESS + DEVICE_CONTROL2, ARI_FORWARDING_CONTROL | others);
        let control = if stated.ari_enabled { ARI_FORWARDING_CONTROL } else { 0 };
        space.set_u16(EXPRESS + DEVICE_CONTROL2, control);
    }
}

/// Programs the payload and read request sizes, in place of firmware.
pub(crate) fn set_transfer_sizes(space: &mut ConfigSpace, max_payload: Bytes, max_read_request: Bytes) {
    let sizes = encode_transfer_size(max_payload) << 5 | encode_transfer_size(max_read_request) << 12;
    let control = space.u16(EXPRESS + DEVICE_CONTROL) & !0x70e0;
    space.set_u16(EXPRESS + DEVICE_CONTROL, control | sizes);
}

/// Programs which orderings the function may ask for, in place of firmware. Version 1 has no ID-based one.
pub(crate) fn set_ordering(space: &mut ConfigSpace, ordering: OrderingEnables) {
    let control = space.u16(EXPRESS + DEVICE_CONTROL) & !RELAXED_ORDERING;
    space.set_u16(EXPRESS + DEVICE_CONTROL, control | if ordering.relaxed { RELAXED_ORDERING } else { 0 });
    let both = ID_ORDERED_REQUESTS | ID_ORDERED_COMPLETIONS;
    if space.u16(EXPRESS + EXPRESS_FLAGS) & 0xf > 1 {
        let control = space.u16(EXPRESS + DEVICE_CONTROL2) & !both;
        space.set_u16(EXPRESS + DEVICE_CONTROL2, control | if ordering.id_based { both } else { 0 });
    }
}

fn express_link(space: &mut ConfigSpace, link: LinkState) {
    let speeds = (1u16 << link.max_generation.clamp(1, 7)) - 1;
    let width = |lanes: u8| u16::from(lanes & 0x3f) << 4;
    let fastest = u16::from(link.max_generation & 0xf);
    space.set_u32(EXPRESS + LINK_CAPABILITIES, u32::from(fastest | width(link.max_lanes)));
    space.set_writable16(EXPRESS + LINK_CONTROL, LINK_CONTROL_WRITABLE);
    // Without a link the current speed reads as 2.5 GT/s and the width as zero.
    let (generation, lanes) = link.negotiated.unwrap_or((1, 0));
    space.set_u16(EXPRESS + LINK_STATUS, u16::from(generation & 0xf) | width(lanes));
    space.set_u32(EXPRESS + LINK_CAPABILITIES2, u32::from(speeds) << 1);
    space.set_u16(EXPRESS + LINK_CONTROL2, fastest);
    space.set_writable16(EXPRESS + LINK_CONTROL2, 0x000f);
}

/// Adds the extended capabilities of `function` and chains them from 0x100 on.
pub(crate) fn extended(
    space: &mut ConfigSpace,
    function: &Function,
    registers: u8,
    tag_bits: u8,
    translates: bool,
) {
    let mut list = ExtendedList { next: EXTENDED, last: None };
    if let Some(words) = function.acs {
        acs(space, &mut list, words);
    }
    let sizeable =
        |bar: &&Bar| bar.resizable.is_some() && bar.size >= Bytes::mib(1) && has_room(bar, registers);
    let bars: Vec<&Bar> = function.bars.iter().filter(sizeable).take(6).collect();
    if !bars.is_empty() {
        resizable(space, &mut list, &bars);
    }
    if let Some(next) = function.config.ari {
        let offset = list.add(space, ARI_ID, ARI_LENGTH);
        space.set_u8(offset + ARI_NEXT, next);
    }
    if tag_bits == 14 {
        let offset = list.add(space, DEVICE3_ID, DEVICE3_LENGTH);
        tags::enable_fourteen(space, offset);
    }
    if let Some(virtual_functions) = &function.config.sriov {
        sriov(space, &mut list, virtual_functions);
    }
    if translates {
        ats(space, &mut list);
    }
}

/// Where the next extended capability goes, and the one that has to point to it.
struct ExtendedList {
    next: u16,
    last: Option<u16>,
}

impl ExtendedList {
    /// Puts a header of version 1 at the end of the list and keeps `length` bytes for the structure.
    fn add(&mut self, space: &mut ConfigSpace, id: u16, length: u16) -> u16 {
        let offset = self.next;
        if let Some(last) = self.last {
            space.set_u16(last + 2, space.u16(last + 2) | offset << 4);
        }
        space.set_u16(offset, id);
        space.set_u16(offset + 2, 1);
        self.last = Some(offset);
        self.next = offset + length.next_multiple_of(4);
        assert!(self.next <= SPACE_SIZE, "extended capabilities exceed configuration space");
        offset
    }
}

/// ACS: control bits are writable where the capability has the feature. The egress control vector has a bit per
/// port; a size field of zero means 256.
fn acs(space: &mut ConfigSpace, list: &mut ExtendedList, words: Acs) {
    let vector_bits = if words.capability & ACS_EGRESS == 0 {
        0
    } else {
        match words.capability >> 8 {
            0 => 256,
            bits => bits,
        }
    };
    let offset = list.add(space, ACS_ID, ACS_EGRESS_VECTOR + vector_bits.div_ceil(32) * 4);
    space.acs = Some(offset);
    space.set_u16(offset + ACS_CAPABILITY, words.capability);
    space.set_u16(offset + ACS_CONTROL, words.control);
    let enhanced = if words.capability & ACS_ENHANCED != 0 { 0x1f80 } else { 0 };
    space.set_writable16(offset + ACS_CONTROL, words.capability & 0x7f | enhanced);
    for byte in 0..vector_bits.div_ceil(8) {
        space.set_writable8(offset + ACS_EGRESS_VECTOR + byte, 0xff);
    }
}

/// ATS: disabled at power on.
fn ats(space: &mut ConfigSpace, list: &mut ExtendedList) {
    let offset = list.add(space, ATS_ID, ATS_LENGTH);
    space.ats = Some(offset);
    space.set_u16(offset + ATS_CAPABILITY, ATS_FEATURES);
    space.set_writable16(offset + ATS_CONTROL, ATS_CONTROL_WRITABLE);
}

/// Resizable BAR: a capability and a control register per BAR. Sizes up to 2^27 MiB stand in the capability
/// register from bit 4 up, sizes from 2^28 to 2^43 MiB in the upper half of the control register.
fn resizable(space: &mut ConfigSpace, list: &mut ExtendedList, bars: &[&Bar]) {
    let count = (1..).zip(bars).fold(0u16, |_, (count, _)| count);
    let offset = list.add(space, RESIZABLE_ID, RESIZABLE_FIRST + 8 * count);
    for (entry, bar) in (0u16..).zip(bars) {
        let at = offset + RESIZABLE_FIRST + 8 * entry;
        let size = u8::try_from(bar.size.0.ilog2() - 20).unwrap_or(0);
        // The size a BAR has is supported whether or not its description lists it.
        let sizes = (bar.resizable.unwrap_or(0) | 1 << size) & ((1 << 44) - 1);
        space.set_u32(at, low(sizes << 4));
        let number = if entry == 0 { count << 5 } else { 0 };
        let control = u32::from(u16::from(bar.index) | number | u16::from(size) << 8);
        space.set_u32(at + 4, control | low(sizes >> 28) << 16);
        space.set_writable8(at + 5, 0x3f);
        space.resizable.push(ResizableBar { control: at + 4, bar: bar.index, sizes });
    }
}

/// SR-IOV: numbers and base address registers of virtual functions. What a source shows as enabled is found enabled.
fn sriov(space: &mut ConfigSpace, list: &mut ExtendedList, given: &Sriov) {
    let offset = list.add(space, SRIOV_ID, SRIOV_LENGTH);
    let control = if given.enabled > 0 { SRIOV_CONTROL_ENABLE } else { 0 };
    space.set_u16(offset + SRIOV_CONTROL, control);
    space.set_writable16(offset + SRIOV_CONTROL, SRIOV_CONTROL_WRITABLE);
    // Initial and total numbers are equal without migration.
    space.set_u16(offset + SRIOV_TOTAL - 2, given.total);
    space.set_u16(offset + SRIOV_TOTAL, given.total);
    space.set_u16(offset + SRIOV_NUMBER, given.enabled);
    space.set_writable16(offset + SRIOV_NUMBER, u16::MAX);
    space.set_u16(offset + SRIOV_OFFSET, given.offset);
    space.set_u16(offset + SRIOV_STRIDE, given.stride);
    space.set_u16(offset + SRIOV_DEVICE, given.device);
    space.set_u32(offset + SRIOV_PAGES, given.page_sizes);
    space.set_u32(offset + SRIOV_PAGE, 1);
    space.set_writable32(offset + SRIOV_PAGE, given.page_sizes);
    for bar in given.bars.iter().filter(|bar| has_room(bar, 6)) {
        let register = offset + SRIOV_BAR + 4 * u16::from(bar.index);
        space.set_u32(register, bar_flags(bar.kind));
        space.set_bar_size_at(register, bar.size);
        if let Some(address) = bar.address {
            space.write(register, 4, low(address.0));
            if bar.kind.is_64bit() {
                space.write(register + 4, 4, high(address.0));
            }
        }
    }
    space.generation = 0;
}
