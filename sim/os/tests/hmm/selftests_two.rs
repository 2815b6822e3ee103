//! Tests of two devices, of snapshots, exclusive pages, pins, races and fault handlers.

use peerbus_os::Rules;
use peerbus_os::hmm::Step;
use peerbus_os::mm::vma::Backing;
use peerbus_os::mm::{Errno, Mapping, Pin, Unmapping, Wait};
use peerbus_os::test_device::{self, Transfer, codes};

use super::bench::{BASE, Bench, Outcome, PAGES, check_answer, ensure, equal};

pub fn migrate_mixed(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(6);
    bench.protect(0, 6, false, false)?;
    equal("unreadable", bench.move_to_device(bench.second, 0, 6), Err(Errno::Invalid))?;
    equal("hole", bench.mm.unmap(bench.space, BASE + 1, BASE + 2), Ok(()))?;
    equal("with a hole", bench.move_to_device(bench.second, 0, 3), Err(Errno::Invalid))?;
    bench.protect(2, 3, true, false)?;
    equal("page of zeros", bench.cpu(bench.space, 2, 3)?, vec![0])?;
    bench.protect(3, 6, true, true)?;
    bench.fill(3, 6, 0)?;
    bench.protect(3, 4, true, false)?;
    let answer = bench.move_to_device(bench.second, 2, 6);
    check_answer("migrate", &answer, 4, 0)?;
    equal("data", answer.map(|answer| answer.data), Ok(vec![0, 3, 4, 5]))?;
    equal("to another device", bench.move_to_device(bench.first, 5, 6), Err(Errno::NoEntry))
}

/// A read with the second half unmapped after every possible number of steps.
pub fn anon_teardown(rules: Rules, coherent: bool) -> Outcome {
    for when in 0..200 {
        let mut bench = Bench::new(rules, coherent);
        bench.anonymous(PAGES);
        bench.fill(0, PAGES, 0)?;
        let mut transfer = Transfer::read(bench.first, BASE, BASE + PAGES);
        let mut unmapping = None;
        let mut unmapped = false;
        let mut ended = None;
        for step in 0..10_000 {
            if let Some(change) = unmapping.take() {
                Unmapping::finish(change, &mut bench.mm);
                unmapped = true;
            } else if step >= when && !unmapped {
                // The thread that unmaps waits for whoever holds the lock.
                let half = BASE + PAGES / 2;
                unmapping = Unmapping::start(&mut bench.mm, bench.space, half, BASE + PAGES).ok().flatten();
            }
            match transfer.step(&mut bench.mm) {
                Step::Done(result) => {
                    ended = Some(result);
                    break;
                }
                Step::Go | Step::Wait(Wait::MapLock | Wait::Invalidation) => {}
                Step::Wait(wait) => return Err(format!("waits for {wait:?}")),
            }
        }
        let result = ended.ok_or("the read hangs")?;
        if let Ok(answer) = &result {
            equal("counts", (answer.pages, answer.faults), (PAGES, 1))?;
            equal("data", &answer.data, &(0..PAGES).collect())?;
        }
    }
    Ok(())
}

pub fn mixedmap(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    equal("map", bench.mm.map_driver_pages(bench.space, BASE, 1), Ok(()))?;
    equal("codes", bench.snapshot(0, 1), Ok(vec![codes::READ]))
}

pub fn snapshot(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(7);
    bench.protect(0, 2, false, false)?;
    equal("hole", bench.mm.unmap(bench.space, BASE + 1, BASE + 2), Ok(()))?;
    bench.protect(2, 3, true, false)?;
    equal("page of zeros", bench.cpu(bench.space, 2, 3)?, vec![0])?;
    bench.fill(3, 7, 0)?;
    bench.protect(3, 4, true, false)?;
    let answer = bench.move_to_device(bench.first, 5, 6);
    check_answer("migrate", &answer, 1, 0)?;
    let answer = bench.move_to_device(bench.second, 6, 7);
    check_answer("migrate", &answer, 1, 0)?;
    let (local, remote) = match coherent {
        true => (codes::COHERENT_LOCAL | codes::WRITE, codes::COHERENT_REMOTE | codes::WRITE),
        false => (codes::PRIVATE_LOCAL | codes::WRITE, codes::NONE),
    };
    let zero = codes::ZERO | codes::READ;
    let expected = vec![codes::ERROR, codes::ERROR, zero, codes::READ, codes::WRITE, local, remote];
    equal("codes", bench.snapshot(0, 7), Ok(expected))
}

pub fn compound(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    let what = Mapping { backing: Backing::Hugetlb, ..Mapping::anonymous(true, true) };
    equal("map", bench.mm.map(bench.space, BASE, BASE + 512, what), Ok(()))?;
    bench.fill(0, 512, 0)?;
    equal("codes", bench.snapshot(0, 512), Ok(vec![codes::WRITE | codes::PMD; 512]))?;
    bench.protect(0, 512, true, false)?;
    equal("codes", bench.snapshot(0, 512), Ok(vec![codes::READ | codes::PMD; 512]))
}

