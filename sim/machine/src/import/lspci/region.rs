//! Lines about addresses: base address registers, expansion ROMs and windows of bridges.

use peerbus_units::Bytes;

use super::facts::{Bar, Rom, Window};
use super::source::{between, hex};
use crate::part::ResourceKind;

/// A line whose form is known and whose values mean nothing: the piece that is wrong, and what is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrong<'a> {
    /// The piece of the line.
    pub part: &'a str,
    /// What should stand there.
    pub expected: &'static str,
}

/// Result of reading a line: `None` for a line of another form.
pub type Line<'a, T> = Option<Result<T, Wrong<'a>>>;

const NUMBER: &str = "a hexadecimal address, `<unassigned>` or `<ignored>`";
const SIZE: &str = "a size such as 64K";
/// Stands before, or since 2021 behind, an address that the kernel has and the register has not.
const VIRTUAL: &str = "[virtual] ";

/// `Region 2: Memory at f0000000 (64-bit, prefetchable) [size=256M]`, or the same without `Region 2:`, which stands in
/// shorter listings: then the register is the one `next`.
pub fn bar(line: &str, next: u8) -> Line<'_, Bar> {
    let (index, rest) = match line.strip_prefix("Region ") {
        Some(rest) => {
            let (number, rest) = rest.split_once(": ")?;
            let Some(index) = number.parse::<u8>().ok().filter(|index| *index < 6) else {
                return Some(Err(Wrong { part: number, expected: "a register number from 0 to 5" }));
            };
            (index, rest)
        }
        None => (next, line),
    };
    let rest = rest.strip_prefix(VIRTUAL).unwrap_or(rest);
    if let Some(rest) = rest.strip_prefix("I/O ports at ") {
        return Some(placed(rest).map(|(cpu, size)| Bar { size, cpu, ..empty(index, ResourceKind::Io) }));
    }
    let rest = rest.strip_prefix("Memory at ")?;
    let Some(kind) = kind(rest) else {
        if rest.starts_with('<') {
            // `<invalid-64bit-slot>`: the register is broken and lspci says no more of it.
            return None;
        }
        let expected = "a kind such as (64-bit, prefetchable)";
        return Some(Err(Wrong { part: rest, expected }));
    };
    Some(placed(rest).map(|(cpu, size)| Bar { size, cpu, ..empty(index, kind) }))
}

fn empty(index: u8, kind: ResourceKind) -> Bar {
    Bar { index, kind, size: None, cpu: None, bus: None, unplaced: false }
}

fn kind(text: &str) -> Option<ResourceKind> {
    let words = between(text, "(", &[')'])?;
    let prefetch = !words.contains("non-prefetchable") && words.contains("prefetchable");
    if words.starts_with("64-bit") {
        Some(if prefetch { ResourceKind::Mem64Prefetch } else { ResourceKind::Mem64 })
    } else {
        let narrow =
            words.starts_with("32-bit") || words.starts_with("low-1M") || words.starts_with("type 3");
        narrow.then_some(if prefetch { ResourceKind::Mem32Prefetch } else { ResourceKind::Mem32 })
    }
}

/// Address and size of `fe000000 (…) [disabled] [size=4K]`.
fn placed(text: &str) -> Result<(Option<u64>, Option<Bytes>), Wrong<'_>> {
    let word = text.split([' ', '\t']).next().unwrap_or(text);
    let cpu = match word {
        // `<unassigned>`, `<ignored>` and other words for no address.
        word if word.starts_with('<') => None,
        word => Some(hex(word).ok_or(Wrong { part: word, expected: NUMBER })?),
    };
    Ok((cpu, size(text)?))
}

/// The value of `[size=…]`, if there is one.
fn size(text: &str) -> Result<Option<Bytes>, Wrong<'_>> {
    let Some(word) = between(text, "[size=", &[']']) else { return Ok(None) };
    parse_size(word).map(Some).ok_or(Wrong { part: word, expected: SIZE })
}

/// `256`, `4K`, `64M`, `16G`, `8T`; also with `B` behind the unit, as lists of resizable sizes have it.
pub fn parse_size(word: &str) -> Option<Bytes> {
    let word = word.strip_suffix('B').unwrap_or(word);
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &word[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        _ => return None,
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let count = plain.then(|| digits.parse::<u64>().ok()).flatten()?;
    count.checked_mul(1 << shift).map(Bytes)
}

/// `Expansion ROM at fe000000 [virtual] [disabled] [size=512K]`.
pub fn rom(line: &str) -> Line<'_, Rom> {
    let rest = line.strip_prefix(VIRTUAL).unwrap_or(line).strip_prefix("Expansion ROM at ")?;
    Some(placed(rest).map(|(cpu, size)| Rom { size, cpu, bus: None }))
}

/// Which window of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// I/O ports.
    Io,
    /// Memory.
    Memory,
    /// Prefetchable memory.
    Prefetch,
}

