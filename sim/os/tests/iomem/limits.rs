//! Limits by architecture: the published rules, and what recorded kernels said.

use peerbus_os::iomem::{Arm64, DirectMap, DirectMapTrim, PageSize, Paging, PhysicalSpace};
use peerbus_os::{Profile, Rules, RulesOptions};
use peerbus_units::{Bytes, CpuAddr, Range};

use super::rules;

const GIB: u64 = 1 << 30;

fn x86(paging: Paging, direct_map: DirectMap) -> PhysicalSpace {
    PhysicalSpace::X86 { paging, physical_bits: 46, direct_map }
}

#[test]
fn x86_limits_are_the_direct_map() {
    let plain = DirectMap::distribution(CpuAddr(1 << 40));
    for (trim, change, limit4, limit5) in [
        (DirectMapTrim::Always, plain, 0xaff_ffff_ffff, 0xaff_ffff_ffff),
        (DirectMapTrim::Always, DirectMap { randomised: false, ..plain }, (1 << 46) - 1, (1 << 52) - 1),
        (DirectMapTrim::Always, DirectMap { padding_tib: 0, ..plain }, 0xff_ffff_ffff, 0xff_ffff_ffff),
        (
            DirectMapTrim::Always,
            DirectMap { ram_end: CpuAddr((1 << 40) + 1), ..plain },
            0xbff_ffff_ffff,
            0xbff_ffff_ffff,
        ),
        (
            DirectMapTrim::Always,
            DirectMap { ram_end: CpuAddr(60 << 40), ..plain },
            (1 << 46) - 1,
            (70 << 40) - 1,
        ),
        (
            DirectMapTrim::Always,
            DirectMap { ram_end: CpuAddr(u64::MAX), padding_tib: u64::MAX, ..plain },
            (1 << 46) - 1,
            (1 << 52) - 1,
        ),
        (
            DirectMapTrim::Always,
            DirectMap { ram_end: CpuAddr(0), padding_tib: 0, ..plain },
            0xff_ffff_ffff,
            0xff_ffff_ffff,
        ),
        (DirectMapTrim::WithoutPeerToPeer, plain, (1 << 46) - 1, (1 << 52) - 1),
        (
            DirectMapTrim::WithoutPeerToPeer,
            DirectMap { peer_to_peer: false, ..plain },
            0xaff_ffff_ffff,
            0xaff_ffff_ffff,
        ),
        (
            DirectMapTrim::WithoutZoneDevice,
            DirectMap { peer_to_peer: false, ..plain },
            (1 << 46) - 1,
            (1 << 52) - 1,
        ),
        (
            DirectMapTrim::WithoutZoneDevice,
            DirectMap { zone_device: false, ..plain },
            0xaff_ffff_ffff,
            0xaff_ffff_ffff,
        ),
    ] {
        for profile in Profile::ALL {
            let rules =
                profile.rules(RulesOptions { direct_map_trim: Some(trim), ..RulesOptions::default() });
            let limits =
                [Paging::FourLevel, Paging::FiveLevel].map(|paging| x86(paging, change).limit(&rules).0);
            assert_eq!(limits, [limit4, limit5], "{trim:?} {change:x?}");
        }
    }
    for profile in Profile::ALL {
        assert_eq!(rules(profile).iomem.direct_map_trim, DirectMapTrim::WithoutZoneDevice);
    }
    assert_eq!(x86(Paging::FiveLevel, plain).end(), CpuAddr((1 << 46) - 1));
    assert_eq!(x86(Paging::FiveLevel, plain).section(), Bytes::mib(128));
}

#[test]
fn other_architectures() {
    for (space, limit, section) in [
        (PhysicalSpace::Ppc64 { physical_bits: 46 }, (1 << 46) - 1, Bytes::mib(16)),
        (PhysicalSpace::Ppc64 { physical_bits: 51 }, (1 << 51) - 1, Bytes::mib(16)),
        (PhysicalSpace::Riscv64, (1 << 56) - 1, Bytes::mib(128)),
        (PhysicalSpace::Loongarch64, (1 << 48) - 1, Bytes::mib(512)),
        (PhysicalSpace::NoSections { page: Bytes::kib(16) }, i64::MAX.cast_unsigned(), Bytes::kib(16)),
    ] {
        for profile in Profile::ALL {
            assert_eq!(space.limit(&rules(profile)), CpuAddr(limit), "{space:?}");
        }
        assert_eq!((space.end(), space.section()), (CpuAddr(u64::MAX), section), "{space:?}");
    }
}

