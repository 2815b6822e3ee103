//! What a booted kernel said about every ordered pair of random machines, with random ACS words and ids.

use peerbus_os::pci::FunctionIndex;
use peerbus_os::{CpuIdentity, MapType, Profile};
use serde_json::Value;

use super::captures::{Listed, Tally, build, conformance, cpu, find, items, set_acs, set_ids, text};
use super::machine::Machine;

/// Brings ACS words and ids to where they were in a phase. What a phase does not mention stayed as it was.
pub fn enter(machine: &mut Machine, phase: &Value) {
    if let Some(words) = phase["acs"].as_object() {
        set_acs(
            machine,
            words.iter().map(|(id, words)| (id.as_str(), [0, 1].map(|word| words[word].as_u64().unwrap()))),
        );
    }
    for spoofed in items(&phase["spoof"]) {
        let function = find(machine, text(&spoofed[0]));
        set_ids(machine, function, text(&spoofed[1]));
    }
}

/// The recorded machine, without ACS words.
pub fn machine(recorded: &Value) -> Machine {
    build(items(&recorded["devices"]).map(|device| Listed {
        id: text(&device["bdf"]).parse().unwrap(),
        ids: text(&device["id"]),
        pcie_type: device["ptype"].as_i64().unwrap(),
        above: text(&device["up"]),
    }))
}

/// Compares types, distances and blamed functions of one phase.
fn compare(
    machine: &Machine,
    cpu: &CpuIdentity,
    profile: Profile,
    recorded: &Value,
    phase: &Value,
    tally: &mut Tally,
) {
    let endpoints: Vec<_> = items(&recorded["endpoints"]).map(|id| find(machine, text(id))).collect();
    for (row, provider) in endpoints.iter().enumerate() {
        for (column, client) in endpoints.iter().enumerate() {
            let found = machine.resolve(cpu, profile, *provider, *client);
            let letter = match found.map_type {
                MapType::BusAddr => b'B',
                MapType::ThruHostBridge => b'H',
                MapType::NotSupported => b'N',
            };
            let name = |function: &FunctionIndex| machine.tree[*function].id.to_string();
            let blamed: Vec<String> = found.redirecting().iter().map(name).collect();
            let expected: Vec<String> =
                items(&phase["redir"][format!("{row},{column}")]).map(|id| text(id).into()).collect();
            let same = text(&phase["types"][row]).as_bytes()[column] == letter
                && phase["dist"][row][column].as_u64() == Some(u64::from(found.distance))
                && blamed == expected;
            let (name, tag) = (&recorded["name"], &phase["tag"]);
            tally.count(same, || {
                format!(
                    "{name} {tag} {profile}: {provider:?} to {client:?} gave {found:?}, blamed {expected:?}"
                )
            });
        }
    }
}

#[test]
fn random_machines_resolve_as_recorded() {
    let path = conformance().join("random/p2p.jsonl");
    let Ok(lines) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is absent", path.display());
        return;
    };
    let (mut tally, mut machines, mut phases) = (Tally::default(), 0, 0);
    for line in lines.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let mut machine = machine(&recorded);
        for host in items(&recorded["hosts"]).filter(|host| host["first"] != "none") {
            let first = find(&machine, text(&host["first"]));
            assert_eq!(machine.tree[machine.tree[first].bus].devices[0], first);
        }
        let cpu = cpu(&recorded["cpu"]);
        for phase in items(&recorded["phases"]) {
            enter(&mut machine, phase);
            for profile in [Profile::Linux_6_12, Profile::Linux_7_3] {
                compare(&machine, &cpu, profile, &recorded, phase, &mut tally);
            }
            phases += 1;
        }
        machines += 1;
    }
    println!("random machines: {} ({machines} machines, {phases} phases, 2 profiles)", tally.agreed());
}
