//! Short names of devices.
//!
//! GPUs are called by their number on the host where the file gives each its own, and in order otherwise; other
//! devices by kind, in order of the file.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_units::FunctionId;

use super::tree::Endpoint;
use crate::import::Note;
use crate::part::DeviceKind;

/// The names of `devices`, by the id of their function 0. `devices` come in order of the file.
pub(super) fn names(
    devices: &[(&Endpoint, DeviceKind)],
    notes: &mut Vec<Note>,
) -> BTreeMap<FunctionId, String> {
    let numbers =
        devices.iter().map(|(device, kind)| gpu_number(device).filter(|_| *kind == DeviceKind::Gpu));
    let mut numbers: Vec<Option<u32>> = numbers.collect();
    let given: Vec<u32> = numbers.iter().flatten().copied().collect();
    let different: BTreeSet<u32> = given.iter().copied().collect();
    if different.len() < given.len() {
        numbers.fill(None);
        notes.push(Note::new(
            "gpu",
            "several GPUs have the same number `dev`; they are numbered in order of the file",
        ));
    }
    let taken: BTreeSet<u32> = numbers.iter().flatten().copied().collect();
    let mut next: BTreeMap<DeviceKind, u32> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for ((device, kind), number) in devices.iter().zip(&numbers) {
        let number = number.unwrap_or_else(|| {
            let next = next.entry(*kind).or_default();
            while *kind == DeviceKind::Gpu && taken.contains(next) {
                *next += 1;
            }
            *next += 1;
            *next - 1
        });
        names.insert(device.id, format!("{}{number}", kind.stem()));
    }
    names
}

fn gpu_number(device: &Endpoint) -> Option<u32> {
    device.functions.iter().find_map(|function| function.gpu.as_ref()?.dev)
}

/// Says which interface of the source is which device here.
pub(super) fn interfaces(
    devices: &[(&Endpoint, DeviceKind)],
    names: &BTreeMap<FunctionId, String>,
) -> Option<Note> {
    let mut pairs = Vec::new();
    for (device, _) in devices {
        let nets: Vec<&str> =
            device.functions.iter().flat_map(|function| &function.nets).map(String::as_str).collect();
        if let (false, Some(name)) = (nets.is_empty(), names.get(&device.id)) {
            pairs.push(format!("{name} is {}", nets.join(", ")));
        }
    }
    (!pairs.is_empty()).then(|| Note::new("names", pairs.join("; ")))
}
