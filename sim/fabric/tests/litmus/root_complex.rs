//! What a root complex does to requests: translation, a cache in front of memory, limits between ports.
//!
//! Device 0 hangs below a switch, below a root port of the only host bridge. The device asks for 64 bytes at a time. Parts
//! of these cases: an IOMMU whose access to a page table takes 100 ns; memory answers 90 ns after a request and the cache
//! 20 ns, both with 50 ns for the way back through the CPU.

use peerbus_fabric::{Cause, Descriptor, Direction, Fabric, LatencyOf, Resource, Upcall, Warmth};
use peerbus_machine::part::{CachePart, IommuPart, PeerLimits};
use peerbus_machine::registers::DomainNumber;
use peerbus_machine::{Machine, Registers};
use peerbus_units::{Bytes, CpuAddr, DmaAddr, Iova, Picos, Range};

use super::fabric;
use crate::machines::{BAR, Shape, WINDOW, bar, machine};
use crate::traffic::run;
use Direction::{Read, Write};

const NS: u64 = 1000;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Where the device's addresses start: a multiple of 1 GiB.
const IOVA: u64 = 3 << 30;
/// Where they lead.
const MEMORY: u64 = 8 << 30;
const DOMAIN: DomainNumber = DomainNumber(7);

fn iommu(walkers: u16) -> IommuPart {
    let access_latency = Picos::nanos(100);
    IommuPart { entries: 64, ways: 8, walk_entries: 8, walkers, access_latency }
}

/// A machine whose device 0 is translated: `bytes` at [`IOVA`] lead to [`MEMORY`].
fn translated(walkers: u16, bytes: u64) -> (Machine, Registers) {
    let (mut machine, mut registers) = machine(&Shape::default());
    machine.cpus[0].part.iommu = Some(iommu(walkers));
    let id = registers.id(machine.devices[0].functions[0]).unwrap();
    let tables = registers.iommu_mut();
    tables.attach(id.domain, id.requester(), Some(DOMAIN));
    tables.map(DOMAIN, Range::sized(Iova(IOVA), Bytes(bytes)).unwrap(), CpuAddr(MEMORY));
    (machine, registers)
}

/// Requests of 64 bytes by device 0, each when the one before it is done: what they were charged for `cause`.
fn one_by_one(fabric: &mut Fabric, cause: Cause, requests: &[(Direction, u64)]) -> Vec<u64> {
    let charged = requests.iter().map(|(direction, addr)| {
        let flow = fabric.add_flow(LatencyOf::Request);
        let engine = if *direction == Write { fabric.spec.writer(0) } else { fabric.spec.reader(0) };
        fabric.submit(Descriptor::new(engine, DmaAddr(*addr), Bytes(64), flow, 0));
        while !matches!(fabric.advance(), Some(Upcall::Done { .. }) | None) {}
        fabric.ledger.flows[usize::from(flow.0)].time[cause as usize]
    });
    charged.collect()
}

fn walks(fabric: &mut Fabric, addresses: &[u64]) -> Vec<u64> {
    let reads: Vec<_> = addresses.iter().map(|addr| (Read, *addr)).collect();
    one_by_one(fabric, Cause::Translation, &reads).into_iter().map(|time| time / (100 * NS)).collect()
}

#[test]
fn a_page_costs_one_access_per_level_that_is_not_known() {
    // Four levels for the first page; its tables are known for its neighbour; 2 MiB further the lowest table is another.
    // (Mapped from an odd page on, so that no larger page fits.)
    let (mut machine, mut registers) = translated(1, 4 * KIB);
    let run = Range::sized(Iova(IOVA), Bytes(8 * MIB)).unwrap();
    registers.iommu_mut().map(DOMAIN, run, CpuAddr(MEMORY + 4 * KIB));
    let addresses = [IOVA, IOVA + 64, IOVA + 4 * KIB, IOVA + 2 * MIB, IOVA + 64];
    assert_eq!(walks(&mut fabric(&machine, &registers), &addresses), [4, 0, 1, 2, 0]);
    // Without an IOMMU in the part, translating takes no time.
    machine.cpus[0].part.iommu = None;
    assert_eq!(walks(&mut fabric(&machine, &registers), &addresses), [0; 5]);
}

