//! Which link joins CPU packages of one kind, where a source does not say.

use std::ops::RangeInclusive;

/// Links between CPU packages: vendor, families, models, part. The first that fits counts.
#[rustfmt::skip]
const CPU_LINKS: [(&str, RangeInclusive<u32>, RangeInclusive<u32>, &str); 8] = [
    ("AuthenticAMD", 0x17..=0x17, 0x00..=0x2f, "xgmi1-x4"),
    ("AuthenticAMD", 0x17..=0x17, 0x30..=0xff, "xgmi2-x4"),
    ("AuthenticAMD", 0x19..=0x19, 0x00..=0x0f, "xgmi2-x4"),
    ("AuthenticAMD", 0x19..=0x19, 0x90..=0x9f, "xgmi3-mi300a"),
    ("AuthenticAMD", 0x19..=0x1a, 0x00..=0xff, "xgmi3-x4"),
    ("GenuineIntel", 6..=6, 60..=84, "qpi"),
    ("GenuineIntel", 6..=6, 85..=85, "upi-10.4"),
    ("GenuineIntel", 6..=6, 106..=108, "upi-11.2"),
];
/// Intel's models from here on have the fastest UPI.
const FAST_UPI: u32 = 143;

/// The part of the links between packages of a vendor, family and model as in /proc/cpuinfo.
pub(super) fn part(cpu: Option<(&str, u32, u32)>) -> &'static str {
    let Some((vendor, family, model)) = cpu else { return "generic-cpu-link" };
    let fits = |(known, families, models, _): &&(&str, RangeInclusive<u32>, RangeInclusive<u32>, &str)| {
        *known == vendor && families.contains(&family) && models.contains(&model)
    };
    match CPU_LINKS.iter().find(fits) {
        Some((_, _, _, part)) => part,
        None if vendor == "GenuineIntel" && family == 6 && model >= FAST_UPI => "upi-16",
        None => "generic-cpu-link",
    }
}