/// `Memory behind bridge: fe400000-fe9fffff [size=6M] [32-bit]`, in the words of every version since 2000.
pub fn window(line: &str) -> Line<'_, (Which, Window)> {
    let forms = [
        ("I/O behind bridge:", Which::Io),
        ("Memory behind bridge:", Which::Memory),
        ("Prefetchable memory behind bridge:", Which::Prefetch),
    ];
    let (text, which) =
        forms.iter().find_map(|(prefix, which)| Some((line.strip_prefix(prefix)?, *which)))?;
    let text = text.trim_start();
    let word = text.split([' ', '\t']).next().unwrap_or_default();
    if word.is_empty() || word == "None" || word == "[disabled]" || text.contains("[disabled]") {
        return Some(Ok((which, Window { range: None, wide: None })));
    }
    let Some((first, last)) = word.split_once('-') else {
        return Some(Err(Wrong { part: word, expected: "a range such as fe400000-fe9fffff" }));
    };
    let (Some(first), Some(last)) = (hex(first), hex(last)) else {
        return Some(Err(Wrong { part: word, expected: "a range of hexadecimal addresses" }));
    };
    // What the kernel says of the width is not what the registers have, see `facts`; a high address is proof.
    let wide = (last > u64::from(u32::MAX)).then_some(true);
    Some(Ok((which, Window { range: (first <= last).then_some((first, last)), wide })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceKind::*;

    fn check(line: &str, expected: Option<(u8, ResourceKind, Option<u64>, Option<u64>)>) {
        let found = bar(line, 4).and_then(Result::ok);
        let found = found.map(|bar| (bar.index, bar.kind, bar.cpu, bar.size.map(|size| size.0)));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn base_address_registers() {
        check(
            "Region 0: Memory at fea00000 (32-bit, non-prefetchable) [size=4K]",
            Some((0, Mem32, Some(0xfea0_0000), Some(4096))),
        );
        check(
            "Region 1: Memory at 13000000000 (64-bit, prefetchable) [size=64G]",
            Some((1, Mem64Prefetch, Some(0x130_0000_0000), Some(64 << 30))),
        );
        check("Region 5: I/O ports at 5000 [size=128]", Some((5, Io, Some(0x5000), Some(128))));
        check(
            "Memory at fe000000 (64-bit, non-prefetchable) [virtual]",
            Some((4, Mem64, Some(0xfe00_0000), None)),
        );
        check(
            "Region 2: Memory at <unassigned> (64-bit, prefetchable) [disabled] [size=16G]",
            Some((2, Mem64Prefetch, None, Some(16 << 30))),
        );
        check("Capabilities: [40] MSI", None);
        check(
            "Region 1: [virtual] Memory at 000003f0 (type 3, non-prefetchable) [size=8]",
            Some((1, Mem32, Some(0x3f0), Some(8))),
        );
        check("Region 4: [virtual] I/O ports at c040 [size=16]", Some((4, Io, Some(0xc040), Some(16))));
        check("Region 5: Memory at <invalid-64bit-slot> [disabled]", None);
    }

    #[test]
    fn expansion_roms() {
        let check =
            |line: &str| rom(line).and_then(Result::ok).map(|rom| (rom.cpu, rom.size.map(|size| size.0)));
        let expected = Some((Some(0xfe60_0000), Some(128 << 10)));
        assert_eq!(check("[virtual] Expansion ROM at fe600000 [disabled] [size=128K]"), expected);
        assert_eq!(check("Expansion ROM at fe600000 [virtual] [disabled] [size=128K]"), expected);
        assert_eq!(check("Expansion ROM at <ignored> [disabled]"), Some((None, None)));
    }

    #[test]
    fn values_that_mean_nothing_are_named() {
        for (line, part) in [
            ("Region 7: Memory at 0 (32-bit, prefetchable)", "7"),
            ("Region 0: Memory at zz (32-bit, prefetchable)", "zz"),
            ("Region 0: Memory at 0 (32-bit, prefetchable) [size=4Q]", "4Q"),
            ("Region 0: Memory at 0", "0"),
        ] {
            assert_eq!(bar(line, 0).and_then(Result::err).map(|wrong| wrong.part), Some(part), "{line}");
        }
        assert_eq!(window("Memory behind bridge: 12-zz").unwrap().unwrap_err().part, "12-zz");
    }

    #[test]
    fn windows_of_all_ages() {
        let range = |line| window(line).and_then(Result::ok).map(|(_, window)| window.range);
        assert_eq!(range("I/O behind bridge: 0000c000-0000dfff"), Some(Some((0xc000, 0xdfff))));
        assert_eq!(range("I/O behind bridge: 0000f000-00000fff [disabled]"), Some(None));
        assert_eq!(range("Memory behind bridge: fff00000-000fffff"), Some(None));
        assert_eq!(range("Memory behind bridge: None"), Some(None));
        let line = "Prefetchable memory behind bridge: 800000000-fffffffff [size=32G] [32-bit]";
        let (which, found) = window(line).unwrap().unwrap();
        assert_eq!((which, found.wide), (Which::Prefetch, Some(true)));
        assert_eq!(parse_size("65602M"), Some(Bytes(65602 << 20)));
    }
}
