//! Effects seen where a kernel places everything itself, each on a machine of its own: which windows survive
//! exhaustion, and where the two formulas part.

use peerbus_os::pci::{PcieType, ResourceFlags};
use peerbus_os::{Profile, ResourceKind, Tree};
use peerbus_units::{Bytes, FunctionId};

use crate::fake::{Above, Fake, booted, window};

const ROOT: Above = Above::Host(0);
const TEST_DEVICE: (u16, u16) = (0x1b36, 0x0005);
const PREFETCH_64: u32 = 0xc;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A device with a register BAR and a large BAR, as the emulator's test device.
fn device(fake: &mut Fake, above: Above, size: u64) {
    let index = fake.function(above, 0, 0, TEST_DEVICE, 0x00_ff00);
    fake.bar(index, 0, 4096, 0);
    fake.bar(index, 2, size, PREFETCH_64);
}

/// A switch with hot-plug slots and a device in each.
fn switch(fake: &mut Fake, above: Above, sizes: &[u64]) -> usize {
    let up = fake.port(above, 0, 0, PcieType::Upstream, false);
    for (slot, size) in (0..).zip(sizes) {
        let down = fake.port(Above::Bridge(up), slot, 0, PcieType::Downstream, true);
        device(fake, Above::Bridge(down), *size);
    }
    up
}

/// Addresses of all large BARs, in the order of buses.
fn large_bars(tree: &Tree) -> Vec<Option<u64>> {
    let devices = tree.functions.iter().filter(|f| (f.vendor, f.device) == TEST_DEVICE);
    devices.map(|f| f.resources[2].range().map(|range| range.first().0)).collect()
}

/// 512 GiB for three times 256 GiB: two of them. What is smaller goes below 4 GiB.
#[test]
fn the_last_of_equal_windows_fails() {
    for profile in Profile::ALL {
        let mut fake = Fake::arm64();
        for (slot, size) in (1..).zip([64 * MIB, 256 * GIB, 256 * GIB, 256 * GIB]) {
            let port = fake.port(ROOT, slot, 0, PcieType::RootPort, true);
            device(&mut fake, Above::Bridge(port), size);
        }
        let tree = booted(&mut fake, profile);
        let expect = [Some(0x1000_0000), Some(0x80_0000_0000), Some(0xc0_0000_0000), None];
        assert_eq!(large_bars(&tree), expect, "{profile}");
    }
}

/// Twice four times 64 GiB and 64 MiB in 512 GiB: 6.x rounds each switch to 288 GiB, and 7.x needs 256 GiB and
/// 64 MiB. Either way the second switch has no window, and nothing behind it an address, not even the 64 MiB.
#[test]
fn a_switch_whose_window_does_not_fit_fails_as_a_whole() {
    for profile in Profile::ALL {
        let mut fake = Fake::arm64();
        for slot in 1..=2 {
            let port = fake.port(ROOT, slot, 0, PcieType::RootPort, true);
            switch(&mut fake, Above::Bridge(port), &[64 * GIB, 64 * GIB, 64 * GIB, 64 * GIB, 64 * MIB]);
        }
        let tree = booted(&mut fake, profile);
        let placed: Vec<_> = large_bars(&tree).iter().map(Option::is_some).collect();
        assert_eq!(placed, [[true; 5], [false; 5]].concat(), "{profile}");
        let first = tree.find(FunctionId::new(0, 0, 1, 0)).unwrap();
        let size = if profile == Profile::Linux_7_3 { 256 * GIB + 64 * MIB } else { 288 * GIB };
        assert_eq!(tree[first].resources[15].size, Bytes(size), "{profile}");
        // What 7.x leaves visible is the window it wanted, unset.
        let second = tree.find(FunctionId::new(0, 0, 2, 0)).unwrap();
        let lost = tree[second].resources[15];
        if profile == Profile::Linux_7_3 {
            assert!(lost.flags.has(ResourceFlags::UNSET) && lost.size == Bytes(size), "{lost:x?}");
        } else {
            assert_eq!(lost.flags, ResourceFlags::NONE);
        }
    }
}

