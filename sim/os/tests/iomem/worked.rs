//! Requests worked out by hand from the rule, with the number of probes, and requests that must fail.

use peerbus_os::Profile;
use peerbus_os::iomem::{Descriptor, IoMem, IoResource, RegionError, RegionSpace};
use peerbus_os::pci::ResourceFlags;
use peerbus_units::{Bytes, CpuAddr, Range};

use super::{first, request, rules, space};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Address and probes per request.
type Answers = [(u64, u64); 6];

const SIZES: [u64; 6] = [2 * MIB, 256 * MIB, 128 * MIB, 80 * GIB, 24 * GIB, 2 * MIB];

/// Property A18.
#[test]
fn an_empty_upper_range() {
    let by_section = [Profile::Linux_6_12, Profile::Linux_7_3];
    let rows: [(u32, &[Profile], Answers); 4] = [
        (
            46,
            &[Profile::Linux_6_1],
            [
                (0x3fff_f800_0000, 1),
                (0x3fff_e000_0000, 2),
                (0x3fff_f000_0000, 2),
                (0x3fd8_0000_0000, 2),
                (0x3ff4_0000_0000, 2),
                (0x3fff_d800_0000, 5),
            ],
        ),
        (
            46,
            &by_section,
            [
                (0x3fff_f800_0000, 1),
                (0x3fff_e800_0000, 2),
                (0x3fff_e000_0000, 4),
                (0x3feb_e000_0000, 5),
                (0x3fe5_e000_0000, 645),
                (0x3fe5_d800_0000, 837),
            ],
        ),
        (
            40,
            &[Profile::Linux_6_1],
            [
                (0xff_f800_0000, 1),
                (0xff_e000_0000, 2),
                (0xff_f000_0000, 2),
                (0xd8_0000_0000, 2),
                (0xf4_0000_0000, 2),
                (0xff_d800_0000, 5),
            ],
        ),
        (
            40,
            &by_section,
            [
                (0xff_f800_0000, 1),
                (0xff_e800_0000, 2),
                (0xff_e000_0000, 4),
                (0xeb_e000_0000, 5),
                (0xe5_e000_0000, 645),
                (0xe5_d800_0000, 837),
            ],
        ),
    ];
    for (bits, profiles, expected) in rows {
        for profile in profiles {
            let mut tree = IoMem::new(CpuAddr((1 << bits) - 1));
            for (number, (size, (address, probes))) in SIZES.into_iter().zip(expected).enumerate() {
                let found = request(&mut tree, &rules(*profile), &space((1 << 46) - 1), size);
                assert_eq!(first(&found), Ok(address), "{profile} {bits} bits, request {number}");
                assert_eq!(found.work.probes, probes, "{profile} {bits} bits, request {number}");
                assert_eq!(found.work.siblings, u64::try_from(number).unwrap());
            }
        }
    }
}

#[test]
fn a_region_is_busy_device_memory_at_the_top_level() {
    let mut tree = IoMem::new(CpuAddr((1 << 40) - 1));
    let found = request(&mut tree, &rules(Profile::Linux_7_3), &space(u64::MAX), 1).result.unwrap();
    let entry = tree.get(found.id).unwrap();
    assert_eq!((entry.flags, entry.descriptor), (ResourceFlags(0x8000_0200), Descriptor::DevicePrivate));
    assert_eq!(tree.parent(found.id), Some(tree.root()));
    assert_eq!(entry.range.size(), Bytes::mib(128), "rounded up to a section");
    assert_eq!(tree.render(&rules(Profile::Linux_7_3)), "fff8000000-ffffffffff : test\n");
}

fn taken(tree: &mut IoMem, first: u64, last: u64) {
    let range = Range::new(CpuAddr(first), CpuAddr(last)).unwrap();
    tree.request(tree.root(), IoResource::memory(range, "taken")).unwrap();
}

