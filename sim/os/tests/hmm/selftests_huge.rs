//! Tests of huge pages in device memory.

use peerbus_os::Rules;
use peerbus_os::mm::{DeviceId, Move, PageState};
use peerbus_os::test_device::codes;

use super::bench::{BASE, Bench, Outcome, check_answer, ensure, equal};

const HUGE: u64 = 512;

pub fn empty(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.huge(HUGE);
    bench.protect(0, HUGE, true, false)?;
    let answer = bench.move_to_device(bench.first, 0, HUGE);
    check_answer("migrate", &answer, HUGE, 0)?;
    equal("data", answer.map(|answer| answer.data), Ok(vec![0; 512]))
}

pub fn zero(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.huge(HUGE);
    bench.protect(0, HUGE, true, false)?;
    equal("page of zeros", bench.cpu(bench.space, 0, 1)?, vec![0])?;
    let answer = bench.move_to_device(bench.first, 0, HUGE);
    check_answer("migrate", &answer, HUGE, 0)?;
    equal("data", answer.map(|answer| answer.data), Ok(vec![0; 512]))?;
    equal("CPU", bench.cpu(bench.space, 0, HUGE)?, vec![0; 512])
}

pub fn free(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.huge(HUGE);
    bench.fill(0, HUGE, 0)?;
    bench.migrate_counted(HUGE)?;
    equal("advice", bench.mm.may_lose(bench.space, BASE, BASE + HUGE), Ok(()))
}

pub fn fault(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.huge(HUGE);
    bench.fill(0, HUGE, 0)?;
    bench.migrate_counted(HUGE)?;
    if !coherent {
        let code = codes::PRIVATE_LOCAL | codes::WRITE | codes::PMD;
        equal("codes", bench.snapshot(0, HUGE), Ok(vec![code; 512]))?;
        let swapped =
            |page| matches!(bench.mm.page_state(bench.space, BASE + page), PageState::Private { .. });
        ensure((0..HUGE).all(swapped), "a page is present")?;
    }
    bench.cpu_counts(bench.space, 0, HUGE, 0)
}

/// With and without huge pages: the buffer, filled.
fn filled(rules: Rules, coherent: bool, huge: bool) -> Result<Bench, String> {
    let mut bench = Bench::new(rules, coherent);
    if huge {
        bench.huge(HUGE);
    } else {
        bench.anonymous(HUGE);
    }
    bench.fill(0, HUGE, 0)?;
    Ok(bench)
}

pub fn partial_unmap_fault(rules: Rules, coherent: bool) -> Outcome {
    for huge in [false, true] {
        for offset in [0, HUGE / 4, HUGE / 2] {
            let mut bench = filled(rules, coherent, huge)?;
            bench.migrate_counted(HUGE)?;
            let from = BASE + offset;
            equal("unmap", bench.mm.unmap(bench.space, from, from + HUGE / 2), Ok(()))?;
            bench.cpu_counts(bench.space, 0, offset, 0)?;
            bench.cpu_counts(bench.space, offset + HUGE / 2, HUGE, 0)?;
        }
    }
    Ok(())
}

pub fn remap_fault(rules: Rules, coherent: bool) -> Outcome {
    for before in [false, true] {
        for keep in [false, true] {
            for huge in [false, true] {
                for offset in [0, HUGE / 4, HUGE / 2] {
                    remap_case(filled(rules, coherent, huge)?, before, keep, offset).map_err(|why| {
                        format!("before {before}, keep {keep}, huge {huge}, offset {offset}: {why}")
                    })?;
                }
            }
        }
    }
    Ok(())
}

fn remap_case(mut bench: Bench, before: bool, keep: bool, offset: u64) -> Outcome {
    let target = HUGE * 8 + offset;
    let moved = Move { from: BASE, pages: HUGE, to: BASE + target, keep };
    if before {
        equal("move", bench.mm.remap(bench.space, moved), Ok(()))?;
        let answer = bench.move_to_device(bench.first, target, target + HUGE);
        check_answer("migrate", &answer, HUGE, 0)?;
        equal("device data", answer.map(|answer| answer.data), Ok((0..HUGE).collect()))?;
    } else {
        bench.migrate_counted(HUGE)?;
        equal("move", bench.mm.remap(bench.space, moved), Ok(()))?;
    }
    let got = bench.cpu(bench.space, target, target + HUGE)?;
    equal("data at the new place", got, (0..HUGE).collect())
}

fn fail_next(bench: &mut Bench) {
    bench.mm.devices.get_mut(&DeviceId(0)).expect("the device exists").fail_next = true;
}

pub fn allocation_fails(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.huge(HUGE);
    bench.fill(0, HUGE, 0)?;
    if !coherent {
        // Coherent memory has small pages only: there the failure would hit one of them.
        fail_next(&mut bench);
    }
    bench.migrate_counted(HUGE)?;
    equal("page 4", bench.cpu(bench.space, 4, 5)?, vec![4])?;
    let mut bench = Bench::new(rules, coherent);
    bench.huge(HUGE);
    bench.fill(0, HUGE, 0)?;
    bench.migrate_counted(HUGE)?;
    fail_next(&mut bench);
    let answer = bench.move_to_system(bench.first, 0, HUGE);
    check_answer("back", &answer, HUGE, 0)?;
    equal("page 4", bench.cpu(bench.space, 4, 5)?, vec![4])
}

pub fn allocation_for_zero_fails(rules: Rules, coherent: bool) -> Outcome {
    for touched in [false, true] {
        let mut bench = Bench::new(rules, coherent);
        bench.huge(HUGE);
        bench.protect(0, HUGE, true, false)?;
        if touched {
            equal("page of zeros", bench.cpu(bench.space, 0, 1)?, vec![0])?;
        }
        if !coherent {
            fail_next(&mut bench);
        }
        let answer = bench.move_to_device(bench.first, 0, HUGE);
        check_answer("migrate", &answer, HUGE, 0)?;
        equal("data", answer.map(|answer| answer.data), Ok(vec![0; 512]))?;
        equal("CPU", bench.cpu(bench.space, 0, HUGE)?, vec![0; 512])?;
    }
    Ok(())
}

pub fn sizes(rules: Rules, coherent: bool) -> Outcome {
    for pages in [128, 256, 512, 1024, 2048, 4096, 128 * HUGE] {
        for huge in [false, true] {
            let mut bench = Bench::new(rules, coherent);
            if huge {
                bench.huge(pages);
            } else {
                bench.anonymous(pages);
            }
            bench.fill(0, pages, 0)?;
            for _ in 0..if pages > 4096 { 1 } else { 5 } {
                ensure(bench.move_to_device(bench.first, 0, pages).is_ok(), "to the device")?;
                ensure(bench.move_to_system(bench.first, 0, pages).is_ok(), "to the system")?;
            }
            bench.cpu_counts(bench.space, 0, pages, 0)?;
        }
    }
    Ok(())
}
