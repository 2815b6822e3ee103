//! Recorded boots, imported from what `lspci` and `/proc/iomem` showed of them: the machine that comes out must have
//! the recorded addresses, and its kernel must decide about every pair of functions as the recorded one did.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use peerbus_machine::import::live::{self, Folder};
use peerbus_machine::import::{Capture, Identity, Processor, Text, lspci};
use peerbus_machine::model::IommuMode;
use peerbus_machine::{Catalogue, Machine, load_machine, lower};
use peerbus_system::boot::{BootOptions, Booted, boot};
use peerbus_system::kernel::{KernelSettings, ProfileName};
use peerbus_system::p2p::{self, MapType, Pair, matrix};
use peerbus_system::plan::plan;
use serde_json::Value;

/// The texts of one recorded boot.
pub struct Boot {
    pub name: String,
    pub listing: String,
    pub dump: String,
    pub iomem: String,
    pub description: Value,
    folder: PathBuf,
}

impl Boot {
    /// Every recorded boot with a listing; empty, with a word of why, when there are none.
    pub fn all() -> Vec<Boot> {
        let base = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance"));
        if !base.is_dir() {
            println!("skipped: no recordings beside the project");
            return Vec::new();
        }
        let mut folders: Vec<PathBuf> = Vec::new();
        for kind in ["boots", "boots73"] {
            folders.extend(std::fs::read_dir(base.join(kind)).unwrap().map(|entry| entry.unwrap().path()));
        }
        folders.sort();
        let (with, without): (Vec<_>, Vec<_>) =
            folders.into_iter().partition(|folder| folder.join("lspci-vvv.txt").exists());
        println!("{} boots have no listing and are left out", without.len());
        with.into_iter().map(Boot::read).collect()
    }

    /// The boot recorded in a folder; `None` when there is no listing.
    pub fn at(folder: &Path) -> Option<Boot> {
        folder.join("lspci-vvv.txt").exists().then(|| Boot::read(folder.to_owned()))
    }

    fn read(folder: PathBuf) -> Boot {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        Boot {
            name: folder.iter().rev().take(2).collect::<PathBuf>().display().to_string(),
            listing: text("lspci-vvv.txt"),
            dump: text("lspci-xxxx.txt"),
            iomem: text("iomem.txt"),
            description: serde_json::from_str(&text("case.json")).unwrap(),
            folder,
        }
    }

    fn text(&self, key: &str) -> &str {
        self.description[key].as_str().unwrap_or_default()
    }

    pub fn profile(&self) -> ProfileName {
        let version = self.text("kernel").split(' ').find(|word| word.starts_with(char::is_numeric));
        match version.unwrap_or_default() {
            version if version.starts_with("6.1.") => ProfileName::Linux_6_1,
            version if version.starts_with("6.12.") => ProfileName::Linux_6_12,
            _ => ProfileName::Linux_7_3,
        }
    }

    /// True where the kernel chose every address itself.
    fn placed_by_kernel(&self) -> bool {
        self.text("qemu_args").contains("-M virt")
    }

    /// As the command line names the kernel's use of the IOMMU, and whether there is one.
    fn iommu(&self) -> IommuMode {
        let words = self.text("cmdline");
        let intel = self.text("qemu_args").contains("intel-iommu") && words.contains("intel_iommu=on");
        if !intel && !self.text("qemu_args").contains("amd-iommu") {
            return IommuMode::None;
        }
        if words.contains("iommu=pt") { IommuMode::Passthrough } else { IommuMode::Translate }
    }

    fn processor(&self) -> Processor {
        let cpu = &self.description["cpu"];
        let text = |key: &str| cpu[key].as_str();
        let identity = || {
            Some(Identity {
                vendor: text("vendor_id")?.to_owned(),
                family: text("cpu family")?.parse().ok()?,
                model: text("model")?.parse().ok()?,
            })
        };
        let bits = text("address sizes").and_then(|sizes| sizes.split(' ').next()?.parse().ok());
        Processor { identity: identity(), physical_bits: bits, virtual_bits: None }
    }

