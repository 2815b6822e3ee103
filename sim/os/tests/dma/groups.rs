//! Which functions are grouped: recorded tables and small trees.

use peerbus_os::Profile;
use peerbus_os::dma::{AliasQuirks, GroupNumber, Grouping, Groups, dma_aliases};
use peerbus_os::pci::{AcsWord, FunctionIndex, PcieType, acs_enabled};

use crate::p2pdma::captures::{Tally, boots};
use crate::p2pdma::machine::{Machine, rules};

const REQUIRED: AcsWord = AcsWord::ISOLATION;

pub fn grouped(machine: &Machine, profile: Profile, quirks: &AliasQuirks) -> Groups {
    let rules = rules(profile).dma;
    let grouping = Grouping { tree: &machine.tree, cs: machine, quirks, rules: &rules };
    Groups::probe(&grouping, |_| true)
}

/// Property B1.
#[test]
fn booted_machines_are_grouped_as_recorded() {
    let boots = boots();
    if boots.is_empty() {
        println!("skipped: the recordings are absent");
        return;
    }
    let (mut tally, mut tables) = (Tally::default(), 0);
    for boot in boots {
        let Ok(files) = std::fs::read_to_string(boot.folder.join("sysfs.txt")) else { continue };
        let lines: Vec<_> = files.lines().filter_map(|line| line.split_once(" iommu_group ")).collect();
        if lines.is_empty() {
            continue;
        }
        let Some(machine) = boot.booted() else {
            println!("{}: left out, no ACS words are recorded", boot.folder.display());
            continue;
        };
        let groups = grouped(&machine, boot.profile, &AliasQuirks::default());
        assert_eq!(lines.len(), machine.tree.functions.len(), "every function has a group");
        for (id, number) in lines {
            let found = groups.of(machine.tree.find(id.parse().unwrap()).unwrap());
            let same = found == Some(GroupNumber(number.parse().unwrap()));
            tally.count(same, || format!("{}: {id} {number} gave {found:?}", boot.folder.display()));
        }
        tables += 1;
    }
    println!("groups: {} functions of {tables} machines", tally.agreed());
}

/// The numbers of all functions in enumeration order.
fn numbers(machine: &Machine, quirks: &AliasQuirks) -> Vec<u32> {
    let [oldest, rest @ ..] = Profile::ALL.map(|profile| {
        let groups = grouped(machine, profile, quirks);
        machine.tree.iter().map(|(function, _)| groups.of(function).unwrap().0).collect::<Vec<_>>()
    });
    assert!(rest.iter().all(|numbers| *numbers == oldest), "kernels differ");
    oldest
}

/// A root port with ACS word `root`, below it a switch with two downstream ports at `slots`, and an endpoint below
/// each.
fn switch(root: Option<u16>, ports: Option<u16>, slots: [(u8, u8); 2]) -> Machine {
    let mut machine = Machine::default();
    let bus = machine.host(0, 0);
    let (root_port, bus) = machine.bridge(bus, 2, PcieType::RootPort, 1);
    let (_, bus) = machine.bridge(bus, 0, PcieType::Upstream, 2);
    let downstream = slots.map(|(device, function)| {
        let port = machine.function(bus, device, function);
        machine.tree[port].pcie_type = Some(PcieType::Downstream);
        machine.tree[port].multifunction = slots[0].0 == slots[1].0;
        port
    });
    for (port, number) in downstream.into_iter().zip([3, 4]) {
        let below = machine.bus_below(port, number);
        machine.function(below, 0, 0);
    }
    let mut set = |port, word: Option<u16>| word.into_iter().for_each(|word| machine.set_acs(port, word));
    set(root_port, root);
    downstream.into_iter().for_each(|port| set(port, ports));
    machine
}