pub fn double_map(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(6);
    bench.fill(0, 6, 0)?;
    bench.protect(0, 6, true, false)?;
    let data: Vec<u64> = (0..6).collect();
    for device in [bench.first, bench.second] {
        let answer = bench.read(device, 0, 6);
        check_answer("read", &answer, 6, 1)?;
        equal("data", answer.map(|answer| answer.data), Ok(data.clone()))?;
    }
    let answer = bench.move_to_device(bench.second, 0, 6);
    check_answer("migrate", &answer, 6, 0)?;
    let answer = bench.read(bench.first, 0, 6);
    check_answer("read", &answer, 6, 1)?;
    equal("data", answer.map(|answer| answer.data), Ok(data))
}

/// Every page is read, then written with one more.
fn increment(bench: &mut Bench, space: peerbus_os::mm::SpaceId) -> Outcome {
    for page in 0..PAGES {
        let got = bench.cpu(space, page, page + 1)?;
        equal("before", got, vec![page])?;
        equal("write", bench.mm.write(space, BASE + page, page + 1), Ok(()))?;
    }
    bench.cpu_counts(space, 0, PAGES, 1)
}

pub fn exclusive(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    bench.fill(0, PAGES, 0)?;
    let answer = bench.exclusive(0, PAGES);
    check_answer("exclusive", &answer, PAGES, 0)?;
    equal("data", answer.map(|answer| answer.data), Ok((0..PAGES).collect()))?;
    let parent = bench.space;
    increment(&mut bench, parent)?;
    let check = test_device::check_exclusive(&bench.mm, bench.first, BASE, BASE + PAGES);
    equal("check", check, Ok(()))
}

pub fn exclusive_mprotect(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    bench.fill(0, PAGES, 0)?;
    let answer = bench.exclusive(0, PAGES);
    check_answer("exclusive", &answer, PAGES, 0)?;
    bench.protect(0, PAGES, true, false)?;
    equal("write", bench.write(bench.first, 0, PAGES, 0), Err(Errno::Perm))
}

pub fn exclusive_cow(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    bench.fill(0, PAGES, 0)?;
    let answer = bench.exclusive(0, PAGES);
    check_answer("exclusive", &answer, PAGES, 0)?;
    let child = bench.mm.fork(bench.space).map_err(|error| error.to_string())?;
    increment(&mut bench, child)?;
    let parent = bench.space;
    increment(&mut bench, parent)
}

pub fn gup(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(4);
    bench.fill(0, 4, 0)?;
    bench.migrate_counted(4)?;
    let plain = Pin { write: true, pinned: false, long_term: false, split: false };
    let long = Pin { pinned: true, long_term: true, ..plain };
    for (page, how) in [(0, plain), (1, plain), (2, long), (3, long)] {
        let pfn = bench.mm.hold(bench.space, BASE + page, how).map_err(|error| format!("hold: {error}"))?;
        equal("data", bench.mm.frames.data(pfn), page)?;
        equal("release", bench.mm.release_hold(pfn, how.pinned), Ok(()))?;
    }
    let local = codes::COHERENT_LOCAL | codes::WRITE;
    let expected = match coherent {
        true => vec![local, local, codes::WRITE, codes::WRITE],
        false => vec![codes::WRITE; 4],
    };
    equal("codes", bench.snapshot(0, 4), Ok(expected))?;
    bench.cpu_counts(bench.space, 0, 4, 0)
}

pub fn cow_in_device(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(4);
    bench.fill(0, 4, 0)?;
    bench.migrate_counted(4)?;
    let child = bench.mm.fork(bench.space).map_err(|error| error.to_string())?;
    bench.fill(0, 4, 100)?;
    bench.cpu_counts(child, 0, 4, 0)?;
    equal("exit", bench.mm.exit(child), Ok(()))?;
    equal("codes", bench.snapshot(0, 4), Ok(vec![codes::WRITE; 4]))?;
    bench.cpu_counts(bench.space, 0, 4, 100)
}

pub fn userfaultfd_read(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    ensure(rules.mm.unlocked_range_fault, "the helper is missing")?;
    bench.anonymous(4);
    let registered = bench.mm.register_handler(bench.space, BASE, BASE + 4, true);
    equal("register", registered, Ok(()))?;
    equal("with the lock held", bench.read(bench.first, 0, 4), Err(Errno::Fault))?;
    let mut transfer = Transfer::read(bench.first, BASE, BASE + 4).letting_go();
    let mut events = 0;
    for _ in 0..100 {
        match transfer.step(&mut bench.mm) {
            Step::Go => {}
            Step::Wait(Wait::Handler(at)) => {
                events += 1;
                equal("fill", bench.mm.fill_missing(at, 0xab), Ok(()))?;
            }
            Step::Wait(wait) => return Err(format!("waits for {wait:?}")),
            Step::Done(answer) => {
                check_answer("read", &answer, 4, 1)?;
                equal("data", answer.map(|answer| answer.data), Ok(vec![0xab; 4]))?;
                return equal("events", events, 4);
            }
        }
    }
    Err("the read hangs".into())
}
