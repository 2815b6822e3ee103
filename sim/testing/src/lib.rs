//! What the tests of several crates share: numbers to choose cases by, edits that break texts, and files of broken
//! texts with what is said about each.
//!
//! A dev-dependency only. Nothing here knows a type of another crate, so that the unit tests of any of them can use
//! it. Functions panic where a test should fail.
#![allow(
    clippy::disallowed_methods,
    reason = "the length of property tests, and files of cases, come from outside"
)]

mod broken;
mod edit;
mod random;

pub use broken::{BrokenTexts, Case};
pub use edit::{Edit, edited};
pub use random::Random;

/// Number of cases of a property: PEERBUS_CASES, or `default`, which should take about a second.
pub fn cases(default: u32) -> u32 {
    std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