/// Property B3.
#[test]
fn isolation_of_the_ports_decides() {
    let check = |root, ports, slots, expect: [u32; 6]| {
        let machine = switch(root, ports, slots);
        assert_eq!(numbers(&machine, &AliasQuirks::default()), expect, "{root:x?} {ports:x?} {slots:?}");
    };
    let (apart, together) = ([(0, 0), (1, 0)], [(0, 0), (0, 1)]);
    // Root port, upstream port, downstream ports, endpoints.
    check(Some(0x1d), Some(0x1d), apart, [0, 1, 2, 3, 4, 5]);
    check(Some(0x1d), Some(0x5f), together, [0, 1, 2, 3, 4, 5]);
    check(Some(0x1d), None, apart, [0, 1, 2, 3, 2, 3]);
    check(Some(0x1d), None, together, [0, 1, 2, 2, 2, 2]);
    check(Some(0x1d), Some(0x0d), apart, [0, 1, 2, 3, 2, 3]);
    for word in [None, Some(0), Some(0x40), Some(0x1c)] {
        check(word, word, apart, [0; 6]);
        check(word, Some(0x1d), apart, [0; 6]);
    }
}

/// Property B2.
#[test]
fn a_bit_the_hardware_has_not_counts_as_set() {
    let mut machine = switch(Some(0x1d), None, [(0, 0), (1, 0)]);
    let port = FunctionIndex(2);
    let mut check = |words, flags, expect| {
        machine.set_acs_words(port, words);
        let found = acs_enabled(&machine.tree, &machine, port, flags);
        assert_eq!(found, expect, "{words:x?} {flags:?}");
    };
    check([0x01, 0x01], REQUIRED, true);
    check([0x01, 0x00], REQUIRED, false);
    check([0x00, 0x00], REQUIRED, true);
    check([0x1d, 0x1c], REQUIRED, false);
    // Egress control must be on, offered or not.
    check([0x00, 0x00], AcsWord::EC, false);
    check([0x20, 0x20], AcsWord::EC, true);
}

#[test]
fn kinds_of_functions_differ() {
    let mut machine = Machine::default();
    let bus = machine.host(0, 0);
    let function = machine.function(bus, 1, 0);
    let mut check = |kind, multifunction, acs: Option<u16>, expect| {
        machine.clear_acs();
        acs.into_iter().for_each(|word| machine.set_acs(function, word));
        machine.tree[function].pcie_type = kind;
        machine.tree[function].multifunction = multifunction;
        let found = acs_enabled(&machine.tree, &machine, function, REQUIRED);
        assert_eq!(found, expect, "{kind:?} {multifunction} {acs:?}");
    };
    for kind in [None, Some(PcieType::ToPci), Some(PcieType::FromPci), Some(PcieType::EventCollector)] {
        check(kind, false, Some(0x1d), false);
    }
    for kind in [PcieType::RootPort, PcieType::Downstream] {
        check(Some(kind), false, None, false);
        check(Some(kind), false, Some(0x1d), true);
    }
    let kinds =
        [PcieType::Endpoint, PcieType::LegacyEndpoint, PcieType::Upstream, PcieType::IntegratedEndpoint];
    for kind in kinds {
        check(Some(kind), false, None, true);
        check(Some(kind), false, Some(0), true);
        check(Some(kind), true, None, false);
        check(Some(kind), true, Some(0x1d), true);
    }
    check(Some(PcieType::Unknown(13)), true, None, true);
}

#[test]
fn virtual_functions_are_alone_and_integrated_intel_endpoints_are_known() {
    let mut machine = Machine::default();
    let bus = machine.host(0, 0);
    let integrated = [0, 1].map(|function| machine.function(bus, 3, function));
    for function in integrated {
        machine.tree[function].pcie_type = Some(PcieType::IntegratedEndpoint);
        machine.tree[function].multifunction = true;
    }
    let physical = machine.function(bus, 4, 0);
    let virtual_functions = [1, 2].map(|function| machine.function(bus, 4, function));
    virtual_functions.into_iter().for_each(|it| machine.tree[it].physical_function = Some(physical));
    assert_eq!(numbers(&machine, &AliasQuirks::default()), [0, 0, 1, 2, 3]);
    integrated.into_iter().for_each(|function| machine.set_ids(function, 0x8086, 0x0b25));
    assert_eq!(numbers(&machine, &AliasQuirks::default()), [0, 1, 2, 3, 4]);
}