#[test]
fn failures() {
    let top = (1 << 40) - 1;
    let exhausted = Err(RegionError::Exhausted);
    let larger = Err(RegionError::Unusable(None));
    // Occupied below the top; then per profile the size, the answer and the probes.
    #[rustfmt::skip]
    let rows = [
        // Nothing at or below one step: a section, or the size of the request.
        (None, Profile::Linux_6_12, (1 << 40) - 128 * MIB, exhausted.clone(), 0),
        (None, Profile::Linux_6_12, (1 << 40) - 256 * MIB, Ok(256 * MIB), 1),
        (None, Profile::Linux_6_1, 1 << 39, exhausted.clone(), 0),
        (None, Profile::Linux_6_1, 1 << 38, Ok(3 << 38), 1),
        (Some((1 << 39, top)), Profile::Linux_6_1, 1 << 38, exhausted.clone(), 2),
        (Some((1 << 39, top)), Profile::Linux_6_12, 1 << 38, Ok(1 << 38), 4097),
        // More than there is: the first candidate begins beyond the top of 64 bits.
        (None, Profile::Linux_6_12, 1 << 41, larger.clone(), 1),
        (None, Profile::Linux_6_1, 1 << 41, larger.clone(), 1),
        (None, Profile::Linux_6_12, u64::MAX - 128 * MIB, larger.clone(), 1),
        // Rounding wraps to zero bytes, which no entry can have.
        (None, Profile::Linux_6_12, u64::MAX, larger.clone(), 1),
        (None, Profile::Linux_7_3, 0, larger.clone(), 1),
        (None, Profile::Linux_6_1, 0, larger.clone(), 1),
    ];
    for (number, (occupied, profile, size, expected, probes)) in rows.into_iter().enumerate() {
        let mut tree = IoMem::new(CpuAddr(top));
        if let Some((first, last)) = occupied {
            taken(&mut tree, first, last);
        }
        let before = tree.render(&rules(profile));
        let found = request(&mut tree, &rules(profile), &space(u64::MAX), size);
        assert_eq!(first(&found), expected, "row {number}");
        assert_eq!(found.work.probes, probes, "row {number}");
        if let Err(error) = expected {
            assert_eq!(error.errno(), Some("ERANGE"));
            assert_eq!(tree.render(&rules(profile)), before, "row {number}: a failure changes nothing");
        }
    }
}

#[test]
fn other_failures() {
    let mut tree = IoMem::new(CpuAddr((1 << 40) - 1));
    tree.limit_descriptors(Some(1));
    let rules_7 = rules(Profile::Linux_7_3);
    assert!(request(&mut tree, &rules_7, &space(u64::MAX), 1).result.is_ok());
    let refused = request(&mut tree, &rules_7, &space(u64::MAX), 1);
    assert_eq!(refused.result.map_err(|error| error.errno()), Err(Some("ENOMEM")));
    let region = tree.children(tree.root()).next().unwrap().0;
    tree.release(region).unwrap();
    assert!(request(&mut tree, &rules_7, &space(u64::MAX), 1).result.is_ok(), "memory came back");
    let gone = tree.request_free_mem_region(&rules_7, &space(u64::MAX), region, Bytes(1), "test");
    assert_eq!(gone.result, Err(RegionError::UnknownBase));

    // Zero bytes at an occupied place, where the step is the size: the kernel does not come back.
    let mut tree = IoMem::new(CpuAddr(u64::MAX));
    taken(&mut tree, 0, 1 << 41);
    let never = request(&mut tree, &rules(Profile::Linux_6_1), &space((1 << 40) - 1), 0);
    assert_eq!(never.result, Err(RegionError::NeverEnds));
    let ends = request(&mut tree, &rules_7, &space((1 << 40) - 1), 0);
    assert_eq!(ends.result, Err(RegionError::Exhausted));
}

/// A window keeps its whole span from being used, and is not searched for room inside.
#[test]
fn a_base_below_the_root() {
    let mut tree = IoMem::new(CpuAddr((1 << 40) - 1));
    taken(&mut tree, 0x10_0000_0000, 0x1f_ffff_ffff);
    let window = tree.find(CpuAddr(0x10_0000_0000)).unwrap();
    let rules = rules(Profile::Linux_7_3);
    let found = tree.request_free_mem_region(&rules, &space(u64::MAX), window, Bytes::gib(1), "inside");
    assert_eq!(first(&found), Ok(0x1f_c000_0000));
    let second = tree.request_free_mem_region(&rules, &space(u64::MAX), window, Bytes::gib(63), "inside");
    assert_eq!(first(&second), Ok(0x10_0000_0000), "the lowest candidate is the base's start");
    let third = tree.request_free_mem_region(&rules, &space(u64::MAX), window, Bytes(1), "inside");
    assert_eq!(third.result, Err(RegionError::Exhausted));
}

