//! What booted kernels said: limits, and every free region they gave, from the memory map each of them showed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use peerbus_os::iomem::{DirectMap, IoMem, Paging, PhysicalSpace, ResourceId};
use peerbus_os::{Profile, Rules};
use peerbus_units::{CpuAddr, Range};

use super::limits::{recorded_arm64, vmemmap};
use super::{request, rules, space};
use crate::recordings::hex;

/// One recorded boot.
struct Boot {
    name: String,
    kernel: String,
    oracle: String,
    iomem: String,
    /// `LIM` lines as key and number.
    limits: BTreeMap<String, u64>,
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `key=value` words of a line.
fn fields(line: &str) -> BTreeMap<&str, &str> {
    line.split_whitespace().filter_map(|word| word.split_once('=')).collect()
}

impl Boot {
    fn read(folder: &Path) -> Option<Boot> {
        let file = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let case: serde_json::Value = serde_json::from_str(&file("case.json")?).ok()?;
        let oracle = file("oracle.txt")?;
        let lines = oracle.lines().filter(|line| line.starts_with("LIM "));
        let limits = lines
            .flat_map(fields)
            .filter_map(|(key, value)| Some((key.to_owned(), number(value)?)))
            .collect();
        let name = format!(
            "{}/{}",
            folder.parent()?.file_name()?.to_string_lossy(),
            folder.file_name()?.to_string_lossy()
        );
        let kernel = case["kernel"].as_str()?.to_owned();
        Some(Boot { name, kernel, oracle, iomem: file("iomem.txt").unwrap_or_default(), limits })
    }

    fn profile(&self) -> Option<Profile> {
        let release = self.kernel.split_whitespace().nth(2)?;
        let known =
            [("6.1.", Profile::Linux_6_1), ("6.12.", Profile::Linux_6_12), ("7.3.", Profile::Linux_7_3)];
        known.into_iter().find(|(start, _)| release.starts_with(start)).map(|(_, profile)| profile)
    }

    fn limit(&self, key: &str) -> Option<u64> {
        self.limits.get(key).copied()
    }
}

fn boots() -> Vec<Boot> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let mut found = Vec::new();
    for folder in ["boots", "boots73"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
            println!("skipped: {folder} is not available");
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        found.extend(paths.iter().filter_map(|path| Boot::read(path)));
    }
    found
}

#[test]
fn every_memory_map_is_read_and_shown_again() {
    let (mut equal, mut all) = (0, 0);
    for boot in boots().iter().filter(|boot| !boot.iomem.is_empty()) {
        all += 1;
        let read = IoMem::parse(&boot.iomem, CpuAddr(u64::MAX));
        let rules = rules(boot.profile().unwrap_or(Profile::Linux_6_1));
        match read.map(|tree| tree.render(&rules)) {
            Ok(text) if text == boot.iomem => equal += 1,
            Ok(text) => println!("{}: shown as\n{text}", boot.name),
            Err(error) => println!("{}: {error}", boot.name),
        }
    }
    println!("memory maps: {equal} of {all}");
    assert_eq!(equal, all);
}

/// The limits computed from what the CPU and the command line say.
fn computed_limits(boot: &Boot, rules: &Rules) -> Result<PhysicalSpace, String> {
    let limit = boot.limit("physmem_end").ok_or("no limit was recorded")?;
    if let Some(bits) = boot.limit("x86_phys_bits") {
        let paging = if boot.limit("la57") == Some(1) { Paging::FiveLevel } else { Paging::FourLevel };
        let physical_bits = u32::try_from(bits).map_err(|error| error.to_string())?;
        let ram = boot.iomem.lines().filter(|line| line.ends_with(" : System RAM")).filter_map(|line| {
            line.trim_start().split(['-', ' ']).nth(1).and_then(|last| u64::from_str_radix(last, 16).ok())
        });
        let ram_end = CpuAddr(ram.max().unwrap_or(0) + 1);
        return Ok(PhysicalSpace::X86 {
            paging,
            physical_bits,
            direct_map: DirectMap::distribution(ram_end),
        });
    }
    // The seed is not recorded: the one that gives the limit must give the start of the page array too.
    let array = boot.limit("vmemmap").ok_or("neither a width nor a page array was recorded")?;
    for (used_va, pa_range) in [(52, 52), (48, 44)] {
        for seed in 0..=u16::MAX {
            let arm64 = recorded_arm64(used_va, pa_range, seed);
            let fits = arm64.linear_map(rules).last == CpuAddr(limit) && vmemmap(rules, &arm64) == array;
            if fits {
                return Ok(PhysicalSpace::Arm64(arm64));
            }
        }
    }
    Err("no seed gives the recorded limit and page array".to_owned())
}

