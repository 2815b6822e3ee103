//! Races between a device and what happens to its pages, one at a time.

use peerbus_os::Rules;
use peerbus_os::hmm::Step;
use peerbus_os::mm::Wait;
use peerbus_os::test_device::{RangeMove, Transfer};

use super::bench::{BASE, Bench};
use super::platform::kernels;

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
