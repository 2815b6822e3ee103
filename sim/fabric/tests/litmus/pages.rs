//! Pages that are not there yet (Page Request Interface).
//!
//! The machine of `ats`: device 0 asks the IOMMU for translations, 432 ns from the question to the answer of a page of 4 KiB
//! whose tables are known, of which 100 ns are the IOMMU's access. Software takes 10 us for a page.

use peerbus_fabric::{Cause, Fabric};
use peerbus_machine::part::AtcPart;
use peerbus_units::{Bytes, Iova, Picos, Range};

use super::ats::{DIRECT, IOVA, NS, run, translated};
use super::{causes, fabric};
use peerbus_fabric::Direction::{Read, Write};

const PAGE: u64 = 4096;

/// A fabric whose device 0 may ask for `page_requests` pages at a time; `hundredths` of 64 pages at `IOVA` are absent.
fn shared(ats: bool, page_requests: u16, hundredths: u8) -> Fabric {
    let (mut machine, registers) = translated(DIRECT, ats, 32);
    machine.devices[0].part.atc = Some(AtcPart { entries: 128, requests: 32, page_requests });
    let mut fabric = fabric(&machine, &registers);
    let range = Range::sized(Iova(IOVA), Bytes(64 * PAGE)).unwrap();
    let absent = fabric.page_out(machine.devices[0].functions[0], range, hundredths, Picos::nanos(10_000));
    assert_eq!(absent, 64 * u64::from(hundredths) / 100);
    fabric
}

#[test]
fn a_page_that_is_absent_is_asked_for_and_then_its_translation() {
    // Three exchanges, one after the other: translation request without an answer, page request, translation request. A walk
    // reads four levels the first time and one the second, 100 ns each; what else an exchange takes is 331,654 ps.
    let mut fabric = shared(true, 32, 100);
    run(&mut fabric, Write, IOVA, 256);
    let exchange = 115 * NS + 100 * NS + 115 * NS + 763 + 891;
    let expect = 3 * exchange + 400 * NS + 100 * NS + 10_000 * NS;
    let waited =
        causes(&fabric, 0).iter().find(|(cause, _)| *cause == Cause::Translation).map(|(_, time)| *time);
    let waited = waited.unwrap_or(0);
    assert!(waited.abs_diff(expect) <= 12, "{waited} instead of {expect}");
    let counts = fabric.ledger.atcs[0];
    assert_eq!((counts.requests, counts.page_requests, counts.denied), (2, 1, 0));
    assert_eq!(fabric.ledger.iommus[3].page_requests, 1, "host0 told software of it");
    assert_eq!((fabric.ledger.flows[0].delivered, fabric.ledger.flows[0].refused), (256, 0));
}

#[test]
fn each_absent_page_is_asked_for_once() {
    for direction in [Write, Read] {
        let mut fabric = shared(true, 32, 25);
        run(&mut fabric, direction, IOVA, 64 * PAGE);
        assert_eq!(fabric.ledger.atcs[0].page_requests, 16, "{direction:?}");
        assert_eq!(fabric.ledger.flows[0].delivered, 64 * PAGE);
    }
}

#[test]
fn a_device_asks_for_as_many_pages_at_a_time_as_it_may() {
    // One at a time: 64 times software's 10 us. Of 32 at a time: all of them after a few.
    let time = |page_requests| {
        let mut fabric = shared(true, page_requests, 100);
        run(&mut fabric, Write, IOVA, 64 * PAGE);
        fabric.ledger.flows[0].last / NS
    };
    let (one, many) = (time(1), time(32));
    assert!((640_000..720_000).contains(&one), "{one}");
    assert!((20_000..60_000).contains(&many), "{many}");
}

#[test]
fn without_page_requests_an_absent_page_is_refused() {
    for (ats, page_requests) in [(true, 0), (false, 0)] {
        let mut fabric = shared(ats, page_requests, 50);
        run(&mut fabric, Write, IOVA, 64 * PAGE);
        let flow = &fabric.ledger.flows[0];
        assert_eq!((flow.delivered, flow.refused), (32 * PAGE, 32 * PAGE), "{ats}");
    }
}
