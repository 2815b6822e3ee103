//! Recorded results.

use peerbus_machine::file::Leaf;
use peerbus_units::FunctionId;
use serde_json::{Map, Value};

use super::context::{Context, Place};
use super::pool::{ADDRESS, ID, SIZE};
use crate::replay::diff::Recording;
use crate::replay::{codes, file};

impl Context<'_> {
    /// The results as written, for `calls` calls. Each belongs to a call behind that of the one before.
    pub(super) fn results(&mut self, given: &[file::Recorded], calls: usize) -> Vec<Recording> {
        let mut recorded: Vec<Recording> = Vec::with_capacity(given.len());
        for (index, entry) in given.iter().enumerate() {
            let place = Place::default().element("results", index);
            let Some(call) = self.require(&entry.call, &place, "call", "the number of a call, from 0") else {
                continue;
            };
            if call >= calls && !self.left_out(&Place::default(), "calls") {
                let message = format!("there is no call {call}");
                let help = match calls.checked_sub(1) {
                    Some(last) => format!("calls count from 0; the last one is {last}"),
                    None => "there are no calls".to_owned(),
                };
                self.error(codes::WRONG_RESULT, &place.field("call"), message, help);
            } else if recorded.last().is_some_and(|before| before.call >= call) {
                let message =
                    format!("the result of call {call} stands behind that of a later one, or twice");
                let help = "one result per call, in the order of the calls";
                self.error(codes::WRONG_RESULT, &place.field("call"), message, help);
            }
            let fields = self.fields(entry, &place);
            recorded.push(Recording { call, fields });
        }
        recorded
    }

    fn fields(&mut self, entry: &file::Recorded, place: &Place) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        };
        let words = |list: Vec<FunctionId>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (name, leaf) in [
            ("address", &entry.address),
            ("first", &entry.first),
            ("last", &entry.last),
            ("dma_addr", &entry.dma_addr),
        ] {
            put(name, self.take(leaf, place, name, ADDRESS).map(|address| address.0.into()));
        }
        put("bytes", self.take(&entry.bytes, place, "bytes", SIZE).map(|bytes| bytes.0.into()));
        put("probes", self.take(&entry.probes, place, "probes", ID).map(Value::from));
        put("distance", self.take(&entry.distance, place, "distance", "a whole number").map(Value::from));
        let functions = "a list of addresses such as [\"0000:01:00.0\"]";
        put(
            "providers",
            self.take(&entry.providers, place, "providers", functions).map(|list| words(list).into()),
        );
        let text = |context: &mut Self, leaf: &Option<Leaf<String>>, name| {
            context.take(leaf, place, name, "a word in quotation marks").map(Value::from)
        };
        put("map_type", text(self, &entry.map_type, "map_type"));
        put("dma_kind", text(self, &entry.dma_kind, "dma_kind"));
        put("error", text(self, &entry.error, "error"));
        // Read so that it is checked; words are not compared.
        text(self, &entry.reason, "reason");
        fields
    }
}
