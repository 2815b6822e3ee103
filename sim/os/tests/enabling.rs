//! What `boot` leaves in the registers besides addresses: decoding.

use peerbus_os::{BootOptions, ConfigAccess, Profile, RulesOptions, boot};
use peerbus_units::FunctionId;

use crate::fake::{Above, Fake};

const ENDPOINT: FunctionId = FunctionId::new(0, 0, 1, 0);
const GIB: u64 = 1 << 30;
const MEM: u32 = 0x0;
const PREFETCH_64: u32 = 0xc;
const IO: u32 = 0x1;

/// One function on the root bus with these BARs (number, size, type bits), what firmware left in each, and its
/// command register.
fn booted(bars: &[(u16, u64, u32)], firmware: &[(u16, u32)], command: u16) -> Fake {
    let mut fake = Fake::arm64();
    let endpoint = fake.function(Above::Host(0), 1, 0, (0x10de, 0x20b0), 0x03_0200);
    bars.iter().for_each(|(number, size, low)| fake.bar(endpoint, *number, *size, *low));
    firmware.iter().for_each(|(register, value)| fake.write_dword(ENDPOINT, *register, *value));
    fake.write_word(ENDPOINT, 4, command);
    let hosts = fake.hosts.clone();
    let rules = Profile::Linux_6_12.rules(RulesOptions::default());
    boot(&mut fake, &hosts, &rules, &BootOptions::default());
    fake
}

#[track_caller]
fn check(fake: &Fake, command: u16, registers: &[(u16, u32)]) {
    assert_eq!(fake.read_word(ENDPOINT, 4), command, "command register");
    for (register, value) in registers {
        assert_eq!(fake.read_dword(ENDPOINT, *register), *value, "register {register:#x}");
    }
}

#[test]
fn a_placed_function_decodes_and_masters() {
    let fake = booted(&[(0, 1 << 20, MEM), (1, 0x100, IO)], &[], 0);
    check(&fake, 0x7, &[(0x10, 0x1000_0000), (0x14, 0x1001)]);
}

/// 2 TiB find no place in 512 GiB.
#[test]
fn an_unplaced_64_bit_bar_is_parked_at_the_top() {
    let fake = booted(&[(0, 1 << 20, MEM), (2, 2048 * GIB, PREFETCH_64)], &[], 0);
    check(&fake, 0x6, &[(0x10, 0x1000_0000), (0x18, 0xc), (0x1c, 0xffff_fe00)]);
}

#[test]
fn an_unplaced_bar_outside_all_windows_keeps_firmwares_address() {
    let fake = booted(&[(0, 1 << 20, MEM), (2, 2048 * GIB, PREFETCH_64)], &[(0x1c, 0x1_0000)], 0x2);
    check(&fake, 0x6, &[(0x18, 0xc), (0x1c, 0x1_0000)]);
}

#[test]
fn an_unplaced_bar_over_a_window_is_moved() {
    // 1 TiB at 0 covers all of memory and the windows.
    let fake = booted(&[(0, 1 << 20, MEM), (2, 1024 * GIB, PREFETCH_64)], &[], 0x2);
    check(&fake, 0x6, &[(0x1c, 0xffff_ff00)]);
}

#[test]
fn a_32_bit_bar_without_room_leaves_its_window() {
    // 1 GiB does not fit into the 752 MiB below 4 GiB; at the end of 4 GiB it touches nothing.
    let fake = booted(&[(0, 1 << 20, MEM), (1, GIB, MEM)], &[(0x14, 0)], 0);
    check(&fake, 0x6, &[(0x10, 0x1000_0000), (0x14, 0xc000_0000)]);
}

/// All 64 Ki ports belong to the host bridge: nowhere to park.
#[test]
fn ports_without_a_place_to_park_are_not_decoded() {
    let fake = booted(&[(0, 1 << 20, MEM), (1, 0x1_0000, IO), (2, 0x100, IO)], &[], 0);
    check(&fake, 0x6, &[(0x10, 0x1000_0000)]);
}
