//! Which page an agent touches next.

use peerbus_engine::Stream;

use crate::peer_memory::zipf_weight;
use crate::shared_virtual::Order;

/// Pages that [`Order::Zipf`] tells apart; of larger ranges, neighbours share a weight.
const ZIPF_CLASSES: u64 = 1024;

/// A sequence of pages of one range.
#[derive(Clone, Debug)]
pub struct Pattern {
    order: Order,
    pages: u64,
    /// Touches so far.
    touched: u64,
    stream: Stream,
    /// The next page, where it is drawn.
    drawn: u64,
    /// Sums of weights, and the classes in their order.
    zipf: Option<(Vec<u64>, Vec<u64>)>,
}

impl Pattern {
    /// Of a range with `pages` pages, at least one.
    pub fn new(order: Order, pages: u64, mut stream: Stream) -> Pattern {
        let zipf = match order {
            Order::Zipf(exponent) => Some(zipf(exponent, pages, &mut stream)),
            _ => None,
        };
        let mut pattern = Pattern { order, pages, touched: 0, stream, drawn: 0, zipf };
        pattern.draw();
        pattern
    }

    /// The next page.
    pub fn page(&self) -> u64 {
        match self.order {
            Order::Sequential => self.touched % self.pages,
            Order::Strided(step) => {
                // Columns of the range, if it is written in rows of `step` pages; the last row may be short.
                let step = step.clamp(1, self.pages);
                let (rows, rest) = (self.pages / step, self.pages % step);
                let at = self.touched % self.pages;
                let long = rest * (rows + 1);
                let (column, row) = match at.checked_sub(long) {
                    None => (at / (rows + 1), at % (rows + 1)),
                    Some(after) => (rest + after / rows, after % rows),
                };
                row * step + column
            }
            Order::Random | Order::Zipf(_) => self.drawn,
        }
    }

    /// It has been touched.
    pub fn touched(&mut self) {
        self.touched += 1;
        self.draw();
    }

    fn draw(&mut self) {
        match &self.zipf {
            _ if self.order == Order::Random => self.drawn = self.stream.below(self.pages),
            Some((sums, classes)) => {
                let all = sums.last().copied().unwrap_or(1);
                let at = self.stream.below(all);
                let rank = sums.partition_point(|sum| *sum <= at);
                let class = classes.get(rank).copied().unwrap_or(0);
                let count = classes.len() as u64;
                let (from, to) = (class * self.pages / count, (class + 1) * self.pages / count);
                self.drawn = from + self.stream.below((to - from).max(1));
            }
            None => {}
        }
    }
}

/// Sums of weights by rank, and which class has which rank.
fn zipf(exponent: u32, pages: u64, stream: &mut Stream) -> (Vec<u64>, Vec<u64>) {
    let count = pages.min(ZIPF_CLASSES);
    let sums = (1..=count).scan(0u64, |sum, rank| {
        *sum += zipf_weight(rank, exponent);
        Some(*sum)
    });
    let mut classes: Vec<u64> = (0..count).collect();
    for last in (1..classes.len()).rev() {
        let other = usize::try_from(stream.below(last as u64 + 1)).unwrap_or(last);
        classes.swap(last, other);
    }
    (sums.collect(), classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(order: Order, pages: u64, count: usize) -> Vec<u64> {
        let mut pattern = Pattern::new(order, pages, Stream::new(1, 2));
        let next = |_| {
            let page = pattern.page();
            pattern.touched();
            page
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn every_order_stays_in_its_range_and_fixed_ones_touch_every_page_once() {
        for order in [Order::Sequential, Order::Strided(3), Order::Strided(7), Order::Strided(100)] {
            let mut found = pages(order, 10, 10);
            found.sort_unstable();
            assert_eq!(found, (0..10).collect::<Vec<_>>(), "{order:?}");
        }
        assert_eq!(pages(Order::Strided(4), 10, 5), [0, 4, 8, 1, 5]);
        assert!(pages(Order::Random, 10, 1000).into_iter().all(|page| page < 10));
    }

    #[test]
    fn zipf_prefers_few_pages() {
        let found = pages(Order::Zipf(1), 4096, 20_000);
        let mut counts = vec![0u64; 4096];
        found.iter().for_each(|page| counts[usize::try_from(*page).unwrap()] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let top: u64 = counts.iter().take(410).sum();
        assert!((12_000..18_000).contains(&top), "a tenth of the pages gets {top} of 20000 touches");
    }
}
