//! Where frames come from, what they cost, what leads to them, and every refusal.

use peerbus_os::device_private::{
    ChunkPolicy, CpuAccess, DevicePrivate, EntryBits, Frame, FreeLists, Handout, NotReserved, OwnFrames,
    Platform, PrivateDesign, PrivateMemory, PrivateRequest, Reserved, design_of,
};
use peerbus_os::iomem::{IoResource, RegionError};
use peerbus_os::pagemap::{
    Callbacks, KernelMemory, MapPage, MemoryType, NoPageMap, Owner, PageMapId, PageMapRequest, PageStructs,
    ReferenceBug, Unmap,
};
use peerbus_os::{Profile, RulesOptions};
use peerbus_units::{Bytes, CpuAddr, DevicePage, Pfn};

use crate::pagemap::{GIB, MIB, platform, platform_of_bits, range};

const OWNER: Owner = Owner(1);

fn reserve(
    design: &mut dyn DevicePrivate,
    platform: &mut Platform,
    size: u64,
) -> Result<Reserved, NotReserved> {
    design.reserve(platform, &PrivateRequest::new(Bytes(size), OWNER, "vram"))
}

/// Opposite orders: from the top by whole sections, from the bottom by pages.
#[test]
fn frames_come_from_opposite_ends() {
    let sizes = [2 * MIB, 256 * MIB, 4096, 80 * GIB, 5000];
    let check = |profile, kind, expect: [(u64, u64, u64); 5]| {
        let mut platform = platform(profile, kind);
        let mut design = design_of(&platform);
        for (size, (first, pages, structs)) in sizes.into_iter().zip(expect) {
            let reserved = reserve(&mut design, &mut platform, size).unwrap();
            let bytes = platform.layout.shape.bytes(reserved.cost).0;
            let found = (reserved.first.number(), reserved.pages, bytes);
            assert_eq!(found, (first, pages, structs), "{profile} {kind} {size}");
            assert_eq!(reserved.work.pages, pages);
        }
    };
    let section = (128 * MIB) >> 12;
    let physical = PrivateDesign::PhysicalSpace;
    for profile in [Profile::Linux_6_12, Profile::Linux_7_3] {
        check(
            profile,
            physical,
            [
                (0x3_ffff_8000, section, 2 * MIB),
                (0x3_fffe_8000, 2 * section, 4 * MIB),
                (0x3_fffe_0000, section, 2 * MIB),
                (0x3_febe_0000, 640 * section, 1280 * MIB),
                (0x3_febd_8000, section, 2 * MIB),
            ],
        );
    }
    // Candidates lie as far apart as the request is large.
    check(
        Profile::Linux_6_1,
        physical,
        [
            (0x3_ffff_8000, section, 2 * MIB),
            (0x3_fffe_0000, 2 * section, 4 * MIB),
            (0x3_ffff_0000, section, 2 * MIB),
            (0x3_fd80_0000, 640 * section, 1280 * MIB),
            (0x3_fffd_8000, section, 2 * MIB),
        ],
    );
    let own = [
        (0, 512, 32 << 10),
        (512, 65536, 4 * MIB),
        (66048, 1, 4096),
        (66049, 20_971_520, 1280 * MIB),
        (21_037_569, 2, 4096),
    ];
    for profile in Profile::ALL {
        check(profile, PrivateDesign::OwnSpace, own);
    }
}

