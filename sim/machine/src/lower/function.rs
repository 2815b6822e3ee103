//! What single functions have: base address registers, ACS words, class codes.

use std::ops::Range;

use peerbus_units::Bytes;

use super::context::{Context, Place};
use super::limits::{acs_controls, bar_sizes, is_class};
use crate::codes;
use crate::file::{self, Leaf};
use crate::model::{Acs, Bar};
use crate::part::{BarPart, ResourceKind};

/// The class code in the field `class` of what stands at `place`.
pub(super) fn class(ctx: &mut Context, leaf: &Option<Leaf<u32>>, place: &Place) -> Option<u32> {
    let class = ctx.take(leaf, place, "class", "a class code of 24 bits such as 0x030200")?;
    if !is_class(class) {
        let message = format!("class code {class:#x} has more than 24 bits");
        let help = "write base class, subclass and interface, one byte each, such as 0x030200";
        ctx.error(codes::BAD_CLASS, &place.field("class"), message, help);
    }
    Some(class & 0xff_ffff)
}

/// The ACS words in the field `acs` of what stands at `place`, over a part's capability. `None` for a function
/// without the capability. Says also whether the capability is the part's.
pub(super) fn acs(
    ctx: &mut Context,
    given: Option<&file::Acs>,
    place: &Place,
    part: Option<u16>,
) -> (Option<Acs>, bool) {
    let Some(given) = given else {
        return (part.map(|capability| Acs { capability, control: 0 }), true);
    };
    let place = place.field("acs");
    let stated =
        ctx.take(&given.capability, &place, "capability", "a 16-bit ACS capability word such as 0x005f");
    let control = ctx.take(&given.control, &place, "control", "a 16-bit ACS control word such as 0x001d");
    let capability = stated.or(part).unwrap_or(0);
    let control = control.unwrap_or(0);
    let beyond = control & !acs_controls(capability);
    if beyond != 0 && (stated.is_some() || given.capability.is_none()) {
        let message = format!(
            "ACS control {control:#06x} sets bits {beyond:#06x}, which capability {capability:#06x} lacks"
        );
        let help = format!("write `control: {:#06x}`, or a capability that has the bits", control & !beyond);
        ctx.error(codes::ACS_BEYOND_CAPABILITY, &place.field("control"), message, help);
    }
    let present = capability != 0;
    (present.then_some(Acs { capability, control }), given.capability.is_none())
}

/// The base address registers of a part.
pub(super) fn part_bars(bars: &[BarPart]) -> Vec<Bar> {
    let bar = |part: &BarPart| {
        let BarPart { index, size, kind, resizable } = *part;
        Bar { index, size, kind, resizable, address: None }
    };
    bars.iter().map(bar).collect()
}

/// The base address registers in the field `bars` of what stands at `place`. Those that cannot exist are
/// reported and left out.
pub(super) fn bars(ctx: &mut Context, bars: &[file::Bar], place: &Place) -> Vec<Bar> {
    let mut found: Vec<Bar> = Vec::new();
    for (position, given) in bars.iter().enumerate().filter(|(_, given)| !given.size_unknown) {
        let place = place.element("bars", position);
        let Some(bar) = bar(ctx, given, &place) else { continue };
        match found.iter().find(|other| overlaps(&registers(other), &registers(&bar))) {
            Some(other) => {
                let range = registers(other);
                let wide = if range.len() == 2 { ", whose upper half is there" } else { "" };
                let message =
                    format!("register {} is used by the BAR at index {}{wide}", bar.index, other.index);
                let help = "give every BAR a register of its own, and a 64-bit one the next register too";
                ctx.error(codes::BAR_REGISTER_TAKEN, &place.field("index"), message, help);
            }
            None => found.push(bar),
        }
    }
    found
}

fn registers(bar: &Bar) -> Range<u8> {
    bar.index..bar.index + if bar.kind.is_64bit() { 2 } else { 1 }
}

fn overlaps(a: &Range<u8>, b: &Range<u8>) -> bool {
    a.start < b.end && b.start < a.end
}

