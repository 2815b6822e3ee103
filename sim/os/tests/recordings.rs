//! Recordings of booted kernels, found beside the workspace.

use std::path::PathBuf;

use serde_json::Value;

/// The lines of a recording; empty, with a word of why, when the folder is not there.
pub fn lines(name: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        Err(error) => {
            println!("skipped: {name} is not available ({error})");
            Vec::new()
        }
    }
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

/// `"8086:29c0"`.
pub fn ids(text: &str) -> (u16, u16) {
    let (vendor, device) = text.split_once(':').unwrap();
    (u16::from_str_radix(vendor, 16).unwrap(), u16::from_str_radix(device, 16).unwrap())
}

/// One recorded boot.
pub struct Boot {
    pub name: String,
    path: PathBuf,
}

impl Boot {
    /// The text of one of its files, if there is one.
    pub fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path.join(name)).ok()
    }
}

/// The boots of a folder, in order of name; none, with a word of why, when the folder is not there.
pub fn folder(name: &str) -> Vec<Boot> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance").join(name);
    let Ok(entries) = std::fs::read_dir(&root) else {
        println!("skipped: {name} is not available");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let boot = |path: PathBuf| {
        let base = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Boot { name: format!("{name}/{base}"), path }
    };
    paths.into_iter().map(boot).collect()
}
