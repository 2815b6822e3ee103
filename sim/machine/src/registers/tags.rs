//! Tags: how many of them the control registers let a requester use at a time.
//!
//! Requests carry tags of 5 bits, of 8 with the extended tag field enabled, of 10 or 14 with the enables of those. A
//! requester of 10-bit tags leaves those out whose two upper bits are zero, and one of 14-bit tags those whose four
//! upper bits are, so that they cannot be taken for shorter ones (Base Specification, Transaction ID).

use super::layout::*;
use super::space::ConfigSpace;
use crate::model::Function;

/// Bits of a function's tags, as stated; 0 when nothing is.
pub(crate) fn bits(function: &Function) -> u8 {
    function.config.express.get().and_then(|stated| stated.tag_bits).unwrap_or(0)
}

/// Bits that so many tags need.
pub(crate) fn bits_for(tags: u16) -> u8 {
    match tags {
        0..=32 => 5,
        33..=256 => 8,
        257..=768 => 10,
        _ => 14,
    }
}

/// Enables tags of that many bits, apart from 14: see [`enable_fourteen`].
pub(crate) fn enable(space: &mut ConfigSpace, bits: u8) {
    let control = space.u16(EXPRESS + DEVICE_CONTROL) & !EXTENDED_TAGS;
    let extended = if bits >= 8 { EXTENDED_TAGS } else { 0 };
    space.set_u16(EXPRESS + DEVICE_CONTROL, control | extended);
    if bits >= 10 {
        let capabilities = space.u32(EXPRESS + DEVICE_CAPABILITIES2);
        space.set_u32(EXPRESS + DEVICE_CAPABILITIES2, capabilities | TEN_BIT_TAGS_CAPABLE);
        let writable = space.writable32(EXPRESS + DEVICE_CONTROL2) & 0xffff;
        let writable = u16::try_from(writable).unwrap_or(0) | TEN_BIT_TAGS;
        space.set_writable16(EXPRESS + DEVICE_CONTROL2, writable);
        space.set_u16(EXPRESS + DEVICE_CONTROL2, space.u16(EXPRESS + DEVICE_CONTROL2) | TEN_BIT_TAGS);
    }
}

/// Enables tags of 14 bits in the capability at `offset`.
pub(crate) fn enable_fourteen(space: &mut ConfigSpace, offset: u16) {
    space.device3 = Some(offset);
    space.set_u32(offset + DEVICE3_CAPABILITIES, FOURTEEN_BIT_TAGS_CAPABLE);
    space.set_u16(offset + DEVICE3_CONTROL, FOURTEEN_BIT_TAGS);
    space.set_writable16(offset + DEVICE3_CONTROL, FOURTEEN_BIT_TAGS);
}

/// Tags that the registers let requests have at a time.
pub(crate) fn enabled(space: &ConfigSpace) -> u16 {
    if !space.is_express() {
        return 32;
    }
    let fourteen = space.device3.map(|offset| space.u16(offset + DEVICE3_CONTROL));
    if fourteen.is_some_and(|control| control & FOURTEEN_BIT_TAGS != 0) {
        (1 << 14) - (1 << 10)
    } else if space.u16(EXPRESS + DEVICE_CONTROL2) & TEN_BIT_TAGS != 0 {
        (1 << 10) - (1 << 8)
    } else if space.u16(EXPRESS + DEVICE_CONTROL) & EXTENDED_TAGS != 0 {
        1 << 8
    } else {
        1 << 5
    }
}
