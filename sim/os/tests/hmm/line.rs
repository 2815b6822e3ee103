//! Lines of a recording: operations with results, and the state after them.

use std::collections::BTreeMap;

/// One operation and what it answered.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its number, as in the file.
    pub number: u32,
    /// 0: the first process, 1: its child.
    pub process: usize,
    /// Its name.
    pub name: String,
    /// `key=value` before the arrow.
    pub arguments: BTreeMap<String, String>,
    /// `key=value` after it; words without value have an empty one.
    pub results: BTreeMap<String, String>,
    /// State lines that follow: key and text.
    pub state: Vec<(String, String)>,
}

impl Operation {
    /// A numeric argument.
    pub fn number_of(&self, key: &str) -> u64 {
        self.arguments.get(key).map_or(0, |text| text.parse().expect("a number"))
    }

    /// An argument.
    pub fn text_of(&self, key: &str) -> &str {
        self.arguments.get(key).map_or("", String::as_str)
    }
}

/// A recording.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Which kernel said so.
    pub kernel: String,
    /// Huge pages: `always` or `never`.
    pub huge: String,
    /// Pages of the range.
    pub pages: u64,
    /// Pages of the file.
    pub file_pages: u64,
    /// Pages of it that have contents.
    pub written: u64,
    /// The first one's.
    pub first: u64,
    /// What was done.
    pub operations: Vec<Operation>,
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    // The codes of a snapshot are several words of one value.
    let (text, codes) = match text.split_once("codes=") {
        Some((before, codes)) => (before, Some(codes)),
        None => (text, None),
    };
    let mut map: BTreeMap<String, String> = text
        .split_whitespace()
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    if let Some(codes) = codes {
        map.insert("codes".to_owned(), codes.trim().to_owned());
    }
    map
}

/// Reads a recording.
pub fn parse(text: &str) -> Recording {
    let mut recording = Recording::default();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# kernel ") {
            let mut words = rest.split_whitespace();
            recording.kernel = words.next().unwrap_or_default().to_owned();
            recording.huge = pairs(rest).get("thp").cloned().unwrap_or_default();
        } else if let Some(rest) = line.strip_prefix("range ") {
            let rest = rest.replace("file pages", "file_pages");
            let map = pairs(&rest);
            let get = |key: &str| map.get(key).and_then(|text| text.parse().ok()).expect("a number");
            recording.pages = get("pages");
            recording.file_pages = get("file_pages");
            recording.written = get("written");
            recording.first = get("first");
        } else if let Some(rest) = line.strip_prefix("  ") {
            let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
            let state = &mut recording.operations.last_mut().expect("state follows an operation").state;
            state.push((key.to_owned(), value.trim().to_owned()));
        } else if let Some((before, after)) = line.split_once(" -> ") {
            recording.operations.push(operation(before, after));
        }
    }
    recording
}

fn operation(before: &str, after: &str) -> Operation {
    let mut words = before.split_whitespace();
    let number = words.next().and_then(|word| word.parse().ok()).expect("a number");
    let process = words.next().and_then(|word| word.strip_prefix('p')?.parse().ok()).expect("a process");
    let name = words.next().expect("a name").to_owned();
    let rest: Vec<&str> = words.collect();
    Operation {
        number,
        process,
        name,
        arguments: pairs(&rest.join(" ")),
        results: pairs(after),
        state: vec![],
    }
}

/// Expands `V*N`, `V+N` and `V`, separated by commas or blanks.
pub fn expand(text: &str) -> Vec<String> {
    let mut list = Vec::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        if let Some((value, count)) = part.split_once('*') {
            let count: usize = count.parse().expect("a count");
            list.extend(std::iter::repeat_n(value.to_owned(), count));
        } else if let Some((value, count)) = part.split_once('+') {
            let (first, count): (u64, u64) =
                (value.parse().expect("a number"), count.parse().expect("a count"));
            list.extend((first..first + count).map(|value| value.to_string()));
        } else {
            list.push(part.to_owned());
        }
    }
    list
}

/// The short form of equal neighbours, as state lines have it.
pub fn runs(list: &[String]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut index = 0;
    while index < list.len() {
        let count = list[index..].iter().take_while(|value| **value == list[index]).count();
        parts.push(if count == 1 { list[index].clone() } else { format!("{}*{count}", list[index]) });
        index += count;
    }
    parts.join(" ")
}
