//! `lspci` listings: what `lspci -vvv`, `-xxxx`, `-t` and their kin print of a real machine, with `/proc/iomem`.
//!
//! The steps, each a module: [`source`] texts with places; [`heading`], [`region`], [`capability`], [`details`],
//! [`tree`], [`dump`] lines of their kind; [`listing`] a whole text; [`decode`] bytes of configuration space;
//! [`iomem`] ranges of addresses; [`facts`] what is known of one function; [`topology`] what hangs below what;
//! [`apertures`] windows of host bridges; [`bars`], [`stated`], [`processor`], [`choose`] and [`build`] write it as a
//! machine file.
//!
//! Addresses that the capture shows are what the machine has. What it cannot show — ACS words read without rights,
//! registers the kernel found no place for, windows without `/proc/iomem` — is marked in the file.

mod apertures;
mod bars;
mod build;
mod capability;
mod choose;
mod class;
pub(super) mod decode;
mod details;
pub(super) mod dump;
pub(super) mod facts;
pub(super) mod heading;
pub(super) mod iomem;
mod listing;
mod processor;
mod region;
pub(super) mod source;
mod stated;
#[cfg(test)]
mod tests;
mod topology;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

pub use processor::{Identity, Processor};
pub use source::Text;

use super::{Import, Note, codes};
use crate::catalogue::Catalogue;
use crate::diagnostic::{self, Diagnostic, any_error};
use crate::file::{self, Leaf};
use crate::model::IommuMode;
use apertures::Apertures;
use bars::Guesses;
use build::Builder;
use choose::Parts;
use facts::Facts;
use iomem::Ranges;
use listing::Listing;
use topology::{Bus, Functions};

/// What a capture consists of. Only `listing` must be there.
#[derive(Clone, Debug, Default)]
pub struct Capture<'a> {
    /// Output of `lspci`, best of `lspci -vvv` as root; dumps and trees may be in it too.
    pub listing: Text<'a>,
    /// Output of `lspci -xxxx`.
    pub dump: Option<Text<'a>>,
    /// `/proc/iomem`, read as root.
    pub iomem: Option<Text<'a>>,
    /// `/proc/ioports`, read as root.
    pub ioports: Option<Text<'a>>,
    /// The CPU.
    pub processor: Processor,
    /// Command line of the kernel.
    pub cmdline: Option<String>,
    /// How the kernel used an IOMMU.
    pub iommu: Option<IommuMode>,
}

/// Reads a capture. The listing's file name, without directory and extension, is the machine's.
///
/// # Errors
///
/// Everything that is wrong with the texts; nothing is imported then.
///
/// # Panics
///
/// When `catalogue` lacks a generic CPU, `generic-switch`, `generic-pci-bridge` or a generic device; the shipped one
/// has them.
pub fn lspci(capture: &Capture, catalogue: &Catalogue) -> Result<Import, Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    let mut listing = Listing::default();
    listing::read(capture.listing, &mut listing, &mut diagnostics);
    if listing.functions.is_empty() && listing.roots.is_empty() {
        let message = "no line of this text is a function as `lspci` lists them";
        let help = "save the output of `lspci -vvv`: a function begins with `03:00.0 3D controller: …`";
        let found = Diagnostic::error(codes::NOT_A_LISTING, capture.listing.name, message).help(help);
        return Err(vec![found]);
    }
    if let Some(dump) = capture.dump {
        listing::read(dump, &mut listing, &mut diagnostics);
    }
    let mut ranges =
        |text: Option<Text>| text.map(|text| iomem::read(text, &mut diagnostics)).unwrap_or_default();
    let (memory, ports) = (ranges(capture.iomem), ranges(capture.ioports));
    if any_error(&diagnostics) {
        diagnostic::sort(&mut diagnostics);
        return Err(diagnostics);
    }
    for (id, dump) in &listing.dumps {
        if let Some(facts) = listing.functions.get_mut(id) {
            decode::decode(dump, facts);
        }
    }
    let shown =
        Shown { functions: listing.functions, roots: listing.roots, memory, ports, source: "lspci listing" };
    let mut import = machine(capture, shown, catalogue)?;
    let cut = |name| Note::new(name, "its last line has no end and may be cut; it is passed over");
    import.notes.extend(listing.cut.into_iter().map(cut));
    Ok(import)
}

