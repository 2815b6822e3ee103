//! [`Ratio`]: exact numbers for conditions.
//!
//! Measured values are whole numbers of their base unit, but a condition may multiply them (`0.9 * …`) or compare
//! them within a percentage. Nothing is rounded: numbers are fractions of 128-bit integers, compared by continued
//! fractions, which cannot overflow. Arithmetic that would exceed 128 bits gives `None`.

use std::cmp::Ordering;

/// A number that is not negative, as a reduced fraction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ratio {
    numerator: u128,
    denominator: u128,
}

impl Ratio {
    /// `numerator / denominator`; `None` when the denominator is 0.
    pub fn new(numerator: u128, denominator: u128) -> Option<Ratio> {
        let divisor = gcd(numerator, denominator);
        (denominator != 0)
            .then(|| Ratio { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// A whole number.
    pub fn whole(number: u64) -> Ratio {
        Ratio { numerator: u128::from(number), denominator: 1 }
    }

    /// A decimal number as people write it: `0.9`, `24`, `1_000`. `None` when it is none or has more than 30
    /// digits.
    pub fn decimal(text: &str) -> Option<Ratio> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
        let starts = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
        if !(starts(whole) && starts(fraction) && digits(whole) && digits(fraction)) {
            return None;
        }
        let all: String = [whole, fraction].concat().replace('_', "");
        let decimals = u32::try_from(fraction.replace('_', "").len()).ok()?;
        if all.len() > 30 {
            return None;
        }
        Ratio::new(all.parse().ok()?, 10u128.checked_pow(decimals)?)
    }

    /// The product.
    pub fn times(self, other: Ratio) -> Option<Ratio> {
        // Reduced crosswise first, so that only results that need more than 128 bits fail.
        let (a, b) = (gcd(self.numerator, other.denominator), gcd(other.numerator, self.denominator));
        let numerator = (self.numerator / a).checked_mul(other.numerator / b)?;
        let denominator = (self.denominator / b).checked_mul(other.denominator / a)?;
        Ratio::new(numerator, denominator)
    }

    /// The quotient; `None` for division by zero, too.
    pub fn over(self, other: Ratio) -> Option<Ratio> {
        self.times(Ratio::new(other.denominator, other.numerator)?)
    }

    /// The sum.
    pub fn plus(self, other: Ratio) -> Option<Ratio> {
        let common = gcd(self.denominator, other.denominator);
        let left = self.numerator.checked_mul(other.denominator / common)?;
        let right = other.numerator.checked_mul(self.denominator / common)?;
        Ratio::new(left.checked_add(right)?, (self.denominator / common).checked_mul(other.denominator)?)
    }

    /// The difference of two numbers, without its sign.
    pub fn distance(self, other: Ratio) -> Option<Ratio> {
        let common = gcd(self.denominator, other.denominator);
        let left = self.numerator.checked_mul(other.denominator / common)?;
        let right = other.numerator.checked_mul(self.denominator / common)?;
        Ratio::new(left.abs_diff(right), (self.denominator / common).checked_mul(other.denominator)?)
    }

    /// Mean of whole numbers; `None` of none.
    pub fn mean(numbers: &[u64]) -> Option<Ratio> {
        Ratio::new(
            numbers.iter().map(|number| u128::from(*number)).sum(),
            u128::try_from(numbers.len()).ok()?,
        )
    }

    /// Rounded down to a whole number.
    pub fn floor(self) -> u128 {
        self.numerator / self.denominator
    }

    /// True for a whole number.
    pub fn is_whole(self) -> bool {
        self.denominator == 1
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Ratio) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    /// Whole parts first; where they are equal, the reciprocals of the rests, the other way round.
    fn cmp(&self, other: &Ratio) -> Ordering {
        let (mut a, mut b) = (*self, *other);
        loop {
            let order = a.floor().cmp(&b.floor());
            let (rest_a, rest_b) = (a.numerator % a.denominator, b.numerator % b.denominator);
            if order != Ordering::Equal || rest_a == 0 || rest_b == 0 {
                return order.then((rest_a != 0).cmp(&(rest_b != 0)));
            }
            (a, b) = (
                Ratio { numerator: b.denominator, denominator: rest_b },
                Ratio { numerator: a.denominator, denominator: rest_a },
            );
        }
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, expected) in [
            ("0.9", Ratio::new(9, 10)),
            ("24", Ratio::new(24, 1)),
            ("1_000.50", Ratio::new(2001, 2)),
            ("0", Ratio::new(0, 1)),
            ("", None),
            (".5", None),
            ("5.", None),
            ("1.2.3", None),
            ("1e3", None),
            ("1234567890123456789012345678901", None),
        ] {
            assert_eq!(Ratio::decimal(text), expected, "{text}");
        }
    }

    #[test]
    fn comparison_agrees_with_cross_multiplication_and_never_overflows() {
        let small: Vec<Ratio> = (0..12).flat_map(|n| (1..12).filter_map(move |d| Ratio::new(n, d))).collect();
        for a in &small {
            for b in &small {
                let crossed = (a.numerator * b.denominator).cmp(&(b.numerator * a.denominator));
                assert_eq!(a.cmp(b), crossed, "{a:?} {b:?}");
            }
        }
        let near_one = Ratio::new(u128::MAX - 1, u128::MAX);
        assert!(near_one < Ratio::new(1, 1));
        assert!(near_one > Ratio::new(u128::MAX - 2, u128::MAX - 1));
    }

    #[test]
    fn arithmetic_is_exact_or_refused() {
        let nine_tenths = Ratio::decimal("0.9");
        assert_eq!(nine_tenths.and_then(|n| n.times(Ratio::whole(50))), Some(Ratio::whole(45)));
        assert_eq!(Ratio::whole(3).distance(Ratio::whole(5)), Some(Ratio::whole(2)));
        assert_eq!(Ratio::new(1, 2).and_then(|half| half.distance(Ratio::new(1, 3)?)), Ratio::new(1, 6));
        let large = Ratio::new(u128::MAX, 1);
        assert_eq!(large.and_then(|n| n.times(Ratio::whole(2))), None);
        assert_eq!(Ratio::mean(&[1, 2]), Ratio::new(3, 2));
        assert_eq!(Ratio::mean(&[]), None);
        assert_eq!(Ratio::new(1, 2).and_then(|half| half.plus(Ratio::new(1, 3)?)), Ratio::new(5, 6));
        assert_eq!(Ratio::whole(3).over(Ratio::whole(6)), Ratio::new(1, 2));
        assert_eq!(Ratio::whole(3).over(Ratio::whole(0)), None);
    }
}
