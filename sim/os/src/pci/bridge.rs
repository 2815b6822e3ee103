//! Windows of bridges: which a bridge implements, what firmware programmed, and writing them.

use peerbus_units::{BusAddr, Bytes, FunctionId, Range};

use super::regs;
use super::resource::{IO_WINDOW, MEMORY_WINDOW, PREFETCH_WINDOW, Resource, ResourceFlags, ResourceRef};
use super::tree::{BridgeWindows, FunctionIndex, Tree};
use crate::{ConfigAccess, ConfigSpace};

/// Type field of base registers: 32-bit I/O, 64-bit prefetchable memory.
const IO_TYPE: u16 = 0x0f;
const IO_TYPE_32: u16 = 0x01;
const PREFETCH_TYPE: u32 = 0x0f;
const PREFETCH_TYPE_64: u32 = 0x01;

const IO_GRANULE: u64 = 0x1000;
const MEMORY_GRANULE: u64 = 0x10_0000;

/// Which optional windows a bridge implements. A register that reads 0 may still be writable.
pub(crate) fn detect(cs: &mut impl ConfigSpace, id: FunctionId) -> BridgeWindows {
    let io = match cs.read_word(id, regs::IO_BASE) {
        0 => {
            cs.write_word(id, regs::IO_BASE, 0xe0f0);
            let io = cs.read_word(id, regs::IO_BASE);
            cs.write_word(id, regs::IO_BASE, 0);
            io
        }
        io => io,
    };
    let prefetch = match cs.read_dword(id, regs::PREF_MEMORY_BASE) {
        0 => {
            cs.write_dword(id, regs::PREF_MEMORY_BASE, 0xffe0_fff0);
            let prefetch = cs.read_dword(id, regs::PREF_MEMORY_BASE);
            cs.write_dword(id, regs::PREF_MEMORY_BASE, 0);
            prefetch
        }
        prefetch => prefetch,
    };
    // A bridge that claims 64 bits must have writable upper halves.
    let prefetch_64 = prefetch & PREFETCH_TYPE == PREFETCH_TYPE_64 && {
        let upper = cs.read_dword(id, regs::PREF_BASE_UPPER32);
        cs.write_dword(id, regs::PREF_BASE_UPPER32, u32::MAX);
        let written = cs.read_dword(id, regs::PREF_BASE_UPPER32);
        cs.write_dword(id, regs::PREF_BASE_UPPER32, upper);
        written != 0
    };
    BridgeWindows { io: io != 0, prefetch: prefetch != 0, prefetch_64 }
}

/// Base, limit (both included) and flags of a programmed window; `None` when base lies above limit.
type Programmed = Option<(u64, u64, ResourceFlags)>;

fn programmed_io(cs: &impl ConfigSpace, id: FunctionId) -> Programmed {
    let register = cs.read_word(id, regs::IO_BASE);
    let mut base = u64::from(register & 0xf0) << 8;
    let mut limit = u64::from(register & 0xf000);
    if register & IO_TYPE == IO_TYPE_32 {
        let upper = cs.read_dword(id, regs::IO_BASE_UPPER16);
        base |= u64::from(upper & 0xffff) << 16;
        limit |= u64::from(upper & 0xffff_0000);
    }
    let flags = ResourceFlags::IO | ResourceFlags(u64::from(register & IO_TYPE));
    (base <= limit).then_some((base, limit + IO_GRANULE - 1, flags))
}

fn programmed_memory(cs: &impl ConfigSpace, id: FunctionId) -> Programmed {
    let register = cs.read_dword(id, regs::MEMORY_BASE);
    let base = u64::from(register & 0xfff0) << 16;
    let limit = u64::from(register & 0xfff0_0000);
    let flags = ResourceFlags::MEM | ResourceFlags(u64::from(register & 0xf));
    (base <= limit).then_some((base, limit + MEMORY_GRANULE - 1, flags))
}

fn programmed_prefetch(cs: &impl ConfigSpace, id: FunctionId) -> Programmed {
    let register = cs.read_dword(id, regs::PREF_MEMORY_BASE);
    let mut base = u64::from(register & 0xfff0) << 16;
    let mut limit = u64::from(register & 0xfff0_0000);
    let mut flags =
        ResourceFlags::MEM | ResourceFlags::PREFETCH | ResourceFlags(u64::from(register & PREFETCH_TYPE));
    if register & PREFETCH_TYPE == PREFETCH_TYPE_64 {
        let upper = u64::from(cs.read_dword(id, regs::PREF_BASE_UPPER32)) << 32;
        let upper_limit = u64::from(cs.read_dword(id, regs::PREF_LIMIT_UPPER32)) << 32;
        // Upper halves that contradict each other mean a window that is switched off.
        if upper <= upper_limit {
            base |= upper;
            limit |= upper_limit;
        }
        flags |= ResourceFlags::MEM_64;
    }
    (base <= limit).then_some((base, limit | (MEMORY_GRANULE - 1), flags))
}

