//! Measured values and what the simulation says of the same thing.
//!
//! A [`Measurement`] is a row of a scenario's `measured`, understood. After the run, [`compare`] finds its prediction
//! with the means of conditions ([`crate::expect`]) and makes a [`Comparison`]. Numbers stay exact fractions in base
//! units; only the error is rounded, to a millionth of the measured value.

use std::fmt;

use peerbus_units::Bytes;

use crate::expect::{self, Bound, Dimension, FlowValue, Measure, Ratio, Value, What};
use crate::file::How;
use crate::result::Cell;

/// A measured value.
#[derive(Clone, PartialEq, Debug)]
pub struct Measurement {
    /// What it is of, as written; empty for a row that is left out without saying.
    pub of: String,
    /// The same, understood; `None` for a row that is left out.
    pub measure: Option<Measure>,
    /// How several flows make the value.
    pub how: How,
    /// The number in base units with what it includes taken off; `None` for a row that is left out without one.
    pub value: Option<Ratio>,
    /// What was taken off, in base units.
    pub included: Option<Ratio>,
    /// Its unit.
    pub unit: Unit,
    /// Bytes of a transfer, where stated.
    pub size: Option<Bytes>,
    /// What it is summed up with.
    pub family: String,
    /// Who measured it.
    pub source: String,
    /// The table it stands in; empty for none.
    pub table: String,
    /// Lines of that table, from 1; several only for rows that are left out together.
    pub lines: Vec<(u32, u32)>,
    /// Why it is not compared.
    pub left_out: Option<String>,
    /// The physical reason of a known deviation.
    pub deviation: Option<String>,
}

impl Measurement {
    /// Measured values it stands for: its lines, and one where none are given.
    pub fn count(&self) -> u64 {
        let lines: u64 = self.lines.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
        lines.max(1)
    }
}

/// A unit as written, and what one of it is in base units.
#[derive(Clone, PartialEq, Debug)]
pub struct Unit {
    /// As written.
    pub name: String,
    /// One of it in base units.
    pub scale: Ratio,
    /// What it counts.
    pub dimension: Dimension,
}

impl Unit {
    /// A unit of rate or time by its name; `None` when there is none of that name.
    pub fn new(name: &str) -> Option<Unit> {
        // Tools of storage print binary rates, which nothing else here uses.
        let binary = |shift: u32| Some((Ratio::whole(1 << shift), Dimension::Rate));
        let (scale, dimension) = match name {
            "KiB/s" => binary(10),
            "MiB/s" => binary(20),
            "GiB/s" => binary(30),
            name => expect::unit_scale(name),
        }?;
        let known = matches!(dimension, Dimension::Rate | Dimension::Time);
        known.then(|| Unit { name: name.to_owned(), scale, dimension })
    }

    /// A number in base units as millionths of this unit, rounded half up; `None` beyond 64 bits.
    pub fn millionths(&self, number: Ratio) -> Option<u64> {
        let doubled = number.times(Ratio::whole(2_000_000))?.over(self.scale)?.floor();
        u64::try_from(doubled.div_ceil(2)).ok()
    }
}

/// A measured value beside its prediction.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    /// The measured value.
    pub measurement: Measurement,
    /// What the simulation says, in base units; the error says why it says nothing.
    pub predicted: Result<Ratio, String>,
    /// (predicted − measured) / measured, in millionths; `None` without both.
    pub error_ppm: Option<i64>,
}

impl Comparison {
    /// True when a prediction stands beside the value.
    pub fn is_compared(&self) -> bool {
        self.error_ppm.is_some()
    }

    /// Why there is no prediction.
    pub fn reason(&self) -> Option<&str> {
        match (&self.measurement.left_out, &self.predicted) {
            (Some(reason), _) => Some(reason),
            (None, Err(reason)) => Some(reason),
            (None, Ok(_)) if self.error_ppm.is_none() => Some("the measured value is zero or too large"),
            (None, Ok(_)) => None,
        }
    }
}

/// Sets `measurement` beside what became of the variants.
pub fn compare(measurement: Measurement, cells: &[Cell]) -> Comparison {
    let predicted = match &measurement.measure {
        Some(measure) if measurement.left_out.is_none() => predict(measure, measurement.how, cells),
        _ => Err("left out".to_owned()),
    };
    let both = predicted.as_ref().ok().zip(measurement.value);
    let error_ppm = both.and_then(|(predicted, measured)| error(*predicted, measured));
    Comparison { measurement, predicted, error_ppm }
}

