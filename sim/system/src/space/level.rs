//! [`Level`]: how full a space is, over time.

use std::collections::BTreeMap;

use peerbus_units::{Bytes, Picos};

use super::{Space, SpaceKind, SpaceSample};
use crate::outcome::PoolSample;

/// Samples of a level; when there are more, every second one is dropped and the interval doubled.
const MOST_SAMPLES: usize = 256;
/// The first interval: that of the links' series.
const FIRST_INTERVAL: Picos = Picos::micros(4);

/// How full a space is, over time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Level {
    /// All there is.
    pub size: Bytes,
    /// Bytes free.
    pub available: Bytes,
    /// Largest free piece.
    pub largest_hole: Bytes,
    /// Allocations, or pages in the hands of processes, that are in use.
    pub allocations: u64,
    /// Most bytes that were in use at a time.
    pub peak: Bytes,
    /// Smallest size that the largest free piece ever had.
    pub least_hole: Bytes,
    /// Sums over time of `available` and `largest_hole`, in byte-picoseconds.
    area_available: u128,
    area_hole: u128,
    now: Picos,
    holding: Holding,
    /// Who had what when most was in use.
    at_peak: Holding,
    /// Regular looks at it, the first at time 0.
    pub samples: Vec<PoolSample>,
    /// Time between two of them.
    pub interval: Picos,
}

/// Who has how much of a space, by device, and what of it is slack by the granule.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Holding {
    /// By index of the device in the machine.
    pub devices: BTreeMap<usize, u64>,
    /// What nobody asked for.
    pub slack: u64,
}

impl Level {
    /// All free at time 0.
    pub fn new(size: Bytes, largest_hole: Bytes) -> Level {
        Level {
            size,
            available: size,
            largest_hole,
            allocations: 0,
            peak: Bytes::ZERO,
            least_hole: largest_hole,
            area_available: 0,
            area_hole: 0,
            now: Picos::ZERO,
            holding: Holding::default(),
            at_peak: Holding::default(),
            samples: Vec::new(),
            interval: FIRST_INTERVAL,
        }
    }

    /// Some of it in use at time 0.
    pub fn partly(size: Bytes, available: Bytes, largest_hole: Bytes, allocations: u64) -> Level {
        let mut level = Level::new(size, largest_hole);
        level.set(available, largest_hole, allocations);
        level
    }

    /// Lets the present values last until `now`.
    pub fn advance(&mut self, now: Picos) {
        let lasted = u128::from(now.saturating_sub(self.now).0);
        self.area_available += lasted * u128::from(self.available.0);
        self.area_hole += lasted * u128::from(self.largest_hole.0);
        self.now = self.now.max(now);
        while self.next_sample() <= now.0 {
            self.samples.push(PoolSample {
                available: self.available,
                largest_hole: self.largest_hole,
                allocations: self.allocations,
            });
            if self.samples.len() > MOST_SAMPLES {
                let mut keep = [true, false].into_iter().cycle();
                self.samples.retain(|_| keep.next().unwrap_or(true));
                self.interval = Picos(self.interval.0.saturating_mul(2));
            }
        }
    }

    fn next_sample(&self) -> u64 {
        self.interval.0.saturating_mul(u64::try_from(self.samples.len()).unwrap_or(u64::MAX))
    }

    /// A device takes `amount`, of which `slack` was not asked for. The values follow.
    pub fn take(&mut self, device: usize, amount: Bytes, slack: Bytes) {
        *self.holding.devices.entry(device).or_default() += amount.0;
        self.holding.slack += slack.0;
    }

    /// It gives that back.
    pub fn give_back(&mut self, device: usize, amount: Bytes, slack: Bytes) {
        let held = self.holding.devices.entry(device).or_default();
        *held = held.saturating_sub(amount.0);
        self.holding.slack = self.holding.slack.saturating_sub(slack.0);
    }

    /// Who had what when most was in use.
    pub fn at_peak(&self) -> &Holding {
        &self.at_peak
    }

    /// As a space, without owners.
    pub fn space(&self, kind: SpaceKind, name: String) -> Space {
        let sample = |sample: &PoolSample| SpaceSample {
            used: self.size.saturating_sub(sample.available).0,
            largest_hole: sample.largest_hole.0,
        };
        let used = self.size.saturating_sub(self.available).0;
        Space {
            peak: self.peak.0,
            least_hole: self.least_hole.0,
            granule: self.at_peak.slack,
            fragmentation_ppm: self.fragmentation_ppm(),
            interval: self.interval,
            samples: self.samples.iter().map(sample).collect(),
            ..Space::settled(kind, name, self.size.0, used, self.largest_hole.0)
        }
    }

    /// The values from now on.
    pub fn set(&mut self, available: Bytes, largest_hole: Bytes, allocations: u64) {
        (self.available, self.largest_hole, self.allocations) = (available, largest_hole, allocations);
        let used = self.size.saturating_sub(available);
        if used > self.peak {
            self.peak = used;
            self.at_peak.clone_from(&self.holding);
        }
        self.least_hole = self.least_hole.min(largest_hole);
    }

    /// 1 − largest hole / available, both averaged over time, in millionths rounded down. A pool of several chunks is
    /// never whole.
    pub fn fragmentation_ppm(&self) -> u32 {
        let gap = self.area_available.saturating_sub(self.area_hole);
        // Scaled down together, so that the product stays within 128 bits; 2^100 leaves 28 bits for a million.
        let shift = (128 - self.area_available.leading_zeros()).saturating_sub(100);
        let (gap, all) = (gap >> shift, self.area_available >> shift);
        let share = (gap * 1_000_000).checked_div(all).unwrap_or(0);
        u32::try_from(share).unwrap_or(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_sampled_and_thinned() {
        let mut level = Level::new(Bytes(100), Bytes(100));
        level.advance(Picos::micros(9));
        level.set(Bytes(60), Bytes(30), 2);
        level.advance(Picos::micros(12));
        let samples: Vec<u64> = level.samples.iter().map(|sample| sample.available.0).collect();
        assert_eq!(samples, [100, 100, 100, 60], "at 0, 4, 8 and 12 us");
        assert_eq!((level.peak, level.least_hole), (Bytes(40), Bytes(30)));
        // 9 us whole, 3 us with half of it in one piece: (900 + 90) of (900 + 180).
        assert_eq!(level.fragmentation_ppm(), 83_333);
        level.advance(Picos::micros(4 * 256));
        assert_eq!((level.samples.len(), level.interval), (129, Picos::micros(8)));
        assert_eq!(level.samples[2].available, Bytes(60), "at 16 us");
        level.advance(Picos(1 << 60));
        assert!(level.samples.len() <= MOST_SAMPLES);
        let last = level.interval.0 * (level.samples.len() as u64 - 1);
        assert!(last <= 1 << 60 && last + level.interval.0 > 1 << 60, "the samples reach to the end");
    }

    #[test]
    fn shares_of_large_pools_do_not_overflow() {
        let mut level = Level::new(Bytes(1 << 62), Bytes(1 << 61));
        level.advance(Picos(1 << 60));
        assert_eq!(level.fragmentation_ppm(), 500_000);
        assert_eq!(Level::new(Bytes(0), Bytes(0)).fragmentation_ppm(), 0);
    }
}
