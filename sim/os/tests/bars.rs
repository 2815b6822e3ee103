//! Placement against recordings of kernels that placed everything themselves (arm64, no firmware).

use std::collections::BTreeMap;

use peerbus_os::pci::{PcieType, ResourceFlags, ResourceRef};
use peerbus_os::{BootOptions, ConfigAccess, Profile, ResourceKind, RulesOptions, Tree, Width, boot};
use peerbus_units::FunctionId;
use serde_json::Value;

use crate::fake::{Above, Fake, window};
use crate::recordings::{hex, ids, items, lines, text};

/// The ports of the emulator that have a hot-plug capable slot: its root port and its switch's downstream port.
const HOTPLUG_PORTS: [(u16, u16); 2] = [(0x1b36, 0x000c), (0x104c, 0x8233)];

/// A host bridge with these windows; among them is the range of its bus numbers.
fn host_bridge(fake: &mut Fake, bus: u8, windows: &Value) -> usize {
    let (mut found, mut last) = (Vec::new(), 0xff);
    for row in items(windows) {
        let value = |column: usize| hex(row[column].as_str().unwrap());
        let flags = ResourceFlags(value(2));
        if flags.is_io() || flags.is_mem() {
            found.push(window(value(0), value(1), ResourceKind::of(flags)));
        } else {
            last = u8::try_from(value(1)).unwrap();
        }
    }
    fake.host(0, bus, last, found)
}

pub fn machine(record: &Value) -> Fake {
    let mut fake = Fake::default();
    let mut roots: BTreeMap<u8, usize> = BTreeMap::new();
    match &record["hosts"] {
        Value::Array(hosts) => hosts.iter().for_each(|host| {
            let bus = hex(&text(host, "bus")[5..]).try_into().unwrap();
            roots.insert(bus, host_bridge(&mut fake, bus, &host["windows"]));
        }),
        _ => {
            roots.insert(0, host_bridge(&mut fake, 0, &record["windows"]));
        }
    }
    let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
    for device in items(&record["devices"]) {
        let id: FunctionId = text(device, "bdf").parse().unwrap();
        let above = match positions.get(text(device, "up")) {
            Some(bridge) => Above::Bridge(*bridge),
            None => Above::Host(roots[&id.bus]),
        };
        let class = u32::from_str_radix(text(device, "cls"), 16).unwrap();
        let kind = device["ptype"].as_i64().and_then(|t| u8::try_from(t).ok()).map(PcieType::from_number);
        let ids = ids(text(device, "id"));
        let position = match device["hdr"].as_u64() {
            Some(1) => match kind {
                Some(kind) => {
                    fake.port(above, id.device(), id.function(), kind, HOTPLUG_PORTS.contains(&ids))
                }
                None => fake.bridge(above, id.device(), id.function(), ids),
            },
            _ => fake.function(above, id.device(), id.function(), ids, class),
        };
        fake.set_ids(position, ids);
        if let (Some(kind), Some(0)) = (kind, device["hdr"].as_u64()) {
            fake.pcie(position, kind);
        }
        positions.insert(text(device, "bdf"), position);
    }
    for bar in items(&record["bars"]) {
        let function = positions[bar[0].as_str().unwrap()];
        let number = u16::try_from(bar[1].as_u64().unwrap()).unwrap();
        let kind = bar[2].as_str().unwrap();
        let low = if kind == "io" {
            1
        } else {
            u32::from(kind.contains("pref")) * 8 + u32::from(kind.contains("64bit")) * 4
        };
        if number < 6 {
            fake.bar(function, number, bar[3].as_u64().unwrap(), low);
        }
    }
    fake
}

/// What a kernel recorded about one resource: first, last, flags, assigned.
type Row = (u64, u64, u64, bool);
type Rows = BTreeMap<(FunctionId, usize), Row>;

fn recorded(record: &Value) -> Rows {
    let rows = items(&record["resources"]).iter();
    rows.map(|row| {
        let id: FunctionId = row[0].as_str().unwrap().parse().unwrap();
        let number = usize::try_from(row[1].as_u64().unwrap()).unwrap();
        let value = |column: usize| hex(row[column].as_str().unwrap());
        ((id, number), (value(2), value(3), value(4), row[5].as_u64() == Some(1)))
    })
    .collect()
}

