//! SplitMix64 (Steele, Lea, Flood 2014), period 2^64: enough for choosing test cases.

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    pub fn small(&mut self, limit: u8) -> u8 {
        u8::try_from(self.below(u64::from(limit))).unwrap()
    }

    /// A number below 2^b, b itself random from `bits` on.
    pub fn sized(&mut self, bits: u64, more: u64) -> u64 {
        let bits = bits + self.below(more);
        self.below(1 << bits)
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }
}

/// Number of cases: `PEERBUS_CASES`, or what takes about a second.
pub fn cases(default: u64) -> u64 {
    std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
