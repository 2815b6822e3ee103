//! The NVMe target on a switch with two endpoints and one endpoint beside it, which a CPU of no list keeps apart.

use peerbus_os::Profile;
use peerbus_os::drivers::nvme_target::*;
use peerbus_os::p2pdma::{Client, Enable, MemoryError, Message};
use peerbus_os::pci::FunctionIndex;
use peerbus_os::pool::AllocError;
use peerbus_units::{Bytes, FunctionId};

use crate::p2pdma::worked_memory::{Example, example};

/// `a` and `b` are below the switch, `c` is not; whichever of them provide memory have 64 MiB, published.
fn with_providers(profile: Profile, which: &str) -> Example {
    let mut example = example(profile);
    for name in which.chars() {
        let function = named(&example, name);
        example.registered(&[function]);
        let id = example.id(function);
        example.p2pdma.publish(id, true);
    }
    example
}

fn named(example: &Example, name: char) -> FunctionIndex {
    match name {
        'a' => example.a,
        'b' => example.b,
        _ => example.c,
    }
}

fn block(device: Client) -> Backing {
    Backing::Block { device, takes_peer_pages: true }
}

fn enable(example: &mut Example, attribute: Enable, backing: Backing) -> Result<(), NamespaceError> {
    enable_namespace(&mut example.p2pdma, &example.machine.tree, &example.machine, attribute, backing)
}

fn controller(
    example: &mut Example,
    attribute: Enable,
    transport: Transport,
    drive: FunctionIndex,
) -> Result<FunctionIndex, OrdinaryMemory> {
    let (tree, drive) = (&example.machine.tree, Client::Function(drive));
    let random = &mut || 0;
    controller_memory(&mut example.p2pdma, tree, &example.machine, attribute, (transport, drive), random)
}

fn rdma(adapter: Client) -> Transport {
    Transport::Rdma { adapter, moves_data_itself: true }
}

#[test]
fn a_namespace_is_enabled_where_its_drive_reaches_what_it_asks_for() {
    for profile in Profile::ALL {
        let ids = {
            let example = example(profile);
            [example.a, example.b, example.c].map(|function| example.id(function))
        };
        let [a, b, c] = ids.map(Enable::Provider);
        let gone = FunctionId::new(0, 0x77, 0, 0);
        let (ok, far) = (Ok(()), |at: usize| Err(NamespaceError::OutOfReach(ids[at])));
        for (published, attribute, drive, expect) in [
            ("", Enable::Off, 'a', ok),
            ("", Enable::Automatic, 'a', Err(NamespaceError::NothingInReach)),
            ("a", Enable::Automatic, 'a', ok),
            ("b", Enable::Automatic, 'a', ok),
            ("b", Enable::Automatic, 'c', Err(NamespaceError::NothingInReach)),
            ("bc", Enable::Automatic, 'c', ok),
            ("a", a, 'b', ok),
            ("c", c, 'c', ok),
            ("a", a, 'c', far(0)),
            ("abc", c, 'b', far(2)),
            // What was named is asked about, published (any more) or not.
            ("", b, 'a', ok),
            ("a", Enable::Provider(gone), 'a', Err(NamespaceError::OutOfReach(gone))),
        ] {
            let mut example = with_providers(profile, published);
            let drive = Client::Function(named(&example, drive));
            let found = enable(&mut example, attribute, block(drive));
            assert_eq!(found, expect, "{profile}: {published:?} {attribute:?} {drive:?}");
            let warned = example.p2pdma.take_log().iter().any(|line| matches!(line, Message::Pair { .. }));
            assert!(
                warned == matches!(found, Err(NamespaceError::OutOfReach(id)) if id != gone),
                "{attribute:?}"
            );
            assert!(found.is_ok() || found.is_err_and(|error| error.errno() == "EINVAL"));
        }
    }
}

#[test]
fn a_namespace_that_asks_needs_a_block_device_that_takes_peer_pages() {
    let mut example = with_providers(Profile::Linux_7_3, "a");
    let (near, below) = (Client::Function(example.b), Client::Below(example.b));
    let slow = |device| Backing::Block { device, takes_peer_pages: false };
    let named = Enable::Provider(example.id(example.a));
    for (attribute, backing, expect) in [
        (Enable::Off, Backing::File, Ok(())),
        (Enable::Off, slow(near), Ok(())),
        (Enable::Automatic, Backing::File, Err(NamespaceError::NoBlockDevice)),
        (named, Backing::File, Err(NamespaceError::NoBlockDevice)),
        (Enable::Automatic, slow(near), Err(NamespaceError::NoPeerPages)),
        (named, slow(near), Err(NamespaceError::NoPeerPages)),
        (named, block(near), Ok(())),
        // Distances are those of the function above, and only a device without any fails.
        (named, block(below), Ok(())),
        (Enable::Automatic, block(Client::NotPci), Err(NamespaceError::NothingInReach)),
    ] {
        assert_eq!(enable(&mut example, attribute, backing), expect, "{attribute:?} {backing:?}");
    }
}

