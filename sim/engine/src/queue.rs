//! [`Queue`]: a fixed set of slots, each with at most one due time, in a winner tree.
//!
//! Order is (time, slot). A key is the time shifted left by the bits of a slot number, with the slot number below. Keys stand
//! in groups of four, and each group's smallest one stands again in the group above it: setting one slot replays one path to
//! the root, log4(slots) groups, without allocation.

/// One place for one due time. Slots are numbered from 0; among equal times the lower number comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u32);

const IDLE: u64 = u64::MAX;

/// The due times of a fixed number of slots.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Group 0 is the root. Place p of group g holds the smallest key of group 4 g + p + 1, or is a slot's own.
    groups: Vec<[u64; 4]>,
    /// The smallest key.
    first: u64,
    /// Place of slot 0, counted over all groups.
    leaves: usize,
    slot_bits: u32,
}

impl Queue {
    /// A queue of `slots` idle slots. At most 2^24.
    pub fn new(slots: u32) -> Queue {
        assert!(slots <= 1 << 24, "{slots} slots leave too few bits for the time");
        let slots = slots.max(2) as usize;
        // Groups above the lowest level, and groups of that level.
        let (mut above, mut level) = (0, 1);
        while 4 * level < slots {
            above += level;
            level *= 4;
        }
        Queue {
            groups: vec![[IDLE; 4]; above + slots.div_ceil(4)],
            first: IDLE,
            leaves: 4 * above,
            slot_bits: slots.next_power_of_two().trailing_zeros(),
        }
    }

    /// The latest time a slot can be set to: 2^(64 - bits of a slot number) - 2.
    pub fn horizon(&self) -> u64 {
        (u64::MAX >> self.slot_bits) - 1
    }

    /// The due time of `slot`.
    #[inline]
    pub fn due(&self, slot: Slot) -> Option<u64> {
        let key = self.key(slot);
        (key != IDLE).then_some(key >> self.slot_bits)
    }

    /// Makes `slot` due at `time`, replacing what it held. `time` must not exceed [`Queue::horizon`].
    #[inline]
    pub fn set(&mut self, slot: Slot, time: u64) {
        debug_assert!(time <= self.horizon(), "time {time} is beyond the horizon of the queue");
        self.replay(slot, time << self.slot_bits | u64::from(slot.0));
    }

    /// Makes `slot` due at `time` unless it is already due earlier.
    #[inline]
    pub fn set_earlier(&mut self, slot: Slot, time: u64) {
        debug_assert!(time <= self.horizon(), "time {time} is beyond the horizon of the queue");
        let key = time << self.slot_bits | u64::from(slot.0);
        if key < self.key(slot) {
            self.advance_to(slot, key);
        }
    }

    /// Makes `slot` due at `time`, or idle without one, replacing what it held.
    #[inline]
    pub fn replace(&mut self, slot: Slot, time: Option<u64>) {
        let key = time.map_or(IDLE, |time| time << self.slot_bits | u64::from(slot.0));
        self.replay(slot, key);
    }

    /// Makes `slot` idle.
    #[inline]
    pub fn clear(&mut self, slot: Slot) {
        self.replay(slot, IDLE);
    }

    /// The earliest due time and its slot; stays due until it is set or cleared.
    #[inline]
    pub fn next(&self) -> Option<(u64, Slot)> {
        let key = self.first;
        let mask = (1u64 << self.slot_bits) - 1;
        let slot = u32::try_from(key & mask).unwrap_or(0);
        (key != IDLE).then_some((key >> self.slot_bits, Slot(slot)))
    }

    #[inline]
    fn key(&self, slot: Slot) -> u64 {
        let place = self.leaves + slot.0 as usize;
        self.groups[place >> 2][place & 3]
    }

    /// Goes all the way to the root: where it could stop cannot be foretold, and a wrong guess costs more than the way.
    #[inline]
    fn replay(&mut self, slot: Slot, key: u64) {
        let groups = &mut self.groups[..];
        let mut place = self.leaves + slot.0 as usize;
        let mut winner = key;
        loop {
            let group = &mut groups[place >> 2];
            group[place & 3] = winner;
            winner = smallest(group);
            if place < 4 {
                break;
            }
            place = (place >> 2) - 1;
        }
        self.first = winner;
    }

    /// Like [`Queue::replay`] for a key that is smaller than the one the slot holds: others stay as they are.
    #[inline]
    fn advance_to(&mut self, slot: Slot, key: u64) {
        let groups = &mut self.groups[..];
        let mut place = self.leaves + slot.0 as usize;
        loop {
            let group = &mut groups[place >> 2];
            group[place & 3] = key;
            if smallest(group) < key {
                return;
            }
            if place < 4 {
                break;
            }
            place = (place >> 2) - 1;
        }
        self.first = key;
    }
}

#[inline]
fn smallest(group: &[u64; 4]) -> u64 {
    group[0].min(group[1]).min(group[2].min(group[3]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    /// The obvious implementation.
    fn earliest(times: &[Option<u64>]) -> Option<(u64, Slot)> {
        let due = times.iter().zip(0..).filter_map(|(time, slot)| time.map(|time| (time, Slot(slot))));
        due.min()
    }

    #[test]
    fn agrees_with_a_plain_search() {
        for slots in [1, 2, 3, 7, 64, 100] {
            let mut stream = Stream::new(7, u64::from(slots));
            let mut queue = Queue::new(slots);
            let mut times = vec![None; slots as usize];
            for _ in 0..20_000 {
                let slot = u32::try_from(stream.below(u64::from(slots))).unwrap();
                let time = stream.below(50);
                match stream.below(3) {
                    0 => {
                        queue.clear(Slot(slot));
                        times[slot as usize] = None;
                    }
                    1 => {
                        queue.set(Slot(slot), time);
                        times[slot as usize] = Some(time);
                    }
                    _ => {
                        queue.set_earlier(Slot(slot), time);
                        let old = times[slot as usize].unwrap_or(u64::MAX);
                        times[slot as usize] = Some(old.min(time));
                    }
                }
                assert_eq!(queue.next(), earliest(&times));
                assert_eq!(queue.due(Slot(slot)), times[slot as usize]);
            }
        }
    }

    #[test]
    fn equal_times_come_in_slot_order() {
        let mut queue = Queue::new(5);
        for slot in [3, 1, 4, 0, 2] {
            queue.set(Slot(slot), 9);
        }
        let mut order = Vec::new();
        while let Some((_, slot)) = queue.next() {
            order.push(slot.0);
            queue.clear(slot);
        }
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_horizon_can_be_reached() {
        let mut queue = Queue::new(3);
        queue.set(Slot(2), queue.horizon());
        assert_eq!(queue.next(), Some((queue.horizon(), Slot(2))));
    }
}
