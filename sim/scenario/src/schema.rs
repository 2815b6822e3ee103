//! What `peerbus schema` prints for scenarios: the JSON schema, and a commented file to start from.

use schemars::Schema;

use crate::file::Scenario;

/// The schema of scenario files in JSON; RON files have the same fields.
pub fn schema() -> Schema {
    schemars::schema_for!(Scenario)
}

/// A commented scenario that names every field.
pub const TEMPLATE: &str = include_str!("template.ron");
