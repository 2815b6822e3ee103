//! [`ConfigSpace`]: the only way this crate sees hardware.
//!
//! An implementation answers configuration requests by bus, device and function as the fabric would route
//! them *now*: a function behind a bridge answers only while the bus numbers programmed into the bridges
//! above lead to it. A function that does not answer reads all ones, and a write to it is lost.

use peerbus_units::FunctionId;

/// Width of one configuration access. Accesses are naturally aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Dword,
}

impl Width {
    /// All bits of this width set: what a read that nobody answers returns.
    pub const fn ones(self) -> u32 {
        match self {
            Width::Byte => 0xff,
            Width::Word => 0xffff,
            Width::Dword => 0xffff_ffff,
        }
    }
}

/// Reads and writes configuration registers of functions.
pub trait ConfigSpace {
    /// The register at `offset` (0–4095) of `function`, zero-extended; all ones when nobody answers.
    fn read(&self, function: FunctionId, offset: u16, width: Width) -> u32;

    /// Writes the low bits of `value` to the register at `offset`. Read-only bits keep their value.
    fn write(&mut self, function: FunctionId, offset: u16, width: Width, value: u32);
}

/// Accesses of a fixed width, for every [`ConfigSpace`]. Registers beyond the last of a function's 4096 bytes, where
/// a capability list can lead that hardware made up, read as all ones; writes there are lost.
pub trait ConfigAccess: ConfigSpace {
    /// Reads 8 bits.
    fn read_byte(&self, function: FunctionId, offset: u16) -> u8 {
        (read(self, function, offset, Width::Byte) & 0xff) as u8
    }

    /// Reads 16 bits.
    fn read_word(&self, function: FunctionId, offset: u16) -> u16 {
        (read(self, function, offset, Width::Word) & 0xffff) as u16
    }

    /// Reads 32 bits.
    fn read_dword(&self, function: FunctionId, offset: u16) -> u32 {
        read(self, function, offset, Width::Dword)
    }

    /// Writes 8 bits.
    fn write_byte(&mut self, function: FunctionId, offset: u16, value: u8) {
        write(self, function, offset, Width::Byte, u32::from(value));
    }

    /// Writes 16 bits.
    fn write_word(&mut self, function: FunctionId, offset: u16, value: u16) {
        write(self, function, offset, Width::Word, u32::from(value));
    }

    /// Writes 32 bits.
    fn write_dword(&mut self, function: FunctionId, offset: u16, value: u32) {
        write(self, function, offset, Width::Dword, value);
    }
}

/// Bytes of a function's configuration space.
const SPACE: u16 = 4096;

fn read<C: ConfigSpace + ?Sized>(cs: &C, function: FunctionId, offset: u16, width: Width) -> u32 {
    if offset < SPACE { cs.read(function, offset, width) } else { width.ones() }
}

fn write<C: ConfigSpace + ?Sized>(cs: &mut C, function: FunctionId, offset: u16, width: Width, value: u32) {
    if offset < SPACE {
        cs.write(function, offset, width, value);
    }
}

impl<C: ConfigSpace + ?Sized> ConfigAccess for C {}
