//! [`Cache`]: the lines that a CPU's last-level cache holds, as far as devices find them there.
//!
//! A read of a device takes from the cache what is there and from memory the rest, without leaving it in the cache. A
//! write changes a line that is there, and otherwise takes a place among the ways that the part reserves for such writes;
//! what was changed and loses its place is written to memory. Within its ways the line unused for longest goes.

use peerbus_machine::part::CachePart;
use peerbus_units::{CpuAddr, Range};

use crate::ledger::CacheLedger;

/// What software left of a piece of memory in the cache before a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warmth {
    /// Nothing.
    Cold,
    /// As if a CPU had just read it from its first to its last byte.
    Host,
    /// As if a device had just written it from its first to its last byte.
    Device,
}

const LINE: u64 = 64;
/// Bit of a tag: the line has been changed.
const CHANGED: u64 = 1 << 63;

/// Tags of all lines. A tag is the number of a line of memory plus 1; 0 is an empty place.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    tags: Vec<u64>,
    used: Vec<u32>,
    ways: usize,
    write_ways: usize,
    sets: u64,
    /// Counts uses, modulo 2^32.
    clock: u32,
}

impl Cache {
    pub fn new(part: &CachePart) -> Cache {
        let ways = usize::from(part.ways.max(1));
        let lines = usize::try_from(part.size.0 / LINE).unwrap_or(0).max(ways);
        let sets = lines / ways;
        Cache {
            tags: vec![0; sets * ways],
            used: vec![0; sets * ways],
            ways,
            write_ways: usize::from(part.write_ways).min(ways),
            sets: u64::try_from(sets).unwrap_or(1),
            clock: 0,
        }
    }

    fn first_place(&self, line: u64) -> usize {
        usize::try_from(line % self.sets).unwrap_or(0) * self.ways
    }

    /// Uses `line` if it is there: its place.
    fn touch(&mut self, line: u64) -> Option<usize> {
        let first = self.first_place(line);
        let place = (first..first + self.ways).find(|place| self.tags[*place] & !CHANGED == line + 1)?;
        self.clock = self.clock.wrapping_add(1);
        self.used[place] = self.clock;
        Some(place)
    }

    /// Gives `line` a place among the first `ways` of its set. True when a changed line lost it.
    fn insert(&mut self, line: u64, ways: usize, changed: u64) -> bool {
        let first = self.first_place(line);
        let places = first..first + ways;
        let empty = places.clone().find(|place| self.tags[*place] == 0);
        let oldest = |place: &usize| self.clock.wrapping_sub(self.used[*place]);
        let Some(place) = empty.or_else(|| places.max_by_key(oldest)) else { return false };
        let lost = self.tags[place] & CHANGED != 0;
        self.clock = self.clock.wrapping_add(1);
        self.tags[place] = (line + 1) | changed;
        self.used[place] = self.clock;
        lost
    }

    /// A device reads: lines that only memory has.
    pub fn read(&mut self, addr: u64, bytes: u64) -> u64 {
        let mut missed = 0;
        for line in lines(addr, bytes) {
            missed += u64::from(self.touch(line).is_none());
        }
        missed
    }

    /// A device writes: lines that memory has to take.
    pub fn write(&mut self, addr: u64, bytes: u64) -> u64 {
        let mut to_memory = 0;
        for line in lines(addr, bytes) {
            match self.touch(line) {
                Some(place) => self.tags[place] |= CHANGED,
                None if self.write_ways == 0 => to_memory += 1,
                None => to_memory += u64::from(self.insert(line, self.write_ways, CHANGED)),
            }
        }
        to_memory
    }

    /// A device reads or writes: bytes that memory has to move for it. Counts lines.
    pub fn serve(&mut self, write: bool, addr: u64, bytes: u64, ledger: &mut CacheLedger) -> u64 {
        let lines = lines(addr, bytes).count() as u64;
        if write {
            let back = self.write(addr, bytes);
            ledger.writes += lines;
            ledger.written_back += back;
            LINE * back
        } else {
            let missed = self.read(addr, bytes);
            ledger.read_misses += missed;
            ledger.read_hits += lines - missed;
            if missed == lines { bytes } else { LINE * missed }
        }
    }

    /// Lets `range` be as `warmth` says.
    pub fn prepare(&mut self, range: Range<CpuAddr>, warmth: Warmth) {
        for line in range.first().0 / LINE..=range.last().0 / LINE {
            match (self.touch(line), warmth) {
                (Some(place), Warmth::Cold | Warmth::Device) => self.tags[place] = 0,
                (None, Warmth::Host) => {
                    self.insert(line, self.ways, 0);
                }
                _ => {}
            }
        }
        if warmth == Warmth::Device {
            for line in range.first().0 / LINE..=range.last().0 / LINE {
                self.write(line * LINE, LINE);
            }
        }
    }
}

/// Numbers of the lines that hold `bytes` from `addr` on. Addresses have fewer than 63 bits wherever memory is.
fn lines(addr: u64, bytes: u64) -> std::ops::RangeInclusive<u64> {
    addr / LINE..=addr.saturating_add(bytes.max(1) - 1) / LINE
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerbus_units::{Bytes, Picos};

    /// 8 KiB: 128 lines in 32 sets of 4, of which device writes may take 1.
    fn part() -> CachePart {
        let rate = "100GB/s".parse().unwrap();
        CachePart { size: Bytes::kib(8), ways: 4, write_ways: 1, latency: Picos::nanos(20), rate }
    }

    fn cache() -> Cache {
        Cache::new(&part())
    }

    fn range(first: u64, bytes: u64) -> Range<CpuAddr> {
        Range::sized(CpuAddr(first), Bytes(bytes)).unwrap()
    }

    #[test]
    fn reads_of_devices_find_what_was_left_and_leave_nothing() {
        let check = |warmth, window: u64, expect: u64| {
            let mut cache = cache();
            cache.prepare(range(0, window), warmth);
            let missed: Vec<u64> = (0..2).map(|_| cache.read(0, window)).collect();
            assert_eq!(missed, [expect, expect], "{warmth:?} {window}");
        };
        check(Warmth::Cold, 4096, 64);
        check(Warmth::Host, 8192, 0);
        // Twice as large as the cache: the first half lost its places to the second.
        check(Warmth::Host, 16384, 128);
        // What a device wrote has a quarter of the places.
        check(Warmth::Device, 2048, 0);
        check(Warmth::Device, 4096, 32);
    }

    #[test]
    fn writes_go_to_memory_when_they_lose_their_place() {
        let mut cache = cache();
        // 32 lines find places; the next 32 drive them out.
        assert_eq!([cache.write(0, 2048), cache.write(2048, 2048)], [0, 32]);
        // Lines that are there are changed in place.
        assert_eq!(cache.write(2048, 2048), 0);
        // Lines that only a CPU read are dropped without a word.
        let mut cache = Cache::new(&CachePart { write_ways: 4, ..part() });
        cache.prepare(range(0, 8192), Warmth::Host);
        assert_eq!([cache.write(1 << 20, 8192), cache.write(1 << 21, 8192)], [0, 128]);
    }

    #[test]
    fn without_ways_for_them_writes_pass_by() {
        let part = CachePart { write_ways: 0, ..part() };
        let mut cache = Cache::new(&part);
        assert_eq!([cache.write(0, 100), cache.read(0, 100)], [2, 2]);
        cache.prepare(range(0, 64), Warmth::Host);
        assert_eq!([cache.write(0, 100), cache.read(0, 100)], [1, 1]);
    }
}
