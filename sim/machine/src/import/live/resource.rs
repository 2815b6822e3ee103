//! The file `resource` of a function: a line for each of the kernel's resources, first address, last address, flags.

use peerbus_units::Bytes;

use crate::import::lspci::facts::{Bar, Facts, Rom, Sriov};
use crate::import::lspci::source::hex;
use crate::part::ResourceKind;

/// `IORESOURCE_IO`, `IORESOURCE_MEM`, `IORESOURCE_PREFETCH`, `IORESOURCE_MEM_64`.
const IO: u64 = 0x100;
const MEMORY: u64 = 0x200;
const PREFETCH: u64 = 0x2000;
const MEMORY_64: u64 = 0x10_0000;
/// `IORESOURCE_UNSET`: no address was found; the first is 0 and the last tells the size.
const UNSET: u64 = 0x2000_0000;
/// Number of the expansion ROM, and of the first register of virtual functions.
const ROM: usize = 6;
const VIRTUAL: usize = 7;

/// Takes the lines over into `facts`.
///
/// # Errors
///
/// The line that is none of such a file.
pub fn read<'a>(text: &'a str, facts: &mut Facts) -> Result<(), &'a str> {
    for (number, line) in text.lines().enumerate() {
        let (first, last, flags) = fields(line).ok_or(line)?;
        let Some(kind) = kind(flags).filter(|_| last >= first && last != 0) else { continue };
        let size = (last - first).checked_add(1).map(Bytes);
        let unplaced = flags & UNSET != 0;
        let cpu = Some(first).filter(|_| !unplaced);
        match number {
            0..=5 => {
                let index = u8::try_from(number).unwrap_or(0);
                facts.bars.push(Bar { index, kind, size, cpu, bus: None, unplaced });
            }
            ROM => facts.rom = Some(Rom { size, cpu, bus: None }),
            // Windows of bridges stand behind, and are read from registers.
            VIRTUAL..=12 if !facts.is_bridge() => {
                let index = u8::try_from(number - VIRTUAL).unwrap_or(0);
                let bar = Bar { index, kind, size, cpu, bus: None, unplaced };
                facts.sriov.get_or_insert_with(Sriov::default).bars.push(bar);
            }
            _ => {}
        }
    }
    Ok(())
}

fn fields(line: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = line.split_whitespace().map(|word| word.strip_prefix("0x").and_then(hex));
    let fields = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(fields)
}

fn kind(flags: u64) -> Option<ResourceKind> {
    let wide = flags & MEMORY_64 != 0;
    let prefetch = flags & PREFETCH != 0;
    match (flags & IO != 0, flags & MEMORY != 0) {
        (true, _) => Some(ResourceKind::Io),
        (_, true) => Some(match (wide, prefetch) {
            (false, false) => ResourceKind::Mem32,
            (false, true) => ResourceKind::Mem32Prefetch,
            (true, false) => ResourceKind::Mem64,
            (true, true) => ResourceKind::Mem64Prefetch,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use peerbus_units::FunctionId;

    use super::*;

    fn check(text: &str) -> Result<Vec<(u8, ResourceKind, u64)>, &str> {
        let mut facts = Facts::new(FunctionId::new(0, 1, 0, 0), (String::new(), 0..0));
        read(text, &mut facts)?;
        Ok(facts.bars.iter().map(|bar| (bar.index, bar.kind, bar.size.map_or(0, |size| size.0))).collect())
    }

    #[test]
    fn lines_are_registers_by_number() {
        let text = "0x00000000fea00000 0x00000000fea00fff 0x0000000000040200\n\
                    0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                    0x0000000800000000 0x0000000fffffffff 0x000000000014220c\n";
        let expected = vec![(0, ResourceKind::Mem32, 4096), (2, ResourceKind::Mem64Prefetch, 32 << 30)];
        assert_eq!(check(text), Ok(expected));
        assert_eq!(check("0x0 0x0"), Err("0x0 0x0"));
    }

    #[test]
    fn a_register_without_an_address_has_a_size() {
        let mut facts = Facts::new(FunctionId::new(0, 1, 0, 0), (String::new(), 0..0));
        let text = "0x0000000000000000 0x00000003ffffffff 0x000000002014220c\n";
        assert_eq!(read(text, &mut facts), Ok(()));
        let bar = facts.bars[0];
        assert_eq!((bar.size, bar.cpu, bar.unplaced), (Some(Bytes::gib(16)), None, true));
    }
}
