//! Devices that translate addresses themselves (Address Translation Services), and what ports make of such requests.
//!
//! Two devices hang below one switch whose ports redirect requests upwards. Device 0 has a cache of translations; `IOVA`
//! leads to the BAR of device 1. An access of the IOMMU to a page table takes 100 ns; of 4 levels a page of 1 GiB needs 2.
//!
//! On the way up a translation request is on two links (24 bytes, 763 ps each; the switch sends it on while it arrives),
//! behind the first of which it passes the switch (115 ns), behind the second the root port (100 ns). Its completion of
//! 8 bytes (28, 891 ps) passes the switch on the way down, and is at the device when all of it has arrived.

use peerbus_fabric::{
    Attributes, Cause, Descriptor, Direction, Fabric, LatencyOf, MissKind, PacketError, Severity,
};
use peerbus_machine::part::{AtcPart, IommuPart};
use peerbus_machine::registers::{DomainNumber, IommuTables};
use peerbus_machine::{Machine, Registers};
use peerbus_units::{Bytes, CpuAddr, DmaAddr, Iova, Picos, Range};

use super::{causes, fabric};
use crate::machines::{BAR, Shape, WINDOW, bar, machine};
use Direction::{Read, Write};

pub(super) const NS: u64 = 1000;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Where the device's addresses start.
pub(super) const IOVA: u64 = 512 << 30;
const DOMAIN: DomainNumber = DomainNumber(7);
/// ACS control words of downstream ports: source validation, redirection of requests and completions, upstream forwarding,
/// and with them translation blocking, or direct translated requests.
const REDIRECT: u16 = 0x1d;
const BLOCKING: u16 = 0x1f;
pub(super) const DIRECT: u16 = 0x5d;
/// Offsets in the ATS capability, and the bit that enables.
const CONTROL: u16 = 6;
const ENABLE: u32 = 1 << 15;

fn map(tables: &mut IommuTables, iova: u64, bytes: u64, to: u64) {
    tables.map(DOMAIN, Range::sized(Iova(iova), Bytes(bytes)).unwrap(), CpuAddr(to));
}

/// Device 0 is translated: the BAR of device 1 is at `IOVA`. With `ats` it may translate itself.
pub(super) fn translated(acs_control: u16, ats: bool, requests: u16) -> (Machine, Registers) {
    let (mut machine, _) = machine(&Shape { acs_control, ..Shape::default() });
    machine.devices[0].part.atc = Some(AtcPart { entries: 16, requests, page_requests: 0 });
    let access_latency = Picos::nanos(100);
    machine.cpus[0].part.iommu =
        Some(IommuPart { entries: 64, ways: 8, walk_entries: 8, walkers: 2, access_latency });
    let mut registers = Registers::power_on(&machine);
    let function = machine.devices[0].functions[0];
    let id = registers.id(function).unwrap();
    // The capability is the only extended one of the device.
    assert_eq!(registers.read(id, 0x100, 2), 0x000f);
    if ats {
        registers.write(id, 0x100 + CONTROL, 2, ENABLE);
    }
    assert_eq!(registers.ats_enabled(function), ats);
    registers.iommu_mut().attach(id.domain, id.requester(), Some(DOMAIN));
    map(registers.iommu_mut(), IOVA, BAR, WINDOW + BAR);
    (machine, registers)
}

/// Runs one transfer of device 0 at `addr`.
pub(super) fn run(fabric: &mut Fabric, direction: Direction, addr: u64, bytes: u64) {
    let flow = fabric.add_flow(LatencyOf::Request);
    let engine = if direction == Write { fabric.spec.writer(0) } else { fabric.spec.reader(0) };
    fabric.submit(Descriptor::new(engine, DmaAddr(addr), Bytes(bytes), flow, 0));
    fabric.watch();
    let mut told = 0;
    while fabric.advance().is_some() {
        told += 1;
    }
    assert_eq!(told, 1, "nobody is told of translations");
    fabric.finish();
}

/// Nodes that the last request of flow 0 came to.
fn way(fabric: &Fabric) -> Vec<String> {
    let links = fabric.route_links(fabric.ledger.flows[0].route.unwrap());
    let name = |link: &peerbus_fabric::LinkId| {
        let to = fabric.spec.links[link.0 as usize].to;
        fabric.spec.nodes[to.0 as usize].name.clone()
    };
    links.iter().map(name).map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()).collect()
}

const UP_AND_DOWN: [&str; 6] = ["sw0", "host0", "cpu0", "host0", "sw0", "gpu1"];

#[test]
fn a_port_sends_translated_requests_straight_on_only_if_it_may() {
    // (ACS word, ATS) -> the way of a write: redirection alone sends even translated requests up.
    for (acs, ats, expect) in [
        (REDIRECT, false, &UP_AND_DOWN[..]),
        (REDIRECT, true, &UP_AND_DOWN),
        (DIRECT, false, &UP_AND_DOWN),
        (DIRECT, true, &["sw0", "gpu1"]),
    ] {
        let (machine, registers) = translated(acs, ats, 4);
        for direction in [Write, Read] {
            let mut fabric = fabric(&machine, &registers);
            run(&mut fabric, direction, IOVA, MIB);
            assert_eq!(way(&fabric), expect, "{acs:#x} {ats} {direction:?}");
            assert_eq!(fabric.ledger.flows[0].delivered, MIB);
        }
    }
}