/// Everything the texts show.
pub(super) struct Shown {
    /// Functions.
    pub functions: Functions,
    /// Root buses that a tree shows.
    pub roots: Vec<Bus>,
    /// `/proc/iomem`.
    pub memory: Ranges,
    /// `/proc/ioports`.
    pub ports: Ranges,
    /// What the machine's source is called.
    pub source: &'static str,
}

/// The machine that is shown.
pub(super) fn machine(
    capture: &Capture,
    shown: Shown,
    catalogue: &Catalogue,
) -> Result<Import, Vec<Diagnostic>> {
    let Shown { mut functions, roots, memory, ports, source } = shown;
    let (mut diagnostics, mut notes) = (Vec::new(), Vec::new());
    if memory.hidden {
        let text = "its addresses are hidden, as it was read without root rights; windows of host bridges are derived";
        notes.push(Note::new(capture.iomem.map_or("iomem", |text| text.name), text));
    }
    set_virtual_functions_apart(&mut functions, &memory, &mut notes);
    let topology = topology::topology(&mut functions, &roots, &mut diagnostics, &mut notes);
    if any_error(&diagnostics) {
        locate(&mut diagnostics, capture);
        return Err(diagnostics);
    }
    let apertures = Apertures::find(&functions, &topology, &memory, &ports);
    let guesses = Guesses::new(&functions, &topology, &apertures);
    let is_pc = !memory.device_tree && functions.values().all(|facts| !facts.device_tree);
    let choice = processor::choose(&capture.processor, is_pc, &apertures, catalogue, &mut notes);
    let nodes: BTreeSet<u32> = functions.values().filter_map(|facts| facts.node).collect();
    let cpus = processor::packages(&choice, nodes.len().max(1), &memory, &mut notes);
    let mut builder = Builder {
        functions: &functions,
        topology: &topology,
        apertures: &apertures,
        guesses: &guesses,
        parts: Parts::new(catalogue),
        notes: &mut notes,
    };
    let mut host_bridges = Vec::new();
    for bus in topology.roots.keys() {
        let cpu = node_of(&functions, &topology, *bus, &nodes);
        host_bridges.push(builder.host_bridge(*bus, cpu, &choice.part));
    }
    let base = capture.listing.name.rsplit(['/', '\\']).next().unwrap_or(capture.listing.name);
    let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    let machine = file::Machine {
        name: Some(Leaf::new(stem.to_owned())),
        source: Some(Leaf::new(format!("{source} {base}"))),
        parts: processor::own_parts(&choice),
        cpu_links: cpu_links(cpus.len(), capture),
        cpus,
        host_bridges,
        kernel: Some(kernel(capture)),
        ..file::Machine::default()
    };
    checked(machine, notes, capture, catalogue)
}

/// The result, unless it contradicts itself: a listing may have been edited or put together from several.
fn checked(
    machine: file::Machine,
    notes: Vec<Note>,
    capture: &Capture,
    catalogue: &Catalogue,
) -> Result<Import, Vec<Diagnostic>> {
    let (_, found) = crate::lower(&machine, "", capture.listing.name, catalogue);
    let errors: Vec<Diagnostic> = found
        .into_iter()
        .filter(Diagnostic::is_error)
        .map(|problem| {
            let message = format!("what is shown cannot be one machine: {}", problem.message);
            let help = format!("`peerbus explain {}` says more; list one machine, unedited", problem.code);
            Diagnostic::error(codes::CONTRADICTION, capture.listing.name, message).help(help)
        })
        .collect();
    if errors.is_empty() { Ok(Import { machine, notes: super::merged(notes) }) } else { Err(errors) }
}

/// Puts line and column to diagnostics that only have a place in a file.
fn locate(diagnostics: &mut Vec<Diagnostic>, capture: &Capture) {
    let texts = [Some(capture.listing), capture.dump];
    for found in diagnostics.iter_mut() {
        let text = texts.iter().flatten().find(|text| text.name == found.file);
        if let (Some(text), Some(span)) = (text, found.span.clone()) {
            *found = found.clone().at(text.text, span);
        }
    }
    diagnostic::sort(diagnostics);
}

