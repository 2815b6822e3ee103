//! Where memory lies in CPU physical address space.
//!
//! The memories of all CPUs are stacked in order: the first 2 GiB from address 0, everything else from 4 GiB up,
//! as x86 firmware does to keep room for 32-bit windows. Windows of host bridges are left out, wherever they
//! are; the legacy areas below 1 MiB are not, since memory lies behind them. Where a capture shows the ranges of
//! memory, they are taken as they are. Memory of devices that CPUs use by CXL lies above that of the CPUs, in the order of the
//! devices, as firmware sets up its windows.

use peerbus_units::{Bytes, CpuAddr, Range};

use crate::model::Machine;
use crate::part::ResourceKind;

/// End of DRAM below the 32-bit windows.
const LOW: u64 = 2 << 30;
/// Where DRAM goes on above them.
const HIGH: u64 = 4 << 30;
/// Windows below this do not displace memory.
const LEGACY_END: u64 = 1 << 20;

impl Machine {
    /// DRAM in CPU physical addresses, lowest first: index of the CPU it belongs to, and the range.
    pub fn memory_ranges(&self) -> Vec<(usize, Range<CpuAddr>)> {
        if !self.capture.memory.is_empty() {
            return self.capture.memory.clone();
        }
        let memory: Vec<Bytes> = self.cpus.iter().map(|cpu| cpu.memory).collect();
        stack_memory(&memory, &self.memory_windows(), true).0
    }

    /// Memory of devices that CPUs use by CXL, in CPU physical addresses, lowest first: index of the device, and the range.
    pub fn cxl_ranges(&self) -> Vec<(usize, Range<CpuAddr>)> {
        let memories = self.cxl_memories();
        if memories.is_empty() {
            return Vec::new();
        }
        let mut taken = self.memory_windows();
        let end = self.memory_ranges().last().map_or(HIGH, |(_, range)| range.last().0.saturating_add(1));
        taken.extend(Range::new(CpuAddr(0), CpuAddr(end.max(HIGH) - 1)));
        let sizes: Vec<Bytes> = memories.iter().map(|memory| memory.size).collect();
        let ranges = stack_memory(&sizes, &taken, true).0;
        ranges.into_iter().map(|(index, range)| (memories[index].device, range)).collect()
    }

    /// All memory that software may use as its own, lowest first.
    pub fn ram(&self) -> Vec<Range<CpuAddr>> {
        let ranges = self.memory_ranges().into_iter().chain(self.cxl_ranges());
        ranges.map(|(_, range)| range).collect()
    }

    fn memory_windows(&self) -> Vec<Range<CpuAddr>> {
        let windows = self.host_bridges.iter().flat_map(|bridge| &bridge.windows);
        windows.filter(|window| window.kind != ResourceKind::Io).map(|window| window.cpu).collect()
    }
}

/// Stacks `memory`, one entry per CPU, around `windows`; those above 4 GiB only count when `everywhere`. Says
/// also whether all of it found a place in 64 bits.
pub(crate) fn stack_memory(
    memory: &[Bytes],
    windows: &[Range<CpuAddr>],
    everywhere: bool,
) -> (Vec<(usize, Range<CpuAddr>)>, bool) {
    let mut free: Vec<Range<CpuAddr>> = [(0, LOW - 1), (HIGH, u64::MAX)]
        .into_iter()
        .filter_map(|(a, b)| Range::new(CpuAddr(a), CpuAddr(b)))
        .collect();
    let in_the_way =
        |window: &&Range<CpuAddr>| window.last().0 >= LEGACY_END && (everywhere || window.first().0 < HIGH);
    for window in windows.iter().filter(in_the_way) {
        free = free.into_iter().flat_map(|range| <[_; 2]>::from(range.without(*window))).flatten().collect();
    }
    let mut ranges = Vec::new();
    let mut free = free.into_iter();
    let mut here = free.next();
    for (cpu, Bytes(mut left)) in memory.iter().copied().enumerate() {
        while left > 0 {
            let Some(room) = here else { return (ranges, false) };
            let part = Range::sized(room.first(), Bytes(left.min(room.size().0)));
            let Some(part) = part else { return (ranges, false) };
            ranges.push((cpu, part));
            left -= part.size().0;
            here = room.without(part).1.or_else(|| free.next());
        }
    }
    (ranges, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(memory: &[u64], windows: &[(u64, u64)], expected: &[(usize, u64, u64)]) {
        let memory: Vec<Bytes> = memory.iter().map(|gib| Bytes::gib(*gib)).collect();
        let range = |(a, b): &(u64, u64)| Range::new(CpuAddr(*a), CpuAddr(*b)).unwrap();
        let windows: Vec<_> = windows.iter().map(range).collect();
        let (found, complete) = stack_memory(&memory, &windows, true);
        let found: Vec<_> =
            found.iter().map(|(cpu, range)| (*cpu, range.first().0, range.last().0)).collect();
        assert_eq!((found.as_slice(), complete), (expected, true));
    }

    #[test]
    fn memory_is_stacked_around_windows() {
        const G: u64 = 1 << 30;
        check(&[1], &[], &[(0, 0, G - 1)]);
        check(&[1, 4], &[], &[(0, 0, G - 1), (1, G, 2 * G - 1), (1, 4 * G, 7 * G - 1)]);
        check(&[3], &[(0xa_0000, 0xb_ffff), (G, 2 * G - 1)], &[(0, 0, G - 1), (0, 4 * G, 6 * G - 1)]);
        check(
            &[8],
            &[(5 * G, 6 * G - 1)],
            &[(0, 0, 2 * G - 1), (0, 4 * G, 5 * G - 1), (0, 6 * G, 11 * G - 1)],
        );
        check(&[0, 1], &[], &[(1, 0, G - 1)]);
    }

    #[test]
    fn memory_beyond_64_bits_finds_no_place() {
        let memory = [Bytes(u64::MAX), Bytes(u64::MAX)];
        assert!(!stack_memory(&memory, &[], true).1);
    }
}
