//! Addresses a translated domain gives out: worked values, reuse, and a plain set of intervals as oracle.

use peerbus_os::Profile;
use peerbus_os::dma::{
    Call, Device, DmaError, DmaRules, DmaWork, DomainError, DomainShape, FlushShape, FlushTimer,
    Invalidation, TranslatedDomain,
};
use peerbus_os::pci::FunctionIndex;
use peerbus_units::{Bytes, Iova, Picos, Range};

use crate::p2pdma::machine::rules;
use crate::random::{Random, cases};

const LAZY: Invalidation = Invalidation::Lazy(FlushShape::ORDINARY, FlushTimer::Never);
const CALL: Call = Call { now: Picos(0), cpu: 0 };

fn iova(first: u64, last: u64) -> Range<Iova> {
    Range::new(Iova(first), Iova(last)).unwrap()
}

/// A device that can send 64-bit addresses.
fn device() -> Device {
    let mut device = Device::new(Some(FunctionIndex(0)), false);
    device.mask = u64::MAX;
    device
}

fn shape(invalidation: Invalidation) -> DomainShape {
    DomainShape { granule_shift: 12, aperture: iova(0, 0x7f_ffff_ffff), invalidation, cpus: 1 }
}

/// What a PC with one host bridge reserves.
fn pc() -> Vec<Range<Iova>> {
    vec![
        iova(0xa_0000, 0xb_ffff),
        iova(0x4000_0000, 0xafff_ffff),
        iova(0xc000_0000, 0xfebf_ffff),
        iova(0x8_0000_0000, 0x2f_ffff_ffff),
        iova(0xfee0_0000, 0xfeef_ffff),
    ]
}

struct Fixture {
    domain: TranslatedDomain,
    device: Device,
    rules: DmaRules,
    work: DmaWork,
}

fn fixture(profile: Profile, invalidation: Invalidation) -> Fixture {
    let rules = rules(profile).dma;
    let domain = TranslatedDomain::new(&shape(invalidation), &pc(), &rules).unwrap();
    Fixture { domain, device: device(), rules, work: DmaWork::default() }
}

impl Fixture {
    fn take_on(&mut self, size: u64, call: Call) -> Option<Range<Iova>> {
        let limit = self.device.limit();
        self.domain.allocate(&mut self.device, size, limit, &self.rules, call, &mut self.work)
    }

    fn take(&mut self, size: u64) -> u64 {
        self.take_on(size, CALL).unwrap().first().0
    }

    fn free_on(&mut self, range: Range<Iova>, call: Call) -> u64 {
        self.domain.free(range, call, &mut self.work).unwrap()
    }

    fn cycle(&mut self) -> u64 {
        let range = self.take_on(0x1000, CALL).unwrap();
        self.free_on(range, CALL);
        range.first().0
    }
}

/// Property B6.
#[test]
fn a_fresh_domain_gives_out_the_known_addresses() {
    let (kib, mib, gib) = (1 << 10, 1 << 20, 1u64 << 30);
    let check = |size: u64, expect: [u64; 2], prefers_low| {
        for profile in Profile::ALL {
            let mut domain = fixture(profile, LAZY);
            assert_eq!([domain.take(size), domain.take(size)], expect, "{profile} {size:#x}");
            let kept = prefers_low || profile == Profile::Linux_6_1;
            assert_eq!(domain.device.prefers_low(), kept, "{profile} {size:#x}");
        }
    };
    check(4 * kib, [0xffff_f000, 0xffff_e000], true);
    check(8 * kib, [0xffff_e000, 0xffff_c000], true);
    check(12 * kib, [0xffff_c000, 0xffff_8000], true);
    check(68 * kib, [0xfffe_0000, 0xfffc_0000], true);
    check(128 * kib, [0xfffe_0000, 0xfffc_0000], true);
    check(132 * kib, [0xfffc_0000, 0xfff8_0000], true);
    check(mib, [0xfff0_0000, 0xffe0_0000], true);
    check(2 * mib, [0xffe0_0000, 0xffc0_0000], true);
    check(16 * mib, [0xff00_0000, 0xbf00_0000], true);
    check(32 * mib, [0xbe00_0000, 0xbc00_0000], true);
    check(256 * mib, [0xb000_0000, 0x3000_0000], true);
    check(gib, [0x7f_c000_0000, 0x7f_8000_0000], false);
    check(16 * gib, [0x7c_0000_0000, 0x78_0000_0000], false);
}

/// Property B6: the 4353rd page.
#[test]
fn pages_run_downwards_around_what_is_reserved() {
    for profile in Profile::ALL {
        let mut domain = fixture(profile, LAZY);
        let mut expect = |last: u64, first: u64| {
            for page in (first >> 12..=last >> 12).rev() {
                assert_eq!(domain.take(0x1000), page << 12);
            }
            (last - first + 1) >> 12
        };
        assert_eq!(expect(0xffff_ffff, 0xfef0_0000), 4352);
        assert_eq!(expect(0xfedf_ffff, 0xfec0_0000), 512);
        assert_eq!(expect(0xbfff_ffff, 0xb000_0000), 65536);
        assert_eq!(expect(0x3fff_ffff, 0x3fff_0000), 16);
    }
}

