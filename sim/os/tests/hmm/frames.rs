//! Numbers of private pages: where they come from, what leads back, and what is found where they would be addresses.

use peerbus_os::device_private::{CpuAccess, Frame, FrameWord, HmmLayout, PrivateDesign, PrivateMemory};
use peerbus_os::hmm::{Flags, Range, RangeFault};
use peerbus_os::mm::DeviceId;
use peerbus_os::pagemap::Owner;
use peerbus_os::test_device::{self, Kind};
use peerbus_units::{CpuAddr, DevicePage, Pfn};

use super::bench::{BASE, Bench};
use super::platform::{kernels, name};

/// Words of a range, as its owner sees it.
fn words(bench: &mut Bench, from: u64, pages: u64, owner: Owner) -> Vec<FrameWord> {
    let mut fault = RangeFault::new(Range::new(bench.space, BASE + from, pages, Flags::NONE, Some(owner)));
    fault.run(&mut bench.mm).unwrap();
    let layout = bench.mm.hmm_words();
    fault.range.words.iter().map(|word| layout.decode(word.0)).collect()
}

/// Taken for a page of physical memory, the number of a private page leads nowhere: nothing answers at a frame of physical
/// space, and the numbers of the other are no addresses. Only who drops the flag of a word gets to somebody's RAM.
#[test]
fn private_frames_lead_nowhere() {
    for rules in kernels() {
        let mut bench = Bench::new(rules, false);
        bench.anonymous(4);
        bench.fill(0, 4, 0).unwrap();
        bench.migrate_counted(4).unwrap();
        for (page, word) in (0..).zip(words(&mut bench, 0, 4, Owner(0))) {
            let kernel = name(&rules);
            assert_eq!(word.flags, HmmLayout::VALID | HmmLayout::WRITE, "{kernel}");
            let number = PrivateMemory::number(word.frame);
            assert_eq!(bench.mm.page_behind(bench.space, BASE + page), Some(number), "{kernel}");
            let memory = bench.mm.private_memory();
            assert_eq!(memory.owner(number), Some(Owner(0)));
            let found = memory.platform.at_frame(Frame::Physical(number));
            let bare = memory.platform.at_frame(word.frame);
            match (rules.pagemap.private_design, word.frame) {
                (PrivateDesign::PhysicalSpace, Frame::Physical(pfn)) => {
                    assert_eq!(found, CpuAccess::Nowhere { address: CpuAddr(pfn.0 << 12) }, "{kernel}");
                    assert_eq!(bare, found);
                }
                (PrivateDesign::OwnSpace, Frame::Offset(offset)) => {
                    assert_eq!(found, CpuAccess::NoAddress, "{kernel}");
                    let address = CpuAddr(offset.0 << 12);
                    assert_eq!(bare, CpuAccess::Elsewhere { address, ram: true }, "{kernel}");
                }
                (_, frame) => panic!("{kernel}: {frame}"),
            }
        }
    }
}

/// Two chunks: below each other from the top, or above each other from the bottom; the last page of a chunk goes first.
#[test]
fn chunks_are_where_the_design_puts_them() {
    let chunk = 65536;
    for rules in kernels() {
        let mut bench = Bench::new(rules, false);
        bench.anonymous(2);
        bench.fill(0, 2, 0).unwrap();
        for (page, mirror) in [(0, bench.first), (1, bench.second)] {
            bench.move_to_device(mirror, page, page + 1).unwrap();
        }
        let frames = [(0, 0), (1, 1)].map(|(page, owner)| words(&mut bench, page, 1, Owner(owner))[0].frame);
        let expect = match rules.pagemap.private_design {
            PrivateDesign::PhysicalSpace => {
                [1, 2].map(|below| Frame::Physical(Pfn((1 << 34) - (below - 1) * chunk - 1)))
            }
            PrivateDesign::OwnSpace => [1, 2].map(|above| Frame::Offset(DevicePage(above * chunk - 1))),
        };
        assert_eq!(frames, expect, "{}", name(&rules));
        // A released device gives its numbers back: the next that needs some gets the same.
        let (mm, device) = (&mut bench.mm, DeviceId(0));
        test_device::evict(mm, device);
        assert_eq!(mm.private_memory().page(PrivateMemory::number(frames[0])), None);
        test_device::add(mm, DeviceId(7), Kind::Private);
        let mirror = test_device::open(mm, bench.space, DeviceId(7)).unwrap();
        bench.move_to_device(mirror, 0, 1).unwrap();
        assert_eq!(words(&mut bench, 0, 1, Owner(7))[0].frame, frames[0], "{}", name(&rules));
    }
}
