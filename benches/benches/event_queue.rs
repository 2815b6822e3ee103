//! The hold model: with a fixed number of pending events, take the earliest and give it a new time.
//!
//! Beside it, in the same run, a bare `BinaryHeap` of (time, slot) that pops and pushes.
#![allow(missing_docs)] // criterion's macros make public items

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerbus_engine::{Queue, Slot, Stream};

/// Mean of the exponential-like increments: far enough apart that times rarely tie.
const SPREAD: u64 = 1_000_000;

fn hold(c: &mut Criterion) {
    let mut group = c.benchmark_group("hold");
    for pending in [1_000u32, 1_000_000] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("slots", pending), |b| {
            let mut stream = Stream::new(1, 0);
            let mut queue = Queue::new(pending);
            for slot in 0..pending {
                queue.set(Slot(slot), stream.below(SPREAD));
            }
            b.iter(|| {
                if let Some((time, slot)) = queue.next() {
                    queue.set(slot, time + stream.below(SPREAD));
                }
            });
        });
        group.bench_function(BenchmarkId::new("binary_heap", pending), |b| {
            let mut stream = Stream::new(1, 0);
            let mut heap: BinaryHeap<Reverse<(u64, u32)>> =
                (0..pending).map(|slot| Reverse((stream.below(SPREAD), slot))).collect();
            b.iter(|| {
                if let Some(Reverse((time, slot))) = heap.pop() {
                    heap.push(Reverse((time + stream.below(SPREAD), slot)));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hold);
criterion_main!(benches);
