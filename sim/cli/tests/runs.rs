//! `run` and `compare`.

use crate::workspace::{MACHINE, SCENARIO, Workspace, assert_keys};

#[test]
fn run_has_the_promised_shape() {
    let here = Workspace::new();
    here.file("s.ron", SCENARIO);
    let document = here.expect(0, &["run", "s.ron", "--format", "json"]).json();
    assert_eq!(document["schema"], "peerbus.run/1");
    assert_eq!(document["passed"], true);
    assert_keys(&document, &["scenario", "seed", "digest", "flows", "links", "spaces", "errors"]);
    let flows = document["flows"].as_array().unwrap();
    assert_eq!(flows.len(), 2);
    let keys = [
        "name",
        "bytes",
        "start_ps",
        "end_ps",
        "throughput_gbytes_per_s",
        "latency_ns",
        "limited_by",
        "path",
        "map_type",
    ];
    flows.iter().for_each(|flow| assert_keys(flow, &keys));
    assert_keys(&flows[0]["latency_ns"], &["p50", "p99"]);
    let throughput = flows[0]["throughput_gbytes_per_s"].as_f64().unwrap();
    assert!(
        (1.0..32.0).contains(&throughput),
        "gen4 x16 carries 31.5 GB/s at most, and this is {throughput}"
    );
    let seed = here.expect(0, &["run", "s.ron", "--format", "json", "--seed", "7"]).json()["seed"].clone();
    assert_eq!(seed, 7);
}

/// Payloads that their receiver does not take end in an error, told in every form, and not in a hang.
#[test]
fn malformed_packets_are_reported() {
    let here = Workspace::new();
    let scenario = r#"// The adapter writes more at a time than the GPU takes.
Scenario(
    machine: "1rc:1sw:1gpu+1nic@gen4x16/nic=connectx-7",
    kernel: (acs: Off, mps: Performance),
    workloads: [
        Copy(name: "write", from: "nic0", to: "gpu0", bytes: "64KiB"),
        Copy(name: "read", from: "nic0", to: "gpu0", bytes: "64KiB", engine: Reader),
    ],
    expect: ["error.MALFORMED_TLP.count == 128", "flow.write.refused == 64KiB", "flow.read.delivered == 64KiB"],
)
"#;
    here.file("s.ron", scenario);
    let document = here.expect(0, &["run", "s.ron", "--format", "json"]).json();
    let error = &document["errors"][0];
    assert_eq!(
        (error["kind"].as_str(), error["count"].as_u64()),
        (Some("MALFORMED_TLP"), Some(128)),
        "{error}"
    );
    let text = here.expect(0, &["run", "s.ron"]).text();
    assert!(text.contains("MALFORMED_TLP at") && text.contains("512B of payload"), "{text}");
    here.file("t.ron", scenario.replace("mps: Performance", "mps: Safe"));
    let done = here.expect(1, &["run", "t.ron", "--format", "json"]).json();
    assert_eq!(done["errors"].as_array().map(Vec::len), Some(0));
}

#[test]
fn threads_do_not_change_a_byte() {
    let here = Workspace::new();
    here.file("s.ron", SCENARIO).file("t.ron", SCENARIO.replace("1MiB", "3MiB"));
    for format in ["text", "json"] {
        let run = |threads: &str| {
            here.expect(0, &["run", "s.ron", "t.ron", "--format", format, "--threads", threads]).stdout
        };
        let one = run("1");
        assert_eq!(one, run("2"), "{format}");
        assert_eq!(one, run("5"), "{format}");
        assert!(!one.is_empty());
    }
    let documents = here.expect(0, &["run", "s.ron", "t.ron", "--format", "json"]).json();
    let names: Vec<_> =
        documents.as_array().unwrap().iter().map(|document| document["scenario"].clone()).collect();
    assert_eq!(names, ["s.ron", "t.ron"]);
}

#[test]
fn a_failed_expectation_is_the_answer_no() {
    let here = Workspace::new();
    here.file("s.ron", SCENARIO.replace("== 1MiB", "== 2MiB"));
    let done = here.expect(1, &["run", "s.ron"]);
    assert!(done.text().contains("FAIL"), "{}", done.text());
}

#[test]
fn machines_are_found_from_here_and_beside_the_scenario() {
    let here = Workspace::new();
    let machine = r#"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [
        (below: Device(name: "nic0", part: "a100-sxm4-80g")), (below: Device(name: "nic1", part: "a100-sxm4-80g"))])])"#;
    let scenario =
        |path: &str| SCENARIO.replace(MACHINE, path).replace("off/peer.delivered == 1MiB", "*.bytes == 1MiB");
    here.file("folder/m.ron", machine);
    here.file("folder/beside.ron", scenario("m.ron")).file("folder/here.ron", scenario("folder/m.ron"));
    here.expect(0, &["run", "folder/beside.ron", "folder/here.ron"]);
    here.file("lost.ron", scenario("m.ron"));
    let done = here.expect(2, &["run", "folder/beside.ron", "lost.ron"]);
    assert!(done.stderr.contains("S0201") && done.stderr.contains("lost.ron:3:"), "{}", done.stderr);
    assert_eq!(done.text(), "", "nothing runs when one scenario cannot");
}

