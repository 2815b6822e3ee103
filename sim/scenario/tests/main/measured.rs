//! Measured values from the text of a scenario to the comparison after its run.

use peerbus_scenario::measured::Comparison;
use peerbus_scenario::{assemble, cells, run_cell};

use crate::support::load_text;

/// What `measured` and `measured_from` of a scenario with three copies come to.
fn compared(fields: &str) -> Vec<Comparison> {
    let text = format!(
        r#"(machine: "m.ron", variants: [
            (name: "one", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")]),
            (name: "two", workloads: [
                Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB"),
                Copy(name: "b", from: "gpu1", to: "gpu0", bytes: "1MiB"),
            ]),
            (name: "all", workloads: [PairMatrix(name: "m", devices: ["gpu*"], bytes: "64KiB")]),
        ], {fields})"#
    );
    let (loaded, found) = load_text(&text, "s");
    let loaded = loaded.unwrap_or_else(|| panic!("{found:?}"));
    let outcomes = cells(&loaded).iter().map(|cell| run_cell(cell).unwrap()).collect();
    assemble(loaded, outcomes).measured
}

fn predicted(rows: &[Comparison], at: usize) -> u128 {
    rows[at].predicted.as_ref().unwrap_or_else(|reason| panic!("{reason}")).floor()
}

#[test]
fn rows_inherit_from_groups_and_meet_their_predictions() {
    let rows = compared(
        r#"measured: [
            (unit: "GB/s", family: "copies", source: "s", table: "t", size: "2MiB", rows: [
                (of: "flow.one/a.throughput", value: 20, row: "2"),
                (of: "flow.two/*.throughput", how: Total, value: 40, row: "3"),
                (of: "flow.two/*.throughput", how: Mean, value: 40.5, row: "4", family: "means"),
                (row: "5-8, 10", left_out: "no such card"),
            ]),
            (of: "flow.one/a.duration", value: 0.05, unit: "ms", includes: "10us"),
        ]"#,
    );
    let ids: Vec<(&str, u64, bool)> = rows
        .iter()
        .map(|row| (row.measurement.family.as_str(), row.measurement.count(), row.is_compared()))
        .collect();
    let expected = [("copies", 1, true), ("copies", 1, true), ("means", 1, true), ("copies", 5, false)];
    assert_eq!(ids[..4], expected);
    let (one, total, mean) = (predicted(&rows, 0), predicted(&rows, 1), predicted(&rows, 2));
    assert!(total > one * 3 / 2, "two ways at once carry more than one: {total} and {one}");
    assert!(mean * 2 >= total && mean < one * 11 / 10, "{mean} of {total}");
    assert_eq!(rows[3].reason(), Some("no such card"));
    // 50 us less 10 us, in picoseconds.
    assert_eq!(rows[4].measurement.value.map(|value| value.floor()), Some(40_000_000));
    assert_eq!(rows[4].error_ppm.map(|error| error < 0), Some(predicted(&rows, 4) < 40_000_000));
    let error = rows[0].error_ppm.unwrap();
    let exact = (i128::try_from(one).unwrap() - 20_000_000_000) * 1_000_000 / 20_000_000_000;
    assert_eq!(i128::from(error), exact);
}

#[test]
fn a_matrix_of_nvbandwidth_is_compared_element_by_element() {
    let rows = compared(
        r#"measured_from: [(file: "nvbandwidth.json", testcase: "d2d", of: "flow.all/m.gpu{row}.gpu{column}.throughput")]"#,
    );
    let names: Vec<&str> = rows.iter().map(|row| row.measurement.of.as_str()).collect();
    assert_eq!(names, ["flow.all/m.gpu0.gpu1.throughput", "flow.all/m.gpu1.gpu0.throughput"]);
    assert!(rows.iter().all(|row| row.is_compared() && row.measurement.family == "d2d"));
    assert_eq!(rows[0].measurement.value.map(|value| value.floor()), Some(21_500_000_000));
}

/// What cannot be compared is told before anything runs.
#[test]
fn rows_that_cannot_be_compared_are_refused() {
    for (row, code) in [
        (r#"(of: "flow.b.throughput", value: 1, unit: "GB/s")"#, "S0304"),
        (r#"(of: "flow.a.throughput", unit: "GB/s")"#, "S0101"),
        (r#"(of: "flow.a.throughput", value: 1)"#, "S0101"),
        (r#"(value: 1, unit: "GB/s")"#, "S0101"),
        (r#"(of: "flow.a.speed", value: 1, unit: "GB/s")"#, "S0302"),
        (r#"(of: "BUS_ADDR", value: 1, unit: "GB/s")"#, "S0301"),
        (r#"(of: "flow.a.latency.p50", how: Total, value: 1, unit: "ns")"#, "S0502"),
        (r#"(of: "flow.a.throughput", value: 1, unit: "GB")"#, "S0501"),
        (r#"(of: "flow.a.map_type", value: 1, unit: "ns")"#, "S0501"),
        (r#"(of: "flow.a.duration", value: 1, unit: "us", includes: "2us")"#, "S0504"),
        (r#"(of: "flow.a.throughput", value: -1, unit: "GB/s")"#, "S0504"),
        (r#"(of: "flow.a.throughput", value: 1, unit: "GB/s", row: "2-3")"#, "S0504"),
    ] {
        let text = format!(
            r#"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], measured: [{row}])"#
        );
        let (loaded, found) = load_text(&text, "s");
        let codes: Vec<&str> = found.iter().map(|problem| problem.code.0).collect();
        assert!(loaded.is_none() && codes == [code], "{row}: {found:?}");
    }
}
