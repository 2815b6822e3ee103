//! Rows of hexadecimal dumps, `lspci -x`, `-xxx` and `-xxxx`, and the bytes they make.

use super::source::{hex, hex_byte};

/// Bytes of configuration space.
const SPACE: usize = 4096;
/// Bytes in a row.
const ROW: usize = 16;

/// One row: where it stands, and up to sixteen bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    offset: usize,
    bytes: Vec<u8>,
}

/// The row that `line` is; the piece that is wrong in one that is broken.
pub fn row(line: &str) -> Option<Result<Row, &str>> {
    let (offset, rest) = line.split_once(':')?;
    let is_offset = (2..=3).contains(&offset.len()) && offset.bytes().all(|byte| byte.is_ascii_hexdigit());
    let rest = rest.strip_prefix(' ')?;
    let first = rest.split(' ').next()?;
    if !(is_offset && first.len() == 2 && hex_byte(first).is_some()) {
        return None;
    }
    Some(bytes(offset, rest))
}

fn bytes<'a>(offset: &'a str, rest: &'a str) -> Result<Row, &'a str> {
    let at = hex(offset).and_then(|at| usize::try_from(at).ok()).ok_or(offset)?;
    if !at.is_multiple_of(ROW) || at >= SPACE {
        return Err(offset);
    }
    let mut bytes = Vec::new();
    for word in rest.split_whitespace() {
        bytes.push(hex_byte(word).filter(|_| bytes.len() < ROW).ok_or(word)?);
    }
    Ok(Row { offset: at, bytes })
}

/// The configuration space of a function as far as it was dumped. Bytes that were not read as zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dump {
    bytes: Vec<u8>,
    known: Vec<bool>,
}

impl Default for Dump {
    fn default() -> Dump {
        Dump { bytes: vec![0; SPACE], known: vec![false; SPACE] }
    }
}

impl Dump {
    /// The dump of a whole space, at most 4096 bytes.
    pub fn of(bytes: &[u8]) -> Dump {
        let mut dump = Dump::default();
        for (at, byte) in bytes.iter().enumerate().take(SPACE) {
            (dump.bytes[at], dump.known[at]) = (*byte, true);
        }
        dump
    }

    /// Takes a row over. What an earlier row said of a byte stands.
    pub fn add(&mut self, row: &Row) {
        for (at, byte) in (row.offset..).zip(&row.bytes) {
            if at < SPACE && !self.known[at] {
                (self.bytes[at], self.known[at]) = (*byte, true);
            }
        }
    }

    /// True when all `length` bytes from `offset` on were dumped.
    pub fn has(&self, offset: u16, length: u16) -> bool {
        let first = usize::from(offset);
        self.known
            .get(first..first + usize::from(length))
            .is_some_and(|known| known.iter().all(|known| *known))
    }

    /// True when any byte of extended configuration space was dumped.
    pub fn has_extended(&self) -> bool {
        self.known[0x100..].contains(&true)
    }

    /// The byte at `offset`, 0 beyond the end.
    pub fn u8(&self, offset: u16) -> u8 {
        self.bytes.get(usize::from(offset)).copied().unwrap_or(0)
    }

    /// The 16-bit register at `offset`.
    pub fn u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes([self.u8(offset), self.u8(offset.saturating_add(1))])
    }

    /// The 32-bit register at `offset`.
    pub fn u32(&self, offset: u16) -> u32 {
        u32::from(self.u16(offset)) | u32::from(self.u16(offset.saturating_add(2))) << 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_make_bytes() {
        let mut dump = Dump::default();
        for line in ["00: 86 80 05 34", "100: 01 00 02 14 00 00 00 00 00 00 00 00 30 20 46 00"] {
            dump.add(&row(line).unwrap().unwrap());
        }
        assert_eq!((dump.u16(0), dump.u32(0x100), dump.u32(0xffe)), (0x8086, 0x1402_0001, 0));
        assert_eq!(
            (dump.has(0, 4), dump.has(0, 5), dump.has(0x10c, 4), dump.has_extended()),
            (true, false, true, true)
        );
    }

    #[test]
    fn broken_rows_are_told() {
        for (line, part) in [
            ("04: 86 80", "04"),
            ("00: 86 8", "8"),
            ("00: 86 zz", "zz"),
            ("10: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 11", "11"),
        ] {
            assert_eq!(row(line).unwrap(), Err(part), "{line}");
        }
        for line in ["Latency: 0", "00:", "zz: 00", "00:00.0 x", "10: word"] {
            assert_eq!(row(line), None, "{line}");
        }
    }
}
