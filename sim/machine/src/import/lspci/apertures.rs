//! Windows of host bridges, and the way between the kernel's addresses and those in registers.
//!
//! `/proc/iomem` shows windows as CPU addresses. Where the kernel's view of a base address register and the register
//! itself differ, the difference is the offset of the window. Without `/proc/iomem` the windows are unknown: what is
//! in use shows where they must be at least.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Bar, Facts};
use super::iomem::Ranges;
use super::topology::{Bus, Functions, Topology};
use crate::part::ResourceKind;

/// A window of a host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aperture {
    /// First and last CPU address.
    pub cpu: (u64, u64),
    /// CPU address minus bus address, modulo 2^64.
    pub offset: u64,
    /// True for I/O ports.
    pub io: bool,
}

impl Aperture {
    fn holds(&self, io: bool, address: u64) -> bool {
        self.io == io && (self.cpu.0..=self.cpu.1).contains(&address)
    }
}

/// Windows by root bus, and what is not known about them.
#[derive(Clone, Debug, Default)]
pub struct Apertures {
    /// Windows by root bus.
    pub by_root: BTreeMap<Bus, Vec<Aperture>>,
    /// Root buses whose memory windows are derived from what is in use.
    pub derived: BTreeSet<Bus>,
}

/// First and last address.
type Span = (u64, u64);

/// A page, less one: host bridges claim memory in units of it, and bridges I/O ports.
const PAGE: u64 = 0xfff;
/// Bridges pass on memory in units of this, less one.
const BRIDGE_UNIT: u64 = 0xf_ffff;
/// I/O ports of a PC.
const PORTS: (u64, u64) = (0, 0xffff);

impl Apertures {
    /// Finds the windows.
    pub fn find(functions: &Functions, topology: &Topology, memory: &Ranges, ports: &Ranges) -> Apertures {
        let mut found = Apertures::default();
        for (ranges, io) in [(memory, false), (ports, true)] {
            for window in &ranges.windows {
                let root = topology.root_of(window.bus);
                if topology.roots.contains_key(&root) {
                    let aperture = Aperture { cpu: window.range, offset: 0, io };
                    found.by_root.entry(root).or_default().push(aperture);
                }
            }
        }
        found.derive(functions, topology);
        found.add_ports(topology, functions, ports);
        found.find_offsets(functions, topology);
        for windows in found.by_root.values_mut() {
            windows.sort_by_key(|window| (window.io, window.cpu));
        }
        found
    }

    /// Memory windows of root buses for which none are known.
    fn derive(&mut self, functions: &Functions, topology: &Topology) {
        let known: BTreeSet<Bus> = self.by_root.keys().copied().collect();
        let mut used = used(functions, topology, false);
        used.retain(|(_, root)| !known.contains(root));
        self.add_runs(&runs(used), false, &[BRIDGE_UNIT, PAGE]);
        self.derived.extend(topology.roots.keys().filter(|root| !known.contains(root)));
    }

    /// I/O windows: all ports for the only host bridge, else what each has in use.
    fn add_ports(&mut self, topology: &Topology, functions: &Functions, ports: &Ranges) {
        if !ports.windows.is_empty() {
            return;
        }
        let used = used(functions, topology, true);
        let within = used.iter().all(|(range, _)| range.1 <= PORTS.1);
        if let (1, Some(root), true) = (topology.roots.len(), topology.roots.keys().next(), within) {
            self.by_root.entry(*root).or_default().push(Aperture { cpu: PORTS, offset: 0, io: true });
            return;
        }
        self.add_runs(&runs(used), true, &[PAGE, 0]);
    }

    /// Windows around what is in use, widened to the first of `units` that keeps them apart from each other.
    fn add_runs(&mut self, runs: &[(Bus, Span)], io: bool, units: &[u64]) {
        let overlap = |a: Span, b: Span| a.0 <= b.1 && b.0 <= a.1;
        for (index, (root, used)) in runs.iter().enumerate() {
            let free = |cpu: &Span| {
                let known = self.by_root.values().flatten().filter(|other| other.io == io);
                let others = runs.iter().enumerate().filter(|(other, _)| *other != index);
                let taken = known.map(|other| other.cpu).chain(others.map(|(_, (_, other))| *other));
                taken.into_iter().all(|other| !overlap(other, *cpu))
            };
            let widened = units.iter().map(|unit| (used.0 & !unit, used.1 | unit));
            if let Some(cpu) = widened.into_iter().find(free) {
                self.by_root.entry(*root).or_default().push(Aperture { cpu, offset: 0, io });
            }
        }
    }

