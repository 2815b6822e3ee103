//! [`ConfigSpace`]: the bytes of one function's configuration space and what a write may change.
//!
//! Every bit is read-only, writable, or cleared by writing one; three byte arrays say which. The write-ones
//! sizing protocol of base address registers needs no code: address bits below a BAR's size are read-only zero.
//!
//! Invariants: no bit is both writable and clear-on-write; bits outside both masks change only while the space
//! is being built, or when a Resizable BAR control write changes the mask of its BAR.

use peerbus_units::Bytes;

use super::layout::*;

/// Bytes, masks, and where the optional structures stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ConfigSpace {
    bytes: Vec<u8>,
    writable: Vec<u8>,
    clear_on_write: Vec<u8>,
    /// Offset of the ACS extended capability.
    pub(crate) acs: Option<u16>,
    /// Offset of the capability with the third device control register.
    pub(crate) device3: Option<u16>,
    /// Offset of the ATS extended capability.
    pub(crate) ats: Option<u16>,
    /// BARs with a Resizable BAR control register.
    pub(crate) resizable: Vec<ResizableBar>,
    /// Counts the writes that changed a bit other than a clear-on-write one.
    pub(crate) generation: u64,
}

/// One entry of a Resizable BAR capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ResizableBar {
    /// Offset of its control register.
    pub(crate) control: u16,
    /// Number of its base address register.
    pub(crate) bar: u8,
    /// Bit n set: 2^n MiB is supported.
    pub(crate) sizes: u64,
}

impl ConfigSpace {
    /// A space that reads zero everywhere and ignores writes.
    pub(crate) fn new() -> ConfigSpace {
        let zeroes = vec![0; usize::from(SPACE_SIZE)];
        ConfigSpace {
            bytes: zeroes.clone(),
            writable: zeroes.clone(),
            clear_on_write: zeroes,
            acs: None,
            device3: None,
            ats: None,
            resizable: Vec::new(),
            generation: 0,
        }
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True when the function has extended configuration space.
    pub(crate) fn is_express(&self) -> bool {
        self.u8(CAPABILITIES) != 0
    }

    /// What a configuration read returns: all ones for a request that crosses a dword or leaves the space.
    pub(crate) fn read(&self, offset: u16, width_bytes: u8) -> u32 {
        if !self.is_legal(offset, width_bytes) {
            return all_ones(width_bytes);
        }
        (0..u16::from(width_bytes))
            .fold(0, |value, byte| value | u32::from(self.u8(offset + byte)) << (8 * byte))
    }

    /// What a configuration write does. Returns true when a bit other than a clear-on-write one changed.
    pub(crate) fn write(&mut self, offset: u16, width_bytes: u8, value: u32) -> bool {
        if !self.is_legal(offset, width_bytes) {
            return false;
        }
        let mut changed = false;
        for (at, new) in (usize::from(offset)..).zip(value.to_le_bytes()).take(usize::from(width_bytes)) {
            let old = self.bytes[at];
            let (writable, clear) = (self.writable[at], self.clear_on_write[at]);
            assert!(writable & clear == 0, "bit at {at:#x} is both writable and clear-on-write");
            self.bytes[at] = (old & !writable | new & writable) & !(new & clear);
            self.resize(at, old);
            changed |= (old ^ self.bytes[at]) & writable != 0;
        }
        self.generation += u64::from(changed);
        changed
    }

    /// Follows a write to the size field of a Resizable BAR control register; a size that is not supported
    /// leaves the field as it was (the specification leaves that open).
    fn resize(&mut self, at: usize, old: u8) {
        let Some(entry) = self.resizable.iter().copied().find(|entry| usize::from(entry.control) + 1 == at)
        else {
            return;
        };
        let size = self.bytes[at] & 0x3f;
        if entry.sizes >> size & 1 == 0 {
            self.bytes[at] = old;
        } else {
            self.set_bar_size(entry.bar, Bytes::mib(1 << size));
        }
    }

    fn is_legal(&self, offset: u16, width_bytes: u8) -> bool {
        let end = if self.is_express() { SPACE_SIZE } else { CONVENTIONAL_SIZE };
        matches!(width_bytes, 1 | 2 | 4) && offset % 4 + u16::from(width_bytes) <= 4 && offset < end
    }

    /// Makes the address bits of BAR `index` writable from its size up and clears those below. The BAR's type
    /// bits say whether the next register belongs to it.
    pub(crate) fn set_bar_size(&mut self, index: u8, size: Bytes) {
        self.set_bar_size_at(BAR0 + 4 * u16::from(index), size);
    }

    /// The same for the BAR whose register stands at `offset`.
    pub(crate) fn set_bar_size_at(&mut self, offset: u16, size: Bytes) {
        assert!(size.is_power_of_two(), "BAR size {size} is not a power of two");
        let flags = self.u32(offset);
        let smallest = if flags & BAR_IO != 0 { 4 } else { 16 };
        let mask = !(size.0.max(smallest) - 1);
        self.set_writable32(offset, low(mask));
        self.set_u32(offset, flags & (low(mask) | 0xf));
        if flags & (BAR_IO | BAR_64BIT) == BAR_64BIT {
            self.set_writable32(offset + 4, high(mask));
            self.set_u32(offset + 4, self.u32(offset + 4) & high(mask));
        }
    }

    /// Byte at `offset`.
    pub(crate) fn u8(&self, offset: u16) -> u8 {
        self.bytes[usize::from(offset)]
    }

    /// 16-bit register at `offset`.
    pub(crate) fn u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes([self.u8(offset), self.u8(offset + 1)])
    }

