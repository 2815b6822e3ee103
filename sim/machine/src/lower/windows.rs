//! Address windows of host bridges: checks of those given, a layout for those that are not, and host memory.
//!
//! A host bridge without windows gets two, bus addresses equal to CPU addresses: an equal share, in whole MiB, of
//! the 32-bit area 0x8000_0000 to 0xfebf_ffff (above it are interrupt controllers and firmware), and of the upper
//! quarter of the physical address space that the CPUs share, as a power of two for 64-bit prefetchable memory.
//! Both count all host bridges of the machine and lie around the windows that are given. Where 4 KiB each can be had,
//! a third one is an equal share of the I/O ports 0x1000 to 0xffff: below lie the ports of PC devices.

use peerbus_units::{Address, BusAddr, Bytes, CpuAddr, Range};

use super::context::{Context, Place};
use super::draft::{Draft, DraftDevice};
use crate::codes;
use crate::file;
use crate::memory_map::stack_memory;
use crate::model::{Fact, Window};
use crate::part::ResourceKind;

/// Where 32-bit windows go: from 2 GiB to below the I/O APIC.
const AREA32: (u64, u64) = (0x8000_0000, 0xfebf_ffff);
/// I/O ports below belong to devices of the board.
const IO_FIRST: u64 = 0x1000;
/// Bridges forward memory in units of this.
const GRANULE: u64 = 1 << 20;
/// Host bridges claim memory in units of a page.
const PAGE: u64 = 1 << 12;
/// Below this lie the legacy areas of PCs.
const LEGACY_END: u64 = 1 << 20;

/// The windows of one host bridge, as far as they can exist.
pub(super) fn given(ctx: &mut Context, bridge: &file::HostBridge, place: &Place) -> Vec<Window> {
    let mut found: Vec<Window> = Vec::new();
    for (index, window) in bridge.windows.iter().enumerate() {
        let place = place.element("windows", index);
        let Some(window) = self::window(ctx, window, bridge.placed, &place) else { continue };
        let is_io = |window: &Window| window.kind == ResourceKind::Io;
        let same = |other: &&Window| is_io(other) == is_io(&window) && shared(other, &window);
        if let Some(other) = found.iter().find(same) {
            let message = "this window shares bus addresses with another of this host bridge".to_owned();
            let last = other.bus.0.saturating_add(other.cpu.size().0 - 1);
            let help = format!("write a `bus` address outside {:#x} to {last:#x}", other.bus.0);
            ctx.error(codes::WINDOWS_OVERLAP_BUS, &place, message, help);
        }
        found.push(window);
    }
    found
}

/// True when two windows have bus addresses in common.
fn shared(a: &Window, b: &Window) -> bool {
    let bus = |window: &Window| Range::sized(window.bus, window.cpu.size());
    bus(a).zip(bus(b)).is_some_and(|(a, b)| a.overlaps(b))
}

fn window(ctx: &mut Context, given: &file::Window, placed: bool, place: &Place) -> Option<Window> {
    let cpu = ctx.require(&given.cpu, place, "cpu", "a CPU physical address such as 0x380_0000_0000");
    let size = ctx.require(&given.size, place, "size", "a size such as \"8TiB\"");
    let kind = ctx.require(&given.kind, place, "kind", "Mem32, Mem32Prefetch, Mem64, Mem64Prefetch or Io");
    let bus = ctx.take(&given.bus, place, "bus", "a bus address such as 0x380_0000_0000");
    let (cpu, size, kind) = (cpu?, size?, kind?);
    let bus = bus.unwrap_or(BusAddr(cpu.0));
    let range = Range::sized(cpu, size);
    let (Some(range), Some(on_bus)) = (range, Range::sized(bus, size)) else {
        let message = match size {
            Bytes(0) => "this window is empty".to_owned(),
            _ => format!("a window of {size} does not fit between its first address and the end of 64 bits"),
        };
        ctx.error(codes::WINDOW_EMPTY, &place.field("size"), message, "write a size such as \"256MiB\"");
        return None;
    };
    check_alignment(ctx, range, (bus, kind), placed, place);
    let (limit, what) = match kind {
        ResourceKind::Io => (0xffff, "I/O ports end at 0xffff"),
        kind if kind.is_64bit() => (u64::MAX, ""),
        _ => (u64::from(u32::MAX), "32-bit BARs hold bus addresses below 4GiB"),
    };
    if on_bus.last().0 > limit {
        let message = format!("bus addresses {on_bus} are out of reach of {kind:?}: {what}");
        let help = "write a lower `bus` address, or a 64-bit kind";
        ctx.error(codes::WINDOW_BEYOND_32BIT, place, message, help);
    }
    Some(Window { cpu: range, bus, kind })
}

