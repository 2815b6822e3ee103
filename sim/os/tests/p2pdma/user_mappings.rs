//! Peer memory mapped by user space: page by page, as it is freed.

use peerbus_os::Profile;
use peerbus_os::p2pdma::{MapError, MapRequest, MappingId, Unbind};
use peerbus_os::pool::AllocError;
use peerbus_units::{Bytes, CpuAddr, FunctionId};

use super::worked_memory::{Example, example};

const PAGE: u64 = 4096;

fn request(pages: u64) -> MapRequest {
    MapRequest { may_share: true, page_offset: 0, pages }
}

/// `a` with 2 MiB.
fn registered(profile: Profile) -> (Example, FunctionId) {
    let mut example = example(profile);
    let id = example.id(example.a);
    example.register(example.a, 4, 0, 0).unwrap();
    (example, id)
}

fn map(example: &mut Example, id: FunctionId, pages: u64) -> Result<MappingId, MapError> {
    example.p2pdma.map(id, request(pages), &mut |_| Ok(()))
}

fn free_pages(example: &Example, id: FunctionId) -> u64 {
    example.p2pdma.available(id).0 / PAGE
}

#[test]
fn kernels_without_the_file_map_nothing() {
    let (mut example, id) = registered(Profile::Linux_6_1);
    assert_eq!(map(&mut example, id, 1), Err(MapError::NoFile));
}

#[test]
fn requests_are_checked_in_order() {
    for profile in [Profile::Linux_6_12, Profile::Linux_7_3] {
        let (mut example, id) = registered(profile);
        let other = example.id(example.b);
        let mut check = |id, may_share, page_offset, pages, expect: MapError, errno| {
            let request = MapRequest { may_share, page_offset, pages };
            let found = example.p2pdma.map(id, request, &mut |_| Ok(()));
            assert_eq!((found, expect.errno()), (Err(expect), errno));
        };
        check(other, false, 1, 1, MapError::Private, "EINVAL");
        check(other, true, 1, 1, MapError::Offset, "EINVAL");
        check(other, true, 0, 1, MapError::NoState, "ENODEV");
        check(id, true, 0, 513, MapError::NoMemory(AllocError::Exhausted), "ENOMEM");
        check(id, true, 0, u64::MAX, MapError::NoMemory(AllocError::Exhausted), "ENOMEM");
        check(id, true, 0, 0, MapError::NoMemory(AllocError::ZeroSize), "ENOMEM");
        // Initialised without a registration, it has state but no file.
        if profile == Profile::Linux_7_3 {
            example.p2pdma.init(&example.machine.tree, example.c).unwrap();
            let without = example.id(example.c);
            assert_eq!(map(&mut example, without, 1), Err(MapError::NoFile));
        }
    }
}

/// Property A15.
#[test]
fn all_pages_are_there_at_once_and_return_one_by_one() {
    for (profile, resting) in [(Profile::Linux_6_12, 1), (Profile::Linux_7_3, 0)] {
        let (mut example, id) = registered(profile);
        let mut inserted = Vec::new();
        let mapping = example.p2pdma.map(id, request(4), &mut |page| {
            inserted.push(page);
            Ok(())
        });
        let mapping = mapping.unwrap();
        let first = inserted[0].0;
        assert_eq!(inserted, [0, 1, 2, 3].map(|page| CpuAddr(first + page * PAGE)));
        assert_eq!(example.p2pdma.mapped_pages(mapping).len(), 4);
        assert_eq!((free_pages(&example, id), example.p2pdma.page_references(inserted[1])), (508, 1));
        assert_eq!(example.p2pdma.page_maps().iter().next().unwrap().references, 4);
        // The middle goes first, and is free at once.
        assert_eq!(example.p2pdma.unmap(mapping, 1, 1), Ok(()));
        assert_eq!((free_pages(&example, id), example.p2pdma.page_references(inserted[1])), (509, resting));
        assert_eq!(example.p2pdma.unmap(mapping, 1, 1), Ok(()));
        assert_eq!(example.p2pdma.alloc(id, Bytes(PAGE)), Ok(inserted[1]));
        assert_eq!(example.p2pdma.unmap(mapping, 0, usize::MAX), Ok(()));
        assert_eq!(free_pages(&example, id), 511);
        assert_eq!(example.p2pdma.mapped_pages(mapping), []);
        assert_eq!(example.p2pdma.page_maps().iter().next().unwrap().references, 1);
    }
}

