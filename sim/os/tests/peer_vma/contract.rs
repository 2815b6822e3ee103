//! The six points of the contract, and what each refusal says.

use peerbus_os::MapType;
use peerbus_os::dma::PeerType;
use peerbus_os::peer_vma::{
    CpuFault, Enough, Exporter, Filling, MoveObject, ObjectId, PeerVmaBug, PeerVmaError, Policy, ProcessId,
    Stale, VmaId, VmaPages,
};
use peerbus_units::{CpuAddr, DevicePage, DmaAddr};

use super::{BAR, GPU, NIC, OFFSET, OTHER_ROOT, SAME_SWITCH, behind, exporter, lazy, mapped};

fn try_map(exporter: &mut Exporter, vma: VmaId, first: u64, pages: u64) -> Result<usize, PeerVmaError> {
    exporter.p2p_map(vma, NIC, first, pages, false, SAME_SWITCH).map(|addresses| addresses.len())
}

/// Point 1.
#[test]
fn the_exporter_decides() {
    let check = |policy: Policy, reach: PeerType, expect: Result<u64, PeerVmaError>| {
        let (mut exporter, object) = exporter(4, 4, policy);
        let vma = exporter.mmap(lazy(object, 4)).unwrap();
        let got = exporter.p2p_map(vma, NIC, 0, 1, false, reach).map(|addresses| addresses[0].0);
        assert_eq!(got, expect);
        assert_eq!(exporter.claims(), u64::from(expect.is_ok()));
    };
    let through_host_bridge = Policy { through_host_bridge: true, ..Policy::default() };
    let unreachable = PeerType { map_type: MapType::NotSupported, ..SAME_SWITCH };
    check(Policy::default(), SAME_SWITCH, Ok(BAR.wrapping_add(OFFSET)));
    check(Policy::default(), OTHER_ROOT, Err(PeerVmaError::NoPath));
    check(through_host_bridge, OTHER_ROOT, Ok(BAR));
    check(through_host_bridge, unreachable, Err(PeerVmaError::NoPath));
    let refuses = Policy { peers: false, ..Policy::default() };
    check(refuses, SAME_SWITCH, Err(PeerVmaError::Refused));
    // What the CPU sees is another question.
    let (mut exporter, object) = exporter(4, 4, refuses);
    let vma = exporter.mmap(lazy(object, 4)).unwrap();
    assert_eq!(exporter.touch(vma, 1), CpuFault::Mapped(CpuAddr(BAR)));
}

/// Points 2 and 6: slots are freed by unmapping, but those of pages that may be asked for again stay claimed.
#[test]
fn what_was_mapped_once_can_be_mapped_again() {
    let (mut exporter, object) = exporter(4, 100, Policy::default());
    let [first, second] = [(); 2].map(|()| exporter.mmap(lazy(object, 100)).unwrap());
    assert_eq!(mapped(&mut exporter, first, NIC, 10, 3), [1010, 1011, 1012]);
    exporter.p2p_unmap(first, NIC, 10, 3).unwrap();
    assert_eq!((exporter.aperture().used(), exporter.claims()), (0, 3));
    let full = Err(PeerVmaError::Full { needed: 2, left: 1 });
    assert_eq!(try_map(&mut exporter, second, 0, 2), full);
    assert_eq!(mapped(&mut exporter, second, NIC, 0, 1), [1000]);
    assert_eq!(mapped(&mut exporter, first, NIC, 10, 3), [1010, 1011, 1012]);
    // The promise ends with the VMA, the claim with the last address.
    let stale = exporter.close(first).unwrap();
    assert_eq!(stale, [Stale { vma: Some(first), importer: NIC, first: 10, pages: 3 }]);
    assert_eq!((exporter.claims(), try_map(&mut exporter, first, 10, 1)), (4, Err(PeerVmaError::NoVma)));
    exporter.p2p_unmap(first, NIC, 10, 3).unwrap();
    assert_eq!((exporter.claims(), exporter.p2p_unmap(first, NIC, 10, 3)), (1, Err(PeerVmaBug::NotMapped)));
    assert_eq!(mapped(&mut exporter, second, NIC, 50, 3), [1050, 1051, 1052]);
}

