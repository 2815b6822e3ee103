//! [`ConfigSpace`]: the only way this crate sees hardware.

use peerbus_units::FunctionId;

/// Width of a configuration access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits, at an even offset.
    Word,
    /// 32 bits, at an offset divisible by four.
    Dword,
}

/// Configuration space of a machine: 4096 bytes per function.
pub trait ConfigSpace {
    /// Reads a register; all ones when nothing answers.
    fn read(&self, function: FunctionId, offset: u16, width: Width) -> u32;
    /// Writes a register; without effect when nothing answers.
    fn write(&mut self, function: FunctionId, offset: u16, width: Width, value: u32);
}
