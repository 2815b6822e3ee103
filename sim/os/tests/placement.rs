//! Placement by worked examples: what survives exhaustion, which windows are used, offsets, firmware.

use peerbus_os::pci::{Cause, PcieType, Platform, Realloc, Rejection, ResourceFlags, ResourceRef};
use peerbus_os::{BootOptions, Profile, ResourceKind, Tree, Width, Window};
use peerbus_units::{BusAddr, Bytes, CpuAddr, FunctionId};

use crate::fake::{Above, Fake, booted_with, range, window};

const ROOT: Above = Above::Host(0);
const GPU: (u16, u16) = (0x10de, 0x20b0);
const MEM: u32 = 0x0;
const MEM_64: u32 = 0x4;
const PREFETCH: u32 = 0x8;
const PREFETCH_64: u32 = 0xc;
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn options() -> BootOptions {
    BootOptions { reassign: true, ..BootOptions::default() }
}

fn resource(tree: &Tree, id: &str, number: usize) -> ResourceRef {
    ResourceRef { function: tree.find(id.parse::<FunctionId>().unwrap()).unwrap(), number }
}

fn first(tree: &Tree, id: &str, number: usize) -> Option<u64> {
    tree.resource(resource(tree, id, number)).range().map(|range| range.first().0)
}

fn endpoint(fake: &mut Fake, device: u8) -> usize {
    let port = fake.port(ROOT, device, 0, PcieType::RootPort, false);
    fake.function(Above::Bridge(port), 0, 0, GPU, 0x03_0200)
}

/// Property A25.
#[test]
fn small_bars_are_placed_after_a_big_one_failed() {
    for profile in Profile::ALL {
        let mut fake = Fake::arm64();
        let gpu = fake.function(ROOT, 1, 0, GPU, 0x03_0200);
        fake.bar(gpu, 0, MIB, MEM);
        fake.bar(gpu, 1, 1024 * GIB, PREFETCH_64);
        fake.bar(gpu, 3, 16 * MIB, MEM);
        let tree = booted_with(&mut fake, profile, &options());
        assert_eq!(first(&tree, "00:01.0", 3), Some(0x1000_0000), "{profile}");
        assert_eq!(first(&tree, "00:01.0", 0), Some(0x1100_0000), "{profile}");
        let failed = resource(&tree, "00:01.0", 1);
        assert_eq!(tree.resource(failed).flags, ResourceFlags::NONE);
        assert_eq!(tree.failures.len(), 1);
        let why = &tree.failures[0];
        assert_eq!((why.resource, why.size, why.align), (failed, Bytes::gib(1024), 1024 * GIB));
        let Cause::NoSpace(windows) = &why.cause else { panic!("{why}") };
        let high = windows.iter().find(|w| w.range.first().0 == 0x80_0000_0000).unwrap();
        assert_eq!(
            (high.rejection, high.free, high.largest_hole),
            (Rejection::NoHole, Bytes::gib(512), Bytes::gib(512))
        );
        assert!(why.to_string().contains("512GiB in one piece"), "{why}");
    }
}

/// Property A26.
#[test]
fn a_32_bit_prefetchable_bar_lies_in_the_memory_window() {
    for profile in Profile::ALL {
        let mut fake = Fake::arm64();
        let gpu = endpoint(&mut fake, 1);
        fake.bar(gpu, 0, 16 * MIB, PREFETCH);
        fake.bar(gpu, 2, GIB, PREFETCH_64);
        fake.bar(gpu, 4, MIB, MEM_64);
        let tree = booted_with(&mut fake, profile, &options());
        for (bar, window) in [(0, 14), (2, 15), (4, 14)] {
            let parent = tree.resource(resource(&tree, "00:01.0", window)).range().unwrap();
            let range = tree.resource(resource(&tree, "01:00.0", bar)).range().unwrap();
            assert!(parent.covers(range), "{profile} BAR {bar}");
            assert_eq!(range.first().0 < 4 * GIB, window == 14);
        }
    }
}

/// 256 MiB and 32 MiB behind one port: the window both rules give.
///
/// Property A24, booted.
#[test]
fn windows_have_the_size_of_the_profile() {
    for (profile, size) in [(Profile::Linux_6_1, 384), (Profile::Linux_6_12, 384), (Profile::Linux_7_3, 288)]
    {
        let mut fake = Fake::arm64();
        let gpu = endpoint(&mut fake, 1);
        fake.bar(gpu, 0, 256 * MIB, PREFETCH_64);
        fake.bar(gpu, 2, 32 * MIB, PREFETCH_64);
        let tree = booted_with(&mut fake, profile, &options());
        let window = tree.resource(resource(&tree, "00:01.0", 15));
        assert_eq!(window.size, Bytes::mib(size), "{profile}");
        assert!(tree.failures.is_empty());
    }
}

