//! The search for unused physical addresses below 10,000 occupied ranges, none of the gaps between which is large
//! enough.
//!
//! Beside it, in the same run, the kernel's own way: every candidate on the grid against the list of ranges from its
//! start. Both find the same place after the same number of probes.
#![allow(missing_docs)] // criterion's macros make public items

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use peerbus_os::iomem::{IoMem, IoResource, RegionSpace, Searched};
use peerbus_os::{Profile, Rules, RulesOptions};
use peerbus_units::{Bytes, CpuAddr, Range};

const SECTION: u64 = 128 << 20;
const LIMIT: u64 = (1 << 46) - 1;
const RANGES: u64 = 10_000;

/// One section of every two, from the top down, lowest first.
fn occupied() -> Vec<Range<CpuAddr>> {
    let range = |number| {
        let last = LIMIT - 2 * number * SECTION;
        Range::new(CpuAddr(last - (SECTION - 1)), CpuAddr(last))
    };
    (0..RANGES).rev().filter_map(range).collect()
}

fn tree(ranges: &[Range<CpuAddr>]) -> IoMem {
    let mut tree = IoMem::new(CpuAddr(LIMIT));
    for range in ranges {
        let entered = tree.request(tree.root(), IoResource::memory(*range, "taken"));
        assert!(entered.is_ok(), "{range} is free");
    }
    tree
}

fn request(tree: &mut IoMem, rules: &Rules) -> Searched {
    let space = RegionSpace { limit: CpuAddr(LIMIT), section: Bytes(SECTION) };
    tree.request_free_mem_region(rules, &space, tree.root(), Bytes(2 * SECTION), "new")
}

/// First address and number of probes.
fn probe(ranges: &[Range<CpuAddr>], size: u64) -> Option<(u64, u64)> {
    let (mut addr, mut probes) = (LIMIT - size + 1, 0);
    while addr > SECTION {
        probes += 1;
        let last = addr + size - 1;
        // No early end: the kernel looks for every overlap before it judges.
        let met = ranges.iter().filter(|range| range.first().0 <= last && addr <= range.last().0).count();
        if met == 0 {
            return Some((addr, probes));
        }
        addr -= SECTION;
    }
    None
}

fn region(c: &mut Criterion) {
    let rules = Profile::Linux_7_3.rules(RulesOptions::default());
    let ranges = occupied();
    let mut tree = tree(&ranges);
    let found = request(&mut tree, &rules);
    let place = found.result.as_ref().ok().map(|region| (region.range.first().0, found.work.probes));
    assert_eq!(place, probe(&ranges, 2 * SECTION), "both ways find one place");
    let released = found.result.ok().and_then(|region| tree.release(region.id).ok());
    assert!(released.is_some(), "the place was found");

    let mut group = c.benchmark_group("region_below_10000_ranges");
    group.bench_function("jumping", |b| {
        b.iter(|| {
            if let Ok(region) = request(&mut tree, &rules).result {
                let _ = black_box(tree.release(region.id));
            }
        });
    });
    group.sample_size(10);
    group.bench_function("probing", |b| b.iter(|| probe(black_box(&ranges), 2 * SECTION)));
    group.finish();
}

criterion_group!(benches, region);
criterion_main!(benches);
