//! Recorded machines whose addresses the kernel alone chose: each is built from what its functions asked for,
//! booted, and every resource compared with what the kernel made of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use peerbus_os::pci::{BootOptions, FunctionIndex, HostBridge, Platform, Resource, ResourceFlags, ResourceKind};
use peerbus_os::pci::{Tree, Window, boot};
use peerbus_os::{Profile, RulesOptions};
use peerbus_units::{BusAddr, CpuAddr, FunctionId, Range};
use serde_json::Value;

use crate::fake::{BarKind, Below, Device, Fake, Node};

/// Lowest number of a bridge's windows.
const WINDOWS: u64 = 13;

fn recordings(name: &str) -> Option<Vec<Value>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no recordings at {}", path.display());
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn rows<'a>(machine: &'a Value, key: &str) -> &'a [Value] {
    machine[key].as_array().unwrap()
}

fn hex(value: &Value) -> u64 {
    u64::from_str_radix(text(value).trim_start_matches("0x"), 16).unwrap()
}

fn small<T: TryFrom<u64>>(value: u64) -> T {
    T::try_from(value).ok().unwrap()
}

fn windows(machine: &Value) -> Vec<Window> {
    let kinds = rows(machine, "windows").iter().filter_map(|window| {
        let kind = match hex(&window[2]) & 0x1f00 {
            0x100 => ResourceKind::Io,
            0x200 => ResourceKind::Mem,
            _ => return None,
        };
        let cpu = Range::new(CpuAddr(hex(&window[0])), CpuAddr(hex(&window[1]))).unwrap();
        Some(Window { cpu, bus: BusAddr(cpu.first().0), kind })
    });
    kinds.collect()
}

fn bar_kind(name: &str) -> BarKind {
    match name {
        "io" => BarKind::Io,
        "mem" => BarKind::Mem,
        "mem pref" => BarKind::MemPrefetch,
        "mem 64bit" => BarKind::Mem64,
        "mem 64bit pref" => BarKind::Mem64Prefetch,
        other => panic!("unknown kind of BAR {other:?}"),
    }
}

/// The function a row of `devices` describes, without addresses.
fn device(machine: &Value, row: &Value) -> Device {
    let (vendor, device) = text(&row["id"]).split_once(':').unwrap();
    let [vendor, device] = [vendor, device].map(|id| u16::from_str_radix(id, 16).unwrap());
    let port_type = row["ptype"].as_i64().unwrap();
    let mut found = match row["hdr"].as_u64().unwrap() {
        0 => Device::endpoint(vendor, device, u32::from_str_radix(text(&row["cls"]), 16).unwrap()),
        _ => Device::bridge(vendor, device),
    };
    if let Ok(port_type) = u8::try_from(port_type) {
        found = found.pcie(port_type);
        if port_type == 4 || port_type == 6 {
            // The emulated root and downstream ports all have hot-plug slots.
            found = found.hotplug_slot();
        }
    }
    for bar in rows(machine, "bars").iter().filter(|bar| bar[0] == row["bdf"]) {
        let index: usize = small(bar[1].as_u64().unwrap());
        found = found.bar(index, bar_kind(text(&bar[2])), bar[3].as_u64().unwrap());
    }
    let slot = |bdf: &str| bdf.split_once('.').map(|(slot, _)| slot.to_owned());
    let own = slot(text(&row["bdf"]));
    if rows(machine, "devices").iter().filter(|other| slot(text(&other["bdf"])) == own).count() > 1 {
        found = found.multifunction();
    }
    found
}

/// What stayed plugged in while the kernel removed and found the root ports again: firmware placed it.
fn placed(machine: &Value, row: &Value, mut device: Device) -> Device {
    for resource in rows(machine, "resources").iter().filter(|resource| resource[0] == row["bdf"]) {
        let number = resource[1].as_u64().unwrap();
        if number < 6 {
            device = device.firmware_bar(small(number), hex(&resource[2]));
        }
    }
    device.command(0x3)
}

fn build(machine: &Value, keeps_root_devices: bool) -> Fake {
    let mut fake = Fake::default();
    let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
    for row in rows(machine, "devices") {
        let id: FunctionId = text(&row["bdf"]).parse().unwrap();
        let below = match text(&row["up"]) {
            "root" => Below::Root(id.domain, id.bus),
            above => Below::Bridge(nodes[above]),
        };
        let mut device = device(machine, row);
        if keeps_root_devices && matches!(below, Below::Root(..)) && row["hdr"] == 0 {
            device = placed(machine, row, device);
        }
        nodes.insert(text(&row["bdf"]), fake.add(below, id.device(), id.function(), device));
    }
    fake
}

