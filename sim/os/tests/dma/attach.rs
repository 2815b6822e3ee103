//! Whose requests a domain's table is for, and the copy of one group.

use peerbus_os::Profile;
use peerbus_os::dma::{
    AliasQuirks, Attributes, Call, Context, Dma, DmaSettings, DmaWork, GroupNumber, Iommu, IommuDriver,
    Memory, NoBounce, NoPeers, Translations,
};
use peerbus_os::pci::{FunctionIndex, PcieType};
use peerbus_units::{Bytes, CpuAddr};

use crate::p2pdma::machine::{Machine, rules};

/// Graphics in an identity domain, an IOMMU that is a function, an endpoint below a root port, and one behind a bridge
/// to conventional PCI.
fn machine() -> (Machine, [FunctionIndex; 4]) {
    let mut machine = Machine::default();
    let root = machine.host(3, 0);
    let graphics = machine.function(root, 2, 0);
    machine.tree[graphics].class = 0x03_0000;
    machine.set_ids(graphics, 0x8086, 0x9a49);
    let own = machine.function(root, 3, 0);
    let (_, below) = machine.bridge(root, 4, PcieType::RootPort, 1);
    let near = machine.function(below, 0, 0);
    let (_, below) = machine.bridge(root, 5, PcieType::RootPort, 2);
    let (_, below) = machine.bridge(below, 0, PcieType::ToPci, 7);
    let behind = machine.function(below, 1, 0);
    (machine, [graphics, own, near, behind])
}

fn probed(machine: &Machine, own: FunctionIndex) -> Dma {
    let mut iommu = Iommu { not_covered: vec![own], ..Iommu::intel(48) };
    if let IommuDriver::Intel { graphics_off, .. } = &mut iommu.driver {
        *graphics_off = true;
    }
    let rules = rules(Profile::Linux_7_3).dma;
    Dma::probe(&machine.tree, machine, &rules, &iommu, &DmaSettings::default())
}

#[test]
fn requests_are_translated_under_every_id_they_arrive_with() {
    let (machine, [graphics, own, near, behind]) = machine();
    let dma = probed(&machine, own);
    let mut tables = Translations::default();
    // What a kernel before this one left.
    peerbus_os::dma::IommuTables::attach(&mut tables, 3, 0x0010, Some(GroupNumber(77)));
    dma.attach(&machine.tree, &AliasQuirks::default(), &mut tables);
    let group = |function| dma.groups().of(function);
    let cases = [
        (3, 0x0010, None, "identity domain"),
        (3, 0x0018, None, "no IOMMU covers it"),
        (3, 0x0100, group(near), "an endpoint, by its own id"),
        (3, 0x0708, group(behind), "behind the bridge, by its own id"),
        (3, 0x0700, group(behind), "behind the bridge, by the id the bridge puts on its requests"),
        (3, 0x0701, None, "nobody"),
        (0, 0x0100, None, "another segment"),
    ];
    for (segment, requester, expect, what) in cases {
        assert_eq!(tables.group_of(segment, requester), expect, "{what}");
    }
    assert!(group(near).is_some() && group(behind).is_some() && group(near) != group(behind));
    assert!(!dma.is_translated(graphics) && dma.is_translated(near));
}

#[test]
fn a_copy_of_one_group_maps_as_the_whole_would_and_leaves_it_alone() {
    let (machine, [_, own, near, behind]) = machine();
    let mut dma = probed(&machine, own);
    let page = Memory::ram(CpuAddr(0x12_3000), Bytes(0x1000));
    let map = |dma: &mut Dma, device| {
        let mut tables = Translations::default();
        let mut context = Context {
            call: Call::default(),
            work: DmaWork::default(),
            tables: &mut tables,
            bounce: &mut NoBounce,
            peers: &mut NoPeers,
        };
        dma.map(device, &page, Attributes::default(), &mut context).map(|mapped| mapped.segments)
    };
    let untouched = dma.clone();
    for device in [near, behind, own] {
        let first = map(&mut dma.alone(device), device);
        assert_eq!(map(&mut dma.alone(device), device), first);
        assert_eq!(dma, untouched);
        assert_eq!(map(&mut untouched.clone(), device), first);
    }
    // Other groups are not there: their functions are no longer translated.
    assert!(!dma.alone(near).is_translated(behind));
    let first = map(&mut dma, near);
    assert_ne!(map(&mut dma.alone(near), near), first, "what is mapped stays taken in the copy");
}