#[test]
fn pages_and_frames_lead_to_each_other() {
    for kind in PrivateDesign::ALL {
        let mut platform = platform(Profile::Linux_7_3, kind);
        let mut design = design_of(&platform);
        assert_eq!(design.design(), kind);
        let chunks: Vec<Reserved> =
            (0..30).map(|_| reserve(&mut design, &mut platform, 256 * MIB).unwrap()).collect();
        for chunk in &chunks {
            for index in [0, 1, 511, 65535] {
                let page = MapPage { map: chunk.map, index };
                let frame = design.frame(&platform, page).unwrap();
                assert_eq!(frame.found, chunk.first.checked_add(index).unwrap());
                let back = design.page(&platform, frame.found).unwrap();
                assert_eq!(back.found, page);
                // 31 entries of a tree with ten slots a node: two nodes and the map.
                let steps = if kind == PrivateDesign::OwnSpace { (2, 3) } else { (0, 0) };
                assert_eq!((frame.steps, back.steps), steps);
                // The same number of the other kind is another page, or none.
                let other = match frame.found {
                    Frame::Physical(pfn) => Frame::Offset(DevicePage(pfn.0)),
                    Frame::Offset(page) => Frame::Physical(Pfn(page.0)),
                };
                assert_eq!(design.page(&platform, other), None);
            }
            assert_eq!(design.frame(&platform, MapPage { map: chunk.map, index: 65536 }), None);
        }
        let unknown = MapPage { map: PageMapId(99), index: 0 };
        assert_eq!(design.frame(&platform, unknown), None);
        assert_eq!(design.release(&mut platform, unknown.map), Err(ReferenceBug::NoPage));
    }
}

/// A frame that is taken for a physical page: of physical space nothing answers; one of a space of its own may be
/// anybody's RAM.
#[test]
fn a_private_frame_is_no_address() {
    for kind in PrivateDesign::ALL {
        let mut platform = platform(Profile::Linux_7_3, kind);
        let window = IoResource::memory(range(1 << 40, GIB), "PCI Bus 0000:00");
        platform.iomem.request(platform.iomem.root(), window).unwrap();
        let mut design = design_of(&platform);
        let chunk = reserve(&mut design, &mut platform, 2 * MIB).unwrap();
        let frame = chunk.first.checked_add(3).unwrap();
        let address = CpuAddr(frame.number() << 12);
        let expect = match kind {
            PrivateDesign::PhysicalSpace => CpuAccess::Nowhere { address },
            PrivateDesign::OwnSpace => CpuAccess::Elsewhere { address: CpuAddr(3 << 12), ram: true },
        };
        assert_eq!(platform.at_frame(frame), expect, "{expect}");
        let physical = |address: u64| platform.at_frame(Frame::Physical(Pfn(address >> 12)));
        let window = CpuAccess::Elsewhere { address: CpuAddr(1 << 40), ram: false };
        assert_eq!(physical(1 << 40), window);
        assert_eq!(physical(1 << 39), CpuAccess::Nowhere { address: CpuAddr(1 << 39) });
        assert_eq!(physical(1 << 46), CpuAccess::NoAddress);
        assert_eq!(platform.at_frame(Frame::Physical(Pfn(1 << 60))), CpuAccess::NoAddress);
    }
}

