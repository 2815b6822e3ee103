//! BARs that show a device's memory by a table of pages: where a request for an address of the BAR finds its byte.
//!
//! A driver writes the table. A request for a page that it does not hold is an Unsupported Request: a read is answered as
//! one, a write is dropped and counted. Since no request crosses 4 KiB and no page is smaller, each is in one page. The
//! look-up takes the same time whatever it finds, and one does not wait for another. What comes by a private link has
//! addresses of the memory itself, and is not looked up.

use peerbus_machine::model::{FunctionIndex, Machine};
use peerbus_machine::registers::DecodedBar;
use peerbus_units::{Address, BusAddr, Range};

use crate::cursor::Cursor;
use crate::decode::{Decode, MissKind, Next};
use crate::run::Fabric;
use crate::spec::{EngineId, NodeId};
use crate::walk::{End, walk};

/// Pages of a BAR that follow each other, and so do the pages of memory that they show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Shown {
    /// First byte in the BAR.
    pub at: u64,
    /// First byte in the memory.
    pub memory: u64,
    /// Bytes; more than 0.
    pub size: u64,
}

/// The table of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Aperture {
    /// The device's first function, whose largest memory BAR it is about.
    function: FunctionIndex,
    /// Runs by rising place in the BAR, which do not overlap there.
    runs: Vec<Shown>,
}

impl Aperture {
    /// The table of a device of `machine` that has one, as drivers write it at start: the memory from its first byte on, as
    /// far as the BAR reaches.
    pub(crate) fn of(machine: &Machine, device: usize) -> Option<Aperture> {
        let device = &machine.devices[device];
        let page = device.aperture?.page.0;
        let function = device.functions[0];
        let size = device.memory.map_or(u64::MAX, |memory| memory.0) / page * page;
        let all = Shown { at: 0, memory: 0, size };
        Some(Aperture { function, runs: if size == 0 { Vec::new() } else { vec![all] } })
    }

    /// The run that holds place `at` of the BAR, or first and last place around it that no run holds.
    fn find(&self, at: u64) -> Result<Shown, (u64, u64)> {
        let behind = self.runs.partition_point(|run| run.at <= at);
        let before = behind.checked_sub(1).map(|before| self.runs[before]);
        match before {
            Some(run) if at - run.at < run.size => Ok(run),
            _ => {
                let first = before.map_or(0, |run| run.at + run.size);
                let last = self.runs.get(behind).map_or(u64::MAX, |run| run.at - 1);
                Err((first, last))
            }
        }
    }
}

/// The BAR behind which a function's memory is: the largest, of equal ones the first.
pub(crate) fn memory_bar(bars: &[DecodedBar]) -> Option<Range<BusAddr>> {
    let size = bars.iter().map(|bar| bar.range.size()).max()?;
    bars.iter().map(|bar| bar.range).find(|range| range.size() == size)
}

impl Decode {
    /// What becomes of a request for an address in `bar` of `function`, at its device.
    pub(crate) fn behind_bar(
        &self,
        node: NodeId,
        (function, bar): (FunctionIndex, Range<BusAddr>),
        cursor: &mut Cursor,
    ) -> Next {
        let tables = self.apertures.iter().flatten();
        let shown = |table: &&Aperture| table.function == function;
        let decode = &self.functions[function.index()];
        let Some(table) = tables.into_iter().find(shown).filter(|_| decode.memory_bar == Some(bar)) else {
            return Next::Here;
        };
        let at = cursor.addr() - bar.first().raw();
        let part = |first: u64, last: u64| {
            let first = bar.first().raw().saturating_add(first);
            let last = bar.first().raw().saturating_add(last).min(bar.last().raw());
            Range::new(BusAddr(first), BusAddr(last))
        };
        match table.find(at) {
            Ok(run) => {
                if let Some(range) = part(run.at, run.at + (run.size - 1)) {
                    cursor.is_in(range);
                }
                cursor.translate(bar.first().raw().wrapping_add(run.at), run.memory);
                Next::Shown
            }
            Err((first, last)) => {
                if let Some(range) = part(first, last) {
                    cursor.is_in(range);
                }
                let text = format!("its page is not mapped in the aperture of {}, {bar}", decode.name);
                self.refuse(MissKind::ApertureFault, node, cursor, text)
            }
        }
    }
}

impl Fabric {
    /// Writes the table by which the largest memory BAR of `device` shows its memory; a device without one keeps showing all
    /// of it. Runs are whole pages and do not overlap in the BAR. Requests under way go where they were going.
    pub fn show(&mut self, device: usize, mut runs: Vec<Shown>) {
        runs.retain(|run| run.size > 0);
        runs.sort_unstable();
        let apart = runs.windows(2).all(|pair| pair[0].size <= pair[1].at - pair[0].at);
        assert!(apart, "a page of a BAR shows one page of memory: {runs:?}");
        if let Some(table) = &mut self.decode.apertures[device] {
            table.runs = runs;
            self.tables_were_written();
        }
    }

    /// Where a request of `engine` for `addr` finds its byte: the node, and the address in its memory, which for host memory
    /// is a CPU address. `None` when it is refused.
    pub fn place_in_memory(&mut self, engine: EngineId, addr: u64) -> Option<(NodeId, u64)> {
        let (kind, requester) = (self.spec.kind_of_addresses(engine), &self.spec.engines[engine.at()]);
        let mut cursor = Cursor::new(requester.requester, addr, kind);
        let walk = walk(&self.spec, &self.decode, requester.node, &mut cursor);
        matches!(walk.end, End::Memory | End::Aperture).then_some((walk.node, cursor.addr()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_a_run_or_between_runs() {
        let run = |at, memory, size| Shown { at, memory, size };
        let runs = vec![run(0x1000, 0x8000, 0x2000), run(0x4000, 0x0, 0x1000)];
        let table = Aperture { function: FunctionIndex::new(0), runs };
        let check = |at, expect| assert_eq!(table.find(at), expect, "{at:#x}");
        check(0, Err((0, 0xfff)));
        check(0xfff, Err((0, 0xfff)));
        check(0x1000, Ok(run(0x1000, 0x8000, 0x2000)));
        check(0x2fff, Ok(run(0x1000, 0x8000, 0x2000)));
        check(0x3000, Err((0x3000, 0x3fff)));
        check(0x4fff, Ok(run(0x4000, 0x0, 0x1000)));
        check(0x5000, Err((0x5000, u64::MAX)));
        check(u64::MAX, Err((0x5000, u64::MAX)));
    }
}
