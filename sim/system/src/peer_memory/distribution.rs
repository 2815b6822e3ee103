//! [`Distribution`]: how sizes and times of a workload vary, and [`Sampler`], which draws them.
//!
//! All arithmetic is on integers, the logarithm of the exponential distribution included: a platform's floating-point
//! library must not decide what a run does. One draw takes one number of its stream (rejections of
//! [`Stream::below`] aside), so that a distribution can be changed without shifting what others draw.

use peerbus_engine::Stream;
use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A size or a time: what a workload draws.
pub trait Quantity: Copy + Ord {
    /// As a number of its base unit: bytes or picoseconds.
    fn raw(self) -> u64;
    /// From such a number.
    fn from_raw(raw: u64) -> Self;
}

impl Quantity for Bytes {
    fn raw(self) -> u64 {
        self.0
    }
    fn from_raw(raw: u64) -> Bytes {
        Bytes(raw)
    }
}

impl Quantity for Picos {
    fn raw(self) -> u64 {
        self.0
    }
    fn from_raw(raw: u64) -> Picos {
        Picos(raw)
    }
}

/// How a quantity varies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Distribution<T> {
    /// Always the same.
    Fixed(T),
    /// From the first to the second, both included, all equally likely.
    Uniform(T, T),
    /// One of several, each with a weight.
    Choice(Vec<(T, u32)>),
    /// One of several, the n-th with a weight of 1 / n to the power of `exponent`.
    Zipf {
        /// From the most frequent on; at most 1024.
        values: Vec<T>,
        /// 1 to 4.
        exponent: u32,
    },
    /// Exponential with this mean, cut off at 45 times the mean (which one draw in 2^64 would exceed).
    Exponential(T),
}

/// Values of a [`Distribution::Choice`] or [`Distribution::Zipf`] at most: with more, the weights of the last ones
/// would be too coarse.
pub const MOST_VALUES: usize = 1024;
/// Largest exponent of a [`Distribution::Zipf`].
pub const LARGEST_EXPONENT: u32 = 4;
/// No draw of an exponential distribution is more than this many times the mean: −ln 2^-64 is 44.4.
const EXPONENTIAL_REACH: u64 = 45;

impl<T: Quantity> Distribution<T> {
    /// What is wrong with its parameters, and what to write instead.
    pub fn problem(&self) -> Option<(String, &'static str)> {
        let count = |count: usize| match count {
            0 => Some(("there is no value to draw".to_owned(), "list at least one value")),
            1..=MOST_VALUES => None,
            _ => Some((format!("{count} values are too many"), "list at most 1024 values")),
        };
        match self {
            Distribution::Uniform(first, last) if first > last => {
                Some(("the first value is above the second".to_owned(), "write the smaller value first"))
            }
            Distribution::Choice(values) if values.iter().all(|(_, weight)| *weight == 0) => {
                Some(("no value has a weight".to_owned(), "give at least one value a weight above 0"))
            }
            Distribution::Choice(values) => count(values.len()),
            Distribution::Zipf { exponent, .. } if !(1..=LARGEST_EXPONENT).contains(exponent) => {
                Some((format!("an exponent of {exponent} is out of range"), "write 1 to 4"))
            }
            Distribution::Zipf { values, .. } => count(values.len()),
            Distribution::Fixed(_) | Distribution::Uniform(..) | Distribution::Exponential(_) => None,
        }
    }

    /// The smallest value it can draw.
    pub fn least(&self) -> T {
        match self {
            Distribution::Fixed(value) | Distribution::Uniform(value, _) => *value,
            Distribution::Choice(values) => {
                let drawn = values.iter().filter(|(_, weight)| *weight > 0).map(|(value, _)| *value);
                drawn.min().unwrap_or(T::from_raw(0))
            }
            Distribution::Zipf { values, .. } => values.iter().copied().min().unwrap_or(T::from_raw(0)),
            Distribution::Exponential(_) => T::from_raw(0),
        }
    }