/// Points 3 and 4.
#[test]
fn an_object_moves_when_the_last_importer_has_unmapped() {
    let (mut exporter, object) = exporter(8, 6, Policy::default());
    let vma = exporter.mmap(lazy(object, 6)).unwrap();
    assert_eq!(mapped(&mut exporter, vma, NIC, 0, 4), [1000, 1001, 1002, 1003]);
    assert_eq!(mapped(&mut exporter, vma, GPU, 3, 1), [1003]);
    let CpuFault::Mapped(shown) = exporter.touch(vma, 5) else { panic!("there are slots") };
    let stale = |importer, first, pages| Stale { vma: Some(vma), importer, first, pages };
    let wait = MoveObject::Wait(vec![stale(NIC, 0, 4), stale(GPU, 3, 1)]);
    assert_eq!(exporter.move_object(object, DevicePage(5000)), Ok(wait));
    assert_eq!(exporter.aperture().translate(shown), None, "the process has lost its mapping");
    assert_eq!(exporter.touch(vma, 5), CpuFault::Retry);
    assert_eq!(try_map(&mut exporter, vma, 0, 1), Err(PeerVmaError::Wait));
    exporter.p2p_unmap(vma, NIC, 0, 4).unwrap();
    let wait = MoveObject::Wait(vec![stale(GPU, 3, 1)]);
    assert_eq!(exporter.move_object(object, DevicePage(5000)), Ok(wait));
    exporter.p2p_unmap(vma, GPU, 3, 1).unwrap();
    assert_eq!(exporter.move_object(object, DevicePage(5000)), Ok(MoveObject::Done));
    assert_eq!(mapped(&mut exporter, vma, NIC, 0, 4), [5000, 5001, 5002, 5003]);
    let CpuFault::Mapped(shown) = exporter.touch(vma, 5) else { panic!("it was moved") };
    assert_eq!(exporter.aperture().translate(shown), Some((DevicePage(5005), 0)));
}

/// An invalidation without a move: the addresses have to go, and can be had again.
#[test]
fn an_invalidation_names_whom_it_concerns() {
    let (mut exporter, object) = exporter(8, 8, Policy::default());
    let vma = exporter.mmap(VmaPages { first: 2, ..lazy(object, 6) }).unwrap();
    mapped(&mut exporter, vma, NIC, 0, 2);
    mapped(&mut exporter, vma, NIC, 4, 2);
    let private = exporter.map_private(object, GPU, 0, 1, SAME_SWITCH);
    assert_eq!(behind(&exporter, private[0]), Some(1000));
    let stale = |vma, importer, first, pages| Stale { vma, importer, first, pages };
    let all = [stale(None, GPU, 0, 1), stale(Some(vma), NIC, 2, 2), stale(Some(vma), NIC, 6, 2)];
    assert_eq!(exporter.invalidate(object, 0, 8), Ok(all.to_vec()));
    assert_eq!(
        exporter.invalidate(object, 3, 4),
        Ok(vec![stale(Some(vma), NIC, 3, 1), stale(Some(vma), NIC, 6, 1)])
    );
    assert_eq!(exporter.invalidate(object, 4, 2), Ok(vec![]));
    assert_eq!(exporter.invalidate(object, 4, 5), Err(PeerVmaError::Outside));
    exporter.unmap_private(object, GPU, 0, 1).unwrap();
    assert_eq!(exporter.unmap_private(object, GPU, 0, 1), Err(PeerVmaBug::NotMapped));
}

