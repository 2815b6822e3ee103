//! What PC firmware does before a kernel starts: numbers buses and places everything, as SeaBIOS does.
//!
//! Per bus and kind (I/O, memory, prefetchable memory) a list of entries, largest alignment first. A bridge's
//! entry is as long as its contents, rounded up to the largest alignment among them, at least 4 KiB (I/O) or
//! 2 MiB; a slot for hot-plug gets that much memory though nothing is in it. Root entries go below 0xfec00000;
//! where that is too little, 64-bit ones move above 4 GiB.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_os::ConfigAccess;
use peerbus_units::FunctionId;
use serde_json::Value;

use crate::fake::Fake;
use crate::recordings::{items, text};

const IO: usize = 0;
const MEMORY: usize = 1;
const PREFETCH: usize = 2;
const GIB: u64 = 1 << 30;
/// Below: configuration space. Above: interrupt controllers and the firmware itself.
const LOW_MEMORY: (u64, u64) = (0xc000_0000, 0xfec0_0000);

#[derive(Clone, Copy)]
enum Target {
    Bar(u16),
    Window,
}

#[derive(Clone, Copy)]
struct Entry {
    function: FunctionId,
    target: Target,
    size: u64,
    align: u64,
    wide: bool,
}

#[derive(Clone, Default)]
struct Region {
    entries: Vec<Entry>,
    base: u64,
}

impl Region {
    fn insert(&mut self, entry: Entry) {
        let before = |other: &Entry| (other.align, other.size) < (entry.align, entry.size);
        let position = self.entries.iter().position(before).unwrap_or(self.entries.len());
        self.entries.insert(position, entry);
    }

    fn sum(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    fn align(&self) -> u64 {
        self.entries.first().map_or(1, |entry| entry.align)
    }

    fn take_wide(&mut self) -> Region {
        let (wide, narrow) = self.entries.iter().partition(|entry| entry.wide);
        self.entries = narrow;
        Region { entries: wide, base: 0 }
    }
}

/// A bridge: where it answers, the bus behind it, and whether its slot takes hot-plugged devices.
struct Bridge {
    id: FunctionId,
    secondary: u8,
    slot: bool,
}

struct Firmware<'a> {
    fake: &'a mut Fake,
    buses: BTreeMap<u8, [Region; 3]>,
    bridges: Vec<Bridge>,
}

/// The SMBus controller of the chipset, and the ports firmware always gives it.
const SMBUS: (u32, u32) = (0x2930_8086, 0x700);

/// Numbers and places everything in `fake`, whose functions are those of the recording, at the same positions.
pub fn place(fake: &mut Fake, record: &Value) {
    let mut firmware = Firmware { fake, buses: BTreeMap::new(), bridges: Vec::new() };
    firmware.number(record);
    firmware.collect(record);
    firmware.size_bridges();
    firmware.place_all();
    for device in items(&record["devices"]) {
        let id: FunctionId = text(device, "bdf").parse().unwrap();
        if firmware.fake.read_dword(id, 0) == SMBUS.0 {
            firmware.fake.write_dword(id, 0x20, SMBUS.1);
        }
        firmware.fake.write_word(id, 4, 0x7);
    }
}

