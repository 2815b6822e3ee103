//! Standard headers as hardware comes out of reset: type 0 for endpoints, type 1 for ports.

use super::layout::*;
use super::space::{ConfigSpace, low};
use crate::model::{Bar, Config, Function, Rom, WindowWidth};
use crate::part::ResourceKind;

/// Fills the standard header of `function`.
pub(crate) fn build(space: &mut ConfigSpace, function: &Function, is_bridge: bool, multi_function: bool) {
    common(space, function);
    let mut header_type = if is_bridge { HEADER_BRIDGE } else { 0 };
    if multi_function {
        header_type |= HEADER_MULTI_FUNCTION;
    }
    space.set_u8(HEADER_TYPE, header_type);
    let registers = if is_bridge { 2 } else { 6 };
    for bar in &function.bars {
        build_bar(space, bar, registers);
    }
    if let Some(rom) = function.config.rom {
        build_rom(space, rom, if is_bridge { ROM_ADDRESS_BRIDGE } else { ROM_ADDRESS });
    }
    if is_bridge {
        bridge(space, &function.config);
    } else {
        space.set_u16(SUBSYSTEM, function.subsystem.vendor);
        space.set_u16(SUBSYSTEM + 2, function.subsystem.device);
    }
    space.set_writable16(COMMAND, command_mask(function, is_bridge));
}

fn common(space: &mut ConfigSpace, function: &Function) {
    space.set_u16(VENDOR, function.pci.vendor);
    space.set_u16(VENDOR + 2, function.pci.device);
    space.set_u32(CLASS, function.class << 8 | u32::from(function.config.revision));
    space.set_clear_on_write16(STATUS, STATUS_ERRORS);
    space.set_writable8(CACHE_LINE_SIZE, 0xff);
    space.set_writable8(INTERRUPT_LINE, 0xff);
}

/// Decoding of a space can be enabled when there is something to decode.
fn command_mask(function: &Function, is_bridge: bool) -> u16 {
    let has = |io: bool| is_bridge || function.bars.iter().any(|bar| (bar.kind == ResourceKind::Io) == io);
    let bit = |io, bit| if has(io) { bit } else { 0 };
    COMMAND_MASTER | COMMAND_OTHER | bit(true, COMMAND_IO) | bit(false, COMMAND_MEMORY)
}

/// True when the header has registers enough for the BAR.
pub(crate) fn has_room(bar: &Bar, registers: u8) -> bool {
    u16::from(bar.index) + u16::from(bar.kind.is_64bit()) < u16::from(registers)
}

/// A BAR whose registers the header does not have is left out; machine files are checked for that when read.
fn build_bar(space: &mut ConfigSpace, bar: &Bar, registers: u8) {
    if !has_room(bar, registers) {
        return;
    }
    space.set_u32(BAR0 + 4 * u16::from(bar.index), bar_flags(bar.kind));
    space.set_bar_size(bar.index, bar.size);
}

/// The type bits of a BAR.
pub(crate) fn bar_flags(kind: ResourceKind) -> u32 {
    match kind {
        ResourceKind::Io => BAR_IO,
        ResourceKind::Mem32 => 0,
        ResourceKind::Mem32Prefetch => BAR_PREFETCH,
        ResourceKind::Mem64 => BAR_64BIT,
        ResourceKind::Mem64Prefetch => BAR_64BIT | BAR_PREFETCH,
    }
}

/// Address bits of an expansion ROM from its size up are writable, and the bit that switches it on.
fn build_rom(space: &mut ConfigSpace, rom: Rom, register: u16) {
    let mask = !low(rom.size.0 - 1) & ROM_MASK;
    space.set_writable32(register, mask | 1);
}

/// Bus numbers zero; windows closed (base above limit), as firmware leaves those it does not use. Unless something else
/// is stated, I/O windows are 32-bit and prefetchable windows 64-bit.
fn bridge(space: &mut ConfigSpace, config: &Config) {
    for offset in [PRIMARY_BUS, SECONDARY_BUS, SUBORDINATE_BUS] {
        space.set_writable8(offset, 0xff);
    }
    let io = config.io_window.unwrap_or(WindowWidth::Wide);
    if io != WindowWidth::Absent {
        io_window(space, io == WindowWidth::Wide);
    }
    for (offset, closed) in [(MEMORY_BASE, 0xfff0), (MEMORY_LIMIT, 0)] {
        space.set_u16(offset, closed);
        space.set_writable16(offset, 0xfff0);
    }
    let prefetch = config.prefetch_window.unwrap_or(WindowWidth::Wide);
    if prefetch != WindowWidth::Absent {
        prefetch_window(space, prefetch == WindowWidth::Wide);
    }
    space.set_clear_on_write16(SECONDARY_STATUS, STATUS_ERRORS);
    space.set_writable16(BRIDGE_CONTROL, BRIDGE_CONTROL_WRITABLE);
}

/// The low bits of base and limit say whether there are upper halves.
fn io_window(space: &mut ConfigSpace, wide: bool) {
    for (offset, closed) in [(IO_BASE, 0xf0), (IO_LIMIT, 0x00)] {
        space.set_u8(offset, closed | u8::from(wide));
        space.set_writable8(offset, 0xf0);
    }
    if wide {
        for offset in [IO_BASE_UPPER, IO_LIMIT_UPPER] {
            space.set_writable16(offset, u16::MAX);
        }
    }
}

fn prefetch_window(space: &mut ConfigSpace, wide: bool) {
    for (offset, closed) in [(PREFETCH_BASE, 0xfff0), (PREFETCH_LIMIT, 0)] {
        space.set_u16(offset, closed | u16::from(wide));
        space.set_writable16(offset, 0xfff0);
    }
    if wide {
        for offset in [PREFETCH_BASE_UPPER, PREFETCH_LIMIT_UPPER] {
            space.set_writable32(offset, low(u64::MAX));
        }
    }
}
