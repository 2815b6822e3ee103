//! The document and the baseline.

use peerbus_report::document::{RunDocument, json_schema};
use peerbus_report::json::{baseline, parse, render};

use crate::sample;

fn all() -> Vec<peerbus_scenario::ScenarioResult> {
    let mut all = sample::empty();
    all.extend([sample::small(), sample::variants(), sample::matrix(8), sample::churn(), sample::huge()]);
    all
}

#[test]
fn documents_read_back_as_they_were() {
    for result in all() {
        let document = RunDocument::new(&result);
        assert_eq!(parse(&render(&result)).ok(), Some(document.clone()));
        assert_eq!(parse(&baseline(&result)).ok(), Some(document.without_series()));
        assert!(render(&result).ends_with("}\n") && baseline(&result).ends_with("}\n"));
    }
}

#[test]
fn documents_follow_their_schema() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    for result in all() {
        for text in [render(&result), baseline(&result)] {
            let value = serde_json::from_str(&text).unwrap();
            let error = validator.iter_errors(&value).next().map(|error| error.to_string());
            assert_eq!(error, None);
        }
    }
    assert!(!validator.is_valid(&serde_json::json!({"schema": "peerbus.run/1"})));
}

#[test]
fn numbers_have_their_units_and_six_decimals() {
    let document = RunDocument::new(&sample::small());
    let value = serde_json::to_value(&document).unwrap();
    let flow = &value["flows"][0];
    assert_eq!(value["schema"], "peerbus.run/1");
    assert_eq!(value["digest"], "0123456789abcdef");
    // 1 MiB in 40_329_846 ps.
    assert_eq!(flow["throughput_gbytes_per_s"].to_string(), "26.0");
    assert_eq!(flow["latency_ns"]["p50"].to_string(), "812.5");
    assert_eq!(flow["latency_ns"]["p99"].to_string(), "1204.25");
    assert_eq!(flow["limited_by"], "gpu0 uplink gen4 x16");
    assert_eq!(value["flows"][1]["throughput_gbytes_per_s"], serde_json::Value::Null);
    assert_eq!(value["flows"][1]["latency_ns"]["p50"], serde_json::Value::Null);
    assert_eq!(value["flows"][1]["limited_by"], serde_json::Value::Null);
    assert_eq!(value["links"][0]["utilisation"].to_string(), "0.8066");
    assert_eq!(value["links"][0]["digest"], "00000000feedbeef");
}

#[test]
fn flows_say_where_time_went_but_in_baselines() {
    let value = serde_json::to_value(RunDocument::new(&sample::small())).unwrap();
    let flow = &value["flows"][0];
    assert_eq!(
        flow["time_ps"],
        serde_json::json!({"credits": 600_000, "serialisation": 399_500, "root_complex": 500})
    );
    assert_eq!(
        flow["latency_histogram_ps"],
        serde_json::json!([[786_432, 917_504, 4_000], [1_179_648, 1_310_720, 96]])
    );
    assert_eq!(value["links"][0]["queued_per_interval"][0], 17);
    let baseline: serde_json::Value = serde_json::from_str(&baseline(&sample::small())).unwrap();
    assert_eq!(
        (baseline["flows"][0].get("time_ps"), baseline["flows"][0].get("latency_histogram_ps")),
        (None, None)
    );
    assert_eq!(baseline["links"][0].get("queued_per_interval"), None);
}

#[test]
fn pools_have_a_series_but_in_baselines() {
    let value = serde_json::to_value(RunDocument::new(&sample::churn())).unwrap();
    let (memory, pool) = (&value["peer_memory"][0], &value["pools"][0]);
    assert_eq!(memory["name"], "first-fit/churn");
    assert_eq!(memory["refused"]["FRAGMENTED"]["count"], 2_000);
    assert_eq!(memory["throughput_gbytes_per_s"].to_string(), "25.0");
    assert_eq!(
        (&pool["name"], pool["fragmentation"].to_string()),
        (&"first-fit/churn.ssd0".into(), "0.123456".into())
    );
    assert_eq!(pool["series"]["largest_hole_bytes"], serde_json::json!([64 << 20, 1 << 20, 1 << 20]));
    let baseline: serde_json::Value = serde_json::from_str(&baseline(&sample::churn())).unwrap();
    assert_eq!(baseline["pools"][0].get("series"), None);
    assert_eq!(baseline["pools"][0]["least_hole_bytes"], 1 << 20);
}

#[test]
fn keys_stand_in_the_order_of_the_contract() {
    let text = render(&sample::small());
    let places: Vec<Option<usize>> =
        ["schema", "scenario", "seed", "digest", "flows", "links", "spaces", "errors"]
            .iter()
            .map(|key| text.find(&format!("\n  \"{key}\":")))
            .collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
}

#[test]
fn variants_stand_before_names() {
    let document = RunDocument::new(&sample::variants());
    let names: Vec<&str> = document.flows.iter().map(|flow| flow.name.as_str()).collect();
    assert_eq!(names, ["redirect-off/peer", "redirect-off/back", "redirect-on/peer", "redirect-on/back"]);
    assert_eq!(document.errors[1].flow.as_deref(), Some("redirect-on/back"));
    assert_eq!(document.profile, "Linux_7_3 + Linux_6_12");
}

#[test]
fn a_baseline_is_small_and_has_a_line_per_entry() {
    let text = baseline(&sample::matrix(8));
    assert!(text.len() < 100 * 1024, "{} bytes", text.len());
    let flows = text.lines().filter(|line| line.starts_with("    {\"name\":\"pairs/gpu")).count();
    assert_eq!(flows, 56);
    assert!(!text.contains("busy_per_interval_ps"));
}
