//! Random reservations in both designs, against a plain list.

use peerbus_os::Profile;
use peerbus_os::device_private::{
    DevicePrivate, Frame, NotReserved, Platform, PrivateDesign, PrivateRequest, design_of,
};
use peerbus_os::pagemap::{KernelMemory, MapPage, Owner, PageMapId, Unmap};
use peerbus_units::Bytes;

use crate::pagemap::platform_of_bits;
use crate::random::{Random, cases};

/// First frame, pages, and how many of them are out.
type Reservation = (PageMapId, u64, u64, u64);

const MEMORY: KernelMemory = KernelMemory { free: Bytes::gib(1), reserve: Bytes(0) };
/// 64 GiB of physical addresses: few enough to run out.
const BITS: u32 = 36;

fn pages_of(kind: PrivateDesign, size: u64) -> u64 {
    match kind {
        PrivateDesign::PhysicalSpace => size.div_ceil(128 << 20) << 15,
        PrivateDesign::OwnSpace => size.div_ceil(4096),
    }
}

/// The place that the design's rule says, found the slow way.
fn place(kind: PrivateDesign, taken: &[Reservation], pages: u64) -> Option<u64> {
    let free = |first: u64| taken.iter().all(|(_, at, count, _)| first + pages <= *at || at + count <= first);
    match kind {
        PrivateDesign::PhysicalSpace => {
            let top = (1 << (BITS - 12)) - pages;
            (0..top >> 15)
                .map(|step| top - (step << 15))
                .find(|first| free(*first))
                .filter(|first| *first >= 1 << 20)
        }
        PrivateDesign::OwnSpace => {
            let ends = taken.iter().map(|(_, at, count, _)| at + count);
            let mut starts: Vec<u64> = core::iter::once(0).chain(ends).collect();
            starts.sort_unstable();
            starts.into_iter().find(|first| free(*first))
        }
    }
}

fn check(design: &dyn DevicePrivate, platform: &Platform, taken: &[Reservation], random: &mut Random) {
    for (map, first, pages, _) in taken {
        let index = random.below(*pages);
        let page = MapPage { map: *map, index };
        let frame = design.frame(platform, page).unwrap().found;
        assert_eq!(frame.number(), first + index);
        assert_eq!(design.page(platform, frame).map(|looked| looked.found), Some(page));
        let physical = matches!(frame, Frame::Physical(_));
        assert_eq!(physical, design.design() == PrivateDesign::PhysicalSpace);
    }
    let structs: u64 = match design.design() {
        PrivateDesign::PhysicalSpace => taken.iter().map(|(_, _, pages, _)| pages * 64).sum(),
        PrivateDesign::OwnSpace => {
            taken.iter().map(|(_, _, pages, _)| (pages * 64).div_ceil(4096) * 4096).sum()
        }
    };
    assert_eq!(MEMORY.free - platform.memory.free, Bytes(structs));
}

fn reserve(
    design: &mut dyn DevicePrivate,
    platform: &mut Platform,
    taken: &mut Vec<Reservation>,
    random: &mut Random,
) {
    let kind = design.design();
    let size = 1 + random.sized(12, 24);
    let pages = pages_of(kind, size);
    let expect = place(kind, taken, pages);
    let structs = pages * 64;
    let enough = structs.next_multiple_of(4096) <= platform.memory.free.0;
    // When memory runs out in the middle, sections stay populated for ever: not played with here.
    if kind == PrivateDesign::PhysicalSpace && expect.is_some() && !enough {
        return;
    }
    let reserved = design.reserve(platform, &PrivateRequest::new(Bytes(size), Owner(3), "vram"));
    match reserved {
        Ok(reserved) => {
            assert_eq!((Some(reserved.first.number()), reserved.pages), (expect, pages), "{kind} {size}");
            taken.push((reserved.map, reserved.first.number(), pages, 0));
        }
        Err(NotReserved::Region(_)) => assert_eq!(expect, None),
        Err(error) => assert!(!enough, "{error}"),
    }
}

fn use_or_release(
    design: &mut dyn DevicePrivate,
    platform: &mut Platform,
    taken: &mut Vec<Reservation>,
    random: &mut Random,
) {
    let at = random.index(taken.len());
    let (map, _, pages, out) = taken[at];
    let rules = platform.rules.pagemap;
    match random.below(4) {
        // Pages 0..out are out.
        0 if out < pages => {
            assert_eq!(platform.page_maps.hand_out(&rules, MapPage { map, index: out }, 0), Ok(()));
            taken[at].3 += 1;
        }
        1 if out > 0 => {
            assert_eq!(platform.page_maps.free(MapPage { map, index: out - 1 }, 0), Ok(()));
            taken[at].3 -= 1;
        }
        _ if out == 0 => {
            assert_eq!(design.release(platform, map), Ok(Unmap::Done));
            taken.swap_remove(at);
        }
        _ => {}
    }
}

#[test]
fn reservations_agree_with_a_plain_list() {
    for seed in 0..cases(40) {
        println!("seed {seed}");
        for kind in PrivateDesign::ALL {
            let mut platform = platform_of_bits(Profile::Linux_7_3, kind, BITS);
            platform.memory = MEMORY;
            let mut design = design_of(&platform);
            let (mut random, mut taken) = (Random(seed), Vec::new());
            for _ in 0..150 {
                if taken.is_empty() || random.below(3) == 0 {
                    reserve(&mut design, &mut platform, &mut taken, &mut random);
                } else {
                    use_or_release(&mut design, &mut platform, &mut taken, &mut random);
                }
                check(&design, &platform, &taken, &mut random);
            }
        }
    }
}
