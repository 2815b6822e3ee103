//! The pool allocator at steady fill: a random allocation is freed and another made, by first fit.
//!
//! 16 GiB in pages of 4 KiB, allocations of 1 to 64 pages. Beside it, in the same run, a plain bitmap of 64-bit words
//! searched from its start. One iteration is a free and an allocation: two operations. Before the first, 500 000 of
//! them have put holes where churn leaves them; both start from that state and make the same calls.
#![allow(missing_docs)] // criterion's macros make public items

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerbus_engine::Stream;
use peerbus_os::pool::Pool;
use peerbus_units::{Bytes, CpuAddr};

const PAGE: u64 = 4096;
const PAGES: u64 = 4 << 20;
const BASE: u64 = 1 << 40;
const LARGEST: u64 = 64;

/// First fit, from page `Some(first)`, and its opposite.
trait Allocator {
    fn alloc(&mut self, count: u64) -> Option<u64>;
    fn free(&mut self, first: u64, count: u64);
}

impl Allocator for Pool<CpuAddr> {
    fn alloc(&mut self, count: u64) -> Option<u64> {
        Pool::alloc(self, Bytes(count * PAGE)).ok().map(|found| (found.address.0 - BASE) / PAGE)
    }

    fn free(&mut self, first: u64, count: u64) {
        assert!(Pool::free(self, CpuAddr(BASE + first * PAGE), Bytes(count * PAGE)).is_ok());
    }
}

struct Bitmap(Vec<u64>);

impl Bitmap {
    /// The first bit at or after `from` that is set (`flip` 0) or clear (`flip` all ones); `PAGES` for none.
    fn next(&self, from: u64, flip: u64) -> u64 {
        let mut at = from / 64;
        let mut mask = !0 << (from % 64);
        while let Some(word) = self.0.get(usize::try_from(at).unwrap_or(usize::MAX)) {
            let hits = (word ^ flip) & mask;
            if hits != 0 {
                return at * 64 + u64::from(hits.trailing_zeros());
            }
            (at, mask) = (at + 1, !0);
        }
        PAGES
    }

    fn fill(&mut self, first: u64, count: u64, set: bool) {
        for bit in first..first + count {
            let word = &mut self.0[usize::try_from(bit / 64).unwrap_or(usize::MAX)];
            *word = if set { *word | 1 << (bit % 64) } else { *word & !(1 << (bit % 64)) };
        }
    }
}

impl Allocator for Bitmap {
    fn alloc(&mut self, count: u64) -> Option<u64> {
        let mut from = 0;
        loop {
            let first = self.next(from, !0);
            if first + count > PAGES {
                return None;
            }
            let set = self.next(first, 0);
            if set >= first + count {
                self.fill(first, count, true);
                return Some(first);
            }
            from = set + 1;
        }
    }

    fn free(&mut self, first: u64, count: u64) {
        self.fill(first, count, false);
    }
}

/// An allocator kept at a fill.
struct Churn<A> {
    allocator: A,
    live: Vec<(u64, u64)>,
    stream: Stream,
}

impl<A: Allocator> Churn<A> {
    fn new(allocator: A, percent: u64) -> Churn<A> {
        let mut churn = Churn { allocator, live: Vec::new(), stream: Stream::new(1, 0) };
        let mut used = 0;
        while used < PAGES * percent / 100 {
            used += churn.alloc();
        }
        (0..250_000).for_each(|_| churn.step());
        churn
    }

    /// The same state in another allocator.
    fn bitmap(&self) -> Churn<Bitmap> {
        let mut allocator = Bitmap(vec![0; usize::try_from(PAGES / 64).unwrap_or(0)]);
        self.live.iter().for_each(|(first, count)| allocator.fill(*first, *count, true));
        Churn { allocator, live: self.live.clone(), stream: self.stream.clone() }
    }

    fn alloc(&mut self) -> u64 {
        let count = 1 + self.stream.below(LARGEST);
        match self.allocator.alloc(count) {
            Some(first) => {
                self.live.push((first, count));
                count
            }
            None => 0,
        }
    }

    fn step(&mut self) {
        let victim = self.stream.below(self.live.len() as u64);
        let (first, count) = self.live.swap_remove(usize::try_from(victim).unwrap_or(0));
        self.allocator.free(first, count);
        self.alloc();
    }
}

fn pool(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool");
    group.throughput(Throughput::Elements(2));
    for percent in [10u64, 50, 95] {
        let mut pool: Pool<CpuAddr> = Pool::new(12).unwrap_or_else(|| unreachable!("order 12 is valid"));
        pool.add(CpuAddr(BASE), CpuAddr(BASE), Bytes(PAGES * PAGE), ());
        let mut runs = Churn::new(pool, percent);
        let mut bitmap = runs.bitmap();
        group.bench_function(BenchmarkId::new("runs", percent), |b| b.iter(|| runs.step()));
        group.bench_function(BenchmarkId::new("bitmap", percent), |b| b.iter(|| bitmap.step()));
    }
    group.finish();
}

criterion_group!(benches, pool);
criterion_main!(benches);
