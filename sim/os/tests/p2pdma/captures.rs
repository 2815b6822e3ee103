//! Recordings of booted kernels as machines to ask.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use peerbus_os::pci::{BusIndex, FunctionIndex, Parent, PcieType, Place, Resource, ResourceFlags};
use peerbus_os::{CpuIdentity, CpuVendor, Profile, ResourceKind, Window};
use peerbus_units::{BusAddr, Bytes, CpuAddr, FunctionId, Range};
use serde_json::Value;

use super::machine::Machine;

pub fn conformance() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance")
}

pub fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A function as a recording lists it.
pub struct Listed<'a> {
    pub id: FunctionId,
    pub ids: &'a str,
    /// Device/port type; -1 for a conventional function.
    pub pcie_type: i64,
    /// The bridge above, or `root`.
    pub above: &'a str,
}

pub fn build<'a>(functions: impl Iterator<Item = Listed<'a>>) -> Machine {
    let mut machine = Machine::default();
    let mut roots: BTreeMap<(u32, u8), BusIndex> = BTreeMap::new();
    for listed in functions {
        let id = listed.id;
        let bus = match listed.above.parse() {
            Err(_) => *roots.entry((id.domain, id.bus)).or_insert_with(|| machine.host(id.domain, id.bus)),
            Ok(above) => {
                let above = machine.tree.find(above).unwrap();
                let below = machine.tree[above].subordinate;
                below.unwrap_or_else(|| machine.bus_below(above, id.bus))
            }
        };
        let index = machine.function(bus, id.device(), id.function());
        assert_eq!(machine.tree[index].id, id);
        set_ids(&mut machine, index, listed.ids);
        machine.tree[index].pcie_type = u8::try_from(listed.pcie_type).ok().map(PcieType::from_number);
        // The header of function 0 says whether others follow.
        let first = FunctionId { devfn: id.devfn & !7, ..id };
        if let Some(first) = machine.tree.find(first).filter(|first| *first != index) {
            machine.tree[first].multifunction = true;
        }
    }
    machine
}

pub fn set_ids(machine: &mut Machine, function: FunctionIndex, ids: &str) {
    let (vendor, device) = ids.split_once(':').unwrap();
    machine.set_ids(function, u16::try_from(hex(vendor)).unwrap(), u16::try_from(hex(device)).unwrap());
}

/// Functions with their ACS capability and control words become the only ones with ACS.
pub fn set_acs<'a>(machine: &mut Machine, words: impl Iterator<Item = (&'a str, [u64; 2])>) {
    machine.clear_acs();
    for (id, words) in words {
        let function = find(machine, id);
        machine.set_acs_words(function, words.map(|word| u16::try_from(word).unwrap()));
    }
}

pub fn find(machine: &Machine, id: &str) -> FunctionIndex {
    machine.tree.find(id.parse().unwrap()).unwrap()
}

/// CPU 0 from what `/proc/cpuinfo` said; arm64 says nothing of these.
pub fn cpu(recorded: &Value) -> CpuIdentity {
    let number = |key: &str| recorded[key].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    let vendor = recorded["vendor_id"].as_str();
    CpuIdentity {
        vendor: vendor.map_or(CpuVendor::Other, CpuVendor::from_cpuinfo),
        family: number("cpu family"),
        model: number("model"),
        x86: vendor.is_some(),
    }
}

/// A table with tab-separated columns and a comment on top.
pub fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// One recorded boot.
pub struct Boot {
    pub folder: PathBuf,
    pub profile: Profile,
    pub machine: Machine,
    pub cpu: CpuIdentity,
    /// DMA that does not go by bus address is translated.
    pub iommu: bool,
    /// What was done on the machine, a command a line.
    pub commands: String,
    acs: String,
    /// Empty where no distances were asked for.
    pub distances: String,
}

impl Boot {
    fn read(folder: &Path, profile: Profile) -> Option<Boot> {
        let file = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let (distances, devices) = (file("distance.tsv").unwrap_or_default(), file("devices.tsv")?);
        let case: Value = serde_json::from_str(&file("case.json")?).unwrap();
        let mut machine = build(rows(&devices).map(|row| {
            assert_eq!(row[8], "0", "virtual functions need their physical function");
            let (id, pcie_type) = (row[0].parse().unwrap(), row[4].parse().unwrap());
            Listed { id, ids: row[1], pcie_type, above: row[5] }
        }));
        place(&mut machine, &file("oracle.txt")?, &file("resources.tsv")?);
        let iommu = text(&case["qemu_args"]).contains("iommu");
        let (cpu, acs) = (cpu(&case["cpu"]), file("acs.tsv").unwrap_or_default());
        let commands = text(&case["phases"]).into();
        Some(Boot { folder: folder.into(), profile, machine, cpu, iommu, commands, acs, distances })
    }