fn bar(ctx: &mut Context, given: &file::Bar, place: &Place) -> Option<Bar> {
    let index = ctx.require(&given.index, place, "index", "a register number, 0 to 5");
    let size = ctx.require(&given.size, place, "size", "a size such as \"16MiB\"");
    let kind = ctx.require(&given.kind, place, "kind", "Mem32, Mem32Prefetch, Mem64, Mem64Prefetch or Io");
    let address = ctx.take(&given.address, place, "address", "a bus address such as 0x9000_0000");
    let resizable = ctx.take(&given.resizable, place, "resizable", "a set of sizes: bit n means 2^n MiB");
    let index = index.filter(|index| index_exists(ctx, *index, kind, place));
    let size = size.filter(|size| size_fits(ctx, *size, kind, place));
    let (index, size, kind) = (index?, size?, kind?);
    let bar = Bar { index, size, kind, resizable, address };
    check_address(ctx, &bar, place);
    check_resizable(ctx, &bar, place);
    Some(bar)
}

fn index_exists(ctx: &mut Context, index: u8, kind: Option<ResourceKind>, place: &Place) -> bool {
    let place = place.field("index");
    if index > 5 {
        let message = format!("there is no base address register {index}");
        ctx.error(codes::BAR_INDEX, &place, message, "write a register number from 0 to 5");
    } else if index == 5 && kind.is_some_and(ResourceKind::is_64bit) {
        let message = "a 64-bit BAR takes two registers, and 5 is the last".to_owned();
        ctx.error(codes::BAR_64BIT_LAST, &place, message, "write an index from 0 to 4, or a 32-bit kind");
        return false;
    }
    index <= 5
}

fn size_fits(ctx: &mut Context, size: Bytes, kind: Option<ResourceKind>, place: &Place) -> bool {
    let place = place.field("size");
    if !size.is_power_of_two() {
        let larger = size.0.checked_next_power_of_two().filter(|_| size.0 > 0).map(Bytes);
        let smaller = larger.map(|larger| Bytes(larger.0 / 2));
        let help = match smaller.zip(larger) {
            Some((smaller, larger)) => format!("write \"{smaller}\" or \"{larger}\""),
            None => "write a power of two such as \"16MiB\"".to_owned(),
        };
        ctx.error(codes::BAR_NOT_POWER_OF_TWO, &place, format!("{size} is not a power of two"), help);
        return false;
    }
    let Some(kind) = kind else { return true };
    let (smallest, largest) = bar_sizes(kind);
    let fits = (smallest..=largest).contains(&size);
    if !fits {
        let message = format!("a BAR of kind {kind:?} cannot have {size}");
        ctx.error(
            codes::BAR_SIZE_RANGE,
            &place,
            message,
            format!("write a size from \"{smallest}\" to \"{largest}\""),
        );
    }
    fits
}

fn check_address(ctx: &mut Context, bar: &Bar, place: &Place) {
    let Some(address) = bar.address else { return };
    let place = place.field("address");
    let aligned = address.0 & !(bar.size.0 - 1);
    if aligned != address.0 {
        let message = format!("address {address} is not a multiple of the size, {}", bar.size);
        ctx.error(codes::BAR_ADDRESS, &place, message, format!("write {aligned:#x}, or a smaller size"));
    }
    let limit = match bar.kind {
        ResourceKind::Io => 0xffff,
        kind if kind.is_64bit() => u64::MAX,
        _ => u64::from(u32::MAX),
    };
    if address.0.checked_add(bar.size.0 - 1).is_none_or(|last| last > limit) {
        let message = format!("a BAR of kind {:?} with {} does not fit at {address}", bar.kind, bar.size);
        ctx.error(
            codes::BAR_ADDRESS,
            &place,
            message,
            format!("write an address so that its last byte is at most {limit:#x}"),
        );
    }
}

fn check_resizable(ctx: &mut Context, bar: &Bar, place: &Place) {
    let Some(sizes) = bar.resizable else { return };
    // Bit n stands for 2^n MiB, that is 2^(n + 20) bytes.
    let bit = bar.size.0.trailing_zeros().checked_sub(20).map(|bit| 1u64 << bit);
    if bit.is_some_and(|bit| sizes & bit != 0) {
        return;
    }
    let message = format!("resizable sizes {sizes:#x} lack the present size, {}", bar.size);
    let help = match bit {
        Some(bit) => format!("write `resizable: {:#x}`, or another size", sizes | bit),
        None => "a resizable BAR has at least 1MiB".to_owned(),
    };
    ctx.error(codes::BAR_NOT_RESIZABLE, &place.field("resizable"), message, help);
}
