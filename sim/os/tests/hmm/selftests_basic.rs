//! Tests of one device: reads, writes, plain migration.

use peerbus_os::Rules;
use peerbus_os::mm::rules::HugePolicy;
use peerbus_os::mm::vma::Backing;
use peerbus_os::mm::{DeviceId, Errno, Mapping};
use peerbus_os::test_device;

use super::bench::{BASE, Bench, Outcome, PAGES, check_answer, ensure, equal};

pub fn open_close(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    equal("close", test_device::close(&mut bench.mm, bench.first), Ok(()))?;
    equal("close again", test_device::close(&mut bench.mm, bench.first), Err(Errno::BadFile))
}

pub fn anon_read(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    bench.fill(2, PAGES, 0)?;
    bench.protect(0, PAGES, true, false)?;
    equal("page of zeros", bench.cpu(bench.space, 1, 2)?, vec![0])?;
    let answer = bench.read(bench.first, 0, PAGES);
    check_answer("read", &answer, PAGES, 1)?;
    let expected = [0, 0].into_iter().chain(2..PAGES).collect::<Vec<u64>>();
    equal("data", answer.map(|answer| answer.data), Ok(expected))
}

pub fn anon_read_prot(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    bench.fill(0, PAGES, 0)?;
    bench.protect(0, PAGES, false, false)?;
    equal("read", bench.read(bench.first, 0, PAGES), Err(Errno::Fault))?;
    bench.protect(0, PAGES, true, true)?;
    bench.cpu_counts(bench.space, 0, PAGES, 0)
}

pub fn anon_write(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    let answer = bench.write(bench.first, 0, PAGES, 7);
    check_answer("write", &answer, PAGES, 1)?;
    bench.cpu_counts(bench.space, 0, PAGES, 7)
}

pub fn anon_write_prot(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    bench.protect(0, PAGES, true, false)?;
    let answer = bench.read(bench.first, 0, 1);
    check_answer("read", &answer, 1, 1)?;
    equal("write", bench.write(bench.first, 0, PAGES, 7), Err(Errno::Perm))?;
    equal("data", bench.cpu(bench.space, 0, PAGES)?, vec![0; 1024])?;
    bench.protect(0, PAGES, true, true)?;
    let answer = bench.write(bench.first, 0, PAGES, 7);
    check_answer("write", &answer, PAGES, 1)?;
    bench.cpu_counts(bench.space, 0, PAGES, 7)
}

pub fn anon_write_child(rules: Rules, coherent: bool) -> Outcome {
    let both: &[bool] = if rules.mm.huge_migration { &[false, true] } else { &[false] };
    for migrate in both {
        for huge in both {
            let policy = if *huge { HugePolicy::Always } else { HugePolicy::Never };
            let mut bench = Bench::new(rules, coherent);
            bench.mm.rules.huge_policy = policy;
            bench.anonymous(PAGES);
            bench.fill(0, PAGES, 0)?;
            if *migrate {
                bench.migrate_counted(PAGES)?;
            }
            write_in_child(&mut bench, *migrate)
                .map_err(|why| format!("migrated {migrate}, huge {huge}: {why}"))?;
        }
    }
    Ok(())
}

fn write_in_child(bench: &mut Bench, migrated: bool) -> Outcome {
    let child = bench.mm.fork(bench.space).map_err(|error| error.to_string())?;
    let device = test_device::open(&mut bench.mm, child, DeviceId(0)).map_err(|error| error.to_string())?;
    bench.cpu_counts(child, 0, PAGES, 0)?;
    let answer = bench.write(device, 0, PAGES, 5000);
    check_answer("write", &answer, PAGES, 1)?;
    if !migrated {
        bench.cpu_counts(child, 0, PAGES, 5000)?;
    }
    equal("exit", bench.mm.exit(child), Ok(()))?;
    bench.cpu_counts(bench.space, 0, PAGES, 0)
}

pub fn anon_write_child_shared(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    let shared = bench.mm.files.create(PAGES);
    let what = Mapping::file(shared, 0, true, true, true);
    equal("map", bench.mm.map(bench.space, BASE, BASE + PAGES, what), Ok(()))?;
    bench.fill(0, PAGES, 0)?;
    let child = bench.mm.fork(bench.space).map_err(|error| error.to_string())?;
    let device = test_device::open(&mut bench.mm, child, DeviceId(0)).map_err(|error| error.to_string())?;
    bench.cpu_counts(child, 0, PAGES, 0)?;
    let answer = bench.write(device, 0, PAGES, 5000);
    check_answer("write", &answer, PAGES, 1)?;
    bench.cpu_counts(bench.space, 0, PAGES, 5000)
}

