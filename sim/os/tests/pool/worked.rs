//! Worked examples, and the corners of each rule.

use peerbus_os::pool::{Algorithm, AllocError, Bug, ManagedPools, NameTaken, Pool};
use peerbus_units::{BusAddr, Bytes, CpuAddr};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// Pages from `start`.
fn pages(chunks: &[(u64, u64)]) -> Pool<CpuAddr, BusAddr, usize> {
    let mut pool = Pool::new(12).unwrap();
    for (owner, (start, size)) in chunks.iter().enumerate() {
        pool.add(CpuAddr(*start), BusAddr(start + (1 << 40)), Bytes(*size), owner);
    }
    pool
}

/// Allocations, each with what is expected: the address, or nothing.
fn check(chunks: &[(u64, u64)], calls: &[(u64, Algorithm, Option<u64>)]) -> Pool<CpuAddr, BusAddr, usize> {
    let mut pool = pages(chunks);
    for (size, algorithm, expect) in calls {
        let found = pool.alloc_with(Bytes(*size), *algorithm).ok().map(|allocation| allocation.address.0);
        assert_eq!(found, *expect, "{size:#x} by {algorithm:?}");
    }
    pool
}

use Algorithm::{BestFit, FirstFit, FirstFitAlign, Fixed, OrderAlign};

/// Property A12, of the pool.
#[test]
fn the_newest_chunk_is_tried_first_and_none_is_spanned() {
    let (a, b) = (0x1000_0000, 0x2000_0000);
    let pool = check(
        &[(a, 4 * MIB), (b, 2 * MIB)],
        &[
            (PAGE, FirstFit, Some(b)),
            (3 * MIB, FirstFit, Some(a)),
            (2 * MIB, FirstFit, None),
            (1, FirstFit, Some(b + PAGE)),
        ],
    );
    assert_eq!(pool.available(), Bytes(3 * MIB - 2 * PAGE));
    assert_eq!(pool.size(), Bytes(6 * MIB));
    // Chunks that touch are still two.
    check(&[(a, MIB), (a + MIB, MIB)], &[(2 * MIB, FirstFit, None), (MIB, FirstFit, Some(a + MIB))]);
}

/// Property A16.
#[test]
fn best_fit_takes_the_first_of_the_shortest_runs() {
    let start = MIB;
    let mut pool = pages(&[(start, 16 * PAGE)]);
    assert!(pool.alloc(Bytes(16 * PAGE)).is_ok());
    // Free runs of 5, 3 and 3 granules.
    for (first, count) in [(0, 5), (6, 3), (10, 3)] {
        assert_eq!(pool.free(CpuAddr(start + first * PAGE), Bytes(count * PAGE)), Ok(0));
    }
    let mut place = |count, algorithm| {
        pool.alloc_with(Bytes(count * PAGE), algorithm).ok().map(|found| (found.address.0 - start) / PAGE)
    };
    assert_eq!(place(3, BestFit), Some(6));
    assert_eq!(place(4, BestFit), Some(0));
    assert_eq!(place(2, BestFit), Some(10));
    assert_eq!(place(2, BestFit), None);
    assert_eq!(place(1, BestFit), Some(4));
}

/// Property A17.
#[test]
fn order_aligns_to_the_chunk_and_align_to_the_address() {
    let start = 0x10_1000;
    let calls = |algorithm, second| {
        [(PAGE, FirstFit, Some(start)), (3 * PAGE, algorithm, Some(start + second * PAGE))]
    };
    check(&[(start, MIB)], &calls(OrderAlign, 4));
    check(&[(start, MIB)], &calls(FirstFitAlign { align: 4 * PAGE }, 3));
    check(&[(start, MIB)], &calls(FirstFitAlign { align: PAGE }, 1));
    check(&[(start, MIB)], &calls(FirstFitAlign { align: 1 }, 1));
    check(&[(start, MIB)], &[(PAGE, FirstFitAlign { align: 1 << 63 }, None)]);
    for align in [0, 3, 3 * PAGE] {
        let found = pages(&[(start, MIB)]).alloc_with(Bytes(1), FirstFitAlign { align });
        assert_eq!(found, Err(AllocError::NoPowerOfTwo));
    }
}

#[test]
fn a_fixed_place_is_looked_for_in_every_chunk() {
    let (a, b) = (4 * MIB, 8 * MIB);
    let fixed = |offset| Fixed { offset };
    check(
        &[(a, MIB), (b, MIB)],
        &[
            (2 * PAGE, fixed(PAGE), Some(b + PAGE)),
            (2 * PAGE, fixed(0), Some(a)),
            (PAGE, fixed(2 * PAGE), Some(a + 2 * PAGE)),
            (PAGE, fixed(2 * PAGE), None),
            (PAGE, fixed(MIB), None),
            (2 * PAGE, fixed(MIB - PAGE), None),
            (PAGE, fixed(1 << 63), None),
        ],
    );
    let found = pages(&[(a, MIB)]).alloc_with(Bytes(1), fixed(100));
    assert_eq!(found, Err(AllocError::UnalignedOffset));
}

#[test]
fn the_algorithm_of_a_pool_can_be_set_and_reset() {
    let mut pool = pages(&[(MIB, MIB)]);
    pool.set_algorithm(Some(OrderAlign));
    let mut next = |size, algorithm: Option<Option<Algorithm>>| {
        algorithm.into_iter().for_each(|algorithm| pool.set_algorithm(algorithm));
        pool.alloc(Bytes(size * PAGE)).map(|found| (found.address.0 - MIB) / PAGE)
    };
    assert_eq!(next(1, None), Ok(0));
    assert_eq!(next(2, None), Ok(2));
    assert_eq!(next(2, Some(None)), Ok(4));
    assert_eq!(next(1, None), Ok(1));
}

