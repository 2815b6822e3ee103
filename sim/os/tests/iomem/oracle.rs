//! Random sequences of operations beside a list of intervals that knows nothing of trees.

use peerbus_os::iomem::{FreeRegionStep, IoMem, IoResource, RegionError, RegionSpace, ResourceId};
use peerbus_os::pci::ResourceFlags;
use peerbus_os::{Profile, Rules};
use peerbus_units::{Bytes, CpuAddr, Range};

use super::rules;
use crate::random::{Random, cases};

const SPACE: u64 = 4096;

fn any_range(random: &mut Random) -> Range<CpuAddr> {
    let length = 1 << random.below(12);
    let first = random.below(SPACE) & !(random.below(length));
    let last = (first + random.below(length)).min(SPACE - 1);
    Range::new(CpuAddr(first), CpuAddr(last)).unwrap()
}

/// What is entered, in the order of the text: outer before inner, low before high. Of two equal ranges the outer
/// one has the smaller rank.
#[derive(Clone, Debug)]
struct Interval {
    range: Range<CpuAddr>,
    id: ResourceId,
    busy: bool,
    rank: i64,
}

#[derive(Default)]
struct Intervals {
    list: Vec<Interval>,
    rank: i64,
}

impl Intervals {
    fn holds(outer: &Interval, range: Range<CpuAddr>) -> bool {
        outer.range.covers(range)
    }

    /// Intervals with nothing around them but what is not `inside` of `of`.
    fn top(&self) -> impl Iterator<Item = &Interval> {
        self.list
            .iter()
            .filter(|this| !self.list.iter().any(|other| other.id != this.id && Self::above(other, this)))
    }

    fn above(outer: &Interval, inner: &Interval) -> bool {
        outer.range.covers(inner.range) && (outer.range != inner.range || outer.rank < inner.rank)
    }

    /// May `range` be inserted: every interval is disjoint, holds it, or lies inside of it.
    fn insertable(&self, range: Range<CpuAddr>) -> bool {
        self.list.iter().all(|found| {
            !found.range.overlaps(range) || found.range.covers(range) || range.covers(found.range)
        })
    }

    /// May a region be requested: what is met holds it, and is not busy; nothing lies inside of it.
    fn requestable(&self, range: Range<CpuAddr>) -> bool {
        let met = self.list.iter().filter(|found| found.range.overlaps(range));
        met.into_iter().all(|found| Self::holds(found, range) && !found.busy)
    }

    fn enter(&mut self, range: Range<CpuAddr>, id: ResourceId, busy: bool, outermost: bool) {
        self.rank += 1;
        let rank = if outermost { -self.rank } else { self.rank };
        self.list.push(Interval { range, id, busy, rank });
    }

    fn check(&self, tree: &IoMem) {
        let mut expected: Vec<&Interval> = self.list.iter().collect();
        expected
            .sort_by_key(|found| (found.range.first(), std::cmp::Reverse(found.range.last()), found.rank));
        let found: Vec<(ResourceId, Range<CpuAddr>)> =
            tree.walk().map(|(_, id, resource)| (id, resource.range)).collect();
        let expected: Vec<_> = expected.iter().map(|found| (found.id, found.range)).collect();
        assert_eq!(found, expected);
        for (depth, id, _) in tree.walk() {
            let this = self.list.iter().find(|found| found.id == id).unwrap();
            let around = self.list.iter().filter(|other| other.id != id && Self::above(other, this)).count();
            assert_eq!(depth, around, "depth of {:?}", this);
        }
    }
}