#[test]
fn recorded_limits() {
    let (mut equal, mut all) = (0, 0);
    for boot in &boots() {
        let Some(profile) = boot.profile() else {
            println!("left out: {}: {}", boot.name, boot.kernel);
            continue;
        };
        let rules = rules(profile);
        let Some(end) = boot.limit("iomem_end") else {
            println!("left out: {}: it recorded no limits", boot.name);
            continue;
        };
        all += 1;
        match computed_limits(boot, &rules) {
            Ok(space) => {
                let found = (space.end().0, space.limit(&rules).0, space.section().0);
                let recorded = (end, boot.limit("physmem_end").unwrap(), boot.limit("section_size").unwrap());
                if found == recorded {
                    equal += 1;
                } else {
                    println!("{}: {found:x?}, recorded {recorded:x?}", boot.name);
                }
            }
            Err(error) => println!("{}: {error}", boot.name),
        }
    }
    println!("limits of address space: {equal} of {all}");
    assert_eq!(equal, all);
}

/// Repeats a boot's requests in order; counts those answered alike.
struct Replay<'a> {
    boot: &'a Boot,
    rules: Rules,
    tree: IoMem,
    /// Regions by the number the recording gave them.
    held: BTreeMap<u64, ResourceId>,
    equal: u32,
    all: u32,
}

impl Replay<'_> {
    fn request(&mut self, size: u64, recorded: Option<Range<CpuAddr>>, what: &str) -> Option<ResourceId> {
        let limit = self.boot.limit("physmem_end").unwrap();
        let found = request(&mut self.tree, &self.rules, &space(limit), size).result;
        let errno = found.as_ref().err().map(|error| error.errno());
        let answer = found.as_ref().ok().map(|region| region.range);
        self.all += 1;
        if answer == recorded && errno.is_none_or(|errno| errno == Some("ERANGE")) {
            self.equal += 1;
        } else {
            println!("{}: {what}: {found:?}, recorded {recorded:?}", self.boot.name);
        }
        found.ok().map(|region| region.id)
    }

    fn line(&mut self, line: &str) {
        let (word, _) = line.split_once(' ').unwrap_or((line, ""));
        let fields = fields(line);
        let hexadecimal = |key: &str| fields.get(key).map(|text| hex(text));
        let recorded = || Range::new(CpuAddr(hexadecimal("start")?), CpuAddr(hexadecimal("end")?));
        match word {
            "GFR" => {
                if fields.get("err").is_some_and(|code| *code != "-34") {
                    println!("left out: {}: {line}: not an answer of the search", self.boot.name);
                    return;
                }
                let id = self.request(hexadecimal("size").unwrap(), recorded(), line);
                if let (Some(id), Some(index)) = (id, fields.get("idx").and_then(|text| number(text))) {
                    self.held.insert(index, id);
                }
            }
            "GFRFREE" => {
                let index = number(fields["idx"]).unwrap();
                self.tree.release(self.held.remove(&index).unwrap()).unwrap();
            }
            "GFRCLEAR" => {
                for (_, id) in std::mem::take(&mut self.held) {
                    self.tree.release(id).unwrap();
                }
            }
            // Mapped and given back before the next line.
            "DEVPRIV" if fields.contains_key("start") => {
                let id = self.request(hexadecimal("size").unwrap(), recorded(), line);
                self.tree.release(id.unwrap()).unwrap();
            }
            "DEVPRIV" => println!("left out: {}: {line}: memory ran out", self.boot.name),
            _ => {}
        }
    }

    /// Regions that the kernel's own test driver took before the memory map was shown, highest first.
    fn driver(&mut self, ranges: Vec<Range<CpuAddr>>) {
        for range in ranges {
            self.request(range.size().0, Some(range), "the kernel's test driver");
        }
    }
}

/// The tree before the first request, and what a driver took later.
fn before(boot: &Boot) -> (IoMem, Vec<Range<CpuAddr>>) {
    let end = CpuAddr(boot.limit("iomem_end").unwrap());
    let mut tree = IoMem::parse(&boot.iomem, end).unwrap_or_else(|error| panic!("{}: {error}", boot.name));
    let taken: Vec<_> = tree
        .children(tree.root())
        .filter(|(_, found)| found.name == "hmm_dmirror")
        .map(|(id, found)| (id, found.range))
        .collect();
    taken.iter().for_each(|(id, _)| drop(tree.release(*id).unwrap()));
    (tree, taken.into_iter().rev().map(|(_, range)| range).collect())
}

#[test]
fn recorded_regions() {
    let mut counts: BTreeMap<Profile, (u32, u32)> = BTreeMap::new();
    for boot in &boots() {
        let asked = boot.oracle.lines().any(|line| line.starts_with("GFR") || line.starts_with("DEVPRIV"));
        let Some(profile) = boot.profile().filter(|_| asked) else { continue };
        let (tree, driver) = before(boot);
        let mut replay =
            Replay { boot, rules: rules(profile), tree, held: BTreeMap::new(), equal: 0, all: 0 };
        let mut driver = Some(driver);
        for line in boot.oracle.lines() {
            if line.starts_with("GFR after_test_hmm") {
                replay.driver(driver.take().unwrap_or_default());
            }
            replay.line(line);
        }
        let (equal, all) = counts.entry(profile).or_default();
        *equal += replay.equal;
        *all += replay.all;
    }
    for (profile, (equal, all)) in &counts {
        println!("free regions of {profile}: {equal} of {all}");
        assert_eq!(equal, all, "{profile}");
    }
}