/// What the kernel said and what we say about one resource, when they differ.
fn difference(tree: &Tree, recorded: &Value) -> Option<String> {
    let id: FunctionId = text(&recorded[0]).parse().unwrap();
    let number = recorded[1].as_u64().unwrap();
    let (first, last) = (hex(&recorded[2]), hex(&recorded[3]));
    let assigned = recorded[5] == 1;
    let expected = Range::new(CpuAddr(first), CpuAddr(last)).filter(|_| assigned);
    let Some(function) = tree.find(id) else { return Some(format!("{id} was not found")) };
    let resource: &Resource = &tree[function].resources[small::<usize>(number)];
    let unset = resource.flags.has(ResourceFlags::UNSET) && resource.size.0 == last - first + 1;
    let agrees = resource.range() == expected && (assigned || unset);
    (!agrees).then(|| format!("{id} {number}: kernel {expected:?} [{first:#x}-{last:#x}], here {resource:?}"))
}

/// Resources that have an address here and none in the recording.
fn additional(tree: &Tree, machine: &Value) -> Vec<String> {
    let known = |id: FunctionId, number: usize| {
        let (id, number) = (id.to_string(), u64::try_from(number).unwrap());
        rows(machine, "resources").iter().any(|r| text(&r[0]) == id && r[1].as_u64() == Some(number))
    };
    let functions = (0..tree.functions.len()).map(|index| &tree[FunctionIndex(index)]);
    let all = functions.flat_map(|f| f.resources.iter().enumerate().map(move |(number, r)| (f.id, number, r)));
    all.filter(|(id, number, resource)| resource.is_assigned() && !known(*id, *number))
        .map(|(id, number, resource)| format!("{id} {number}: kernel none, here {resource:?}"))
        .collect()
}

fn check(name: &str, profile: Profile, platform: &Platform, rescan: bool) {
    let Some(machines) = recordings(name) else { return };
    let (mut right, mut all, mut machines_right) = (0, 0, 0);
    for machine in &machines {
        let mut fake = build(machine, rescan);
        let host = HostBridge { domain: 0, bus_first: 0, bus_last: 0xff, windows: windows(machine) };
        let options = BootOptions { platform: platform.clone(), ..BootOptions::default() };
        let tree = boot(&mut fake, &[host], &profile.rules(RulesOptions::default()), &options);
        let bridge_of = |bdf: &Value| {
            let id: FunctionId = text(bdf).parse().unwrap();
            tree.find(id).is_some_and(|index| tree[index].is_bridge())
        };
        // Numbers 13 to 15 of other functions are ranges the chipset decodes on its own.
        let wanted = rows(machine, "resources").iter();
        let wanted: Vec<_> = wanted.filter(|r| r[1].as_u64() < Some(WINDOWS) || bridge_of(&r[0])).collect();
        let differences: Vec<_> = wanted.iter().filter_map(|recorded| difference(&tree, recorded)).collect();
        let additional = additional(&tree, machine);
        all += wanted.len() + additional.len();
        right += wanted.len() - differences.len();
        machines_right += usize::from(differences.is_empty() && additional.is_empty());
        for line in differences.iter().chain(&additional) {
            println!("{} {line}", text(&machine["name"]));
        }
    }
    println!("{name} as {profile}: {right} of {all} resources, {machines_right} of {} machines", machines.len());
    assert_eq!(right, all, "{name}");
}

fn pc() -> Platform {
    Platform::x86(0x4000_0000)
}

#[test]
fn arm64_without_firmware_6_12() {
    check("random/arm64-bars.jsonl", Profile::Linux_6_12, &Platform::generic(), false);
}

#[test]
fn arm64_without_firmware_7_3() {
    check("random73/arm64-bars.jsonl", Profile::Linux_7_3, &Platform::generic(), false);
}

#[test]
fn x86_rescan_6_12() {
    check("random/x86-rescan.jsonl", Profile::Linux_6_12, &pc(), true);
}

#[test]
fn x86_rescan_7_3() {
    check("random73/x86-rescan.jsonl", Profile::Linux_7_3, &pc(), true);
}
