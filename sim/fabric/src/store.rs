//! Queues that do not allocate in the steady state: linked lists in one arena with a free list.

use crate::tlp::Tlp;

const NONE: u32 = u32::MAX;

/// A first-in-first-out list of TLPs in an [`Arena`].
#[derive(Clone, Copy, Debug)]
pub struct List {
    head: u32,
    tail: u32,
}

impl List {
    /// The empty list.
    pub const EMPTY: List = List { head: NONE, tail: NONE };

    /// True when nothing is queued.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.head == NONE
    }
}

/// A TLP in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Queued {
    /// The packet.
    pub tlp: Tlp,
    /// It may leave from then on.
    pub ready: u64,
    /// How long its class had been starved of credits on the next link when it was queued, all times together.
    pub starved: u64,
    /// Arrival number at the link it came in by: the order that ordering rules compare.
    pub order: u32,
    next: u32,
}

impl Queued {
    /// A packet to be queued.
    pub fn new(tlp: Tlp, ready: u64, starved: u64, order: u32) -> Queued {
        Queued { tlp, ready, starved, order, next: NONE }
    }
}

/// Storage of all queued TLPs. Grows to the largest number ever queued and then stays.
#[derive(Clone, Debug)]
pub struct Arena {
    cells: Vec<Queued>,
    free: u32,
    used: u32,
}

impl Arena {
    /// An arena with room for `cells` TLPs.
    pub fn new(cells: usize) -> Arena {
        Arena { cells: Vec::with_capacity(cells), free: NONE, used: 0 }
    }

    /// TLPs stored now.
    pub fn len(&self) -> u32 {
        self.used
    }

    /// Appends to `list`.
    #[inline]
    pub fn push(&mut self, list: &mut List, queued: Queued) {
        let cell = if self.free == NONE {
            self.cells.push(queued);
            u32::try_from(self.cells.len() - 1).expect("fewer than 2^32 TLPs are queued")
        } else {
            let cell = self.free;
            self.free = self.cells[cell as usize].next;
            self.cells[cell as usize] = queued;
            cell
        };
        self.used += 1;
        if list.head == NONE {
            list.head = cell;
        } else {
            self.cells[list.tail as usize].next = cell;
        }
        list.tail = cell;
    }

    /// The oldest of `list`.
    #[inline]
    pub fn front(&self, list: List) -> Option<&Queued> {
        (list.head != NONE).then(|| &self.cells[list.head as usize])
    }

    /// Removes the oldest of `list`, which must not be empty.
    #[inline]
    pub fn pop(&mut self, list: &mut List) -> Queued {
        let cell = list.head;
        let queued = self.cells[cell as usize];
        list.head = queued.next;
        self.cells[cell as usize].next = self.free;
        self.free = cell;
        self.used -= 1;
        queued
    }

    /// Removes what stands at `place` of `list`, counted from the oldest; there must be something there.
    pub fn remove(&mut self, list: &mut List, place: usize) -> Queued {
        let Some(before) = place.checked_sub(1) else { return self.pop(list) };
        let mut previous = list.head;
        for _ in 0..before {
            previous = self.cells[previous as usize].next;
        }
        let mut rest = List { head: self.cells[previous as usize].next, tail: list.tail };
        let removed = self.pop(&mut rest);
        self.cells[previous as usize].next = rest.head;
        if rest.head == NONE {
            list.tail = previous;
        }
        removed
    }

    /// All of `list`, oldest first.
    pub fn iter(&self, list: List) -> impl Iterator<Item = &Queued> {
        let mut cell = list.head;
        std::iter::from_fn(move || {
            let queued = (cell != NONE).then(|| &self.cells[cell as usize])?;
            cell = queued.next;
            Some(queued)
        })
    }

    /// Counts the TLPs of `list`; for reports only.
    pub fn count(&self, list: List) -> u32 {
        u32::try_from(self.iter(list).count()).unwrap_or(u32::MAX)
    }
}
