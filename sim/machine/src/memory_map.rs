//! Where DRAM lies in CPU physical address space.
//!
//! The memories of all CPUs are stacked in order: the first 2 GiB from address 0, everything else from 4 GiB up,
//! as x86 firmware does to keep room for 32-bit windows.

use peerbus_units::{Bytes, CpuAddr, Range};

use crate::model::Machine;

/// DRAM below the 32-bit windows.
const LOW: u64 = 2 << 30;
/// Where DRAM goes on above them.
const HIGH: u64 = 4 << 30;

impl Machine {
    /// DRAM in CPU physical addresses, lowest first: index of the CPU it belongs to, and the range.
    pub fn memory_ranges(&self) -> Vec<(usize, Range<CpuAddr>)> {
        let mut ranges = Vec::new();
        let mut next = 0u64;
        for (cpu, Bytes(mut left)) in self.cpus.iter().map(|cpu| cpu.memory).enumerate() {
            while left > 0 {
                let room = if next < LOW { LOW - next } else { u64::MAX - next };
                let part = left.min(room);
                ranges.extend(Range::sized(CpuAddr(next), Bytes(part)).map(|range| (cpu, range)));
                next += part;
                if next == LOW {
                    next = HIGH;
                }
                // Memory beyond the end of the address space exists nowhere; lowering reports it.
                left = if next == u64::MAX { 0 } else { left - part };
            }
        }
        ranges
    }
}
