//! From a byte of a BAR to what a client is given.

use peerbus_os::p2pdma::{DmaError, DmaMapping, dma_address, largest_prefetchable_bar};
use peerbus_os::pci::{FunctionIndex, Parent, PcieType, Place, Resource, ResourceFlags};
use peerbus_os::{MapType, ResourceKind, Window};
use peerbus_units::{BusAddr, Bytes, CpuAddr, DmaAddr, Range};

use super::machine::Machine;

const MEM: ResourceFlags = ResourceFlags::MEM;

fn bar(flags: ResourceFlags, size: Bytes, at: Option<u64>) -> Resource {
    let parent = Parent::HostBridge { host_bridge: 0, window: 0 };
    let at = at.map(|first| Place { first: CpuAddr(first), parent });
    Resource { flags, size, align: size.0, at, firmware: None }
}

/// Two host bridges that both show CPU addresses from 0x2000_8000_0000 on, at different bus addresses, and an
/// endpoint below each.
fn two_windows() -> (Machine, [FunctionIndex; 2]) {
    let mut machine = Machine::default();
    let endpoints =
        [(0, 0x2000_8000_0000, 0x8000_0000), (1, 0x2001_8000_0000, 0x9000_0000)].map(|(domain, cpu, bus)| {
            let root = machine.host(domain, 0);
            let window = Range::sized(CpuAddr(cpu), Bytes::gib(1)).unwrap();
            let host = &mut machine.tree.host_bridges[domain as usize];
            host.windows = vec![Window { cpu: window, bus: BusAddr(bus), kind: ResourceKind::Mem }];
            let (_, below) = machine.bridge(root, 1, PcieType::RootPort, 1);
            let endpoint = machine.function(below, 0, 0);
            machine.tree[endpoint].resources[2] =
                bar(MEM | ResourceFlags::PREFETCH, Bytes::mib(64), Some(cpu + 0x10_0000));
            endpoint
        });
    (machine, endpoints)
}

#[test]
fn a_bus_address_is_the_providers() {
    let (machine, [first, second]) = two_windows();
    let check = |provider, map_type, offset, expect| {
        assert_eq!(
            dma_address(&machine.tree, map_type, provider, 2, Bytes(offset)),
            expect,
            "{map_type} {offset:#x}"
        );
    };
    check(first, MapType::BusAddr, 0x1234, Ok(DmaMapping::Bus(BusAddr(0x8010_1234))));
    check(second, MapType::BusAddr, 0x1234, Ok(DmaMapping::Bus(BusAddr(0x9010_1234))));
    check(second, MapType::ThruHostBridge, 0x1234, Ok(DmaMapping::Cpu(CpuAddr(0x2001_8010_1234))));
    check(first, MapType::NotSupported, 0, Err(DmaError::RemoteIo));
    let last = Bytes::mib(64).0 - 1;
    check(first, MapType::BusAddr, last, Ok(DmaMapping::Bus(BusAddr(0x8410_0000 - 1))));
    check(first, MapType::BusAddr, last + 1, Err(DmaError::OutsideBar));
    check(first, MapType::ThruHostBridge, u64::MAX, Err(DmaError::OutsideBar));
    assert_eq!(DmaMapping::Bus(BusAddr(5)).dma_addr(), DmaAddr(5));
    assert_eq!(DmaMapping::Cpu(CpuAddr(6)).dma_addr(), DmaAddr(6));
    assert_eq!(DmaError::RemoteIo.errno(), "EREMOTEIO");
}

#[test]
fn memory_that_is_not_there_has_no_address() {
    let (mut machine, [provider, _]) = two_windows();
    machine.tree[provider].resources[0] = bar(MEM, Bytes::mib(2), None);
    machine.tree[provider].resources[1] = bar(ResourceFlags::IO, Bytes(0x100), Some(0x1000));
    machine.tree[provider].resources[6] = bar(MEM, Bytes::mib(1), Some(0x2000_9000_0000));
    for missing in [0, 1, 3, 6, 15, 16, usize::MAX] {
        let found = dma_address(&machine.tree, MapType::BusAddr, provider, missing, Bytes::ZERO);
        assert_eq!(found, Err(DmaError::NoBar), "BAR {missing}");
    }
}

#[test]
fn the_default_bar_is_the_largest_prefetchable_one() {
    let prefetch = MEM | ResourceFlags::PREFETCH;
    let check = |bars: &[(usize, ResourceFlags, u64)], expect| {
        let mut machine = Machine::default();
        let root = machine.host(0, 0);
        let function = machine.function(root, 1, 0);
        for (number, flags, size) in bars {
            machine.tree[function].resources[*number] = bar(*flags, Bytes::mib(*size), None);
        }
        assert_eq!(largest_prefetchable_bar(&machine.tree, function), expect, "{bars:?}");
    };
    check(&[], None);
    check(&[(0, MEM, 512), (2, ResourceFlags::IO, 1)], None);
    check(&[(0, MEM, 512), (1, prefetch, 256), (3, prefetch, 32)], Some(1));
    check(&[(0, prefetch, 16), (2, prefetch | ResourceFlags::MEM_64, 64), (4, prefetch, 64)], Some(2));
    // A BAR that found no place has no flags left; SR-IOV BARs and windows are no BARs of the function.
    check(&[(0, ResourceFlags::NONE, 1024), (4, prefetch, 2)], Some(4));
    check(&[(7, prefetch, 1024), (15, prefetch, 1024)], None);
}
