//! Whether a condition held.

use peerbus_system::expand::Pattern;
use peerbus_system::outcome::{FlowOutcome, MatrixOutcome, Outcome, PeerMemoryOutcome, PoolOutcome};
use peerbus_system::space::Space;
use peerbus_units::Bytes;

use super::bind::{Bound, Names, Pair, bind, pairs, qualified};
use super::condition::{
    Condition, ErrorValue, FlowValue, MatrixValue, Measure, PoolValue, Side, SpaceValue, Term, Test, What,
};
use super::number::Ratio;
use super::value::{Dimension, Value};
use crate::result::{Cell, Expectation};

/// Evaluates `condition` on what became of every variant. A value that does not exist (the latency of a flow that
/// delivered nothing) makes it not hold, and `detail` says which.
pub fn evaluate(condition: &Condition, cells: &[Cell]) -> Expectation {
    let names: Vec<Names> = cells.iter().map(names).collect();
    let done = |holds, detail| Expectation { text: condition.text.clone(), holds, detail };
    let pairs = match pairs(condition, &names) {
        Ok(pairs) => pairs,
        Err(alone) => {
            let name = qualified(&names[alone.variant].variant, &alone.name);
            return done(false, format!("nothing was measured to compare {name} with"));
        }
    };
    let results: Vec<Comparison> = pairs.iter().map(|pair| compare(condition, pair, cells)).collect();
    let (holds, detail) = summary(condition, &results);
    done(holds, detail)
}

/// Everything in `cells` that `measure` stands for.
pub fn bound(measure: &Measure, cells: &[Cell]) -> Vec<Bound> {
    let names: Vec<Names> = cells.iter().map(names).collect();
    bind(measure, &names)
}

/// The value of one thing that `measure` stands for. The error says why there is none.
pub fn value_of(measure: &Measure, bound: &Bound, cell: &Cell) -> Result<Value, String> {
    measured(measure, bound, cell)
}

fn names(cell: &Cell) -> Names {
    Names {
        variant: cell.variant.clone(),
        flows: cell.outcome.flows.iter().map(|flow| flow.name.clone()).collect(),
        matrices: cell.outcome.matrices.iter().map(|matrix| matrix.name.clone()).collect(),
        memories: cell.outcome.peer_memory.iter().map(|memory| memory.name.clone()).collect(),
        pools: pools(&cell.outcome).map(|(name, _)| name).collect(),
    }
}

/// Every pool with its name, `WORKLOAD.PROVIDER`.
fn pools(outcome: &Outcome) -> impl Iterator<Item = (String, &PoolOutcome)> {
    let named = |memory: &PeerMemoryOutcome, pool: &PoolOutcome| format!("{}.{}", memory.name, pool.provider);
    outcome
        .peer_memory
        .iter()
        .flat_map(move |memory| memory.pools.iter().map(move |pool| (named(memory, pool), pool)))
}

/// One comparison of two values.
struct Comparison {
    /// What the left or else the right value was measured on.
    label: String,
    holds: bool,
    /// `18GB/s >= 20GB/s`, or why it could not be made.
    text: String,
    /// The left number, for the range over many.
    left: Option<Ratio>,
}

fn compare(condition: &Condition, pair: &Pair, cells: &[Cell]) -> Comparison {
    let bound = pair.0.as_ref().or(pair.1.as_ref());
    let label = bound.map(|bound| qualified(&cells[bound.variant].variant, &bound.name)).unwrap_or_default();
    let sides = side_value(&condition.left, pair.0.as_ref(), cells)
        .and_then(|left| Ok((left, side_value(&condition.right, pair.1.as_ref(), cells)?)));
    let ((left, left_text), (right, right_text)) = match sides {
        Ok(sides) => sides,
        Err(reason) => return Comparison { label, holds: false, text: reason, left: None },
    };
    let (sign, within) = (condition.test.sign(), within(condition.test));
    Comparison {
        label,
        holds: test(condition.test, &left, &right),
        text: format!("{left_text} {sign} {right_text}{within}"),
        left: if let Value::Number(number, _) = left { Some(number) } else { None },
    }
}

fn within(test: Test) -> String {
    let percent =
        |share: Ratio| Value::Number(share.times(Ratio::whole(100)).unwrap_or(share), Dimension::Count);
    if let Test::Near(share) = test { format!(" within {}%", percent(share)) } else { String::new() }
}