#[test]
fn an_alignment_that_cannot_be_sized_disables_the_bar() {
    for (profile, sized) in [(Profile::Linux_6_12, false), (Profile::Linux_7_3, true)] {
        let mut fake = Fake::arm64();
        let gpu = endpoint(&mut fake, 1);
        fake.bar(gpu, 0, 16 << 40, PREFETCH_64);
        let tree = booted_with(&mut fake, profile, &options());
        let at = resource(&tree, "01:00.0", 0);
        let why = tree.failures.iter().find(|why| why.resource == at).unwrap();
        assert_eq!(why.cause == Cause::AlignmentTooLarge, !sized, "{profile}: {why}");
    }
}

#[test]
fn registers_hold_bus_addresses() {
    let mut fake = Fake::default();
    let low = Window {
        cpu: range(0x2000_8000_0000, 0x2000_ffff_ffff),
        bus: BusAddr(0x8000_0000),
        kind: ResourceKind::Mem,
    };
    fake.host(0, 0, 0xff, vec![low]);
    let port = fake.port(ROOT, 1, 0, PcieType::RootPort, false);
    let gpu = fake.function(Above::Bridge(port), 0, 0, GPU, 0x03_0200);
    fake.bar(gpu, 0, 16 * MIB, MEM);
    let tree = booted_with(&mut fake, Profile::Linux_6_12, &options());
    let at = resource(&tree, "01:00.0", 0);
    assert_eq!(first(&tree, "01:00.0", 0), Some(0x2000_8000_0000));
    assert_eq!(tree.bus_address(at), Some(BusAddr(0x8000_0000)));
    assert_eq!(fake.register(gpu, 0x10), 0x8000_0000);
    assert_eq!(fake.register(port, 0x20), 0x80f0_8000);
    assert_eq!(fake.register(gpu, 0x04) & 0x7, 0x6);
    assert_eq!(tree.host_bridges[0].windows[0].offset(), 0x2000_0000_0000);
}

#[test]
fn a_32_bit_bar_does_not_fit_above_4_gib() {
    let mut fake = Fake::default();
    fake.host(0, 0, 0xff, vec![window(0x80_0000_0000, 0x80_ffff_ffff, ResourceKind::Mem)]);
    let device = fake.function(ROOT, 1, 0, GPU, 0x03_0200);
    fake.bar(device, 0, MIB, MEM);
    fake.bar(device, 2, MIB, MEM_64);
    let tree = booted_with(&mut fake, Profile::Linux_6_12, &options());
    assert_eq!(first(&tree, "00:01.0", 2), Some(0x80_0000_0000));
    let Cause::NoSpace(windows) = &tree.failures[0].cause else { panic!("{:?}", tree.failures) };
    assert_eq!(windows[0].rejection, Rejection::OutOfReach);
}

/// A port and a BAR as firmware left them; `window` is base and limit of the prefetchable window.
fn firmware(bar: u64, window: (u64, u64)) -> (Fake, usize) {
    let mut fake = Fake::arm64();
    let port = fake.port(ROOT, 1, 0, PcieType::RootPort, false);
    let gpu = fake.function(Above::Bridge(port), 0, 0, GPU, 0x03_0200);
    fake.bus_numbers(port, 0, 1, 1);
    fake.bar(gpu, 0, GIB, PREFETCH_64);
    let bytes = bar.to_le_bytes();
    let half = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    fake.preset(gpu, 0x10, Width::Dword, half(0) | PREFETCH_64);
    fake.preset(gpu, 0x14, Width::Dword, half(4));
    fake.preset(gpu, 0x04, Width::Word, 0x6);
    let low = (window.0 >> 16 & 0xfff0) as u32 | (window.1 & 0xfff0_0000) as u32 | 0x0001_0001;
    fake.preset(port, 0x24, Width::Dword, low);
    fake.preset(port, 0x28, Width::Dword, (window.0 >> 32) as u32);
    fake.preset(port, 0x2c, Width::Dword, (window.1 >> 32) as u32);
    (fake, gpu)
}

#[test]
fn firmwares_addresses_are_kept_where_they_fit() {
    for profile in Profile::ALL {
        for (case, bar, window, kept) in [
            ("inside", 0x90_0000_0000, (0x90_0000_0000, 0x90_7fff_ffff), true),
            ("window clipped to the host's", 0xff_c000_0000, (0xff_c000_0000, 0x100_3fff_ffff), true),
            ("BAR beyond its window", 0x91_0000_0000, (0x90_0000_0000, 0x90_7fff_ffff), false),
            ("window outside the host's", 0x200_0000_0000, (0x200_0000_0000, 0x200_7fff_ffff), false),
        ] {
            let (mut fake, _) = firmware(bar, window);
            let tree = booted_with(&mut fake, profile, &BootOptions::default());
            let at = first(&tree, "01:00.0", 0);
            assert!(at.is_some(), "{profile} {case}: {:?}", tree.failures);
            assert_eq!(at == Some(bar), kept, "{profile} {case}: {at:x?}");
            let (mut fake, _) = firmware(bar, window);
            let tree = booted_with(&mut fake, profile, &options());
            assert_eq!(first(&tree, "01:00.0", 0), Some(0x80_0000_0000), "{profile} {case}, reassigned");
        }
    }
}