/// 64 MiB beside a switch with 1 GiB and another BAR. 7.x makes the outer window exactly as long as the sum: an
/// odd 2 MiB leaves a gap of which the sum knows nothing.
#[test]
fn a_window_of_odd_size_leaves_its_neighbour_without_room_in_7_x() {
    for profile in Profile::ALL {
        for (other, size, fits) in [(2 * MIB, 1090 * MIB, false), (64 * MIB, 1152 * MIB, true)] {
            let mut fake = Fake::arm64();
            let port = fake.port(ROOT, 2, 0, PcieType::RootPort, true);
            let up = fake.port(Above::Bridge(port), 0, 0, PcieType::Upstream, false);
            let beside = fake.port(Above::Bridge(up), 0, 0, PcieType::Downstream, true);
            let nested = fake.port(Above::Bridge(up), 1, 0, PcieType::Downstream, true);
            device(&mut fake, Above::Bridge(beside), 64 * MIB);
            switch(&mut fake, Above::Bridge(nested), &[GIB, other]);
            let tree = booted(&mut fake, profile);
            let seven = profile == Profile::Linux_7_3;
            let expect = [fits || !seven, true, true];
            let placed: Vec<_> = large_bars(&tree).iter().map(Option::is_some).collect();
            assert_eq!(placed, expect, "{profile} {}", Bytes(other));
            let root = tree.find(FunctionId::new(0, 0, 2, 0)).unwrap();
            assert_eq!(tree[root].resources[15].size == Bytes(size), seven, "{profile} {}", Bytes(other));
        }
    }
}

/// Sixteen ports and 64 Ki of ports to give away, of which the first 4 Ki are legacy: windows of I/O ports that
/// are only wished for are the first to go.
#[test]
fn optional_io_windows_go_first() {
    for profile in Profile::ALL {
        let mut fake = Fake::arm64();
        for slot in 1..=16 {
            let port = fake.port(ROOT, slot, 0, PcieType::RootPort, true);
            let card = fake.function(Above::Bridge(port), 0, 0, TEST_DEVICE, 0x00_ff00);
            fake.bar(card, 0, 4096, 0);
            if slot % 2 == 0 {
                fake.bar(card, 1, 256, 1);
            }
        }
        let tree = booted(&mut fake, profile);
        let devices = tree.functions.iter().filter(|f| (f.vendor, f.device) == TEST_DEVICE);
        let io: Vec<_> = devices.map(|f| f.resources[1].is_assigned()).collect();
        assert_eq!(io, [false, true].repeat(8), "{profile}: every BAR that exists has its ports");
        let windows = tree.functions.iter().filter(|f| f.is_bridge() && f.resources[13].is_assigned());
        let count = windows.count();
        // In 7.x windows that hold a BAR wish to grow, and take what empty ones would.
        assert!(count == 15 || profile == Profile::Linux_7_3 && count < 15, "{profile}: {count} windows");
    }
}

/// 6.12 alone: below a window that exists and has no aligned hole, a new one is not rounded up.
#[test]
fn without_an_aligned_hole_above_6_12_no_longer_rounds() {
    for (profile, size) in [
        (Profile::Linux_6_1, None),
        (Profile::Linux_6_12, Some(288 * MIB)),
        (Profile::Linux_7_3, Some(288 * MIB)),
    ] {
        let mut fake = Fake::arm64();
        fake.hosts[0].windows[2] = window(0x80_0000_0000, 0x80_ffff_ffff, ResourceKind::Mem);
        let port = fake.port(ROOT, 1, 0, PcieType::RootPort, false);
        fake.bus_numbers(port, 0, 1, 3);
        fake.window(port, 0x24, 0x80_0000_0000, 0x80_11ff_ffff);
        let up = fake.port(Above::Bridge(port), 0, 0, PcieType::Upstream, false);
        fake.bus_numbers(up, 1, 2, 3);
        fake.window(up, 0x24, 0x80_0000_0000, 0x80_11ff_ffff);
        let down = fake.port(Above::Bridge(up), 0, 0, PcieType::Downstream, false);
        let card = fake.function(Above::Bridge(down), 0, 0, TEST_DEVICE, 0x00_ff00);
        fake.bar(card, 0, 256 * MIB, PREFETCH_64);
        fake.bar(card, 2, 32 * MIB, PREFETCH_64);
        let tree = booted(&mut fake, profile);
        let down = tree.find(FunctionId::new(0, 2, 0, 0)).unwrap();
        let window = tree[down].resources[15];
        assert_eq!(window.is_assigned().then_some(window.size.0), size, "{profile}");
    }
}