fn summary(condition: &Condition, results: &[Comparison]) -> (bool, String) {
    let failed: Vec<&Comparison> = results.iter().filter(|result| !result.holds).collect();
    match (results, failed.as_slice()) {
        ([], _) => (false, "nothing was measured".to_owned()),
        ([only], _) => (only.holds, only.text.clone()),
        (all, []) => (true, range(condition, all)),
        (all, [first, ..]) => {
            // Reasons why there is no value begin with the name already.
            let named = first.text.starts_with(&first.label);
            let label = if named { String::new() } else { format!("{}: ", first.label) };
            (false, format!("{} of {} fail, first {label}{}", failed.len(), all.len(), first.text))
        }
    }
}

/// `12 values, 21GB/s to 53GB/s >= 20GB/s` where that can be said, or else the first comparison.
fn range(condition: &Condition, all: &[Comparison]) -> String {
    let numbers = all.iter().filter_map(|result| result.left);
    let (least, most) = (numbers.clone().min(), numbers.max());
    if let (Term::Constant(right), Some(least), Some(most)) = (&condition.right.term, least, most)
        && let Value::Number(_, dimension) = right
    {
        let value = |number| Value::Number(number, *dimension);
        let span = match least == most {
            true => format!("each {}", value(least)),
            false => format!("{} to {}", value(least), value(most)),
        };
        let (sign, within) = (condition.test.sign(), within(condition.test));
        return format!("{} values, {span} {sign} {right}{within}", all.len());
    }
    format!("all {}, first {}: {}", all.len(), all[0].label, all[0].text)
}

fn test(test: Test, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left, _), Value::Number(right, _)) => match test {
            Test::Equal => left == right,
            Test::NotEqual => left != right,
            Test::Less => left < right,
            Test::AtMost => left <= right,
            Test::Greater => left > right,
            Test::AtLeast => left >= right,
            Test::Contains => false,
            Test::Near(share) => left
                .distance(*right)
                .zip(right.times(share))
                .is_some_and(|(distance, allowed)| distance <= allowed),
        },
        (Value::Text(left), Value::Text(right)) => match test {
            Test::Equal => left == right,
            Test::NotEqual => left != right,
            Test::Contains => left.contains(right.as_str()),
            _ => false,
        },
        (Value::List(left), Value::Text(right)) => {
            test == Test::Contains && left.iter().any(|text| text.contains(right.as_str()))
        }
        _ => false,
    }
}

/// A side's value, and how the detail shows it. The error says why there is none.
fn side_value(side: &Side, bound: Option<&Bound>, cells: &[Cell]) -> Result<(Value, String), String> {
    let value = match (&side.term, bound) {
        (Term::Constant(value), _) => value.clone(),
        (Term::Measure(measure), Some(bound)) => measured(measure, bound, &cells[bound.variant])?,
        (Term::Measure(_), None) => return Err("nothing was measured".to_owned()),
    };
    let Some(factor) = side.factor else {
        let text = value.to_string();
        return Ok((value, text));
    };
    let scaled = value.times(factor).ok_or_else(|| format!("{value} is too large to be multiplied"))?;
    let factor = Value::Number(factor, Dimension::Count);
    let text = format!("{scaled} ({factor} * {value})");
    Ok((scaled, text))
}

fn measured(measure: &Measure, bound: &Bound, cell: &Cell) -> Result<Value, String> {
    let outcome = &cell.outcome;
    let name = cell.qualified(&bound.name);
    match measure.what {
        What::Flow(value) => {
            let flow = outcome.flows.iter().find(|flow| flow.name == bound.name);
            flow_value(value, flow.ok_or_else(|| format!("there was no flow {name}"))?, &name)
        }
        What::Matrix(value) => {
            let matrix = outcome.matrices.iter().find(|matrix| matrix.name == bound.name);
            matrix_value(value, matrix.ok_or_else(|| format!("there was no matrix {name}"))?, outcome)
        }
        What::Pool(value) => {
            let memory = outcome.peer_memory.iter().find(|memory| memory.name == bound.name);
            if let Some(memory) = memory {
                return memory_value(value, memory, &name);
            }
            let pool = pools(outcome).find(|(own, _)| *own == bound.name);
            let pool = pool.and_then(|(_, pool)| pool_value(value, pool));
            pool.ok_or_else(|| format!("there was no pool {name}"))
        }
        What::Space(value) => space_value(value, &measure.name, outcome),
        What::Errors => Ok(error_value(ErrorValue::Count, &Pattern::new("*"), outcome)),
        What::Error(value) => Ok(error_value(value, &measure.name, outcome)),
        What::Counter(counter) => counter_value(counter, &measure.name, outcome),
    }
}

