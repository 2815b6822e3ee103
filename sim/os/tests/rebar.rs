//! Resizable BARs: what is refused and why, what moves, and that a failure leaves no trace.

use peerbus_os::pci::{
    Cause, PcieType, ResizableSize, Resize, ResizeError, ResourceRef, resizable_sizes, resize,
};
use peerbus_os::{BootOptions, ConfigAccess, Profile, ResourceKind, RulesOptions, Tree, Width};
use peerbus_units::{Bytes, FunctionId};

use crate::fake::{self, Above, Fake, window};

const ROOT: Above = Above::Host(0);
const GPU: (u16, u16) = (0x1002, 0x740f);
const PREFETCH_64: u32 = 0xc;
const MEM: u32 = 0x0;
const MIB: u64 = 1 << 20;
const SIX: [Profile; 2] = [Profile::Linux_6_1, Profile::Linux_6_12];

/// A graphics card: 256 MiB that can be 256 MiB to 16 GiB, 2 MiB of doorbells, 512 KiB of registers.
fn card(fake: &mut Fake, above: Above, device: u8) -> usize {
    let card = fake.function(above, device, 0, GPU, 0x03_8000);
    fake.pcie(card, PcieType::Endpoint);
    fake.rebar(card, &[(0, 0b111_1111 << 8, 8)]);
    fake.bar(card, 0, 256 * MIB, PREFETCH_64);
    fake.bar(card, 2, 2 * MIB, PREFETCH_64);
    fake.bar(card, 5, 512 << 10, MEM);
    card
}

fn below_port() -> Fake {
    let mut fake = Fake::arm64();
    let port = fake.port(ROOT, 1, 0, PcieType::RootPort, false);
    card(&mut fake, Above::Bridge(port), 0);
    fake
}

/// Boots and switches memory decoding of `id` off, as a driver does before it resizes.
fn booted(fake: &mut Fake, profile: Profile, id: FunctionId) -> Tree {
    let tree = fake::booted(fake, profile);
    fake.write_word(id, 4, 0);
    tree
}

const BELOW_PORT: FunctionId = FunctionId::new(0, 1, 0, 0);

fn request(tree: &Tree, id: FunctionId, number: usize, size: u8) -> Resize {
    let bar = ResourceRef { function: tree.find(id).unwrap(), number };
    Resize { bar, size: ResizableSize::new(size).unwrap(), exclude: 0 }
}

fn tried(fake: &mut Fake, tree: &mut Tree, profile: Profile, request: Resize) -> Result<(), ResizeError> {
    resize(fake, tree, &profile.rules(RulesOptions::default()), &BootOptions::default(), request)
}

/// A refusal must leave tree and registers as they were.
#[track_caller]
fn refused(fake: &mut Fake, tree: &mut Tree, profile: Profile, request: Resize) -> ResizeError {
    let (before, registers) = (tree.clone(), fake.dump());
    let error = tried(fake, tree, profile, request).unwrap_err();
    assert!(*tree == before, "{profile}: {error} changed the tree");
    assert!(fake.dump() == registers, "{profile}: {error} changed registers");
    error
}

fn address(tree: &Tree, id: FunctionId, number: usize) -> Option<(u64, u64)> {
    let function = tree.find(id).unwrap();
    tree[function].resources[number].range().map(|range| (range.first().0, range.size().0))
}

#[test]
fn sizes_are_read_from_the_capability() {
    let mut fake = below_port();
    let tree = booted(&mut fake, Profile::Linux_7_3, BELOW_PORT);
    let sizes = resizable_sizes(&fake, &tree, request(&tree, BELOW_PORT, 0, 8).bar).unwrap();
    assert_eq!(sizes.iter().map(ResizableSize::number).collect::<Vec<_>>(), (8..=14).collect::<Vec<_>>());
    for (bytes, number) in
        [(1, Some(0)), (MIB, Some(0)), (MIB + 1, Some(1)), (192 << 30, Some(18)), (u64::MAX, None)]
    {
        assert_eq!(ResizableSize::holding(Bytes(bytes)).map(ResizableSize::number), number);
    }
    assert_eq!(ResizableSize::new(28), None);
}

