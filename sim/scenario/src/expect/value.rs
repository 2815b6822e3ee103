//! What the two sides of a condition are: numbers with a dimension, texts and lists of texts.

use std::fmt;

use peerbus_units::{Bytes, Picos, Rate};

use super::number::Ratio;

/// What a number counts; its base unit is bytes, picoseconds, bytes per second or one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dimension {
    /// Bytes.
    Size,
    /// Picoseconds.
    Time,
    /// Bytes per second.
    Rate,
    /// Things.
    Count,
}

impl Dimension {
    /// In words, with an example of how to write it.
    fn words(self) -> &'static str {
        match self {
            Dimension::Size => "a size such as 1GiB",
            Dimension::Time => "a time such as 2us",
            Dimension::Rate => "a rate such as 24GB/s",
            Dimension::Count => "a plain number",
        }
    }
}

/// What kind of value a side has, known before any run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A number.
    Number(Dimension),
    /// A text.
    Text,
    /// Several texts.
    List,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Number(dimension) => dimension.words(),
            Kind::Text => "a text",
            Kind::List => "a list of texts",
        })
    }
}

/// The value of a side.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A number in base units.
    Number(Ratio, Dimension),
    /// A text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

impl Value {
    /// A size.
    pub fn size(bytes: Bytes) -> Value {
        Value::Number(Ratio::whole(bytes.0), Dimension::Size)
    }

    /// A time.
    pub fn time(time: Picos) -> Value {
        Value::Number(Ratio::whole(time.0), Dimension::Time)
    }

    /// A rate in bytes per second.
    pub fn rate(bytes_per_second: u64) -> Value {
        Value::Number(Ratio::whole(bytes_per_second), Dimension::Rate)
    }

    /// A plain number.
    pub fn count(number: u64) -> Value {
        Value::Number(Ratio::whole(number), Dimension::Count)
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Number(_, dimension) => Kind::Number(*dimension),
            Value::Text(_) => Kind::Text,
            Value::List(_) => Kind::List,
        }
    }

    /// A number times a factor; `None` for a text, or beyond 128 bits.
    pub fn times(&self, factor: Ratio) -> Option<Value> {
        match self {
            Value::Number(number, dimension) => Some(Value::Number(number.times(factor)?, *dimension)),
            Value::Text(_) | Value::List(_) => None,
        }
    }
}

impl fmt::Display for Value {
    /// As files write it; what is smaller than the base unit is cut off.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number, dimension) => number_text(f, *number, *dimension),
            Value::Text(text) => f.write_str(text),
            Value::List(texts) if texts.is_empty() => f.write_str("nothing"),
            Value::List(texts) => f.write_str(&texts.join(", ")),
        }
    }
}

fn number_text(f: &mut fmt::Formatter<'_>, number: Ratio, dimension: Dimension) -> fmt::Result {
    let unit = match dimension {
        Dimension::Size => "B",
        Dimension::Time => "ps",
        Dimension::Rate => "B/s",
        Dimension::Count if number.is_whole() => "",
        Dimension::Count => return decimal_text(f, number),
    };
    match (u64::try_from(number.floor()), dimension) {
        (Ok(bytes), Dimension::Size) => write!(f, "{}", Bytes(bytes)),
        (Ok(time), Dimension::Time) => write!(f, "{}", Picos(time)),
        (Ok(bytes), Dimension::Rate) => match Rate::per_second(bytes) {
            Some(rate) => write!(f, "{rate}"),
            None => f.write_str("0B/s"),
        },
        _ => write!(f, "{}{unit}", number.floor()),
    }
}

/// At most three decimals, the rest cut off.
fn decimal_text(f: &mut fmt::Formatter<'_>, number: Ratio) -> fmt::Result {
    let Some(scaled) = number.times(Ratio::whole(1000)).map(Ratio::floor) else {
        return write!(f, "{}", number.floor());
    };
    let text = format!("{}.{:03}", scaled / 1000, scaled % 1000);
    f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
}

/// Length of the digits, dots and underscores at the start of `text`.
pub(super) fn number_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len())
}

/// A number with a unit, or without one. The error says what is wrong.
pub(crate) fn quantity(text: &str) -> Result<Value, String> {
    let (number, unit) = text.split_at(number_length(text));
    let unit = unit.trim_start();
    let number = Ratio::decimal(number).ok_or_else(|| format!("`{number}` is not a number"))?;
    if unit.is_empty() {
        return Ok(Value::Number(number, Dimension::Count));
    }
    let (scale, dimension) = unit_scale(unit).ok_or_else(|| format!("`{unit}` is not a unit"))?;
    let number = number.times(scale).ok_or("the number is too large")?;
    Ok(Value::Number(number, dimension))
}

/// What one of `unit` is in base units.
pub(crate) fn unit_scale(unit: &str) -> Option<(Ratio, Dimension)> {
    let one = format!("1{unit}");
    if unit.is_empty() {
        return None;
    }
    if let Ok(size) = one.parse::<Bytes>() {
        return Some((Ratio::whole(size.0), Dimension::Size));
    }
    if let Ok(time) = one.parse::<Picos>() {
        return Some((Ratio::whole(time.0), Dimension::Time));
    }
    let rate = one.parse::<Rate>().ok()?;
    Some((
        Ratio::new(u128::from(rate.bytes()) * 1_000_000_000_000, u128::from(rate.picos()))?,
        Dimension::Rate,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_printed() {
        for (text, expected) in [
            ("24GB/s", "24GB/s"),
            ("0GB/s", "0B/s"),
            ("8Gbit/s", "1GB/s"),
            ("1Gbit/s", "0.125GB/s"),
            ("1 GiB", "1GiB"),
            ("2EiB", "2EiB"),
            ("0B", "0B"),
            ("1.5us", "1500ns"),
            ("3µs", "3us"),
            ("7", "7"),
            ("1.5", "1.5"),
            ("0.0001", "0"),
        ] {
            assert_eq!(quantity(text).map(|value| value.to_string()).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(quantity("24GiB/s"), Err("`GiB/s` is not a unit".to_owned()));
        assert_eq!(quantity("1..2us"), Err("`1..2` is not a number".to_owned()));
    }
}