fn decided(tree: &Tree) -> Rows {
    let functions = tree.functions.iter();
    let all = functions.flat_map(|f| f.resources.iter().enumerate().map(|(number, r)| (f.id, number, r)));
    all.filter_map(|(id, number, resource)| {
        let range = resource.range()?;
        Some(((id, number), (range.first().0, range.last().0, resource.flags.0, true)))
    })
    .collect()
}

/// Numbers of addresses of BARs and windows, and of sizes with flags, that agree and of those there are.
#[derive(Default, Debug, PartialEq, Eq)]
struct Agreement {
    bars: (usize, usize),
    windows: (usize, usize),
    flags: (usize, usize),
}

fn count(counter: &mut (usize, usize), agrees: bool) {
    counter.0 += usize::from(agrees);
    counter.1 += 1;
}

fn compare(name: &str, record: &Value, profile: Profile, agreement: &mut Agreement) {
    let mut fake = machine(record);
    let hosts = fake.hosts.clone();
    let rules = profile.rules(RulesOptions::default());
    let tree = boot(&mut fake, &hosts, &rules, &BootOptions { reassign: true, ..BootOptions::default() });
    let order: Vec<_> = tree.functions.iter().map(|f| f.id.to_string()).collect();
    let devices: Vec<_> = items(&record["devices"]).iter().map(|d| text(d, "bdf").to_string()).collect();
    assert_eq!(order, devices, "{name}: functions");
    let expected = recorded(record);
    let found = decided(&tree);
    // Every BAR a function asks for, placed or not, and every window the kernel has.
    let asked = items(&record["bars"]).iter().map(|bar| {
        (bar[0].as_str().unwrap().parse().unwrap(), usize::try_from(bar[1].as_u64().unwrap()).unwrap())
    });
    let keys: std::collections::BTreeSet<_> =
        asked.chain(expected.keys().copied()).chain(found.keys().copied()).collect();
    for key in keys {
        let placed = expected.get(&key).filter(|row| row.3);
        let ours = found.get(&key);
        let agrees = placed.map(|row| (row.0, row.1)) == ours.map(|row| (row.0, row.1));
        let counter = if key.1 < 13 { &mut agreement.bars } else { &mut agreement.windows };
        count(counter, agrees);
        if !agrees {
            println!("{name} {} {}: kernel {placed:x?}, here {ours:x?}", key.0, key.1);
            continue;
        }
        // A window without an address stays visible with the size it wanted, or not at all.
        let kept = tree.resource(ResourceRef { function: tree.find(key.0).unwrap(), number: key.1 });
        let kept = (!kept.flags.is_empty()).then_some((kept.size.0, kept.flags.0));
        if let Some((first, last, flags, _)) = expected.get(&key) {
            count(&mut agreement.flags, kept == Some((last - first + 1, *flags)));
            if kept != Some((last - first + 1, *flags)) {
                println!("{name} {} {}: kernel {flags:x}, here {kept:x?}", key.0, key.1);
            }
        }
    }
    for (id, number) in found.keys().filter(|(_, number)| *number < 6) {
        let register = u16::try_from(0x10 + 4 * number).unwrap();
        let bus = u64::from(fake.read_dword(*id, register) & !0xf);
        assert_eq!(bus, found[&(*id, *number)].0 & 0xffff_fff0, "{name}: {id} BAR {number} as written");
        assert_eq!(peerbus_os::ConfigSpace::read(&fake, *id, 4, Width::Word) & 4, 4);
    }
}

fn check(file: &str, profile: Profile) {
    let records = lines(file);
    let mut agreement = Agreement::default();
    for record in &records {
        compare(text(record, "name"), record, profile, &mut agreement);
    }
    let Agreement { bars, windows, flags } = agreement;
    println!(
        "{file} {profile}: BARs {} of {}, windows {} of {}, sizes and flags {} of {}",
        bars.0, bars.1, windows.0, windows.1, flags.0, flags.1
    );
    assert_eq!((bars.0, windows.0, flags.0), (bars.1, windows.1, flags.1), "{file}");
}

#[test]
fn linux_6_12_places_everything_alike() {
    check("random/arm64-bars.jsonl", Profile::Linux_6_12);
}

#[test]
fn linux_7_3_places_everything_alike() {
    check("random73/arm64-bars.jsonl", Profile::Linux_7_3);
}
