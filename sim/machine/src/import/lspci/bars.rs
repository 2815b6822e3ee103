//! Base address registers as a machine file states them: bus addresses, and sizes that are known or guessed.
//!
//! A dump without the kernel's view shows addresses and not sizes. Then a register is taken to be as large as its
//! address, its neighbours and the window above it allow, for a device usually fills its bridge's window; such a size is
//! marked. A register that the kernel could not place shows neither, and is stated without.

use std::collections::BTreeMap;

use peerbus_units::{BusAddr, Bytes, FunctionId};

use super::apertures::Apertures;
use super::facts::{Bar, Facts};
use super::topology::{Bus, Functions, Topology};
use crate::file::{self, Leaf};
use crate::import::Note;
use crate::part::ResourceKind;

/// Bus addresses that a register may lie in: first, last.
type Span = (u64, u64);

/// Sizes guessed, by function and register.
#[derive(Clone, Debug, Default)]
pub struct Guesses(BTreeMap<(FunctionId, u8), Bytes>);

/// The largest a guess makes a register that nothing bounds.
const LARGEST_GUESS: u64 = 1 << 28;

/// Smallest and largest size of a register of `kind` (PCI Local Bus 3.0: memory 16 bytes, I/O 4 to 256 bytes).
fn sizes(kind: ResourceKind) -> (u64, u64) {
    match kind {
        ResourceKind::Io => (4, 256),
        ResourceKind::Mem32 | ResourceKind::Mem32Prefetch => (16, 1 << 31),
        ResourceKind::Mem64 | ResourceKind::Mem64Prefetch => (16, 1 << 63),
    }
}

impl Guesses {
    /// Guesses the sizes of all registers with an address and without a size.
    pub fn new(functions: &Functions, topology: &Topology, apertures: &Apertures) -> Guesses {
        let mut guesses = Guesses::default();
        let mut starts: BTreeMap<(Bus, bool), Vec<u64>> = BTreeMap::new();
        for facts in functions.values() {
            let root = topology.root_of((facts.id.domain, facts.id.bus));
            for (io, address) in addresses(facts) {
                starts.entry((root, io)).or_default().push(address);
            }
        }
        for facts in functions.values() {
            let root = topology.root_of((facts.id.domain, facts.id.bus));
            for bar in facts.bars.iter().filter(|bar| bar.size.is_none() && !bar.unplaced) {
                let Some(first) = bar.bus.or(bar.cpu).filter(|first| *first != 0) else { continue };
                let io = bar.kind == ResourceKind::Io;
                let (_, last) = span(functions, topology, apertures, facts.id, bar.kind, first);
                let above = starts.get(&(root, io)).into_iter().flatten().filter(|start| **start > first);
                let last = above.map(|start| start - 1).min().map_or(last, |next| next.min(last));
                let room = (last - first).saturating_add(1);
                let (smallest, largest) = sizes(bar.kind);
                let aligned = 1u64 << first.trailing_zeros().min(62);
                let size = aligned.min(1 << room.ilog2()).min(largest).min(LARGEST_GUESS.max(smallest));
                let bounded = aligned.min(1 << room.ilog2()).min(largest);
                let size = if last == u64::MAX { size } else { bounded };
                if size >= smallest {
                    guesses.0.insert((facts.id, bar.index), Bytes(size));
                }
            }
        }
        guesses
    }
}

/// Every start of a register, ROM or window of a function.
fn addresses(facts: &Facts) -> Vec<(bool, u64)> {
    let bars = facts.bars.iter().filter(|bar| !bar.unplaced);
    let bars = bars.filter_map(|bar| Some((bar.kind == ResourceKind::Io, bar.bus.or(bar.cpu)?)));
    let rom = facts.rom.and_then(|rom| Some((false, rom.bus.or(rom.cpu)?)));
    bars.chain(rom).filter(|(_, address)| *address != 0).collect()
}