#[test]
fn what_is_aligned_and_in_one_piece_has_large_pages() {
    let addresses = [IOVA, IOVA + MIB, IOVA + 2 * MIB, IOVA + 4 * MIB + 8 * KIB];
    let check = |bytes: u64, small: bool, expect: [u64; 4]| {
        let (machine, mut registers) = translated(1, bytes);
        if small {
            registers.iommu_mut().use_small_pages();
        }
        assert_eq!(walks(&mut fabric(&machine, &registers), &addresses), expect, "{bytes} {small}");
    };
    // Two pages of 2 MiB, then three small ones: 3 levels, the same page, a neighbour of it, 4 levels less two known.
    check(4 * MIB + 12 * KIB, false, [3, 0, 1, 2]);
    // One page of 1 GiB: two levels.
    check(GIB, false, [2, 0, 0, 0]);
    // The same in small pages: each is another.
    check(GIB, true, [4, 1, 2, 2]);
}

#[test]
fn requesters_without_a_domain_are_not_looked_up() {
    let (machine, mut registers) = translated(1, GIB);
    let id = registers.id(machine.devices[0].functions[0]).unwrap();
    registers.iommu_mut().attach(id.domain, id.requester(), None);
    let mut fabric = fabric(&machine, &registers);
    assert_eq!(walks(&mut fabric, &[MEMORY, MEMORY + 4 * KIB]), [0, 0]);
    assert!(fabric.ledger.iommus.iter().all(|iommu| iommu.hits + iommu.misses == 0));
}

#[test]
fn writing_tables_makes_the_iommu_forget() {
    let (machine, registers) = translated(1, GIB);
    let mut fabric = fabric(&machine, &registers);
    assert_eq!(walks(&mut fabric, &[IOVA, IOVA]), [2, 0]);
    fabric.iommu_mut().unmap(DOMAIN, Range::sized(Iova(IOVA + MIB), Bytes(4 * KIB)).unwrap());
    // What is left is in small pages where the hole is, for which no table is known.
    assert_eq!(walks(&mut fabric, &[IOVA, IOVA + 4 * KIB]), [4, 1]);
    let root = fabric.spec.root(0);
    let ledger = fabric.ledger.iommus[root.0 as usize];
    assert_eq!((ledger.hits, ledger.misses, ledger.accesses, ledger.invalidations), (1, 3, 7, 1));
}

#[test]
fn requests_behind_a_walk_wait_for_it() {
    // Three reads follow each other on the link: 20 bytes each, since their addresses have 32 bits, take 636.5 ps. The first walks for 400 ns, the second is for the same
    // page, the third for the next one: its walk begins with one walker after the first one, with two at once, and yet
    // it leaves after the others of its kind.
    let check = |walkers, expect: [u64; 3]| {
        let (machine, mut registers) = translated(walkers, 16 * KIB);
        registers.iommu_mut().use_small_pages();
        let mut fabric = fabric(&machine, &registers);
        run(&mut fabric, &[(0, Read, IOVA, 64), (0, Read, IOVA + 64, 64), (0, Read, IOVA + 4 * KIB, 64)]);
        let time = |flow: usize| fabric.ledger.flows[flow].time[Cause::Translation as usize];
        assert_eq!([0, 1, 2].map(time), expect);
    };
    check(1, [400_000, 400_000 - 636, 500_000 - 1_273]);
    check(2, [400_000, 400_000 - 636, 400_000 - 1_273]);
}

