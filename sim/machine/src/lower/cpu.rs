//! CPU packages, and the links between them.

use std::collections::BTreeMap;

use peerbus_units::{Bytes, Range};

use super::context::{Context, Place};
use super::draft::DraftCpu;
use super::facts::{assumed, timing};
use crate::codes;
use crate::file;
use crate::model::{Capture, CpuLink, Fact};
use crate::part::{CpuLinkPart, CpuPart};

/// Memory of a CPU whose file does not say.
const DEFAULT_MEMORY: Bytes = Bytes::gib(64);

/// The CPUs of a file.
pub(super) fn cpus(ctx: &mut Context, given: &[file::Cpu]) -> Vec<DraftCpu> {
    let read = |(index, cpu)| self::cpu(ctx, cpu, &Place::default().element("cpus", index));
    given.iter().enumerate().map(read).collect()
}

fn cpu(ctx: &mut Context, given: &file::Cpu, place: &Place) -> DraftCpu {
    let part: Option<CpuPart> = ctx.part(&given.part, place);
    let stated = ctx.take(&given.memory, place, "memory", "a size such as \"512GiB\"");
    let sizes = given.ranges.iter().filter_map(|range| range.size.as_ref()?.get().copied());
    let sum = sizes.reduce(|sum, size| Bytes(sum.0.saturating_add(size.0)));
    let memory = stated.or(sum);
    let mut facts = ctx.facts(&given.assumed, place);
    if memory.is_none() {
        facts.insert(Fact::Memory);
    }
    if let Some(part) = &part {
        facts.extend(timing(&part.sources));
        facts.extend(assumed(&part.sources, &["peer_to_peer", "models"]));
    }
    DraftCpu {
        part,
        memory: memory.unwrap_or(DEFAULT_MEMORY),
        memory_given: memory.is_some(),
        assumed: facts,
    }
}

/// What a file made from a capture says about the machine as a whole.
pub(super) fn capture(ctx: &mut Context, file: &file::Machine) -> Capture {
    let mut capture = Capture::default();
    let place = Place::default().field("kernel");
    if let Some(kernel) = &file.kernel {
        capture.running = kernel.running;
        capture.cmdline = ctx.take(&kernel.cmdline, &place, "cmdline", "a kernel command line in quotes");
        capture.iommu = ctx.take(&kernel.iommu, &place, "iommu", "None, Passthrough or Translate");
    }
    for (cpu, given) in file.cpus.iter().enumerate() {
        for (position, range) in given.ranges.iter().enumerate() {
            let place = Place::default().element("cpus", cpu).element("ranges", position);
            let first =
                ctx.require(&range.cpu, &place, "cpu", "a CPU physical address such as 0x1_0000_0000");
            let size = ctx.require(&range.size, &place, "size", "a size such as \"64GiB\"");
            let (Some(first), Some(size)) = (first, size) else { continue };
            let found = Range::sized(first, size);
            let clash = |range: &Range<_>| capture.memory.iter().any(|(_, other)| other.overlaps(*range));
            match found.filter(|range| !clash(range)) {
                Some(range) => capture.memory.push((cpu, range)),
                None => {
                    let message = format!("{size} of memory at {first} is empty or overlaps other memory");
                    ctx.error(codes::MEMORY_IN_WINDOW, &place, message, "write ranges that lie apart");
                }
            }
        }
    }
    capture.memory.sort_by_key(|(_, range)| range.first());
    capture
}

/// Reports an index of a CPU that does not exist.
pub(super) fn exists(ctx: &mut Context, cpu: usize, cpus: usize, place: &Place) -> bool {
    // Without any CPU, or with some left out, the index proves nothing.
    if cpu < cpus || cpus == 0 || ctx.incomplete(&Place::default().field("cpus")) {
        return cpu < cpus;
    }
    let message = format!("there is no CPU {cpu}");
    let help = match cpus {
        1 => "the only CPU is 0".to_owned(),
        _ => format!("write an index from 0 to {}", cpus - 1),
    };
    ctx.error(codes::NO_SUCH_CPU, place, message, help);
    false
}

/// The links between CPUs.
pub(super) fn links(ctx: &mut Context, file: &file::Machine, cpus: usize) -> Vec<CpuLink> {
    let given = &file.cpu_links;
    let mut found = Vec::new();
    let mut pairs: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (index, link) in given.iter().enumerate() {
        let place = Place::default().element("cpu_links", index);
        let part: Option<CpuLinkPart> = ctx.part(&link.part, &place);
        let from = end(ctx, &link.from, &place, "from", cpus);
        let to = end(ctx, &link.to, &place, "to", cpus);
        let (Some(from), Some(to)) = (from, to) else { continue };
        if from == to {
            let message = format!("this links CPU {from} to itself");
            ctx.error(codes::LINK_TO_ITSELF, &place, message, "write the index of another CPU");
        } else if let Some(first) = pairs.get(&(from.min(to), from.max(to))) {
            let message = format!("CPUs {from} and {to} are linked already, by `cpu_links[{first}]`");
            ctx.error(
                codes::LINKED_TWICE,
                &place,
                message,
                "keep one entry, with a part that has the rate of all links",
            );
        } else {
            pairs.insert((from.min(to), from.max(to)), index);
            found.extend(part.map(|part| CpuLink { from, to, part }));
        }
    }
    // CPUs that only a non-transparent bridge joins are two hosts.
    if file.ntbs.is_empty() {
        warn_of_islands(ctx, given, &pairs, cpus);
    }
    found
}

fn end(
    ctx: &mut Context,
    leaf: &Option<file::Leaf<usize>>,
    place: &Place,
    name: &'static str,
    cpus: usize,
) -> Option<usize> {
    let cpu = ctx.require(leaf, place, name, "the index of a CPU, counted from 0")?;
    exists(ctx, cpu, cpus, &place.field(name)).then_some(cpu)
}

/// Warns when some CPU cannot be reached from CPU 0.
fn warn_of_islands(
    ctx: &mut Context,
    given: &[file::CpuLink],
    pairs: &BTreeMap<(usize, usize), usize>,
    cpus: usize,
) {
    let unread = ["cpus", "cpu_links"].iter().any(|name| ctx.incomplete(&Place::default().field(name)));
    if given.len() != pairs.len() || unread {
        return;
    }
    let mut reached = vec![false; cpus];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    let mut grown = true;
    while grown {
        grown = false;
        for (a, b) in pairs.keys().copied() {
            if reached[a] != reached[b] {
                (reached[a], reached[b]) = (true, true);
                grown = true;
            }
        }
    }
    if let Some(island) = reached.iter().position(|reached| !reached) {
        let place = Place::default().element("cpus", island);
        let message = format!("CPU {island} is not linked to CPU 0, directly or through others");
        let help = format!("add to `cpu_links` an entry such as `(from: 0, to: {island}, part: …)`");
        ctx.warning(codes::CPUS_APART, &place, message, help);
    }
}
