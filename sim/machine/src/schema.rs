//! What editors and people get to write machine files by: a JSON schema, and a commented file to start from.

use crate::file::Machine;

/// JSON Schema of a machine file in its JSON form. The RON form has the same fields; there a structure is `( )`, a
/// choice with content `Name(…)`, and a choice without content a bare `Name`.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Machine);
    schema.insert("title".to_owned(), "peerbus machine".into());
    schema.to_value()
}

/// A small machine in RON with a comment on every part of it.
pub const TEMPLATE: &str = include_str!("schema/template.ron");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::lower::load_machine;

    #[test]
    fn the_template_is_a_machine() {
        let (machine, found) = load_machine(TEMPLATE, "template.ron", &Catalogue::embedded());
        assert_eq!(found, []);
        assert!(machine.is_some());
    }

    #[test]
    fn the_schema_describes_every_field() {
        let schema = schema();
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            for (field, property) in definition["properties"].as_object().into_iter().flatten() {
                let described = property.get("description").is_some() || property.get("$ref").is_some();
                assert!(described, "{name}.{field} has no description");
            }
        }
        assert!(schema["properties"]["host_bridges"]["description"].is_string());
    }
}