/// Property B10.
#[test]
fn of_two_claims_on_one_address_the_decoding_one_wins() {
    for profile in Profile::ALL {
        let mut fake = Fake::arm64();
        for (device, command) in [(1, 0), (2, 2)] {
            let function = fake.function(ROOT, device, 0, GPU, 0x03_0200);
            fake.bar(function, 0, MIB, MEM);
            fake.preset(function, 0x10, Width::Dword, 0x2000_0000);
            fake.preset(function, 0x04, Width::Word, command);
        }
        let tree = booted_with(&mut fake, profile, &BootOptions::default());
        assert_eq!(first(&tree, "00:02.0", 0), Some(0x2000_0000));
        assert_eq!(first(&tree, "00:01.0", 0), Some(0x1000_0000));
    }
}

/// A port that got only a small window from firmware, its device asking for more later.
#[test]
fn reallocation_makes_room_where_one_round_does_not() {
    let placed = |realloc| {
        let (mut fake, gpu) = firmware(0, (0x90_0000_0000, 0x90_000f_ffff));
        fake.bar(gpu, 2, 2 * MIB, PREFETCH_64);
        let options = BootOptions { realloc, ..BootOptions::default() };
        let tree = booted_with(&mut fake, Profile::Linux_6_12, &options);
        (first(&tree, "01:00.0", 0).is_some(), tree.failures.len())
    };
    assert_eq!(placed(Realloc::Auto), (false, 2));
    assert_eq!(placed(Realloc::On), (true, 0));
}

#[test]
fn claims_lie_inside_their_parents() {
    let mut fake = Fake::arm64();
    let gpu = endpoint(&mut fake, 1);
    fake.bar(gpu, 0, GIB, PREFETCH_64);
    let tree = booted_with(&mut fake, Profile::Linux_7_3, &options());
    let at = resource(&tree, "01:00.0", 0);
    let place = tree.resource(at).at.unwrap();
    let claims = tree.space.claims(place.parent);
    assert_eq!(claims.iter().map(|claim| claim.owner).collect::<Vec<_>>(), [at]);
    assert_eq!(claims[0].range.first(), CpuAddr(0x80_0000_0000));
}

/// A function on the root bus whose BAR fits nowhere falls back to firmware's address outside of all windows, unless RAM or
/// another host bridge's window lies there.
#[test]
fn firmwares_address_on_a_root_bus_is_the_last_resort() {
    let outside = (0x5000_0000, range(0x5000_0000, 0x5fff_ffff));
    for profile in Profile::ALL {
        for (taken, expect) in [
            (None, Some(outside.0)),
            (Some(range(0x4000_0000, 0x4fff_ffff)), Some(outside.0)),
            (Some(range(0x5fff_f000, 0x6fff_ffff)), None),
        ] {
            let mut fake = Fake::default();
            fake.host(0, 0, 0xff, vec![window(0x1000_0000, 0x10ff_ffff, ResourceKind::Mem)]);
            let function = fake.function(ROOT, 1, 0, GPU, 0x03_0200);
            fake.bar(function, 0, outside.1.size().0, MEM);
            fake.preset(function, 0x10, Width::Dword, 0x5000_0000);
            fake.preset(function, 0x04, Width::Word, 2);
            let platform = Platform::generic().with_taken(taken);
            let options = BootOptions { platform, ..BootOptions::default() };
            let tree = booted_with(&mut fake, profile, &options);
            assert_eq!(first(&tree, "00:01.0", 0), expect, "{profile} {taken:?}");
            assert_eq!(tree.failures.is_empty(), expect.is_some(), "{profile} {taken:?}");
        }
    }
}

/// An IDE controller in compatibility mode answers at the ports of a PC/AT: they are claimed where a window has them, and
/// never moved; a channel in native mode has BARs like others.
#[test]
fn legacy_ports_do_not_move() {
    for profile in Profile::ALL {
        for (interface, first_port, expect) in [
            (0x80, 0, [Some(0x1f0), Some(0x3f6), Some(0x170), Some(0x376)]),
            (0x85, 0, [Some(0x1000), Some(0x1008), Some(0x1010), Some(0x1018)]),
            (0x8a, 0x1000, [None; 4]),
        ] {
            let mut fake = Fake::default();
            fake.host(0, 0, 0xff, vec![window(first_port, 0xffff, ResourceKind::Io)]);
            let ide = fake.function(ROOT, 1, 0, (0x8086, 0x7010), 0x01_0100 | interface);
            for bar in 0..4 {
                fake.bar(ide, bar, 8, 1);
            }
            let tree = booted_with(&mut fake, profile, &BootOptions::default());
            let found = [0, 1, 2, 3].map(|number| first(&tree, "00:01.0", number));
            assert_eq!(found, expect, "{profile} {interface:#x}");
            let immovable = tree.failures.iter().filter(|why| why.cause == Cause::Immovable).count();
            assert_eq!(immovable, expect.iter().filter(|at| at.is_none()).count(), "{profile}");
        }
    }
}