    pub fn capture(&self) -> Capture<'_> {
        Capture {
            listing: Text { name: &self.name, text: &self.listing },
            dump: Some(Text { name: "xxxx", text: &self.dump }),
            iomem: Some(Text { name: "iomem", text: &self.iomem }),
            ioports: None,
            processor: self.processor(),
            cmdline: Some(self.text("cmdline").to_owned()),
            iommu: Some(self.iommu()),
        }
    }

    /// The machine as a file says it.
    pub fn imported(&self) -> peerbus_machine::file::Machine {
        let import = lspci(&self.capture(), &Catalogue::embedded());
        import.unwrap_or_else(|found| panic!("{}: {found:#?}", self.name)).machine
    }

    /// The machine, by way of the text of its file.
    pub fn machine(&self) -> Machine {
        let text = peerbus_machine::import::to_ron(&self.imported(), &self.name);
        let (machine, found) = load_machine(&text, &self.name, &Catalogue::embedded());
        machine.unwrap_or_else(|| panic!("{}: {found:#?}", self.name))
    }

    /// The same machine by way of the folders its /sys had.
    fn machine_of_folders(&self) -> Machine {
        let catalogue = Catalogue::embedded();
        let import = live::live(&self.folders(), &self.capture(), &catalogue);
        let import = import.unwrap_or_else(|found| panic!("{}: {found:#?}", self.name));
        lower(&import.machine, "", &self.name, &catalogue).0.unwrap()
    }

    fn folders(&self) -> Vec<Folder> {
        let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
        let mut current = String::new();
        for line in self.dump.lines() {
            if let Some((place, _)) = line.split_once(' ').filter(|(place, _)| place.contains('.')) {
                current = format!("0000:{place}");
                folders.insert(
                    current.clone(),
                    Folder { name: current.clone(), config: vec![0; 256], ..Folder::default() },
                );
            } else if let Some((offset, bytes)) = line.split_once(": ") {
                let at = usize::try_from(hex(offset)).unwrap();
                let config = &mut folders.get_mut(&current).unwrap().config;
                if at >= 256 {
                    config.resize(4096, 0);
                }
                for (place, byte) in (at..).zip(bytes.split(' ')) {
                    config[place] = u8::from_str_radix(byte, 16).unwrap();
                }
            }
        }
        let text = std::fs::read_to_string(self.folder.join("sysfs.txt")).unwrap();
        for line in text.lines() {
            let fields: Vec<&str> = line.splitn(3, ' ').collect();
            let [id, name, value] = fields[..] else { continue };
            let Some(folder) = folders.get_mut(id) else { continue };
            let Some((number, range)) = value.split_once(' ').filter(|_| name == "resource") else {
                folder.files.insert(name.to_owned(), format!("{value}\n"));
                continue;
            };
            let file = folder.files.entry(name.to_owned()).or_default();
            while file.lines().count() < number.parse().unwrap() {
                file.push_str("0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
            }
            file.push_str(&format!("{range}\n"));
        }
        folders.into_values().collect()
    }

    pub fn booted(&self, machine: &Machine, reassign: bool) -> Booted {
        let settings = KernelSettings { profile: self.profile(), ..KernelSettings::default() };
        boot(machine, &settings, &BootOptions { reassign })
    }

    pub fn table(&self, name: &str) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// The phase whose ACS words are those of the listing; later phases change ids or moved words in the kernel's
    /// memory, which no listing shows.
    pub fn phase(&self, booted: &Booted) -> Option<String> {
        let mut words: BTreeMap<String, bool> = BTreeMap::new();
        for row in self.table("acs.tsv") {
            let function = booted.registers.at(row[1].parse().unwrap()).unwrap();
            let same = booted.registers.acs_control(function).map(u64::from) == Some(hex(&row[4]));
            *words.entry(row[0].clone()).or_insert(true) &= same;
        }
        let mut current = Some("boot".to_owned());
        let mut asked_in = BTreeMap::new();
        for line in self.text("phases").lines() {
            let parts: Vec<&str> = line.split(' ').collect();
            match parts[..] {
                ["o", "acs", tag] => current = Some(tag.to_owned()),
                ["o", "dist", tag] => {
                    asked_in.insert(tag.to_owned(), current.clone());
                }
                _ if ["setpci", "spoof", "acspos", "winoff"].iter().any(|word| line.contains(word)) => {
                    current = None
                }
                _ => {}
            }
        }
        let shown = |tag: &String| {
            let phase = if words.contains_key(tag) {
                Some(tag.clone())
            } else {
                asked_in.get(tag).cloned().flatten()
            };
            phase.is_some_and(|phase| words.get(&phase).copied().unwrap_or(words.is_empty()))
        };
        let tags: Vec<String> = self.table("distance.tsv").into_iter().map(|row| row[0].clone()).collect();
        tags.into_iter().find(shown)
    }
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

/// How many rows agree, and what is wrong with the first that do not.
#[derive(Default)]
struct Tally {
    right: usize,
    all: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn count(&mut self, right: bool, what: impl FnOnce() -> String) {
        self.all += 1;
        self.right += usize::from(right);
        if !right {
            self.wrong.push(what());
        }
    }

    fn finish(self, what: &str) {
        println!("{what}: {} of {}", self.right, self.all);
        self.wrong.iter().take(40).for_each(|wrong| println!("  {wrong}"));
        assert!(self.all > 0 && self.right == self.all, "{what}");
    }
}

#[test]
fn imported_boots_decide_as_recorded() {
    let boots = Boot::all();
    let (mut types, mut addresses) = (Tally::default(), Tally::default());
    let mut left_out = BTreeSet::new();
    for case in &boots {
        let machine = case.machine();
        let booted = case.booted(&machine, false);
        let Some(phase) = case.phase(&booted) else {
            let rows = case.table("distance.tsv").len();
            if rows == 0 {
                continue;
            }
            let why = "no recorded question was asked with the ACS words that the listing shows";
            println!("{} left out ({rows} rows): {why}", case.name);
            continue;
        };
        let matrix = matrix(&machine, &booted);
        let pairs: BTreeMap<(String, String), &Pair> = matrix
            .pairs
            .iter()
            .map(|pair| ((pair.provider.to_string(), pair.client.to_string()), pair))
            .collect();
        for row in case.table("distance.tsv").into_iter().filter(|row| row[0] == phase) {
            let pair = pairs.get(&(row[1].clone(), row[2].clone()));
            let map_type = match row[3].as_str() {
                "BUS_ADDR" => MapType::BusAddr,
                "THRU_HOST_BRIDGE" => MapType::ThruHostBridge,
                _ => MapType::NotSupported,
            };
            let right = pair
                .is_some_and(|pair| (pair.map_type, pair.distance.to_string()) == (map_type, row[4].clone()));
            types.count(right, || format!("{} {row:?}: {pair:?}", case.name));
        }
        for row in case.table("dmamap.tsv").into_iter().filter(|row| row[0] == phase) {
            let Some(pair) = pairs.get(&(row[1].clone(), row[2].clone())) else {
                addresses.count(false, || format!("{} {row:?}: no such pair", case.name));
                continue;
            };
            let translated = row[3] == "0" && row[6] == "0" && case.iommu() == IommuMode::Translate;
            if translated
                && pair.dma_kind != Some(p2p::DmaKind::Bus)
                && pair.map_type == MapType::ThruHostBridge
            {
                left_out.insert(format!("{}: I/O virtual addresses are not predicted here", case.name));
                continue;
            }
            addresses.count(same_address(&row, pair), || format!("{} {row:?}: {pair:?}", case.name));
        }
    }
    left_out.iter().for_each(|why| println!("left out: {why}"));
    if !boots.is_empty() {
        types.finish("map types and distances");
        addresses.finish("DMA addresses");
    }
}

/// Whether a recorded mapping of some byte of the provider's memory is what the pair says of its first byte.
fn same_address(row: &[String], pair: &Pair) -> bool {
    if row[3] != "0" {
        return pair.dma_addr.is_none();
    }
    let offset = pair.cpu_addr.map(|first| hex(&row[4]).wrapping_sub(first));
    let bus = pair.dma_kind == Some(p2p::DmaKind::Bus);
    let sent = offset.zip(pair.dma_addr).map(|(offset, first)| first.wrapping_add(offset));
    sent == Some(hex(&row[5])) && bus == (row[6] == "1")
}

/// Rows of `resources.tsv`, or of the same in `sysfs.txt`: function, number, first, last, assigned.
fn recorded(case: &Boot) -> Vec<(String, usize, u64, u64, bool)> {
    let row = |row: &[String]| {
        (
            row[0].clone(),
            row[1].parse().unwrap(),
            hex(&row[2]),
            hex(&row[3]),
            row.get(5).is_none_or(|assigned| assigned == "1"),
        )
    };
    let rows = case.table("resources.tsv");
    if !rows.is_empty() {
        return rows.iter().map(|fields| row(fields)).collect();
    }
    let text = std::fs::read_to_string(case.folder.join("sysfs.txt")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
        (fields.get(1)? == "resource").then(|| row(&[&fields[..1], &fields[2..5]].concat()))
    });
    lines.collect()
}