/// A value of all spaces whose kind matches.
fn space_value(value: SpaceValue, kinds: &Pattern, outcome: &Outcome) -> Result<Value, String> {
    let spaces: Vec<&Space> =
        outcome.spaces.iter().filter(|space| kinds.matches(space.kind.name())).collect();
    if spaces.is_empty() {
        return Err(format!("there was no space of the kind {kinds}"));
    }
    let sum =
        |part: fn(&Space) -> u64| spaces.iter().fold(0u64, |all, space| all.saturating_add(part(space)));
    let size = |part: fn(&Space) -> u64| Value::size(Bytes(sum(part)));
    Ok(match value {
        SpaceValue::Size => size(|space| space.size),
        SpaceValue::Used => size(|space| space.peak),
        SpaceValue::LargestHole => {
            Value::size(Bytes(spaces.iter().map(|space| space.least_hole).min().unwrap_or(0)))
        }
        SpaceValue::Alignment => size(|space| space.alignment),
        SpaceValue::Granule => size(|space| space.granule),
        SpaceValue::Fragmentation => {
            share(spaces.iter().map(|space| space.fragmentation_ppm).max().unwrap_or(0))
        }
        SpaceValue::Refused => Value::count(sum(|space| space.refusals)),
        SpaceValue::Decided => {
            let first = spaces.iter().find_map(|space| space.first_refusal.as_ref());
            let first = first.ok_or_else(|| format!("nothing of the kind {kinds} was refused"))?;
            Value::Text(first.decided.to_owned())
        }
    })
}

fn error_value(value: ErrorValue, kinds: &Pattern, outcome: &Outcome) -> Value {
    let errors = outcome.errors.iter().filter(|error| kinds.matches(&error.kind));
    let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0u64, u64::saturating_add);
    match value {
        ErrorValue::Count => Value::count(sum(&mut errors.map(|error| error.count))),
        ErrorValue::Bytes => Value::size(peerbus_units::Bytes(sum(&mut errors.map(|error| error.bytes.0)))),
    }
}

/// Sum of a counter over places, which are meant by name or by the last part of it. Errors that nobody counted are 0.
fn counter_value(counter: &str, places: &Pattern, outcome: &Outcome) -> Result<Value, String> {
    let meant = |place: &str| {
        places.matches(place) || place.rsplit_once('/').is_some_and(|(_, last)| places.matches(last))
    };
    let own = outcome.counters.iter().filter(|own| own.counter == counter && meant(&own.place));
    let counts: Vec<u64> = own.map(|own| own.count).collect();
    let is_error =
        ["correctable.", "nonfatal.", "fatal."].iter().any(|severity| counter.starts_with(severity));
    if counts.is_empty() && !is_error {
        return Err(format!("nothing that `{places}` stands for counted {counter}"));
    }
    Ok(Value::count(counts.into_iter().fold(0, u64::saturating_add)))
}

/// A value of a whole workload; of its pools, that of the one that is worst off.
fn memory_value(value: PoolValue, memory: &PeerMemoryOutcome, name: &str) -> Result<Value, String> {
    let refused = |cause: &str| {
        let all = memory.refused.iter().find(|refused| refused.cause == cause);
        Value::count(all.map_or(0, |refused| refused.count))
    };
    let pools = memory.pools.iter();
    Ok(match value {
        PoolValue::Requests => Value::count(memory.requests),
        PoolValue::Granted => Value::count(memory.granted),
        PoolValue::Staged => Value::count(memory.staged),
        PoolValue::Refused => Value::count(memory.refusals()),
        PoolValue::NotEnabled => refused("NOT_ENABLED"),
        PoolValue::NoProvider => refused("NO_PROVIDER"),
        PoolValue::NotSupported => refused("NOT_SUPPORTED"),
        PoolValue::LargerThanChunk => refused("LARGER_THAN_CHUNK"),
        PoolValue::Exhausted => refused("EXHAUSTED"),
        PoolValue::Fragmented => refused("FRAGMENTED"),
        PoolValue::Failed => refused("FAILED"),
        PoolValue::Throughput => {
            let rate = memory.bytes_per_second().map(Value::rate);
            return rate.ok_or_else(|| format!("{name} moved nothing"));
        }
        PoolValue::WaitMedian => Value::time(memory.wait_p50),
        PoolValue::WaitTail => Value::time(memory.wait_p99),
        PoolValue::Size => Value::size(pools.map(|pool| pool.size).fold(Bytes::ZERO, saturating)),
        PoolValue::Peak => Value::size(pools.map(|pool| pool.peak).max().unwrap_or_default()),
        PoolValue::LargestHole => Value::size(pools.map(|pool| pool.least_hole).min().unwrap_or_default()),
        PoolValue::Fragmentation => share(pools.map(|pool| pool.fragmentation_ppm).max().unwrap_or_default()),
    })
}