/// Windows of a machine that a kernel was running on are what its firmware made them.
fn check_alignment(
    ctx: &mut Context,
    cpu: Range<CpuAddr>,
    (bus, kind): (BusAddr, ResourceKind),
    placed: bool,
    place: &Place,
) {
    if kind == ResourceKind::Io {
        return;
    }
    let (first, size) = (cpu.first().0, cpu.size().0);
    let misaligned = |unit: u64| !(first | size | bus.0).is_multiple_of(unit);
    let (from, to) = (first & !(GRANULE - 1), (first.saturating_add(size - 1) | (GRANULE - 1)));
    let size_text = Bytes((to - from).saturating_add(1));
    let help =
        format!("write `cpu: {from:#x}, size: \"{size_text}\"`, and a `bus` that is a multiple of 1MiB");
    if misaligned(PAGE) {
        let message = format!("window {cpu} does not begin and end at multiples of 4KiB");
        ctx.error(codes::WINDOW_NOT_ALIGNED, place, message, help);
    } else if misaligned(GRANULE) && cpu.first().0 >= LEGACY_END && !placed {
        let message = format!(
            "window {cpu} does not begin and end at multiples of 1MiB, which is what bridges below it pass on"
        );
        ctx.warning(codes::WINDOW_NOT_ALIGNED, place, message, help);
    }
}

/// Checks all windows against each other and against the CPUs, and lays out those that are not given.
pub(super) fn lay_out(ctx: &mut Context, draft: &mut Draft, memory: &[(usize, Range<CpuAddr>)]) {
    check_apart(ctx, draft);
    let bits = draft.cpus.iter().filter_map(|cpu| cpu.part.as_ref()).map(|part| part.physical_bits).min();
    // Parts that were not found have been reported; 46 bits then only avoid further noise.
    let bits = u32::from(bits.unwrap_or(46)).clamp(32, 63);
    check_reach(ctx, draft, bits);
    let top = 1u64 << bits;
    defaults(ctx, draft, top);
    if memory.is_empty() {
        check_memory(ctx, draft, top);
    } else {
        check_apart_from(ctx, draft, memory);
    }
}

fn check_apart(ctx: &mut Context, draft: &Draft) {
    let mut seen: Vec<(Window, Place)> = Vec::new();
    for bridge in &draft.bridges {
        for (index, window) in bridge.windows.iter().enumerate() {
            let place = bridge.place.element("windows", index);
            let io = |window: &Window| window.kind == ResourceKind::Io;
            let clash =
                |(other, _): &&(Window, Place)| io(other) == io(window) && other.cpu.overlaps(window.cpu);
            if let Some((other, first)) = seen.iter().find(clash) {
                let message = format!("window {} overlaps {}, which is `{first}`", window.cpu, other.cpu);
                let help = "every CPU address leads to one window: move or shorten one of the two";
                ctx.error(codes::WINDOWS_OVERLAP_CPU, &place, message, help);
            }
            seen.push((*window, place));
        }
    }
}

fn check_reach(ctx: &mut Context, draft: &Draft, bits: u32) {
    for bridge in &draft.bridges {
        for (index, window) in bridge.windows.iter().enumerate() {
            if window.kind != ResourceKind::Io && window.cpu.last().0 >> bits != 0 {
                let place = bridge.place.element("windows", index).field("cpu");
                let message = format!("window {} lies beyond {bits} bits of physical address", window.cpu);
                let help =
                    format!("end it below {:#x}, or use a CPU part with more `physical_bits`", 1u64 << bits);
                ctx.error(codes::WINDOW_BEYOND_CPU, &place, message, help);
            }
        }
    }
}

