//! Every check in its order, references, and what is left of a refused request.

use peerbus_os::Profile;
use peerbus_os::device_private::{Platform, PrivateDesign};
use peerbus_os::pagemap::{
    Callbacks, KernelMemory, MapPage, MemoryType, NoPageMap, Owner, PageMapId, PageMapRequest, ReferenceBug,
    Unmap,
};
use peerbus_units::{Bytes, CpuAddr};

use super::{GIB, MIB, platform, range};

const OWNER: Owner = Owner(7);
const FREE: u64 = 1 << 40;

fn make(platform: &mut Platform, request: &PageMapRequest) -> Result<PageMapId, NoPageMap> {
    let Platform { rules, layout, page_maps, memory, .. } = platform;
    page_maps.memremap(&rules.pagemap, layout, memory, request)
}

fn unmap(platform: &mut Platform, map: PageMapId) -> Result<Unmap, ReferenceBug> {
    platform.page_maps.memunmap(&platform.layout.shape, &mut platform.memory, map)
}

fn plain(kind: MemoryType) -> PageMapRequest {
    PageMapRequest::device(kind, range(FREE, 256 * MIB), OWNER)
}

/// What a driver forgets; each line has the mistakes of the lines before it no more, and all those after it still.
#[test]
fn checks_come_in_the_kernels_order() {
    for profile in Profile::ALL {
        let mut platform = platform(profile, PrivateDesign::PhysicalSpace);
        platform.layout.private_built = false;
        let mut request = PageMapRequest {
            ranges: vec![],
            compound_order: 19,
            callbacks: Callbacks::default(),
            owner: None,
            ..plain(MemoryType::Private)
        };
        let check = |platform: &mut Platform, request: &PageMapRequest, expect: NoPageMap, warns| {
            let refused = make(platform, request);
            assert_eq!(refused, Err(expect), "{profile}");
            assert_eq!((expect.errno(), expect.warns()), ("EINVAL", warns), "{expect}");
            assert_eq!(platform.page_maps.iter().count(), 0);
            assert_eq!(platform.page_maps.vmemmap().covered(), Bytes(0));
        };
        check(&mut platform, &request, NoPageMap::NoRange, true);
        // 2 MiB too high, and from an odd address: the end of what is allowed is looked at first.
        request.ranges = vec![range((1 << 46) - MIB, 3 * MIB)];
        if profile == Profile::Linux_7_3 {
            check(&mut platform, &request, NoPageMap::CompoundTooLarge, true);
        }
        request.compound_order = 0;
        check(&mut platform, &request, NoPageMap::NotBuilt(MemoryType::Private), true);
        platform.layout.private_built = true;
        check(&mut platform, &request, NoPageMap::NoMigrateCallback, true);
        request.callbacks.migrate_to_ram = true;
        check(&mut platform, &request, NoPageMap::NoFreeCallback, true);
        request.callbacks.free = true;
        check(&mut platform, &request, NoPageMap::NoOwner, true);
        request.owner = Some(OWNER);
        let allowed = Some(range(0, 1 << 46));
        check(&mut platform, &request, NoPageMap::OutsideAllowed { allowed }, false);
        request.ranges = vec![range(FREE + MIB, 3 * MIB)];
        check(&mut platform, &request, NoPageMap::NoSubSections, true);
        request.ranges = vec![range(FREE, 3 * MIB)];
        check(&mut platform, &request, NoPageMap::NoSubSections, true);
        request.ranges = vec![range(FREE, 4 * MIB)];
        assert!(make(&mut platform, &request).is_ok());
    }
}

