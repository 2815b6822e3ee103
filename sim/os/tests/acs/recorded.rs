//! Words of every recorded boot.

use std::path::Path;

use peerbus_os::parameters::IommuSwitch;
use peerbus_os::pci::acs::{AcsEvent, AcsParameters, acs_ports_bound, acs_program};
use peerbus_os::pci::{PcieType, acs_control, enumerate};
use peerbus_os::{Parameters, Profile, Tree};
use peerbus_units::FunctionId;
use serde_json::Value;

use super::{parameters, rules};
use crate::fake::{Above, Fake};
use crate::recordings::{hex, ids};

/// Rows of a recorded table.
fn rows(path: &Path) -> Option<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(path).ok()?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Some(lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// The machine of `devices.tsv`, every function with ACS as firmware leaves it: all off.
fn recorded_machine(devices: &[Vec<String>], words: &[Vec<String>]) -> (Fake, Tree) {
    let mut fake = Fake::default();
    let mut positions = std::collections::BTreeMap::new();
    let mut roots = std::collections::BTreeMap::new();
    let root_buses: Vec<FunctionId> =
        devices.iter().filter(|row| !row[5].contains(':')).map(|row| row[0].parse().unwrap()).collect();
    for row in devices {
        let id: FunctionId = row[0].parse().unwrap();
        let above = match positions.get(&row[5]) {
            Some(bridge) => Above::Bridge(*bridge),
            None => {
                let next = root_buses.iter().map(|id| id.bus).filter(|bus| *bus > id.bus).min();
                let last = next.map_or(0xff, |next| next - 1);
                Above::Host(
                    *roots.entry(id.bus).or_insert_with(|| fake.host(id.domain, id.bus, last, Vec::new())),
                )
            }
        };
        let class = u32::from_str_radix(row[2].trim_start_matches("0x"), 16).unwrap();
        let position = match row[3].as_str() {
            "1" => fake.bridge(above, id.device(), id.function(), ids(&row[1])),
            _ => fake.function(above, id.device(), id.function(), ids(&row[1]), class),
        };
        if let Ok(kind) = row[4].parse::<u8>() {
            fake.pcie(position, PcieType::from_number(kind));
        }
        if let Some(word) = words.iter().find(|word| word[1] == row[0]) {
            fake.acs(position, u16::try_from(hex(&word[3])).unwrap(), 0);
        }
        positions.insert(row[0].clone(), position);
    }
    for row in devices.iter().filter(|row| row[3] == "1") {
        let below = |of: &str| -> Vec<FunctionId> {
            devices.iter().filter(|row| row[5] == of).map(|row| row[0].parse().unwrap()).collect()
        };
        fn last(below: &dyn Fn(&str) -> Vec<FunctionId>, of: &str) -> u8 {
            below(of).iter().map(|id| id.bus.max(last(below, &id.to_string()))).max().unwrap_or(0)
        }
        if let Some(child) = below(&row[0]).first() {
            let own: FunctionId = row[0].parse().unwrap();
            fake.bus_numbers(positions[&row[0]], own.bus, child.bus, last(&below, &row[0]));
        }
    }
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    (fake, tree)
}

/// Rows that agree, and rows of a boot; later ones show words written by hand.
fn boot_words(case: &Path) -> Option<(usize, usize)> {
    let description: Value =
        serde_json::from_str(&std::fs::read_to_string(case.join("case.json")).ok()?).unwrap();
    let (devices, words) = (rows(&case.join("devices.tsv"))?, rows(&case.join("acs.tsv"))?);
    let text = |key: &str| description[key].as_str().unwrap_or_default();
    let cmdline = text("cmdline");
    let parsed = Parameters::parse(cmdline);
    let hardware = text("qemu_args");
    let intel = parsed.iommu.intel == Some(IommuSwitch::On) && hardware.contains("intel-iommu");
    let amd = hardware.contains("amd-iommu");
    let parameters = AcsParameters {
        device_tree: hardware.contains("-M virt"),
        amd_iommu_described: amd,
        ..parameters(cmdline, intel || amd)
    };
    let boot: Vec<_> = words.iter().filter(|row| row[0].starts_with("boot")).cloned().collect();
    let (mut fake, mut tree) = recorded_machine(&devices, &boot);
    let rules = rules(kernel(text("kernel")));
    acs_program(&mut tree, &mut fake, &rules, &parameters, 0);
    acs_ports_bound(&mut tree, &mut fake, &rules, &parameters, 0);
    assert_eq!(logged(&tree), recorded_lines(case), "{case:?}");
    let mut right = 0;
    for row in &boot {
        let function = tree.find(row[1].parse().unwrap()).unwrap_or_else(|| panic!("{} in {case:?}", row[1]));
        let found = acs_control(&tree, &fake, function).map(|word| u64::from(word.0));
        let same = found == Some(hex(&row[4]));
        right += usize::from(same);
        if !same {
            println!("{} {}: {found:x?}, recorded {}", case.display(), row[1], row[4]);
        }
    }
    let later = words.len() - boot.len();
    if later > 0 {
        println!("{}: {later} rows left out, written by hand after the boot", case.display());
    }
    Some((right, boot.len()))
}

/// Functions and words of the lines that a list caused, in order.
fn logged(tree: &Tree) -> Vec<(FunctionId, u16)> {
    let set = |event: &AcsEvent| match event {
        AcsEvent::Set { function, word, .. } => Some((tree[*function].id, word.0)),
        _ => None,
    };
    tree.acs.log.iter().filter_map(set).collect()
}

fn recorded_lines(case: &Path) -> Vec<(FunctionId, u16)> {
    let log = std::fs::read_to_string(case.join("dmesg.txt")).unwrap_or_default();
    let said = |line: &str| {
        let (whose, word) = line.split_once(": Configured ACS to ")?;
        let id = whose.split(' ').next_back()?.parse().ok()?;
        Some((id, u16::try_from(hex(word.trim())).ok()?))
    };
    log.lines().filter_map(said).collect()
}

fn kernel(version: &str) -> Profile {
    match version.split(' ').find(|word| word.contains('.') && word.starts_with(char::is_numeric)) {
        Some(version) if version.starts_with("6.1.") => Profile::Linux_6_1,
        Some(version) if version.starts_with("6.12.") => Profile::Linux_6_12,
        _ => Profile::Linux_7_3,
    }
}

/// Words that kernels set at boot on hardware whose words were all 0.
#[test]
fn every_recorded_word() {
    let conformance = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    for folder in ["boots", "boots73"] {
        let Ok(cases) = std::fs::read_dir(conformance.join(folder)) else {
            println!("skipped: {folder} is not available");
            continue;
        };
        let mut cases: Vec<_> = cases.map(|case| case.unwrap().path()).collect();
        cases.sort();
        let found: Vec<_> = cases.iter().filter_map(|case| boot_words(case)).collect();
        let (right, all) = found.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        println!("{folder}: {right} of {all} control words in {} of {} boots", found.len(), cases.len());
        assert_eq!(right, all, "{folder}");
        assert!(all > 0);
    }
}
