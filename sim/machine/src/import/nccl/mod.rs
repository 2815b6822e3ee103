//! NCCL topology files: what NCCL and RCCL write for `NCCL_TOPO_DUMP_FILE`, and cloud providers ship.
//!
//! The steps, each a module: [`xml`] understands the file, [`tree`] and [`root`] put back what NCCL leaves out and
//! number it, [`choose`] finds parts, [`name`] names devices, [`build`] and [`private`] write it all as a machine file.

mod build;
mod choose;
mod name;
mod private;
mod root;
mod tree;
mod value;
mod xml;

use std::collections::BTreeSet;

use build::{Builder, End};
use choose::{Choice, Identity, Parts};
use root::HostBridge;
use tree::{Below, Endpoint, Piece, Planner};

use super::{Import, Note};
use crate::catalogue::Catalogue;
use crate::diagnostic::{self, Diagnostic};
use crate::file::{Cpu, CpuLink, Leaf, Machine};
use crate::model::Fact;
use crate::part::CpuPart;

/// Reads the NCCL topology `xml`. `file_name` names it in diagnostics and, without directory and extension, the
/// machine.
///
/// # Errors
///
/// Everything that is wrong with the file, in order of place; nothing is imported then.
///
/// # Panics
///
/// When `catalogue` lacks a generic CPU, `generic-switch` or a generic device; the shipped one has them.
pub fn nccl(xml: &str, file_name: &str, catalogue: &Catalogue) -> Result<Import, Vec<Diagnostic>> {
    let (mut diagnostics, mut notes) = (Vec::new(), Vec::new());
    let system = xml::read(xml, file_name, &mut diagnostics, &mut notes);
    let system = system.filter(|_| diagnostics.is_empty());
    let parts = Parts::new(catalogue);
    let machine = system.and_then(|system| {
        let cpus: Vec<_> = system.cpus.iter().map(|cpu| parts.cpu(cpu)).collect();
        let headless: Vec<bool> = cpus.iter().map(|(cpu, _)| cpu.part.root_bus_head.is_none()).collect();
        let mut planner = Planner::new(file_name, xml, &mut diagnostics, &mut notes);
        let pieces = planner.top(&system);
        let bridges = root::host_bridges(&mut planner, pieces, &headless);
        diagnostics.is_empty().then(|| machine(file_name, &system, cpus, &bridges, parts, &mut notes))
    });
    match machine {
        Some(machine) => Ok(Import { machine, notes: super::merged(notes) }),
        None => {
            diagnostic::sort(&mut diagnostics);
            Err(diagnostics)
        }
    }
}

fn machine(
    file_name: &str,
    system: &xml::System,
    cpus: Vec<(Choice<CpuPart>, Option<Identity>)>,
    bridges: &[HostBridge],
    parts: Parts,
    notes: &mut Vec<Note>,
) -> Machine {
    let base = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    let mut devices: Vec<&Endpoint> = bridges.iter().flat_map(endpoints).collect();
    devices.sort_by_key(|device| device.functions[0].span.start);
    let kinds: Vec<_> =
        devices.iter().map(|device| (*device, parts.device(device.functions[0]).part.kind)).collect();
    let names = name::names(&kinds, notes);
    notes.extend(name::interfaces(&kinds, &names));
    let (file_cpus, cpu_links) = packages(system, &cpus, notes);
    let mut builder = Builder { parts, names: &names, notes };
    let mut host_bridges = Vec::new();
    for bridge in bridges {
        let cpu = cpus[bridge.cpu].0.part;
        let end = End { part: &cpu.id, generation: cpu.generation, lanes: cpu.lanes };
        host_bridges.push(builder.host_bridge(bridge, end));
    }
    Machine {
        name: Some(Leaf::new(stem.to_owned())),
        source: Some(Leaf::new(format!("NCCL topology file {base}"))),
        cpus: file_cpus,
        cpu_links,
        host_bridges,
        interconnects: private::interconnects(&devices, &names, notes),
        ..Machine::default()
    }
}

/// The CPUs and the links between them. A `<cpu>` element is a NUMA node, of which a package may have several; which
/// ones belong together is not in the file.
fn packages(
    system: &xml::System,
    cpus: &[(Choice<CpuPart>, Option<Identity>)],
    notes: &mut Vec<Note>,
) -> (Vec<Cpu>, Vec<CpuLink>) {
    let several = cpus.len() > 1;
    let mut packages = Vec::new();
    for (index, (Choice { part, guess }, _)) in cpus.iter().enumerate() {
        let name = format!("cpu{index}");
        let mut assumed = vec![Leaf::new(Fact::Memory)];
        if several || guess.is_some() {
            assumed.insert(0, Leaf::new(Fact::Cpu));
        }
        if let Some(why) = guess {
            notes.push(Note::new(&name, why.clone()));
        }
        if system.cpus[index].numa != i64::try_from(index).unwrap_or(-1) {
            notes.push(Note::new(&name, format!("is NUMA node {} of the file", system.cpus[index].numa)));
        }
        packages.push(Cpu { part: Some(Leaf::new(part.id.clone())), assumed, ..Cpu::default() });
    }
    let mut links = Vec::new();
    let mut kinds = BTreeSet::new();
    for from in 0..cpus.len() {
        for (to, (_, identity)) in cpus.iter().enumerate().skip(from + 1) {
            let part = choose::cpu_link(identity.as_ref());
            kinds.insert(part);
            let leaf = |index: usize| Some(Leaf::new(index));
            links.push(CpuLink { from: leaf(from), to: leaf(to), part: Some(Leaf::new(part.to_owned())) });
        }
    }
    if several {
        let kinds: Vec<&str> = kinds.into_iter().collect();
        let text = format!(
            "the file lists NUMA nodes and not which of them share a package; each is taken as a package, every two joined by {}",
            kinds.join(" or ")
        );
        notes.push(Note::new(format!("cpu0 to cpu{}", cpus.len() - 1), text));
    }
    (packages, links)
}

/// Every device below a root bus.
fn endpoints<'a, 'x>(bridge: &'a HostBridge<'x>) -> Vec<&'a Endpoint<'x>> {
    let mut found: Vec<&Endpoint> = bridge.devices.iter().collect();
    let mut open: Vec<&Piece> = bridge.ports.iter().map(|port| &port.piece).collect();
    while let Some(piece) = open.pop() {
        match &piece.below {
            Below::Device(device) => found.push(device),
            Below::Switch(switch) => {
                found.extend(&switch.devices);
                open.extend(switch.ports.iter().map(|port| &port.piece));
            }
        }
    }
    found
}
