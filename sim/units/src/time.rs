//! [`Picos`]: simulated time.

use core::fmt;
use core::ops::{Add, AddAssign, Sub, SubAssign};
use core::str::FromStr;

use crate::text::{ParseUnitError, split_number};

/// A time or a duration in picoseconds; 64 bits hold 213 days.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Picos(pub u64);

const UNITS: [(&str, u64); 5] =
    [("s", 1_000_000_000_000), ("ms", 1_000_000_000), ("us", 1_000_000), ("ns", 1_000), ("ps", 1)];

impl Picos {
    /// The start of simulated time, or no time at all.
    pub const ZERO: Picos = Picos(0);

    /// `n` nanoseconds.
    pub const fn nanos(n: u64) -> Picos {
        Picos(n * 1_000)
    }

    /// `n` microseconds.
    pub const fn micros(n: u64) -> Picos {
        Picos(n * 1_000_000)
    }

    /// The difference, or zero when `other` is later.
    pub fn saturating_sub(self, other: Picos) -> Picos {
        Picos(self.0.saturating_sub(other.0))
    }
}

impl Add for Picos {
    type Output = Picos;
    fn add(self, other: Picos) -> Picos {
        Picos(self.0 + other.0)
    }
}

impl AddAssign for Picos {
    fn add_assign(&mut self, other: Picos) {
        self.0 += other.0;
    }
}

impl Sub for Picos {
    type Output = Picos;
    fn sub(self, other: Picos) -> Picos {
        Picos(self.0 - other.0)
    }
}

impl SubAssign for Picos {
    fn sub_assign(&mut self, other: Picos) {
        self.0 -= other.0;
    }
}

impl fmt::Display for Picos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, scale) in UNITS {
            if self.0 >= scale && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}ps", self.0)
    }
}

impl FromStr for Picos {
    type Err = ParseUnitError;

    /// `"150ns"`, `"1.5us"`, `"0.25ms"`, `"2s"`, `"7ps"`; `"µs"` is accepted for `"us"`.
    fn from_str(text: &str) -> Result<Picos, ParseUnitError> {
        let (number, unit) = split_number(text)?;
        let unit = if unit == "µs" || unit == "μs" { "us" } else { unit };
        match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, scale)) => number.scale(*scale).map(Picos),
            None => Err(ParseUnitError::unknown_unit("s, ms, us, ns or ps")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_round_trips() {
        for text in ["150ns", "1us", "1500ns", "3ps", "0ps", "2s"] {
            assert_eq!(text.parse::<Picos>().map(|time| time.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("1.5µs".parse(), Ok(Picos::nanos(1500)));
        assert!("150".parse::<Picos>().is_err());
        assert!("0.5ps".parse::<Picos>().is_err());
    }
}