/// Takes over the windows firmware programmed, as wishes to be claimed.
pub(crate) fn read_windows(cs: &impl ConfigSpace, tree: &mut Tree, bridge: FunctionIndex) {
    let id = tree[bridge].id;
    let implemented = tree[bridge].windows;
    let windows = [
        (IO_WINDOW, implemented.io, programmed_io(cs, id)),
        (MEMORY_WINDOW, true, programmed_memory(cs, id)),
        (PREFETCH_WINDOW, implemented.prefetch, programmed_prefetch(cs, id)),
    ];
    for (number, implemented, programmed) in windows {
        let Some((base, limit, flags)) = programmed.filter(|_| implemented) else { continue };
        let Some(range) = Range::new(BusAddr(base), BusAddr(limit)) else { continue };
        let firmware = tree.host_bridge_of(bridge).to_cpu(flags, range);
        let resource = Resource { flags, size: range.size(), align: 0, at: None, firmware: Some(firmware) };
        tree[bridge].resources[number] = resource;
    }
}

/// Gives the windows a bridge implements their types, so that they can be sized.
pub(crate) fn check_ranges(tree: &mut Tree, bridge: FunctionIndex) {
    let windows = tree[bridge].windows;
    let resources = &mut tree[bridge].resources;
    resources[MEMORY_WINDOW].flags |= ResourceFlags::MEM;
    if windows.io {
        resources[IO_WINDOW].flags |= ResourceFlags::IO;
    }
    if windows.prefetch {
        resources[PREFETCH_WINDOW].flags |= ResourceFlags::MEM | ResourceFlags::PREFETCH;
        if windows.prefetch_64 {
            let type_64 = ResourceFlags(u64::from(PREFETCH_TYPE_64));
            resources[PREFETCH_WINDOW].flags |= ResourceFlags::MEM_64 | type_64;
        }
    }
}

/// Bus addresses of an assigned window.
fn bus_range(tree: &Tree, at: ResourceRef) -> Option<(u64, u64)> {
    let first = tree.bus_address(at)?;
    Range::sized(first, tree.resource(at).size).map(|range| (range.first().0, range.last().0))
}

/// Programs the three windows of `bridge`. A window without an address is switched off (base above limit).
pub(crate) fn setup(cs: &mut impl ConfigSpace, tree: &Tree, bridge: FunctionIndex) {
    let id = tree[bridge].id;
    let window = |number| bus_range(tree, ResourceRef { function: bridge, number });
    if tree[bridge].windows.io {
        setup_io(cs, id, window(IO_WINDOW));
    }
    let memory = window(MEMORY_WINDOW).map_or(0x0000_fff0, base_and_limit);
    cs.write_dword(id, regs::MEMORY_BASE, memory);
    if tree[bridge].windows.prefetch {
        setup_prefetch(cs, id, window(PREFETCH_WINDOW), tree[bridge].windows.prefetch_64);
    }
    let control = cs.read_word(id, regs::BRIDGE_CONTROL);
    cs.write_word(id, regs::BRIDGE_CONTROL, control);
}

/// Bits 31–20 of both ends, as the memory base and limit registers hold them.
fn base_and_limit((first, last): (u64, u64)) -> u32 {
    (first >> 16 & 0xfff0) as u32 | (last & 0xfff0_0000) as u32
}

fn setup_io(cs: &mut impl ConfigSpace, id: FunctionId, window: Option<(u64, u64)>) {
    let (low, upper) = match window {
        Some((first, last)) => {
            let low = (first >> 8 & 0xf0) as u16 | (last & 0xf000) as u16;
            (low, (first >> 16 & 0xffff) as u32 | (last & 0xffff_0000) as u32)
        }
        None => (0x00f0, 0),
    };
    // Off while the halves disagree.
    cs.write_dword(id, regs::IO_BASE_UPPER16, 0x0000_ffff);
    cs.write_word(id, regs::IO_BASE, low);
    cs.write_dword(id, regs::IO_BASE_UPPER16, upper);
}

fn setup_prefetch(cs: &mut impl ConfigSpace, id: FunctionId, window: Option<(u64, u64)>, wide: bool) {
    // Off while the halves disagree.
    cs.write_dword(id, regs::PREF_LIMIT_UPPER32, 0);
    cs.write_dword(id, regs::PREF_MEMORY_BASE, window.map_or(0x0000_fff0, base_and_limit));
    let (base, limit) = window.filter(|_| wide).unwrap_or((0, 0));
    cs.write_dword(id, regs::PREF_BASE_UPPER32, (base >> 32) as u32);
    cs.write_dword(id, regs::PREF_LIMIT_UPPER32, (limit >> 32) as u32);
}

/// Granule of a window of that type: 4 KiB for I/O, 1 MiB for memory (PCI-to-PCI Bridge Architecture §3.2.5).
pub(crate) fn granule(flags: ResourceFlags) -> u64 {
    if flags.is_io() { IO_GRANULE } else { MEMORY_GRANULE }
}

/// True when `size` is a whole number of granules.
pub(crate) fn is_granular(flags: ResourceFlags, size: Bytes) -> bool {
    size.0.is_multiple_of(granule(flags))
}
