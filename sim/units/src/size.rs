//! [`Bytes`]: a size.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Sub, SubAssign};
use core::str::FromStr;

use crate::text::{ParseUnitError, split_number};

/// A size in bytes. Prints with the largest binary unit that divides it exactly (`64KiB`, `1536B`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Bytes(pub u64);

const BINARY: [(&str, u64); 6] = [
    ("EiB", 1 << 60),
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];
const DECIMAL: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)];

impl Bytes {
    /// Zero bytes.
    pub const ZERO: Bytes = Bytes(0);

    /// `n` KiB. Panics in debug builds when the result exceeds 64 bits.
    pub const fn kib(n: u64) -> Bytes {
        Bytes(n << 10)
    }

    /// `n` MiB.
    pub const fn mib(n: u64) -> Bytes {
        Bytes(n << 20)
    }

    /// `n` GiB.
    pub const fn gib(n: u64) -> Bytes {
        Bytes(n << 30)
    }

    /// True for 1, 2, 4, … bytes; what a BAR's size must be.
    pub const fn is_power_of_two(self) -> bool {
        self.0.is_power_of_two()
    }

    /// The sum, or `None` above 64 bits.
    pub fn checked_add(self, other: Bytes) -> Option<Bytes> {
        self.0.checked_add(other.0).map(Bytes)
    }

    /// The difference, or zero when `other` is larger.
    pub fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }
}

impl Add for Bytes {
    type Output = Bytes;
    fn add(self, other: Bytes) -> Bytes {
        Bytes(self.0 + other.0)
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Bytes) {
        self.0 += other.0;
    }
}

impl Sub for Bytes {
    type Output = Bytes;
    fn sub(self, other: Bytes) -> Bytes {
        Bytes(self.0 - other.0)
    }
}

impl SubAssign for Bytes {
    fn sub_assign(&mut self, other: Bytes) {
        self.0 -= other.0;
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(parts: I) -> Bytes {
        parts.fold(Bytes::ZERO, Add::add)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, scale) in BINARY {
            if self.0 >= scale && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for Bytes {
    type Err = ParseUnitError;

    /// `"64GiB"`, `"1.5MiB"`, `"4 KiB"`, `"2MB"` (decimal), `"512B"`, `"512"`.
    fn from_str(text: &str) -> Result<Bytes, ParseUnitError> {
        let (number, unit) = split_number(text)?;
        if unit.is_empty() || unit == "B" {
            return number.scale(1).map(Bytes);
        }
        let scale = BINARY.iter().chain(&DECIMAL).find(|(name, _)| *name == unit);
        match scale {
            Some((_, scale)) => number.scale(*scale).map(Bytes),
            None => Err(ParseUnitError::unknown_unit("B, KiB, MiB, GiB, TiB, PiB, EiB, KB, MB, GB or TB")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_round_trips() {
        for text in ["64GiB", "1536B", "3KiB", "0B", "15EiB"] {
            assert_eq!(text.parse::<Bytes>().map(|size| size.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("1.5MiB".parse(), Ok(Bytes::kib(1536)));
        assert_eq!("2MB".parse(), Ok(Bytes(2_000_000)));
    }

    #[test]
    fn wrong_text_is_refused() {
        for text in ["", "GiB", "1.5B", "64 Gib", "-1KiB", "99999999999GiB", "1..5MiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text:?} was accepted");
        }
    }
}
