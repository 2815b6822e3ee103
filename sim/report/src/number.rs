//! Integers of the simulation as decimals a person or a JSON reader sees.
//!
//! All arithmetic is on integers; a decimal is made once, at the end, from its digits. So a number's text does
//! not depend on the platform, and equal results print equally.

use peerbus_system::outcome::{FlowOutcome, LinkOutcome};
use peerbus_units::{Bytes, Picos};

/// The number nearest to `millionths / 1_000_000`; what JSON holds for a value with six decimals.
pub fn from_millionths(millionths: u128) -> f64 {
    let digits = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    digits.parse().unwrap_or(f64::MAX)
}

/// Nanoseconds with all three decimals of a time in picoseconds.
pub fn nanoseconds(time: Picos) -> f64 {
    from_millionths(u128::from(time.0) * 1_000)
}

/// A flow's delivered bytes per time in millionths of a GB/s (10⁹ bytes per second), rounded down; `None` when
/// nothing was delivered.
pub fn throughput_millionths(flow: &FlowOutcome) -> Option<u64> {
    flow.bytes_per_second().map(|rate| rate / 1_000)
}

/// `part / whole` in millionths, rounded down; `None` when `whole` is zero.
pub fn share_millionths(part: u64, whole: u64) -> Option<u64> {
    let share = (u128::from(part) * 1_000_000).checked_div(u128::from(whole))?;
    Some(u64::try_from(share).unwrap_or(u64::MAX))
}

/// Share of `end` a link was sending, in millionths; zero in a run without time.
pub fn utilisation_millionths(link: &LinkOutcome, end: Picos) -> u64 {
    share_millionths(link.busy_time.0, end.0).unwrap_or(0)
}

/// Share of a link's bytes (TLPs and DLLPs) that were payload, in millionths.
pub fn efficiency_millionths(link: &LinkOutcome) -> Option<u64> {
    share_millionths(link.payload_bytes.0, link.wire_bytes.0.saturating_add(link.dllp_bytes.0))
}

/// `value / scale` with `decimals` decimals, rounded half up.
fn ratio_text(value: u64, scale: u64, decimals: u32) -> String {
    let unit = 10u128.pow(decimals);
    let scale = u128::from(scale);
    let scaled = (u128::from(value) * unit * 2 + scale) / (scale * 2);
    let width = usize::try_from(decimals).unwrap_or(0);
    match decimals {
        0 => scaled.to_string(),
        _ => format!("{}.{:0width$}", scaled / unit, scaled % unit),
    }
}

/// Millionths of a unit, such as GB/s, with two decimals: `53.21`.
pub fn gbytes_text(millionths: u64) -> String {
    ratio_text(millionths, 1_000_000, 2)
}

/// Millionths as per cent with one decimal: `97.3 %`.
pub fn percent_text(millionths: u64) -> String {
    format!("{} %", ratio_text(millionths, 10_000, 1))
}

/// A time in the largest unit that leaves a number of at least one: `1.234 ms`, `12 ns`, `0 s`.
pub fn time_text(time: Picos) -> String {
    const UNITS: [(&str, u64); 4] =
        [("s", 1_000_000_000_000), ("ms", 1_000_000_000), ("us", 1_000_000), ("ns", 1_000)];
    if time == Picos::ZERO {
        return "0 s".to_owned();
    }
    match UNITS.iter().find(|(_, scale)| time.0 >= *scale) {
        Some((unit, scale)) if time.0.is_multiple_of(*scale) => format!("{} {unit}", time.0 / scale),
        Some((unit, scale)) => format!("{} {unit}", ratio_text(time.0, *scale, 3)),
        None => format!("{} ps", time.0),
    }
}

/// A size in the largest binary unit that leaves a number of at least one: `64 MiB`, `1.37 GiB`, `17 B`.
pub fn bytes_text(size: Bytes) -> String {
    const UNITS: [(&str, u32); 6] =
        [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.iter().find(|(_, shift)| size.0 >> shift > 0) {
        Some((unit, shift)) if size.0.is_multiple_of(1 << shift) => format!("{} {unit}", size.0 >> shift),
        Some((unit, shift)) => format!("{} {unit}", ratio_text(size.0, 1 << shift, 2)),
        None => format!("{} B", size.0),
    }
}

/// A count with thin groups of three digits: `1_234_567` as `1,234,567`.
pub fn count_text(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An address in hexadecimal, grouped by 16 bits as in machine files: `0x380_0000_0000` is `0x380_0000_0000`.
pub fn address_text(address: u64) -> String {
    let digits = format!("{address:x}");
    let mut text = String::from("0x");
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(4) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// A digest as it stands in documents: 16 hexadecimal digits.
pub fn digest_text(digest: u64) -> String {
    format!("{digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_come_from_their_digits() {
        assert_eq!(from_millionths(53_200_000).to_string(), "53.2");
        assert_eq!(from_millionths(1).to_string(), "0.000001");
        assert_eq!(from_millionths(0).to_string(), "0");
        assert_eq!(nanoseconds(Picos(1_234_567)).to_string(), "1234.567");
        assert!(nanoseconds(Picos(u64::MAX)) > 1.8e16);
        assert!(from_millionths(u128::MAX).is_finite());
    }

    #[test]
    fn times_choose_their_unit() {
        for (picos, text) in [
            (0, "0 s"),
            (7, "7 ps"),
            (12_000, "12 ns"),
            (1_234_567, "1.235 us"),
            (1_999_999_999, "2.000 ms"),
            (3_000_000_000_000, "3 s"),
            (u64::MAX, "18446744.074 s"),
        ] {
            assert_eq!(time_text(Picos(picos)), text);
        }
    }

    #[test]
    fn sizes_choose_their_unit() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1 << 26, "64 MiB"), (1536, "1.50 KiB"), (u64::MAX, "16.00 EiB")]
        {
            assert_eq!(bytes_text(Bytes(bytes)), text);
        }
    }

    #[test]
    fn shares_round_down_and_percent_half_up() {
        assert_eq!(share_millionths(1, 3), Some(333_333));
        assert_eq!(share_millionths(1, 0), None);
        assert_eq!(share_millionths(u64::MAX, 1), Some(u64::MAX));
        assert_eq!(percent_text(973_500), "97.4 %");
        assert_eq!(percent_text(999_999), "100.0 %");
        assert_eq!(gbytes_text(53_215_000), "53.22");
    }

    #[test]
    fn counts_and_addresses_are_grouped() {
        assert_eq!(count_text(0), "0");
        assert_eq!(count_text(999), "999");
        assert_eq!(count_text(1_234_567), "1,234,567");
        assert_eq!(address_text(0x380_0000_0000), "0x380_0000_0000");
        assert_eq!(address_text(0xfff), "0xfff");
        assert_eq!(digest_text(0xab), "00000000000000ab");
    }
}