    /// No draw is larger.
    pub fn most(&self) -> T {
        match self {
            Distribution::Fixed(value) | Distribution::Uniform(_, value) => *value,
            Distribution::Choice(values) => {
                let drawn = values.iter().filter(|(_, weight)| *weight > 0).map(|(value, _)| *value);
                drawn.max().unwrap_or(T::from_raw(0))
            }
            Distribution::Zipf { values, .. } => values.iter().copied().max().unwrap_or(T::from_raw(0)),
            Distribution::Exponential(mean) => T::from_raw(mean.raw().saturating_mul(EXPONENTIAL_REACH)),
        }
    }
}

/// Draws from a distribution whose parameters are right.
#[derive(Clone, Debug)]
pub struct Sampler<T> {
    kind: Kind<T>,
}

#[derive(Clone, Debug)]
enum Kind<T> {
    Range {
        first: u64,
        count: u64,
    },
    /// Values with the sums of weights up to and including them.
    Table(Vec<(T, u64)>),
    Exponential {
        mean: u64,
    },
}

impl<T: Quantity> Sampler<T> {
    /// `None` when [`Distribution::problem`] finds something.
    pub fn new(distribution: &Distribution<T>) -> Option<Sampler<T>> {
        if distribution.problem().is_some() {
            return None;
        }
        let kind = match distribution {
            Distribution::Fixed(value) => Kind::Range { first: value.raw(), count: 1 },
            Distribution::Uniform(first, last) => {
                // All 2^64 numbers have no count in 64 bits; leaving the last one out is no loss.
                let count = (last.raw() - first.raw()).saturating_add(1);
                Kind::Range { first: first.raw(), count }
            }
            Distribution::Choice(values) => {
                Kind::Table(summed(values.iter().map(|(value, weight)| (*value, u64::from(*weight)))))
            }
            Distribution::Zipf { values, exponent } => {
                let ranks = (1u64..).zip(values);
                Kind::Table(summed(ranks.map(|(rank, value)| (*value, zipf_weight(rank, *exponent)))))
            }
            Distribution::Exponential(mean) => Kind::Exponential { mean: mean.raw() },
        };
        Some(Sampler { kind })
    }

    /// The next value.
    pub fn draw(&self, stream: &mut Stream) -> T {
        match &self.kind {
            Kind::Range { first, count } => T::from_raw(first + stream.below(*count)),
            Kind::Table(values) => {
                let total = values.last().map_or(0, |(_, sum)| *sum);
                let point = stream.below(total);
                let at = values.partition_point(|(_, sum)| *sum <= point);
                values.get(at).map_or(T::from_raw(0), |(value, _)| *value)
            }
            Kind::Exponential { mean } => T::from_raw(stream.exponential(*mean)),
        }
    }
}

/// Weights as running sums. At most 1024 weights below 2^53 each: no sum overflows.
fn summed<T>(weighted: impl Iterator<Item = (T, u64)>) -> Vec<(T, u64)> {
    let mut sum = 0;
    let mut add = |(value, weight)| {
        sum += weight;
        (value, sum)
    };
    weighted.map(&mut add).collect()
}

