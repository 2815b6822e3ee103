//! Exponentially distributed integers, by integer arithmetic alone: floating-point functions differ between platforms.

use crate::Stream;

/// ln 2 in 32 fractional bits.
const LN_2: u64 = 2_977_044_472;

impl Stream {
    /// An exponentially distributed number with that mean: the distance to the next of events that happen at random.
    /// At most 44.4 times the mean, which one draw in 2^64 would exceed.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let scaled = u128::from(mean) * u128::from(minus_ln(self.bits()));
        u64::try_from(scaled >> 32).unwrap_or(u64::MAX)
    }
}

/// −ln((bits + 1) / 2^64) in 32 fractional bits: from 0 to 44.4.
fn minus_ln(bits: u64) -> u64 {
    let Some(number) = bits.checked_add(1) else { return 0 };
    let log2 = (64 << 32) - log2(number);
    let product = u128::from(log2) * u128::from(LN_2);
    u64::try_from(product >> 32).unwrap_or(u64::MAX)
}

/// log2 of a number above 0 in 32 fractional bits, rounded down. Each squaring of the mantissa gives a bit: where the
/// square reaches 2, the bit is 1 and the square is halved.
fn log2(number: u64) -> u64 {
    let whole = u64::from(number.ilog2());
    // The mantissa, from 1 up to 2, in 63 fractional bits.
    let mut mantissa = u128::from(number << (63 - whole));
    let mut log = whole;
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        let bit = u64::from(mantissa >= 1 << 64);
        mantissa >>= bit;
        log = log << 1 | bit;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_those_of_the_tables() {
        // n, log2 n to nine decimals.
        for (number, expected) in
            [(1, 0), (2, 1_000_000_000), (3, 1_584_962_500), (10, 3_321_928_094), (u64::MAX, 63_999_999_999)]
        {
            let billionths = (u128::from(log2(number)) * 1_000_000_000) >> 32;
            assert!(billionths.abs_diff(expected) <= 2, "log2 {number} is {billionths}");
        }
        assert_eq!(minus_ln(u64::MAX), 0);
        let half = (u128::from(minus_ln((1 << 63) - 1)) * 1_000_000_000) >> 32;
        assert!(half.abs_diff(693_147_180) <= 1, "{half}");
        assert_eq!(minus_ln(0) >> 32, 44);
    }

    #[test]
    fn the_mean_is_the_mean() {
        let mut stream = Stream::new(7, 3);
        let sum: u64 = (0..100_000).map(|_| stream.exponential(1_000_000)).sum();
        assert!((sum / 100_000).abs_diff(1_000_000) < 10_000, "{}", sum / 100_000);
        assert_eq!(stream.exponential(0), 0);
    }
}
