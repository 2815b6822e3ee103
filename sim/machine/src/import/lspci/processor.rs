//! The CPU of a capture: who made it and how wide its addresses are, which `lspci` does not say.

use peerbus_units::{Bytes, CpuAddr};

use super::apertures::Apertures;
use super::iomem::Ranges;
use crate::catalogue::Catalogue;
use crate::file::{Cpu, Leaf, MemoryRange};
use crate::import::Note;
use crate::model::Fact;
use crate::part::{CpuPart, Part};

/// A CPU as `/proc/cpuinfo` names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// `AuthenticAMD`, `GenuineIntel`, …
    pub vendor: String,
    /// CPU family as the kernel counts it.
    pub family: u32,
    /// CPU model.
    pub model: u32,
}

/// What is told of the CPU.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Processor {
    /// Who made it.
    pub identity: Option<Identity>,
    /// Width of a physical address.
    pub physical_bits: Option<u8>,
    /// Width of a virtual address.
    pub virtual_bits: Option<u8>,
}

/// Vendor of a CPU that nobody named, on a machine that is no PC.
const OTHER: &str = "other";
/// Widths that parts can have.
const BITS: std::ops::RangeInclusive<u8> = 32..=57;

/// The part, and whether it is one that the catalogue lacks.
pub struct Choice {
    /// The part.
    pub part: CpuPart,
    /// It is described in the file itself.
    pub own: bool,
    /// Facts that are not known.
    pub assumed: Vec<Fact>,
}

/// Chooses the part for a CPU, and describes one where the catalogue has none that fits.
///
/// # Panics
///
/// When `catalogue` lacks a generic CPU; the shipped one has it.
pub fn choose(
    processor: &Processor,
    is_pc: bool,
    apertures: &Apertures,
    catalogue: &Catalogue,
    notes: &mut Vec<Note>,
) -> Choice {
    let Some(generic) = catalogue.generic_cpu() else { panic!("the catalogue has no generic CPU") };
    let identity = processor.identity.as_ref();
    let known = identity.and_then(|cpu| catalogue.cpu_by_identity(&cpu.vendor, cpu.family, cpu.model));
    let exact = identity.is_some_and(|cpu| catalogue.knows_cpu(&cpu.vendor, cpu.family, cpu.model));
    let base = known.unwrap_or(generic);
    let mut part = base.clone();
    let mut assumed = Vec::new();
    match identity {
        Some(cpu) if !exact => {
            (part.vendor, part.family, part.models) = (cpu.vendor.clone(), cpu.family, vec![cpu.model]);
            let text = format!(
                "{} family {:#x} model {:#x} is not in the catalogue; its speed is taken from {}",
                cpu.vendor, cpu.family, cpu.model, base.id
            );
            notes.push(Note::new("cpu0", text));
        }
        Some(_) => {}
        None => {
            assumed.push(Fact::Cpu);
            if !is_pc {
                part.vendor = OTHER.to_owned();
            }
            notes.push(Note::new("cpu0", format!("its model is not stated; taken as {}", base.id)));
        }
    }
    part.physical_bits = bits(processor, &part, apertures, notes);
    part.virtual_bits = processor.virtual_bits.filter(|bits| (32..=64).contains(bits)).or(part.virtual_bits);
    let own = part != *base;
    if own {
        part.id = format!("{}-as-captured", base.id);
    }
    Choice { part, own, assumed }
}

/// The width stated, or the part's, and enough for the windows.
fn bits(processor: &Processor, part: &CpuPart, apertures: &Apertures, notes: &mut Vec<Note>) -> u8 {
    let stated = processor.physical_bits.filter(|bits| BITS.contains(bits)).unwrap_or(part.physical_bits);
    let needed = 64 - apertures.last().leading_zeros();
    let needed = u8::try_from(needed).unwrap_or(u8::MAX).min(*BITS.end());
    if needed > stated {
        let text = format!("windows reach beyond {stated} bits of physical address; taken as {needed} bits");
        notes.push(Note::new("cpu0", text));
    }
    stated.max(needed)
}

/// The CPUs of the file: one, or one per NUMA node where functions name several.
pub fn packages(choice: &Choice, nodes: usize, memory: &Ranges, notes: &mut Vec<Note>) -> Vec<Cpu> {
    let mut assumed = choice.assumed.clone();
    if nodes > 1 {
        assumed.push(Fact::Cpu);
        let text = "functions name several NUMA nodes and not which of them share a package; each is taken as a package";
        notes.push(Note::new("cpu0", text));
    }
    let ranges = if nodes == 1 { ranges(memory) } else { Vec::new() };
    assumed.extend(ranges.is_empty().then_some(Fact::Memory));
    assumed.sort_unstable();
    assumed.dedup();
    let cpu = Cpu {
        part: Some(Leaf::new(choice.part.id.clone())),
        memory: None,
        ranges,
        assumed: assumed.into_iter().map(Leaf::new).collect(),
    };
    vec![cpu; nodes.max(1)]
}

fn ranges(memory: &Ranges) -> Vec<MemoryRange> {
    let range = |range: &std::ops::RangeInclusive<u64>| {
        let size = range.end().checked_sub(*range.start())?.checked_add(1)?;
        Some(MemoryRange {
            cpu: Some(Leaf::new(CpuAddr(*range.start()))),
            size: Some(Leaf::new(Bytes(size))),
        })
    };
    memory.memory.iter().filter_map(range).collect()
}

/// The part as the file describes it.
pub fn own_parts(choice: &Choice) -> Vec<Leaf<Part>> {
    choice.own.then(|| Leaf::new(Part::Cpu(choice.part.clone()))).into_iter().collect()
}
