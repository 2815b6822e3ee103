//! Root ports removed and found again on a PC, against recordings: firmware and a first boot leave their trace
//! in the registers, then the kernel places everything behind the ports alone.

use std::collections::BTreeSet;

use peerbus_os::pci::{Platform, ResourceFlags, rescan};
use peerbus_os::{BootOptions, ConfigAccess, ConfigSpace, Profile, RulesOptions, Tree, Width, boot};
use peerbus_units::FunctionId;
use serde_json::Value;

use crate::fake::Fake;
use crate::recordings::{hex, items, lines, text};
use crate::{bars, firmware};

/// A machine some of whose ports are switched off.
struct Without<'a> {
    fake: &'a mut Fake,
    ports: &'a BTreeSet<FunctionId>,
}

impl Without<'_> {
    fn answers(&self, function: FunctionId) -> bool {
        function.bus == 0 && !self.ports.contains(&function)
    }
}

impl ConfigSpace for Without<'_> {
    fn read(&self, function: FunctionId, offset: u16, width: Width) -> u32 {
        if self.answers(function) { self.fake.read(function, offset, width) } else { width.ones() }
    }

    fn write(&mut self, function: FunctionId, offset: u16, width: Width, value: u32) {
        if self.answers(function) {
            self.fake.write(function, offset, width, value);
        }
    }
}

/// The ports that were removed: all bridges on the root bus.
fn removed(record: &Value) -> BTreeSet<FunctionId> {
    let bridges = items(&record["devices"]).iter().filter(|d| text(d, "up") == "root" && d["hdr"] == 1);
    bridges.map(|device| text(device, "bdf").parse().unwrap()).collect()
}

/// What the kernel recorded and what was decided here about one resource, when they differ.
fn difference(tree: &Tree, row: &Value) -> Option<String> {
    let id: FunctionId = row[0].as_str().unwrap().parse().unwrap();
    let number = usize::try_from(row[1].as_u64().unwrap()).unwrap();
    let (first, last) = (hex(row[2].as_str().unwrap()), hex(row[3].as_str().unwrap()));
    let Some(function) = tree.find(id) else { return Some(format!("{id} was not found")) };
    let resource = tree[function].resources[number];
    let agrees = match row[5].as_u64() {
        Some(1) => resource.range().is_some_and(|r| (r.first().0, r.last().0) == (first, last)),
        _ => {
            resource.flags.has(ResourceFlags::UNSET)
                && !resource.is_assigned()
                && resource.size.0 == last - first + 1
        }
    };
    (!agrees).then(|| format!("{id} {number}: kernel {first:x}-{last:x}, here {resource:x?}"))
}

/// Resources with an address here of which the recording knows nothing.
fn surplus(tree: &Tree, record: &Value) -> Vec<String> {
    let known: BTreeSet<_> =
        items(&record["resources"]).iter().map(|row| (row[0].as_str().unwrap(), row[1].as_u64())).collect();
    let mut surplus = Vec::new();
    for function in &tree.functions {
        for (number, resource) in function.resources.iter().enumerate().filter(|(_, r)| r.is_assigned()) {
            let key = (function.id.to_string(), u64::try_from(number).ok());
            if !known.contains(&(key.0.as_str(), key.1)) {
                surplus.push(format!("{} {number}: kernel none, here {resource:x?}", function.id));
            }
        }
    }
    surplus
}

/// What firmware placed on the root bus must be where it was recorded.
fn check_firmware(record: &Value, fake: &Fake) {
    let rows = items(&record["resources"]).iter().filter(|row| row[1].as_u64() < Some(6));
    for row in rows {
        let id: FunctionId = row[0].as_str().unwrap().parse().unwrap();
        if id.bus == 0 && !removed(record).contains(&id) {
            let register = 0x10 + 4 * u16::try_from(row[1].as_u64().unwrap()).unwrap();
            let found = u64::from(fake.read_dword(id, register) & !0xf);
            let recorded = hex(row[2].as_str().unwrap()) & 0xffff_fff0;
            assert_eq!(found, recorded, "{} {id} at {register:#x}", text(record, "name"));
        }
    }
}

/// Firmware, a first boot, and a rescan after all ports of the root bus went away and came back.
pub fn again(record: &Value, profile: Profile) -> Tree {
    let mut fake = bars::machine(record);
    let hosts = fake.hosts.clone();
    let rules = profile.rules(RulesOptions::default());
    let options = BootOptions { platform: Platform::x86(0x4000_0000), ..BootOptions::default() };
    firmware::place(&mut fake, record);
    check_firmware(record, &fake);
    boot(&mut fake, &hosts, &rules, &options);
    let ports = removed(record);
    let mut tree = boot(&mut Without { fake: &mut fake, ports: &ports }, &hosts, &rules, &options);
    rescan(&mut fake, &mut tree, &rules, &options);
    tree
}

/// Resources that agree and all there are, with a line printed for each that does not.
pub fn compared(tree: &Tree, record: &Value) -> (usize, usize) {
    let is_bridge = |row: &Value| {
        let id = row[0].as_str().unwrap().parse().unwrap();
        tree.find(id).is_some_and(|function| tree[function].is_bridge())
    };
    // Numbers 13 to 15 of other functions are what the chipset decodes on its own.
    let rows = items(&record["resources"]).iter();
    let rows: Vec<_> = rows.filter(|row| row[1].as_u64() < Some(13) || is_bridge(row)).collect();
    let wrong: Vec<_> = rows.iter().filter_map(|row| difference(tree, row)).collect();
    let surplus = surplus(tree, record);
    wrong.iter().chain(&surplus).for_each(|line| println!("{} {line}", text(record, "name")));
    (rows.len() - wrong.len(), rows.len() + surplus.len())
}

fn check(file: &str, profile: Profile) {
    let (mut right, mut all) = (0, 0);
    let records = lines(file);
    for record in &records {
        let agreement = compared(&again(record, profile), record);
        (right, all) = (right + agreement.0, all + agreement.1);
    }
    println!("{file} {profile}: {right} of {all} resources of {} machines", records.len());
    assert_eq!(right, all, "{file}");
}

#[test]
fn linux_6_12_places_everything_behind_found_ports_alike() {
    check("random/x86-rescan.jsonl", Profile::Linux_6_12);
}

#[test]
fn linux_7_3_places_everything_behind_found_ports_alike() {
    check("random73/x86-rescan.jsonl", Profile::Linux_7_3);
}

/// Looking again finds nothing new, and nothing that has an address moves.
#[test]
fn a_rescan_without_news_moves_nothing() {
    for (file, profile) in
        [("random/arm64-bars.jsonl", Profile::Linux_6_12), ("random73/arm64-bars.jsonl", Profile::Linux_7_3)]
    {
        for record in lines(file) {
            let mut fake = bars::machine(&record);
            let hosts = fake.hosts.clone();
            let rules = profile.rules(RulesOptions::default());
            let options = BootOptions::default();
            let before = boot(&mut fake, &hosts, &rules, &options);
            let mut after = before.clone();
            rescan(&mut fake, &mut after, &rules, &options);
            assert_eq!(before.functions.len(), after.functions.len());
            for (old, new) in before.functions.iter().zip(&after.functions) {
                for (number, (old, now)) in old.resources.iter().zip(&new.resources).enumerate() {
                    let moved = old.is_assigned() && old.range() != now.range();
                    assert!(!moved, "{} {number}: {old:x?} became {now:x?}", new.id);
                }
            }
        }
    }
}
