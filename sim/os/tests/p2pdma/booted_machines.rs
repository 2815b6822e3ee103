//! What booted kernels said about every ordered pair of named machines: type, distance, the log's lines, and the
//! addresses they mapped.

use std::collections::BTreeMap;

use peerbus_os::p2pdma::{DmaError, DmaMapping, Resolver, Warning, dma_address, resolve, warnings};
use peerbus_os::pci::Resource;
use peerbus_units::{BusAddr, Bytes, CpuAddr};

use super::captures::{Boot, Tally, boots, find, hex, rows};
use super::machine::{Machine, rules};

/// True when `line` of the kernel's log says what `warning` means.
pub fn says(line: &str, warning: &Warning) -> bool {
    match warning {
        Warning::RedirectBetween => line.contains("ACS redirect is set between the client and provider"),
        Warning::DisableAcsRedirect(list) => line.ends_with(&format!("pci=disable_acs_redir={list}")),
        Warning::NotListed { vendor, device, .. } => {
            line.contains("not in P2PDMA whitelist") && line.contains(&format!("{vendor:04x}:{device:04x}"))
        }
        Warning::NoSharedBridge => {
            line.contains("do not share an upstream bridge or whitelisted host bridge")
        }
    }
}

#[test]
fn booted_machines_resolve_as_recorded() {
    let (mut tally, mut unknown) = (Tally::default(), 0);
    let boots = boots();
    if boots.is_empty() {
        println!("skipped: the recordings are absent");
        return;
    }
    for boot in boots {
        let mut machines: BTreeMap<&str, Option<Machine>> = BTreeMap::new();
        for row in rows(&boot.distances) {
            let Some(machine) = machines.entry(row[0]).or_insert_with(|| boot.phase(row[0])) else {
                unknown += 1;
                continue;
            };
            let (provider, client) = (find(machine, row[1]), find(machine, row[2]));
            let found = machine.resolve(&boot.cpu, boot.profile, provider, client);
            let log: Vec<&str> =
                row.get(7).map_or("", |text| text).split(" | ").filter(|line| !line.is_empty()).collect();
            let said = warnings(&machine.tree, &found, true);
            let same = found.map_type.to_string() == row[3]
                && found.distance.to_string() == row[4]
                && said.len() == log.len()
                && log.iter().zip(&said).all(|(line, warning)| says(line, warning));
            tally.count(same, || format!("{}: {row:?} gave {found:?}", boot.folder.display()));
        }
    }
    println!("booted machines: {}; {unknown} more in phases whose ACS words are unknown", tally.agreed());
}

/// What we map for a row of the mappings, and what was recorded; `None` where an IOMMU chose the address.
fn mapped(
    boot: &Boot,
    machine: &Machine,
    resolver: &Resolver,
    row: &[&str],
) -> Option<[Result<DmaMapping, DmaError>; 2]> {
    let (provider, client, memory) = (find(machine, row[1]), find(machine, row[2]), CpuAddr(hex(row[4])));
    let resources = machine.tree[provider].resources.iter().take(6);
    let (bar, range) = resources
        .map(Resource::range)
        .enumerate()
        .find_map(|(bar, range)| range.filter(|range| range.contains(memory)).map(|range| (bar, range)))?;
    let offset = Bytes(memory.0 - range.first().0);
    let found =
        dma_address(&machine.tree, resolver.resolve(provider, client).map_type, provider, bar, offset);
    let expected = match (row[3], row[6]) {
        ("-121", _) => Err(DmaError::RemoteIo),
        ("0", "1") => Ok(DmaMapping::Bus(BusAddr(hex(row[5])))),
        ("0", _) if boot.iommu => return None,
        ("0", _) => Ok(DmaMapping::Cpu(CpuAddr(hex(row[5])))),
        _ => return None,
    };
    Some([found, expected])
}

#[test]
fn booted_machines_map_as_recorded() {
    let (mut tally, mut skipped) = (Tally::default(), 0);
    let boots = boots();
    if boots.is_empty() {
        println!("skipped: the recordings are absent");
        return;
    }
    for boot in boots {
        let Ok(table) = std::fs::read_to_string(boot.folder.join("dmamap.tsv")) else { continue };
        let mut resolvers = BTreeMap::new();
        for row in rows(&table) {
            let resolver = resolvers.entry(row[0].to_string()).or_insert_with(|| {
                // `o winoff` moves a host bridge's window, which the table of windows does not show.
                let moved =
                    boot.before(row[0]).is_some_and(|mut commands| commands.any(|it| it.contains("winoff")));
                let machine = boot.phase(row[0]).filter(|_| !moved)?;
                let resolver = Resolver::new(&machine.tree, &machine, &boot.cpu, &rules(boot.profile));
                Some((machine, resolver))
            });
            let answers =
                resolver.as_ref().and_then(|(machine, resolver)| mapped(&boot, machine, resolver, &row));
            match answers {
                None => skipped += 1,
                Some([found, expected]) => {
                    let difference = || format!("{}: {row:?} gave {found:?}", boot.folder.display());
                    tally.count(found == expected, difference);
                }
            }
        }
    }
    let agreed = tally.agreed();
    println!("mappings: {agreed}; {skipped} more by IOMMU, or with ACS words or windows unknown");
}

#[test]
fn a_pair_alone_and_among_all_is_answered_alike_on_booted_machines() {
    let mut pairs = 0;
    for boot in boots() {
        let rules = rules(boot.profile);
        let Some(machine) = boot.phase(rows(&boot.distances).next().unwrap()[0]) else { continue };
        let resolver = Resolver::new(&machine.tree, &machine, &boot.cpu, &rules);
        let all = || machine.tree.iter().map(|(index, _)| index);
        for (provider, client) in all().flat_map(|a| all().map(move |b| (a, b))) {
            let alone = resolve(&machine.tree, &machine, &boot.cpu, &rules, provider, client);
            assert_eq!(resolver.resolve(provider, client), alone, "{}", boot.folder.display());
            pairs += 1;
        }
    }
    println!("{pairs} pairs, bridges included");
}
