//! Spare space below windows that firmware placed: who gets how much.

use peerbus_os::pci::PcieType;
use peerbus_os::{BootOptions, Profile, RulesOptions, Tree, boot};
use peerbus_units::FunctionId;

use crate::fake::{Above, Fake, booted};

const ROOT: Above = Above::Host(0);
const MIB: u64 = 1 << 20;
const PREFETCH_64: u32 = 0xc;
const FIRST: u64 = 0x90_0000_0000;

/// A root port with `size` MiB of prefetchable window from firmware, and below it a switch without any, whose
/// downstream ports are hot-plug capable or not.
fn machine(size: u64, slots: &[bool]) -> Fake {
    let mut fake = Fake::arm64();
    let port = fake.port(ROOT, 1, 0, PcieType::RootPort, true);
    fake.bus_numbers(port, 0, 1, 9);
    fake.window(port, 0x24, FIRST, FIRST + size * MIB - 1);
    let up = fake.port(Above::Bridge(port), 0, 0, PcieType::Upstream, false);
    for (device, hotplug) in (0..).zip(slots) {
        let down = fake.port(Above::Bridge(up), device, 0, PcieType::Downstream, *hotplug);
        let card = fake.function(Above::Bridge(down), 0, 0, (0x10de, 0x20b0), 0x03_0200);
        fake.bar(card, 0, 16 * MIB, PREFETCH_64);
    }
    fake
}

/// MiB of the prefetchable windows of the upstream port and of the downstream ports.
fn windows(tree: &Tree, slots: u8) -> Vec<u64> {
    let up = FunctionId::new(0, 1, 0, 0);
    let ids = std::iter::once(up).chain((0..slots).map(|device| FunctionId::new(0, 2, device, 0)));
    ids.map(|id| tree[tree.find(id).unwrap()].resources[15].size.0 / MIB).collect()
}

#[track_caller]
fn check(size: u64, slots: &[bool], expect: &[u64]) {
    for profile in Profile::ALL {
        let mut fake = machine(size, slots);
        let tree = booted(&mut fake, profile);
        let count = u8::try_from(slots.len()).unwrap();
        assert_eq!(windows(&tree, count), expect, "{profile} {size} {slots:?}");
        assert!(tree.failures.iter().all(|why| why.resource.number != 0), "{profile}: {:?}", tree.failures);
    }
}

#[test]
fn the_rest_of_a_window_is_shared_by_hotplug_bridges() {
    // The upstream port, alone on its bus, gets everything. Below it 256 MiB less twice 16 MiB are shared.
    check(256, &[true, true], &[256, 128, 128]);
    // Only one of the two can take more.
    check(256, &[true, false], &[256, 240, 16]);
    // Without hot-plug, all bridges are equal.
    check(256, &[false, false], &[256, 128, 128]);
    // 208 MiB in three parts, rounded down to 16 MiB.
    check(256, &[true, true, true], &[256, 80, 80, 80]);
    // Nothing is left.
    check(32, &[true, true], &[32, 16, 16]);
}

/// A window that the kernel places itself offers nothing: its bridges have what they need.
#[test]
fn without_firmwares_window_nothing_is_shared() {
    for profile in Profile::ALL {
        let mut fake = machine(256, &[true, true]);
        let hosts = fake.hosts.clone();
        let options = BootOptions { reassign: true, ..BootOptions::default() };
        let tree = boot(&mut fake, &hosts, &profile.rules(RulesOptions::default()), &options);
        assert_eq!(windows(&tree, 2), [32, 16, 16], "{profile}");
    }
}
