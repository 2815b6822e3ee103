//! The JSON schema accepts what the loader accepts.

use peerbus_machine::{file, load, schema};
use serde_json::{Value, json};

#[test]
fn shipped_machines_satisfy_the_schema() {
    let validator = jsonschema::validator_for(&schema::schema()).expect("the schema is one");
    let mut files = super::shipped::machines();
    files.push(("template.ron".to_owned(), schema::TEMPLATE.to_owned()));
    for (name, text) in files {
        let value = load::read::<file::Machine>(&text, &name).value.expect("shipped machines are readable");
        let json = serde_json::to_value(value).expect("what was read can be written");
        let problems: Vec<String> =
            validator.iter_errors(&json).map(|e| format!("{} {e}", e.instance_path())).collect();
        assert!(problems.is_empty(), "{name}: {problems:#?}");
    }
}

#[test]
fn the_schema_refuses_what_the_loader_refuses() {
    let validator = jsonschema::validator_for(&schema::schema()).expect("the schema is one");
    let port = |port: Value| json!({"cpus": [{"part": "generic-cpu"}], "host_bridges": [{"ports": [port]}]});
    assert!(validator.is_valid(&port(json!({"below": {"Device": {"part": "t4"}}}))));
    for wrong in [
        json!({"below": {"Gpu": {"part": "t4"}}}),
        json!({"lnik": {}}),
        json!({"link": {"gen": "four"}}),
        json!({"link": {"gen": 300}}),
        json!({"below": {"Device": {"bars": [{"kind": "Mem128"}]}}}),
        json!({"assumed": ["links"]}),
    ] {
        assert!(!validator.is_valid(&port(wrong.clone())), "{wrong} was accepted");
    }
}
