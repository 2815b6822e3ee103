//! The search for free pages against a literal one: a sorted list of ranges, walked one by one, and two remembered
//! positions.

use peerbus_os::dma::{DmaWork, IovaTree};

use crate::random::{Random, cases};

const ANCHOR: u64 = u64::MAX;
const FOUR_GIB: u64 = 1 << 20;

/// Ranges with the anchor at the end; remembered ranges by their first page.
struct Literal {
    nodes: Vec<(u64, u64)>,
    start: u64,
    cached: u64,
    cached_low: u64,
    refused_from: u64,
}

impl Literal {
    fn position(&self, first: u64) -> usize {
        self.nodes.iter().position(|node| node.0 == first).unwrap()
    }

    fn take(&mut self, pages: u64, limit: u64) -> Option<u64> {
        let mut mask = 1;
        while mask < pages {
            mask *= 2;
        }
        let mask = !(mask - 1);
        if limit <= FOUR_GIB && pages >= self.refused_from {
            return None;
        }
        let mut at = self.position(if limit <= FOUR_GIB { self.cached_low } else { self.cached });
        let retry_from = self.nodes[at].1;
        let (mut high, mut low) = (limit, self.start);
        loop {
            let mut place;
            let mut current = Some(at);
            loop {
                let node = current.unwrap();
                high = high.min(self.nodes[node].0);
                place = high.wrapping_sub(pages) & mask;
                current = node.checked_sub(1);
                let goes_on = current.is_some_and(|below| place <= self.nodes[below].1) && place >= low;
                if !goes_on {
                    break;
                }
            }
            if high >= pages && place >= low {
                self.nodes.push((place, place + pages - 1));
                self.nodes.sort();
                let low_range = place + pages - 1 < FOUR_GIB;
                *(if low_range { &mut self.cached_low } else { &mut self.cached }) = place;
                return Some(place);
            }
            if low != self.start || retry_from >= limit {
                self.refused_from = pages;
                return None;
            }
            (high, low) = (limit, retry_from + 1);
            let above = self.nodes.iter().position(|node| node.0 >= limit).unwrap();
            at = if limit > FOUR_GIB { self.nodes.len() - 1 } else { above };
        }
    }

    fn give_back(&mut self, first: u64) {
        let at = self.position(first);
        let (node, next) = (self.nodes.remove(at), self.nodes[at].0);
        if first == self.cached_low || node.1 < FOUR_GIB && first >= self.cached_low {
            self.cached_low = next;
        }
        if first < FOUR_GIB {
            self.refused_from = FOUR_GIB;
        }
        if first >= self.cached {
            self.cached = next;
        }
    }
}

/// A thousand calls; returns how many places were given and how many refused.
fn run(seed: u64) -> [u64; 2] {
    let mut random = Random(seed);
    let start = 1 + random.sized(1, 10);
    // Crowded below 4 GiB, a little beyond it.
    let last = FOUR_GIB + random.sized(1, 20);
    let reserved: Vec<_> =
        (1..=random.below(8)).map(|it| (it << 17, (it << 17) + random.sized(1, 16))).collect();
    let mut tree = IovaTree::new(start, FOUR_GIB, reserved.clone());
    let mut nodes = reserved;
    nodes.push((ANCHOR, ANCHOR));
    let mut literal = Literal { nodes, start, cached: ANCHOR, cached_low: ANCHOR, refused_from: FOUR_GIB };
    let (mut live, mut counts, mut work) = (Vec::new(), [0; 2], DmaWork::default());
    for _ in 0..1000 {
        if random.below(3) == 0 && !live.is_empty() {
            let first: u64 = live.swap_remove(usize::try_from(random.below(live.len() as u64)).unwrap());
            assert!(tree.give_back(first, &mut work), "seed {seed}");
            literal.give_back(first);
        } else {
            let pages = 1 + random.sized(1, 18);
            let limit = [FOUR_GIB, FOUR_GIB, last, last / 2, 1 + random.below(last)];
            let limit = limit[usize::try_from(random.below(5)).unwrap()];
            let found = tree.take(pages, limit, &mut work);
            assert_eq!(found, literal.take(pages, limit), "seed {seed}: {pages} pages below {limit:#x}");
            counts[usize::from(found.is_none())] += 1;
            live.extend(found);
        }
        let ranges = literal.nodes.iter().copied().take(literal.nodes.len() - 1);
        assert!(tree.ranges().eq(ranges), "seed {seed}");
    }
    counts
}

#[test]
fn the_tree_answers_like_the_literal_search() {
    let cases = cases(100);
    let mut sum = [0, 0];
    for seed in 0..cases {
        let counts = run(seed);
        sum = [sum[0] + counts[0], sum[1] + counts[1]];
    }
    println!("seeds 0 to {}: {} places given, {} refused", cases - 1, sum[0], sum[1]);
    assert!(sum.iter().all(|count| *count > 0));
}