#[test]
fn the_first_request_waits_for_the_answer_and_the_next_do_not() {
    let (machine, registers) = translated(DIRECT, true, 4);
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, Write, IOVA, 512);
    // Up 115 + 100 ns, with 763 ps on the last link, where it has to arrive whole; two accesses of the IOMMU; down 115 ns
    // and 891 ps.
    let translation = 115 * NS + 100 * NS + 200 * NS + 115 * NS + 763 + 891;
    let found = causes(&fabric, 0);
    let waited = found.iter().find(|(cause, _)| *cause == Cause::Translation).map_or(0, |(_, time)| *time);
    assert!(waited.abs_diff(translation) <= 4, "{waited} instead of {translation}");
    let counts = fabric.ledger.atcs[0];
    // A page of 1 GiB: both writes use one translation, which the engine looks at once.
    assert_eq!((counts.requests, counts.hits, counts.denied), (1, 1, 0));
    assert_eq!(
        (fabric.ledger.iommus[3].misses, fabric.ledger.iommus[3].accesses),
        (1, 2),
        "host0 was asked once"
    );
}

#[test]
fn pages_ahead_are_asked_for_while_others_are_used() {
    // Small pages, 512 of them in 2 MiB: 130 ns per page at full rate, and some 430 ns for each question.
    let time = |requests| {
        let (machine, mut registers) = translated(DIRECT, true, requests);
        registers.iommu_mut().use_small_pages();
        let mut fabric = fabric(&machine, &registers);
        run(&mut fabric, Write, IOVA, 2 * MIB);
        assert_eq!(fabric.ledger.atcs[0].requests, 512);
        fabric.ledger.flows[0].last
    };
    let [one, four, many] = [1, 4, 16].map(time);
    assert!(one > 3 * four && many <= four, "{one} {four} {many}");
}

#[test]
fn translation_blocking_lets_neither_translated_requests_nor_questions_pass() {
    let (machine, registers) = translated(BLOCKING, true, 4);
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, Write, IOVA, MIB);
    // The question is refused, and the device goes on with requests that are not translated.
    assert_eq!(way(&fabric), UP_AND_DOWN);
    assert_eq!((fabric.ledger.flows[0].delivered, fabric.ledger.atcs[0].denied > 0), (MIB, true));
    let miss = fabric.misses().iter().find(|miss| miss.kind == MissKind::AcsViolation).unwrap();
    assert!(miss.text.contains("Translation Blocking"), "{}", miss.text);
    let port = machine.switches[0].downstream[0];
    let counted = fabric.ledger.errors.get(&(Some(port), Severity::NonFatal, PacketError::AcsViolation));
    assert_eq!(counted, Some(&fabric.ledger.atcs[0].denied));
}

#[test]
fn a_port_blocks_a_request_that_calls_itself_translated() {
    let addr = bar(&Shape::default(), 1);
    for (acs, delivered) in [(0x02, 0), (0x00, 256)] {
        let (machine, registers) = machine(&Shape { acs_control: acs, ..Shape::default() });
        let mut fabric = fabric(&machine, &registers);
        let flow = fabric.add_flow(LatencyOf::Request);
        let descriptor = Descriptor::new(fabric.spec.writer(0), DmaAddr(addr), Bytes(256), flow, 0);
        fabric.submit(Descriptor { attributes: Attributes::TRANSLATED, ..descriptor });
        while fabric.advance().is_some() {}
        fabric.finish();
        assert_eq!(fabric.ledger.flows[0].delivered, delivered, "{acs:#x}");
    }
}

#[test]
fn what_has_no_translation_is_refused_by_the_iommu() {
    let (machine, registers) = translated(DIRECT, true, 4);
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, Write, IOVA - 4096, 8192);
    let flow = &fabric.ledger.flows[0];
    assert_eq!((flow.delivered, flow.refused), (4096, 4096));
    assert_eq!(fabric.misses()[0].kind, MissKind::IommuFault);
}

#[test]
fn writing_tables_makes_devices_forget() {
    let (machine, registers) = translated(DIRECT, true, 4);
    let mut fabric = fabric(&machine, &registers);
    let flow = fabric.add_flow(LatencyOf::Request);
    let write = |fabric: &mut Fabric| {
        let engine = fabric.spec.writer(0);
        fabric.submit(Descriptor::new(engine, DmaAddr(IOVA), Bytes(256), flow, 0));
        while fabric.advance().is_some() {}
    };
    write(&mut fabric);
    write(&mut fabric);
    assert_eq!(fabric.ledger.atcs[0].requests, 1);
    // The same address leads to host memory now.
    map(fabric.iommu_mut(), IOVA, GIB, 8 << 30);
    write(&mut fabric);
    fabric.finish();
    assert_eq!((fabric.ledger.atcs[0].requests, fabric.ledger.atcs[0].invalidations), (2, 1));
    assert_eq!(way(&fabric), ["sw0", "host0", "cpu0"]);
}
