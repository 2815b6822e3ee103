//! Writing decisions back: BARs, and the command register that makes functions decode.

use peerbus_units::FunctionId;

use super::regs;
use super::resource::{IOV_FIRST, ROM, ResourceFlags, ResourceRef, is_iov, is_window};
use super::tree::{FunctionIndex, HeaderType, Tree};
use super::unplaced;
use crate::{ConfigAccess, ConfigSpace};

/// True when the function answers at its BARs.
pub(crate) fn decodes(cs: &impl ConfigSpace, id: FunctionId) -> bool {
    cs.read_word(id, regs::COMMAND) & regs::COMMAND_DECODE != 0
}

/// Writes the bus address of an assigned BAR, expansion ROM or SR-IOV BAR into its register. A ROM that does
/// not decode is left alone: some devices' registers hold nothing while disabled.
pub(crate) fn write_bar(cs: &mut impl ConfigSpace, tree: &Tree, at: ResourceRef) {
    let resource = tree.resource(at);
    let Some(address) = tree.bus_address(at) else { return };
    let function = &tree[at.function];
    let number = |from: usize| u16::try_from(at.number - from).unwrap_or(0);
    let register = match at.number {
        ROM if !resource.flags.has(ResourceFlags::ROM_ENABLE) => return,
        ROM if function.header == HeaderType::Bridge => regs::ROM_ADDRESS_BRIDGE,
        ROM => regs::ROM_ADDRESS,
        iov if is_iov(iov) => match function.capabilities.sriov {
            Some(capability) => capability + regs::SRIOV_BAR_0 + 4 * number(IOV_FIRST),
            None => return,
        },
        window if is_window(window) => return,
        _ => regs::BASE_ADDRESS_0 + 4 * number(0),
    };
    let wide = resource.flags.has(ResourceFlags::MEM_64);
    let low_bits = if at.number == ROM { regs::ROM_ENABLE } else { (resource.flags.0 & 0xf) as u32 };
    let command = cs.read_word(function.id, regs::COMMAND);
    if wide {
        // Off while the halves disagree.
        cs.write_word(function.id, regs::COMMAND, command & !regs::COMMAND_MEMORY);
    }
    cs.write_dword(function.id, register, (address.0 & 0xffff_ffff) as u32 | low_bits);
    if wide {
        cs.write_dword(function.id, register + 4, (address.0 >> 32) as u32);
        cs.write_word(function.id, regs::COMMAND, command);
    }
}

/// Switches an expansion ROM's decoding off.
pub(crate) fn disable_rom(cs: &mut impl ConfigSpace, tree: &mut Tree, function: FunctionIndex) {
    let bridge = tree[function].is_bridge();
    let register = if bridge { regs::ROM_ADDRESS_BRIDGE } else { regs::ROM_ADDRESS };
    let value = cs.read_dword(tree[function].id, register);
    cs.write_dword(tree[function].id, register, value & !regs::ROM_ENABLE);
    let rom = &mut tree[function].resources[ROM];
    rom.flags = rom.flags & !ResourceFlags::ROM_ENABLE;
}

/// Lets `function` decode the kinds it has addresses for and start transfers of its own. A kind of which
/// a BAR without an address would answer over something else stays off.
pub(crate) fn enable(cs: &mut impl ConfigSpace, tree: &Tree, function: FunctionIndex) {
    let mut command = cs.read_word(tree[function].id, regs::COMMAND) | regs::COMMAND_MASTER;
    for (number, resource) in tree[function].resources.iter().enumerate() {
        let counts = number != ROM && !is_iov(number) && resource.is_assigned();
        if counts && resource.flags.is_io() {
            command |= regs::COMMAND_IO;
        }
        if counts && resource.flags.is_mem() {
            command |= regs::COMMAND_MEMORY;
        }
    }
    command &= !unplaced::harmful(cs, tree, function);
    cs.write_word(tree[function].id, regs::COMMAND, command);
}
