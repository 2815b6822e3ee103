//! The addresses of an importer: made when it maps the buffer, given back when it lets go.

use peerbus_fabric::{LinkId, private_addr};
use peerbus_os::dma::{DmaKind, NoPeers};
use peerbus_os::dma_buf::{MappedVectors, Placement};
use peerbus_os::p2pdma::Peers;
use peerbus_os::pci;
use peerbus_units::{Address, Bytes, CpuAddr};

use super::exported::Exported;
use super::plan::{BufferPlan, ImporterPlan};
use super::step::Step;
use crate::iommu::{self, BarMemory, Mapping};

/// Memory is mapped in whole pages.
const PAGE: u64 = 4096;

#[derive(Debug)]
enum Held {
    /// A private interconnect needs no mapping.
    Nothing,
    One(Mapping),
    Vectors(MappedVectors),
}

/// A mapping of the buffer for one importer.
#[derive(Debug)]
#[must_use = "a mapping that is dropped stays mapped"]
pub struct BufferMapping {
    /// Where the buffer was.
    pub placement: Placement,
    /// First address.
    pub base: u64,
    /// The private link it belongs to.
    pub link: Option<LinkId>,
    /// What kind of address that is; none on a private link.
    pub kind: Option<DmaKind>,
    held: Held,
}

impl BufferMapping {
    fn one(placement: Placement, mapping: Mapping, inside: u64) -> BufferMapping {
        let base = mapping.address.raw().wrapping_add(inside);
        let kind = Some(mapping.kind);
        BufferMapping { placement, base, link: None, kind, held: Held::One(mapping) }
    }

    /// Gives it back.
    pub fn undo(self, importer: pci::FunctionIndex, step: &mut Step<'_>) {
        let Step { dma, io, now, .. } = step;
        if !matches!(self.held, Held::Nothing) {
            io.changed.push(importer);
        }
        match self.held {
            Held::Nothing => {}
            Held::One(mapping) => {
                let undone = iommu::unmap(dma, &mut io.writes, mapping, *now);
                assert!(undone.is_ok(), "a buffer is not mapped any more: {undone:?}");
            }
            Held::Vectors(vectors) => {
                let undone = iommu::in_context(&mut io.writes, &mut NoPeers, *now, |context| {
                    vectors.unmap(dma, importer, context)
                });
                assert!(undone.is_ok(), "a buffer is not mapped any more: {undone:?}");
            }
        }
    }
}

/// Maps the buffer where it is for an importer, as its exporter does.
///
/// # Errors
///
/// Why there is no address, in words.
pub fn map(
    plan: &BufferPlan,
    importer: &ImporterPlan,
    exported: &Exported,
    placement: Placement,
    step: &mut Step<'_>,
) -> Result<BufferMapping, String> {
    let function = importer.function.ok_or("the operating system did not find the importer")?;
    let bytes = plan.spec.bytes;
    step.io.changed.push(function);
    match (placement, importer.link, exported) {
        (Placement::System, ..) => {
            let (at, _) = plan.ram.ok_or("the buffer has no system memory")?;
            let length = Bytes(bytes.0.next_multiple_of(PAGE));
            let part = (CpuAddr(at), length);
            let mapped = iommu::map_memory(step.dma, &mut step.io.writes, function, part, step.now);
            mapped.map(|mapping| BufferMapping::one(placement, mapping, 0)).map_err(|error| error.to_string())
        }
        (Placement::Device, Some(link), _) => Ok(BufferMapping {
            placement,
            base: private_addr(plan.exporter, 0).raw(),
            link: Some(link),
            kind: None,
            held: Held::Nothing,
        }),
        (Placement::Device, None, Exported::Vfio(buffer)) => {
            let Step { booted, p2pdma, dma, io, now, .. } = step;
            let mut peers = Peers { p2pdma, tree: &booted.tree, config: &booted.registers };
            let vectors = iommu::in_context(&mut io.writes, &mut peers, *now, |context| {
                buffer.exporter.addresses(dma, function, context)
            });
            let vectors = vectors.map_err(|error| error.to_string())?;
            let first = vectors.segments.first().map(|segment| (segment.address.raw(), segment.kind));
            let (base, kind) = first.unwrap_or((0, DmaKind::Cpu));
            let held = Held::Vectors(vectors);
            Ok(BufferMapping { placement, base, link: None, kind: Some(kind), held })
        }
        (Placement::Device, None, _) => {
            let found = importer.bar.as_ref();
            let (memory, part) = found.ok_or_else(|| importer.peer.refusal.clone().unwrap_or_default())?;
            map_bar(memory, (part.from, bytes), function, step)
        }
    }
}

/// Maps `bytes` behind the first `from` of a BAR: whole pages around them.
pub fn map_bar(
    memory: &BarMemory,
    (from, bytes): (u64, Bytes),
    function: pci::FunctionIndex,
    step: &mut Step<'_>,
) -> Result<BufferMapping, String> {
    let inside = from % PAGE;
    let length = Bytes(bytes.0.saturating_add(inside).next_multiple_of(PAGE));
    let part = (Bytes(from - inside), length);
    let mapped = iommu::map_bar(step.dma, &mut step.io.writes, function, memory, part, step.now);
    mapped
        .map(|mapping| BufferMapping::one(Placement::Device, mapping, inside))
        .map_err(|error| error.to_string())
}
