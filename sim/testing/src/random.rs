//! [`Random`]: numbers to choose cases by.

/// SplitMix64 (Steele, Lea, Flood 2014), period 2^64, from a seed: enough for choosing test cases. The sequence never
/// changes, so that a seed names its cases for good.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "there is always a next one: no iterator's None")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`; 0 when that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// An index into `length` things; 0 when there are none.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }

    /// True once in `count` times.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the published algorithm for seed 1234567.
    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = Random(1_234_567);
        let first = [0; 3].map(|_| random.next());
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn nothing_to_choose_from_is_index_0() {
        assert_eq!(Random(1).index(0), 0);
        assert!((0..100).all(|seed| Random(seed).index(3) < 3 && Random(seed).one_in(1)));
    }
}