/// Virtual functions answer only once software has switched them on, so they are no functions of the machine; their
/// registers show the sizes of those in their physical function's SR-IOV capability.
fn set_virtual_functions_apart(functions: &mut Functions, memory: &Ranges, notes: &mut Vec<Note>) {
    let mut virtual_functions = BTreeMap::new();
    for facts in functions.values() {
        let Some(sriov) = &facts.sriov else { continue };
        for number in 0..sriov.enabled {
            let step = u32::from(sriov.offset) + u32::from(sriov.stride) * u32::from(number);
            let id = u16::try_from(u32::from(facts.id.requester()) + step).ok();
            if let Some([bus, devfn]) = id.map(u16::to_be_bytes) {
                let id = peerbus_units::FunctionId { bus, devfn, ..facts.id };
                virtual_functions.insert(id, facts.id);
            }
        }
    }
    let mut counts: BTreeMap<peerbus_units::FunctionId, usize> = BTreeMap::new();
    for (id, physical) in virtual_functions.into_iter().filter(|(id, physical)| id != physical) {
        let Some(facts) = functions.remove(&id) else { continue };
        *counts.entry(physical).or_default() += 1;
        if let Some(sriov) = functions.get_mut(&physical).and_then(|facts| facts.sriov.as_mut()) {
            sizes_from(sriov, &facts);
        }
    }
    for facts in functions.values_mut() {
        sizes_from_claims(facts, memory);
    }
    for (physical, count) in counts {
        let text =
            format!("{count} virtual functions are listed; they are not there before software makes them");
        notes.push(Note::new(physical, text));
    }
}

fn sizes_from(sriov: &mut facts::Sriov, virtual_function: &Facts) {
    for bar in sriov.bars.iter_mut().filter(|bar| bar.size.is_none()) {
        let shown = virtual_function.bars.iter().find(|shown| shown.index == bar.index);
        bar.size = shown.and_then(|shown| shown.size);
    }
}

/// The range a physical function claims for all its virtual functions is as many times the size of one.
fn sizes_from_claims(facts: &mut Facts, memory: &Ranges) {
    let id = facts.id;
    let Some(sriov) = facts.sriov.as_mut() else { return };
    let total = u64::from(sriov.total).max(1);
    for bar in sriov.bars.iter_mut().filter(|bar| bar.size.is_none()) {
        let claim = memory.claims.iter().find(|claim| claim.id == id && Some(claim.range.0) == bar.bus);
        let size = claim.map(|claim| (claim.range.1 - claim.range.0).saturating_add(1));
        let one = size.filter(|size| size % total == 0).map(|size| peerbus_units::Bytes(size / total));
        bar.size = one.filter(|size| size.is_power_of_two());
    }
}

/// The CPU, by its place among the NUMA nodes, that a root bus belongs to.
fn node_of(functions: &Functions, topology: &topology::Topology, root: Bus, nodes: &BTreeSet<u32>) -> usize {
    let below = functions.values().filter(|facts| topology.root_of((facts.id.domain, facts.id.bus)) == root);
    let node = below.filter_map(|facts| facts.node).min();
    node.and_then(|node| nodes.iter().position(|known| *known == node)).unwrap_or(0)
}

/// Every two CPUs are linked; by what, their maker tells.
fn cpu_links(cpus: usize, capture: &Capture) -> Vec<file::CpuLink> {
    let identity = capture.processor.identity.as_ref();
    let part = super::cpu_link::part(identity.map(|cpu| (cpu.vendor.as_str(), cpu.family, cpu.model)));
    let mut links = Vec::new();
    for from in 0..cpus {
        for to in from + 1..cpus {
            links.push(file::CpuLink {
                from: Some(Leaf::new(from)),
                to: Some(Leaf::new(to)),
                part: Some(Leaf::new(part.to_owned())),
            });
        }
    }
    links
}

fn kernel(capture: &Capture) -> file::Kernel {
    let (cmdline, iommu) = (capture.cmdline.clone(), capture.iommu);
    file::Kernel { running: true, cmdline: cmdline.map(Leaf::new), iommu: iommu.map(Leaf::new) }
}
