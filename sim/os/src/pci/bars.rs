//! Sizing of BARs: write all ones, see which address bits stay zero, restore.
//!
//! Decoding is switched off around it, so that a function does not answer at the nonsense addresses in
//! between.

use peerbus_units::{BusAddr, Bytes, FunctionId, Range};

use super::regs;
use super::resource::{IOV_FIRST, ROM, Resource, ResourceFlags};
use super::tree::{FunctionIndex, HeaderType, Tree};
use crate::{ConfigAccess, ConfigSpace};

/// Low bits of a memory BAR that are not address.
const MEMORY_LOW: u32 = 0xf;
const MEMORY_PREFETCH: u32 = 0x8;
const MEMORY_TYPE: u32 = 0x6;
const MEMORY_TYPE_64: u32 = 0x4;
const SPACE_IO: u32 = 0x1;
/// Low bits of an I/O BAR that are not address.
const IO_LOW: u32 = 0x3;

/// What a BAR says about itself.
struct Found {
    flags: ResourceFlags,
    address: u64,
    size: u64,
    registers: u16,
}

/// Reads value and size mask of one 32-bit register.
fn probe(cs: &mut impl ConfigSpace, id: FunctionId, register: u16, ones: u32) -> (u32, u32) {
    let value = cs.read_dword(id, register);
    cs.write_dword(id, register, value | ones);
    let mask = cs.read_dword(id, register);
    cs.write_dword(id, register, value);
    (value, mask)
}

/// All ones in a register that also holds type bits mean that nobody answered.
fn answered((value, mask): (u32, u32)) -> (u32, u32) {
    (if value == u32::MAX { 0 } else { value }, if mask == u32::MAX { 0 } else { mask })
}

/// The size that a read-back of `mask` describes, 0 for none. `base` is the value before: a register that
/// ignores the write and holds no valid mask is no BAR.
fn size_of(base: u64, mask: u64, address_bits: u64) -> u64 {
    let implemented = mask & address_bits;
    if implemented == 0 {
        return 0;
    }
    let size = implemented & implemented.wrapping_neg();
    if base == mask && (base | (size - 1)) & address_bits != address_bits { 0 } else { size }
}

fn bar_flags(value: u32) -> ResourceFlags {
    if value & SPACE_IO != 0 {
        return ResourceFlags::IO | ResourceFlags(u64::from(value & IO_LOW));
    }
    let mut flags = ResourceFlags::MEM | ResourceFlags(u64::from(value & MEMORY_LOW));
    if value & MEMORY_PREFETCH != 0 {
        flags |= ResourceFlags::PREFETCH;
    }
    if value & MEMORY_TYPE == MEMORY_TYPE_64 {
        flags |= ResourceFlags::MEM_64;
    }
    flags
}

/// Sizes the BAR at `register`. A 64-bit one takes two registers.
fn read_bar(cs: &mut impl ConfigSpace, id: FunctionId, register: u16) -> Found {
    let (low, low_mask) = answered(probe(cs, id, register, u32::MAX));
    let flags = bar_flags(low) | ResourceFlags::SIZEALIGN;
    if flags.is_io() {
        let bits = u64::from(!IO_LOW);
        let size = size_of(u64::from(low & !IO_LOW), u64::from(low_mask & !IO_LOW), bits);
        return Found { flags, address: u64::from(low & !IO_LOW), size, registers: 1 };
    }
    let mut address = u64::from(low & !MEMORY_LOW);
    let mut mask = u64::from(low_mask & !MEMORY_LOW);
    let mut bits = u64::from(!MEMORY_LOW);
    let mut registers = 1;
    if flags.has(ResourceFlags::MEM_64) {
        let (high, high_mask) = probe(cs, id, register + 4, u32::MAX);
        address |= u64::from(high) << 32;
        mask |= u64::from(high_mask) << 32;
        bits |= u64::from(u32::MAX) << 32;
        registers = 2;
    }
    Found { flags, address, size: size_of(address, mask, bits), registers }
}

fn read_rom(cs: &mut impl ConfigSpace, id: FunctionId, register: u16) -> Found {
    let (value, mask) = answered(probe(cs, id, register, regs::ROM_MASK));
    let mut flags =
        ResourceFlags::MEM | ResourceFlags::PREFETCH | ResourceFlags::READONLY | ResourceFlags::SIZEALIGN;
    if value & regs::ROM_ENABLE != 0 {
        flags |= ResourceFlags::ROM_ENABLE;
    }
    let base = u64::from(value & regs::ROM_MASK);
    let size = size_of(base, u64::from(mask & regs::ROM_MASK), u64::from(regs::ROM_MASK));
    Found { flags, address: base, size, registers: 1 }
}

/// A sized BAR as a resource; `copies` of it for SR-IOV.
fn resource(tree: &Tree, function: FunctionIndex, found: &Found, copies: u16) -> Resource {
    let bytes = Bytes(found.size.saturating_mul(u64::from(copies)));
    let firmware = Range::sized(BusAddr(found.address), bytes)
        .map(|range| tree.host_bridge_of(function).to_cpu(found.flags, range))
        .filter(|_| found.address != 0);
    Resource { flags: found.flags, size: bytes, align: found.size, at: None, firmware }
}

