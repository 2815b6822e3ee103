//! Every shipped topology boots, is planned and resolved; the hardware decodes what was placed; twice the same bytes.

use std::path::PathBuf;

use peerbus_machine::{Catalogue, Machine, load_machine};
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::{AcsPolicy, KernelSettings, ProfileName};
use peerbus_system::p2p::{matrix, render_matrix};
use peerbus_system::plan::{plan, render_plan};

use crate::boot::check_machine;

/// File name and machine of every shipped topology, by name.
pub fn shipped() -> Vec<(String, Machine)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topologies"));
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "ron")).collect();
    files.sort();
    let catalogue = Catalogue::embedded();
    let load = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (machine, diagnostics) =
            load_machine(&std::fs::read_to_string(&path).unwrap(), &name, &catalogue);
        (name.clone(), machine.unwrap_or_else(|| panic!("{name}: {diagnostics:?}")))
    };
    files.into_iter().map(load).collect()
}

#[test]
fn all_boot_plan_and_resolve() {
    let machines = shipped();
    assert!(!machines.is_empty());
    for (name, machine) in &machines {
        for profile in ProfileName::ALL {
            for acs in [AcsPolicy::FirmwareDefault, AcsPolicy::Off, AcsPolicy::On] {
                let documents = || {
                    let booted = boot(
                        machine,
                        &KernelSettings { profile, acs, ..KernelSettings::default() },
                        &BootOptions::default(),
                    );
                    check_machine(machine, &booted, &format!("{name} {profile:?} {acs:?}"));
                    let (plan, matrix) = (plan(machine, &booted), matrix(machine, &booted));
                    let lost: Vec<_> =
                        plan.functions.iter().filter(|function| function.function.is_none()).collect();
                    assert!(lost.is_empty(), "{name}: not found: {lost:?}");
                    let json =
                        (serde_json::to_string(&plan).unwrap(), serde_json::to_string(&matrix).unwrap());
                    (render_plan(&plan), render_matrix(&matrix, false), json)
                };
                assert_eq!(documents(), documents(), "{name}");
            }
        }
        let booted = boot(machine, &KernelSettings::default(), &BootOptions { reassign: true });
        check_machine(machine, &booted, &format!("{name} reassigned"));
    }
}

/// Functions that a file gives an id answer there.
#[test]
fn stated_ids_are_kept() {
    for (name, machine) in &shipped() {
        let booted = boot(machine, &KernelSettings::default(), &BootOptions::default());
        for index in machine.functions.node_indices() {
            let function = &machine.functions[index];
            if let Some(id) = function.id {
                assert_eq!(booted.registers.id(index), Some(id), "{name}: {}", function.name);
            }
        }
    }
}
