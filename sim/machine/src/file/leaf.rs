//! [`Leaf`]: a value from a file that knows where it stood, and that may be wrong without stopping the reading.

use ron::Options;
use ron::extensions::Extensions;
use schemars::JsonSchema;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::ser::{Serialize, Serializer};

/// A value and its place in the text.
///
/// Reading captures the text of the value and tries to understand it. A failure is kept beside the place, so
/// that the rest of the file is still read and all failures can be reported together.
#[derive(Clone, Debug)]
pub struct Leaf<T> {
    /// The value, or what is wrong with it in words.
    pub value: Result<T, String>,
    /// Address in memory of the value's text: the file's text begins some way before it. Zero for a value that
    /// was not read from a text.
    start: usize,
    /// Length of the value's text in bytes.
    length: usize,
}

impl<T> Leaf<T> {
    /// A value that stands in no text.
    pub fn new(value: T) -> Leaf<T> {
        Leaf { value: Ok(value), start: 0, length: 0 }
    }

    /// The value, if it was understood.
    pub fn get(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }

    /// Byte range of the value's text inside `text`, the file it was read from. `None` for a value that was
    /// not read from this text.
    pub fn span(&self, text: &str) -> Option<std::ops::Range<usize>> {
        let offset = self.start.checked_sub(text.as_ptr() as usize)?;
        let end = offset.checked_add(self.length)?;
        (self.start != 0 && end <= text.len()).then_some(offset..end)
    }
}

/// How our files are written in RON: optional fields need no `Some(…)`.
pub(crate) fn ron_options() -> Options {
    Options::default().with_default_extension(Extensions::IMPLICIT_SOME | Extensions::UNWRAP_VARIANT_NEWTYPES)
}

fn read<T: DeserializeOwned>(raw: &str) -> Leaf<T> {
    let text = raw.trim();
    let value = ron_options().from_str::<T>(text).map_err(|error| error.code.to_string());
    Leaf { value, start: text.as_ptr() as usize, length: text.len() }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Leaf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Leaf<T>, D::Error> {
        let raw = <&'de ron::value::RawValue>::deserialize(deserializer)?;
        Ok(read(raw.get_ron()))
    }
}

impl<T: Serialize> Serialize for Leaf<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Ok(value) => value.serialize(serializer),
            Err(problem) => Err(serde::ser::Error::custom(problem)),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Leaf<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}