/// Point 5: over the limit, pages go to main memory.
#[test]
fn policies_limit_objects_and_processes() {
    let limit = |object_limit, process_limit| Policy { object_limit, process_limit, ..Policy::default() };
    let (mut small, object) = exporter(100, 50, limit(Some(5), None));
    let [a, b] = [(); 2].map(|()| small.mmap(lazy(object, 50)).unwrap());
    mapped(&mut small, a, NIC, 0, 3);
    assert_eq!(try_map(&mut small, b, 10, 3), Err(PeerVmaError::OverLimit { limit: 5 }));
    assert_eq!(try_map(&mut small, b, 1, 4), Ok(4), "two of them are there");
    assert_eq!(small.touch(a, 30), CpuFault::SigBus(PeerVmaError::OverLimit { limit: 5 }));

    let (mut shared, object) = exporter(100, 50, limit(None, Some(4)));
    let of = |process| VmaPages { process: ProcessId(process), ..lazy(object, 50) };
    let [a, b, c] = [1, 1, 2].map(|process| shared.mmap(of(process)).unwrap());
    mapped(&mut shared, a, NIC, 0, 3);
    assert_eq!(try_map(&mut shared, b, 10, 2), Err(PeerVmaError::OverLimit { limit: 4 }));
    assert_eq!(try_map(&mut shared, c, 10, 4), Ok(4), "another process");
    assert_eq!(try_map(&mut shared, b, 2, 2), Ok(2));
}

/// Point 6, in both ways of filling: a small BAR serves a large memory, page by page and in any order.
#[test]
fn eager_mappings_need_room_at_once_and_lazy_ones_when_touched() {
    let (mut exporter, object) = exporter(4, 1 << 30, Policy::default());
    let eager = VmaPages { filling: Filling::Eager, ..lazy(object, 5) };
    assert_eq!(exporter.mmap(eager), Err(PeerVmaError::Full { needed: 5, left: 4 }));
    assert_eq!(exporter.claims(), 0);
    let whole = exporter.mmap(lazy(object, 1 << 30)).unwrap();
    for (page, slot) in [(1 << 29, 0), (7, 1), (1 << 28, 2)] {
        assert_eq!(exporter.touch(whole, page), CpuFault::Mapped(CpuAddr(BAR + 4096 * slot)));
        let at = exporter.aperture().translate(CpuAddr(BAR + 4096 * slot + 5));
        assert_eq!(at, Some((DevicePage(1000 + page), 5)));
    }
    assert_eq!(exporter.touch(whole, 7), CpuFault::Mapped(CpuAddr(BAR + 4096)), "again");
    let last = exporter.mmap(VmaPages { pages: 1, ..eager }).unwrap();
    assert_eq!(exporter.touch(last, 0), CpuFault::Mapped(CpuAddr(BAR + 3 * 4096)));
    let full = PeerVmaError::Full { needed: 1, left: 0 };
    assert_eq!(exporter.touch(whole, 9), CpuFault::SigBus(full));
    // A page of which another has the slot costs nothing.
    assert_eq!(exporter.touch(whole, 0), CpuFault::Mapped(CpuAddr(BAR + 3 * 4096)));
    exporter.invalidate(object, 0, 1).unwrap();
    assert_eq!(exporter.touch(last, 0), CpuFault::SigBus(PeerVmaError::NoFault), "nothing fills it again");
    assert_eq!(exporter.touch(whole, 9), CpuFault::Mapped(CpuAddr(BAR + 3 * 4096)));
    assert_eq!(exporter.close(whole), Ok(vec![]));
    assert_eq!(
        (exporter.aperture().used(), exporter.touch(whole, 9)),
        (0, CpuFault::SigBus(PeerVmaError::NoVma))
    );
}

#[test]
fn importers_can_ask_before() {
    let (mut exporter, object) = exporter(6, 50, Policy { object_limit: Some(10), ..Policy::default() });
    let vma = exporter.mmap(lazy(object, 50)).unwrap();
    mapped(&mut exporter, vma, NIC, 0, 4);
    let check = |first, pages, expect| {
        assert_eq!(exporter.enough(vma, GPU, first, pages, SAME_SWITCH), expect, "{first} {pages}");
    };
    check(2, 4, Ok(Enough { needed: 2, left: 2 }));
    check(2, 5, Ok(Enough { needed: 3, left: 2 }));
    check(10, 7, Err(PeerVmaError::OverLimit { limit: 10 }));
    check(48, 3, Err(PeerVmaError::Outside));
    check(u64::MAX, 2, Err(PeerVmaError::Outside));
    assert_eq!(exporter.enough(vma, GPU, 0, 1, OTHER_ROOT), Err(PeerVmaError::NoPath));
    assert_eq!(exporter.claims(), 4);
}

