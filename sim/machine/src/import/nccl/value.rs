//! Attribute values of NCCL topology files. A failure says what was expected.

use std::str::FromStr;

use peerbus_units::FunctionId;

/// `"0000:1b:00.0"`.
pub(super) fn function_id(text: &str) -> Result<FunctionId, String> {
    FunctionId::from_str(text).map_err(|_| "a bus id such as 0000:1b:00.0".to_owned())
}

/// `"0x060400"`, with or without the prefix, at most `max`.
pub(super) fn hex(text: &str, max: u32) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten();
    value.filter(|value| *value <= max).ok_or_else(|| format!("a hexadecimal number up to {max:#x}"))
}

/// A vendor or device id.
pub(super) fn hex16(text: &str) -> Result<u16, String> {
    hex(text, 0xffff).map(|value| u16::try_from(value).unwrap_or(u16::MAX))
}

/// A decimal number, possibly negative.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "a number".to_owned())
}

/// A decimal number from zero.
pub(super) fn unsigned(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "a number from zero".to_owned())
}

/// PCIe generation of `"16 GT/s"` or `"16.0 GT/s PCIe"`; `None` for the ways of saying that it is not known.
pub(super) fn generation(text: &str) -> Result<Option<u8>, String> {
    if text.is_empty() || text.starts_with("Unknown") {
        return Ok(None);
    }
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let generation = match number.strip_suffix(".0").unwrap_or(number) {
        "2.5" => 1,
        "5" => 2,
        "8" => 3,
        "16" => 4,
        "32" => 5,
        "64" => 6,
        _ => 0,
    };
    if generation == 0 || !unit.starts_with("GT/s") {
        return Err("a PCIe speed such as \"16 GT/s\": 2.5, 5, 8, 16, 32 or 64".to_owned());
    }
    Ok(Some(generation))
}

/// Lanes of a link; `None` for what the kernel and NCCL write when the width is not known.
pub(super) fn lanes(text: &str) -> Result<Option<u8>, String> {
    match unsigned(text) {
        Ok(0 | 63 | 255) => Ok(None),
        Ok(lanes @ (1 | 2 | 4 | 8 | 12 | 16 | 32)) => Ok(u8::try_from(lanes).ok()),
        _ => Err("a number of lanes: 1, 2, 4, 8, 12, 16 or 32, or 0 when not known".to_owned()),
    }
}

/// Family of a CPU from NCCL's `familyid`, which is the base family plus sixteen times the extended one: the
/// extended family counts only when the base is 15 (AMD's and Intel's CPUID descriptions).
pub(super) fn family(familyid: u32) -> u32 {
    let (base, extended) = (familyid & 0xf, familyid >> 4);
    if base == 0xf { base + extended } else { base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds() {
        let known = [
            ("2.5 GT/s PCIe", 1),
            ("5 GT/s", 2),
            ("8 GT/s", 3),
            ("8.0 GT/s PCIe", 3),
            ("16 GT/s", 4),
            ("16.0 GT/s PCIe", 4),
            ("32.0 GT/s PCIe", 5),
            ("64.0 GT/s PCIe", 6),
        ];
        for (text, expected) in known {
            assert_eq!(generation(text), Ok(Some(expected)), "{text}");
        }
        for text in ["", "Unknown", "Unknown speed"] {
            assert_eq!(generation(text), Ok(None), "{text}");
        }
        for text in ["16", "16 Gb/s", "fast", "7 GT/s", "16GT/s", "-8 GT/s"] {
            assert!(generation(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn widths() {
        for (text, expected) in [("0", None), ("63", None), ("255", None), ("1", Some(1)), ("16", Some(16))] {
            assert_eq!(lanes(text), Ok(expected), "{text}");
        }
        for text in ["", "3", "x16", "64", "-1"] {
            assert!(lanes(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn families_as_the_kernel_counts_them() {
        // EPYC 7002, 7003, 9005 and Xeon.
        for (familyid, expected) in [(143, 0x17), (175, 0x19), (191, 0x1a), (6, 6), (23, 7)] {
            assert_eq!(family(familyid), expected);
        }
    }

    #[test]
    fn hexadecimal_numbers() {
        assert_eq!(hex("0x060400", 0xff_ffff), Ok(0x06_0400));
        assert_eq!(hex("060400", 0xff_ffff), Ok(0x06_0400));
        assert_eq!(hex16("0xffff"), Ok(0xffff));
        for text in ["", "0x", "0x1060400", "+12", "0x-1", "xyz"] {
            assert!(hex(text, 0xff_ffff).is_err(), "{text} was accepted");
        }
    }
}
