//! Large BARs that firmware placed beyond what the CPU can address: the host bridge's window is cut, and what
//! survives is decided by firmware's order, not by size.

use peerbus_os::pci::{Platform, Realloc};
use peerbus_os::{BootOptions, ConfigAccess, Profile, RulesOptions, Tree, boot};
use peerbus_units::FunctionId;
use serde_json::{Value, json};

use crate::{bars, firmware};

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Two root ports with a device each that has one large BAR, on a PC with 1 GiB of memory.
fn record(sizes: [u64; 2], high_window: Option<(u64, u64)>) -> Value {
    let mut windows = vec![
        json!(["0x0", "0xffff", "0x100"]),
        json!(["0x40000000", "0xafffffff", "0x200"]),
        json!(["0xc0000000", "0xfebfffff", "0x200"]),
    ];
    windows.extend(
        high_window.map(|(first, last)| json!([format!("{first:#x}"), format!("{last:#x}"), "0x200"])),
    );
    let port =
        |bdf| json!({"bdf": bdf, "id": "1b36:000c", "cls": "060400", "hdr": 1, "ptype": 4, "up": "root"});
    let below =
        |bdf, up| json!({"bdf": bdf, "id": "1b36:0005", "cls": "00ff00", "hdr": 0, "ptype": -1, "up": up});
    json!({
        "windows": windows,
        "devices": [
            port("0000:00:02.0"), port("0000:00:03.0"),
            below("0000:01:00.0", "0000:00:02.0"), below("0000:02:00.0", "0000:00:03.0"),
        ],
        "bars": [
            ["0000:00:02.0", 0, "mem", 0x1000], ["0000:00:03.0", 0, "mem", 0x1000],
            ["0000:01:00.0", 2, "mem 64bit pref", sizes[0]], ["0000:02:00.0", 2, "mem 64bit pref", sizes[1]],
        ],
    })
}

fn address(tree: &Tree, bdf: &str, number: usize) -> Option<u64> {
    let function = tree.find(bdf.parse().unwrap()).unwrap();
    tree[function].resources[number].range().map(|range| range.first().0)
}

/// `from` is where firmware puts the two BARs, as recorded.
fn check(from: [u64; 2], sizes: [u64; 2], high_window: Option<(u64, u64)>, expect: [Option<u64>; 2]) {
    for (profile, realloc) in
        Profile::ALL.into_iter().flat_map(|profile| [(profile, Realloc::Auto), (profile, Realloc::Off)])
    {
        let record = record(sizes, high_window);
        let mut fake = bars::machine(&record);
        firmware::place(&mut fake, &record);
        let register = |fake: &crate::fake::Fake, bus| {
            let id = FunctionId::new(0, bus, 0, 0);
            u64::from(fake.read_dword(id, 0x1c)) << 32 | u64::from(fake.read_dword(id, 0x18) & !0xf)
        };
        let before = [register(&fake, 1), register(&fake, 2)];
        assert_eq!(before, from, "{sizes:x?}: firmware");
        let options = BootOptions { platform: Platform::x86(0x4000_0000), realloc, ..BootOptions::default() };
        let hosts = fake.hosts.clone();
        let tree = boot(&mut fake, &hosts, &profile.rules(RulesOptions::default()), &options);
        let found = [address(&tree, "0000:01:00.0", 2), address(&tree, "0000:02:00.0", 2)];
        assert_eq!(found, expect, "{profile} {sizes:x?}");
        for (bus, (expect, before)) in (1..).zip(expect.into_iter().zip(before)) {
            // What found no place keeps firmware's address, which lies outside of all windows.
            assert_eq!(register(&fake, bus), expect.unwrap_or(before), "{profile} {sizes:x?} register");
        }
    }
}

