//! The three cases of a private page that a device asks for, and whose page it is.

use peerbus_os::device_private::{Frame, HmmLayout, OwnerGroups};
use peerbus_os::hmm::{Flags, Range, RangeFault};
use peerbus_os::mm::frame::Place;
use peerbus_os::mm::{DeviceId, Errno};
use peerbus_os::pagemap::Owner;
use peerbus_os::test_device;
use peerbus_units::{Bytes, CpuAddr, Pfn, Range as Interval};

use super::bench::{BASE, Bench};
use super::platform::{kernels, name};

const FIRST: DeviceId = DeviceId(0);
const SECOND: DeviceId = DeviceId(1);
/// Where the second device's BAR is.
const BAR: u64 = 3 << 40;

/// Eight pages with data, in the second device's memory.
fn moved(rules: peerbus_os::Rules) -> Bench {
    let mut bench = Bench::new(rules, false);
    bench.anonymous(8);
    bench.fill(0, 8, 70).unwrap();
    bench.move_to_device(bench.second, 0, 8).unwrap();
    bench
}

fn open_window(bench: &mut Bench, size: Bytes) {
    let window = Interval::sized(CpuAddr(BAR), size).unwrap();
    bench.mm.open_peer_window(SECOND, window).unwrap();
    bench.mm.devices.get_mut(&FIRST).unwrap().takes_peer_pages = true;
}

/// How many of the pages are in the second device's memory.
fn there(bench: &Bench) -> usize {
    let at = |page| bench.mm.page_behind(bench.space, BASE + page).unwrap();
    (0..8).filter(|page| bench.mm.frames.place(at(*page)) == Place::Private(SECOND)).count()
}

/// The first device reads all pages: how many times it faulted, and how many pages are where they were.
fn read(bench: &mut Bench) -> (u64, usize) {
    let answer = bench.read(bench.first, 0, 8).unwrap();
    assert_eq!(answer.data, (70..78).collect::<Vec<u64>>());
    (answer.faults, there(bench))
}

/// The frames that the first device's driver is given.
fn frames(bench: &mut Bench, flags: Flags) -> Vec<Frame> {
    let first = &bench.mm.devices[&FIRST];
    let (owner, peers) = (first.owner(), first.takes_peer_pages);
    let mut range = Range::new(bench.space, BASE, 8, flags, Some(owner));
    range.takes_peer_pages = peers;
    let mut fault = RangeFault::new(range);
    fault.run(&mut bench.mm).unwrap();
    let layout = bench.mm.hmm_words();
    let valid = fault.range.words.iter().filter(|word| word.is_valid());
    valid.map(|word| layout.decode(word.0).frame).collect()
}

#[test]
fn the_owners_page_comes_as_it_is() {
    for rules in kernels() {
        let mut bench = moved(rules);
        bench.mm.set_owner(FIRST, Owner(40));
        bench.mm.set_owner(SECOND, Owner(40));
        let private: Vec<Frame> = frames(&mut bench, Flags::WRITE_FAULT);
        let numbers = private.iter().map(|frame| peerbus_os::device_private::PrivateMemory::number(*frame));
        let behind: Vec<Option<Pfn>> =
            (0..8).map(|page| bench.mm.page_behind(bench.space, BASE + page)).collect();
        assert_eq!(numbers.map(Some).collect::<Vec<_>>(), behind, "{}", name(&rules));
        assert_eq!(read(&mut bench), (1, 8), "{}", name(&rules));
    }
}

/// The series that gives peers pages works on single entries; a huge page of another owner is brought home whole.
#[test]
fn a_foreign_page_is_reached_through_the_window() {
    for rules in kernels() {
        let mut bench = moved(rules);
        open_window(&mut bench, Bytes::mib(256));
        let expect: Vec<Frame> =
            (0..8).map(|page| Frame::Physical(Pfn((BAR >> 12) + 65535 - page))).collect();
        assert_eq!(frames(&mut bench, Flags::FAULT), expect, "{}", name(&rules));
        assert_eq!(read(&mut bench), (1, 8), "no page has moved: {}", name(&rules));
        bench.write(bench.first, 0, 8, 200).unwrap();
        assert_eq!(there(&bench), 8);
        // The CPU takes a page home: the device loses its address, and reads the page where it is now.
        assert_eq!(bench.cpu(bench.space, 3, 4), Ok(vec![203]));
        assert_eq!(test_device::table_page(&bench.mm, bench.first, BASE + 3), None);
        assert_eq!(there(&bench), 7);
        let answer = bench.read(bench.first, 0, 8).unwrap();
        assert_eq!((answer.data, there(&bench)), ((200..208).collect(), 7), "{}", name(&rules));
        // A page that may only be read is given so, whatever was asked for.
        bench.protect(0, 8, true, false).unwrap();
        bench.protect(0, 8, true, true).unwrap();
        assert_eq!(bench.write(bench.first, 0, 1, 0), Err(Errno::Fault));
    }
}