    /// 32-bit register at `offset`.
    pub(crate) fn u32(&self, offset: u16) -> u32 {
        u32::from(self.u16(offset)) | u32::from(self.u16(offset + 2)) << 16
    }

    /// Bits of the 32-bit register at `offset` that software may write.
    pub(crate) fn writable32(&self, offset: u16) -> u32 {
        let at = usize::from(offset);
        self.writable[at..at + 4].iter().rev().fold(0, |mask, byte| mask << 8 | u32::from(*byte))
    }

    /// Sets a byte while building.
    pub(crate) fn set_u8(&mut self, offset: u16, value: u8) {
        self.bytes[usize::from(offset)] = value;
    }

    /// Sets a 16-bit register while building.
    pub(crate) fn set_u16(&mut self, offset: u16, value: u16) {
        put(&mut self.bytes, offset, &value.to_le_bytes());
    }

    /// Sets a 32-bit register while building.
    pub(crate) fn set_u32(&mut self, offset: u16, value: u32) {
        put(&mut self.bytes, offset, &value.to_le_bytes());
    }

    /// Says which bits of a byte are writable.
    pub(crate) fn set_writable8(&mut self, offset: u16, mask: u8) {
        put(&mut self.writable, offset, &[mask]);
    }

    /// Says which bits of a 16-bit register are writable.
    pub(crate) fn set_writable16(&mut self, offset: u16, mask: u16) {
        put(&mut self.writable, offset, &mask.to_le_bytes());
    }

    /// Says which bits of a 32-bit register are writable.
    pub(crate) fn set_writable32(&mut self, offset: u16, mask: u32) {
        put(&mut self.writable, offset, &mask.to_le_bytes());
    }

    /// Says which bits of a 16-bit register are cleared by writing one.
    pub(crate) fn set_clear_on_write16(&mut self, offset: u16, mask: u16) {
        put(&mut self.clear_on_write, offset, &mask.to_le_bytes());
    }
}

/// What a read returns when nothing answers.
pub(crate) fn all_ones(width_bytes: u8) -> u32 {
    match width_bytes {
        1 => 0xff,
        2 => 0xffff,
        _ => 0xffff_ffff,
    }
}

/// Lower half of a 64-bit value.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
pub(crate) fn low(value: u64) -> u32 {
    value as u32
}

/// Upper half of a 64-bit value.
pub(crate) fn high(value: u64) -> u32 {
    low(value >> 32)
}

fn put(bytes: &mut [u8], offset: u16, value: &[u8]) {
    let at = usize::from(offset);
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn express() -> ConfigSpace {
        let mut space = ConfigSpace::new();
        space.set_u8(CAPABILITIES, 0x40);
        space
    }

    #[test]
    fn masks_decide_what_a_write_changes() {
        let mut space = express();
        space.set_u16(STATUS, 0xf910);
        space.set_clear_on_write16(STATUS, STATUS_ERRORS);
        space.set_writable16(COMMAND, 0x0547);
        assert!(space.write(COMMAND, 4, 0x8000_ffff));
        assert_eq!(space.read(COMMAND, 4), 0x7910_0547);
        assert_eq!(space.generation, 1);
        // Clearing an error bit is not a change of anything that is decoded.
        assert!(!space.write(STATUS, 2, 0xffff));
        assert_eq!((space.read(STATUS, 2), space.generation), (0x0010, 1));
    }

    #[test]
    fn requests_must_stay_in_a_dword_and_in_the_space() {
        let mut space = express();
        space.set_u32(0xffc, 0x1234_5678);
        for (offset, width, expect) in [
            (0xffc, 4, 0x1234_5678),
            (0xffe, 2, 0x1234),
            (0xfff, 1, 0x12),
            (0xffd, 2, 0x3456),
            (0xfff, 2, 0xffff),
            (0xffe, 4, 0xffff_ffff),
            (0x1000, 4, 0xffff_ffff),
            (0xffff, 1, 0xff),
            (0xffc, 3, 0xffff_ffff),
        ] {
            assert_eq!(space.read(offset, width), expect, "{offset:#x} {width}");
        }
        assert_eq!(ConfigSpace::new().read(0x100, 4), 0xffff_ffff, "no extended space without PCI Express");
    }
}
