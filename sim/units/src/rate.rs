//! [`Rate`]: bytes over time as a reduced fraction, so that long runs do not drift.

use core::fmt;
use core::str::FromStr;

use crate::Picos;
use crate::text::{ParseUnitError, split_number};

/// `bytes` every `picos`, reduced. A Gen3 x8 link is 64 bytes every 8125 ps: no rounding anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    bytes: u64,
    picos: u64,
}

const PICOS_PER_SECOND: u64 = 1_000_000_000_000;

const UNITS: [(&str, u64); 5] =
    [("GB/s", 1_000_000_000), ("MB/s", 1_000_000), ("TB/s", 1_000_000_000_000), ("KB/s", 1_000), ("B/s", 1)];

impl Rate {
    /// `bytes` every `picos`. `None` when either is zero.
    pub fn new(bytes: u64, picos: u64) -> Option<Rate> {
        if bytes == 0 || picos == 0 {
            return None;
        }
        let divisor = gcd(bytes, picos);
        Some(Rate { bytes: bytes / divisor, picos: picos / divisor })
    }

    /// `bytes` every second. `None` for zero.
    pub fn per_second(bytes: u64) -> Option<Rate> {
        Rate::new(bytes, PICOS_PER_SECOND)
    }

    /// Numerator of the reduced fraction: bytes sent in [`Rate::picos`].
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// Denominator of the reduced fraction: picoseconds that [`Rate::bytes`] take.
    pub fn picos(self) -> u64 {
        self.picos
    }

    /// Whole bytes per second, rounded down.
    pub fn bytes_per_second(self) -> u64 {
        let exact = u128::from(self.bytes) * u128::from(PICOS_PER_SECOND) / u128::from(self.picos);
        u64::try_from(exact).unwrap_or(u64::MAX)
    }

    /// Time to send `bytes`, rounded up to a picosecond.
    pub fn time_for(self, bytes: u64) -> Picos {
        // A division of 64 bits is several times faster than one of 128, and nearly always enough.
        if let Some(exact) = bytes.checked_mul(self.picos) {
            return Picos(exact.div_ceil(self.bytes));
        }
        let exact = (u128::from(bytes) * u128::from(self.picos)).div_ceil(u128::from(self.bytes));
        Picos(u64::try_from(exact).unwrap_or(u64::MAX))
    }

    /// This rate times `numerator / denominator`. `None` when the result is zero or exceeds 64 bits.
    pub fn scaled(self, numerator: u64, denominator: u64) -> Option<Rate> {
        let (a, b) = (
            u128::from(self.bytes) * u128::from(numerator),
            u128::from(self.picos) * u128::from(denominator),
        );
        let (mut x, mut y) = (a, b);
        while y != 0 {
            (x, y) = (y, x % y);
        }
        if x == 0 {
            return None;
        }
        Rate::new(u64::try_from(a / x).ok()?, u64::try_from(b / x).ok()?)
    }
}

impl PartialOrd for Rate {
    fn partial_cmp(&self, other: &Rate) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rate {
    fn cmp(&self, other: &Rate) -> core::cmp::Ordering {
        let left = u128::from(self.bytes) * u128::from(other.picos);
        let right = u128::from(other.bytes) * u128::from(self.picos);
        left.cmp(&right)
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Display for Rate {
    /// In GB/s (decimal) with as many decimals as bytes per second need, up to nine.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.bytes_per_second();
        let (gigabytes, rest) = (whole / 1_000_000_000, whole % 1_000_000_000);
        if rest == 0 {
            return write!(f, "{gigabytes}GB/s");
        }
        let mut digits = rest;
        let mut width = 9;
        while digits % 10 == 0 {
            digits /= 10;
            width -= 1;
        }
        write!(f, "{gigabytes}.{digits:0width$}GB/s")
    }
}

impl FromStr for Rate {
    type Err = ParseUnitError;

    /// `"55GB/s"`, `"56.4GB/s"`, `"800MB/s"`, `"1B/s"` (all decimal), or bits: `"57.88Gbit/s"`, `"100Mbit/s"`.
    fn from_str(text: &str) -> Result<Rate, ParseUnitError> {
        let (number, unit) = split_number(text)?;
        let bits = match unit {
            "Gbit/s" => Some(1_000_000_000),
            "Mbit/s" => Some(1_000_000),
            _ => None,
        };
        if let Some(scale) = bits {
            let rate = Rate::new(number.scale(scale)?, 8 * PICOS_PER_SECOND);
            return rate.ok_or(ParseUnitError::NoNumber);
        }
        let scale = UNITS.iter().find(|(name, _)| *name == unit);
        let Some((_, scale)) = scale else {
            return Err(ParseUnitError::unknown_unit("GB/s, MB/s, TB/s, KB/s, B/s, Gbit/s or Mbit/s"));
        };
        Rate::per_second(number.scale(*scale)?).ok_or(ParseUnitError::NoNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn gen3_x8_is_exact() {
        let rate = Rate::new(8_000_000_000 / 8 * 8 * 128, PICOS_PER_SECOND * 130);
        assert_eq!(rate.map(|r| (r.bytes(), r.picos())), Some((64, 8125)));
        assert_eq!(rate.map(|r| r.time_for(64)), Some(Picos(8125)));
    }

    #[test]
    fn text_round_trips() {
        for text in ["55GB/s", "56.4GB/s", "0.8GB/s"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("800MB/s".parse::<Rate>(), "0.8GB/s".parse::<Rate>());
        assert_eq!("8Gbit/s".parse::<Rate>(), "1GB/s".parse::<Rate>());
        assert!("0GB/s".parse::<Rate>().is_err());
        assert!("55GiB/s".parse::<Rate>().is_err());
    }

    #[test]
    fn scaling_reduces() {
        let rate = "10GB/s".parse::<Rate>().ok();
        assert_eq!(rate.and_then(|r| r.scaled(11, 10)), "11GB/s".parse().ok());
        assert_eq!(rate.and_then(|r| r.scaled(0, 10)), None);
    }
}