/// Coherent memory needs no migration callback; the other types need neither callback nor owner.
#[test]
fn types_need_different_drivers() {
    let none = Callbacks::default();
    let free = Callbacks { free: true, ..none };
    let check = |kind, callbacks, owner, expect: Option<NoPageMap>| {
        let mut platform = platform(Profile::Linux_7_3, PrivateDesign::PhysicalSpace);
        platform.layout.private_built = false;
        let made = make(&mut platform, &PageMapRequest { callbacks, owner, ..plain(kind) });
        assert_eq!(made.err(), expect, "{kind}");
    };
    check(MemoryType::Coherent, none, Some(OWNER), Some(NoPageMap::NoFreeCallback));
    check(MemoryType::Coherent, free, None, Some(NoPageMap::NoOwner));
    check(MemoryType::Coherent, free, Some(OWNER), None);
    for kind in [MemoryType::FsDax, MemoryType::Generic, MemoryType::PciP2pdma] {
        check(kind, none, None, None);
    }
}

/// Property A19.
#[test]
fn ranges_are_refused_for_what_they_meet() {
    let mut platform = platform(Profile::Linux_6_12, PrivateDesign::PhysicalSpace);
    platform.layout.mappable = Some(range(0, 1 << 41));
    let first = make(&mut platform, &plain(MemoryType::Coherent)).unwrap();
    let mut check = |kind, first: u64, size: u64, expect: Result<(), &str>| {
        let made = make(&mut platform, &PageMapRequest::device(kind, range(first, size), OWNER));
        assert_eq!(made.map(|_| ()).map_err(NoPageMap::errno), expect, "{kind} {first:#x}");
        if let Ok(map) = made {
            assert_eq!(unmap(&mut platform, map), Ok(Unmap::Done));
        }
    };
    let (private, coherent) = (MemoryType::Private, MemoryType::Coherent);
    check(private, FREE - 2 * MIB, 4 * MIB, Err("ENOMEM"));
    check(private, FREE + 254 * MIB, 4 * MIB, Err("ENOMEM"));
    check(private, 4 * GIB - 2 * MIB, 4 * MIB, Err("ENXIO"));
    check(private, 0, 8 * GIB, Err("ENXIO"));
    check(private, 4 * GIB, 2 * MIB, Ok(()));
    // Only private memory may lie where nothing can be mapped.
    check(coherent, 1 << 42, 2 * MIB, Err("EINVAL"));
    check(private, 1 << 42, 2 * MIB, Ok(()));
    check(private, (1 << 46) - 2 * MIB, 2 * MIB, Ok(()));
    check(private, 1 << 46, 2 * MIB, Err("EINVAL"));
    // The first and the last page are free: the interior is not looked at, and belongs to nobody afterwards.
    check(private, FREE - 2 * MIB, 512 * MIB, Ok(()));
    assert_eq!(platform.page_maps.find(CpuAddr(FREE)), None);
    assert!(platform.page_maps.get(first).is_some());
}

/// The index is written before the last checks.
#[test]
fn a_refused_range_takes_the_pages_of_an_older_one_along() {
    let mut platform = platform(Profile::Linux_7_3, PrivateDesign::PhysicalSpace);
    let older = make(&mut platform, &plain(MemoryType::Private)).unwrap();
    assert_eq!(platform.page_maps.find(CpuAddr(FREE + 4096)), Some(MapPage { map: older, index: 1 }));
    let around = PageMapRequest::device(MemoryType::Private, range(FREE - 2 * MIB, 511 * MIB), OWNER);
    assert_eq!(make(&mut platform, &around), Err(NoPageMap::NoSubSections));
    assert_eq!(platform.page_maps.find(CpuAddr(FREE + 4096)), None);
    assert_eq!(platform.page_maps.get(older).unwrap().address_of(1), Some(CpuAddr(FREE + 4096)));
}

