//! Requests of 2^32 granules and more: the search sees the low 32 bits of the count only.

use peerbus_os::pool::{Algorithm, AllocError, Bug, Pool};
use peerbus_units::{Bytes, CpuAddr};

const TIB: u64 = 1 << 40;
const PAGE: u64 = 4096;

fn pool(tebibytes: u64) -> Pool<CpuAddr> {
    let mut pool = Pool::new(12).unwrap();
    pool.add(CpuAddr(TIB), CpuAddr(TIB), Bytes(tebibytes * TIB), ());
    pool
}

fn address(pool: &mut Pool<CpuAddr>, size: u64, algorithm: Algorithm) -> Result<u64, AllocError> {
    pool.alloc_with(Bytes(size), algorithm).map(|allocation| allocation.address.0)
}

#[test]
fn a_request_that_fits_is_not_troubled() {
    for (size, algorithm) in [
        (16 * TIB, Algorithm::FirstFit),
        (16 * TIB + PAGE, Algorithm::FirstFit),
        (40 * TIB, Algorithm::BestFit),
        (16 * TIB, Algorithm::OrderAlign),
    ] {
        let mut pool = pool(64);
        assert_eq!(address(&mut pool, size, algorithm), Ok(TIB));
        assert_eq!(pool.available(), Bytes(64 * TIB - size));
        assert_eq!(pool.free(CpuAddr(TIB), Bytes(size)), Ok(()));
        assert_eq!(pool.destroy(), Ok(()));
    }
}

#[test]
fn a_place_found_too_small_is_searched_for_ever() {
    // One free page, one taken, then more than the request. 2^32 + 1 granules look like one.
    let mut pool = pool(64);
    assert_eq!(address(&mut pool, PAGE, Algorithm::FirstFit), Ok(TIB));
    assert_eq!(address(&mut pool, PAGE, Algorithm::FirstFit), Ok(TIB + PAGE));
    assert_eq!(pool.free(CpuAddr(TIB), Bytes(PAGE)), Ok(()));
    let before = pool.clone();
    let found = address(&mut pool, 16 * TIB + PAGE, Algorithm::FirstFit);
    assert_eq!(found, Err(AllocError::Bug(Bug::EndlessSearch)));
    assert_eq!(pool, before);
    // 2^32 + 2 granules look like two, and there is room for two behind the taken page only.
    assert_eq!(address(&mut pool, 16 * TIB + 2 * PAGE, Algorithm::FirstFit), Ok(TIB + 2 * PAGE));
}

#[test]
fn a_place_at_the_end_writes_past_the_bitmap() {
    // 20 TiB below the end, enough in sum because a page before is free, but the place found is one page short.
    let mut pool = pool(20);
    assert_eq!(address(&mut pool, PAGE, Algorithm::FirstFit), Ok(TIB));
    assert_eq!(address(&mut pool, PAGE, Algorithm::FirstFit), Ok(TIB + PAGE));
    assert_eq!(pool.free(CpuAddr(TIB), Bytes(PAGE)), Ok(()));
    let found = address(&mut pool, 20 * TIB - PAGE, Algorithm::FirstFit);
    assert_eq!(found, Err(AllocError::Bug(Bug::BeyondBitmap)));
}

#[test]
fn chunks_of_any_size_and_place_are_bearable() {
    let mut pool: Pool<CpuAddr> = Pool::new(0).unwrap();
    for (start, size) in [(0, 0), (1, u64::MAX), (u64::MAX, 2), (5, u64::MAX)] {
        pool.add(CpuAddr(start), CpuAddr(u64::MAX), Bytes(size), ());
    }
    for size in [1, 2, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX - 1, u64::MAX] {
        for algorithm in [
            Algorithm::FirstFit,
            Algorithm::BestFit,
            Algorithm::OrderAlign,
            Algorithm::FirstFitAlign { align: 1 << 63 },
            Algorithm::Fixed { offset: u64::MAX },
        ] {
            if let Ok(allocation) = pool.alloc_with(Bytes(size), algorithm) {
                let _ = pool.free(allocation.address, Bytes(size));
            }
        }
    }
    let mut huge: Pool<CpuAddr> = Pool::new(63).unwrap();
    huge.add(CpuAddr(0), CpuAddr(0), Bytes(u64::MAX), ());
    assert_eq!(huge.alloc(Bytes(1)), Err(AllocError::AddressZero));
}
