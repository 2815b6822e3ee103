//! [`FunctionId`]: where a PCI function answers configuration requests.

use core::fmt;
use core::str::FromStr;

/// Domain, bus, device and function, printed as Linux does: `0000:1b:00.0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId {
    /// PCI domain (segment). ACPI segments have 16 bits; Linux also makes up larger ones (VMD).
    pub domain: u32,
    /// Bus number, 0–255.
    pub bus: u8,
    /// Device (bits 7–3) and function (bits 2–0).
    pub devfn: u8,
}

impl FunctionId {
    /// Function `function` (0–7) of device `device` (0–31); higher bits are dropped.
    pub const fn new(domain: u32, bus: u8, device: u8, function: u8) -> FunctionId {
        FunctionId { domain, bus, devfn: (device & 0x1f) << 3 | (function & 7) }
    }

    /// Device number, 0–31.
    pub const fn device(self) -> u8 {
        self.devfn >> 3
    }

    /// Function number, 0–7.
    pub const fn function(self) -> u8 {
        self.devfn & 7
    }

    /// The 16-bit requester id: bus, device, function.
    pub const fn requester(self) -> u16 {
        (self.bus as u16) << 8 | self.devfn as u16
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.domain, self.bus, self.device(), self.function())
    }
}

impl fmt::Debug for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not `domain:bus:device.function` or `bus:device.function` in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseFunctionIdError;

impl fmt::Display for ParseFunctionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected domain:bus:device.function in hexadecimal, as in 0000:1b:00.0")
    }
}

impl core::error::Error for ParseFunctionIdError {}

impl FromStr for FunctionId {
    type Err = ParseFunctionIdError;

    /// `"0000:1b:00.0"`, or `"1b:00.0"` in domain 0.
    fn from_str(text: &str) -> Result<FunctionId, ParseFunctionIdError> {
        let hex = |digits: &str, max: u32| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let value = plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten();
            value.filter(|value| *value <= max).ok_or(ParseFunctionIdError)
        };
        let (rest, function) = text.rsplit_once('.').ok_or(ParseFunctionIdError)?;
        let (rest, device) = rest.rsplit_once(':').ok_or(ParseFunctionIdError)?;
        let (domain, bus) = rest.split_once(':').unwrap_or(("0", rest));
        let narrow = |value: u32| u8::try_from(value).map_err(|_| ParseFunctionIdError);
        Ok(FunctionId::new(
            hex(domain, u32::MAX)?,
            narrow(hex(bus, 0xff)?)?,
            narrow(hex(device, 0x1f)?)?,
            narrow(hex(function, 7)?)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_round_trips() {
        for text in ["0000:1b:00.0", "ffff:ff:1f.7", "10000:e1:02.3"] {
            assert_eq!(text.parse::<FunctionId>().map(|id| id.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("1b:00.0".parse(), Ok(FunctionId::new(0, 0x1b, 0, 0)));
        for text in ["", "1b:00", "1b:20.0", "1b:00.8", "0000:100:00.0", "0000:+1:00.0", "x:1b:00.0"] {
            assert!(text.parse::<FunctionId>().is_err(), "{text:?} was accepted");
        }
    }
}
