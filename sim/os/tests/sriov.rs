//! Virtual functions: their BARs as optional resources of the physical function, and functions of their own.

use peerbus_os::p2pdma::{CpuIdentity, CpuVendor, MapType, resolve};
use peerbus_os::pci::{
    PcieType, Realloc, ResourceFlags, ResourceRef, VirtualFunctionError, enable_virtual_functions, rescan,
};
use peerbus_os::{BootOptions, ConfigAccess, Profile, ResourceKind, Rules, RulesOptions, Tree, boot};
use peerbus_units::{Bytes, FunctionId};

use crate::fake::{Above, Fake, window};

const ROOT: Above = Above::Host(0);
const NIC: (u16, u16) = (0x8086, 0x1572);
const PREFETCH_64: u32 = 0xc;
const MEM: u32 = 0x0;
const MIB: u64 = 1 << 20;
const PHYSICAL: FunctionId = FunctionId::new(0, 1, 0, 0);

/// A root port with a network card below it that has virtual functions, and a second, empty port.
fn machine(routing: (u16, u16, u16), bars: &[(u16, u64, u32)]) -> (Fake, u16) {
    let mut fake = Fake::arm64();
    let port = fake.port(ROOT, 1, 0, PcieType::RootPort, false);
    fake.port(ROOT, 2, 0, PcieType::RootPort, false);
    let card = fake.function(Above::Bridge(port), 0, 0, NIC, 0x02_0000);
    fake.pcie(card, PcieType::Endpoint);
    fake.bar(card, 0, 8 * MIB, PREFETCH_64);
    let capability = fake.sriov(card, routing, bars);
    (fake, capability)
}

fn rules(profile: Profile) -> Rules {
    profile.rules(RulesOptions::default())
}

/// One round: what reallocation does is tested apart.
fn booted(fake: &mut Fake, profile: Profile) -> Tree {
    let hosts = fake.hosts.clone();
    let options = BootOptions { realloc: Realloc::Off, ..BootOptions::default() };
    boot(fake, &hosts, &rules(profile), &options)
}

fn at(tree: &Tree, number: usize) -> ResourceRef {
    ResourceRef { function: tree.find(PHYSICAL).unwrap(), number }
}

#[test]
fn bars_of_all_virtual_functions_are_one_resource() {
    for profile in Profile::ALL {
        let (mut fake, capability) = machine((8, 16, 1), &[(0, MIB, PREFETCH_64), (3, 64 << 10, MEM)]);
        let tree = booted(&mut fake, profile);
        for (number, size, align, register) in [(7, 8 * MIB, MIB, 0x24), (10, 512 << 10, 64 << 10, 0x30)] {
            let resource = tree.resource(at(&tree, number));
            assert_eq!((resource.size, resource.align), (Bytes(size), align), "{profile} {number}");
            let bus = tree.bus_address(at(&tree, number)).unwrap().0;
            let held = fake.read_dword(PHYSICAL, capability + register) & !0xf;
            assert_eq!(u64::from(held), bus & 0xffff_ffff, "{profile} {number}");
        }
        assert_eq!(tree.failures, []);
    }
}

#[test]
fn virtual_functions_own_slices_and_lie_on_the_physical_functions_bus() {
    for profile in Profile::ALL {
        let (mut fake, capability) = machine((8, 16, 2), &[(0, MIB, PREFETCH_64), (2, 64 << 10, MEM)]);
        let mut tree = booted(&mut fake, profile);
        let physical = tree.find(PHYSICAL).unwrap();
        let added = enable_virtual_functions(&mut tree, &mut fake, physical, 3).unwrap();
        assert_eq!(fake.read_word(PHYSICAL, capability + 0x10), 3);
        assert_eq!(fake.read_word(PHYSICAL, capability + 0x08), 0x9);
        for (index, function) in (0u64..).zip(added) {
            let own = &tree[function];
            let devfn = u8::try_from(16 + 2 * index).unwrap();
            assert_eq!(own.id, FunctionId { domain: 0, bus: 1, devfn });
            assert_eq!((own.vendor, own.device, own.class), (0x8086, 0x1889, 0x02_0000));
            assert_eq!(own.physical_function, Some(physical));
            assert_eq!(own.pcie_type, Some(PcieType::Endpoint));
            assert_eq!(tree.upstream(function), tree.upstream(physical));
            for (number, size) in [(0, MIB), (2, 64 << 10)] {
                let whole = tree.resource(at(&tree, 7 + number)).range().unwrap();
                let part = own.resources[number].range().unwrap();
                assert_eq!(part.first().0, whole.first().0 + index * size, "{profile} {index} {number}");
                assert_eq!(part.size(), Bytes(size));
            }
        }
    }
}

/// 64 of 100 virtual functions two routing ids apart fill the rest of the first bus.
#[test]
fn routing_ids_beyond_the_bus_make_a_virtual_bus() {
    let (mut fake, _) = machine((100, 128, 2), &[(0, 4096, PREFETCH_64)]);
    let mut tree = booted(&mut fake, Profile::Linux_6_12);
    let port = tree.find(FunctionId::new(0, 0, 1, 0)).unwrap();
    let bus = tree[port].subordinate.unwrap();
    assert_eq!((tree[bus].number, tree[bus].last), (1, 2));
    let second = tree.find(FunctionId::new(0, 0, 2, 0)).unwrap();
    assert_eq!(tree[second].subordinate.map(|bus| tree[bus].number), Some(3));
    let physical = tree.find(PHYSICAL).unwrap();
    let added = enable_virtual_functions(&mut tree, &mut fake, physical, 100).unwrap();
    let ids: Vec<_> = [0, 63, 64, 99].map(|index| tree[added[index]].id.to_string()).into();
    assert_eq!(ids, ["0000:01:10.0", "0000:01:1f.6", "0000:02:00.0", "0000:02:08.6"]);
    let last = &tree[added[99]];
    assert_eq!((tree[last.bus].number, tree[last.bus].bridge, tree[last.bus].parent), (2, None, Some(bus)));
    assert_eq!(tree.upstream(added[99]), Some(port));
    assert_eq!(fake.read_dword(last.id, 0), u32::MAX);
    assert!(last.capabilities.pcie.is_some(), "the registers of a virtual function are its own");
}