#[test]
fn upwards() {
    let old = Profile::Linux_6_1;
    let new = Profile::Linux_6_12;
    let top = (1 << 40) - 1;
    // Kernel, base, align, size; result and probes. 0x4000_0000..=0x7fff_ffff is taken.
    let rows = [
        (new, (0, top), 256 * MIB, 256 * MIB, Ok(256 * MIB), 1),
        (new, (0, top), GIB, 1, Ok(2 * GIB), 2),
        (new, (0, top), 256 * MIB, GIB, Ok(2 * GIB), 8),
        // 6.1 begins at the base, and ends at once where that lies below the size.
        (old, (0, top), 256 * MIB, 256 * MIB, Err(RegionError::Exhausted), 0),
        (old, (512 * MIB, top), 256 * MIB, 256 * MIB, Ok(512 * MIB), 1),
        (old, (512 * MIB, top), 256 * MIB, 768 * MIB, Err(RegionError::Exhausted), 0),
        (old, (512 * MIB, top), 256 * MIB, 512 * MIB, Ok(512 * MIB), 1),
        // The last candidate begins inside the base and ends beyond it.
        (new, (2 * GIB, 3 * GIB - 1), 512 * MIB, GIB, Ok(2 * GIB), 1),
        (new, (2 * GIB, 3 * GIB - 1), 512 * MIB, 2 * GIB, Err(RegionError::Exhausted), 1),
        (new, (2 * GIB, 3 * GIB - 1), 4 * GIB, 1, Err(RegionError::Exhausted), 0),
        // No alignment at all.
        (new, (2 * GIB, 3 * GIB - 1), 0, 1, Err(RegionError::Exhausted), 0),
    ];
    for (number, (profile, (from, to), align, size, expected, probes)) in rows.into_iter().enumerate() {
        let mut tree = IoMem::new(CpuAddr(top));
        let mut base = tree.root();
        if from > 0 {
            let range = Range::new(CpuAddr(from), CpuAddr(to)).unwrap();
            base = tree.insert(base, IoResource::memory(range, "base")).unwrap();
        }
        let hole = Range::new(CpuAddr(GIB), CpuAddr(2 * GIB - 1)).unwrap();
        tree.insert(tree.root(), IoResource::memory(hole, "taken")).unwrap();
        let space = RegionSpace { limit: CpuAddr(u64::MAX), section: Bytes::mib(128) };
        let found =
            tree.alloc_free_mem_region(&rules(profile), &space, base, Bytes(size), Bytes(align), "cxl");
        let answer = first(&found).map_err(|error| match error {
            RegionError::Unusable(Some(_)) => RegionError::Exhausted,
            other => other,
        });
        assert_eq!((answer, found.work.probes), (expected, probes), "row {number}");
    }
}

/// A request that is made again goes on where the last one ended; one that is made after something was removed begins at the top.
/// Places and probes are the same.
#[test]
fn the_same_request_again() {
    for profile in Profile::ALL {
        let (rules, space) = (rules(profile), space((1 << 40) - 1));
        let (mut kept, mut forgotten) =
            (IoMem::new(CpuAddr((1 << 40) - 1)), IoMem::new(CpuAddr((1 << 40) - 1)));
        for tree in [&mut kept, &mut forgotten] {
            taken(tree, 0xf0_0000_0000, 0xf7_ffff_ffff);
        }
        for number in 0..5000u64 {
            // Two sizes by turns of 50, so that searches begin anew, too; then nothing is left.
            let size = if number / 50 % 2 == 0 { 2 << 20 } else { 300 << 20 };
            let again = request(&mut kept, &rules, &space, size);
            let something = IoResource::memory(Range::sized(CpuAddr(0), Bytes(4096)).unwrap(), "passing");
            let id = forgotten.request(forgotten.root(), something).unwrap();
            forgotten.release(id).unwrap();
            let anew = request(&mut forgotten, &rules, &space, size);
            assert_eq!((first(&again), again.work), (first(&anew), anew.work), "{profile} {number}");
            if number == 1200 {
                // What is removed can be found again.
                for (tree, found) in [(&mut kept, again), (&mut forgotten, anew)] {
                    tree.release(found.result.unwrap().id).unwrap();
                }
            }
        }
        assert!(first(&request(&mut kept, &rules, &space, 2 << 20)).is_err(), "all is taken");
    }
}