#[test]
fn a_request_of_several_ranges_is_undone_as_a_whole() {
    let mut platform = platform(Profile::Linux_7_3, PrivateDesign::PhysicalSpace);
    platform.memory = KernelMemory { free: Bytes::mib(16), reserve: Bytes::mib(1) };
    let mut check = |ranges: &[_], altmap, expect: NoPageMap, left: Bytes| {
        let request = PageMapRequest { ranges: ranges.to_vec(), altmap, ..plain(MemoryType::Generic) };
        assert_eq!(make(&mut platform, &request), Err(expect));
        assert_eq!(platform.memory.free, left);
        assert_eq!((platform.page_maps.iter().count(), platform.page_maps.find(CpuAddr(FREE))), (0, None));
    };
    let (low, high) = (range(FREE, 256 * MIB), range(FREE + GIB, 256 * MIB));
    check(&[low, high], true, NoPageMap::AltmapWithRanges, Bytes::mib(16));
    check(
        &[low, range(0, 2 * MIB)],
        false,
        NoPageMap::OverlapsRam { ram: range(0, 4 * GIB) },
        Bytes::mib(16),
    );
    // The map's own first range is in the way of its second.
    check(&[low, low], false, NoPageMap::Owned { by: PageMapId(0) }, Bytes::mib(16));
    // The second range needs 16 MiB of page structs; five sections of it stay.
    check(&[low, range(FREE + GIB, GIB)], false, NoPageMap::NoMemory, Bytes::mib(6));
    assert_eq!(platform.page_maps.vmemmap().covered(), Bytes::mib(5 * 128));
}

/// As recorded (6.12 and 7.3, 2 GiB of RAM): free memory went from 1868 MB to 54 MB, and less was refused afterwards.
#[test]
fn memory_that_page_structs_have_used_up_is_gone() {
    let mut platform = platform(Profile::Linux_6_12, PrivateDesign::PhysicalSpace);
    platform.memory = KernelMemory { free: Bytes(1_868_000_000), reserve: Bytes(54_000_000) };
    let device = |first, size| PageMapRequest::device(MemoryType::Private, range(first, size), OWNER);
    assert_eq!(make(&mut platform, &device(FREE, 141 * GIB)), Err(NoPageMap::NoMemory));
    let left = platform.memory.free.0;
    assert!((54_000_000..56_200_000).contains(&left), "{left}");
    assert_eq!(make(&mut platform, &device(FREE + 200 * GIB, GIB)), Err(NoPageMap::NoMemory));
    assert_eq!(NoPageMap::NoMemory.errno(), "ENOMEM");
    // What has page structs already needs no memory.
    assert!(make(&mut platform, &device(FREE, GIB)).is_ok());
}

#[test]
fn pages_are_numbered_over_all_ranges() {
    let mut platform = platform(Profile::Linux_7_3, PrivateDesign::PhysicalSpace);
    let ranges = vec![range(FREE + GIB, 4 * MIB), range(FREE, 2 * MIB)];
    let request = PageMapRequest { ranges, node: Some(3), ..plain(MemoryType::Generic) };
    let id = make(&mut platform, &request).unwrap();
    let map = platform.page_maps.get(id).unwrap();
    assert_eq!((map.pages, map.node, map.references), (1536, 3, 1536));
    for (index, address) in
        [(0, FREE + GIB), (1023, FREE + GIB + 4 * MIB - 4096), (1024, FREE), (1535, FREE + 511 * 4096)]
    {
        assert_eq!(map.address_of(index), Some(CpuAddr(address)), "page {index}");
        assert_eq!(platform.page_maps.find(CpuAddr(address)), Some(MapPage { map: id, index }));
    }
    assert_eq!((map.address_of(1536), map.index_of(CpuAddr(FREE + 2 * MIB))), (None, None));
}