pub fn anon_write_huge(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.huge(512);
    let answer = bench.write(bench.first, 0, 512, 3);
    check_answer("write", &answer, 512, 1)?;
    bench.cpu_counts(bench.space, 0, 512, 3)
}

pub fn anon_write_hugetlbfs(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    let what = Mapping { backing: Backing::Hugetlb, ..Mapping::anonymous(true, true) };
    equal("map", bench.mm.map(bench.space, BASE, BASE + 512, what), Ok(()))?;
    let answer = bench.write(bench.first, 0, 512, 3);
    check_answer("write", &answer, 512, 1)?;
    bench.cpu_counts(bench.space, 0, 512, 3)
}

pub fn file_read(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    let file = bench.file(PAGES);
    let what = Mapping::file(file, 0, true, true, false);
    equal("map", bench.mm.map(bench.space, BASE, BASE + PAGES, what), Ok(()))?;
    let answer = bench.read(bench.first, 0, PAGES);
    check_answer("read", &answer, PAGES, 1)?;
    equal("data", answer.map(|answer| answer.data), Ok((0..PAGES).collect()))
}

pub fn file_write(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    let file = bench.mm.files.create(PAGES);
    let what = Mapping::file(file, 0, true, true, true);
    equal("map", bench.mm.map(bench.space, BASE, BASE + PAGES, what), Ok(()))?;
    let answer = bench.write(bench.first, 0, PAGES, 9);
    check_answer("write", &answer, PAGES, 1)?;
    bench.cpu_counts(bench.space, 0, PAGES, 9)?;
    let in_file = |index| bench.mm.files.read(&bench.mm.frames, file, index);
    ensure((0..PAGES).all(|index| in_file(index) == Some(9 + index)), "the file has other data")
}

pub fn migrate(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    bench.fill(0, PAGES, 0)?;
    bench.migrate_counted(PAGES)
}

pub fn migrate_file_private(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    let file = bench.mm.files.create(PAGES);
    let what = Mapping::file(file, 0, false, true, true);
    equal("map", bench.mm.map(bench.space, BASE, BASE + PAGES, what), Ok(()))?;
    bench.fill(0, PAGES, 0)?;
    bench.migrate_counted(PAGES)
}

pub fn migrate_fault(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    bench.fill(0, PAGES, 0)?;
    bench.migrate_counted(PAGES)?;
    bench.cpu_counts(bench.space, 0, PAGES / 2, 0)?;
    bench.migrate_counted(PAGES)?;
    bench.cpu_counts(bench.space, 0, PAGES, 0)
}

pub fn migrate_release(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    bench.anonymous(PAGES);
    bench.fill(0, PAGES, 0)?;
    bench.migrate_counted(PAGES)?;
    test_device::evict(&mut bench.mm, DeviceId(0));
    equal("chunks", bench.mm.devices[&DeviceId(0)].chunks().len(), 0)?;
    bench.cpu_counts(bench.space, 0, PAGES / 2, 0)
}

pub fn migrate_shared(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    let shared = bench.mm.files.create(PAGES);
    let what = Mapping::file(shared, 0, true, true, true);
    equal("map", bench.mm.map(bench.space, BASE, BASE + PAGES, what), Ok(()))?;
    equal("migrate", bench.move_to_device(bench.first, 0, PAGES), Err(Errno::NoEntry))
}

pub fn migrate_multiple(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    for _ in 0..10 {
        bench.anonymous(PAGES);
        bench.fill(0, PAGES, 0)?;
        bench.migrate_counted(PAGES)?;
        if coherent {
            let answer = bench.move_to_system(bench.first, 0, PAGES);
            check_answer("back", &answer, PAGES, 0)?;
        }
        bench.cpu_counts(bench.space, 0, PAGES, 0)?;
        equal("unmap", bench.mm.unmap(bench.space, BASE, BASE + PAGES), Ok(()))?;
    }
    Ok(())
}

pub fn anon_read_multiple(rules: Rules, coherent: bool) -> Outcome {
    let mut bench = Bench::new(rules, coherent);
    for round in 0..10 {
        bench.anonymous(PAGES);
        bench.fill(0, PAGES, round)?;
        let answer = bench.read(bench.first, 0, PAGES);
        check_answer("read", &answer, PAGES, 1)?;
        equal("data", answer.map(|answer| answer.data), Ok((round..PAGES + round).collect()))?;
        equal("unmap", bench.mm.unmap(bench.space, BASE, BASE + PAGES), Ok(()))?;
    }
    Ok(())
}
