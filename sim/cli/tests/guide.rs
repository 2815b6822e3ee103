//! The guide's table of mechanisms names scenarios and tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names of all functions and modules in the Rust files below `folder`.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            names(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
            for line in fs::read_to_string(&path).unwrap().lines() {
                let rest = line.trim_start().strip_prefix("fn ").or(line.trim_start().strip_prefix("mod "));
                let name = rest.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
                found.extend(name.flatten().map(str::to_owned));
            }
        }
    }
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_table_of_mechanisms_is_true() {
    let mut known = BTreeSet::new();
    names(&root().join("sim"), &mut known);
    let table = fs::read_to_string(root().join("docs/mechanisms.md")).unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, scenario, tests] = cells[..] else {
            wrong.push(format!("not three cells: {row}"));
            continue;
        };
        rows += 1;
        let files = quoted(scenario).filter(|name| name.ends_with(".ron"));
        let missing =
            |name: &&str| !root().join("scenarios").join(name.trim_start_matches("scenarios/")).exists();
        wrong.extend(files.filter(missing).map(|name| format!("no scenario {name}")));
        let codes =
            |name: &&str| !name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.starts_with("time_ps");
        for test in quoted(tests).filter(codes) {
            let last = test.trim_end_matches("::").rsplit("::").next().unwrap_or(test);
            if !known.contains(last) {
                wrong.push(format!("no test {test}"));
            }
        }
    }
    assert!(rows > 50, "{rows} rows were read");
    assert!(wrong.is_empty(), "docs/mechanisms.md: {wrong:#?}");
}