/// Property A14.
#[test]
fn a_mapping_needs_one_run() {
    for profile in [Profile::Linux_6_12, Profile::Linux_7_3] {
        let (mut example, id) = registered(profile);
        let mapping = map(&mut example, id, 512).unwrap();
        assert_eq!(example.p2pdma.unmap(mapping, 0, 200), Ok(()));
        assert_eq!(example.p2pdma.unmap(mapping, 201, 511), Ok(()));
        assert_eq!(free_pages(&example, id), 511);
        assert_eq!(map(&mut example, id, 400).unwrap_err().errno(), "ENOMEM");
        assert!(map(&mut example, id, 311).is_ok());
    }
}

#[test]
fn a_page_lives_as_long_as_its_last_user() {
    let (mut example, id) = registered(Profile::Linux_7_3);
    let mapping = map(&mut example, id, 2).unwrap();
    let page = example.p2pdma.mapped_pages(mapping)[0].unwrap();
    let child = example.p2pdma.fork(mapping).unwrap();
    assert!(example.p2pdma.get_page(page));
    assert_eq!(example.p2pdma.page_references(page), 3);
    assert_eq!(example.p2pdma.unmap(mapping, 0, 2), Ok(()));
    assert_eq!((free_pages(&example, id), example.p2pdma.page_references(page)), (510, 2));
    assert_eq!(example.p2pdma.unmap(child, 0, 2), Ok(()));
    assert_eq!((free_pages(&example, id), example.p2pdma.page_references(page)), (511, 1));
    assert_eq!(example.p2pdma.put_page(page), Ok(()));
    assert_eq!(free_pages(&example, id), 512);
    assert!(!example.p2pdma.get_page(page) && example.p2pdma.put_page(page).is_err());
    assert_eq!(example.p2pdma.fork(mapping), None);
}

#[test]
fn a_page_that_cannot_be_inserted_undoes_all() {
    for failing in [0, 1, 3] {
        let (mut example, id) = registered(Profile::Linux_7_3);
        let mut count = 0;
        let found = example.p2pdma.map(id, request(4), &mut |_| {
            count += 1;
            if count > failing { Err("ENOMEM") } else { Ok(()) }
        });
        assert_eq!(found, Err(MapError::Insert("ENOMEM")));
        assert_eq!((count, free_pages(&example, id)), (failing + 1, 512));
        assert_eq!(example.p2pdma.page_maps().iter().next().unwrap().references, 0);
        assert_eq!(example.p2pdma.unbind(id), Ok(Unbind::Done));
    }
}

#[test]
fn unbinding_takes_mappings_away_and_waits_for_pins() {
    for profile in [Profile::Linux_6_12, Profile::Linux_7_3] {
        let (mut example, id) = registered(profile);
        let mapping = map(&mut example, id, 8).unwrap();
        let pinned = example.p2pdma.mapped_pages(mapping)[3].unwrap();
        assert!(example.p2pdma.get_page(pinned));
        let range = example.p2pdma.page_maps().iter().next().unwrap().range;
        assert_eq!(example.p2pdma.unbind(id), Ok(Unbind::Wait { range, references: 1 }));
        assert_eq!(free_pages(&example, id), 511);
        assert_eq!(map(&mut example, id, 1), Err(MapError::NoFile));
        assert_eq!(example.p2pdma.put_page(pinned), Ok(()));
        assert_eq!(example.p2pdma.unbind(id), Ok(Unbind::Done));
        assert_eq!(map(&mut example, id, 1), Err(MapError::NoState));
    }
}
