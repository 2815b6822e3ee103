//! What the PCIe specification allows for the numbers of parts and files.

use peerbus_units::Bytes;

use crate::catalogue::kind_word;
use crate::part::{AtcPart, BarPart, CachePart, IommuPart, NtbPart, Part, ResourceKind};

/// Widths a link can have.
pub(super) const LANES: [u8; 7] = [1, 2, 4, 8, 12, 16, 32];

/// Highest generation the simulator knows.
pub(super) const GENERATIONS: std::ops::RangeInclusive<u8> = 1..=7;

/// True for the payload and read request sizes that Device Control can hold: 128 B to 4 KiB.
pub(super) fn is_transfer_size(size: Bytes) -> bool {
    size.is_power_of_two() && (128..=4096).contains(&size.0)
}

/// True for a class code: base class, subclass, interface.
pub(super) fn is_class(class: u32) -> bool {
    class <= 0xff_ffff
}

/// The smallest and largest size of a BAR of `kind`.
pub(super) fn bar_sizes(kind: ResourceKind) -> (Bytes, Bytes) {
    match kind {
        ResourceKind::Io => (Bytes(4), Bytes(256)),
        ResourceKind::Mem32 | ResourceKind::Mem32Prefetch => (Bytes(16), Bytes::gib(2)),
        ResourceKind::Mem64 | ResourceKind::Mem64Prefetch => (Bytes(16), Bytes(1 << 63)),
    }
}

/// ACS control bits that a capability word permits: bits 0–6 one to one; bits 7–12 with the enhanced
/// capability, bit 7. Bits 8–15 of the capability are the size of the egress control vector.
pub(super) fn acs_controls(capability: u16) -> u16 {
    capability & 0x7f | if capability & 0x80 == 0 { 0 } else { 0x1f80 }
}

/// What is impossible about a part: field and problem.
pub fn part_problems(part: &Part) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut check = |good: bool, field: &'static str, problem: &str| {
        if !good {
            found.push((field, format!("`{field}` of {} part `{}` {problem}", kind_word(part), part.id())));
        }
    };
    match part {
        Part::Cpu(cpu) => {
            check((32..=57).contains(&cpu.physical_bits), "physical_bits", "is not between 32 and 57");
            check(
                cpu.virtual_bits.is_none_or(|bits| (32..=64).contains(&bits)),
                "virtual_bits",
                "is not between 32 and 64",
            );
            check(cpu.host_bridges > 0, "host_bridges", "is zero");
            check(
                cpu.root_bus_head.is_none_or(|head| is_class(head.class)),
                "root_bus_head",
                "has a class beyond 24 bits",
            );
            check(
                [64, 128].contains(&cpu.read_completion_boundary.0),
                "read_completion_boundary",
                "is not 64B or 128B",
            );
            let buffers = cpu.core.is_none_or(|core| core.write_buffers > 0 && core.streaming_loads > 0);
            check(buffers, "core", "has no write buffers, or none for loads");
            check(answers(cpu.reads_in_turn), "reads_in_turn", "is not between 1 and 64");
            link_end(&mut check, cpu.generation, cpu.lanes, cpu.max_payload);
            check(cpu.iommu.is_none_or(iommu_fits), "iommu", "cannot exist; see its fields for their ranges");
            check(cpu.cache.is_none_or(cache_fits), "cache", "cannot exist; see its fields for their ranges");
            let cut = cpu.peer_limits.and_then(|limits| limits.max_payload);
            check(
                cut.is_none_or(|cut| cut.is_power_of_two() && (64..=4096).contains(&cut.0)),
                "peer_limits",
                "has a `max_payload` that is not a power of two from 64B to 4KiB",
            );
        }
        Part::Switch(switch) => {
            check(switch.ports >= 2, "ports", "is less than 2");
            check(switch.total_lanes >= u16::from(switch.lanes), "total_lanes", "is less than one port has");
            link_end(&mut check, switch.generation, switch.lanes, switch.max_payload);
        }
        Part::Device(device) => {
            check(is_class(device.class), "class", "is beyond 24 bits");
            check(
                is_transfer_size(device.max_read_request),
                "max_read_request",
                "is not a power of two from 128B to 4KiB",
            );
            check(device.tags > 0, "tags", "is zero");
            let rate = device.nvme.is_none_or(|nvme| nvme.commands_per_second > 0);
            check(rate, "nvme", "begins no commands");
            let buffer = device.nvme.and_then(|nvme| nvme.memory_buffer);
            let buffer = buffer.is_none_or(|buffer| buffer.is_possible(&device.bars));
            check(buffer, "nvme", "has a memory buffer that cannot exist; see its fields for their ranges");
            let pieces = device.dma.is_none_or(|dma| dma.write.is_possible() && dma.read.is_possible());
            check(pieces, "dma", "copies in pieces that are no power of two from 4B to 4KiB");
            let atc = device.atc.is_none_or(atc_fits);
            check(atc, "atc", "cannot exist; see its fields for their ranges");
            let cxl = device.cxl.is_none_or(|cxl| cxl.is_possible());
            check(cxl, "cxl", "cannot exist; see its fields for their ranges");
            check(answers(device.reads_in_turn), "reads_in_turn", "is not between 1 and 64");
            let aperture = device.aperture.is_none_or(|aperture| aperture.is_possible());
            check(aperture, "aperture", "cannot exist; see its fields for their ranges");
            let ntb = device.ntb.as_ref().is_none_or(NtbPart::is_possible);
            check(ntb, "ntb", "cannot exist; see its fields for their ranges");
            check(bars_fit(&device.bars), "bars", "holds a BAR that cannot exist");
            link_end(&mut check, device.generation, device.lanes, device.max_payload);
        }
        Part::CpuLink(_) | Part::Interconnect(_) => {}
    }
    found
}

