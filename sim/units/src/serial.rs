//! How quantities stand in files: strings with units, or plain integers of the base unit.

use alloc::string::{String, ToString};
use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::{BitErrorRate, BusAddr, Bytes, CpuAddr, FunctionId, Picos, Rate, parse_integer};

/// Reads a quantity from a string or, where the base unit is beyond doubt, from an integer.
struct QuantityVisitor<T> {
    expected: &'static str,
    from_integer: Option<fn(u64) -> T>,
    from_text: fn(&str) -> Result<T, String>,
    marker: PhantomData<T>,
}

impl<T> Visitor<'_> for QuantityVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        match self.from_integer {
            Some(make) => Ok(make(value)),
            None => Err(E::invalid_type(de::Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        match (u64::try_from(value), self.from_integer) {
            (Ok(value), Some(make)) => Ok(make(value)),
            _ => Err(E::invalid_type(de::Unexpected::Signed(value), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.from_text)(text).map_err(|error| E::custom(format_args!("{error}; expected {}", self.expected)))
    }
}

fn parse<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

macro_rules! quantity {
    ($type:ty, $expected:literal, $from_integer:expr, $from_text:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                deserializer.deserialize_any(QuantityVisitor {
                    expected: $expected,
                    from_integer: $from_integer,
                    from_text: $from_text,
                    marker: PhantomData,
                })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> alloc::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let integer: Option<fn(u64) -> $type> = $from_integer;
                let types: &[&str] = if integer.is_some() { &["string", "integer"] } else { &["string"] };
                schemars::json_schema!({ "type": types, "description": $expected })
            }
        }
    };
}

fn address<T>(text: &str, make: fn(u64) -> T) -> Result<T, String> {
    parse_integer(text).map(make).map_err(|error| error.to_string())
}

quantity!(Bytes, "a size such as \"64GiB\" or a number of bytes", Some(Bytes), parse);
quantity!(Picos, "a time such as \"150ns\"", None, parse);
quantity!(BitErrorRate, "a bit error rate such as \"1e-12\"", None, parse);
quantity!(Rate, "a rate such as \"55GB/s\"", None, parse);
quantity!(FunctionId, "a function such as \"0000:1b:00.0\"", None, parse);
quantity!(CpuAddr, "an address such as 0x380_0000_0000", Some(CpuAddr), |t| address(t, CpuAddr));
quantity!(BusAddr, "an address such as 0x380_0000_0000", Some(BusAddr), |t| address(t, BusAddr));
