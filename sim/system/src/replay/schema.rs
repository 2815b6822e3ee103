//! What `peerbus schema` prints for replays: the JSON schema, and a commented file to start from.

use schemars::Schema;

use super::file::Replay;

/// The schema of replay files in JSON; RON files have the same fields.
pub fn schema() -> Schema {
    schemars::schema_for!(Replay)
}

/// A commented replay that names every call.
pub const TEMPLATE: &str = include_str!("template.ron");