fn compare(case: &Boot, machine: &Machine, reassign: bool, bars: &mut Tally, windows: &mut Tally) {
    let plan = plan(machine, &case.booted(machine, reassign));
    let mut planned: BTreeMap<(String, usize), (u64, u64)> = BTreeMap::new();
    for row in &plan.resources {
        if let Some((first, size)) = row.cpu_addr.zip(row.size) {
            planned.insert((row.function.to_string(), row.index), (first, first + (size - 1)));
        }
    }
    let bridges: BTreeSet<String> = plan
        .functions
        .iter()
        .filter(|row| row.buses.is_some())
        .filter_map(|row| Some(row.function?.to_string()))
        .collect();
    for (function, number, first, last, assigned) in recorded(case) {
        if number >= 13 && !bridges.contains(&function) {
            // Ports of the chipset's power management, which a quirk of the kernel lists under numbers of windows.
            continue;
        }
        let found = planned.remove(&(function.clone(), number));
        let expected = assigned.then_some((first, last));
        let tally = if number >= 13 { &mut *windows } else { &mut *bars };
        tally.count(found == expected, || {
            format!("{} {function} {number}: recorded {expected:x?}, here {found:x?}", case.name)
        });
    }
    for ((function, number), range) in planned {
        let tally = if number >= 13 { &mut *windows } else { &mut *bars };
        tally
            .count(false, || format!("{} {function} {number}: recorded nowhere, here {range:x?}", case.name));
    }
}

