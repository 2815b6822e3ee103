//! The allocator as a bitmap searched bit by bit: slow, and plainly what the rules say.

use peerbus_os::pool::Algorithm;

pub struct Chunk {
    pub start: u64,
    pub end: u64,
    pub phys: u64,
    pub owner: u32,
    pub available: u64,
    pub bits: Vec<bool>,
}

#[derive(Default)]
pub struct Bitmap {
    pub order: u32,
    /// Newest first.
    pub chunks: Vec<Chunk>,
    /// A candidate that failed is left behind its last set bit (7.x), not its first (6.x).
    pub restart_behind_last: bool,
}

impl Bitmap {
    pub fn add(&mut self, start: u64, phys: u64, size: u64, owner: u32) {
        let bits = vec![false; usize::try_from(size >> self.order).unwrap()];
        let end = start.wrapping_add(size).wrapping_sub(1);
        self.chunks.insert(0, Chunk { start, end, phys, owner, available: size, bits });
    }

    fn find_zero_area(&self, map: &[bool], from: usize, n: usize, mask: usize, off: usize) -> usize {
        let total = map.len();
        let mut i = from;
        loop {
            while i < total && map[i] {
                i += 1;
            }
            i = ((i + off + mask) & !mask) - off;
            if i + n > total {
                return total;
            }
            let set = (i..i + n).filter(|bit| map[*bit]);
            let hit = if self.restart_behind_last { set.max() } else { set.min() };
            match hit {
                Some(bit) => i = bit + 1,
                None => return i,
            }
        }
    }

    fn best_fit(&self, map: &[bool], n: usize) -> usize {
        let (mut best, mut best_length) = (map.len(), map.len() + 1);
        let mut i = self.find_zero_area(map, 0, n, 0, 0);
        while i < map.len() {
            let end = (i + n..map.len()).find(|bit| map[*bit]).unwrap_or(map.len());
            if end - i < best_length {
                (best, best_length) = (i, end - i);
                if best_length == n {
                    return best;
                }
            }
            i = self.find_zero_area(map, end + 1, n, 0, 0);
        }
        best
    }

    fn place(&self, chunk: &Chunk, algorithm: Algorithm, n: usize) -> usize {
        let (map, granule) = (&chunk.bits, 1u64 << self.order);
        let usize = |value: u64| usize::try_from(value).unwrap();
        match algorithm {
            Algorithm::FirstFit => self.find_zero_area(map, 0, n, 0, 0),
            Algorithm::FirstFitAlign { align } => {
                let mask = align.div_ceil(granule) - 1;
                let off = (chunk.start & (align - 1)) / granule;
                self.find_zero_area(map, 0, n, usize(mask), usize(off))
            }
            Algorithm::Fixed { offset } if !offset.is_multiple_of(granule) => map.len(),
            Algorithm::Fixed { offset } => {
                let wanted = usize(offset / granule);
                let hit = self.find_zero_area(map, wanted, n, 0, 0);
                if hit == wanted { hit } else { map.len() }
            }
            Algorithm::OrderAlign => self.find_zero_area(map, 0, n, n.next_power_of_two() - 1, 0),
            Algorithm::BestFit => self.best_fit(map, n),
        }
    }

    pub fn alloc(&mut self, size: u64, algorithm: Algorithm) -> Option<(u64, u32)> {
        if size == 0 {
            return None;
        }
        let n = size.div_ceil(1 << self.order);
        for at in 0..self.chunks.len() {
            let chunk = &self.chunks[at];
            if size > chunk.available {
                continue;
            }
            let count = usize::try_from(n).unwrap();
            let bit = self.place(chunk, algorithm, count);
            if bit >= chunk.bits.len() {
                continue;
            }
            let chunk = &mut self.chunks[at];
            chunk.bits[bit..bit + count].fill(true);
            chunk.available -= n << self.order;
            let address = chunk.start + ((bit as u64) << self.order);
            return (address != 0).then_some((address, chunk.owner));
        }
        None
    }

    /// The owner, or `None` for a bug.
    pub fn free(&mut self, address: u64, size: u64) -> Option<u32> {
        let order = self.order;
        let chunk = self.chunks.iter_mut().find(|chunk| chunk.start <= address && address <= chunk.end)?;
        if address.wrapping_add(size).wrapping_sub(1) > chunk.end {
            return None;
        }
        let n = size.div_ceil(1 << order);
        let first = usize::try_from((address - chunk.start) >> order).unwrap();
        let bits = first..first + usize::try_from(n).unwrap();
        if !bits.clone().all(|bit| chunk.bits.get(bit) == Some(&true)) {
            return None;
        }
        bits.for_each(|bit| chunk.bits[bit] = false);
        chunk.available += n << order;
        Some(chunk.owner)
    }
}
