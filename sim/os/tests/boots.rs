//! Every recorded boot: PCs whose firmware placed everything first, with one host bridge or several, arm64
//! machines where the kernel did, machines whose ports were removed and found again, and one that is known
//! by its listing alone.

use std::path::{Path, PathBuf};

use peerbus_os::pci::Platform;
use peerbus_os::{BootOptions, Profile, RulesOptions, Tree, boot};
use serde_json::{Value, json};

use crate::recordings::hex;
use crate::rescan::{again, compared};
use crate::{bars, firmware, listing};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance").join(name)
}

/// Columns of a table, without the header line.
fn table(path: &Path) -> Option<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(path).ok()?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Some(lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

/// `bars` of a row of `resources.tsv`.
fn bar(row: &[String]) -> Value {
    let flags = hex(&row[4]);
    let size = hex(&row[3]) - hex(&row[2]) + 1;
    let memory = match (flags & 0x10_0000 != 0, flags & 0x2000 != 0) {
        (false, false) => "mem",
        (false, true) => "mem pref",
        (true, false) => "mem 64bit",
        (true, true) => "mem 64bit pref",
    };
    json!([row[0], number(&row[1]), if flags & 0x100 != 0 { "io" } else { memory }, size])
}

/// Sizes of the large BARs of the emulator's test devices, in the order of its command line.
fn large_bars(arguments: &str) -> Vec<u64> {
    let arguments = arguments.replace("\\,", ",");
    let devices = arguments.split("-device ").filter(|device| device.starts_with("pci-testdev"));
    let sizes = devices.map(|device| {
        let Some((_, size)) = device.trim().split_once("membar=") else { return 0 };
        let size = size.split(',').next().unwrap_or_default();
        let (digits, unit) = size.split_at(size.len() - 1);
        let shift = "KMGT".find(unit).unwrap() * 10 + 10;
        number(digits) << shift
    });
    sizes.collect()
}

/// Host bridges in the kernel's order, each with its root bus and windows.
fn hosts(oracle: &str) -> Vec<Value> {
    let field = |line: &str, key: &str| {
        line.split(' ').find_map(|word| word.strip_prefix(key).map(str::to_owned)).unwrap_or_default()
    };
    let bus_of = |line: &str| line.split(' ').nth(1).map(str::to_owned).unwrap_or_default();
    let hosts = oracle.lines().filter(|line| line.starts_with("HOST ")).map(bus_of);
    let windows_of = |bus: &str| -> Vec<Value> {
        let windows = oracle.lines().filter(|line| line.starts_with("WIN ") && bus_of(line) == bus);
        windows
            .map(|line| json!([field(line, "start="), field(line, "end="), field(line, "flags=")]))
            .collect()
    };
    hosts.map(|bus| json!({"bus": bus, "windows": windows_of(&bus)})).collect()
}

/// A boot in the shape of a line of `random/*.jsonl`; `None` where tables are missing.
fn record(case: &Path) -> Option<Value> {
    let description = description(case)?;
    let (devices, resources) = (table(&case.join("devices.tsv"))?, table(&case.join("resources.tsv"))?);
    let oracle = std::fs::read_to_string(case.join("oracle.txt")).ok()?;
    let mut asked: Vec<Value> =
        resources.iter().filter(|row| number(&row[1]) < 6).map(|row| bar(row)).collect();
    let test_devices = devices.iter().filter(|row| row[1] == "1b36:0005");
    let sizes = large_bars(description["qemu_args"].as_str().unwrap());
    for (row, size) in test_devices.zip(sizes).filter(|(_, size)| *size > 0) {
        match asked.iter().find(|bar| bar[0] == row[0] && bar[1] == 2) {
            Some(placed) => assert_eq!(placed[3], size, "{} of {}", row[0], case.display()),
            None => asked.push(json!([row[0], 2, "mem 64bit pref", size])),
        }
    }
    // Firmware goes by number; a port that was found again stands last.
    asked.sort_by_key(|bar| (bar[0].as_str().map(str::to_owned), bar[1].as_u64()));
    let devices: Vec<_> = devices
        .iter()
        .map(|row| json!({"bdf": row[0], "id": row[1], "cls": row[2], "hdr": number(&row[3]), "ptype": row[4].parse::<i64>().unwrap(), "up": row[5]}))
        .collect();
    let resources: Vec<_> = resources
        .iter()
        .map(|row| json!([row[0], number(&row[1]), row[2], row[3], row[4], number(&row[5])]))
        .collect();
    let name = case.file_name()?.to_string_lossy().into_owned();
    Some(json!({
        "name": name, "hosts": hosts(&oracle), "devices": devices, "bars": asked, "resources": resources,
    }))
}

fn description(case: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(case.join("case.json")).ok()?).ok()
}

fn decide(record: &Value, description: &Value, profile: Profile) -> Tree {
    let text = |key: &str| description[key].as_str().unwrap_or_default();
    let pc = text("qemu_args").contains("-M q35");
    if pc && text("pre").contains("rescan") {
        return again(record, profile);
    }
    let mut fake = bars::machine(record);
    let mut options = BootOptions::default();
    if pc {
        options.platform = Platform::x86(0x4000_0000);
        firmware::place(&mut fake, record);
    }
    let hosts = fake.hosts.clone();
    boot(&mut fake, &hosts, &profile.rules(RulesOptions::default()), &options)
}

fn profile(description: &Value) -> Profile {
    let kernel = description["kernel"].as_str().unwrap();
    let version = kernel.split(' ').find(|word| word.contains('.') && word.starts_with(char::is_numeric));
    match version {
        Some(version) if version.starts_with("6.1.") => Profile::Linux_6_1,
        Some(version) if version.starts_with("6.12.") => Profile::Linux_6_12,
        _ => Profile::Linux_7_3,
    }
}

fn check(name: &str) {
    let Ok(cases) = std::fs::read_dir(folder(name)) else {
        println!("skipped: {name} is not available");
        return;
    };
    let mut cases: Vec<_> = cases.map(|case| case.unwrap().path()).collect();
    cases.sort();
    let (mut right, mut all, mut boots) = (0, 0, 0);
    for case in &cases {
        let description = description(case).unwrap();
        let profile = profile(&description);
        let agreement = match record(case) {
            Some(record) => Some(compared(&decide(&record, &description, profile), &record)),
            None => listing::compared(case, profile),
        };
        let Some(agreement) = agreement else {
            println!("{} left out: neither tables nor a listing of its registers", case.display());
            continue;
        };
        (right, all, boots) = (right + agreement.0, all + agreement.1, boots + 1);
    }
    println!("{name}: {right} of {all} resources in {boots} of {} boots", cases.len());
    assert_eq!((right, boots), (all, cases.len()), "{name}");
}

#[test]
fn recorded_boots_6_x() {
    check("boots");
}

#[test]
fn recorded_boots_7_3() {
    check("boots73");
}
