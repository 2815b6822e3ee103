//! [`BitErrorRate`]: the chance that a bit arrives wrong, as an integer.

use core::fmt;
use core::str::FromStr;

use crate::text::{ParseUnitError, split_number};

/// Wrong bits among 10^18: `1e-12` is a million of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BitErrorRate(u64);

/// Bits that the count of wrong ones refers to.
const BITS: u64 = 1_000_000_000_000_000_000;

impl BitErrorRate {
    /// No bit is ever wrong.
    pub const ZERO: BitErrorRate = BitErrorRate(0);

    /// The highest rate at which links are simulated: with more, hardly a large packet would arrive.
    pub const MOST: BitErrorRate = BitErrorRate(BITS / 10_000);

    /// So many wrong bits among 10^18. `None` for more than all.
    pub fn new(wrong: u64) -> Option<BitErrorRate> {
        (wrong <= BITS).then_some(BitErrorRate(wrong))
    }

    /// Bits from one error to the next on average; `None` when there are none.
    pub fn mean_gap(self) -> Option<u64> {
        BITS.checked_div(self.0)
    }
}

impl fmt::Display for BitErrorRate {
    /// As digits and a power of ten: `1e-12`, `2.5e-9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return write!(f, "0");
        }
        let whole = self.0.ilog10();
        let unit = 10u64.pow(whole);
        let (first, mut rest, mut width) = (self.0 / unit, self.0 % unit, whole as usize);
        if rest == 0 {
            return write!(f, "{first}e-{}", 18 - whole);
        }
        while rest % 10 == 0 {
            rest /= 10;
            width -= 1;
        }
        write!(f, "{first}.{rest:0width$}e-{}", 18 - whole)
    }
}

impl FromStr for BitErrorRate {
    type Err = ParseUnitError;

    /// `"1e-12"`, `"2.5e-9"`, `"0.000001"` or `"0"`; at most 1, in steps of 1e-18.
    fn from_str(text: &str) -> Result<BitErrorRate, ParseUnitError> {
        let (number, exponent) = split_number(text)?;
        let power = match exponent.strip_prefix("e-").or_else(|| exponent.strip_prefix("E-")) {
            Some(digits) => digits.parse::<u32>().map_err(|_| ParseUnitError::NoNumber)?,
            None if exponent.is_empty() => 0,
            None => {
                return Err(ParseUnitError::unknown_unit(
                    "e-12 or another negative power of ten, or nothing",
                ));
            }
        };
        let scale = 18u32.checked_sub(power).and_then(|rest| 10u64.checked_pow(rest));
        let wrong = number.scale(scale.ok_or(ParseUnitError::NotWhole)?)?;
        BitErrorRate::new(wrong).ok_or(ParseUnitError::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_round_trips() {
        for text in ["1e-12", "2.5e-9", "0", "1e-18", "1.05e-6", "1e-0"] {
            assert_eq!(text.parse::<BitErrorRate>().map(|rate| rate.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("0.000001".parse::<BitErrorRate>(), "1e-6".parse());
        for text in ["", "e-12", "1e12", "1e-19", "2", "1e-x", "1.5e-18"] {
            assert!(text.parse::<BitErrorRate>().is_err(), "{text}");
        }
    }

    #[test]
    fn gaps_are_the_reciprocal() {
        assert_eq!("1e-12".parse::<BitErrorRate>().map(BitErrorRate::mean_gap), Ok(Some(1_000_000_000_000)));
        assert_eq!(BitErrorRate::ZERO.mean_gap(), None);
    }
}
