//! Recordings of booted kernels as replay files.
//!
//! What a recording asked becomes calls and what it was answered becomes results, with nothing added: chunks from its
//! registrations, occupied ranges from the memory map it showed, limits as its kernel printed them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

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
        Some(Boot { source, name, kernel, folder: folder.to_owned(), oracle })
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

    /// The allocator sequence.
    fn pool(&self) -> Option<Converted> {
        let recorded = self.file("alloc.txt")?;
        let mut writer = Writer::default();
        let mut bar_start = 0;
        for line in recorded.lines() {
            let given = fields(line);
            let field = |key: &str| given.get(key).map(|value| number(value)).unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[0] {
                "BEGIN" => {
                    bar_start = self.resource(words[1], given["bar"])?;
                    writer.call(&format!("Pool(granule: {})", 1u64 << field("order")));
                    let start = format!("REG {} bar={} ", words[1], given["bar"]);
                    for chunk in self.oracle.lines().filter(|line| line.starts_with(&start)) {
                        let chunk = fields(chunk);
                        let (offset, size) = (number(chunk["off"]), number(chunk["size"]));
                        writer.call(&format!("AddChunk(base: {:#x}, size: {size:#x})", bar_start + offset));
                    }
                    writer.answered("Avail", &format!("bytes: {}", field("avail")));
                }
                "A" => {
                    let call = format!("Alloc(id: {}, size: {})", field("id"), field("size"));
                    let result = match given.contains_key("off") {
                        true => format!("address: {:#x}", bar_start + field("off")),
                        false => "error: \"ENOMEM\"".to_owned(),
                    };
                    writer.answered(&call, &result);
                }
                "F" => writer.call(&format!("Free(id: {}, size: {})", field("id"), field("size"))),
                "AVAIL" => writer.answered("Avail", &format!("bytes: {}", words[1])),
                "PHASE" => writer.note(words[1]),
                _ => {}
            }
        }
        Some(writer.finish(self, "pool", "An allocator sequence on peer-to-peer memory."))
    }

    /// Requests for unused physical addresses.
    fn regions(&self) -> Option<Converted> {
        let asked = |line: &str| line.starts_with("GFR ") || line.starts_with("DEVPRIV ");
        self.oracle.lines().find(|line| asked(line))?;
        let mut requests = Requests { writer: self.occupied()?, held: BTreeMap::new(), next: 0 };
        let mut driver = self.driver();
        for line in self.oracle.lines() {
            // The driver was loaded before this request.
            if line.starts_with("GFR after_test_hmm") {
                driver.drain(..).for_each(|(first, last)| {
                    requests.request(last - first + 1, Some((first, last)));
                });
            }
            requests.line(line);
        }
        let what = "Requests for unused physical addresses, in the memory map of the boot.";
        Some(requests.writer.finish(self, "regions", what))
    }

    /// Entries at the top level of the memory map: range and name.
    fn memory_map(&self) -> Vec<(u64, u64, String)> {
        let map = self.file("iomem.txt").unwrap_or_default();
        let top = map.lines().filter(|line| !line.starts_with(' ') && !line.is_empty());
        let entry = |line: &str| {
            let (range, name) = line.split_once(" : ").unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let hex = |digits| u64::from_str_radix(digits, 16).unwrap();
            (hex(first), hex(last), name.to_owned())
        };
        top.map(entry).collect()
    }

    /// Regions that the kernel's own test driver holds at the end, in the order it got them.
    fn driver(&self) -> Vec<(u64, u64)> {
        let map = self.memory_map().into_iter().rev();
        map.filter(|(_, _, name)| name == "hmm_dmirror").map(|(first, last, _)| (first, last)).collect()
    }

    fn occupied(&self) -> Option<Writer> {
        let mut writer = Writer::default();
        let (limit, end) = (self.limit("physmem_end")?, self.limit("iomem_end")?);
        let section = self.limit("section_size")?;
        writer.call(&format!("Region(limit: {limit:#x}, end: {end:#x}, section: {section:#x})"));
        for (first, last, name) in self.memory_map() {
            if name != "hmm_dmirror" {
                writer.call(&format!("Busy(first: {first:#x}, last: {last:#x}, name: {name:?})"));
            }
        }
        Some(writer)
    }
}

/// Requests, and which of them are still held.
struct Requests {
    writer: Writer,
    /// Ids by the recording's numbers.
    held: BTreeMap<u64, u64>,
    next: u64,
}

impl Requests {
    fn request(&mut self, size: u64, answer: Option<(u64, u64)>) -> u64 {
        let id = self.next;
        self.next += 1;
        let result = match answer {
            Some((first, last)) => format!("first: {first:#x}, last: {last:#x}"),
            None => "error: \"ERANGE\"".to_owned(),
        };
        self.writer.answered(&format!("Request(id: {id}, size: {size:#x})"), &result);
        id
    }

    fn release(&mut self, id: u64) {
        self.writer.call(&format!("Release(id: {id})"));
    }

    fn line(&mut self, line: &str) {
        let given = fields(line);
        let answer = given.get("start").map(|start| (number(start), number(given["end"])));
        match line.split_whitespace().next() {
            Some("GFR") => {
                let id = self.request(number(given["size"]), answer);
                if answer.is_some() {
                    self.held.insert(number(given["idx"]), id);
                }
            }
            Some("GFRFREE") => {
                let id = self.held.remove(&number(given["idx"])).unwrap();
                self.release(id);
            }
            Some("GFRCLEAR") => {
                for (_, id) in std::mem::take(&mut self.held) {
                    self.release(id);
                }
            }
            // Given back before the next line.
            Some("DEVPRIV") if answer.is_some() => {
                let id = self.request(number(given["size"]), answer);
                self.release(id);
            }
            _ => {}
        }
    }
}

/// All recordings that can be replayed; empty, with a word of why, when there are none beside the workspace.
pub fn recordings() -> Vec<Converted> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let mut converted = Vec::new();
    for folder in ["boots", "boots73"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
            println!("skipped: recordings in {folder} are not available");
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for boot in paths.iter().filter_map(|path| Boot::read(path)) {
            converted.extend([boot.pool(), boot.regions()].into_iter().flatten());
        }
    }
    converted
}