/// Property B7.
#[test]
fn one_impossible_request_ends_the_preference_of_its_device_alone() {
    for profile in Profile::ALL {
        let mut domain = fixture(profile, LAZY);
        let low = profile == Profile::Linux_6_1;
        assert_eq!(domain.take(0x1000), 0xffff_f000);
        assert_eq!(domain.take(1 << 30), 0x7f_c000_0000);
        assert_eq!(domain.take(0x1000), if low { 0xffff_e000 } else { 0x7f_bfff_f000 }, "{profile}");
        // Another function of the group.
        let next = if low { 0xffff_d000 } else { 0xffff_e000 };
        domain.device = device();
        assert_eq!(domain.take(0x1000), next, "{profile}");
        // A device with a 32-bit mask never gets another address, and fails.
        domain.device.mask = 0xffff_ffff;
        assert_eq!(domain.take_on(1 << 30, CALL), None);
        domain.device.mask = 0xff_ffff;
        assert_eq!(domain.take(0x1000), 0xff_f000);
    }
}

/// Property B8.
#[test]
fn strict_reuses_at_once_and_lazy_after_the_256th_unmapping() {
    for profile in Profile::ALL {
        let mut strict = fixture(profile, Invalidation::Strict);
        assert!((0..600).all(|_| strict.cycle() == 0xffff_f000));
        assert_eq!((strict.work.flushes, strict.work.cache_hits), (600, 599));

        let mut lazy = fixture(profile, LAZY);
        let mut check = |first: u64, last: u64| {
            let step = |at: u64| if first > last { at - 0x1000 } else { at + 0x1000 };
            let mut expect = first;
            loop {
                assert_eq!(lazy.cycle(), expect, "{profile}");
                if expect == last {
                    return;
                }
                expect = step(expect);
            }
        };
        check(0xffff_f000, 0xfff0_0000);
        check(0xfff0_1000, 0xfff0_1000);
        check(0xfff8_1000, 0xffff_f000);
        check(0xfff0_2000, 0xfff8_0000);
        assert_eq!(lazy.work.flushes, 2, "by the 256th and the 511th unmapping");
    }
}

#[test]
fn the_timer_makes_freed_addresses_come_back() {
    let at = |micros: u64| Call { now: Picos(micros * 1_000_000), cpu: 0 };
    let timer = FlushTimer::Ticks { tick: Picos(4_000_000_000) };
    let mut domain = fixture(Profile::Linux_6_12, Invalidation::Lazy(FlushShape::ORDINARY, timer));
    let first = domain.take_on(0x1000, at(0)).unwrap();
    domain.free_on(first, at(100));
    let second = domain.take_on(0x1000, at(11_999)).unwrap();
    assert_ne!(second, first, "still waiting");
    assert_eq!((domain.domain.waiting(), domain.domain.timer()), (1, Some(at(12_000))));
    assert_eq!(domain.take_on(0x1000, at(12_000)), Some(first));
    assert_eq!((domain.domain.waiting(), domain.domain.timer()), (0, None));
}

#[test]
fn what_is_freed_wrongly_is_a_bug_and_changes_nothing() {
    let mut domain = fixture(Profile::Linux_6_12, Invalidation::Strict);
    let range = domain.take_on(0x3000, CALL).unwrap();
    for wrong in [iova(0, 0xfff), iova(range.first().0, range.first().0 + 0xfff), iova(1, 2)] {
        assert_eq!(domain.domain.free(wrong, CALL, &mut domain.work), Err(DmaError::NotMapped), "{wrong}");
    }
    domain.free_on(range, CALL);
    assert_eq!(domain.domain.free(range, CALL, &mut domain.work), Err(DmaError::NotMapped));
    assert_eq!(domain.domain.live().count(), 0);
    assert_eq!([0, u64::MAX].map(|size| domain.take_on(size, CALL)), [None, None]);
}

#[test]
fn a_space_without_pages_cannot_be_set_up() {
    let rules = rules(Profile::Linux_6_12).dma;
    let new = |shape| TranslatedDomain::new(&shape, &[], &rules).map(drop);
    let base = shape(LAZY);
    assert_eq!(new(base), Ok(()));
    assert_eq!(new(DomainShape { aperture: iova(0, 0xfff), ..base }), Err(DomainError::NoPages));
    assert_eq!(new(DomainShape { granule_shift: 11, ..base }), Err(DomainError::Granule));
    assert_eq!(new(DomainShape { granule_shift: 64, ..base }), Err(DomainError::Granule));
    let large = TranslatedDomain::new(&DomainShape { granule_shift: 16, ..base }, &[], &rules).unwrap();
    let mut domain = Fixture { domain: large, ..fixture(Profile::Linux_6_12, LAZY) };
    assert_eq!([domain.take(1), domain.take(0x1_0001)], [0xffff_0000, 0xfffc_0000]);
}