/// Fills in the resources of `function` that its BAR registers describe.
pub(crate) fn read_bases(cs: &mut impl ConfigSpace, tree: &mut Tree, function: FunctionIndex) {
    let id = tree[function].id;
    let (bars, rom) = match tree[function].header {
        HeaderType::Normal => (6, Some(regs::ROM_ADDRESS)),
        HeaderType::Bridge => (2, Some(regs::ROM_ADDRESS_BRIDGE)),
        HeaderType::CardBus => (1, None),
        HeaderType::Unknown(_) => (0, None),
    };
    let command = cs.read_word(id, regs::COMMAND);
    if command & regs::COMMAND_DECODE != 0 {
        cs.write_word(id, regs::COMMAND, command & !regs::COMMAND_DECODE);
    }
    let mut number = 0;
    while number < bars {
        let found = read_bar(cs, id, regs::BASE_ADDRESS_0 + 4 * number);
        if found.size != 0 {
            tree[function].resources[usize::from(number)] = resource(tree, function, &found, 1);
        }
        number += found.registers;
    }
    fix_compatible_channels(tree, function);
    if let Some(register) = rom {
        let found = read_rom(cs, id, register);
        if found.size != 0 {
            tree[function].resources[ROM] = resource(tree, function, &found, 1);
        }
    }
    if command & regs::COMMAND_DECODE != 0 {
        cs.write_word(id, regs::COMMAND, command);
    }
}

/// A channel of an IDE controller: the bit of the programming interface that lets it move, the number of its first BAR,
/// and where it answers without: eight ports, and one of a second block.
const IDE_CHANNELS: [IdeChannel; 2] =
    [(0x1, 0, [(0x1f0, 8), (0x3f6, 1)]), (0x4, 2, [(0x170, 8), (0x376, 1)])];
type IdeChannel = (u32, usize, [(u64, u64); 2]);
const CLASS_IDE: u32 = 0x0101;

/// Channels of an IDE controller in compatibility mode answer at the ports of a PC/AT, whatever their BARs hold (PCI IDE
/// Controller Specification 1.0): immovable resources, the only ones there are here. Enhanced Allocation is not read.
fn fix_compatible_channels(tree: &mut Tree, function: FunctionIndex) {
    let class = tree[function].class;
    if tree[function].class_code() != CLASS_IDE || tree[function].header != HeaderType::Normal {
        return;
    }
    for (_, number, blocks) in IDE_CHANNELS.into_iter().filter(|channel| class & channel.0 == 0) {
        for (number, (port, size)) in (number..).zip(blocks) {
            let flags = ResourceFlags::IO | ResourceFlags::FIXED;
            let found = Found { flags, address: port, size, registers: 1 };
            tree[function].resources[number] = resource(tree, function, &found, 1);
        }
    }
}

/// Fills in the SR-IOV BARs and the number of virtual functions. Virtual functions left enabled by firmware
/// are switched off first: their BARs must not decode while they are sized.
pub(crate) fn read_sriov(cs: &mut impl ConfigSpace, tree: &mut Tree, function: FunctionIndex) {
    let Some(capability) = tree[function].capabilities.sriov else { return };
    let id = tree[function].id;
    let control = cs.read_word(id, capability + regs::SRIOV_CONTROL);
    if control & regs::SRIOV_CONTROL_VF_ENABLE != 0 {
        cs.write_word(id, capability + regs::SRIOV_CONTROL, control & !regs::SRIOV_CONTROL_VF_ENABLE);
    }
    let total = cs.read_word(id, capability + regs::SRIOV_TOTAL_VFS);
    let pages = cs.read_dword(id, capability + regs::SRIOV_SUPPORTED_PAGE_SIZES);
    if total == 0 || total == u16::MAX || pages == 0 {
        return;
    }
    // The smallest page the device supports, 4 KiB being bit 0.
    cs.write_dword(id, capability + regs::SRIOV_SYSTEM_PAGE_SIZE, pages & pages.wrapping_neg());
    tree[function].total_vfs = total;
    let mut number = 0;
    while number < 6 {
        let found = read_bar(cs, id, capability + regs::SRIOV_BAR_0 + 4 * number);
        if found.size >= 4096 && !found.flags.is_io() {
            tree[function].resources[IOV_FIRST + usize::from(number)] =
                resource(tree, function, &found, total);
        }
        number += found.registers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_from_the_lowest_writable_bit() {
        let bits = 0xffff_fff0;
        for (base, mask, size) in [
            (0, 0xffff_f000, 0x1000),
            (0xfebf_0000, 0xffff_0000, 0x1_0000),
            (0, 0, 0),
            // Hard-wired and not a mask: no BAR.
            (0xfec0_1230, 0xfec0_1230, 0),
            // Firmware left the register at its mask.
            (0xffff_f000, 0xffff_f000, 0x1000),
        ] {
            assert_eq!(size_of(base, mask, bits), size, "base {base:#x} mask {mask:#x}");
        }
        let bits64 = 0xffff_ffff_ffff_fff0;
        assert_eq!(size_of(0, 0xffff_ffc0_0000_0000, bits64), 256 << 30);
    }
}