/// Private pages: as many as fit, the rest goes to main memory.
#[test]
fn private_pages_are_mapped_as_far_as_possible() {
    let (mut exporter, object) = exporter(4, 50, Policy::default());
    let pages = |addresses: Vec<DmaAddr>, exporter: &Exporter| -> Vec<u64> {
        addresses.into_iter().filter_map(|address| behind(exporter, address)).collect()
    };
    let some = exporter.map_private(object, GPU, 20, 6, SAME_SWITCH);
    assert_eq!(pages(some, &exporter), [1020, 1021, 1022, 1023]);
    assert_eq!(exporter.map_private(object, GPU, 30, 1, SAME_SWITCH), []);
    exporter.unmap_private(object, GPU, 21, 2).unwrap();
    let some = exporter.map_private(object, NIC, 30, 6, SAME_SWITCH);
    assert_eq!(pages(some, &exporter), [1030, 1031]);
    for (reach, first, pages) in [(OTHER_ROOT, 0, 1), (SAME_SWITCH, 49, 2), (SAME_SWITCH, u64::MAX, 2)] {
        assert_eq!(exporter.map_private(object, GPU, first, pages, reach), []);
    }
}

#[test]
fn refusals_have_names() {
    let (mut exporter, object) = exporter(4, 10, Policy::default());
    let vma = exporter.mmap(VmaPages { writable: false, ..lazy(object, 10) }).unwrap();
    let write = exporter.p2p_map(vma, NIC, 0, 1, true, SAME_SWITCH);
    assert_eq!(write, Err(PeerVmaError::ReadOnly));
    assert_eq!(try_map(&mut exporter, vma, 0, 1), Ok(1));
    assert_eq!(try_map(&mut exporter, vma, 9, 2), Err(PeerVmaError::Outside));
    assert_eq!(try_map(&mut exporter, vma, 0, 0), Err(PeerVmaError::Outside));
    assert_eq!(try_map(&mut exporter, VmaId(99), 0, 1), Err(PeerVmaError::NoVma));
    for request in [VmaPages { first: 1, ..lazy(object, 10) }, lazy(object, 0), lazy(ObjectId(99), 1)] {
        assert_eq!(exporter.mmap(request), Err(PeerVmaError::Outside));
    }
    for (first, pages) in [(5, 1), (0, 2), (0, 11), (u64::MAX, 1)] {
        assert_eq!(exporter.p2p_unmap(vma, NIC, first, pages), Err(PeerVmaBug::NotMapped));
    }
    assert_eq!(exporter.p2p_unmap(vma, GPU, 0, 1), Err(PeerVmaBug::NotMapped), "another importer");
    assert_eq!(exporter.touch(vma, 10), CpuFault::SigBus(PeerVmaError::Outside));
    assert_eq!(exporter.move_object(object, DevicePage(u64::MAX)), Err(PeerVmaError::Outside));
    assert!(!exporter.remove_object(object));
    exporter.close(vma).unwrap();
    assert_eq!(exporter.close(vma), Err(PeerVmaError::NoVma));
    exporter.p2p_unmap(vma, NIC, 0, 1).unwrap();
    assert!(exporter.remove_object(object) && !exporter.remove_object(object));
    let errnos = [PeerVmaError::ReadOnly, PeerVmaError::NoPath, PeerVmaError::Wait].map(PeerVmaError::errno);
    assert_eq!(errnos, [Some("EPERM"), Some("EREMOTEIO"), None]);
}