/// The window around a register: of the bridge above, or of the host bridge.
fn span(
    functions: &Functions,
    topology: &Topology,
    apertures: &Apertures,
    id: FunctionId,
    kind: ResourceKind,
    first: u64,
) -> Span {
    let bus = (id.domain, id.bus);
    let above = topology.bridge_above(bus).map(|bridge| &functions[&bridge].windows);
    let windows = above.map_or(Vec::new(), |windows| match kind {
        ResourceKind::Io => vec![windows.io],
        _ => vec![windows.memory, windows.prefetch],
    });
    let ranges = windows.into_iter().filter_map(|window| window.get()?.range);
    let io = kind == ResourceKind::Io;
    let roots =
        apertures.by_root.get(&topology.root_of(bus)).into_iter().flatten().filter(|root| root.io == io);
    let roots =
        roots.map(|root| (root.cpu.0.wrapping_sub(root.offset), root.cpu.1.wrapping_sub(root.offset)));
    let end = if kind.is_64bit() { u64::MAX } else { u64::from(u32::MAX) };
    ranges.chain(roots).find(|span| (span.0..=span.1).contains(&first)).unwrap_or((0, end))
}

/// What became of a function's registers.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    /// As the file states them.
    pub bars: Vec<file::Bar>,
    /// True when a size is guessed or unknown.
    pub uncertain: bool,
}

/// The registers of `facts` as the file states them; `root` is the root bus above.
pub fn state(
    facts: &Facts,
    root: Bus,
    apertures: &Apertures,
    guesses: &Guesses,
    notes: &mut Vec<Note>,
) -> Stated {
    let mut stated = Stated::default();
    for bar in &facts.bars {
        let guess = guesses.0.get(&(facts.id, bar.index)).copied();
        let size = bar.size.or(guess);
        stated.uncertain |= bar.size.is_none();
        if let Some(bar) = one(facts, bar, size, root, apertures, notes) {
            stated.bars.push(bar);
        }
    }
    if facts.bars.iter().any(|bar| bar.unplaced && bar.size.is_none()) {
        notes.push(Note::new(
            facts.id,
            "the kernel found no place for one of its registers, whose size is not shown",
        ));
    } else if stated.uncertain {
        notes.push(Note::new(
            facts.id,
            "sizes of its registers are not shown; taken as large as there is room",
        ));
    }
    stated
}

fn one(
    facts: &Facts,
    bar: &Bar,
    size: Option<Bytes>,
    root: Bus,
    apertures: &Apertures,
    notes: &mut Vec<Note>,
) -> Option<file::Bar> {
    let leaf_kind = Some(Leaf::new(bar.kind));
    let plain = file::Bar { index: Some(Leaf::new(bar.index)), kind: leaf_kind, ..file::Bar::default() };
    let Some(size) = size else { return Some(file::Bar { size_unknown: true, ..plain }) };
    let (smallest, largest) = sizes(bar.kind);
    if !size.is_power_of_two() || !(smallest..=largest).contains(&size.0) {
        let text = format!("register {} of {size} is not one that hardware has; left out", bar.index);
        notes.push(Note::new(facts.id, text));
        return None;
    }
    let io = bar.kind == ResourceKind::Io;
    let of_kernel = bar.cpu.map(|cpu| apertures.to_bus(root, io, cpu));
    let address =
        bar.bus.filter(|bus| *bus != 0).or(of_kernel).filter(|address| *address != 0 && !bar.unplaced);
    let limit = match bar.kind {
        ResourceKind::Io => 0xffff,
        kind if kind.is_64bit() => u64::MAX,
        _ => u64::from(u32::MAX),
    };
    let fits = |address: &u64| {
        address & (size.0 - 1) == 0 && address.checked_add(size.0 - 1).is_some_and(|last| last <= limit)
    };
    if let Some(address) = address.filter(|address| !fits(address)) {
        let text =
            format!("register {} of {size} cannot be at {address:#x}; its address is left out", bar.index);
        notes.push(Note::new(facts.id, text));
    }
    Some(file::Bar {
        size: Some(Leaf::new(size)),
        address: address.filter(fits).map(|address| Leaf::new(BusAddr(address))),
        resizable: resizable(facts, bar.index, size).map(Leaf::new),
        ..plain
    })
}

/// The sizes a register can be given, when it is a resizable one that has its present size among them.
fn resizable(facts: &Facts, index: u8, size: Bytes) -> Option<u64> {
    let (_, sizes) = facts.resizable.iter().find(|(known, _)| *known == index)?;
    let present = size.0.trailing_zeros().checked_sub(20).map(|bit| 1u64 << bit)?;
    Some(sizes | present)
}