/// Two virtual functions, one of them on the virtual bus: both lie below the port of the card, so peer-to-peer
/// traffic between them is two steps and turns round there.
#[test]
fn virtual_functions_are_neighbours_below_the_port() {
    let cpu = CpuIdentity { vendor: CpuVendor::Intel, family: 6, model: 0x55, x86: true };
    for profile in Profile::ALL {
        let (mut fake, _) = machine((100, 128, 2), &[(0, 4096, PREFETCH_64)]);
        let mut tree = booted(&mut fake, profile);
        let physical = tree.find(PHYSICAL).unwrap();
        let added = enable_virtual_functions(&mut tree, &mut fake, physical, 100).unwrap();
        let far = resolve(&tree, &fake, &cpu, &rules(profile), added[0], added[99]);
        assert_eq!((far.map_type, far.distance), (MapType::BusAddr, 2), "{profile}: {far:?}");
        let own = resolve(&tree, &fake, &cpu, &rules(profile), physical, added[99]);
        assert_eq!((own.map_type, own.distance), (MapType::BusAddr, 2), "{profile}: {own:?}");
    }
}

#[test]
fn a_rescan_leaves_enabled_virtual_functions_alone() {
    for profile in Profile::ALL {
        let (mut fake, capability) = machine((100, 128, 2), &[(0, 4096, PREFETCH_64)]);
        let mut tree = booted(&mut fake, profile);
        let physical = tree.find(PHYSICAL).unwrap();
        enable_virtual_functions(&mut tree, &mut fake, physical, 100).unwrap();
        let before = tree.clone();
        rescan(&mut fake, &mut tree, &rules(profile), &BootOptions::default());
        assert_eq!(tree.functions, before.functions, "{profile}");
        assert_eq!(fake.read_word(PHYSICAL, capability + 0x10), 100);
    }
}

/// 16 MiB of host bridge window: the card's own 8 MiB fit, those of 64 virtual functions do not.
#[test]
fn virtual_functions_without_room_do_not_cost_the_physical_function_its_bar() {
    for profile in Profile::ALL {
        let (mut fake, _) = machine((64, 16, 1), &[(0, MIB, PREFETCH_64)]);
        fake.hosts[0].windows = vec![window(0x1000_0000, 0x10ff_ffff, ResourceKind::Mem)];
        let mut tree = booted(&mut fake, profile);
        assert!(tree.resource(at(&tree, 0)).is_assigned(), "{profile}: {:?}", tree.failures);
        assert_eq!(tree.resource(at(&tree, 7)).flags, ResourceFlags::NONE);
        assert!(tree.failures.iter().any(|why| why.resource == at(&tree, 7)), "{profile}");
        let physical = tree.find(PHYSICAL).unwrap();
        let refused = enable_virtual_functions(&mut tree, &mut fake, physical, 1);
        assert_eq!(refused, Err(VirtualFunctionError::NoAddress { resource: 7 }), "{profile}");
    }
}

#[track_caller]
fn refused(routing: (u16, u16, u16), count: u16, expect: VirtualFunctionError) {
    let (mut fake, _) = machine(routing, &[(0, 4096, PREFETCH_64)]);
    let mut tree = booted(&mut fake, Profile::Linux_7_3);
    let (before, registers) = (tree.clone(), fake.dump());
    let physical = tree.find(PHYSICAL).unwrap();
    let error = enable_virtual_functions(&mut tree, &mut fake, physical, count);
    assert_eq!(error, Err(expect));
    assert!(tree == before && fake.dump() == registers, "a refusal changes nothing");
}

#[test]
fn refusals() {
    refused((8, 16, 1), 0, VirtualFunctionError::BadNumber { most: 8 });
    refused((8, 16, 1), 9, VirtualFunctionError::BadNumber { most: 8 });
    // All on one routing id, and on that of the physical function.
    refused((8, 16, 0), 2, VirtualFunctionError::NoBusNumber { bus: 1, last: 1 });
    refused((8, 0, 1), 1, VirtualFunctionError::NoBusNumber { bus: 1, last: 1 });
    // Beyond the last bus number of all.
    refused((8, 0xff00, 1), 1, VirtualFunctionError::NoBusNumber { bus: 0x100, last: 0xff });
    // A card without virtual functions at all.
    refused((0, 16, 1), 1, VirtualFunctionError::NotSupported);

    let (mut fake, _) = machine((8, 16, 1), &[(0, 4096, PREFETCH_64)]);
    let mut tree = booted(&mut fake, Profile::Linux_7_3);
    let physical = tree.find(PHYSICAL).unwrap();
    let added = enable_virtual_functions(&mut tree, &mut fake, physical, 2).unwrap();
    let again = enable_virtual_functions(&mut tree, &mut fake, physical, 2);
    assert_eq!(again, Err(VirtualFunctionError::AlreadyEnabled));
    let nested = enable_virtual_functions(&mut tree, &mut fake, added[0], 1);
    assert_eq!(nested, Err(VirtualFunctionError::NotSupported));
}
