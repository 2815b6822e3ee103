//! Every capture that can be imported boots, plans and runs a pair matrix.

use std::path::Path;

use peerbus_machine::import::nccl;
use peerbus_machine::{Catalogue, lower};
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::KernelSettings;
use peerbus_system::plan::{plan, render_plan};
use peerbus_system::run::run;
use peerbus_units::Bytes;

use crate::run::{gpus, input, matrix};

#[test]
fn every_capture_boots_plans_and_runs() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/captures"));
    if !folder.is_dir() {
        println!("skipped: no captures beside the project");
        return;
    }
    let catalogue = Catalogue::embedded();
    let (mut ran, mut refused) = (0, 0);
    for group in ["rccl", "aws", "azure", "oci"] {
        let mut files: Vec<_> =
            std::fs::read_dir(folder.join(group)).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "xml")) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let Ok(import) = nccl(&std::fs::read_to_string(file).unwrap(), &name, &catalogue) else {
                refused += 1;
                continue;
            };
            let (machine, diagnostics) = lower(&import.machine, "", &name, &catalogue);
            let machine = machine.unwrap_or_else(|| panic!("{name}: {diagnostics:?}"));
            let booted = boot(&machine, &KernelSettings::default(), &BootOptions::default());
            assert!(render_plan(&plan(&machine, &booted)).contains("gpu0"), "{name}");
            assert!(gpus(&machine) >= 2, "{name}");
            let outcome = run(&machine, &input(vec![matrix(Bytes::kib(256))])).unwrap();
            assert!(outcome.flows.iter().all(|flow| flow.delivered == flow.bytes), "{name}");
            ran += 1;
        }
    }
    println!("{ran} captures ran, {refused} hold no topology");
    assert_eq!((ran, refused), (11, 1));
}