#[test]
fn a_controller_gets_what_adapter_and_drive_reach() {
    for profile in Profile::ALL {
        let ids = {
            let example = example(profile);
            [example.a, example.b, example.c].map(|function| example.id(function))
        };
        let (auto, nothing) = (Enable::Automatic, Err(OrdinaryMemory::NothingInReach));
        for (published, attribute, adapter, drive, expect) in [
            ("a", Enable::Off, 'a', 'b', Err(OrdinaryMemory::NotAsked)),
            ("", auto, 'a', 'b', nothing),
            ("a", auto, 'a', 'b', Ok('a')),
            ("b", auto, 'a', 'b', Ok('b')),
            // What the drive reaches and the adapter does not, or the other way round, is left.
            ("a", auto, 'c', 'b', nothing),
            ("c", auto, 'a', 'c', nothing),
            ("ac", auto, 'b', 'a', Ok('a')),
            // A named provider is asked about the adapter alone.
            ("a", Enable::Provider(ids[0]), 'b', 'c', Ok('a')),
            ("a", Enable::Provider(ids[0]), 'c', 'b', Err(OrdinaryMemory::OutOfReach(ids[0]))),
        ] {
            let mut example = with_providers(profile, published);
            let (adapter, drive) = (named(&example, adapter), named(&example, drive));
            let found = controller(&mut example, attribute, rdma(Client::Function(adapter)), drive);
            let expect = expect.map(|name| named(&example, name));
            assert_eq!(found, expect, "{profile}: {published:?} {attribute:?} {adapter:?} {drive:?}");
            // A named provider out of reach is passed over in silence.
            let said = example.p2pdma.take_log();
            assert!(said.is_empty(), "{said:?}");
            assert_eq!(found.is_err_and(OrdinaryMemory::is_logged), expect.err() == nothing.err());
        }
    }
}

/// Equal distances: the number drawn says which.
#[test]
fn equals_are_drawn() {
    let mut example = with_providers(Profile::Linux_7_3, "ab");
    let (tree, machine) = (&example.machine.tree, &example.machine);
    // Each of the two is nearest to itself and 4 steps from the other: sums are equal.
    let pair = (rdma(Client::Function(example.a)), Client::Function(example.b));
    let mut drawn = |number| {
        controller_memory(&mut example.p2pdma, tree, machine, Enable::Automatic, pair, &mut || number)
    };
    assert_eq!([drawn(0), drawn(u32::MAX)], [Ok(example.a), Ok(example.b)]);
}

#[test]
fn only_adapters_that_are_pci_functions_and_move_data_themselves_are_clients() {
    let mut example = with_providers(Profile::Linux_6_12, "a");
    let (adapter, drive) = (Client::Function(example.b), example.a);
    let found = Ok(example.a);
    for (transport, expect) in [
        (rdma(adapter), found),
        (Transport::Rdma { adapter, moves_data_itself: false }, Err(OrdinaryMemory::NoClient)),
        (rdma(Client::Below(example.b)), Err(OrdinaryMemory::NoClient)),
        (rdma(Client::NotPci), Err(OrdinaryMemory::NoClient)),
        (Transport::Other, Err(OrdinaryMemory::NoClient)),
    ] {
        assert_eq!(controller(&mut example, Enable::Automatic, transport, drive), expect, "{transport:?}");
    }
}

#[test]
fn a_request_gets_one_piece_for_each_list_or_ordinary_pages_for_both() {
    let exhausted = MemoryError::Pool(AllocError::Exhausted);
    let mib = Bytes::mib;
    for (queue, data, metadata, expect) in [
        (ADMIN_QUEUE, mib(1), Bytes(0), Err(OrdinaryPages::Administrative)),
        (1, mib(1), Bytes(0), Ok(())),
        (u16::MAX, mib(64), Bytes(0), Ok(())),
        (1, Bytes(1), Bytes(1), Ok(())),
        (1, mib(65), Bytes(0), Err(OrdinaryPages::Data(exhausted))),
        (1, mib(64), Bytes(8), Err(OrdinaryPages::Metadata(exhausted))),
        (1, mib(63), mib(2), Err(OrdinaryPages::Metadata(exhausted))),
        (1, mib(63), mib(1), Ok(())),
        (1, Bytes(0), Bytes(0), Err(OrdinaryPages::Data(MemoryError::Pool(AllocError::ZeroSize)))),
    ] {
        let mut example = with_providers(Profile::Linux_6_12, "a");
        let id = example.id(example.a);
        let found = request_memory(&mut example.p2pdma, id, queue, data, metadata);
        assert_eq!(found.map(|_| ()), expect, "queue {queue}, {data} and {metadata}");
        let Ok(memory) = found else {
            assert_eq!(example.p2pdma.available(id), mib(64), "what fell back holds nothing");
            continue;
        };
        assert_eq!(memory.data.length, data);
        assert_eq!(memory.metadata.map_or(Bytes(0), |entry| entry.length), metadata);
        assert!(example.p2pdma.available(id) < mib(64));
        assert_eq!(free_request_memory(&mut example.p2pdma, id, memory), Ok(()));
        assert_eq!(example.p2pdma.available(id), mib(64));
        assert!(free_request_memory(&mut example.p2pdma, id, memory).is_err(), "given back twice");
    }
    let mut example = example(Profile::Linux_7_3);
    let id = example.id(example.a);
    let found = request_memory(&mut example.p2pdma, id, 1, mib(1), Bytes(0));
    assert_eq!(found, Err(OrdinaryPages::Data(MemoryError::NoState)));
}

/// Free memory in pieces is none for a request: its list has one entry.
#[test]
fn a_request_needs_one_run() {
    let mut example = with_providers(Profile::Linux_7_3, "a");
    let id = example.id(example.a);
    let p2pdma = &mut example.p2pdma;
    let all: Vec<RequestMemory> =
        (0..64).map(|_| request_memory(p2pdma, id, 1, Bytes::mib(1), Bytes(0)).unwrap()).collect();
    for memory in all.iter().step_by(2) {
        free_request_memory(p2pdma, id, *memory).unwrap();
    }
    assert_eq!(p2pdma.available(id), Bytes::mib(32));
    assert!(request_memory(p2pdma, id, 1, Bytes::mib(2), Bytes(0)).is_err());
    assert!(request_memory(p2pdma, id, 1, Bytes::mib(1), Bytes::mib(1)).is_ok());
}