fn answers(in_turn: Option<u8>) -> bool {
    in_turn.is_none_or(|reads| (1..=64).contains(&reads))
}

fn iommu_fits(iommu: IommuPart) -> bool {
    (1..=64).contains(&iommu.ways)
        && (1..=4096).contains(&iommu.entries)
        && iommu.entries.is_multiple_of(iommu.ways)
        && iommu.walk_entries <= 1024
        && (1..=64).contains(&iommu.walkers)
}

fn atc_fits(atc: AtcPart) -> bool {
    (1..=4096).contains(&atc.entries) && (1..=256).contains(&atc.requests) && atc.page_requests <= 256
}

fn cache_fits(cache: CachePart) -> bool {
    (1..=64).contains(&cache.ways)
        && cache.write_ways <= cache.ways
        && (1..=1 << 30).contains(&cache.size.0)
        && cache.size.0.is_multiple_of(64 * u64::from(cache.ways))
}

fn link_end(check: &mut impl FnMut(bool, &'static str, &str), generation: u8, lanes: u8, payload: Bytes) {
    check(GENERATIONS.contains(&generation), "generation", "is not between 1 and 7");
    check(LANES.contains(&lanes), "lanes", "is not 1, 2, 4, 8, 12, 16 or 32");
    check(is_transfer_size(payload), "max_payload", "is not a power of two from 128B to 4KiB");
}

fn bars_fit(bars: &[BarPart]) -> bool {
    let mut used = [false; 7];
    bars.iter().all(|bar| {
        let (smallest, largest) = bar_sizes(bar.kind);
        let first = usize::from(bar.index);
        let registers = first..first + if bar.kind.is_64bit() { 2 } else { 1 };
        let free = registers.end <= 6 && registers.clone().all(|register| !used[register]);
        if free {
            registers.for_each(|register| used[register] = true);
        }
        free && bar.size.is_power_of_two() && (smallest..=largest).contains(&bar.size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acs_control_follows_the_capability() {
        assert_eq!(acs_controls(0x005f), 0x005f);
        assert_eq!(acs_controls(0xff5f), 0x005f, "the vector size permits nothing");
        assert_eq!(acs_controls(0x00ff), 0x1fff);
    }

    #[test]
    fn bars_share_no_register() {
        let bar = |index, kind| BarPart { index, size: Bytes::mib(1), kind, resizable: None };
        let (narrow, wide) = (ResourceKind::Mem32, ResourceKind::Mem64Prefetch);
        assert!(bars_fit(&[bar(0, narrow), bar(1, wide), bar(3, wide), bar(5, narrow)]));
        assert!(!bars_fit(&[bar(5, wide)]));
        assert!(!bars_fit(&[bar(0, wide), bar(1, narrow)]));
        assert!(!bars_fit(&[bar(6, narrow)]));
        assert!(!bars_fit(&[BarPart { size: Bytes(3 << 20), ..bar(0, narrow) }]));
    }
}
