//! Comparison of documents.

use peerbus_report::compare::{Change, CompareError, Comparison, Document, Policy, compare};
use peerbus_report::json::{baseline, render};
use peerbus_scenario::ScenarioResult;
use peerbus_units::Picos;

use crate::sample;

fn read(result: &ScenarioResult) -> Document {
    Document::read("run", &baseline(result)).unwrap()
}

fn compared(change: impl Fn(&mut ScenarioResult), policy: &str) -> Comparison {
    let mut new = sample::small();
    change(&mut new);
    let rules = Policy::parse(&format!("Policy(rules: [{policy}])")).unwrap();
    compare(&read(&sample::small()), &read(&new), &rules).unwrap()
}

/// Keys, values and changes as the JSON form has them.
fn table(comparison: &Comparison) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(&comparison.json()).unwrap();
    let rows = json["differences"].as_array().unwrap().iter();
    rows.map(|row| {
        format!(
            "{} {}: {} -> {}",
            row["change"].as_str().unwrap(),
            row["key"].as_str().unwrap(),
            row["old"],
            row["new"]
        )
    })
    .collect()
}

#[test]
fn a_result_equals_itself_in_either_form() {
    for result in [sample::small(), sample::variants(), sample::matrix(8), sample::churn(), sample::huge()] {
        let whole = Document::read("whole", &render(&result)).unwrap();
        let comparison = compare(&read(&result), &whole, &Policy::default()).unwrap();
        assert!(comparison.is_equal(), "{}", comparison.text());
        assert_eq!(comparison.text(), format!("EQUAL: all {} values are equal\n", comparison.values));
    }
}

#[test]
fn changed_numbers_are_sorted_by_effect() {
    let slower = |result: &mut ScenarioResult| {
        let outcome = &mut result.cells[0].outcome;
        outcome.flows[0].end = outcome.flows[0].start + Picos(42_100_000);
        outcome.links[0].starved = Picos(3_000_000);
        outcome.links[0].digest += 1;
    };
    let comparison = compared(slower, "");
    assert_eq!(
        table(&comparison),
        [
            "changed links[gpu0 to host0/rp0/sw0].starved_ps: 1500000 -> 3000000",
            "changed flows[peer].end_ps: 40429846 -> 42200000",
            "changed flows[peer].throughput_gbytes_per_s: 26.0 -> 24.906793",
            "changed links[gpu0 to host0/rp0/sw0].digest: \"00000000feedbeef\" -> \"00000000feedbef0\"",
        ]
    );
    let count = comparison.values;
    assert_eq!(
        comparison.summary(),
        format!("4 of {count} values differ; largest: flow peer throughput -4.2 %")
    );
    assert!(!comparison.is_equal());
}

#[test]
fn words_and_lone_values_come_first() {
    let other = |result: &mut ScenarioResult| {
        let flow = &mut result.cells[0].outcome.flows[0];
        flow.map_type = Some("THRU_HOST_BRIDGE".to_owned());
        flow.distance = None;
        flow.path.remove(1);
        result.expectations[0].holds = false;
    };
    assert_eq!(
        table(&compared(other, "")),
        [
            "changed expectations[flow.peer.throughput >= 24GB/s].holds: true -> false",
            "changed flows[peer].distance: 4 -> null",
            "changed flows[peer].map_type: \"BUS_ADDR\" -> \"THRU_HOST_BRIDGE\"",
            "changed flows[peer].path: [\"gpu0\",\"host0/rp0/sw0\",\"gpu1\"] -> [\"gpu0\",\"gpu1\"]",
        ]
    );
}

#[test]
fn entries_that_come_and_go_are_one_difference_each() {
    let renamed = |result: &mut ScenarioResult| {
        result.cells[0].outcome.flows[1].name = "forth".to_owned();
        result.cells[0].outcome.flows.reverse();
    };
    let comparison = compared(renamed, "");
    assert_eq!(table(&comparison), ["missing flows[back]: null -> null", "added flows[forth]: null -> null"]);
    assert_eq!(comparison.differences[0].change, Change::Missing);
    assert!(comparison.differences[0].values > 10);
    assert!(comparison.text().contains(" values "), "{}", comparison.text());
}

