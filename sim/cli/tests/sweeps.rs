//! `sweep run`.

use serde_json::Value;

use crate::workspace::{MACHINE, SCENARIO, Workspace};

fn sweep() -> String {
    SCENARIO.replace(
        "    expect:",
        "    sweep: {\"machine.**.link.gen\": [3, 4], \"workloads[0].bytes\": [\"64KiB\", \"1MiB\"]},\n    expect:",
    )
}

#[test]
fn every_point_is_a_line_and_threads_do_not_change_a_byte() {
    let here = Workspace::new();
    here.file("s.ron", sweep().replace("delivered == 1MiB", "delivered >= 64KiB"));
    here.expect(0, &["sweep", "run", "s.ron", "-o", "out.jsonl"]);
    let text = here.read("out.jsonl");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(
            (line["schema"].as_str(), line["point"].as_u64()),
            (Some("peerbus.sweep/1"), Some(number as u64))
        );
        assert_eq!(line["machine"], MACHINE);
        assert_eq!(line["flows"].as_array().map(Vec::len), Some(2), "one per variant");
        let time = line["flows"][0]["time_ps"].as_object().unwrap();
        assert!(time.values().all(|picos| picos.as_u64().is_some_and(|picos| picos > 0)), "{time:?}");
    }
    assert_eq!(lines[0]["values"]["machine.**.link.gen"], 3);
    assert_eq!(lines[3]["values"]["workloads[0].bytes"], "1MiB");
    let rate = |line: &Value| line["flows"][0]["throughput_gbytes_per_s"].as_f64().unwrap();
    assert!(rate(&lines[3]) > 1.8 * rate(&lines[1]), "gen4 is twice as fast");
    for threads in ["1", "3"] {
        assert_eq!(here.expect(0, &["sweep", "run", "s.ron", "--threads", threads]).text(), text);
    }
}

#[test]
fn a_point_that_does_not_hold_is_the_answer_no() {
    let here = Workspace::new();
    here.file("s.ron", sweep());
    let done = here.expect(1, &["sweep", "run", "s.ron"]);
    let passed: Vec<bool> = done
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["passed"].as_bool().unwrap())
        .collect();
    assert_eq!(passed, [false, true, false, true]);
}

#[test]
fn a_scenario_without_a_sweep_and_one_with_a_wrong_path_have_no_answer() {
    let here = Workspace::new();
    here.file("s.ron", SCENARIO).file("t.ron", sweep().replace(".link.gen", ".lnk.gen"));
    assert!(here.expect(2, &["sweep", "run", "s.ron"]).stderr.contains("has no `sweep`"));
    let done = here.expect(2, &["sweep", "run", "t.ron"]);
    assert!(done.stderr.contains("S0401") && done.stderr.contains("t.ron:"), "{}", done.stderr);
    here.file("s.ron", sweep());
    assert!(here.expect(0, &["run", "s.ron"]).stderr.contains("has a sweep"));
}
