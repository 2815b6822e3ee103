//! [`Stream`]: the random numbers of one entity.
//!
//! Every entity draws from its own stream, derived from (seed, entity number), so that adding an entity or
//! drawing once more in one never changes another. The generator is PCG XSL RR 128/64, whose output is fixed;
//! the samplers are ours because a library's distributions may change between releases.

use rand_core::Rng;
use rand_pcg::Pcg64;

/// A stream of random integers.
#[derive(Clone, Debug)]
pub struct Stream {
    generator: Pcg64,
}

impl Stream {
    /// The stream of entity `entity` in a run with `seed`.
    pub fn new(seed: u64, entity: u64) -> Stream {
        let state = u128::from(split_mix(seed)) << 64 | u128::from(split_mix(seed ^ 0x5851_f42d_4c95_7f2d));
        // The stream constant selects one of 2^127 sequences: entities cannot share one.
        Stream { generator: Pcg64::new(state, u128::from(entity)) }
    }

    /// A uniform 64-bit number.
    pub fn bits(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// A uniform number below `bound`; 0 for a bound of 0. Unbiased (Lemire's multiplication with rejection).
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        loop {
            let product = u128::from(self.bits()) * u128::from(bound);
            let low = product & u128::from(u64::MAX);
            // Reject the first 2^64 mod bound values of the low half.
            if low >= u128::from(bound.wrapping_neg() % bound) {
                return u64::try_from(product >> 64).unwrap_or(0);
            }
        }
    }
}

/// One step of SplitMix64: spreads small seeds over all bits.
fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_numbers_are_pinned() {
        let mut stream = Stream::new(1, 0);
        let first: Vec<u64> = (0..3).map(|_| stream.bits()).collect();
        assert_eq!(first, PINNED);
        let mut dice = Stream::new(1, 1);
        let rolls: Vec<u64> = (0..8).map(|_| dice.below(6)).collect();
        assert_eq!(rolls, ROLLS);
    }

    const PINNED: [u64; 3] =
        [17_035_522_021_643_964_634, 3_884_580_416_279_911_761, 8_628_559_098_425_100_831];
    const ROLLS: [u64; 8] = [2, 5, 1, 3, 2, 2, 0, 3];

    #[test]
    fn entities_do_not_share_a_stream() {
        let (mut a, mut b) = (Stream::new(1, 0), Stream::new(1, 1));
        assert!((0..8).any(|_| a.bits() != b.bits()));
    }

    #[test]
    fn below_stays_below() {
        let mut stream = Stream::new(3, 0);
        for bound in [1, 2, 3, 10, 1 << 40, u64::MAX] {
            assert!((0..1000).all(|_| stream.below(bound) < bound));
        }
        assert_eq!(stream.below(0), 0);
    }
}