/// Property B9.
#[test]
fn firmwares_order_and_the_cpus_width_decide_what_survives() {
    let placed = [0x10_0000_0000, 0x8_0000_0000];
    check(placed, [32 * GIB, 32 * GIB], Some((0x8_0000_0000, 0xf_ffff_ffff)), [None, Some(0x8_0000_0000)]);
    check([0x10_0000_0000, 0x20_0000_0000], [64 * GIB, GIB], None, [None, Some(0x4000_0000)]);
    let all = Some((0x4_0000_0000, 0xb_ffff_ffff));
    check(EIGHT_AND_SIXTEEN, [8 * GIB, 16 * GIB], all, EIGHT_AND_SIXTEEN.map(Some));
    let half = Some((0x40_0000_0000, 0x7f_ffff_ffff));
    let placed = [0x80_0000_0000, 0x40_0000_0000];
    check(placed, [256 * GIB, 256 * GIB], half, [None, Some(0x40_0000_0000)]);
    let placed = [0x40_0000_0000, 0x80_0000_0000];
    check(placed, [256 * GIB, 64 * GIB], half, [Some(0x40_0000_0000), None]);
    let half = Some((0x80_0000_0000, 0xff_ffff_ffff));
    let placed = [0x80_0000_0000, 0x100_0000_0000];
    check(placed, [512 * GIB, 256 * GIB], half, [Some(0x80_0000_0000), None]);
    let placed = [0x100_0000_0000, 0x80_0000_0000];
    check(placed, [512 * GIB, 512 * GIB], half, [None, Some(0x80_0000_0000)]);
    let half = Some((0x2000_0000_0000, 0x3fff_ffff_ffff));
    let placed = [0x4000_0000_0000, 0x2000_0000_0000];
    check(placed, [8 * TIB, 32 * TIB], half, [None, Some(0x2000_0000_0000)]);
    let placed = [0x8000_0000_0000, 0x4000_0000_0000];
    check(placed, [16 * TIB, 64 * TIB], None, [None, None]);
}

const EIGHT_AND_SIXTEEN: [u64; 2] = [0x8_0000_0000, 0x4_0000_0000];

/// Nothing failed, so `pci=realloc=on` has nothing to do.
///
/// Property B9.
#[test]
fn reallocation_changes_nothing_where_everything_was_claimed() {
    for profile in Profile::ALL {
        let record = record([8 * GIB, 16 * GIB], Some((0x4_0000_0000, 0xb_ffff_ffff)));
        let trees = [Realloc::Off, Realloc::On].map(|realloc| {
            let mut fake = bars::machine(&record);
            firmware::place(&mut fake, &record);
            let platform = Platform::x86(0x4000_0000);
            let options = BootOptions { platform, realloc, ..BootOptions::default() };
            let hosts = fake.hosts.clone();
            boot(&mut fake, &hosts, &profile.rules(RulesOptions::default()), &options)
        });
        assert_eq!(trees[0], trees[1], "{profile}");
        assert_eq!(address(&trees[1], "0000:01:00.0", 2), Some(EIGHT_AND_SIXTEEN[0]), "{profile}");
    }
}

/// In 6.x a BAR whose alignment cannot be sized leaves an empty window, which then gets the hot-plug space; in
/// 7.x it is sized, does not fit, and the window has no address.
#[test]
fn an_alignment_beyond_reach_leaves_hotplug_space_in_6_x() {
    for (profile, windows) in [
        (Profile::Linux_6_1, [Some(0x4000_0000), Some(0x4020_0000)]),
        (Profile::Linux_6_12, [Some(0x4000_0000), Some(0x4020_0000)]),
        (Profile::Linux_7_3, [None, None]),
    ] {
        let record = record([16 * TIB, 64 * TIB], None);
        let mut fake = bars::machine(&record);
        firmware::place(&mut fake, &record);
        let options = BootOptions { platform: Platform::x86(0x4000_0000), ..BootOptions::default() };
        let hosts = fake.hosts.clone();
        let tree = boot(&mut fake, &hosts, &profile.rules(RulesOptions::default()), &options);
        let found = [address(&tree, "0000:00:02.0", 15), address(&tree, "0000:00:03.0", 15)];
        assert_eq!(found, windows, "{profile}");
    }
}