/// A refused reservation takes nothing, but for page structs of sections that memory lasted for.
#[test]
fn refusals_say_why() {
    for kind in PrivateDesign::ALL {
        let mut platform = platform_of_bits(Profile::Linux_7_3, kind, 36);
        let mut design = design_of(&platform);
        let shown = platform.iomem.render(&platform.rules);
        let whole = PrivateRequest::new(Bytes::gib(1), OWNER, "vram");
        let mut check = |platform: &mut Platform, request: &PrivateRequest, error: NotReserved, errno| {
            assert_eq!(design.reserve(platform, request), Err(error.clone()), "{kind}");
            assert_eq!(error.errno(), Some(errno), "{error}");
            assert_eq!(platform.iomem.render(&platform.rules), shown);
            assert_eq!(platform.page_maps.iter().count(), 0);
        };
        let no_owner = PrivateRequest { owner: None, ..whole.clone() };
        check(&mut platform, &no_owner, NotReserved::PageMap(NoPageMap::NoOwner), "EINVAL");
        let callbacks = Callbacks { migrate_to_ram: false, ..Callbacks::ALL };
        let no_callback = PrivateRequest { callbacks, ..whole.clone() };
        check(&mut platform, &no_callback, NotReserved::PageMap(NoPageMap::NoMigrateCallback), "EINVAL");
        let huge = PrivateRequest { size: Bytes::gib(65 << 10), ..whole.clone() };
        match kind {
            PrivateDesign::PhysicalSpace => {
                // 64 GiB in all, of which RAM has 4.
                let most = PrivateRequest { size: Bytes::gib(61), ..whole.clone() };
                check(&mut platform, &most, NotReserved::Region(RegionError::Exhausted), "ERANGE");
                check(&mut platform, &huge, NotReserved::Region(RegionError::Unusable(None)), "ERANGE");
            }
            PrivateDesign::OwnSpace => {
                let most = Bytes::gib(64 << 10);
                check(&mut platform, &huge, NotReserved::Size { most }, "EINVAL");
                let none = PrivateRequest { size: Bytes(0), ..whole.clone() };
                check(&mut platform, &none, NotReserved::Size { most }, "EINVAL");
            }
        }
        platform.memory = KernelMemory { free: Bytes::mib(10), reserve: Bytes::mib(1) };
        check(&mut platform, &whole, NotReserved::PageMap(NoPageMap::NoMemory), "ENOMEM");
        let left = match kind {
            PrivateDesign::PhysicalSpace => Bytes::mib(2),
            PrivateDesign::OwnSpace => Bytes::mib(10),
        };
        assert_eq!(platform.memory.free, left, "{kind}");
    }
}

/// What a page-table entry can hold is shared by all devices.
#[test]
fn own_space_is_as_large_as_entries() {
    let mut platform = platform(Profile::Linux_7_3, PrivateDesign::OwnSpace);
    let mut design = OwnFrames::new(EntryBits { page_shift: 12, offset: 50, physical: 32 });
    let chunks = [2, 1].map(|gib| reserve(&mut design, &mut platform, gib * GIB).unwrap());
    let refused = NotReserved::NoGap { largest: Bytes::gib(1) };
    assert_eq!(reserve(&mut design, &mut platform, GIB + 4096), Err(refused.clone()));
    assert_eq!(refused.errno(), Some("EBUSY"));
    assert_eq!(reserve(&mut design, &mut platform, 4 * GIB).unwrap_err().errno(), Some("EBUSY"));
    assert_eq!(reserve(&mut design, &mut platform, 4 * GIB + 1).unwrap_err().errno(), Some("EINVAL"));
    // The lowest gap, not the best.
    assert_eq!(design.release(&mut platform, chunks[0].map), Ok(Unmap::Done));
    let first = reserve(&mut design, &mut platform, GIB).unwrap();
    assert_eq!(first.first, Frame::Offset(DevicePage(0)));
    let last = reserve(&mut design, &mut platform, GIB).unwrap();
    assert_eq!(last.first, Frame::Offset(DevicePage(262_144)));
    assert_eq!(reserve(&mut design, &mut platform, GIB).unwrap().pages, 262_144);
    assert_eq!(reserve(&mut design, &mut platform, 1).unwrap_err(), NotReserved::NoGap { largest: Bytes(0) });
}

#[test]
fn a_reservation_stays_until_its_last_page_is_back() {
    for kind in PrivateDesign::ALL {
        let mut platform = platform(Profile::Linux_7_3, kind);
        platform.memory = KernelMemory { free: Bytes::gib(1), reserve: Bytes(0) };
        let mut design = design_of(&platform);
        let shown = platform.iomem.render(&platform.rules);
        let chunk = reserve(&mut design, &mut platform, 256 * MIB).unwrap();
        let page = MapPage { map: chunk.map, index: 5 };
        let rules = platform.rules.pagemap;
        assert_eq!(platform.page_maps.hand_out(&rules, page, 0), Ok(()));
        assert_eq!(design.release(&mut platform, chunk.map), Ok(Unmap::Wait { references: 1 }));
        assert!(design.page(&platform, chunk.first).is_some(), "still there");
        assert_eq!(platform.page_maps.free(page, 0), Ok(()));
        assert_eq!(design.release(&mut platform, chunk.map), Ok(Unmap::Done));
        assert_eq!(design.page(&platform, chunk.first), None);
        assert_eq!(platform.memory.free, Bytes::gib(1));
        assert_eq!(platform.iomem.render(&platform.rules), shown);
        assert_eq!(reserve(&mut design, &mut platform, 256 * MIB).unwrap().first, chunk.first);
    }
}

