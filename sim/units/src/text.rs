//! Numbers with units, as people write them in files: `64GiB`, `1.5us`, `0x20_0000`.

use core::fmt;

/// Why a number with a unit was not understood; says what would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseUnitError {
    /// Nothing that looks like a number at the start.
    NoNumber,
    /// The unit is not one of those named.
    UnknownUnit(&'static str),
    /// The value is not a whole number of the base unit (`1.5B`).
    NotWhole,
    /// The value does not fit in 64 bits of the base unit.
    TooLarge,
}

impl ParseUnitError {
    pub(crate) fn unknown_unit(expected: &'static str) -> ParseUnitError {
        ParseUnitError::UnknownUnit(expected)
    }
}

impl fmt::Display for ParseUnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseUnitError::NoNumber => write!(f, "expected a number followed by a unit"),
            ParseUnitError::UnknownUnit(expected) => write!(f, "unknown unit; expected {expected}"),
            ParseUnitError::NotWhole => write!(f, "not a whole number of the smallest unit"),
            ParseUnitError::TooLarge => write!(f, "does not fit in 64 bits"),
        }
    }
}

impl core::error::Error for ParseUnitError {}

/// An unsigned decimal number `digits / 10^decimals`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Decimal {
    digits: u64,
    decimals: u32,
}

impl Decimal {
    /// The number times `scale`, which must come out whole.
    pub(crate) fn scale(self, scale: u64) -> Result<u64, ParseUnitError> {
        let scaled = u128::from(self.digits) * u128::from(scale);
        let divisor = 10u128.checked_pow(self.decimals).ok_or(ParseUnitError::TooLarge)?;
        if !scaled.is_multiple_of(divisor) {
            return Err(ParseUnitError::NotWhole);
        }
        u64::try_from(scaled / divisor).map_err(|_| ParseUnitError::TooLarge)
    }
}

/// Splits `"1.5 us"` into the number and `"us"`.
pub(crate) fn split_number(text: &str) -> Result<(Decimal, &str), ParseUnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(ParseUnitError::NoNumber);
    }
    let mut digits = 0u64;
    for c in whole.chars().chain(fraction.chars()).filter(|c| *c != '_') {
        let digit = c.to_digit(10).ok_or(ParseUnitError::NoNumber)?;
        digits = digits
            .checked_mul(10)
            .and_then(|d| d.checked_add(u64::from(digit)))
            .ok_or(ParseUnitError::TooLarge)?;
    }
    let decimals = fraction.chars().filter(|c| *c != '_').count();
    let decimals = u32::try_from(decimals).map_err(|_| ParseUnitError::TooLarge)?;
    Ok((Decimal { digits, decimals }, unit.trim()))
}

/// An unsigned integer in decimal or, with `0x`, in hexadecimal; underscores are ignored.
pub fn parse_integer(text: &str) -> Result<u64, ParseUnitError> {
    let text = text.trim();
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    let mut value = 0u64;
    let mut any = false;
    for c in digits.chars().filter(|c| *c != '_') {
        let digit = c.to_digit(radix).ok_or(ParseUnitError::NoNumber)?;
        value = value
            .checked_mul(u64::from(radix))
            .and_then(|v| v.checked_add(u64::from(digit)))
            .ok_or(ParseUnitError::TooLarge)?;
        any = true;
    }
    if any { Ok(value) } else { Err(ParseUnitError::NoNumber) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_hex_and_underscores() {
        assert_eq!(parse_integer("0x20_0000_0000"), Ok(0x20_0000_0000));
        assert_eq!(parse_integer(" 4_096 "), Ok(4096));
        assert_eq!(parse_integer("0x"), Err(ParseUnitError::NoNumber));
        assert_eq!(parse_integer("0x1_0000_0000_0000_0000"), Err(ParseUnitError::TooLarge));
    }
}