/// (predicted − measured) / measured in millionths, towards zero.
fn error(predicted: Ratio, measured: Ratio) -> Option<i64> {
    let distance = predicted.distance(measured)?.times(Ratio::whole(1_000_000))?.over(measured)?;
    let size = i64::try_from(distance.floor()).ok()?;
    Some(if predicted < measured { -size } else { size })
}

fn predict(measure: &Measure, how: How, cells: &[Cell]) -> Result<Ratio, String> {
    let bound = expect::bound(measure, cells);
    if let (How::Total, What::Flow(FlowValue::Throughput)) = (how, measure.what) {
        return total(&bound, cells);
    }
    let mut numbers = Vec::with_capacity(bound.len());
    for one in &bound {
        match expect::value_of(measure, one, &cells[one.variant])? {
            Value::Number(number, _) => numbers.push(number),
            Value::Text(_) | Value::List(_) => return Err("it is a text".to_owned()),
        }
    }
    let one = match (how, numbers.as_slice()) {
        (How::Min, numbers) => numbers.iter().min().copied(),
        (How::Max, numbers) => numbers.iter().max().copied(),
        (How::Mean, numbers) => mean(numbers),
        (_, [one]) => Some(*one),
        _ => None,
    };
    one.ok_or_else(|| "no single value".to_owned())
}

fn mean(numbers: &[Ratio]) -> Option<Ratio> {
    let sum = numbers.iter().try_fold(Ratio::whole(0), |sum, number| sum.plus(*number))?;
    sum.over(Ratio::whole(u64::try_from(numbers.len()).ok()?))
}

/// Bytes per second of flows that ran together.
fn total(bound: &[Bound], cells: &[Cell]) -> Result<Ratio, String> {
    let flows = bound.iter().filter_map(|one| {
        let flows = &cells[one.variant].outcome.flows;
        flows.iter().find(|flow| flow.name == one.name)
    });
    let bytes: u128 = flows.clone().map(|flow| u128::from(flow.delivered.0)).sum();
    let start = flows.clone().map(|flow| flow.start.0).min().unwrap_or_default();
    let end = flows.map(|flow| flow.end.0).max().unwrap_or_default();
    let rate = bytes.checked_mul(1_000_000_000_000).filter(|_| bytes > 0);
    rate.and_then(|scaled| Ratio::new(scaled, u128::from(end.saturating_sub(start))))
        .ok_or_else(|| "the flows delivered nothing".to_owned())
}

/// Lines of a table as files write them: `12`, `2-25, 30`.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a>(pub &'a [(u32, u32)]);

impl Lines<'_> {
    /// Reads them; `None` when `text` is no such list, or a range has no line.
    pub fn read(text: &str) -> Option<Vec<(u32, u32)>> {
        let line = |text: &str| text.trim().parse::<u32>().ok().filter(|line| *line > 0);
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = (line(first)?, line(last)?);
            (range.0 <= range.1).then_some(range)
        };
        text.split(',').map(range).collect()
    }
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_printed() {
        for (text, expected) in [
            ("12", Some("12")),
            ("2-25,30", Some("2-25, 30")),
            (" 2 - 3 ", Some("2-3")),
            ("3-2", None),
            ("0", None),
            ("", None),
            ("2-", None),
        ] {
            let read = Lines::read(text).map(|lines| Lines(&lines).to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn errors_have_a_sign_and_are_shares_of_the_measured_value() {
        for (predicted, measured, expected) in
            [(110, 100, Some(100_000)), (90, 100, Some(-100_000)), (1, 3, Some(-666_666)), (5, 0, None)]
        {
            assert_eq!(error(Ratio::whole(predicted), Ratio::whole(measured)), expected);
        }
    }

    #[test]
    fn units_are_rates_and_times() {
        let cases = [("GB/s", Some(1_000_000_000)), ("Gbit/s", Some(125_000_000)), ("GiB/s", Some(1 << 30))];
        for (name, scale) in
            cases.into_iter().chain([("us", Some(1_000_000)), ("KiB", None), ("parsec", None)])
        {
            assert_eq!(Unit::new(name).map(|unit| unit.scale), scale.map(Ratio::whole), "{name}");
        }
        let millionths =
            |name, number| Unit::new(name).and_then(|unit| unit.millionths(Ratio::whole(number)));
        assert_eq!(millionths("GB/s", 53_400_000_499), Some(53_400_000));
        assert_eq!(millionths("GB/s", 53_400_000_500), Some(53_400_001));
        assert_eq!(millionths("ns", 1_500), Some(1_500_000));
    }
}
