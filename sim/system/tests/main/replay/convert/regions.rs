//! Requests for unused physical addresses: occupied ranges from the memory map that was shown, limits as the kernel
//! printed them.

use std::collections::BTreeMap;

use super::{Boot, Converted, Writer, fields, number};

impl Boot {
    /// Requests for unused physical addresses.
    pub(super) fn regions(&self) -> Option<Converted> {
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
