//! What happens to memory when its driver goes.

use peerbus_os::Profile;
use peerbus_os::p2pdma::{Client, MemoryBug, MemoryError, Unbind};
use peerbus_os::pool::{AllocError, Bug};
use peerbus_units::Bytes;

use super::worked_memory::{Example, example};

/// `a` with two registrations, 4 MiB and, newer, 2 MiB.
fn two(profile: Profile) -> Example {
    let mut example = example(profile);
    let a = example.a;
    example.register(a, 0, 4, 0).unwrap();
    example.register(a, 4, 0, 0).unwrap();
    example
}

#[test]
fn unbinding_waits_for_allocations_newest_registration_first() {
    for profile in Profile::ALL {
        let mut example = two(profile);
        let id = example.id(example.a);
        let newest = example.p2pdma.alloc(id, Bytes(1)).unwrap();
        let again = example.p2pdma.alloc(id, Bytes::mib(2)).unwrap();
        let [old, new] = [0, 1].map(|at| example.p2pdma.page_maps().iter().nth(at).unwrap().range);
        assert_eq!(example.p2pdma.unbind(id), Ok(Unbind::Wait { range: new, references: 1 }));
        // What fits in the dying range is found there, and not given.
        assert_eq!(example.p2pdma.alloc(id, Bytes(1)), Err(MemoryError::Dying));
        assert_eq!(example.p2pdma.available(id), Bytes(Bytes::mib(4).0 - 4096));
        let more = example.p2pdma.alloc(id, Bytes::mib(2)).unwrap();
        assert!(old.contains(more));
        assert_eq!(example.p2pdma.free(id, newest, Bytes(1)), Ok(()));
        assert_eq!(example.p2pdma.unbind(id), Ok(Unbind::Wait { range: old, references: 2 }));
        assert_eq!(example.p2pdma.free(id, again, Bytes::mib(2)), Ok(()));
        assert_eq!(example.p2pdma.free(id, more, Bytes::mib(2)), Ok(()));
        assert_eq!(example.p2pdma.unbind(id), Ok(Unbind::Done));
        assert!(!example.p2pdma.has_state(id));
        assert_eq!(example.p2pdma.unbind(id), Ok(Unbind::Done));
        // The addresses can be registered again, and nothing is remembered.
        example.register(example.a, 0, 4, 0).unwrap();
        assert!(!example.p2pdma.is_published(id));
    }
}

#[test]
fn types_go_with_the_provider_and_stay_for_the_place_of_a_client() {
    let mut example = two(Profile::Linux_7_3);
    let (a, b) = (example.a, example.b);
    let [from, to] = [a, b].map(|function| example.id(function));
    let (tree, machine) = (&example.machine.tree, &example.machine);
    example.p2pdma.distance(tree, machine, a, Client::Function(b), false);
    // The client's driver goes and comes back: the type stays.
    assert_eq!(example.p2pdma.unbind(to), Ok(Unbind::Done));
    assert!(example.p2pdma.cached(from, to).is_some());
    assert_eq!(example.p2pdma.unbind(from), Ok(Unbind::Done));
    assert!(example.p2pdma.cached(from, to).is_none());
}

#[test]
fn memory_nobody_references_is_a_bug_when_the_pool_goes() {
    let mut example = two(Profile::Linux_6_12);
    let id = example.id(example.a);
    let address = example.p2pdma.alloc(id, Bytes(8192)).unwrap();
    assert_eq!(example.p2pdma.free(id, address, Bytes(4096)), Ok(()));
    assert_eq!(example.p2pdma.unbind(id), Err(MemoryBug::Pool(Bug::InUse)));
}

#[test]
fn wrong_frees_are_bugs() {
    let mut example = two(Profile::Linux_6_12);
    let [a, b] = [example.a, example.b].map(|function| example.id(function));
    let address = example.p2pdma.alloc(a, Bytes(8192)).unwrap();
    assert_eq!(example.p2pdma.free(b, address, Bytes(8192)), Err(MemoryBug::NoPool));
    let not_all = MemoryBug::Pool(Bug::NotAllocated { address: address.0 });
    assert_eq!(example.p2pdma.free(a, address, Bytes(8193)), Err(not_all));
    assert_eq!(example.p2pdma.free(a, address, Bytes(4096)), Ok(()));
    let rest = peerbus_units::CpuAddr(address.0 + 4096);
    assert_eq!(example.p2pdma.free(a, rest, Bytes(4096)), Err(MemoryBug::NoReference));
    assert_eq!(example.p2pdma.alloc(a, Bytes(0)), Err(MemoryError::Pool(AllocError::ZeroSize)));
}