#[test]
fn a_broken_machine_is_shown_with_its_lines() {
    let here = Workspace::new();
    here.file("m.ron", "(cpus: [(part: \"nothing\")])").file("s.ron", SCENARIO.replace(MACHINE, "m.ron"));
    let done = here.expect(2, &["run", "s.ron"]);
    assert!(done.stderr.contains("--> m.ron:1:") && done.stderr.contains("S0202"), "{}", done.stderr);
}

#[test]
fn baselines_are_written_and_compared() {
    let here = Workspace::new();
    here.file("s.ron", SCENARIO);
    here.expect(0, &["run", "s.ron", "--bless", "--html", "s.html", "-o", "s.json"]);
    assert_eq!(here.names(), ["reports", "s.html", "s.json", "s.ron"]);
    assert!(here.read("s.html").starts_with("<!DOCTYPE html>"));
    here.expect(0, &["run", "s.ron", "--baseline", "reports/s.json"]);
    here.expect(0, &["compare", "reports/s.json", "s.json"]);
    here.file("s.ron", SCENARIO.replace("bytes: \"1MiB\"", "bytes: \"2MiB\"").replace("== 1MiB", "== 2MiB"));
    let done = here
        .expect(1, &["run", "s.ron", "--baseline", "reports/s.json", "--format", "json", "-o", "new.json"]);
    assert!(done.stderr.contains("DIFFERENT"), "{}", done.stderr);
    here.expect(1, &["compare", "s.json", "new.json"]);
    let document = here.expect(1, &["compare", "s.json", "new.json", "--format", "json"]).json();
    assert_eq!(document["equal"], false);
    here.expect(1, &["compare", "s.json", "new.json", "--format", "markdown"]);
    here.file("policy.ron", "Policy(rules: [(key: \"*\", change: Ignore, reason: \"a test\")])");
    here.expect(0, &["compare", "s.json", "new.json", "--policy", "policy.ron"]);
    here.expect(0, &["run", "s.ron", "--baseline", "reports/s.json", "--policy", "policy.ron"]);
    here.file("policy.ron", "Policy(rules: [(key: \"*\")])");
    here.expect(2, &["compare", "s.json", "new.json", "--policy", "policy.ron"]);
    here.expect(0, &["compare", "reports/s.json", "new.json", "--bless"]);
    let blessed = here.read("reports/s.json");
    here.expect(0, &["run", "s.ron", "--bless"]);
    assert_eq!(here.read("reports/s.json"), blessed, "both ways of blessing write the same");
}

#[test]
fn documents_that_are_none_are_unreadable() {
    let here = Workspace::new();
    here.file("s.ron", SCENARIO).file("t.ron", SCENARIO).file("other.json", "{\"schema\": \"x/1\"}");
    here.expect(0, &["run", "s.ron", "-o", "s.json"]);
    here.expect(0, &["run", "t.ron", "-o", "t.json"]);
    for new in ["absent.json", "other.json", "s.ron", "t.json"] {
        assert_eq!(here.expect(2, &["compare", "s.json", new]).text(), "", "{new}");
    }
    here.expect(2, &["run", "s.ron", "--baseline", "absent.json"]);
    here.expect(0, &["run", "s.ron", "--baseline", "absent.json", "--bless"]);
    here.expect(0, &["compare", "absent.json", "s.json"]);
}

/// A folder is answered with one summary, which is kept and compared as text.
#[test]
fn a_folder_is_summed_up() {
    let here = Workspace::new();
    let measured = |value: &str| {
        let rows = format!(
            r#"measured: [(family: "peers", unit: "GB/s", table: "t", rows: [
                (of: "flow.off/peer.throughput", value: {value}, row: "2"), (row: "3-5", left_out: "not described")])],
            expect:"#
        );
        SCENARIO.replace("expect:", &rows)
    };
    here.file("checks/a.ron", measured("20"))
        .file("checks/b.ron", measured("30"))
        .file("checks/notes.txt", "");
    let text = here.expect(0, &["run", "checks"]).text();
    for part in [
        "# Checks: predicted against measured",
        "2 scenarios. 8 measured values are available, 2 compared (25.0 %), 6 left out.",
        "| peers | 8 | 2 | 6 |",
        "| 6 | not described | t: 3-5 |",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    here.expect(0, &["run", "checks", "--bless"]);
    assert_eq!(here.read("reports/checks.md"), text);
    here.expect(0, &["run", "checks", "--threads", "1", "--baseline", "reports/checks.md"]);
    here.file("checks/b.ron", measured("31"));
    let differs = here.expect(1, &["run", "checks", "--baseline", "reports/checks.md"]);
    assert!(differs.stderr.contains("this run differs from reports/checks.md"), "{}", differs.stderr);
    let documents = here.expect(0, &["run", "checks", "--format", "json"]).json();
    assert_eq!(documents[0]["measured"][0]["measured"], 20.0);
    assert!(documents[0]["measured"][0]["error"].is_number());
    assert_eq!(documents[0]["measured"][1]["left_out"], "not described");
    let page = here.expect(0, &["run", "checks/a.ron", "--html", "a.html"]).text();
    assert!(
        page.contains("Predicted and measured") && here.read("a.html").contains("Predicted and measured")
    );
    here.file("empty/notes.txt", "");
    assert!(here.expect(2, &["run", "empty"]).stderr.contains("holds no scenario"));
}