#[test]
fn matrix_cells_are_named_by_row_and_column() {
    let mut new = sample::matrix(8);
    new.cells[0].outcome.flows[0].end.0 *= 2;
    let comparison = compare(&read(&sample::matrix(8)), &read(&new), &Policy::default()).unwrap();
    let key = "matrices[pairs].cells_gbytes_per_s[host0/rp0/sw0/gpu0][host0/rp0/sw0/gpu1]";
    assert!(comparison.differences.iter().any(|it| it.key.to_string() == key), "{}", comparison.text());
    assert_eq!(comparison.differences.len(), 3, "{}", comparison.text());
}

#[test]
fn the_policy_allows_with_a_reason_and_in_one_direction() {
    let end =
        |picos: u64| move |result: &mut ScenarioResult| result.cells[0].outcome.flows[0].end = Picos(picos);
    let rules = r#"(key: "flows[*].end_ps", change: Ignore, reason: "follows from throughput"),
        (key: "flows[*].throughput_gbytes_per_s", change: Increase(max_percent: 20), reason: "faster is welcome"),"#;
    let faster = compared(end(38_000_000), rules);
    assert!(faster.is_equal(), "{}", faster.text());
    assert_eq!(faster.allowed.len(), 2);
    assert!(faster.summary().ends_with("values are equal; 2 differences are allowed by the policy"));
    assert!(faster.text().contains("faster is welcome"));
    let slower = compared(end(42_000_000), rules);
    assert_eq!(slower.differences.len(), 1);
    let much_faster = compared(end(30_000_000), rules);
    assert_eq!(much_faster.differences.len(), 1);
}

#[test]
fn allowed_numbers_may_not_disappear() {
    let gone = |result: &mut ScenarioResult| result.cells[0].outcome.flows[0].delivered.0 = 0;
    let rule = r#"(key: "*", change: Within(max_percent: 1000), reason: "anything")"#;
    let keys = table(&compared(gone, rule)).join("\n");
    assert!(keys.contains("flows[peer].throughput_gbytes_per_s: 26.0 -> null"), "{keys}");
}

#[test]
fn a_number_that_grows_from_zero_says_so() {
    let comparison = compared(|result| result.cells[0].outcome.links[0].dllp_bytes.0 = 0, "");
    assert_eq!(comparison.differences[0].relative, Some(-1.0));
    let back = compare(
        &{
            let mut base = sample::small();
            base.cells[0].outcome.links[0].dllp_bytes.0 = 0;
            read(&base)
        },
        &read(&sample::small()),
        &Policy::default(),
    )
    .unwrap();
    assert!(back.summary().ends_with("link gpu0 to host0/rp0/sw0 dllp from zero"), "{}", back.summary());
}

#[test]
fn markdown_says_the_verdict_first_and_escapes() {
    let comparison = compared(|result| result.cells[0].outcome.flows[0].staged = true, "");
    let text = comparison.markdown();
    assert!(text.starts_with("`scenarios/pair.ron`: **different**. 1 of "), "{text}");
    assert!(text.contains("| flows\\[peer\\].staged | false | true | changed |"), "{text}");
}

#[test]
fn documents_that_cannot_be_compared_are_errors() {
    let other = Document::read("b", &baseline(&sample::small()).replace("pair.ron", "other.ron")).unwrap();
    assert!(matches!(
        compare(&read(&sample::small()), &other, &Policy::default()),
        Err(CompareError::OtherScenario { .. })
    ));
    let moved =
        Document::read("c", &baseline(&sample::small()).replace("scenarios/pair", "/else/where/pair"))
            .unwrap();
    assert!(compare(&read(&sample::small()), &moved, &Policy::default()).is_ok_and(|it| it.is_equal()));
    for (text, message) in [
        ("", "x.json: cannot be read: EOF"),
        ("{", "line 1"),
        ("[]", "without one"),
        ("{\"schema\": \"peerbus.plan/1\"}", "of peerbus.plan/1"),
        ("{\"schema\": \"peerbus.run/1\"}", "does not name its scenario"),
    ] {
        let error = Document::read("x.json", text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn another_tool_version_is_no_difference() {
    let older = baseline(&sample::small()).replace(peerbus_report::TOOL_VERSION, "0.0.1");
    assert!(older.contains("0.0.1"));
    let older = Document::read("older", &older).unwrap();
    assert!(compare(&older, &read(&sample::small()), &Policy::default()).is_ok_and(|it| it.is_equal()));
}
