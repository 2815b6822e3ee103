//! `replay`: the promised document, comparison with a recording, and what is said about broken files.

use serde_json::json;

use crate::workspace::{Workspace, assert_keys};

const CALLS: &str = r#"Replay(profile: Linux_6_12, calls: [
    Pool(granule: "4KiB"), AddChunk(base: 0x1000_0000, size: "64MiB"), Alloc(id: 1, size: 4097), Free(id: 1), Avail,
    Region(limit: 0x3fff_ffff_ffff), Busy(first: 0x0, last: 0xfff, name: "Reserved"), Request(id: 1, size: "1GiB"), Release(id: 1),
    Request(id: 2, size: "1EiB"), Pool(), AddChunk(base: 4096, size: 4096), Free(address: 4096, size: 1),
]"#;

#[test]
fn the_document_has_the_promised_shape() {
    let here = Workspace::new();
    here.file("calls.ron", format!("{CALLS})"));
    let document = here.expect(0, &["replay", "calls.ron", "--format", "json"]).json();
    assert_keys(&document, &["schema", "version", "profile", "results"]);
    assert_eq!(document["schema"], "peerbus.replay/1");
    let results = document["results"].as_array().unwrap();
    assert_eq!(results[0], json!({ "call": 2, "address": 268435456 }));
    assert_eq!(results[1], json!({ "call": 4, "bytes": 67108864 }));
    assert_eq!((&results[2]["call"], &results[2]["first"]), (&json!(7), &json!(0x3fff_c000_0000u64)));
    assert_eq!(results[2]["last"], 0x3fff_ffff_ffffu64);
    assert_eq!((&results[3]["call"], &results[3]["error"]), (&json!(9), &json!("ERANGE")));
    assert_eq!((&results[4]["call"], &results[4]["error"]), (&json!(12), &json!("BUG")));
    assert_eq!(results.len(), 5);
    let text = here.expect(0, &["replay", "calls.ron"]).text();
    assert!(text.contains("Alloc(id: 1, size: \"4097B\")") && text.contains("0x10000000"), "{text}");
    here.expect(0, &["replay", "calls.ron", "-o", "answer.json"]);
    assert!(here.read("answer.json").contains("peerbus.replay/1"));
    let check = here.expect(0, &["check", "calls.ron", "--format", "json"]);
    assert_eq!(check.json(), json!({ "diagnostics": [] }));
}

#[test]
fn an_answer_written_into_its_file_is_equal() {
    let here = Workspace::new();
    here.file("calls.ron", format!("{CALLS})"));
    let document = here.expect(0, &["replay", "calls.ron", "--format", "json"]).json();
    let entries = document["results"].as_array().unwrap().iter().map(|entry| {
        let fields = entry.as_object().unwrap().iter().map(|(name, value)| format!("{name}: {value}"));
        format!("({})", fields.collect::<Vec<_>>().join(", "))
    });
    let results = entries.collect::<Vec<_>>().join(", ");
    here.file("recorded.ron", format!("{CALLS}, results: [{results}])"));
    let text = here.expect(0, &["replay", "recorded.ron", "--diff"]).text();
    assert_eq!(text, "5 of 5 results as recorded (Linux_6_12)\n");
    here.file("changed.ron", format!("{CALLS}, results: [{}])", results.replace("268435456", "268439552")));
    let text = here.expect(1, &["replay", "changed.ron", "--diff"]).text();
    assert!(text.contains("at call 2") && text.contains("address: 0x10001000"), "{text}");
    let document = here.expect(1, &["replay", "changed.ron", "--diff", "--format", "json"]).json();
    assert_eq!(document["diff"]["first"]["call"], 2);
    assert_eq!((&document["diff"]["compared"], &document["diff"]["equal"]), (&json!(5), &json!(4)));
    // The other way round the numbers in the file are only read.
    here.expect(0, &["replay", "changed.ron"]);
}

#[test]
fn nothing_to_compare_with_and_broken_files_are_code_2() {
    let here = Workspace::new();
    here.file("calls.ron", format!("{CALLS})"))
        .file("broken.ron", "(calls: [Pool(granule: 3), Free(id: 1)])");
    let done = here.expect(2, &["replay", "calls.ron", "--diff"]);
    assert!(done.text().is_empty() && done.stderr.contains("no `results`"), "{}", done.stderr);
    let done = here.expect(2, &["replay", "broken.ron", "-o", "answer.json"]);
    for part in ["R0104", "broken.ron:1:24", "R0101"] {
        assert_eq!(done.stderr.contains(part), part != "R0101", "{}", done.stderr);
    }
    here.expect(2, &["replay", "absent.ron"]);
    here.expect(2, &["replay"]);
    assert_eq!(here.names(), ["broken.ron", "calls.ron"]);
    let diagnostics = here.expect(2, &["check", "broken.ron", "--format", "json"]).json();
    assert_eq!(diagnostics["diagnostics"][0]["code"], "R0104");
}