#[test]
fn a_larger_bar_gets_a_larger_window() {
    for profile in Profile::ALL {
        let mut fake = below_port();
        let mut tree = booted(&mut fake, profile, BELOW_PORT);
        let memory = address(&tree, BELOW_PORT, 5);
        let request = request(&tree, BELOW_PORT, 0, 13);
        tried(&mut fake, &mut tree, profile, request).unwrap();
        let (first, size) = address(&tree, BELOW_PORT, 0).unwrap();
        assert_eq!((first, size), (0x80_0000_0000, 8192 * MIB), "{profile}");
        assert_eq!(address(&tree, BELOW_PORT, 2).unwrap(), (0x82_0000_0000, 2 * MIB), "{profile}");
        assert_eq!(address(&tree, BELOW_PORT, 5), memory, "{profile}: another window");
        // The registers say the same: size 13, base, and the port's window.
        let capability = tree[request.bar.function].capabilities.rebar.unwrap();
        assert_eq!(fake.read_dword(BELOW_PORT, capability + 8) >> 8 & 0x3f, 13);
        assert_eq!(fake.read_dword(BELOW_PORT, 0x14), 0x80);
        let port = FunctionId::new(0, 0, 1, 0);
        let (window, length) = address(&tree, port, 15).unwrap();
        assert_eq!((window, fake.read_dword(port, 0x28)), (0x80_0000_0000, 0x80));
        assert!(length >= 8194 * MIB);
        assert_eq!(u64::from(fake.read_dword(port, 0x2c)), (window + length - 1) >> 32);
        assert_eq!(tree.failures, []);
    }
}

#[test]
fn what_can_be_refused_before_anything_moves() {
    for profile in Profile::ALL {
        let seven = profile == Profile::Linux_7_3;
        let mut fake = below_port();
        let mut tree = booted(&mut fake, profile, BELOW_PORT);
        let good = request(&tree, BELOW_PORT, 0, 9);
        let options = BootOptions { preserve_firmware: true, ..BootOptions::default() };
        let rules = profile.rules(RulesOptions::default());
        assert_eq!(resize(&mut fake, &mut tree, &rules, &options, good), Err(ResizeError::NotSupported));
        fake.write_word(BELOW_PORT, 4, 2);
        assert_eq!(refused(&mut fake, &mut tree, profile, good).errno(), "EBUSY");
        fake.write_word(BELOW_PORT, 4, 0);
        for (number, size, expect) in [
            (0, 15, "EINVAL"),
            (0, 7, "EINVAL"),
            (2, 8, if seven { "ENOENT" } else { "ENOTSUPP" }),
            (5, 8, if seven { "ENOENT" } else { "ENOTSUPP" }),
        ] {
            let request = request(&tree, BELOW_PORT, number, size);
            assert_eq!(refused(&mut fake, &mut tree, profile, request).errno(), expect, "{profile} {number}");
        }
        let port = FunctionId::new(0, 0, 1, 0);
        fake.write_word(port, 4, 0);
        let request = request(&tree, port, 0, 8);
        assert_eq!(refused(&mut fake, &mut tree, profile, request).errno(), "ENOTSUPP", "{profile}");
    }
}

#[test]
fn a_capability_without_sizes() {
    for (profile, expect) in [(SIX[0], "ENOTSUPP"), (SIX[1], "ENOTSUPP"), (Profile::Linux_7_3, "EINVAL")] {
        let mut fake = below_port();
        let mut tree = booted(&mut fake, profile, BELOW_PORT);
        let request = request(&tree, BELOW_PORT, 0, 8);
        let capability = tree[request.bar.function].capabilities.rebar.unwrap();
        fake.preset(1, capability + 4, Width::Dword, 0);
        assert_eq!(refused(&mut fake, &mut tree, profile, request).errno(), expect, "{profile}");
    }
}

