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

/// Storage of all queued TLPs. Grows to the largest number ever queued and then stays.
#[derive(Clone, Debug)]
pub struct Arena {
    cells: Vec<(Tlp, u32)>,
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
    pub fn push(&mut self, list: &mut List, tlp: Tlp) {
        let cell = if self.free == NONE {
            self.cells.push((tlp, NONE));
            u32::try_from(self.cells.len() - 1).expect("fewer than 2^32 TLPs are queued")
        } else {
            let cell = self.free;
            self.free = self.cells[cell as usize].1;
            self.cells[cell as usize] = (tlp, NONE);
            cell
        };
        self.used += 1;
        if list.head == NONE {
            list.head = cell;
        } else {
            self.cells[list.tail as usize].1 = cell;
        }
        list.tail = cell;
    }

    /// The oldest of `list`.
    #[inline]
    pub fn front(&self, list: List) -> Option<&Tlp> {
        (list.head != NONE).then(|| &self.cells[list.head as usize].0)
    }

    /// Removes the oldest of `list`, which must not be empty.
    #[inline]
    pub fn pop(&mut self, list: &mut List) -> Tlp {
        let cell = list.head;
        let (tlp, next) = self.cells[cell as usize];
        list.head = next;
        self.cells[cell as usize].1 = self.free;
        self.free = cell;
        self.used -= 1;
        tlp
    }

    /// Counts the TLPs of `list`; for reports only.
    pub fn count(&self, list: List) -> u32 {
        let (mut cell, mut count) = (list.head, 0);
        while cell != NONE {
            cell = self.cells[cell as usize].1;
            count += 1;
        }
        count
    }
}
