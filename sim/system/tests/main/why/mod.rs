//! Why a pair talks as it does: each kind of change where it is the answer, the page, and names.

mod captured;
mod kinds;
mod page;
mod random;
mod redo;

use peerbus_machine::Machine;
use peerbus_machine::model::{Acs, FunctionIndex};
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::KernelSettings;
use peerbus_system::why::{Change, ChangeKind, Why, find, why};

use crate::build::*;

/// What is known about a pair of devices, by any name.
fn ask(machine: &Machine, settings: &KernelSettings, provider: &str, client: &str) -> Why {
    let booted = boot(machine, settings, &BootOptions::default());
    let [provider, client] = [provider, client].map(|name| find(machine, &booted, name).unwrap());
    why(machine, settings, provider, client).unwrap()
}

/// The change of that kind; there must be one.
fn of_kind(why: &Why, kind: ChangeKind) -> &Change {
    why.changes
        .iter()
        .find(|change| change.kind == kind)
        .unwrap_or_else(|| panic!("no {kind:?}: {:#?}", why.changes))
}

fn kinds(why: &Why) -> Vec<ChangeKind> {
    why.changes.iter().map(|change| change.kind).collect()
}

/// Sets the word that firmware leaves in the ACS control of a function.
fn firmware_acs(build: &mut Build, function: FunctionIndex, control: u16) {
    build.machine.functions[function].acs = Some(Acs { capability: 0x5f, control });
}