/// True when `pages` pages, aligned, fit between `taken` ranges up to address `last`. Only ends of ranges, and the top,
/// need to be looked at: a place can be moved up until it meets one.
fn fits(taken: &[Range<Iova>], pages: u64, last: u64) -> bool {
    let size = (if pages < 32 { pages.next_power_of_two() } else { pages }) << 12;
    let align = pages.next_power_of_two() << 12;
    let below = |end: u64| end.checked_sub(size).map(|first| first & !(align - 1)).filter(|first| *first > 0);
    let end = |last: u64| (last >> 12) + 1;
    let tops = taken.iter().map(|range| range.first().0 >> 12 << 12).chain([end(last) << 12]);
    let pages_of = |range: &Range<Iova>| iova(range.first().0 >> 12 << 12, (end(range.last().0) << 12) - 1);
    tops.filter(|top| *top <= end(last) << 12).filter_map(below).any(|first| {
        let place = iova(first, first + size - 1);
        taken.iter().all(|range| !pages_of(range).overlaps(place))
    })
}

fn random_domain(
    random: &mut Random,
    profile: Profile,
) -> (TranslatedDomain, Vec<Range<Iova>>, u64, Invalidation) {
    let reserved: Vec<_> = (0..random.below(6))
        .map(|_| {
            let first = random.sized(20, 18);
            iova(first, first + random.sized(13, 20))
        })
        .collect();
    let timer = match random.below(2) {
        0 => FlushTimer::Never,
        _ => FlushTimer::Ticks { tick: Picos(1_000_000_000) },
    };
    let invalidation = match random.below(3) {
        0 => Invalidation::Strict,
        _ => Invalidation::Lazy(FlushShape { entries: 8 << random.below(6), ..FlushShape::ORDINARY }, timer),
    };
    let last = (1 << (22 + random.below(18))) - 1;
    let cpus = 1 + usize::try_from(random.below(3)).unwrap();
    let shape = DomainShape { granule_shift: 12, aperture: iova(0, last), invalidation, cpus };
    let domain = TranslatedDomain::new(&shape, &reserved, &rules(profile).dma).unwrap();
    (domain, reserved, last, invalidation)
}

/// Random requests against one domain; everything live is kept as a plain list of intervals.
fn run(seed: u64) -> [u64; 3] {
    let mut random = Random(seed);
    let profile = Profile::ALL[usize::try_from(seed % 3).unwrap()];
    let (domain, reserved, last, invalidation) = random_domain(&mut random, profile);
    let rules = rules(profile).dma;
    let mut fixture = Fixture { domain, device: device(), rules, work: DmaWork::default() };
    let (mut live, mut now): (Vec<Range<Iova>>, _) = (Vec::new(), 0);
    let (mut refused, mut justified) = (0, 0);
    for _ in 0..2000 {
        now += random.below(2_000_000_000);
        let call = Call { now: Picos(now), cpu: u32::try_from(random.below(3)).unwrap() };
        if random.below(5) < 2 && !live.is_empty() {
            let index = usize::try_from(random.below(live.len() as u64)).unwrap();
            fixture.free_on(live.swap_remove(index), call);
            continue;
        }
        let masks = [u64::MAX, 0xffff_ffff, 0xff_ffff_ffff, 0xf_ffff];
        fixture.device.mask = masks[usize::try_from(random.below(4)).unwrap()];
        let size = 1 + random.sized(1, u64::from(last.ilog2()));
        let Some(range) = fixture.take_on(size, call) else {
            refused += 1;
            let limit = last.min(fixture.device.mask);
            // Below 4 GiB a size once refused stays refused; what waits for a flush is not free.
            if limit > 0xffff_ffff && invalidation == Invalidation::Strict {
                let taken: Vec<_> = live.iter().chain(&reserved).copied().collect();
                assert!(
                    !fits(&taken, size.div_ceil(0x1000), limit),
                    "seed {seed}: {size:#x} would have fitted"
                );
                justified += 1;
            }
            continue;
        };
        let pages = size.div_ceil(0x1000);
        assert_eq!(range.size(), Bytes(pages << 12), "seed {seed}");
        assert_eq!(range.first().0 % (pages.next_power_of_two() << 12), 0, "seed {seed}: {range}");
        assert!(
            range.first().0 > 0 && range.last().0 <= last.min(fixture.device.mask),
            "seed {seed}: {range}"
        );
        let taken = live.iter().chain(&reserved).find(|other| other.overlaps(range));
        assert_eq!(taken, None, "seed {seed}: {range}");
        live.push(range);
    }
    let mut found: Vec<_> = fixture.domain.live().collect();
    live.sort();
    found.sort();
    assert_eq!(found, live, "seed {seed}");
    [fixture.work.cache_hits, refused, justified]
}

#[test]
fn live_ranges_never_overlap_and_keep_to_every_limit() {
    let cases = cases(150);
    let mut sum = [0; 3];
    for seed in 0..cases {
        for (sum, count) in sum.iter_mut().zip(run(seed)) {
            *sum += count;
        }
    }
    let [hits, refused, justified] = sum;
    println!(
        "seeds 0 to {}: {hits} cache hits, {refused} requests refused, {justified} of them with a proof",
        cases - 1
    );
    assert!(hits > 0 && refused > 0);
}
