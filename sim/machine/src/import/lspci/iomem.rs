//! `/proc/iomem` and `/proc/ioports`: where host bridges have their windows and where memory is.
//!
//! A window of a host bridge is a range that holds functions or buses and belongs to none itself: on a PC its name
//! is `PCI Bus` and the root bus, elsewhere the device tree's name for the bridge. The two files look alike.

use std::ops::RangeInclusive;

use peerbus_units::FunctionId;

use super::heading::function_id;
use super::source::{Text, hex};
use crate::diagnostic::Diagnostic;
use crate::import::codes;

/// One range with what lies in it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry<'a> {
    depth: usize,
    first: u64,
    last: u64,
    name: &'a str,
}

/// A window, and what says whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootWindow {
    /// First and last address.
    pub range: (u64, u64),
    /// Domain and number of a bus at or below the host bridge.
    pub bus: (u32, u8),
}

/// The ranges of one function or of all buses below a bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The function.
    pub id: FunctionId,
    /// First and last address.
    pub range: (u64, u64),
}

/// What a file of ranges says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ranges {
    /// Windows of host bridges, lowest first.
    pub windows: Vec<RootWindow>,
    /// Ranges of system memory.
    pub memory: Vec<RangeInclusive<u64>>,
    /// Ranges of functions.
    pub claims: Vec<Claim>,
    /// Addresses are hidden: the file was read without the right to see them.
    pub hidden: bool,
    /// Host bridges go by names of a device tree: the machine is no PC.
    pub device_tree: bool,
}

/// Reads a file of ranges.
pub fn read(text: Text, diagnostics: &mut Vec<Diagnostic>) -> Ranges {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.text.lines() {
        match entry(line) {
            Some(Ok(entry)) => entries.push(entry),
            Some(Err(part)) => {
                let help = "a line is `fe000000-fe7fffff : PCI Bus 0000:01`, indented below what it lies in";
                let message = format!("`{part}` is not a range of addresses");
                diagnostics.push(text.error(codes::BAD_RANGE, part, message, help));
            }
            None => {}
        }
    }
    if entries.len() > 1 && entries.iter().all(|entry| entry.last == 0) {
        return Ranges { hidden: true, ..Ranges::default() };
    }
    ranges(&entries)
}

fn entry(line: &str) -> Option<Result<Entry<'_>, &str>> {
    let (range, name) = line.trim_end().split_once(" : ")?;
    let trimmed = range.trim_start();
    let depth = range.len() - trimmed.len();
    let Some((first, last)) = trimmed.split_once('-') else { return Some(Err(trimmed)) };
    let (Some(first), Some(last)) = (hex(first), hex(last)) else { return Some(Err(trimmed)) };
    if first > last {
        return Some(Err(trimmed));
    }
    Some(Ok(Entry { depth, first, last, name }))
}

/// Who a range belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Function(FunctionId),
    Bus(u32, u8),
    Other,
}

fn owner(name: &str) -> Owner {
    if let Some(id) = function_id(name).filter(|_| name.matches(':').count() == 2) {
        return Owner::Function(id);
    }
    let bus = name.strip_prefix("PCI Bus ").and_then(|bus| bus.split_once(':'));
    let bus = bus.and_then(|(domain, bus)| {
        let domain = u32::try_from(hex(domain)?).ok()?;
        Some(Owner::Bus(domain, u8::try_from(hex(bus)?).ok()?))
    });
    bus.unwrap_or(Owner::Other)
}

fn ranges(entries: &[Entry]) -> Ranges {
    let mut found = Ranges::default();
    let mut named: Vec<(&str, (u32, u8))> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.name == "System RAM" {
            found.memory.push(entry.first..=entry.last);
        }
        let bus = match owner(entry.name) {
            Owner::Function(id) => {
                found.claims.push(Claim { id, range: (entry.first, entry.last) });
                (id.domain, id.bus)
            }
            Owner::Bus(domain, bus) => (domain, bus),
            Owner::Other => continue,
        };
        let window = &entries[outermost(entries, index)];
        if let Owner::Other = owner(window.name) {
            found.device_tree = true;
            if named.iter().all(|(name, _)| *name != window.name) {
                named.push((window.name, bus));
            }
        } else if let Owner::Function(_) = owner(window.name) {
            continue;
        }
        add(&mut found.windows, (window.first, window.last), bus);
    }
    // Windows in which nothing lies yet go by the name of one in which something does.
    for entry in entries.iter().filter(|entry| entry.depth == 0) {
        if let Some((_, bus)) = named.iter().find(|(name, _)| *name == entry.name) {
            add(&mut found.windows, (entry.first, entry.last), *bus);
        }
    }
    found.windows.sort_by_key(|window| window.range);
    found
}

fn add(windows: &mut Vec<RootWindow>, range: (u64, u64), bus: (u32, u8)) {
    if windows.iter().all(|window| window.range != range) {
        windows.push(RootWindow { range, bus });
    }
}

/// The outermost range around entry `index` that is not the board's: reserved areas enclose windows on some PCs.
fn outermost(entries: &[Entry], index: usize) -> usize {
    let mut at = index;
    let mut depth = entries[index].depth;
    let mut best = index;
    while at > 0 && depth > 0 {
        at -= 1;
        if entries[at].depth >= depth {
            continue;
        }
        depth = entries[at].depth;
        let is_window = owner(entries[at].name) != Owner::Other || entries[at].name.contains('@');
        if is_window {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Ranges {
        let mut diagnostics = Vec::new();
        let found = read(Text { name: "iomem", text }, &mut diagnostics);
        assert_eq!(diagnostics, []);
        found
    }

    #[test]
    fn windows_of_a_pc() {
        let found = check(
            "00001000-0009fbff : System RAM\n40000000-afffffff : PCI Bus 0000:00\nb0000000-bfffffff : PCI ECAM 0000\n\
             ec000000-efffffff : PCI Bus 0000:80\n  ec000000-efffffff : PCI Bus 0000:81\n    ec000000-efffffff : 0000:81:00.0\n\
             fec00000-fec003ff : IOAPIC 0\n",
        );
        let windows: Vec<_> = found.windows.iter().map(|window| (window.range.0, window.bus)).collect();
        assert_eq!(windows, [(0x4000_0000, (0, 0)), (0xec00_0000, (0, 0x80))]);
        assert_eq!((found.memory.len(), found.claims.len(), found.device_tree), (1, 1, false));
    }

    #[test]
    fn windows_of_a_device_tree() {
        let found = check(
            "10000000-3efeffff : pcie@10000000\n  10700000-10700fff : 0000:00:02.0\n\
             40000000-7fffffff : System RAM\n8000000000-ffffffffff : pcie@10000000\n",
        );
        assert_eq!(found.windows.len(), 2);
        assert!(found.device_tree);
    }

    #[test]
    fn hidden_addresses_are_noticed() {
        assert!(check("00000000-00000000 : Reserved\n00000000-00000000 : PCI Bus 0000:00\n").hidden);
        let mut diagnostics = Vec::new();
        read(Text { name: "iomem", text: "zz-10 : PCI Bus 0000:00\n" }, &mut diagnostics);
        assert_eq!(diagnostics[0].column, Some(1));
    }
}
