//! Rounds of reallocation: machines whose firmware left windows too small, one to three levels deep.

use peerbus_os::pci::{PcieType, Realloc};
use peerbus_os::{BootOptions, Profile, Tree, Width};
use peerbus_units::FunctionId;

use crate::fake::{Above, Fake, booted_with};

const PREFETCH_64: u32 = 0xc;
const MIB: u64 = 1 << 20;
const SMALL: (u64, u64) = (0x90_0000_0000, 0x90_000f_ffff);

/// Ports one below the other, each with a window of 1 MiB from firmware, and at the end a device with a BAR
/// of 64 MiB. Of `depth` 3: root port, upstream and downstream port of a switch.
fn chain(depth: u8) -> (Fake, FunctionId, usize) {
    let mut fake = Fake::arm64();
    let (mut above, mut device) = (Above::Host(0), 1);
    for level in 0..depth {
        let kind = match level {
            0 => PcieType::RootPort,
            level if level % 2 == 1 => PcieType::Upstream,
            _ => PcieType::Downstream,
        };
        let port = fake.port(above, device, 0, kind, false);
        fake.bus_numbers(port, level, level + 1, depth);
        fake.window(port, 0x24, SMALL.0, SMALL.1);
        (above, device) = (Above::Bridge(port), 0);
    }
    let gpu = fake.function(above, 0, 0, (0x10de, 0x20b0), 0x03_0200);
    fake.bar(gpu, 0, 64 * MIB, PREFETCH_64);
    (fake, FunctionId::new(0, depth, 0, 0), gpu)
}

fn placed(tree: &Tree, id: FunctionId, number: usize) -> bool {
    tree[tree.find(id).unwrap()].resources[number].is_assigned()
}

#[test]
fn windows_are_released_level_by_level() {
    for profile in Profile::ALL {
        for depth in 1..=3 {
            for (realloc, expect) in [(Realloc::Off, false), (Realloc::Auto, false), (Realloc::On, true)] {
                let (mut fake, id, _) = chain(depth);
                let options = BootOptions { realloc, ..BootOptions::default() };
                let tree = booted_with(&mut fake, profile, &options);
                assert_eq!(placed(&tree, id, 0), expect, "{profile} {depth} {realloc:?} {:?}", tree.failures);
                assert_eq!(tree.failures.is_empty(), expect, "{profile} {depth} {realloc:?}");
            }
        }
    }
}

/// A device beside the chain, whose own window firmware made large enough, keeps its place: only windows that
/// lead to what failed are released.
#[test]
fn windows_beside_the_failure_stay() {
    for profile in Profile::ALL {
        let (mut fake, id, _) = chain(1);
        let port = fake.port(Above::Host(0), 2, 0, PcieType::RootPort, false);
        fake.bus_numbers(port, 0, 2, 2);
        fake.window(port, 0x24, 0x98_0000_0000, 0x98_00ff_ffff);
        let nic = fake.function(Above::Bridge(port), 0, 0, (0x15b3, 0x1017), 0x02_0000);
        fake.bar(nic, 0, 16 * MIB, PREFETCH_64);
        fake.preset(nic, 0x10, Width::Dword, PREFETCH_64);
        fake.preset(nic, 0x14, Width::Dword, 0x98);
        fake.preset(nic, 0x04, Width::Word, 0x2);
        let options = BootOptions { realloc: Realloc::On, ..BootOptions::default() };
        let tree = booted_with(&mut fake, profile, &options);
        assert!(placed(&tree, id, 0), "{profile}");
        let nic = tree.find(FunctionId::new(0, 2, 0, 0)).unwrap();
        assert_eq!(tree[nic].resources[0].range().unwrap().first().0, 0x98_0000_0000, "{profile}");
    }
}

/// The BARs of virtual functions alone make a kernel try again, unless it must keep what firmware did.
#[test]
fn virtual_functions_without_addresses_start_reallocation() {
    for profile in Profile::ALL {
        for (realloc, preserve_firmware, expect) in [
            (Realloc::Off, false, false),
            (Realloc::Auto, true, false),
            (Realloc::Auto, false, true),
            (Realloc::On, true, true),
        ] {
            let (mut fake, id, gpu) = chain(1);
            fake.bar(gpu, 0, MIB, PREFETCH_64);
            fake.preset(gpu, 0x14, Width::Dword, 0x90);
            fake.pcie(gpu, PcieType::Endpoint);
            fake.sriov(gpu, (4, 8, 1), &[(0, 2 * MIB, PREFETCH_64)]);
            let options = BootOptions { realloc, preserve_firmware, ..BootOptions::default() };
            let tree = booted_with(&mut fake, profile, &options);
            assert!(placed(&tree, id, 0), "{profile}");
            assert_eq!(placed(&tree, id, 7), expect, "{profile} {realloc:?} {preserve_firmware}");
        }
    }
}
