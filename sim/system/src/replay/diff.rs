//! Comparing results with those a file recorded.
//!
//! Both are in the order of the calls. A recorded result is compared in the fields it has; a call that has a result
//! on one side only is a difference.

use serde::Serialize;
use serde_json::{Map, Value};

use super::call::Replay;
use super::result::{Document, Entry};

/// A recorded result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// Number of the call.
    pub call: usize,
    /// Fields of the result, as in the document, and their values.
    pub fields: Map<String, Value>,
}

/// How results and recording compare.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Comparison {
    /// Calls with a result on either side.
    pub compared: usize,
    /// Those whose results agree.
    pub equal: usize,
    /// The first that differs.
    pub first: Option<Difference>,
}

/// A call whose results differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// Number of the call.
    pub call: usize,
    /// The recorded fields; `None` when nothing was recorded for this call.
    pub recorded: Option<Map<String, Value>>,
    /// The result; `None` when there is none.
    pub found: Option<Map<String, Value>>,
}

/// Compares `document` with what `replay` recorded; `None` when it recorded nothing.
pub fn compare(replay: &Replay, document: &Document) -> Option<Comparison> {
    let mut recorded = replay.recorded.as_ref()?.iter().peekable();
    let mut found = document.results.iter().peekable();
    let mut comparison = Comparison { compared: 0, equal: 0, first: None };
    loop {
        let numbers = [recorded.peek().map(|entry| entry.call), found.peek().map(|entry| entry.call)];
        let Some(call) = numbers.into_iter().flatten().min() else { return Some(comparison) };
        let recorded = recorded.next_if(|entry| entry.call == call).map(|entry| entry.fields.clone());
        let found = found.next_if(|entry| entry.call == call).map(fields);
        comparison.compared += 1;
        let agree = recorded.as_ref().zip(found.as_ref()).is_some_and(|(recorded, found)| {
            recorded.iter().all(|(name, value)| found.get(name) == Some(value))
        });
        if agree {
            comparison.equal += 1;
        } else if comparison.first.is_none() {
            comparison.first = Some(Difference { call, recorded, found });
        }
    }
}

/// The fields of a result, without the number of its call.
fn fields(entry: &Entry) -> Map<String, Value> {
    match serde_json::to_value(&entry.outcome) {
        Ok(Value::Object(fields)) => fields,
        other => unreachable!("a result is an object, not {other:?}"),
    }
}