fn saturating(sum: Bytes, more: Bytes) -> Bytes {
    Bytes(sum.0.saturating_add(more.0))
}

/// A value of one pool; `None` for those that only workloads have.
fn pool_value(value: PoolValue, pool: &PoolOutcome) -> Option<Value> {
    match value {
        PoolValue::Granted => Some(Value::count(pool.granted)),
        PoolValue::Refused => Some(Value::count(pool.refused)),
        PoolValue::Size => Some(Value::size(pool.size)),
        PoolValue::Peak => Some(Value::size(pool.peak)),
        PoolValue::LargestHole => Some(Value::size(pool.least_hole)),
        PoolValue::Fragmentation => Some(share(pool.fragmentation_ppm)),
        _ => None,
    }
}

/// Millionths as a plain number.
fn share(ppm: u32) -> Value {
    let share = Ratio::new(u128::from(ppm), 1_000_000).unwrap_or(Ratio::whole(0));
    Value::Number(share, Dimension::Count)
}

fn flow_value(value: FlowValue, flow: &FlowOutcome, name: &str) -> Result<Value, String> {
    let nothing = || match &flow.refusal {
        Some(refusal) => format!("{name} delivered nothing: {refusal}"),
        None => format!("{name} delivered nothing"),
    };
    let arrived = |value: Value| if flow.delivered.0 > 0 { Ok(value) } else { Err(nothing()) };
    let text = |text: &Option<String>, absent: &str| match text {
        Some(text) => Ok(Value::Text(text.clone())),
        None => Err(format!("{name} {absent}")),
    };
    match value {
        FlowValue::Throughput => flow.bytes_per_second().map(Value::rate).ok_or_else(nothing),
        FlowValue::Mean => arrived(Value::time(flow.latency_mean)),
        FlowValue::Median => arrived(Value::time(flow.latency_p50)),
        FlowValue::Tail => arrived(Value::time(flow.latency_p99)),
        FlowValue::Duration => arrived(Value::time(flow.duration())),
        FlowValue::End => arrived(Value::time(flow.end)),
        FlowValue::Start => Ok(Value::time(flow.start)),
        FlowValue::Bytes => Ok(Value::size(flow.bytes)),
        FlowValue::Delivered => Ok(Value::size(flow.delivered)),
        FlowValue::Refused => Ok(Value::size(flow.refused)),
        FlowValue::MapType => text(&flow.map_type, "has no map type: it goes to host memory"),
        FlowValue::DmaKind => text(&flow.dma_kind, "has no DMA address"),
        FlowValue::Refusal => text(&flow.refusal, "was not refused"),
        FlowValue::Staged => Ok(Value::Text(flow.staged.to_string())),
        FlowValue::Distance => {
            let distance = flow.distance.map(|distance| Value::count(u64::from(distance)));
            distance.ok_or_else(|| format!("{name} has no distance: it goes to host memory"))
        }
        FlowValue::DmaAddr => {
            flow.dma_addr.map(Value::count).ok_or_else(|| format!("{name} has no DMA address"))
        }
        FlowValue::LimitedBy => arrived(Value::List(flow.limited_by.clone())),
        FlowValue::Path => Ok(Value::List(flow.path.clone())),
    }
}

/// The highest throughput needs one flow that delivered, the lowest and the mean need all of them.
fn matrix_value(value: MatrixValue, matrix: &MatrixOutcome, outcome: &Outcome) -> Result<Value, String> {
    let cells = matrix.cells.iter().flatten().flatten();
    let flows: Vec<&FlowOutcome> = cells.filter_map(|index| outcome.flows.get(*index)).collect();
    let rates: Vec<u64> = flows.iter().filter_map(|flow| flow.bytes_per_second()).collect();
    let silent = flows.iter().find(|flow| flow.bytes_per_second().is_none());
    if let Some(silent) = silent.filter(|_| value != MatrixValue::Max) {
        return Err(format!("{} delivered nothing", silent.name));
    }
    let value = match value {
        MatrixValue::Min => rates.iter().min().map(|rate| Value::rate(*rate)),
        MatrixValue::Max => rates.iter().max().map(|rate| Value::rate(*rate)),
        MatrixValue::Mean => Ratio::mean(&rates).map(|mean| Value::Number(mean, Dimension::Rate)),
    };
    value.ok_or_else(|| format!("no flow of {} delivered anything", matrix.name))
}
