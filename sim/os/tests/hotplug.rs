//! Spare space below windows that firmware placed: who gets how much. Devices that are plugged in later.

use peerbus_os::pci::{PcieType, hot_add};
use peerbus_os::{BootOptions, Profile, RulesOptions, Tree, boot};
use peerbus_units::FunctionId;

use crate::fake::{Above, Fake, booted, range, window};

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

/// Two root ports with slots; the host bridge has `size` MiB.
fn slots(size: u64) -> (Fake, [usize; 2]) {
    let mut fake = Fake::default();
    let io = window(0, 0xffff, peerbus_os::ResourceKind::Io);
    let low = window(0x1000_0000, 0x3efe_ffff, peerbus_os::ResourceKind::Mem);
    let high = peerbus_os::Window { cpu: range(FIRST, FIRST + size * MIB - 1), ..low };
    let high = peerbus_os::Window { bus: peerbus_units::BusAddr(FIRST), ..high };
    fake.host(0, 0, 0xff, vec![io, low, high]);
    let ports = [1, 2].map(|device| fake.port(ROOT, device, 0, PcieType::RootPort, true));
    (fake, ports)
}

/// Boots, plugs a card with BARs of these MiB into the first slot; where they got and what failed.
fn plugged(profile: Profile, size: u64, bars: &[u64]) -> (Tree, Tree, Vec<bool>) {
    let (mut fake, ports) = slots(size);
    let hosts = fake.hosts.clone();
    let (rules, options) = (profile.rules(RulesOptions::default()), BootOptions::default());
    let mut tree = boot(&mut fake, &hosts, &rules, &options);
    let before = tree.clone();
    let card = fake.function(Above::Bridge(ports[0]), 0, 0, (0x10de, 0x20b0), 0x03_0200);
    for (bar, size) in (0..).step_by(2).zip(bars) {
        fake.bar(card, bar, size * MIB, PREFETCH_64);
    }
    let port = tree.find(FunctionId::new(0, 0, 1, 0)).unwrap();
    hot_add(&mut fake, &mut tree, &rules, &options, port);
    let card = &tree[tree.find(FunctionId::new(0, 1, 0, 0)).expect("it is found")];
    let placed = (0..bars.len()).map(|number| card.resources[2 * number].is_assigned()).collect();
    (before, tree, placed)
}

fn bus_of_second_port(tree: &Tree) -> Vec<Option<u64>> {
    let port = &tree[tree.find(FunctionId::new(0, 0, 2, 0)).unwrap()];
    port.resources.iter().map(|resource| resource.range().map(|range| range.first().0)).collect()
}

/// What fits the 2 MiB of the port goes there; what does not makes the port's window grow in the second try.
#[test]
fn a_plugged_card_makes_its_port_grow() {
    for profile in Profile::ALL {
        for (bars, expect) in [(&[1][..], true), (&[64], true), (&[64, 64, 32], true)] {
            let (before, tree, placed) = plugged(profile, 1024, bars);
            assert!(placed.iter().all(|placed| *placed == expect), "{profile} {bars:?}: {:?}", tree.failures);
            assert!(tree.failures.is_empty(), "{profile} {bars:?}: {:?}", tree.failures);
            assert_eq!(bus_of_second_port(&before), bus_of_second_port(&tree), "{profile} {bars:?}");
        }
    }
}

/// After two tries what does not fit has no address, and its neighbours and the other slot are as they were.
#[test]
fn a_card_too_large_for_its_slot_fails_after_two_tries() {
    for profile in Profile::ALL {
        let (before, tree, placed) = plugged(profile, 64, &[1024]);
        assert_eq!(placed, [false], "{profile}");
        let card = tree.find(FunctionId::new(0, 1, 0, 0)).unwrap();
        let why = tree.failures.iter().find(|why| why.resource.function == card).expect("a cause is told");
        assert_eq!(why.size.0, 1024 * MIB, "{profile}");
        assert_eq!(bus_of_second_port(&before), bus_of_second_port(&tree), "{profile}");
    }
}

/// A switch that is plugged in gets the rest of a window that firmware made large, and its slots share that.
#[test]
fn slots_of_a_plugged_switch_share_the_ports_window() {
    for profile in Profile::ALL {
        let mut fake = Fake::arm64();
        let port = fake.port(ROOT, 1, 0, PcieType::RootPort, true);
        fake.bus_numbers(port, 0, 1, 9);
        fake.window(port, 0x24, FIRST, FIRST + 256 * MIB - 1);
        let hosts = fake.hosts.clone();
        let (rules, options) = (profile.rules(RulesOptions::default()), BootOptions::default());
        let mut tree = boot(&mut fake, &hosts, &rules, &options);
        let up = fake.port(Above::Bridge(port), 0, 0, PcieType::Upstream, false);
        for device in 0..2 {
            fake.port(Above::Bridge(up), device, 0, PcieType::Downstream, true);
        }
        let port = tree.find(FunctionId::new(0, 0, 1, 0)).unwrap();
        hot_add(&mut fake, &mut tree, &rules, &options, port);
        assert_eq!(windows(&tree, 2), [256, 128, 128], "{profile}");
        let functions = tree.functions.len();
        hot_add(&mut fake, &mut tree, &rules, &options, port);
        assert_eq!((tree.functions.len(), windows(&tree, 2)), (functions, vec![256, 128, 128]), "{profile}");
    }
}
