//! Recordings of booted kernels as replay files.
//!
//! What a recording asked becomes calls and what it was answered becomes results, with nothing added: `pool` for
//! allocators, `regions` for unused addresses, `p2p` for peer-to-peer DMA on machines that `machines` imports, in the
//! order that `shell` finds in the commands given.

mod machines;
mod p2p;
mod pool;
mod regions;
mod shell;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use machines::Machines;

/// A replay file made from a recording.
pub struct Converted {
    /// Name of the file: case, kind and kernel.
    pub name: String,
    pub text: String,
}

/// One recorded boot's files.
struct Boot {
    /// `boots/l_alloc1`.
    source: String,
    name: String,
    /// `6.12`, and the profile that stands for it.
    kernel: (&'static str, &'static str),
    folder: PathBuf,
    oracle: String,
    /// What was done on it, as lines of a shell.
    phases: String,
}

/// `key=value` words of a line.
fn fields(line: &str) -> BTreeMap<&str, &str> {
    line.split_whitespace().filter_map(|word| word.split_once('=')).collect()
}

fn number(text: &str) -> u64 {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Calls and results being written.
#[derive(Default)]
struct Writer {
    calls: String,
    results: String,
    count: usize,
}

impl Writer {
    fn call(&mut self, call: &str) {
        writeln!(self.calls, "        {call},").unwrap();
        self.count += 1;
    }

    /// A call and what it was answered.
    fn answered(&mut self, call: &str, result: &str) {
        writeln!(self.results, "        (call: {}, {result}),", self.count).unwrap();
        self.call(call);
    }

    fn note(&mut self, note: &str) {
        writeln!(self.calls, "        // {note}").unwrap();
    }

    fn finish(self, boot: &Boot, kind: &str, what: &str) -> Converted {
        let text = format!(
            "// {what}\n// Recorded by Linux {}: conformance/{}.\nReplay(\n    profile: {},\n    calls: [\n{}    ],\n    results: [\n{}    ],\n)\n",
            boot.kernel.0, boot.source, boot.kernel.1, self.calls, self.results
        );
        Converted { name: format!("{kind}-{}-{}.ron", boot.name, boot.kernel.0), text }
    }
}

impl Boot {
    fn read(folder: &Path) -> Option<Boot> {
        let case = std::fs::read_to_string(folder.join("case.json")).ok()?;
        let case: serde_json::Value = serde_json::from_str(&case).ok()?;
        let release = case["kernel"].as_str()?.split_whitespace().nth(2)?;
        let known = [("6.1", "Linux_6_1"), ("6.12", "Linux_6_12"), ("7.3", "Linux_7_3")];
        let kernel = known.into_iter().find(|(version, _)| release.starts_with(&format!("{version}.")))?;
        let name = folder.file_name()?.to_str()?.to_owned();
        let source = format!("{}/{name}", folder.parent()?.file_name()?.to_str()?);
        let oracle = std::fs::read_to_string(folder.join("oracle.txt")).ok()?;
        let phases = case["phases"].as_str().unwrap_or_default().to_owned();
        Some(Boot { source, name, kernel, folder: folder.to_owned(), oracle, phases })
    }

    fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(name)).ok()
    }

    fn limit(&self, key: &str) -> Option<u64> {
        let lines = self.oracle.lines().filter(|line| line.starts_with("LIM "));
        lines.flat_map(fields).find(|(name, _)| *name == key).map(|(_, value)| number(value))
    }

    /// First address of a function's resource.
    fn resource(&self, function: &str, index: &str) -> Option<u64> {
        let table = self.file("resources.tsv")?;
        let row = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        row.into_iter().find(|row| row[..2] == [function, index]).map(|row| number(row[2]))
    }
}

/// Everything made from the recordings.
#[derive(Default)]
pub struct Recordings {
    /// Replays, and the machine files they name.
    pub files: Vec<Converted>,
    /// Answers that are in no replay, by reason.
    pub left_out: BTreeMap<String, usize>,
}

/// All recordings that can be replayed; empty, with a word of why, when there are none beside the workspace.
pub fn recordings() -> Recordings {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let (mut made, mut machines) = (Recordings::default(), Machines::default());
    for folder in ["boots", "boots73"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
            println!("skipped: recordings in {folder} are not available");
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for boot in paths.iter().filter_map(|path| Boot::read(path)) {
            let peers = boot.p2p(&mut machines, &mut made.left_out);
            made.files.extend([boot.pool(), boot.regions(), peers].into_iter().flatten());
        }
    }
    made.files.extend(machines.files);
    made
}
