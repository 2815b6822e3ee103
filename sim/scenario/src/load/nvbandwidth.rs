//! The JSON files of nvbandwidth: a list of test cases, each with a matrix of GB/s.

use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    nvbandwidth: Results,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    testcases: Vec<Testcase>,
}

#[derive(Deserialize)]
struct Testcase {
    name: String,
    #[serde(default)]
    bandwidth_matrix: Vec<Vec<Element>>,
}

/// Numbers are written as texts; `N/A` stands where a pair was not run.
#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    Number(f64),
    Text(String),
}

/// One number of a matrix.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Measured {
    pub row: usize,
    pub column: usize,
    /// 10⁹ bytes per second.
    pub gbytes_per_s: f64,
}

/// The numbers of a test case. The error says what the file lacks.
pub(super) fn matrix(text: &str, testcase: &str) -> Result<Vec<Measured>, String> {
    let file: File =
        serde_json::from_str(text).map_err(|error| format!("this is no result of nvbandwidth: {error}"))?;
    let cases = file.nvbandwidth.testcases;
    let Some(case) = cases.iter().find(|case| case.name == testcase) else {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        return Err(format!("there is no test case `{testcase}`, only {}", names.join(", ")));
    };
    let mut found = Vec::new();
    for (row, elements) in case.bandwidth_matrix.iter().enumerate() {
        for (column, element) in elements.iter().enumerate() {
            let number = match element {
                Element::Number(number) => Some(*number),
                Element::Text(text) => text.trim().parse().ok(),
            };
            let known = number.filter(|number: &f64| number.is_finite() && *number > 0.0);
            found.extend(known.map(|gbytes_per_s| Measured { row, column, gbytes_per_s }));
        }
    }
    match found.is_empty() {
        true => Err(format!("the test case `{testcase}` has no number")),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_read_and_what_was_not_run_is_skipped() {
        let text = r#"{"nvbandwidth": {"Driver Version": "1", "testcases": [
            {"name": "d2d", "status": "Passed", "bandwidth_matrix": [["N/A", "52.50"], [48.25, "N/A"]], "sum": 100},
            {"name": "waived", "status": "Waived"}]}}"#;
        let found = matrix(text, "d2d");
        let expected = [(0, 1, 52.5), (1, 0, 48.25)];
        let expected = expected.map(|(row, column, gbytes_per_s)| Measured { row, column, gbytes_per_s });
        assert_eq!(found, Ok(expected.to_vec()));
        for (text, case, problem) in [
            (text, "h2d", "there is no test case `h2d`, only d2d, waived"),
            (text, "waived", "the test case `waived` has no number"),
            ("{}", "d2d", "this is no result of nvbandwidth: missing field `nvbandwidth` at line 1 column 2"),
        ] {
            assert_eq!(matrix(text, case), Err(problem.to_owned()));
        }
    }
}