#[test]
fn what_lies_behind_a_conventional_bridge_is_in_its_group() {
    let mut machine = Machine::default();
    let bus = machine.host(0, 0);
    let (root_port, bus) = machine.bridge(bus, 1, PcieType::RootPort, 1);
    machine.set_acs(root_port, 0x1d);
    let (bridge, below) = machine.bridge(bus, 0, PcieType::ToPci, 2);
    let device = machine.function(below, 5, 0);
    machine.tree[device].pcie_type = None;
    assert_eq!(numbers(&machine, &AliasQuirks::default()), [0, 1, 1]);
    let aliases = |machine: &Machine, quirks: &AliasQuirks, profile| {
        let aliases = dma_aliases(&machine.tree, quirks, &rules(profile).dma, device);
        aliases.iter().map(|alias| (alias.function, alias.requester)).collect::<Vec<_>>()
    };
    let quirks = AliasQuirks::default();
    assert_eq!(aliases(&machine, &quirks, Profile::Linux_6_12), [(device, 0x228), (bridge, 0x200)]);
    let without = AliasQuirks { without_alias: [bridge].into(), ..AliasQuirks::default() };
    assert_eq!(aliases(&machine, &without, Profile::Linux_6_12).len(), 2);
    assert_eq!(aliases(&machine, &without, Profile::Linux_7_3), [(device, 0x228)]);
    let root = AliasQuirks { translation_roots: [bridge].into(), ..AliasQuirks::default() };
    assert_eq!(aliases(&machine, &root, Profile::Linux_6_12), [(device, 0x228)]);
    for (kind, requester) in [(Some(PcieType::FromPci), 0x100), (None, 0x100)] {
        machine.tree[bridge].pcie_type = kind;
        assert_eq!(aliases(&machine, &quirks, Profile::Linux_6_12)[1], (bridge, requester));
    }
    let really = AliasQuirks { really_express: [bridge].into(), ..AliasQuirks::default() };
    assert_eq!(aliases(&machine, &really, Profile::Linux_6_12)[1], (bridge, 0x200));
}

#[test]
fn functions_that_use_each_others_ids_share_a_group() {
    let mut machine = Machine::default();
    let bus = machine.host(0, 0);
    let [a, b, c] = [1, 2, 3].map(|device| machine.function(bus, device, 0));
    assert_eq!(numbers(&machine, &AliasQuirks::default()), [0, 1, 2]);
    // c says it uses a's id, over b, which has none of its own in the table.
    let chain = [(b, [machine.tree[a].id.devfn].into()), (c, [machine.tree[b].id.devfn].into())];
    let quirks = AliasQuirks { also_uses: chain.into(), ..AliasQuirks::default() };
    assert_eq!(numbers(&machine, &quirks), [0, 0, 0]);
    let aliases = dma_aliases(&machine.tree, &quirks, &rules(Profile::Linux_6_12).dma, b);
    assert_eq!(aliases.iter().map(|alias| alias.requester).collect::<Vec<_>>(), [0x10, 0x08]);
    let quirks = AliasQuirks { real_device: [(c, a)].into(), ..AliasQuirks::default() };
    assert_eq!(numbers(&machine, &quirks), [0, 1, 0]);
}

#[test]
fn the_lowest_free_number_is_used_again() {
    let mut machine = Machine::default();
    let bus = machine.host(0, 0);
    let [a, b, c] = [1, 2, 3].map(|device| machine.function(bus, device, 0));
    let (quirks, rules) = (AliasQuirks::default(), rules(Profile::Linux_6_12).dma);
    let grouping = Grouping { tree: &machine.tree, cs: &machine, quirks: &quirks, rules: &rules };
    let mut groups = Groups::probe(&grouping, |function| function != c);
    assert_eq!(groups.of(c), None);
    groups.remove(a);
    assert_eq!(groups.add(&grouping, c), GroupNumber(0));
    assert_eq!(groups.add(&grouping, a), GroupNumber(2));
    assert_eq!(groups.iter().map(|(_, members)| members[0]).collect::<Vec<_>>(), [c, b, a]);
    assert_eq!(groups.members(GroupNumber(9)), []);
}