/// 1 GiB of host bridge window for a card that wants 16 GiB.
#[test]
fn without_room_everything_is_as_before_and_the_cause_is_told() {
    for profile in Profile::ALL {
        let mut fake = below_port();
        let high = window(0x80_0000_0000, 0x80_3fff_ffff, ResourceKind::Mem);
        fake.hosts[0].windows = vec![window(0x1000_0000, 0x1fff_ffff, ResourceKind::Mem), high];
        let mut tree = booted(&mut fake, profile, BELOW_PORT);
        assert_eq!(tree.failures, [], "{profile}");
        let request = request(&tree, BELOW_PORT, 0, 14);
        let error = refused(&mut fake, &mut tree, profile, request);
        assert_eq!(error.errno(), "ENOSPC");
        let ResizeError::NoSpace(causes) = &error else { panic!("{error}") };
        let bar = causes.iter().find(|why| why.resource == request.bar).unwrap();
        assert!(matches!(bar.cause, Cause::NoSpace(_)), "{profile}: {bar}");
        assert_eq!(bar.size, Bytes::gib(16));
    }
}

#[test]
fn an_excluded_bar_holds_the_window() {
    for profile in Profile::ALL {
        let mut fake = below_port();
        let mut tree = booted(&mut fake, profile, BELOW_PORT);
        let excluding = |bit: u32| Resize { exclude: 1 << bit, ..request(&tree, BELOW_PORT, 0, 9) };
        let (doorbells, registers) = (excluding(2), excluding(5));
        assert_eq!(refused(&mut fake, &mut tree, profile, doorbells).errno(), "ENOENT", "{profile}");
        // A BAR in another window is in nobody's way.
        assert_eq!(tried(&mut fake, &mut tree, profile, registers), Ok(()), "{profile}");
    }
}

#[test]
fn on_a_root_bus_only_7_x_resizes() {
    let id = FunctionId::new(0, 0, 3, 0);
    for profile in Profile::ALL {
        let mut fake = Fake::arm64();
        card(&mut fake, ROOT, 3);
        let mut tree = booted(&mut fake, profile, id);
        let request = request(&tree, id, 0, 10);
        if profile == Profile::Linux_7_3 {
            tried(&mut fake, &mut tree, profile, request).unwrap();
            assert_eq!(address(&tree, id, 0), Some((0x80_0000_0000, 1024 * MIB)));
        } else {
            assert_eq!(refused(&mut fake, &mut tree, profile, request).errno(), "ENOENT");
        }
    }
}

/// Two cards below one switch: the window of the switch holds both, so it stays, and what grows must find room
/// inside.
#[test]
fn a_neighbour_below_the_same_switch_does_not_move() {
    for profile in Profile::ALL {
        let mut fake = Fake::arm64();
        let root = fake.port(ROOT, 1, 0, PcieType::RootPort, false);
        let up = fake.port(Above::Bridge(root), 0, 0, PcieType::Upstream, false);
        for device in 0..2 {
            let down = fake.port(Above::Bridge(up), device, 0, PcieType::Downstream, false);
            // Two windows of a power of two each: the 7.x formula leaves no gap between them.
            let card = card(&mut fake, Above::Bridge(down), 0);
            fake.bar(card, 2, 256 * MIB, PREFETCH_64);
        }
        let (first, second) = (FunctionId::new(0, 3, 0, 0), FunctionId::new(0, 4, 0, 0));
        let mut tree = booted(&mut fake, profile, second);
        let neighbour = address(&tree, first, 0);
        let larger = request(&tree, second, 0, 14);
        assert_eq!(refused(&mut fake, &mut tree, profile, larger).errno(), "ENOSPC", "{profile}");
        let same = request(&tree, second, 0, 8);
        tried(&mut fake, &mut tree, profile, same).unwrap();
        assert_eq!(address(&tree, first, 0), neighbour, "{profile}");
        assert_eq!(address(&tree, second, 0).map(|(_, size)| size), Some(256 * MIB), "{profile}");
    }
}