#[test]
fn a_translated_write_reaches_a_bar_by_its_cpu_address() {
    let shape = Shape { acs_control: 0x1d, ..Shape::default() };
    let (mut machine, mut registers) = machine(&shape);
    machine.cpus[0].part.iommu = Some(iommu(1));
    let id = registers.id(machine.devices[0].functions[0]).unwrap();
    registers.iommu_mut().attach(id.domain, id.requester(), Some(DOMAIN));
    let range = Range::sized(Iova(IOVA), Bytes(GIB)).unwrap();
    registers.iommu_mut().map(DOMAIN, range, CpuAddr(WINDOW + BAR));
    let mut fabric = fabric(&machine, &registers);
    assert_eq!(one_by_one(&mut fabric, Cause::Translation, &[(Write, IOVA + 100)]), [200 * NS]);
    assert_eq!(fabric.ledger.flows[0].delivered, 64);
    assert_eq!(fabric.ledger.memories[1].bytes, 64);
}

#[test]
fn walkers_limit_random_pages() {
    // Every request is for another page, in tables that are known: one walk of 100 ns each, two at a time.
    let (machine, mut registers) = translated(2, GIB);
    registers.iommu_mut().use_small_pages();
    let mut fabric = fabric(&machine, &registers);
    let flow = fabric.add_flow(LatencyOf::Request);
    let engine = fabric.spec.reader(0);
    for page in 0..4000 {
        let addr = DmaAddr(IOVA + 4 * KIB * (page * 97 % 500));
        fabric.submit(Descriptor::new(engine, addr, Bytes(64), flow, page));
    }
    fabric.watch();
    while fabric.advance().is_some() {}
    fabric.finish();
    let flow = &fabric.ledger.flows[0];
    assert!((200_000 * NS..203_000 * NS).contains(&flow.last), "{}", flow.last);
    assert_eq!(flow.limits()[0], Resource::Walkers(fabric.spec.root(0)));
}

fn cached(write_ways: u16) -> (Machine, Registers) {
    let (mut machine, registers) = machine(&Shape::default());
    let (latency, rate) = (Picos::nanos(20), "400GB/s".parse().unwrap());
    machine.cpus[0].part.cache = Some(CachePart { size: Bytes::mib(1), ways: 16, write_ways, latency, rate });
    (machine, registers)
}

#[test]
fn reads_of_what_the_cache_holds_do_not_wait_for_memory() {
    let (machine, registers) = cached(2);
    let mut fabric = fabric(&machine, &registers);
    let memory = |range| Range::sized(CpuAddr(range), Bytes(64)).unwrap();
    fabric.prepare_memory(0, memory(MEMORY), Warmth::Host);
    fabric.prepare_memory(0, memory(MEMORY + 4 * KIB), Warmth::Device);
    fabric.prepare_memory(0, memory(MEMORY + 8 * KIB), Warmth::Host);
    fabric.prepare_memory(0, memory(MEMORY + 8 * KIB), Warmth::Cold);
    // A read that finds one of its two lines waits for the other.
    let reads = [0, 64, 4 * KIB, 8 * KIB, 32].map(|offset| (Read, MEMORY + offset));
    let times = one_by_one(&mut fabric, Cause::Memory, &reads);
    assert_eq!(times, [70 * NS, 140 * NS, 70 * NS, 140 * NS, 140 * NS]);
    // No read left anything there.
    assert_eq!(one_by_one(&mut fabric, Cause::Memory, &reads), times);
}

#[test]
fn a_write_leaves_its_line_in_the_ways_for_writes() {
    let check = |write_ways, expect: u64| {
        let (machine, registers) = cached(write_ways);
        let mut fabric = fabric(&machine, &registers);
        let times = one_by_one(&mut fabric, Cause::Memory, &[(Write, MEMORY), (Read, MEMORY)]);
        assert_eq!(times[1], expect, "{write_ways}");
    };
    check(2, 70 * NS);
    check(0, 140 * NS);
}

