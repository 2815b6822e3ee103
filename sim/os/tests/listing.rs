//! A boot that is known by its listing: configuration registers as `lspci` dumped them, resources as the kernel
//! lists them, host bridge windows as it logged them. Firmware placed everything, so the registers are its
//! work, and a kernel must keep all of it.
//!
//! On powerpc the list of resources shows I/O ports as bus addresses, all else as CPU addresses.

use std::collections::BTreeMap;
use std::path::Path;

use peerbus_os::pci::{ResourceKind, ResourceRef, resource};
use peerbus_os::{BootOptions, Profile, RulesOptions, Tree, Width, Window, boot};
use peerbus_units::{BusAddr, FunctionId};

use crate::fake::{Above, Fake, range};
use crate::recordings::hex;

type Registers = Vec<(FunctionId, BTreeMap<u16, u8>)>;

fn registers(text: &str) -> Registers {
    let mut found: Registers = Vec::new();
    for line in text.lines() {
        let Some((first, rest)) = line.split_once(' ') else { continue };
        match first.strip_suffix(':').and_then(|offset| u16::from_str_radix(offset, 16).ok()) {
            Some(offset) => {
                let bytes = rest.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap());
                found.last_mut().unwrap().1.extend((offset..).zip(bytes));
            }
            None => found.push((first.parse().unwrap(), BTreeMap::new())),
        }
    }
    found
}

/// `[io  0x10000-0x1ffff] (bus address [0x0000-0xffff])`
fn windows(log: &str) -> Vec<Window> {
    let lines = log.lines().filter_map(|line| line.split_once("root bus resource [")).map(|(_, rest)| rest);
    let ends = |text: &str| {
        let (first, last) = text.split([']', ' ']).next().unwrap().split_once('-').unwrap();
        (hex(first), hex(last))
    };
    lines
        .filter_map(|line| {
            let (kind, rest) = line.split_once(' ')?;
            let kind = match kind {
                "io" => ResourceKind::Io,
                "mem" => ResourceKind::Mem,
                _ => return None,
            };
            let (first, last) = ends(rest.trim_start());
            let bus = rest.split_once("(bus address [").map_or(first, |(_, bus)| ends(bus).0);
            Some(Window { cpu: range(first, last), bus: BusAddr(bus), kind })
        })
        .collect()
}

/// Function, number, first, last and flags of every resource.
fn resources(text: &str) -> Vec<(FunctionId, usize, [u64; 3])> {
    let rows = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let [id, "resource", number, first, last, flags] = words[..] else { return None };
        Some((id.parse().ok()?, number.parse().ok()?, [hex(first), hex(last), hex(flags)]))
    });
    rows.collect()
}

fn machine(windows: Vec<Window>, registers: &Registers, rows: &[(FunctionId, usize, [u64; 3])]) -> Fake {
    let mut fake = Fake::default();
    let host = fake.host(0, 0, 0xff, windows);
    let mut buses = BTreeMap::from([(0, Above::Host(host))]);
    for (id, bytes) in registers {
        let dword = |at: u16| u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[&(at + byte)]));
        let ids = ((dword(0) & 0xffff) as u16, (dword(0) >> 16) as u16);
        let is_bridge = bytes[&0xe] & 0x7f == 1;
        let position = if is_bridge {
            let bridge = fake.bridge(buses[&id.bus], id.device(), id.function(), ids);
            buses.insert(bytes[&0x19], Above::Bridge(bridge));
            bridge
        } else {
            fake.function(buses[&id.bus], id.device(), id.function(), ids, dword(8) >> 8)
        };
        for (_, number, [first, last, _]) in rows.iter().filter(|row| row.0 == *id && row.1 < 6) {
            let number = u16::try_from(*number).unwrap();
            fake.bar(position, number, last - first + 1, dword(0x10 + 4 * number) & 0xf);
        }
        for (offset, byte) in bytes {
            fake.preset(position, *offset, Width::Byte, u32::from(*byte));
        }
    }
    fake
}

fn agrees(tree: &Tree, (id, number, [first, last, _]): &(FunctionId, usize, [u64; 3])) -> bool {
    let Some(function) = tree.find(*id) else { return false };
    let at = ResourceRef { function, number: *number };
    let resource = tree.resource(at);
    let found = match resource.flags.is_io() {
        true => tree.bus_address(at).map(|bus| bus.0),
        false => resource.range().map(|range| range.first().0),
    };
    found == Some(*first) && resource.size.0 == last - first + 1
}

/// Resources that agree and all there are; `None` without the files.
pub fn compared(case: &Path, profile: Profile) -> Option<(usize, usize)> {
    let read = |name: &str| std::fs::read_to_string(case.join(name)).ok();
    let (registers, rows) = (registers(&read("lspci-xxxx.txt")?), resources(&read("sysfs.txt")?));
    let mut fake = machine(windows(&read("dmesg.txt")?), &registers, &rows);
    let hosts = fake.hosts.clone();
    let tree = boot(&mut fake, &hosts, &profile.rules(RulesOptions::default()), &BootOptions::default());
    let wrong: Vec<_> = rows.iter().filter(|row| !agrees(&tree, row)).collect();
    for (id, number, [first, last, _]) in &wrong {
        println!("{} {id} {number}: kernel {first:x}-{last:x}", case.display());
    }
    let known = |id: FunctionId, number| rows.iter().any(|row| row.0 == id && row.1 == number);
    let all = tree.functions.iter().flat_map(|f| (0..resource::RESOURCES).map(move |number| (f, number)));
    let surplus =
        all.filter(|(f, number)| f.resources[*number].is_assigned() && !known(f.id, *number)).count();
    println!("{}: {surplus} resources that the kernel does not list", case.display());
    Some((rows.len() - wrong.len(), rows.len() + surplus))
}