#[test]
fn imported_boots_have_the_recorded_addresses() {
    let boots = Boot::all();
    let (mut bars, mut windows) = (Tally::default(), Tally::default());
    for case in &boots {
        compare(case, &case.machine(), false, &mut bars, &mut windows);
    }
    if !boots.is_empty() {
        bars.finish("addresses of BARs");
        windows.finish("addresses of windows");
    }
}

/// The same facts come out of the files of /sys, from which `lspci` has them.
#[test]
fn folders_have_the_recorded_addresses_too() {
    let boots = Boot::all();
    let (mut bars, mut windows, mut types) = (Tally::default(), Tally::default(), Tally::default());
    for case in &boots {
        let (machine, listed) = (case.machine_of_folders(), case.machine());
        compare(case, &machine, false, &mut bars, &mut windows);
        let pairs = |machine: &Machine| {
            let matrix = matrix(machine, &case.booted(machine, false));
            matrix
                .pairs
                .iter()
                .map(|pair| (pair.provider, pair.client, pair.map_type, pair.distance))
                .collect::<Vec<_>>()
        };
        types.count(pairs(&machine) == pairs(&listed), || case.name.clone());
    }
    if !boots.is_empty() {
        bars.finish("addresses of BARs by folders");
        windows.finish("addresses of windows by folders");
        types.finish("boots whose pairs are the listing's");
    }
}

/// Where no firmware placed anything, the kernel arrives at the same addresses from nothing; so it does behind root
/// ports that were removed and found again.
#[test]
fn kernels_that_placed_everything_do_so_again() {
    let boots = Boot::all();
    let (mut bars, mut windows) = (Tally::default(), Tally::default());
    for case in boots.iter().filter(|case| case.placed_by_kernel()) {
        let machine = case.machine();
        if machine.functions.node_weights().any(|function| !function.config.unsized_bars.is_empty()) {
            println!("{} left out: the size of a BAR that found no place is not shown", case.name);
            continue;
        }
        compare(case, &machine, true, &mut bars, &mut windows);
    }
    if !boots.is_empty() {
        bars.finish("BARs placed by the kernel");
        windows.finish("windows placed by the kernel");
    }
}
