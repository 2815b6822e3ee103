//! The machines in `topologies` load without a word, as RON and as JSON, and come out the same.

use std::path::PathBuf;

use peerbus_machine::{Catalogue, diagnostic, file, load, load_machine, lower};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Name and text of every shipped machine.
pub fn machines() -> Vec<(String, String)> {
    let folder = root().join("topologies");
    let files = std::fs::read_dir(folder).expect("topologies is a folder of this repository");
    let paths = files.map(|file| file.expect("a readable folder").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "ron")).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        (name, std::fs::read_to_string(path).expect("a readable file"))
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_shipped_machine_loads_without_a_word() {
    let catalogue = Catalogue::embedded();
    let machines = machines();
    assert!(!machines.is_empty());
    for (name, text) in machines {
        let (machine, found) = load_machine(&text, &name, &catalogue);
        let sources = [(name.clone(), text)].into();
        assert!(machine.is_some() && found.is_empty(), "{}", diagnostic::render(&found, &sources, false));
    }
}

/// The JSON form of a machine holds the same, read through the schema.
#[test]
fn json_comes_out_as_ron_does() {
    let catalogue = Catalogue::embedded();
    for (name, text) in machines() {
        let reading = load::read::<file::Machine>(&text, &name);
        let file = reading.value.expect("shipped machines are readable");
        let json = serde_json::to_string_pretty(&file).expect("what was read can be written");
        let (from_json, found) = load_machine(&json, "machine.json", &catalogue);
        let sources = [("machine.json".to_owned(), json)].into();
        assert!(
            from_json.is_some() && found.is_empty(),
            "{name}: {}",
            diagnostic::render(&found, &sources, false)
        );
        let (direct, found) = lower(&file, "", &name, &catalogue);
        assert_eq!(found, [], "{name}");
        assert_eq!(format!("{from_json:?}"), format!("{direct:?}"), "{name}");
    }
}