    fn find_offsets(&mut self, functions: &Functions, topology: &Topology) {
        for facts in functions.values() {
            let root = topology.root_of((facts.id.domain, facts.id.bus));
            let Some(windows) = self.by_root.get_mut(&root) else { continue };
            for bar in &facts.bars {
                let (Some(cpu), Some(offset)) = (bar.cpu, offset(bar)) else { continue };
                let io = bar.kind == ResourceKind::Io;
                if let Some(window) = windows.iter_mut().find(|window| window.holds(io, cpu)) {
                    window.offset = offset;
                }
            }
        }
    }

    /// The bus address of a CPU address below a root bus.
    pub fn to_bus(&self, root: Bus, io: bool, cpu: u64) -> u64 {
        let windows = self.by_root.get(&root).into_iter().flatten();
        let window = windows.into_iter().find(|window| window.holds(io, cpu));
        cpu.wrapping_sub(window.map_or(0, |window| window.offset))
    }

    /// The last CPU address in any memory window.
    pub fn last(&self) -> u64 {
        let memory = self.by_root.values().flatten().filter(|window| !window.io);
        memory.map(|window| window.cpu.1).max().unwrap_or(0)
    }
}

/// How far the kernel's view of a register is from what it holds. A 32-bit register that the kernel shows beyond 4 GiB
/// tells it too, without its content.
fn offset(bar: &Bar) -> Option<u64> {
    let cpu = bar.cpu?;
    match bar.bus.filter(|bus| *bus != 0) {
        Some(bus) => Some(cpu.wrapping_sub(bus)),
        None if bar.kind.is_64bit() || bar.kind == ResourceKind::Io => None,
        None => Some(cpu & !u64::from(u32::MAX)),
    }
}

/// Ranges in use with the root bus above.
fn used(functions: &Functions, topology: &Topology, io: bool) -> Vec<((u64, u64), Bus)> {
    let mut used = Vec::new();
    for facts in functions.values() {
        let root = topology.root_of((facts.id.domain, facts.id.bus));
        used.extend(claims(facts, io).into_iter().map(|range| (range, root)));
    }
    used.sort_unstable();
    used
}

/// CPU addresses that a function or what is behind it uses.
fn claims(facts: &Facts, io: bool) -> Vec<(u64, u64)> {
    let mut claims = Vec::new();
    for bar in facts.bars.iter().filter(|bar| (bar.kind == ResourceKind::Io) == io && !bar.unplaced) {
        let first = bar.cpu.or(bar.bus).filter(|first| *first != 0);
        let size = bar.size.map_or(1, |size| size.0.max(1));
        claims.extend(first.and_then(|first| Some((first, first.checked_add(size - 1)?))));
    }
    let windows =
        if io { vec![facts.windows.io] } else { vec![facts.windows.memory, facts.windows.prefetch] };
    claims.extend(windows.into_iter().filter_map(|window| window.get()?.range));
    if !io && let Some(rom) = facts.rom {
        let first = rom.cpu.or(rom.bus).filter(|first| *first != 0);
        claims.extend(
            first.zip(rom.size).and_then(|(at, size)| Some((at, at.checked_add(size.0.max(1) - 1)?))),
        );
    }
    claims
}

/// Neighbouring ranges of one owner as one, in order of address. Memory below and above 4 GiB stays apart.
fn runs(used: Vec<((u64, u64), Bus)>) -> Vec<(Bus, (u64, u64))> {
    let mut runs: Vec<(Bus, (u64, u64))> = Vec::new();
    for (range, root) in used {
        match runs.last_mut() {
            Some((owner, last)) if *owner == root && (last.0 >> 32 == 0) == (range.1 >> 32 == 0) => {
                last.1 = last.1.max(range.1);
            }
            Some((owner, last)) if *owner != root && last.1 >= range.0 => {
                // Two root buses cannot share addresses: the first keeps them.
            }
            _ => runs.push((root, range)),
        }
    }
    runs
}
