//! The scenarios of `scenarios/validation` and the tables they were made from: every measured value stands in one of
//! them, with the number of the table, or is left out with a reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use peerbus_machine::Catalogue;
use peerbus_scenario::expect::Ratio;
use peerbus_scenario::load;
use peerbus_scenario::measured::Measurement;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every measured value of every scenario, with its file.
fn measured() -> Vec<(String, Measurement)> {
    let catalogue = Catalogue::embedded();
    let provide = |name: &str| fs::read_to_string(root().join(name)).map_err(|error| error.to_string());
    let mut all = Vec::new();
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("scenarios/validation"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (loaded, found) = load(&fs::read_to_string(&path).unwrap(), &name, &provide, &catalogue);
        let loaded = loaded.unwrap_or_else(|| panic!("{name}: {found:?}"));
        all.extend(loaded.measured.into_iter().map(|measurement| (name.clone(), measurement)));
    }
    all
}

/// Lines of a table from 1, which is its head, with the value and whether it is verified.
fn table(folder: &Path, name: &str) -> Vec<(String, bool)> {
    let text = fs::read_to_string(folder.join(name).with_extension("tsv")).unwrap();
    let column = |line: &str, at: usize| line.split('\t').nth(at).unwrap_or_default().to_owned();
    text.lines().map(|line| (column(line, 6), column(line, 8) == "verified")).collect()
}

/// Whether `value`, as a table has it, is what `measurement` says; of `25-26` anything between.
fn agrees(value: &str, measurement: &Measurement) -> bool {
    let number = |text: &str| Ratio::decimal(text)?.times(measurement.unit.scale);
    let (low, high) = value.split_once('-').unwrap_or((value, value));
    let own = measurement.value.and_then(|value| match measurement.included {
        Some(included) => value.plus(included),
        None => Some(value),
    });
    match (number(low), number(high), own) {
        (Some(low), Some(high), Some(own)) => low <= own && own <= high,
        _ => false,
    }
}

#[test]
fn every_verified_row_is_compared_or_left_out_with_a_reason() {
    let folder = root().join("../shared/measurements");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("skipped: there are no tables at {}", folder.display());
        return;
    };
    let mut tables: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        tables.insert(name.clone(), table(&folder, &name));
    }
    let mut seen: BTreeMap<(String, u32), String> = BTreeMap::new();
    let (mut compared, mut left_out) = (0, 0);
    for (file, measurement) in measured() {
        let rows = tables.get(&measurement.table).unwrap_or_else(|| panic!("{file}: {measurement:?}"));
        for line in measurement.lines.iter().flat_map(|(first, last)| *first..=*last) {
            let place = (measurement.table.clone(), line);
            let (value, verified) =
                rows.get(line as usize - 1).unwrap_or_else(|| panic!("{file}: {place:?}"));
            assert!(*verified, "{file}: {place:?} is not a verified row");
            if let Some(other) = seen.insert(place.clone(), file.clone()) {
                panic!("{place:?} stands in {other} and in {file}");
            }
            match &measurement.left_out {
                Some(reason) => left_out += usize::from(!reason.is_empty()),
                None => {
                    assert!(agrees(value, &measurement), "{file}: {place:?} is {value}, not {measurement:?}");
                    compared += 1;
                }
            }
        }
    }
    let verified = tables.values().flatten().filter(|(_, verified)| *verified).count();
    println!("{compared} rows compared, {left_out} left out, of {verified} verified ones");
    for (name, rows) in &tables {
        for (at, _) in rows.iter().enumerate().filter(|(_, (_, verified))| *verified) {
            let line = u32::try_from(at + 1).unwrap();
            assert!(seen.contains_key(&(name.clone(), line)), "{name}:{line} stands in no scenario");
        }
    }
    assert_eq!(compared + left_out, verified);
}