/// Coherent memory keeps its real addresses in both designs.
#[test]
fn coherent_memory_stands_beside_private() {
    for kind in PrivateDesign::ALL {
        let mut platform = platform(Profile::Linux_7_3, kind);
        let mut design = design_of(&platform);
        let request = PageMapRequest::device(MemoryType::Coherent, range(1 << 40, 256 * MIB), OWNER);
        let Platform { rules, layout, page_maps, memory, .. } = &mut platform;
        let coherent = page_maps.memremap(&rules.pagemap, layout, memory, &request).unwrap();
        reserve(&mut design, &mut platform, 256 * MIB).unwrap();
        assert_eq!(
            platform.page_maps.find(CpuAddr((1 << 40) + 4096)),
            Some(MapPage { map: coherent, index: 1 })
        );
        // Its frames are no private ones.
        assert_eq!(design.page(&platform, Frame::Physical(Pfn(1 << 28))), None);
    }
}

/// What a small machine can hold: with 40 bits of physical addresses, 1 TiB for everything.
#[test]
fn eight_gpus_in_a_virtual_machine() {
    let fit = |kind| {
        let mut platform = platform_of_bits(Profile::Linux_7_3, kind, 40);
        let mut design = design_of(&platform);
        (0..8).filter(|_| reserve(&mut design, &mut platform, 141 * GIB).is_ok()).count()
    };
    assert_eq!(PrivateDesign::ALL.map(fit), [7, 8]);
}

/// First pages of a new chunk, in the order in which they are handed out, and how many there are.
#[test]
fn drivers_hand_out_their_chunks_differently() {
    let check = |policy: ChunkPolicy, handout, pages, expect: [u64; 3], count, asked: Bytes| {
        let first = Frame::Offset(DevicePage(0));
        let (map, cost, work) = (PageMapId(0), PageStructs::default(), Default::default());
        let mut lists = FreeLists::default();
        policy.fill(&mut lists, &Reserved { map, first, pages, cost, work }, handout, u64::MAX);
        assert_eq!((policy.size, lists.len(handout)), (asked, count));
        let handed: Vec<u64> = (0..3).filter_map(|_| lists.pop(handout)).map(|page| page.index).collect();
        assert_eq!(handed, expect[..handed.len()]);
        assert_eq!(handed.len(), count.min(3));
    };
    let rules = |profile: Profile| profile.rules(RulesOptions::default());
    for profile in [Profile::Linux_6_1, Profile::Linux_6_12] {
        let old = ChunkPolicy::nouveau(&rules(profile));
        check(old, Handout::Pages, 32768, [511, 510, 509], 512, Bytes::mib(2));
    }
    let new = ChunkPolicy::nouveau(&rules(Profile::Linux_7_3));
    check(new, Handout::Pages, 65536, [65407, 65406, 65405], 65408, Bytes::mib(256));
    check(new, Handout::Folios, 65536, [65024, 64512, 64000], 128, Bytes::mib(256));
    let test = ChunkPolicy::TEST_DEVICE;
    check(test, Handout::Pages, 65536, [65535, 65534, 65533], 65536, Bytes::mib(256));
    check(test, Handout::Folios, 65536, [65024, 64512, 64000], 128, Bytes::mib(256));
    let whole = ChunkPolicy::whole(Bytes(80 * GIB + 1));
    check(whole, Handout::Pages, 20_971_520, [0; 3], 0, Bytes(80 * GIB + 2 * MIB));
}