/// Two pages fit into the window; those that were handed out first are beyond it.
#[test]
fn otherwise_a_page_is_moved_to_system_memory() {
    for rules in kernels() {
        let mut bench = moved(rules);
        assert_eq!(frames(&mut bench, Flags::NONE), [], "looking moves nothing");
        assert_eq!(there(&bench), 8);
        assert_eq!(read(&mut bench), (1, 0), "{}", name(&rules));
        // The window shows all but the highest pages of the chunk, which are handed out first.
        let mut bench = moved(rules);
        open_window(&mut bench, Bytes::mib(254));
        assert_eq!(read(&mut bench), (1, 0), "{}", name(&rules));
    }
}

/// A device joins the owner of another, and leaves it again; pages that are out change their owner with it.
#[test]
fn owners_change_at_run_time() {
    for rules in kernels() {
        let mut bench = moved(rules);
        assert_eq!(frames(&mut bench, Flags::NONE).len(), 0);
        bench.mm.set_owner(SECOND, Owner(0));
        assert_eq!(frames(&mut bench, Flags::FAULT).len(), 8);
        assert_eq!(read(&mut bench), (1, 8));
        bench.mm.set_owner(SECOND, Owner(1));
        // What the device has in its table is the driver's affair; asking again moves the pages.
        assert_eq!(frames(&mut bench, Flags::NONE).len(), 0);
        assert_eq!(frames(&mut bench, Flags::FAULT).len(), 8);
        assert_eq!(there(&bench), 0, "{}", name(&rules));
    }
}

/// An interconnect domain: three devices of which the first two are connected. Its members take each other's pages as they
/// are and may move them; the third may not.
#[test]
fn a_domain_shares_an_owner() {
    for rules in kernels() {
        let mut bench = moved(rules);
        let third = DeviceId(2);
        test_device::add(&mut bench.mm, third, test_device::Kind::Private);
        let outside = test_device::open(&mut bench.mm, bench.space, third).unwrap();
        let mut groups = OwnerGroups::default();
        for device in [FIRST, SECOND, third] {
            let owner = groups.join(device, |one: DeviceId, other| one.0 + other.0 == 1);
            bench.mm.set_owner(device, Owner(100 + owner.0));
        }
        assert_eq!(read(&mut bench), (1, 8), "{}", name(&rules));
        // A member moves what is another's; somebody outside finds nothing to move.
        assert_eq!(test_device::to_system(&mut bench.mm, outside, BASE, BASE + 4).unwrap().pages, 0);
        assert_eq!(bench.move_to_system(bench.first, 0, 4).unwrap().pages, 4);
        assert_eq!(there(&bench), 4, "{}", name(&rules));
        let answer = test_device::read(&mut bench.mm, outside, BASE, BASE + 8).unwrap();
        assert_eq!((answer.data, there(&bench)), ((70..78).collect(), 0), "{}", name(&rules));
    }
}

/// Two page structs of 64 bytes for each page that peers can reach: 4 MiB for a chunk, 4 MiB for a window of its size.
#[test]
fn the_middle_case_costs_a_second_page_struct() {
    for rules in kernels() {
        let mut bench = moved(rules);
        assert_eq!(bench.mm.page_structs(SECOND), Bytes::mib(4), "{}", name(&rules));
        open_window(&mut bench, Bytes::mib(256));
        assert_eq!(bench.mm.page_structs(SECOND), Bytes::mib(8), "{}", name(&rules));
        assert_eq!(bench.mm.page_structs(SECOND).0 / 65536, 128, "bytes for each page");
        let window = Interval::sized(CpuAddr(BAR), Bytes::mib(2)).unwrap();
        assert_eq!(bench.mm.open_peer_window(SECOND, window), Err(Errno::Exists));
        assert_eq!(bench.mm.open_peer_window(FIRST, window), Err(Errno::Invalid), "somebody's addresses");
        assert_eq!(bench.mm.open_peer_window(DeviceId(9), window), Err(Errno::NoEntry));
        assert_eq!(bench.mm.page_structs(DeviceId(9)), Bytes(0));
    }
}

/// Words of window pages are like any other page's: no flag says that they are peer memory before they are mapped.
#[test]
fn words_of_window_pages_have_no_flags_of_their_own() {
    for rules in kernels() {
        let mut bench = moved(rules);
        open_window(&mut bench, Bytes::mib(256));
        let mut range = Range::new(bench.space, BASE, 1, Flags::FAULT, Some(Owner(0)));
        range.takes_peer_pages = true;
        let mut fault = RangeFault::new(range);
        fault.run(&mut bench.mm).unwrap();
        let word = bench.mm.hmm_words().decode(fault.range.words[0].0);
        assert_eq!((word.order, word.flags), (0, HmmLayout::VALID | HmmLayout::WRITE));
    }
}