/// Resting references, those of pages handed out, and the end.
#[test]
fn references_follow_type_and_order() {
    let check = |kind, compound_order, resting| {
        let mut platform = platform(Profile::Linux_7_3, PrivateDesign::PhysicalSpace);
        let id = make(&mut platform, &PageMapRequest { compound_order, ..plain(kind) }).unwrap();
        let map = platform.page_maps.get(id).unwrap();
        assert_eq!((map.resting, map.references), (resting, resting), "{kind}");
        assert!(platform.page_maps.try_get(id));
        assert_eq!(unmap(&mut platform, id), Ok(Unmap::Wait { references: 1 }));
        assert!(!platform.page_maps.try_get(id), "dying");
        assert_eq!(platform.page_maps.put(id), Ok(()));
        assert_eq!(unmap(&mut platform, id), Ok(Unmap::Done));
        assert_eq!(platform.page_maps.put(id), Err(ReferenceBug::NoPage));
        assert_eq!(platform.memory, KernelMemory::UNLIMITED);
    };
    check(MemoryType::Private, 0, 0);
    check(MemoryType::Coherent, 0, 0);
    check(MemoryType::Generic, 0, 65536);
    check(MemoryType::Generic, 9, 128);
    check(MemoryType::FsDax, 0, 65536);
    check(MemoryType::PciP2pdma, 0, 65536);
}

/// Kernels that do not check the order of compound pages survive any.
#[test]
fn orders_of_compound_pages_may_be_absurd() {
    for (profile, largest) in
        [(Profile::Linux_6_1, u32::MAX), (Profile::Linux_6_12, u32::MAX), (Profile::Linux_7_3, 18)]
    {
        for compound_order in [18, 19, 57, 58, 63, 64, 70, u32::MAX] {
            let mut platform = platform(profile, PrivateDesign::PhysicalSpace);
            let request = PageMapRequest { compound_order, ..plain(MemoryType::Generic) };
            let made = make(&mut platform, &request);
            assert_eq!(made.is_ok(), compound_order <= largest, "{profile} {compound_order}");
            if let Ok(map) = made {
                assert_eq!(unmap(&mut platform, map), Ok(Unmap::Done));
                assert_eq!(platform.page_maps.vmemmap().covered(), Bytes(0));
            }
        }
    }
}

#[test]
fn pages_handed_out_hold_their_map() {
    for profile in Profile::ALL {
        let mut platform = platform(profile, PrivateDesign::PhysicalSpace);
        let map = make(&mut platform, &plain(MemoryType::Private)).unwrap();
        let rules = platform.rules.pagemap;
        let (page, folio) = (MapPage { map, index: 65535 }, MapPage { map, index: 512 });
        assert_eq!(platform.page_maps.hand_out(&rules, page, 0), Ok(()));
        let large = platform.page_maps.hand_out(&rules, folio, 9);
        let folios = profile == Profile::Linux_7_3;
        assert_eq!(large, if folios { Ok(()) } else { Err(ReferenceBug::NoSuchOrder) });
        let out = if folios { 513 } else { 1 };
        assert_eq!(unmap(&mut platform, map), Ok(Unmap::Wait { references: out }));
        assert_eq!(platform.page_maps.hand_out(&rules, page, 0), Err(ReferenceBug::Dying));
        if folios {
            assert_eq!(platform.page_maps.free(folio, 9), Ok(()));
        }
        assert_eq!(platform.page_maps.free(page, 1), Err(ReferenceBug::NoPage), "beyond the end");
        assert_eq!(platform.page_maps.free(folio, 9), Err(ReferenceBug::NotHeld));
        assert_eq!(platform.page_maps.free(page, 64), Err(ReferenceBug::NoSuchOrder));
        assert_eq!(platform.page_maps.free(page, 0), Ok(()));
        assert_eq!(platform.page_maps.free(page, 0), Err(ReferenceBug::NotHeld));
        assert_eq!(unmap(&mut platform, map), Ok(Unmap::Done));
    }
}

/// In a kernel whose private memory has a space of its own, it has no physical addresses, and the rest does.
#[test]
fn own_space_refuses_private_memory_at_physical_addresses() {
    let mut platform = platform(Profile::Linux_7_3, PrivateDesign::OwnSpace);
    let refused = make(&mut platform, &PageMapRequest { owner: None, ..plain(MemoryType::Private) });
    assert_eq!(refused, Err(NoPageMap::NotPhysical));
    assert!(make(&mut platform, &plain(MemoryType::Coherent)).is_ok());
}
