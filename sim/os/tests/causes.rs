//! What a resource without an address says about itself: which, how much at which alignment, what was tried, and
//! what that follows from.

use peerbus_os::pci::{Cause, ConsideredWindow, Parent, PcieType, Rejection, ResourceRef, WhyNot};
use peerbus_os::{Profile, ResourceKind, Tree};
use peerbus_units::Bytes;

use crate::fake::{Above, Fake, booted, window};

const ROOT: Above = Above::Host(0);
const MEM: u32 = 0x0;
const PREFETCH_64: u32 = 0xc;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn device(fake: &mut Fake, above: Above, bar: u16, size: u64, low: u32) {
    let index = fake.function(above, 0, 0, (0x10de, 0x20b0), 0x03_0200);
    fake.bar(index, bar, size, low);
}

#[track_caller]
fn why<'a>(tree: &'a Tree, function: &str, number: usize) -> &'a WhyNot {
    let at = ResourceRef { function: tree.find(function.parse().unwrap()).unwrap(), number };
    let found = tree.failures.iter().find(|why| why.resource == at);
    found.unwrap_or_else(|| panic!("{function} {number} has an address: {:x?}", tree.resource(at)))
}

fn tried(why: &WhyNot) -> &[ConsideredWindow] {
    match &why.cause {
        Cause::NoSpace(windows) => windows,
        cause @ (Cause::AlignmentTooLarge | Cause::Immovable) => panic!("{cause:?}"),
    }
}

/// 96 MiB of memory window, which 64 MiB and 32 MiB fill; what comes later in the order finds nothing.
#[test]
fn a_full_window_is_told() {
    for profile in Profile::ALL {
        let mut fake = Fake::default();
        fake.host(0, 0, 0xff, vec![window(0x1000_0000, 0x15ff_ffff, ResourceKind::Mem)]);
        let first = fake.function(ROOT, 1, 0, (0x10de, 0x20b0), 0x03_0200);
        fake.bar(first, 0, 64 * MIB, MEM);
        fake.bar(first, 1, 8 * MIB, MEM);
        fake.bar(first, 2, 32 * MIB, MEM);
        fake.bar(first, 3, 16 * MIB, MEM);
        let tree = booted(&mut fake, profile);
        for (number, size) in [(1, 8 * MIB), (3, 16 * MIB)] {
            let why = why(&tree, "00:01.0", number);
            assert_eq!((why.size, why.align), (Bytes(size), size));
            let windows = tried(why);
            assert_eq!(windows.len(), 1);
            assert_eq!(windows[0].window, Parent::HostBridge { host_bridge: 0, window: 0 });
            assert_eq!(windows[0].rejection, Rejection::NoHole);
            assert_eq!((windows[0].free, windows[0].largest_hole), (Bytes::ZERO, Bytes::ZERO), "{why}");
        }
    }
}

#[test]
fn free_bytes_do_not_help_where_no_multiple_of_the_alignment_lies() {
    let mut fake = Fake::default();
    fake.host(0, 0, 0xff, vec![window(0x1200_0000, 0x1bff_ffff, ResourceKind::Mem)]);
    for (slot, size) in [(1, 64 * MIB), (2, 128 * MIB)] {
        let function = fake.function(ROOT, slot, 0, (0x10de, 0x20b0), 0x03_0200);
        fake.bar(function, 0, size, MEM);
    }
    let tree = booted(&mut fake, Profile::Linux_6_12);
    let why = why(&tree, "00:02.0", 0);
    // 160 MiB at 288 MiB: no multiple of 128 MiB has 128 MiB behind it. It was tried first, all was free.
    let [only] = tried(why) else { panic!("{why}") };
    assert_eq!((only.free, only.largest_hole), (Bytes::mib(160), Bytes::mib(160)));
    assert!(why.to_string().contains("alignment 128MiB"), "{why}");
}

#[test]
fn windows_out_of_reach_and_of_the_wrong_kind_are_told() {
    let mut fake = Fake::default();
    let prefetch = window(0x2000_0000, 0x2fff_ffff, ResourceKind::MemPrefetch);
    let high = window(0x80_0000_0000, 0x80_ffff_ffff, ResourceKind::Mem);
    fake.host(0, 0, 0xff, vec![window(0, 0xffff, ResourceKind::Io), prefetch, high]);
    device(&mut fake, ROOT, 0, MIB, MEM);
    let tree = booted(&mut fake, Profile::Linux_7_3);
    let why = why(&tree, "00:00.0", 0);
    let rejections: Vec<_> = tried(why).iter().map(|window| window.rejection).collect();
    assert_eq!(rejections, [Rejection::WrongKind, Rejection::OutOfReach], "{why}");
    assert!(why.to_string().contains("of the wrong kind"), "{why}");
    assert!(why.to_string().contains("out of its reach"), "{why}");
}

/// A device three bridges deep whose windows have no room in the host bridge's: the chain ends there.
#[test]
fn the_chain_leads_to_the_window_that_had_no_room() {
    for profile in Profile::ALL {
        let mut fake = Fake::default();
        fake.host(0, 0, 0xff, vec![window(0x80_0000_0000, 0x80_3fff_ffff, ResourceKind::Mem)]);
        let port = fake.port(ROOT, 1, 0, PcieType::RootPort, false);
        let up = fake.port(Above::Bridge(port), 0, 0, PcieType::Upstream, false);
        let down = fake.port(Above::Bridge(up), 0, 0, PcieType::Downstream, false);
        device(&mut fake, Above::Bridge(down), 0, 4 * GIB, PREFETCH_64);
        let tree = booted(&mut fake, profile);
        let chain = tree.cause_chain(why(&tree, "03:00.0", 0));
        let names: Vec<_> = chain.iter().map(|why| (why.function.to_string(), why.resource.number)).collect();
        let expect = [("0000:03:00.0", 0), ("0000:02:00.0", 15), ("0000:01:00.0", 15), ("0000:00:01.0", 15)];
        assert_eq!(names, expect.map(|(id, number)| (id.to_string(), number)), "{profile}");
        assert!(chain[..3].iter().all(|why| tried(why).is_empty()), "{profile}: {chain:?}");
        assert!(chain[0].to_string().contains("no window above"), "{}", chain[0]);
        let root = chain[3];
        assert_eq!((root.size, root.align), (Bytes::gib(4), 4 * GIB));
        let [only] = tried(root) else { panic!("{root}") };
        assert_eq!((only.rejection, only.free), (Rejection::NoHole, Bytes::gib(1)));
    }
}

#[test]
fn an_alignment_beyond_the_kernels_tables() {
    for (profile, tib) in [(Profile::Linux_6_1, 16), (Profile::Linux_6_12, 16), (Profile::Linux_7_3, 256)] {
        let mut fake = Fake::arm64();
        let port = fake.port(ROOT, 1, 0, PcieType::RootPort, false);
        device(&mut fake, Above::Bridge(port), 0, tib << 40, PREFETCH_64);
        let tree = booted(&mut fake, profile);
        let why = why(&tree, "01:00.0", 0);
        assert_eq!((&why.cause, why.align), (&Cause::AlignmentTooLarge, tib << 40), "{profile}");
        assert!(why.to_string().contains(&format!("alignment {}", Bytes(tib << 40))), "{why}");
    }
}
