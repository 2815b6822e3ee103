//! Random calls on the pool and on the bitmap: same answers, same bugs, same rest.

use peerbus_os::pool::{Algorithm, AllocError, Allocation, Bug, Pool};
use peerbus_units::{BusAddr, Bytes, CpuAddr};

use super::bitmap::Bitmap;
use crate::random::{Random, cases};

type Both = (Pool<CpuAddr, BusAddr, u32>, Bitmap);

/// Chunks of up to 300 granules, some odd in size or start, some touching, some empty, one perhaps at 0.
fn chunks(random: &mut Random) -> Both {
    let order = random.pick(&[0, 3, 12, 16]);
    let mut pool = Pool::new(order).unwrap();
    let mut bitmap = Bitmap { order, restart_behind_last: random.below(2) == 0, ..Bitmap::default() };
    let mut start = random.pick(&[0, 1, 4096, 1 << 40]);
    for owner in 0..1 + u32::try_from(random.below(4)).unwrap() {
        let size = (random.below(300) << order) + random.pick(&[0, 0, 1, 7, 4095]);
        let phys = random.next();
        pool.add(CpuAddr(start), BusAddr(phys), Bytes(size), owner);
        bitmap.add(start, phys, size, owner);
        start += size + random.pick(&[0, 0, 1, 4096, 1 << 20]);
    }
    (pool, bitmap)
}

fn algorithm(random: &mut Random, order: u32) -> Algorithm {
    match random.below(6) {
        0 | 1 => Algorithm::FirstFit,
        2 => Algorithm::FirstFitAlign { align: 1 << random.below(u64::from(order) + 6) },
        3 => Algorithm::Fixed { offset: (random.below(320) << order) + random.pick(&[0, 0, 0, 1]) },
        4 => Algorithm::OrderAlign,
        _ => Algorithm::BestFit,
    }
}

fn size(random: &mut Random, order: u32) -> u64 {
    let granules = random.pick(&[2, 8, 8, 40, 300]);
    match random.below(10) {
        0 => random.below(3),
        1 => random.next() >> random.below(64),
        _ => (random.below(granules) << order) + random.pick(&[0, 0, 1, 100]),
    }
}

/// What was allocated and not freed as a whole.
type Live = Vec<(u64, u64)>;

fn alloc((pool, bitmap): &mut Both, live: &mut Live, random: &mut Random) {
    let (size, algorithm) = (size(random, bitmap.order), algorithm(random, bitmap.order));
    let expect = bitmap.alloc(size, algorithm);
    let found = pool.alloc_with(Bytes(size), algorithm);
    assert!(!matches!(found, Err(AllocError::Bug(_) | AllocError::NoPowerOfTwo)), "{found:?}");
    let found = found.ok().map(|Allocation { address, owner }| (address.0, owner));
    assert_eq!(found, expect, "{size} by {algorithm:?}");
    live.extend(found.map(|(address, _)| (address, size)));
}

/// Frees what is live, a part of it, or anything else.
fn free((pool, bitmap): &mut Both, live: &mut Live, random: &mut Random) {
    let wild = (random.next() >> random.below(64), size(random, bitmap.order));
    let whole = (!live.is_empty()).then(|| usize::try_from(random.below(live.len() as u64)).unwrap());
    let (address, size) = match (whole, random.below(8)) {
        (Some(at), 0..5) => live.swap_remove(at),
        (Some(at), 5) => (live[at].0 + random.below(live[at].1), 1 + random.below(live[at].1)),
        (Some(at), 6) => (live[at].0, live[at].1 + (random.below(3) << bitmap.order)),
        _ => wild,
    };
    let found = pool.free(CpuAddr(address), Bytes(size));
    assert_eq!(found.ok(), bitmap.free(address, size), "{size} at {address:#x}: {found:?}");
}

fn compare_rest((pool, bitmap): &Both, random: &mut Random) {
    let sums = bitmap
        .chunks
        .iter()
        .map(|chunk| (chunk.available, chunk.end.wrapping_sub(chunk.start).wrapping_add(1)));
    let (available, size) = sums.fold((0, 0), |sum, chunk| (sum.0 + chunk.0, sum.1 + chunk.1));
    assert_eq!((pool.available().0, pool.size().0), (available, size));
    let address = match bitmap.chunks.get(usize::try_from(random.below(4)).unwrap()) {
        Some(chunk) => chunk.start + random.below(chunk.bits.len() as u64 * 2 + 1),
        None => random.next(),
    };
    let chunk = bitmap.chunks.iter().find(|chunk| chunk.start <= address && address <= chunk.end);
    let phys = chunk.map(|chunk| BusAddr(chunk.phys.wrapping_add(address - chunk.start)));
    assert_eq!(pool.virt_to_phys(CpuAddr(address)), phys);
    let length = 1 + random.below(5000);
    let both = |chunk: &super::bitmap::Chunk| {
        chunk.start <= address && address.checked_add(length - 1).is_some_and(|last| last <= chunk.end)
    };
    assert_eq!(pool.has_addr(CpuAddr(address), Bytes(length)), bitmap.chunks.iter().any(both));
}

#[test]
fn the_pool_answers_as_a_bitmap() {
    let cases = cases(3000);
    for seed in 0..cases {
        let mut random = Random(seed);
        let (mut both, mut live) = (chunks(&mut random), Live::new());
        for _ in 0..80 {
            match random.below(5) {
                0..3 => alloc(&mut both, &mut live, &mut random),
                _ => free(&mut both, &mut live, &mut random),
            }
            compare_rest(&both, &mut random);
        }
        let in_use = both.1.chunks.iter().any(|chunk| chunk.bits.contains(&true));
        let expect = if in_use { Err(Bug::InUse) } else { Ok(()) };
        assert_eq!(both.0.destroy(), expect, "seed {seed}");
    }
    println!("{cases} sequences of 80 calls, seeds from 0");
}