#[test]
fn what_exceeds_whole_granules_is_available_for_ever() {
    let mut pool = pages(&[(MIB, 2 * PAGE + 100)]);
    assert_eq!(pool.alloc(Bytes(2 * PAGE + 1)), Err(AllocError::Exhausted));
    assert!(pool.alloc(Bytes(PAGE + 1)).is_ok());
    assert_eq!(pool.available(), Bytes(100));
    assert_eq!(pool.alloc(Bytes(1)), Err(AllocError::Exhausted));
    // The remainder is inside the chunk, but not in its bitmap.
    let odd = CpuAddr(MIB + 2 * PAGE);
    assert!(pool.has_addr(odd, Bytes(100)) && !pool.has_addr(odd, Bytes(101)));
    assert_eq!(pool.free(odd, Bytes(1)), Err(Bug::NotAllocated { address: odd.0 }));
    assert_eq!(pool.virt_to_phys(odd), Some(BusAddr((1 << 40) + MIB + 2 * PAGE)));
}

#[test]
fn address_zero_is_lost() {
    let mut pool = pages(&[(0, 2 * PAGE)]);
    assert_eq!(pool.alloc(Bytes(1)), Err(AllocError::AddressZero));
    assert_eq!(pool.available(), Bytes(PAGE));
    assert_eq!(pool.alloc(Bytes(1)).map(|found| found.address), Ok(CpuAddr(PAGE)));
    assert_eq!(pool.destroy(), Err(Bug::InUse));
}

#[test]
fn nothing_is_got_or_freed_for_size_zero() {
    let mut pool = pages(&[(MIB, MIB), (16 * MIB, 0)]);
    assert_eq!(pool.alloc(Bytes::ZERO), Err(AllocError::ZeroSize));
    assert_eq!(pool.free(CpuAddr(MIB), Bytes::ZERO), Ok(0));
    assert_eq!(pool.free(CpuAddr(16 * MIB), Bytes::ZERO), Err(Bug::NoChunk { address: 16 * MIB }));
    // At address 0 the last of no bytes is the top of the address space.
    let mut pool = pages(&[(0, MIB)]);
    assert_eq!(pool.free(CpuAddr(0), Bytes::ZERO), Err(Bug::BeyondChunk { address: 0 }));
    assert_eq!(pages(&[]).alloc(Bytes(1)), Err(AllocError::Exhausted));
}

#[test]
fn wrong_frees_are_bugs_and_change_nothing() {
    let mut pool = pages(&[(MIB, MIB), (4 * MIB, MIB)]);
    let first = pool.alloc(Bytes(4 * PAGE)).unwrap();
    assert_eq!((first.address, first.owner), (CpuAddr(4 * MIB), 1));
    let before = pool.clone();
    let at = first.address.0;
    let check = |pool: &mut Pool<_, _, _>, address, size, expect| {
        assert_eq!(pool.free(CpuAddr(address), Bytes(size)), Err(expect), "{size:#x} at {address:#x}");
        assert_eq!(*pool, before);
    };
    check(&mut pool, 0, PAGE, Bug::NoChunk { address: 0 });
    check(&mut pool, 2 * MIB, PAGE, Bug::NoChunk { address: 2 * MIB });
    check(&mut pool, MIB, PAGE, Bug::NotAllocated { address: MIB });
    check(&mut pool, at, 5 * PAGE, Bug::NotAllocated { address: at });
    check(&mut pool, at, MIB + 1, Bug::BeyondChunk { address: at });
    check(&mut pool, u64::MAX, u64::MAX, Bug::NoChunk { address: u64::MAX });
    assert_eq!(pool.free(CpuAddr(at + PAGE), Bytes(1)), Ok(1));
    assert_eq!(pool.free(CpuAddr(at), Bytes(PAGE + 1)), Err(Bug::NotAllocated { address: at }));
    assert_eq!(pool.free(CpuAddr(at), Bytes(PAGE)), Ok(1));
    assert_eq!(pool.free(CpuAddr(at + 2 * PAGE), Bytes(2 * PAGE)), Ok(1));
    assert_eq!(pool.destroy(), Ok(()));
}

#[test]
fn the_other_address_comes_with_an_allocation() {
    let mut pool = pages(&[(MIB, MIB)]);
    let (allocation, phys) = pool.alloc_phys(Bytes(1)).unwrap();
    assert_eq!((allocation.address, phys), (CpuAddr(MIB), Some(BusAddr((1 << 40) + MIB))));
    assert_eq!(pool.virt_to_phys(CpuAddr(3 * MIB)), None);
    assert_eq!(pool.granule(), Bytes(PAGE));
    assert!(Pool::<CpuAddr>::new(64).is_none());
}

#[test]
fn a_device_has_one_managed_pool_of_a_name() {
    let mut managed = ManagedPools::default();
    assert_eq!(managed.manage(Some("sram"), pages(&[(MIB, MIB)])), Ok(()));
    assert_eq!(managed.manage(None, pages(&[])), Ok(()));
    assert_eq!(managed.manage(Some("sram"), pages(&[])), Err(NameTaken));
    assert_eq!(managed.manage(None, pages(&[])), Err(NameTaken));
    assert!(managed.get_mut(Some("sram")).unwrap().alloc(Bytes(1)).is_ok());
    assert_eq!(managed.get(Some("sram")).unwrap().available(), Bytes(MIB - PAGE));
    assert_eq!(managed.release(), Err(Bug::InUse));
}