#[test]
fn a_window_larger_than_the_ways_for_writes_is_read_from_memory() {
    // 2 of 16 ways of 1 MiB are 128 KiB.
    let (machine, registers) = cached(2);
    let misses = |window: u64| {
        let mut fabric = fabric(&machine, &registers);
        run(&mut fabric, &[(0, Write, MEMORY, window)]);
        run(&mut fabric, &[(0, Read, MEMORY, window)]);
        let cpu = fabric.spec.cpu(0).0 as usize;
        (fabric.ledger.caches[cpu].read_misses, fabric.ledger.caches[cpu].written_back)
    };
    assert_eq!(misses(128 * KIB), (0, 0));
    // The first half was driven out by the second, one line at a time.
    assert_eq!(misses(256 * KIB), (2048, 2048));
}

/// Two devices below two root ports.
fn between_ports(limits: Option<PeerLimits>) -> Fabric {
    let (mut machine, registers) = machine(&ports());
    machine.cpus[0].part.peer_limits = limits;
    fabric(&machine, &registers)
}

fn ports() -> Shape {
    Shape { switches: 0, ..Shape::default() }
}

#[test]
fn requests_between_ports_go_at_the_pace_of_the_part() {
    // 256 bytes at 8 GB/s are 32 ns: the second packet leaves that much later than the first, though it came 8.9 ns
    // later, which is what 280 bytes take on the link. Reads have a pace of their own, and ask for 256 bytes at a time.
    let limits = |write: &str, read: &str| {
        Some(PeerLimits {
            write_rate: Some(write.parse().unwrap()),
            read_rate: Some(read.parse().unwrap()),
            max_payload: None,
        })
    };
    let check = |direction, limits, expect: u64| {
        let mut fabric = between_ports(limits);
        let mut plain = between_ports(None);
        let addr = bar(&ports(), 1);
        let transfers = [(0, direction, addr, 256), (0, direction, addr + 256, 256)];
        run(&mut fabric, &transfers);
        run(&mut plain, &transfers);
        let time = |fabric: &Fabric| fabric.ledger.flows[1].time[Cause::RootComplex as usize];
        assert_eq!(time(&fabric) - time(&plain), expect, "{direction:?}");
    };
    check(Write, limits("8GB/s", "1GB/s"), 32 * NS - 8_911);
    // Two read requests follow each other on the link: 24 bytes.
    check(Read, limits("1GB/s", "8GB/s"), 32 * NS - 764);
}

#[test]
fn packets_between_ports_are_cut() {
    let limits = PeerLimits { write_rate: None, read_rate: None, max_payload: Some(Bytes(64)) };
    let count = |limits, addr| {
        let mut fabric = between_ports(limits);
        run(&mut fabric, &[(0, Write, addr, 256)]);
        let down = fabric.spec.links.iter().position(|link| link.name.ends_with("gpu1:down")).unwrap();
        assert_eq!(fabric.ledger.flows[0].delivered, 256);
        fabric.ledger.links[down].tlps
    };
    assert_eq!(count(Some(limits), bar(&ports(), 1)), 4);
    assert_eq!(count(None, bar(&ports(), 1)), 1);
}

#[test]
fn the_pace_between_ports_is_named_as_the_limit() {
    let limits =
        PeerLimits { write_rate: Some("8GB/s".parse().unwrap()), read_rate: None, max_payload: None };
    let mut fabric = between_ports(Some(limits));
    run(&mut fabric, &[(0, Write, bar(&ports(), 1), 8 * MIB)]);
    let flow = &fabric.ledger.flows[0];
    assert_eq!(flow.limits(), [Resource::PeerWrites(fabric.spec.cpu(0))]);
    // 8 GB/s and half a microsecond for the way.
    assert!((8 * MIB * 125..8 * MIB * 125 + 1000 * NS).contains(&flow.last), "{}", flow.last);
}