impl Firmware<'_> {
    /// Recorded bus numbers are depth first already; a bridge with nothing behind has the next free number.
    fn number(&mut self, record: &Value) {
        let devices = items(&record["devices"]);
        let id = |device: &Value| text(device, "bdf").parse::<FunctionId>().unwrap();
        let mut bridges: Vec<_> = Vec::new();
        let roots = devices.iter().filter(|device| text(device, "up") == "root").map(|device| id(device).bus);
        for root in roots.collect::<BTreeSet<_>>() {
            number_below(devices, ("root", root), &mut (root + 1), &mut bridges);
        }
        for (position, secondary, last) in bridges {
            let device = &devices[position];
            self.fake.bus_numbers(position, id(device).bus, secondary, last);
            let slot = matches!(device["ptype"].as_i64(), Some(4 | 6));
            self.bridges.push(Bridge { id: id(device), secondary, slot });
        }
        self.buses.insert(0, Default::default());
        for bridge in &self.bridges {
            self.buses.insert(bridge.secondary, Default::default());
        }
    }

    fn collect(&mut self, record: &Value) {
        for bar in items(&record["bars"]) {
            let function: FunctionId = bar[0].as_str().unwrap().parse().unwrap();
            let kind = bar[2].as_str().unwrap();
            let region = match kind {
                "io" => IO,
                kind if kind.contains("pref") => PREFETCH,
                _ => MEMORY,
            };
            let size = bar[3].as_u64().unwrap().max(if region == IO { 0 } else { 4096 });
            let target = Target::Bar(u16::try_from(bar[1].as_u64().unwrap()).unwrap());
            let entry = Entry { function, target, size, align: size, wide: kind.contains("64bit") };
            self.regions(function.bus)[region].insert(entry);
        }
    }

    /// Entries of a bus; those of all root buses share one list.
    fn regions(&mut self, bus: u8) -> &mut [Region; 3] {
        let bus = if self.buses.contains_key(&bus) { bus } else { 0 };
        self.buses.get_mut(&bus).unwrap()
    }

    fn size_bridges(&mut self) {
        self.bridges.sort_by_key(|bridge| std::cmp::Reverse(bridge.secondary));
        for index in 0..self.bridges.len() {
            let Bridge { id, secondary, slot } = self.bridges[index];
            for kind in [IO, MEMORY, PREFETCH] {
                let region = &self.regions(secondary)[kind];
                let align = region.align().max(if kind == IO { 0x1000 } else { 2 << 20 });
                let kept = if region.sum() == 0 && slot && kind != IO { align } else { region.sum() };
                let wide = kind == PREFETCH && region.entries.iter().all(|entry| entry.wide);
                let size = kept.next_multiple_of(align);
                self.regions(id.bus)[kind].insert(Entry {
                    function: id,
                    target: Target::Window,
                    size,
                    align,
                    wide,
                });
            }
        }
    }

    /// Bases below 4 GiB; false when there is too little room.
    fn low_bases(&mut self) -> bool {
        let root = self.regions(0);
        let upper = if root[MEMORY].align() < root[PREFETCH].align() { MEMORY } else { PREFETCH };
        let mut end = LOW_MEMORY.1;
        for kind in [upper, MEMORY + PREFETCH - upper] {
            let Some(base) = end.checked_sub(root[kind].sum()) else { return false };
            root[kind].base = base & !(root[kind].align() - 1);
            end = root[kind].base;
        }
        end >= LOW_MEMORY.0
    }

    fn place_all(&mut self) {
        let root = self.regions(0);
        root[IO].base = if root[IO].sum() < 0x4000 { 0xc000 } else { 0x1000 };
        if !self.low_bases() {
            let mut memory = self.regions(0)[MEMORY].take_wide();
            let mut prefetch = self.regions(0)[PREFETCH].take_wide();
            assert!(self.low_bases(), "no room below 4 GiB");
            memory.base = (4 * GIB).next_multiple_of(memory.align()).next_multiple_of(GIB);
            prefetch.base = memory.base + memory.sum();
            prefetch.base = prefetch.base.next_multiple_of(prefetch.align()).next_multiple_of(GIB);
            self.map(MEMORY, memory);
            self.map(PREFETCH, prefetch);
        }
        for bus in self.buses.keys().copied().collect::<Vec<_>>() {
            for kind in [IO, MEMORY, PREFETCH] {
                let region = self.regions(bus)[kind].clone();
                self.map(kind, region);
            }
        }
    }

    fn map(&mut self, kind: usize, region: Region) {
        let mut address = region.base;
        for entry in region.entries {
            match entry.target {
                Target::Bar(number) => self.write_bar(entry, 0x10 + 4 * number, address),
                Target::Window => self.write_window(entry, kind, address),
            }
            address += entry.size;
        }
    }

    fn write_bar(&mut self, entry: Entry, register: u16, address: u64) {
        self.fake.write_dword(entry.function, register, low(address));
        if entry.wide {
            self.fake.write_dword(entry.function, register + 4, low(address >> 32));
        }
    }

    fn write_window(&mut self, entry: Entry, kind: usize, first: u64) {
        let bridge = self.bridges.iter().find(|bridge| bridge.id == entry.function).unwrap();
        let secondary = bridge.secondary;
        self.regions(secondary)[kind].base = first;
        // An empty window ends before it starts.
        let last = first + entry.size - 1;
        let (id, fake) = (entry.function, &mut *self.fake);
        if kind == IO {
            fake.write_word(id, 0x1c, u16::try_from(first >> 8 & 0xf0 | last & 0xf000).unwrap());
            return;
        }
        let register = if kind == MEMORY { 0x20 } else { 0x24 };
        fake.write_dword(id, register, low(first >> 16 & 0xfff0 | last & 0xfff0_0000));
        if kind == PREFETCH {
            fake.write_dword(id, 0x28, low(first >> 32));
            fake.write_dword(id, 0x2c, low(last >> 32));
        }
    }
}

/// Position, secondary and subordinate number of every bridge below `above`, parents first.
fn number_below(
    devices: &[Value],
    (above, bus): (&str, u8),
    next: &mut u8,
    bridges: &mut Vec<(usize, u8, u8)>,
) {
    let below = |device: &Value| {
        let id: FunctionId = text(device, "bdf").parse().unwrap();
        text(device, "up") == above && id.bus == bus && device["hdr"].as_u64() == Some(1)
    };
    let mut found: Vec<_> = (0..devices.len()).filter(|position| below(&devices[*position])).collect();
    found.sort_by_key(|position| text(&devices[*position], "bdf"));
    for position in found {
        let (secondary, entry) = (*next, bridges.len());
        *next += 1;
        bridges.push((position, secondary, 0));
        number_below(devices, (text(&devices[position], "bdf"), secondary), next, bridges);
        bridges[entry].2 = *next - 1;
    }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap()
}
