//! [`Proportion`]: a part of trials, with Wilson's interval of 95 % in integers.
//!
//! With `k` of `n` trials and `z = 1.96`:
//!
//! ```text
//! bound = (2k + z² ∓ z · sqrt(z² + 4k(n - k)/n)) / (2(n + z²))
//! ```
//!
//! all multiplied until nothing is a fraction; the lower bound is rounded down and the upper one up, to millionths. Unlike
//! the simple interval it is none of zero width when all trials agree. Example: 10,000 of 10,000 is at least 99.9615 %.

use serde::Serialize;

/// Millionths in one.
const MILLION: u128 = 1_000_000;
/// z² in ten-thousandths.
const Z2: u128 = 38_416;

/// How often something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Proportion {
    /// Times it happened.
    pub times: u64,
    /// Times it could have, at least 1.
    pub of: u64,
    /// Lower end of the interval in millionths.
    pub low: u64,
    /// Upper end.
    pub high: u64,
}

impl Proportion {
    /// `times` of `of`; `times` is at most `of`, and `of` at most 2^28 and not zero.
    pub fn new(times: u64, of: u64) -> Proportion {
        assert!(times <= of && (1..=1 << 28).contains(&of), "{times} of {of} is no proportion");
        let (k, n) = (u128::from(times), u128::from(of));
        let middle = (20_000 * k + Z2) * MILLION;
        // (z · sqrt(z² + 4k(n - k)/n))², times 10^8 for the scale of the middle, times 10^12 for millionths.
        let square = Z2 * (Z2 * n + 40_000 * k * (n - k)) * MILLION * MILLION;
        let width = |up: bool| {
            let quotient = if up { square.div_ceil(n) } else { square / n };
            let root = quotient.isqrt();
            root + u128::from(up && root * root < quotient)
        };
        let scale = 20_000 * n + 2 * Z2;
        let low = middle.saturating_sub(width(true)) / scale;
        let high = (middle + width(true)).div_ceil(scale).min(MILLION);
        let narrow = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
        Proportion { times, of, low: narrow(low), high: narrow(high) }
    }

    /// `100 %`, or `91.23 % (90.6612 % to 91.7701 %)`: the share rounded down to hundredths, and the interval.
    pub fn text(self) -> String {
        let share = u128::from(self.times) * 10_000 / u128::from(self.of.max(1));
        let percent = |millionths: u64| format!("{}.{:04} %", millionths / 10_000, millionths % 10_000);
        format!("{}.{:02} % ({} to {})", share / 100, share % 100, percent(self.low), percent(self.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounds by the textbook formula, in floating point.
    fn textbook(times: u64, of: u64) -> (f64, f64) {
        let (k, n, z) = (times as f64, of as f64, 1.96f64);
        let root = z * (z * z + 4.0 * k * (n - k) / n).sqrt();
        let bound = |root: f64| (2.0 * k + z * z + root) / (2.0 * (n + z * z)) * 1e6;
        (bound(-root), bound(root))
    }

    #[test]
    fn bounds_are_those_of_the_formula() {
        for (times, of) in [
            (0, 1),
            (1, 1),
            (5, 10),
            (0, 10_000),
            (10_000, 10_000),
            (9_123, 10_000),
            (1, 1 << 28),
            (1 << 27, 1 << 28),
        ] {
            let found = Proportion::new(times, of);
            let (low, high) = textbook(times, of);
            assert!(
                (found.low as f64 - low).abs() <= 1.0 && (found.high as f64 - high).abs() <= 1.0,
                "{found:?}"
            );
            assert!(found.low <= found.high && found.high <= 1_000_000);
        }
        // Known: half of ten trials lie between 23.7 % and 76.3 %.
        assert_eq!((Proportion::new(5, 10).low, Proportion::new(5, 10).high), (236_589, 763_411));
        assert_eq!(Proportion::new(10_000, 10_000).text(), "100.00 % (99.9615 % to 100.0000 %)");
    }
}