/// A process unmaps the middle: promises end there and nowhere else, importers with addresses there are named, and what is left
/// are two mappings.
#[test]
fn a_part_can_be_unmapped() {
    let (mut exporter, object) = exporter(8, 8, Policy::default());
    let vma = exporter.mmap(VmaPages { first: 1, ..lazy(object, 7) }).unwrap();
    mapped(&mut exporter, vma, NIC, 0, 5);
    exporter.p2p_unmap(vma, NIC, 3, 1).unwrap();
    assert_eq!(exporter.touch(vma, 6), CpuFault::Mapped(CpuAddr(BAR + 3 * 4096)));
    assert_eq!((exporter.claims(), exporter.aperture().used()), (6, 5));
    let stale = [Stale { vma: Some(vma), importer: NIC, first: 3, pages: 1 }];
    assert_eq!(exporter.munmap(vma, 2, 2), Ok(stale.to_vec()));
    assert_eq!((exporter.claims(), exporter.aperture().used()), (5, 5), "no promise is left for page 3");
    for (first, pages) in [(2, 1), (3, 1), (1, 3), (0, 7)] {
        assert_eq!(try_map(&mut exporter, vma, first, pages), Err(PeerVmaError::Outside), "{first} {pages}");
        assert_eq!(exporter.touch(vma, 2), CpuFault::SigBus(PeerVmaError::Outside));
    }
    exporter.p2p_unmap(vma, NIC, 2, 1).unwrap();
    assert_eq!((exporter.claims(), exporter.aperture().used()), (4, 4));
    assert_eq!(try_map(&mut exporter, vma, 0, 2), Ok(2));
    assert_eq!(try_map(&mut exporter, vma, 4, 3), Ok(3));
    for (first, pages) in [(7, 1), (0, 0), (0, 8), (u64::MAX, 2)] {
        assert_eq!(exporter.munmap(vma, first, pages), Err(PeerVmaError::Outside), "{first} {pages}");
    }
    assert_eq!(exporter.munmap(vma, 2, 1), Ok(vec![]), "it is gone already");
    let left = |first, pages| Stale { vma: Some(vma), importer: NIC, first, pages };
    assert_eq!(exporter.munmap(vma, 0, 7), Ok(vec![left(1, 2), left(5, 3)]));
    assert_eq!(exporter.munmap(vma, 0, 1), Err(PeerVmaError::NoVma));
    exporter.p2p_unmap(vma, NIC, 0, 2).unwrap();
    exporter.p2p_unmap(vma, NIC, 4, 3).unwrap();
    assert_eq!(exporter.p2p_unmap(vma, NIC, 4, 1), Err(PeerVmaBug::NotMapped), "the VMA is gone");
    assert!(exporter.remove_object(object));
}

/// A child sees what its parent sees, in the same slots, even where there is no room left; importers of the parent's address
/// space have nothing in the child's.
#[test]
fn a_child_inherits_the_mapping() {
    let policy = Policy { process_limit: Some(3), ..Policy::default() };
    let (mut exporter, object) = exporter(4, 8, policy);
    let eager = exporter.mmap(VmaPages { filling: Filling::Eager, ..lazy(object, 2) }).unwrap();
    let parent = exporter.mmap(VmaPages { first: 2, ..lazy(object, 6) }).unwrap();
    mapped(&mut exporter, parent, NIC, 0, 1);
    assert_eq!(exporter.munmap(parent, 5, 1), Ok(vec![]));
    let before = (exporter.claims(), exporter.aperture().used());
    let children = [eager, parent].map(|vma| exporter.fork(vma, ProcessId(2)).unwrap());
    assert_eq!((exporter.claims(), exporter.aperture().used()), before);
    for page in 0..2 {
        let slot = CpuAddr(BAR + 4096 * page);
        assert_eq!(exporter.touch(children[0], page), CpuFault::Mapped(slot));
    }
    assert_eq!(exporter.vma(children[1]).map(|vma| vma.process), Some(ProcessId(2)));
    assert_eq!(exporter.touch(children[1], 5), CpuFault::SigBus(PeerVmaError::Outside));
    assert_eq!(exporter.p2p_unmap(children[1], NIC, 0, 1), Err(PeerVmaBug::NotMapped));
    // The child counts as a process of its own, with what it inherited.
    assert_eq!(try_map(&mut exporter, children[1], 0, 2), Err(PeerVmaError::OverLimit { limit: 3 }));
    assert_eq!(try_map(&mut exporter, children[1], 0, 1), Ok(1));
    // What the parent lets go of stays as long as the child has it.
    assert_eq!(exporter.close(eager), Ok(vec![]));
    assert_eq!(exporter.touch(children[0], 1), CpuFault::Mapped(CpuAddr(BAR + 4096)));
    assert_eq!(exporter.close(children[0]), Ok(vec![]));
    assert_eq!(exporter.aperture().used(), 1);
    exporter.close(parent).unwrap();
    assert_eq!(exporter.fork(parent, ProcessId(3)), Err(PeerVmaError::NoVma));
}
