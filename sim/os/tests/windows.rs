//! Sizes and alignments of bridge windows, booted with every profile: the worked table of both formulas.

use peerbus_os::pci::{PcieType, ResourceRef};
use peerbus_os::{BootOptions, Profile, ResourceKind, RulesOptions, Tree, boot};
use peerbus_units::FunctionId;

use crate::fake::{Above, Fake, window};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const PREFETCH_64: u32 = 0xc;

fn machine(bars: &[u64]) -> Fake {
    let mut fake = Fake::default();
    let high = window(0x8000_0000_0000, 0x8fff_ffff_ffff, ResourceKind::Mem);
    fake.host(0, 0, 0xff, vec![window(0x1000_0000, 0x3fff_ffff, ResourceKind::Mem), high]);
    let port = fake.port(Above::Host(0), 1, 0, PcieType::RootPort, false);
    for (function, sizes) in (0..).zip(bars.chunks(3)) {
        let index = fake.function(Above::Bridge(port), 0, function, (0x10de, 0x20b0), 0x03_0200);
        (0..).step_by(2).zip(sizes).for_each(|(bar, size)| fake.bar(index, bar, *size, PREFETCH_64));
    }
    fake
}

fn prefetch_window(tree: &Tree) -> (u64, u64) {
    let port = tree.find(FunctionId::new(0, 0, 1, 0)).unwrap();
    let window = tree.resource(ResourceRef { function: port, number: 15 });
    (window.align, window.size.0)
}

/// BARs in MiB; alignment and size of the window in MiB by 6.x and by 7.x.
type Row = (&'static [u64], (u64, u64), (u64, u64));

const TABLE: [Row; 13] = [
    (&[16], (16, 16), (16, 16)),
    (&[256, 32], (128, 384), (256, 288)),
    (&[256, 16, 32], (128, 384), (256, 304)),
    (&[8192, 256, 32], (4096, 12288), (8192, 8480)),
    (&[16384, 16384], (16384, 32768), (16384, 32768)),
    (&[65536, 32], (32768, 98304), (65536, 65568)),
    (&[131_072, 64, 32], (65536, 196_608), (131_072, 131_168)),
    (&[256, 256, 32, 32, 16], (128, 640), (256, 592)),
    (&[64, 32], (32, 96), (32, 96)),
    (&[256, 128], (128, 384), (128, 384)),
    (&[64, 32, 32], (32, 128), (1, 128)),
    (&[256, 128, 64, 64], (64, 512), (1, 512)),
    (&[4096, 2048, 1024, 512, 512], (512, 8192), (1, 8192)),
];

fn check(bars: &[u64], profile: Profile, (align, size): (u64, u64)) {
    let mut fake = machine(bars);
    let hosts = fake.hosts.clone();
    let tree = boot(&mut fake, &hosts, &profile.rules(RulesOptions::default()), &BootOptions::default());
    assert_eq!(prefetch_window(&tree), (align, size), "{profile} {bars:x?}");
    // The window lies at a multiple of 256 GiB: all contents fit, whatever the alignment.
    assert!(tree.failures.is_empty(), "{profile} {bars:x?}: {:?}", tree.failures);
}

#[test]
fn windows_are_those_of_the_table() {
    for profile in Profile::ALL {
        for (bars, six, seven) in TABLE {
            let (align, size) = if profile == Profile::Linux_7_3 { seven } else { six };
            let bars: Vec<_> = bars.iter().map(|size| size * MIB).collect();
            check(&bars, profile, (align * MIB, size * MIB));
        }
        check(&[64 << 10, 64 << 10], profile, (MIB, MIB));
    }
}

/// Orders of alignment: 24 from 1 MiB in 6.x (up to 8 TiB), 28 in 7.x (up to 128 TiB).
#[test]
fn alignments_up_to_the_kernels_limit_are_sized() {
    for (profile, largest) in [(Profile::Linux_6_1, 8), (Profile::Linux_6_12, 8), (Profile::Linux_7_3, 128)] {
        for tib in [8, 16, 128, 256] {
            let bar = tib * 1024 * GIB;
            let mut fake = machine(&[bar]);
            let hosts = fake.hosts.clone();
            let rules = profile.rules(RulesOptions::default());
            let tree = boot(&mut fake, &hosts, &rules, &BootOptions::default());
            let endpoint = tree.find(FunctionId::new(0, 1, 0, 0)).unwrap();
            let at = ResourceRef { function: endpoint, number: 0 };
            // 16 TiB of host bridge window start at a multiple of 128 TiB.
            assert_eq!(tree.resource(at).is_assigned(), tib <= 16 && tib <= largest, "{profile} {tib} TiB");
            let why = tree.failures.iter().find(|why| why.resource == at);
            let too_large = why.is_some_and(|why| why.cause == peerbus_os::pci::Cause::AlignmentTooLarge);
            assert_eq!(too_large, tib > largest, "{profile} {tib} TiB: {why:?}");
        }
    }
}