/// A 52-bit kernel with 4 KiB pages and 2 GiB of RAM from 1 GiB, as the recordings were made with.
pub fn recorded_arm64(used_va: u32, pa_range: u32, seed: u16) -> Arm64 {
    Arm64 {
        page: PageSize::K4,
        configured_va: 52,
        used_va,
        configured_pa: 52,
        pa_range,
        dram: Range::new(CpuAddr(GIB), CpuAddr(3 * GIB - 1)).unwrap(),
        kernel_end: CpuAddr(GIB + (64 << 20)),
        seed,
        separate_hypervisor: false,
    }
}

/// Where the kernel's array of page descriptors would begin for physical address 0: 64 bytes per page of 4 KiB,
/// the whole ending 1 GiB below the top.
pub fn vmemmap(rules: &Rules, arm64: &Arm64) -> u64 {
    let pages = (1u64 << 52) - (1 << 47);
    let array = 0u64.wrapping_sub(GIB).wrapping_sub(pages / 4096 * 64);
    let memstart = arm64.linear_map(rules).memstart.cast_signed();
    array.wrapping_sub(((memstart >> 12) * 64).cast_unsigned())
}

/// Property B13.
#[test]
fn five_recorded_arm64_limits() {
    let rules_6_12 = rules(Profile::Linux_6_12);
    for (used_va, pa_range, seed, limit) in [
        (52, 52, 0, 0xf_8000_3fff_ffff),
        (52, 52, 54321, 0xf_8000_3fff_ffff),
        (48, 44, 0, 0x8000_3fff_ffff),
        (48, 44, 6991, 0x740d_bfff_ffff),
        (48, 44, 13680, 0x689f_3fff_ffff),
        (48, 44, 57158, 0x1e51_bfff_ffff),
    ] {
        let space = PhysicalSpace::Arm64(recorded_arm64(used_va, pa_range, seed));
        assert_eq!(space.limit(&rules_6_12), CpuAddr(limit), "seed {seed}");
        assert_eq!(space.section(), Bytes::mib(128));
        let unmoved = PhysicalSpace::Arm64(recorded_arm64(used_va, pa_range, 0)).limit(&rules_6_12);
        assert_eq!(space.limit(&rules(Profile::Linux_7_3)), unmoved, "7.3 moves nothing");
        assert_eq!(
            space.limit(&rules(Profile::Linux_6_1)),
            CpuAddr((1 << 52) - 1),
            "6.1: the configured width"
        );
    }
}

#[test]
fn arm64_variants() {
    let rules_6_12 = rules(Profile::Linux_6_12);
    let base = Arm64 { configured_va: 48, configured_pa: 48, ..recorded_arm64(48, 48, 40000) };
    let map = |arm64: Arm64| arm64.linear_map(&rules_6_12);
    // 48 bits of both: no room to move in.
    assert_eq!(map(base).last, CpuAddr((1 << 47) + GIB - 1));
    assert_eq!(map(base).mappable.map(Range::first), Some(CpuAddr(GIB)));
    // A hypervisor halves the room of 52 bits.
    let hypervisor = Arm64 { separate_hypervisor: true, ..recorded_arm64(52, 48, 0) };
    assert_eq!((map(hypervisor).size, map(recorded_arm64(52, 48, 0)).size), (1 << 51, (1 << 52) - (1 << 47)));
    assert_eq!(map(Arm64 { separate_hypervisor: true, ..base }).size, 1 << 47, "only those of 52 bits");
    // Blocks of 512 MiB with pages of 64 KiB: RAM from 512 MiB is at the start of the map.
    let dram = Range::new(CpuAddr(GIB / 2), CpuAddr(2 * GIB - 1)).unwrap();
    assert_eq!(map(Arm64 { dram, ..base }).memstart, 0);
    let large = Arm64 { page: PageSize::K64, dram, ..base };
    assert_eq!(map(large).memstart, GIB / 2);
    assert_eq!(PhysicalSpace::Arm64(large).section(), Bytes::mib(512));
    // RAM beyond the map is given up, unless the kernel lies there.
    let wide = Range::new(CpuAddr(0), CpuAddr((1 << 48) - 1)).unwrap();
    assert_eq!(map(Arm64 { dram: wide, ..base }).memstart, 0);
    let high = Arm64 { dram: wide, kernel_end: CpuAddr((1 << 47) + 5), ..base };
    assert_eq!(map(high).memstart, GIB, "rounded up to a block");
    // A wrapped start is no start at all.
    let wrapped = map(recorded_arm64(48, 44, 57158));
    assert_eq!(wrapped.mappable.map(Range::first), Some(CpuAddr(0)));
    assert_eq!(map(recorded_arm64(48, 44, 0)).mappable.map(Range::first), Some(CpuAddr(GIB)));
}
