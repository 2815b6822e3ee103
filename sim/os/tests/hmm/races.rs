//! Races that the kernel guards against, one at a time.

use peerbus_os::Rules;
use peerbus_os::hmm::Step;
use peerbus_os::mm::{CpuError, DeviceId, Errno, Pin, Touch, Unmapping, Wait};
use peerbus_os::test_device::{self, Eviction, RangeMove, Removal, Transfer};

use super::bench::{BASE, Bench};
use super::platform::{kernels, name};

/// A device that moves pages to its own memory is not told of it. Whatever it writes while they are on their way has to
/// be there afterwards, whether the pages were copied before or not.
#[test]
fn a_device_that_writes_pages_it_is_moving_loses_nothing() {
    for rules in kernels() {
        for (huge, pages) in [(false, 8), (true, 512)] {
            for coherent in [false, true] {
                for steps in (0..24).chain([300, 513, 514, 800]).chain(1024..1034) {
                    write_during_move(rules, coherent, huge, pages, steps);
                }
            }
        }
    }
}

fn write_during_move(rules: Rules, coherent: bool, huge: bool, pages: u64, steps: u32) {
    let mut bench = Bench::new(rules, coherent);
    if huge {
        bench.huge(pages)
    } else {
        bench.anonymous(pages)
    };
    bench.fill(0, pages, 0).unwrap();
    // The device knows the pages, and may write them.
    bench.write(bench.first, 0, pages, 100).unwrap();
    let mut migration = RangeMove::to_device(bench.first, BASE, BASE + pages);
    let mut done = (0..steps).any(|_| matches!(migration.step(&mut bench.mm), Step::Done(_)));
    let mut transfer = Transfer::write(bench.first, BASE, BASE + pages, 5000);
    let under_way = steps > 0 && !done;
    let mut waited = false;
    let mut written = false;
    for _ in 0..10_000 {
        match transfer.step(&mut bench.mm) {
            Step::Done(answer) => {
                assert_eq!(answer.map(|answer| answer.pages), Ok(pages));
                written = true;
                break;
            }
            Step::Wait(Wait::Migration(_)) => {
                assert!(!done, "nothing is on its way any more");
                waited = true;
                done = matches!(migration.step(&mut bench.mm), Step::Done(_));
            }
            Step::Wait(wait) => panic!("waits for {wait:?}"),
            Step::Go => {}
        }
    }
    assert!(written, "the write hangs");
    while !done {
        done = matches!(migration.step(&mut bench.mm), Step::Done(_));
    }
    assert_eq!(waited, under_way, "after {steps} steps");
    bench.cpu_counts(bench.space, 0, pages, 5000).unwrap();
}

/// A page that parent and child share, of which the parent's CPU has just made a copy. Devices are being told.
fn copying(rules: Rules) -> (Bench, peerbus_os::mm::SpaceId, Touch) {
    let mut bench = Bench::new(rules, false);
    bench.anonymous(1);
    bench.fill(0, 1, 30).unwrap();
    let child = bench.mm.fork(bench.space).unwrap();
    let mut touch = Touch::write(bench.space, BASE, 9);
    assert_eq!(touch.step(&mut bench.mm), Step::Go);
    assert_eq!(bench.mm.frames.in_use(), 2);
    (bench, child, touch)
}

/// Both processes have what they should, in a page each.
fn copied(mut bench: Bench, child: peerbus_os::mm::SpaceId, mut touch: Touch, child_has: u64) {
    let done = (0..10).find_map(|_| match touch.step(&mut bench.mm) {
        Step::Done(result) => Some(result),
        Step::Go => None,
        Step::Wait(wait) => panic!("waits for {wait:?}"),
    });
    assert_eq!(done, Some(Ok(9)));
    assert_eq!(bench.cpu(bench.space, 0, 1), Ok(vec![9]));
    assert_eq!(bench.cpu(child, 0, 1), Ok(vec![child_has]));
    assert_eq!(bench.mm.frames.in_use(), 2, "nothing is left over");
}

/// Whoever asks for the page while devices are told waits, and then gets the copy.
#[test]
fn a_device_waits_for_the_copy() {
    for rules in kernels() {
        let (mut bench, child, mut touch) = copying(rules);
        let mut transfer = Transfer::read(bench.first, BASE, BASE + 1);
        assert_eq!(transfer.step(&mut bench.mm), Step::Go);
        assert_eq!(transfer.step(&mut bench.mm), Step::Wait(Wait::Invalidation));
        // Nobody changes mappings either.
        assert_eq!(bench.mm.protect(bench.space, BASE, BASE + 1, true, false), Err(Errno::Again));
        while touch.step(&mut bench.mm) == Step::Go {}
        let answer = (0..20).find_map(|_| match transfer.step(&mut bench.mm) {
            Step::Done(answer) => Some(answer.unwrap().data),
            _ => None,
        });
        assert_eq!(answer, Some(vec![9]), "{}", name(&rules));
        assert_eq!(bench.cpu(child, 0, 1), Ok(vec![30]));
    }
}

/// What was copied is gone, or was to be moved, or is somebody's alone by then.
#[test]
fn a_copy_of_what_is_not_there_any_more_is_dropped() {
    for rules in kernels() {
        let (mut bench, child, touch) = copying(rules);
        bench.mm.drop_pages(bench.space, BASE, BASE + 1).unwrap();
        copied(bench, child, touch, 30);

        let (mut bench, child, touch) = copying(rules);
        // Who copies holds the page: it cannot be moved.
        assert_eq!(bench.move_to_device(bench.first, 0, 1), Err(Errno::NoEntry));
        copied(bench, child, touch, 30);

        let (mut bench, child, touch) = copying(rules);
        bench.mm.write(child, BASE, 31).unwrap();
        copied(bench, child, touch, 31);
    }
}