/// Gives windows to the host bridges that have none.
fn defaults(ctx: &mut Context, draft: &mut Draft, top: u64) {
    let all = draft.bridges.len() as u64;
    let open: Vec<usize> =
        (0..draft.bridges.len()).filter(|index| !draft.bridges[*index].windows_given).collect();
    let windows = draft.bridges.iter().flat_map(|bridge| &bridge.windows);
    let taken: Vec<Range<CpuAddr>> =
        windows.filter(|window| window.kind != ResourceKind::Io).map(|window| window.cpu).collect();
    let Some(first) = open.first().copied() else { return };
    let area32 = (AREA32.1 + 1 - AREA32.0) / all / GRANULE * GRANULE;
    let low = places((AREA32.0, AREA32.1), area32, GRANULE, &taken, open.len());
    let quarter = top / 4 / all;
    let slot = if quarter == 0 { 0 } else { 1u64 << quarter.ilog2() };
    let high = places((top - top / 4, top - 1), slot, slot, &taken, open.len());
    let (Some(low), Some(high)) = (low, high) else {
        let message = "no room is left for the windows of this host bridge".to_owned();
        let help = "give it `windows` too, or leave room between those of the others";
        ctx.error(codes::NO_ROOM_FOR_WINDOWS, &draft.bridges[first].place, message, help);
        return;
    };
    let ports = io_ports(draft, all);
    for ((index, low), high) in open.into_iter().zip(low).zip(high) {
        let window = |cpu: Range<CpuAddr>, kind| Window { cpu, bus: BusAddr(cpu.first().raw()), kind };
        let bridge = &mut draft.bridges[index];
        bridge.windows = vec![window(low, ResourceKind::Mem32), window(high, ResourceKind::Mem64Prefetch)];
        let own_ports =
            ports.and_then(|share| Range::sized(CpuAddr(IO_FIRST + share * index as u64), Bytes(share)));
        bridge.windows.extend(own_ports.map(|range| window(range, ResourceKind::Io)));
        bridge.assumed.insert(Fact::Windows);
    }
}

/// Each host bridge's share of the I/O ports, in units of a bridge's window; `None` when there are too many host
/// bridges, or when some description states ports itself.
fn io_ports(draft: &Draft, bridges: u64) -> Option<u64> {
    let mut given = draft.bridges.iter().flat_map(|bridge| &bridge.windows);
    let share = (0x1_0000 - IO_FIRST) / bridges / PAGE * PAGE;
    (share > 0 && !given.any(|window| window.kind == ResourceKind::Io)).then_some(share)
}

/// `count` free places in an area, lowest first, of `size` or, where those do not fit, of half, a quarter, …
fn places(
    area: (u64, u64),
    size: u64,
    align: u64,
    taken: &[Range<CpuAddr>],
    count: usize,
) -> Option<Vec<Range<CpuAddr>>> {
    let area = Range::new(CpuAddr(area.0), CpuAddr(area.1))?;
    let mut free = vec![area];
    for hole in taken {
        free = free.into_iter().flat_map(|range| <[_; 2]>::from(range.without(*hole))).flatten().collect();
    }
    free.sort_unstable();
    let (mut size, mut align) = (size, align);
    while size >= GRANULE {
        let mut found = Vec::new();
        for range in &free {
            let mut rest = Some(*range);
            while let Some(fit) =
                rest.and_then(|rest| rest.fit_low(Bytes(size), align)).filter(|_| found.len() < count)
            {
                rest = rest.and_then(|rest| rest.without(fit).1);
                found.push(fit);
            }
        }
        if found.len() == count {
            return Some(found);
        }
        size = size / 2 / GRANULE * GRANULE;
        align = align.min(1u64 << size.max(GRANULE).ilog2());
    }
    None
}

