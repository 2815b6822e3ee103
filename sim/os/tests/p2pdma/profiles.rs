//! Which host bridges each kernel lists.

use peerbus_os::pci::PcieType;
use peerbus_os::{MapType, Profile};

use super::machine::{INTEL, Machine};

/// Types of a pair below one host bridge and of a pair below two, when both carry these ids.
fn types(profile: Profile, vendor: u16, device: u16) -> (bool, bool) {
    let mut machine = Machine::default();
    let mut endpoints = Vec::new();
    for (bus, ports) in [(0, [1, 2]), (0x40, [0x41, 0x42])] {
        let root = machine.host(0, bus);
        let head = machine.function(root, 0, 0);
        machine.set_ids(head, vendor, device);
        for port in ports {
            let (_, below) = machine.bridge(root, port & 0x1f, PcieType::RootPort, port);
            endpoints.push(machine.function(below, 0, 0));
        }
    }
    let allowed = |client| {
        let resolution = machine.resolve(&INTEL, profile, endpoints[0], client);
        assert_ne!(resolution.map_type, MapType::BusAddr);
        resolution.map_type == MapType::ThruHostBridge
    };
    (allowed(endpoints[1]), allowed(endpoints[2]))
}

#[test]
fn each_kernel_lists_its_host_bridges() {
    const NO: (bool, bool) = (false, false);
    const SAME: (bool, bool) = (true, false);
    const ANY: (bool, bool) = (true, true);
    let check = |vendor, devices: &[u16], linux_6, linux_7_3| {
        for device in devices {
            let found = Profile::ALL.map(|profile| types(profile, vendor, *device));
            assert_eq!(found, [linux_6, linux_6, linux_7_3], "{vendor:04x}:{device:04x}");
        }
    };
    check(0x8086, &[0x3c00, 0x3c01, 0x2f00, 0x2f01], SAME, SAME);
    check(0x8086, &[0x2030, 0x2031, 0x2032, 0x2033, 0x2020, 0x09a2], ANY, ANY);
    check(0x8086, &[0x0b25, 0x0cfe, 0x11fb, 0x1212, 0x1216], NO, ANY);
    check(0x8086, &[0x4940, 0x4942, 0x4944, 0x4946, 0x4948], NO, ANY);
    check(0x1ae0, &[0x0000, 0x0042, 0xffff], NO, ANY);
    check(0x10de, &[0x2f95, 0x2f96, 0x2f97, 0x2f98], NO, ANY);
    check(0x8086, &[0x3c02, 0x2034, 0x09a3, 0x0b26, 0x4941, 0x494a, 0x2f95, 0xffff], NO, NO);
    check(0x10de, &[0x2f94, 0x2f99, 0x2030, 0x3c00], NO, NO);
    check(0x1022, &[0x1480, 0x2030], NO, NO);
}

#[test]
fn the_long_term_kernels_have_ten_rows_and_7_3_has_twenty_five() {
    let rows = Profile::ALL.map(|profile| super::machine::rules(profile).host_bridge_allow_list.len());
    assert_eq!(rows, [10, 10, 25]);
}