/// A fault on a private page is repeated under the lock of all mappings where kernels have a lock for each. What was there at
/// first may be gone then.
#[test]
fn a_fault_begins_anew_under_the_lock_of_all_mappings() {
    for rules in kernels() {
        let mut bench = Bench::new(rules, false);
        bench.anonymous(1);
        bench.fill(0, 1, 30).unwrap();
        bench.move_to_device(bench.first, 0, 1).unwrap();
        let mut touch = Touch::read(bench.space, BASE);
        assert_eq!(touch.step(&mut bench.mm), Step::Go);
        let begins = rules.mm.fault_begins_under_mapping_lock;
        assert_eq!(bench.mm.frames.in_use(), u64::from(!begins), "{}", name(&rules));
        if begins {
            bench.mm.unmap(bench.space, BASE, BASE + 1).unwrap();
            assert_eq!(touch.step(&mut bench.mm), Step::Done(Err(CpuError::Segv)));
        } else {
            assert_eq!(touch.step(&mut bench.mm), Step::Done(Ok(30)));
        }
    }
}

/// Between two parts of an unmapping the pages of the others are moved, and others wait.
#[test]
fn pages_move_while_they_are_unmapped() {
    for rules in kernels() {
        let mut bench = Bench::new(rules, false);
        let pages = 3 * 512;
        bench.anonymous(pages);
        bench.fill(0, pages, 0).unwrap();
        bench.move_to_device(bench.first, 0, pages).unwrap();
        let mut unmapping =
            Unmapping::start(&mut bench.mm, bench.space, BASE + 100, BASE + pages).unwrap().unwrap();
        assert!(!unmapping.step(&mut bench.mm));
        let mut touch = Touch::read(bench.space, BASE + 3);
        assert_eq!(touch.step(&mut bench.mm), Step::Wait(Wait::MapLock));
        // Nobody gets a page for himself whose mapping goes.
        assert_eq!(bench.exclusive(1100, 1101), Err(Errno::Again));
        let hold = Pin { write: true, pinned: false, long_term: false, split: false };
        assert_eq!(bench.mm.hold(bench.space, BASE + 1100, hold), Err(Errno::Again));
        // The whole slot in which the cut is was announced: the device has to ask again, and waits.
        assert_eq!(bench.read(bench.first, 0, 1), Err(Errno::Again));
        let mut eviction = Eviction::start(&mut bench.mm, DeviceId(0));
        for _ in 0..700 {
            eviction.step(&mut bench.mm);
        }
        assert!(!unmapping.step(&mut bench.mm));
        while !eviction.step(&mut bench.mm) {}
        unmapping.finish(&mut bench.mm);
        assert_eq!(bench.mm.frames.in_use(), 100, "{}", name(&rules));
        assert_eq!(bench.mm.devices[&DeviceId(0)].pages(), 0);
        bench.cpu_counts(bench.space, 0, 100, 0).unwrap();
        assert_eq!(bench.mm.read(bench.space, BASE + 100), Err(CpuError::Segv));
    }
}

/// A device goes with pages out: one is pinned, and a process takes one home itself. Nothing new moves to it.
#[test]
fn a_device_that_goes_waits_for_its_pages() {
    for rules in kernels() {
        let mut bench = Bench::new(rules, true);
        bench.anonymous(8);
        bench.fill(0, 8, 50).unwrap();
        bench.move_to_device(bench.first, 0, 6).unwrap();
        let pin = Pin { write: true, pinned: true, long_term: false, split: false };
        let held = bench.mm.hold(bench.space, BASE + 2, pin).unwrap();
        let mut removal = Removal::start(&mut bench.mm, DeviceId(0)).unwrap();
        assert_eq!(Removal::start(&mut bench.mm, DeviceId(0)).err(), Some(Errno::Busy));
        assert_eq!(bench.move_to_device(bench.first, 6, 7), Err(Errno::NoEntry), "the page stays");
        let mut waited = 0;
        for step in 0..200 {
            match removal.step(&mut bench.mm) {
                Step::Done(()) => break,
                Step::Go => {}
                Step::Wait(wait) => {
                    assert_eq!(wait, Wait::PagesOut(DeviceId(0)));
                    waited += 1;
                }
            }
            if step == 100 {
                bench.cpu_counts(bench.space, 0, 8, 50).unwrap();
                bench.mm.write(bench.space, BASE + 2, 99).unwrap();
                bench.mm.release_hold(held, true).unwrap();
            }
        }
        assert!(waited > 5, "{}", name(&rules));
        assert_eq!(bench.mm.devices.get(&DeviceId(0)).map(|memory| memory.pages()), None);
        assert_eq!(bench.cpu(bench.space, 0, 4), Ok(vec![50, 51, 99, 53]));
        assert_eq!(bench.read(bench.first, 0, 1), Err(Errno::BadFile));
        let maps = bench.mm.private_memory().platform.page_maps.iter().count();
        assert_eq!(maps, 0, "its page structs are given back");
        assert_eq!(test_device::open(&mut bench.mm, bench.space, DeviceId(0)), Err(Errno::NoEntry));
    }
}