/// Reports windows that lie in memory whose place is given. Below 1 MiB both may be: the chipset decides.
fn check_apart_from(ctx: &mut Context, draft: &Draft, memory: &[(usize, Range<CpuAddr>)]) {
    for (index, bridge) in draft.bridges.iter().enumerate().filter(|(_, bridge)| bridge.windows_given) {
        for (number, window) in bridge.windows.iter().enumerate() {
            let legacy = window.kind == ResourceKind::Io || window.cpu.first().0 < LEGACY_END;
            let clash = memory.iter().find(|(_, range)| !legacy && range.overlaps(window.cpu));
            let Some((cpu, range)) = clash else { continue };
            let place = draft.bridges[index].place.element("windows", number).field("cpu");
            let message = format!("window {} lies in the memory of CPU {cpu}, {range}", window.cpu);
            ctx.error(codes::MEMORY_IN_WINDOW, &place, message, "move the window or the memory");
        }
    }
}

/// Reports host memory that shares addresses with a window above 4 GiB, or that the CPUs cannot address.
fn check_memory(ctx: &mut Context, draft: &Draft, top: u64) {
    let of_devices = draft.devices.iter().filter(|device| has_cxl(device)).filter_map(|device| device.memory);
    let memory: Vec<Bytes> = draft.cpus.iter().map(|cpu| cpu.memory).chain(of_devices).collect();
    let windows = draft.bridges.iter().flat_map(|bridge| &bridge.windows);
    let low: Vec<Range<CpuAddr>> =
        windows.filter(|window| window.kind != ResourceKind::Io).map(|window| window.cpu).collect();
    // Memory that is our default makes room; memory that is given must have it.
    let (ranges, complete) = stack_memory(&memory, &low, false);
    if !complete || ranges.iter().any(|(_, range)| range.last().0 >= top) {
        let total: u128 = memory.iter().map(|memory| u128::from(memory.0)).sum();
        let place = Place::default().field("cpus");
        let message = format!(
            "{} of host memory reach beyond {top:#x}, the end of the physical address space",
            sum_text(total)
        );
        ctx.error(
            codes::MEMORY_BEYOND_CPU,
            &place,
            message,
            "write less `memory`, or use CPU parts with more `physical_bits`",
        );
        return;
    }
    for (index, bridge) in draft.bridges.iter().enumerate().filter(|(_, bridge)| bridge.windows_given) {
        for (number, window) in
            bridge.windows.iter().enumerate().filter(|(_, window)| window.kind != ResourceKind::Io)
        {
            let clash = |(cpu, range): &&(usize, Range<CpuAddr>)| {
                draft.cpus.get(*cpu).is_none_or(|cpu| cpu.memory_given) && range.overlaps(window.cpu)
            };
            let Some((cpu, range)) = ranges.iter().find(clash) else { continue };
            let place = draft.bridges[index].place.element("windows", number).field("cpu");
            let owner =
                if *cpu < draft.cpus.len() { format!("CPU {cpu}") } else { "a CXL device".to_owned() };
            let message = format!("window {} lies in the memory of {owner}, {range}", window.cpu);
            let end = ranges.last().map_or(0, |(_, range)| range.last().0.saturating_add(1));
            ctx.error(
                codes::MEMORY_IN_WINDOW,
                &place,
                message,
                format!("host memory ends at {end:#x}: put the window above"),
            );
        }
    }
}

/// Its memory is stacked above that of the CPUs.
fn has_cxl(device: &DraftDevice) -> bool {
    device.part.as_ref().is_some_and(|part| part.cxl.is_some())
}

fn sum_text(total: u128) -> String {
    u64::try_from(total).map_or_else(|_| "more than 16EiB".to_owned(), |total| Bytes(total).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> Range<CpuAddr> {
        Range::new(CpuAddr(first), CpuAddr(last)).unwrap()
    }

    #[test]
    fn places_lie_around_what_is_taken() {
        let mib = |n: u64| n << 20;
        let area = (mib(100), mib(200) - 1);
        let taken = [range(mib(100), mib(110) - 1), range(mib(150), mib(160) - 1)];
        assert_eq!(
            places(area, mib(40), GRANULE, &taken, 2),
            Some(vec![range(mib(110), mib(150) - 1), range(mib(160), mib(200) - 1),])
        );
        let halved = vec![range(mib(110), mib(135) - 1), range(mib(160), mib(185) - 1)];
        assert_eq!(places(area, mib(50), GRANULE, &taken, 2), Some(halved));
        assert_eq!(places(area, mib(1), GRANULE, &[range(0, mib(300))], 1), None);
    }
}