/// 2^52 / rank^exponent, rounded down: at least 4096 for the smallest weight there can be, so none is off by more
/// than 1 in 4096.
pub(crate) fn zipf_weight(rank: u64, exponent: u32) -> u64 {
    (1 << 52) / rank.saturating_pow(exponent).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(distribution: Distribution<Bytes>, count: usize) -> Vec<u64> {
        let sampler = Sampler::new(&distribution).expect("the parameters are right");
        let mut stream = Stream::new(7, 3);
        (0..count).map(|_| sampler.draw(&mut stream).0).collect()
    }

    fn mean(values: &[u64]) -> u64 {
        values.iter().sum::<u64>() / values.len() as u64
    }

    #[test]
    fn first_draws_are_pinned() {
        let values = vec![Bytes(10), Bytes(20), Bytes(30)];
        for (distribution, expected) in [
            (Distribution::Fixed(Bytes(5)), [5; 6]),
            (Distribution::Uniform(Bytes(1), Bytes(100)), [33, 20, 5, 95, 79, 86]),
            (Distribution::Choice(vec![(Bytes(1), 1), (Bytes(2), 0), (Bytes(3), 2)]), [1, 1, 1, 3, 3, 3]),
            (Distribution::Zipf { values, exponent: 1 }, [10, 10, 10, 30, 20, 30]),
            // −ln of the same numbers: 33 of 100 is 1.1, 95 of 100 is 0.06.
            (
                Distribution::Exponential(Bytes(1_000_000)),
                [1_126_880, 1_651_938, 3_094_797, 61_766, 237_506, 152_784],
            ),
        ] {
            assert_eq!(draws(distribution.clone(), 6), expected, "{distribution:?}");
        }
    }

    #[test]
    fn means_are_those_of_the_distributions() {
        let count = 40_000;
        for (distribution, expected) in [
            (Distribution::Uniform(Bytes(100), Bytes(300)), 200),
            (Distribution::Choice(vec![(Bytes(100), 3), (Bytes(500), 1)]), 200),
            // 1 : 1/2 : 1/3, so 6, 3 and 2 parts of 11.
            (Distribution::Zipf { values: vec![Bytes(400), Bytes(800), Bytes(1600)], exponent: 1 }, 727),
            (Distribution::Exponential(Bytes(100_000)), 100_000),
        ] {
            let found = mean(&draws(distribution.clone(), count));
            assert!(found.abs_diff(expected) * 50 <= expected, "{distribution:?}: {found}");
        }
    }

    #[test]
    fn frequencies_follow_the_weights() {
        let values = [1, 2, 3, 4].map(Bytes).to_vec();
        let drawn = draws(Distribution::Zipf { values, exponent: 2 }, 41_000);
        let share = |value| drawn.iter().filter(|drawn| **drawn == value).count() * 1000 / drawn.len();
        // 144 : 36 : 16 : 9 of 205.
        for (value, expected) in [(1, 702usize), (2, 175), (3, 78), (4, 43)] {
            assert!(share(value).abs_diff(expected) <= 10, "{value}: {}", share(value));
        }
        // The memoryless one: a share of e^-1 is above the mean, of e^-2 above twice the mean.
        let drawn = draws(Distribution::Exponential(Bytes(1 << 30)), 40_000);
        let above = |bound| drawn.iter().filter(|drawn| **drawn > bound).count() * 1000 / drawn.len();
        assert!(above(1 << 30).abs_diff(368) <= 10 && above(2 << 30).abs_diff(135) <= 8);
    }

    #[test]
    fn draws_stay_within_bounds() {
        for distribution in [
            Distribution::Uniform(Bytes(3), Bytes(5)),
            Distribution::Uniform(Bytes(0), Bytes(u64::MAX)),
            Distribution::Choice(vec![(Bytes(9), 0), (Bytes(2), 7), (Bytes(4), 1)]),
            Distribution::Exponential(Bytes(u64::MAX)),
            Distribution::Exponential(Bytes(0)),
        ] {
            let (least, most) = (distribution.least().0, distribution.most().0);
            let drawn = draws(distribution, 2_000);
            assert!(drawn.iter().all(|value| (least..=most).contains(value)));
        }
    }

    #[test]
    fn wrong_parameters_are_named() {
        let many = vec![(Bytes(1), 1); MOST_VALUES + 1];
        for (distribution, expected) in [
            (Distribution::Uniform(Bytes(2), Bytes(1)), Some("the first value is above the second")),
            (Distribution::Choice(vec![]), Some("no value has a weight")),
            (Distribution::Choice(vec![(Bytes(1), 0)]), Some("no value has a weight")),
            (Distribution::Choice(many), Some("1025 values are too many")),
            (Distribution::Zipf { values: vec![], exponent: 1 }, Some("there is no value to draw")),
            (
                Distribution::Zipf { values: vec![Bytes(1)], exponent: 5 },
                Some("an exponent of 5 is out of range"),
            ),
            (Distribution::Uniform(Bytes(2), Bytes(2)), None),
        ] {
            let problem = distribution.problem();
            assert_eq!(problem.as_ref().map(|(message, _)| message.as_str()), expected);
            assert_eq!(Sampler::new(&distribution).is_none(), expected.is_some());
        }
    }
}