fn operation(random: &mut Random, tree: &mut IoMem, known: &mut Intervals) {
    let range = any_range(random);
    let root = tree.root();
    match random.below(8) {
        0..=2 => {
            let busy = random.below(3) == 0;
            let resource = IoResource::memory(range, "inserted");
            let result = tree.insert(root, if busy { resource.busy() } else { resource });
            assert_eq!(result.is_ok(), known.insertable(range), "insert {range}: {result:?}");
            if let Ok(id) = result {
                known.enter(range, id, busy, true);
            }
        }
        3 | 4 => {
            let result = tree.request_region(root, range, "requested");
            assert_eq!(result.is_ok(), known.requestable(range), "request {range}: {result:?}");
            if let Ok(id) = result {
                known.enter(range, id, true, false);
            }
        }
        5 => {
            let result = tree.request(root, IoResource::memory(range, "top"));
            let free = known.list.iter().all(|found| !found.range.overlaps(range));
            assert_eq!(result.is_ok(), free, "{result:?}");
            if let Ok(id) = result {
                known.enter(range, id, false, false);
            }
        }
        6 => {
            let Some(victim) = pick(random, known) else { return };
            tree.remove(victim.id).unwrap();
            known.list.retain(|found| found.id != victim.id);
        }
        _ => {
            let Some(victim) = pick(random, known) else { return };
            tree.release(victim.id).unwrap();
            known.list.retain(|found| found.id != victim.id && !Intervals::above(&victim, found));
        }
    }
}

fn pick(random: &mut Random, known: &Intervals) -> Option<Interval> {
    let count = u64::try_from(known.list.len()).unwrap();
    let index = usize::try_from(random.below(count.max(1))).unwrap();
    known.list.get(index).cloned()
}

/// A region search by trying every candidate against every top-level interval.
fn probe(known: &Intervals, rules: &Rules, limit: u64, section: u64, size: u64) -> (Option<u64>, u64) {
    let size = size.next_multiple_of(section);
    let step = if rules.iomem.free_region_step == FreeRegionStep::Size { size } else { section };
    let mut addr = limit.wrapping_sub(size).wrapping_add(1);
    let mut probes = 0;
    while addr > step {
        probes += 1;
        let last = addr.wrapping_add(size).wrapping_sub(1);
        let met = |found: &Interval| found.range.first().0 <= last && addr <= found.range.last().0;
        if !known.top().any(met) {
            return ((addr <= last).then_some(addr), probes);
        }
        addr = addr.wrapping_sub(step);
    }
    (None, probes)
}

fn region(random: &mut Random, tree: &mut IoMem, known: &mut Intervals) {
    let profile = Profile::ALL[usize::try_from(random.below(3)).unwrap()];
    let section = 1 << random.below(5);
    let limit = SPACE - 1 - random.below(3) * random.below(2000);
    let size = 1 + random.below(200);
    let space = RegionSpace { limit: CpuAddr(limit), section: Bytes(section) };
    let rules = rules(profile);
    let expected = probe(known, &rules, limit, section, size);
    let found = tree.request_free_mem_region(&rules, &space, tree.root(), Bytes(size), "region");
    let answer = found.result.as_ref().ok().map(|region| region.range.first().0);
    assert_eq!((answer, found.work.probes), expected, "{profile} {space:?} {size}");
    match found.result {
        Ok(region) => {
            assert!(tree.get(region.id).unwrap().flags.has(ResourceFlags::BUSY));
            known.enter(region.range, region.id, true, false);
        }
        Err(error) => assert!(matches!(error, RegionError::Exhausted | RegionError::Unusable(None))),
    }
}

#[test]
fn tree_and_intervals_agree() {
    let cases = cases(300);
    let mut regions = 0;
    for seed in 0..cases {
        let mut random = Random(seed);
        let mut tree = IoMem::new(CpuAddr(SPACE - 1));
        let mut known = Intervals::default();
        for _ in 0..40 {
            match random.below(4) {
                0 => {
                    region(&mut random, &mut tree, &mut known);
                    regions += 1;
                }
                _ => operation(&mut random, &mut tree, &mut known),
            }
        }
        known.check(&tree);
        let text = tree.render(&rules(Profile::Linux_6_12));
        let read = IoMem::parse(&text, CpuAddr(SPACE - 1))
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        assert_eq!(read.render(&rules(Profile::Linux_6_12)), text, "seed {seed}");
    }
    println!("{cases} sequences, seeds 0..{cases}, {regions} region requests");
}