    /// The machine in phase `tag`, where the recording says how it was then. ACS words are those listed under that
    /// name, or the last listed ones (`o acs NAME`) if no command changed any since. A name such as `id_2f00` or
    /// `id_1ae0:1234` tells the ids of 00:00.0.
    pub fn phase(&self, tag: &str) -> Option<Machine> {
        let mut machine = self.machine.clone();
        let mut words = Some("boot");
        if let Some(ids) = tag.strip_prefix("id_") {
            let ids = if ids.contains(':') { ids.to_string() } else { format!("8086:{ids}") };
            let head = find(&machine, "0000:00:00.0");
            set_ids(&mut machine, head, &ids);
        } else if rows(&self.acs).any(|row| row[0] == tag) {
            words = Some(tag);
        } else {
            for command in self.before(tag)? {
                let fields: Vec<&str> = command.split(' ').collect();
                match fields[..] {
                    ["o", "acs", name] => words = Some(name),
                    ["o", "spoof", id, vendor, device] => {
                        let function = find(&machine, id);
                        set_ids(&mut machine, function, &format!("{vendor}:{device}"));
                    }
                    _ if command.contains("setpci") || command.contains("acspos") => words = None,
                    _ => {}
                }
            }
        }
        let words = words?;
        set_acs(
            &mut machine,
            rows(&self.acs).filter(|row| row[0] == words).map(|row| (row[1], [hex(row[3]), hex(row[4])])),
        );
        Some(machine)
    }

    /// The machine with the ACS words first listed: those the kernel left when it had booted.
    pub fn booted(&self) -> Option<Machine> {
        let tag = rows(&self.acs).next()?[0].to_string();
        self.phase(&tag)
    }

    /// Functions whose ACS words were listed under the name `tag`, capability and control of each.
    pub fn acs_words(&self, tag: &str) -> impl Iterator<Item = (&str, u64, u64)> {
        rows(&self.acs).filter(move |row| row[0] == tag).map(|row| (row[1], hex(row[3]), hex(row[4])))
    }

    /// A file of the recording; empty where there is none.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Commands before distances were asked for under the name `tag`; `None` where they are not written out.
    pub fn before(&self, tag: &str) -> Option<impl Iterator<Item = &str>> {
        let question = format!("o dist {tag}");
        let position = self.commands.lines().position(|command| command == question)?;
        Some(self.commands.lines().take(position))
    }
}

/// Host bridge windows from `WIN` lines, BARs from the table of resources.
fn place(machine: &mut Machine, log: &str, resources: &str) {
    for line in log.lines().filter(|line| line.starts_with("WIN ")) {
        let field = |key: &str| hex(line.split_once(key).unwrap().1.split(' ').next().unwrap());
        let (domain, bus) = line.split(' ').nth(1).unwrap().split_once(':').unwrap();
        let found =
            machine.tree.host_bridges.iter().position(|host| {
                (u64::from(host.domain), u64::from(host.bus_first)) == (hex(domain), hex(bus))
            });
        let flags = ResourceFlags(field("flags="));
        let cpu = Range::new(CpuAddr(field("start=")), CpuAddr(field("end="))).unwrap();
        if let Some(host) = found.filter(|_| flags.is_io() || flags.is_mem()) {
            let bus = BusAddr(cpu.first().0.wrapping_sub(field("offset=")));
            machine.tree.host_bridges[host].windows.push(Window { cpu, bus, kind: ResourceKind::of(flags) });
        }
    }
    for row in rows(resources) {
        let (function, number) = (find(machine, row[0]), row[1].parse::<usize>().unwrap());
        let range = Range::new(CpuAddr(hex(row[2])), CpuAddr(hex(row[3])));
        let parent = Parent::HostBridge { host_bridge: 0, window: 0 };
        machine.tree[function].resources[number] = Resource {
            flags: ResourceFlags(hex(row[4])),
            size: range.map_or(Bytes::ZERO, Range::size),
            align: 0,
            at: range.filter(|_| row[5] == "1").map(|range| Place { first: range.first(), parent }),
            firmware: None,
        };
    }
}

/// The recorded boots on which distances were asked for; none where the recordings are absent.
pub fn boots() -> Vec<Boot> {
    all_boots().into_iter().filter(|boot| !boot.distances.is_empty()).collect()
}

/// All recorded boots.
pub fn all_boots() -> Vec<Boot> {
    let mut all = Vec::new();
    for (folder, profile) in [("boots", Profile::Linux_6_12), ("boots73", Profile::Linux_7_3)] {
        let entries = std::fs::read_dir(conformance().join(folder)).into_iter().flatten();
        let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        all.extend(folders.iter().filter_map(|folder| Boot::read(folder, profile)));
    }
    all
}

/// Answers compared with recorded ones.
#[derive(Default)]
pub struct Tally {
    pub compared: usize,
    pub differences: Vec<String>,
}

impl Tally {
    pub fn count(&mut self, same: bool, difference: impl FnOnce() -> String) {
        self.compared += 1;
        self.differences.extend((!same).then(difference));
    }

    /// `N of N`, after asserting that nothing differs and that something was compared.
    pub fn agreed(&self) -> String {
        assert!(
            self.differences.is_empty(),
            "{} of {} differ:\n{}",
            self.differences.len(),
            self.compared,
            self.differences.join("\n")
        );
        assert!(self.compared > 0, "nothing was compared");
        format!("{0} of {0}", self.compared)
    }
}