/// Pages by number: the spaces do not meet, and handing out counts in the map.
#[test]
fn pages_of_both_spaces_have_different_numbers() {
    for kind in PrivateDesign::ALL {
        let mut memory = PrivateMemory::new(platform(Profile::Linux_7_3, kind));
        let chunk = memory.reserve(&PrivateRequest::new(Bytes::mib(256), OWNER, "vram")).unwrap();
        let first = PrivateMemory::number(chunk.first);
        assert_eq!(PrivateMemory::frame(first), chunk.first);
        assert_eq!(first >= Pfn(1 << 52), kind == PrivateDesign::OwnSpace);
        let number = Pfn(first.0 + 512);
        assert_eq!(memory.page(number), Some(MapPage { map: chunk.map, index: 512 }));
        assert_eq!(memory.page(Pfn(first.0 + 65536)), None);
        assert_eq!(memory.hand_out(number, 9), Ok(()));
        assert_eq!(memory.hand_out(Pfn(5), 0), Err(ReferenceBug::NoPage));
        assert_eq!(memory.release(chunk.map), Ok(Unmap::Wait { references: 512 }));
        assert_eq!(memory.free(number, 9), Ok(()));
        assert_eq!(memory.release(chunk.map), Ok(Unmap::Done));
        assert_eq!(memory.free(number, 9), Err(ReferenceBug::NoPage));
    }
}

/// The middle case of range faults, a private page that peers reach through a BAR, has a page struct for each of the two.
#[test]
fn a_page_that_peers_reach_has_two_structs() {
    for kind in PrivateDesign::ALL {
        let mut platform = platform(Profile::Linux_7_3, kind);
        let mut design = design_of(&platform);
        let private = reserve(&mut design, &mut platform, 16 * GIB).unwrap();
        let request = PageMapRequest::device(MemoryType::PciP2pdma, range(1 << 40, 16 * GIB), OWNER);
        let Platform { rules, layout, page_maps, memory, .. } = &mut platform;
        let peer = page_maps.memremap(&rules.pagemap, layout, memory, &request).unwrap();
        let peer = platform.page_maps.get(peer).unwrap().cost;
        let bytes = [private.cost, peer].map(|cost| platform.layout.shape.bytes(cost));
        assert_eq!(bytes, [Bytes::mib(256); 2], "{kind}");
        assert!(platform.page_maps.set_owner(private.map, Owner(2)));
        assert_eq!(platform.page_maps.get(private.map).unwrap().owner, Some(Owner(2)));
        assert!(!platform.page_maps.set_owner(PageMapId(9), OWNER));
    }
    assert_eq!(ChunkPolicy::amdkfd_charge(Bytes::gib(141)), Bytes::mib(2256));
}

/// Older nouveau: of 32768 page structs, 512 are used.
#[test]
fn two_mebibytes_cost_two_mebibytes() {
    let mut platform = platform(Profile::Linux_6_12, PrivateDesign::PhysicalSpace);
    let mut design = design_of(&platform);
    let policy = ChunkPolicy::nouveau(&platform.rules);
    let chunk = reserve(&mut design, &mut platform, policy.size.0).unwrap();
    assert_eq!(platform.layout.shape.bytes(chunk.cost), policy.size);
    assert_eq!(chunk.pages, 64 * 512);
    let mut lists = FreeLists::default();
    policy.fill(&mut lists, &chunk, Handout::Pages, u64::MAX);
    lists.push(MapPage { map: PageMapId(77), index: 0 }, Handout::Folios);
    lists.remove(chunk.map);
    assert_eq!((lists.len(Handout::Pages), lists.len(Handout::Folios), lists.is_empty()), (0, 1, false));
}
