//! Which of two things is faster: whether predictions put measured values in the order that measurements do.
//!
//! Two values can be compared when they are of one scenario, kind and transfer size: other placements, cablings, settings
//! of one machine. Values that were measured within a tenth of each other have no order worth a prediction; neither have
//! those of which a reason for being far off is written down.

use std::collections::BTreeMap;
use std::fmt::Write;

use peerbus_scenario::ScenarioResult;
use peerbus_scenario::expect::Ratio;
use peerbus_scenario::measured::Comparison;

use crate::number;

/// Pairs whose larger value is that many hundredths of the smaller one, and more.
const CLASSES: [(u64, &str); 3] = [(110, "10 % to 25 %"), (125, "25 % to 100 %"), (200, "twice and more")];

/// Pairs that disagree and are named.
const LISTED: usize = 6;

/// A value: measured, predicted, and where it comes from.
struct Value<'a> {
    measured: Ratio,
    predicted: Ratio,
    row: &'a Comparison,
}

/// What can be compared with each other: scenario, kind (`throughput`, `p50`), transfer size.
type Key<'a> = (&'a str, &'a str, Option<u64>);

/// Pairs of one class, and those of them in the same order.
#[derive(Clone, Copy, Default)]
struct Count {
    pairs: u64,
    same: u64,
}

/// The section of the summary; empty when there is no pair.
pub(crate) fn render(results: &[ScenarioResult]) -> String {
    let mut counts = [Count::default(); CLASSES.len()];
    let mut wrong: Vec<(Ratio, String)> = Vec::new();
    for ((scenario, _, _), mut values) in groups(results) {
        values.sort_by_key(|value| value.measured);
        for (index, small) in values.iter().enumerate() {
            for large in &values[index + 1..] {
                let Some((class, apart)) = class(small.measured, large.measured) else { continue };
                counts[class].pairs += 1;
                if small.predicted < large.predicted {
                    counts[class].same += 1;
                } else {
                    let of = |value: &Value<'_>| value.row.measurement.of.clone();
                    wrong.push((apart, format!("`{scenario}`: `{}` before `{}`", of(large), of(small))));
                }
            }
        }
    }
    if counts.iter().all(|count| count.pairs == 0) {
        return String::new();
    }
    table(&counts) + &listed(wrong)
}

fn groups(results: &[ScenarioResult]) -> BTreeMap<Key<'_>, Vec<Value<'_>>> {
    let mut groups: BTreeMap<Key<'_>, Vec<Value<'_>>> = BTreeMap::new();
    for result in results {
        for row in result.measured.iter().filter(|row| row.is_compared()) {
            let measurement = &row.measurement;
            let (Some(measured), Ok(predicted), None) =
                (measurement.value, &row.predicted, &measurement.deviation)
            else {
                continue;
            };
            let kind = measurement.of.rsplit('.').next().unwrap_or_default();
            let key = (result.scenario.as_str(), kind, measurement.size.map(|size| size.0));
            groups.entry(key).or_default().push(Value { measured, predicted: *predicted, row });
        }
    }
    groups
}

/// The class of a pair and how far it is apart; `None` when it is too near.
fn class(small: Ratio, large: Ratio) -> Option<(usize, Ratio)> {
    let apart = large.over(small)?;
    let at_least =
        |hundredths: u64| Ratio::whole(100).times(apart).is_some_and(|it| it >= Ratio::whole(hundredths));
    let class = CLASSES.iter().rposition(|(hundredths, _)| at_least(*hundredths))?;
    Some((class, apart))
}

fn table(counts: &[Count]) -> String {
    let mut text = "## Orders\n\nPairs of values of one scenario, kind and transfer size, by how far they were measured \
                    apart; rows with a written reason are left out.\n\n\
                    | apart by | pairs | predicted in the same order |\n|---|---:|---:|"
        .to_owned();
    for (count, (_, name)) in counts.iter().zip(CLASSES) {
        let share = number::share_millionths(count.same, count.pairs).map(number::percent_text);
        let _ = write!(
            text,
            "\n| {name} | {} | {} ({}) |",
            count.pairs,
            count.same,
            share.unwrap_or_else(|| "-".to_owned())
        );
    }
    text
}

/// Pairs in the other order, those farthest apart first.
fn listed(mut wrong: Vec<(Ratio, String)>) -> String {
    wrong.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut text = String::new();
    for (index, (_, line)) in wrong.iter().take(LISTED).enumerate() {
        let _ = write!(text, "{}- {line}", if index == 0 { "\n\nIn the other order:\n\n" } else { "\n" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_classes_by_how_far_they_are_apart() {
        for (small, large, expected) in [
            (100, 109, None),
            (100, 110, Some(0)),
            (100, 124, Some(0)),
            (100, 125, Some(1)),
            (5, 10, Some(2)),
            (0, 1, None),
        ] {
            let found = class(Ratio::whole(small), Ratio::whole(large));
            assert_eq!(found.map(|(class, _)| class), expected, "{small} {large}");
        }
    }
}
