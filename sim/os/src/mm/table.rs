//! Page tables as runs: what each virtual page of an address space leads to.
//!
//! A slot is 2 MiB of address space: one huge entry, or a table of small entries kept as runs of equal or
//! consecutive entries. Untouched address space costs nothing, and a table with one page costs one run.
//! An empty table is kept (it prevents a huge entry) until the mappings around it go.
//!
//! Invariant: runs of a slot are sorted, do not overlap, and neighbours that could be one run are one.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::Vpn;
use super::frame::HUGE;

/// What a page under migration allowed before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading, by one process that has the page for itself.
    ReadExclusive,
    /// Writing.
    Write,
}

/// A page-table entry that is not empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The shared page of zeros, read-only.
    Zero,
    /// A page a CPU can reach.
    Page {
        /// The page.
        pfn: Pfn,
        /// Writing needs no fault.
        write: bool,
    },
    /// A page in device memory no CPU can reach.
    Private {
        /// The page.
        pfn: Pfn,
        /// It comes back writable.
        write: bool,
    },
    /// A page a device has for itself for atomic operations.
    Exclusive {
        /// The page.
        pfn: Pfn,
        /// It comes back writable.
        write: bool,
    },
    /// A page on its way to another place.
    Migration {
        /// Where it still is.
        pfn: Pfn,
        /// What was allowed before.
        access: Access,
    },
    /// Nothing, but marked by userfaultfd.
    Marker,
}

impl Entry {
    /// The frame the entry leads to.
    pub fn pfn(self) -> Option<Pfn> {
        match self {
            Entry::Zero | Entry::Marker => None,
            Entry::Page { pfn, .. }
            | Entry::Private { pfn, .. }
            | Entry::Exclusive { pfn, .. }
            | Entry::Migration { pfn, .. } => Some(pfn),
        }
    }

    /// The entry `pages` further in a run.
    fn advanced(self, pages: u64) -> Entry {
        match self {
            Entry::Zero | Entry::Marker => self,
            Entry::Page { pfn, write } => Entry::Page { pfn: Pfn(pfn.0 + pages), write },
            Entry::Private { pfn, write } => Entry::Private { pfn: Pfn(pfn.0 + pages), write },
            Entry::Exclusive { pfn, write } => Entry::Exclusive { pfn: Pfn(pfn.0 + pages), write },
            Entry::Migration { pfn, access } => Entry::Migration { pfn: Pfn(pfn.0 + pages), access },
        }
    }
}

/// A huge entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Huge {
    /// The shared huge page of zeros, read-only.
    Zero,
    /// A huge folio a CPU can reach.
    Page {
        /// Its first page.
        pfn: Pfn,
        /// Writing needs no fault.
        write: bool,
    },
    /// A huge folio in device memory no CPU can reach.
    Private {
        /// Its first page.
        pfn: Pfn,
        /// It comes back writable.
        write: bool,
    },
    /// A huge folio on its way to another place.
    Migration {
        /// Its first page, where it still is.
        pfn: Pfn,
        /// What was allowed before.
        access: Access,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    first: u16,
    count: u16,
    entry: Entry,
}

impl Run {
    fn end(&self) -> u16 {
        self.first + self.count
    }

    fn at(&self, index: u16) -> Entry {
        self.entry.advanced(u64::from(index - self.first))
    }
}

/// A slot that is not empty.
#[derive(Clone, Debug)]
enum Slot {
    Huge(Huge),
    Table(Vec<Run>),
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotKind {
    /// Nothing at all: a huge entry is possible.
    Empty,
    /// A huge entry.
    Huge(Huge),
    /// Small entries, perhaps none.
    Table,
}

/// The page table of one address space.
#[derive(Clone, Default, Debug)]
pub struct Table {
    slots: BTreeMap<u64, Slot>,
}

impl Table {
    /// What the slot around `page` holds.
    pub fn slot(&self, page: Vpn) -> SlotKind {
        match self.slots.get(&(page / HUGE)) {
            None => SlotKind::Empty,
            Some(Slot::Huge(huge)) => SlotKind::Huge(*huge),
            Some(Slot::Table(_)) => SlotKind::Table,
        }
    }

    /// The huge entry around `page`.
    pub fn huge(&self, page: Vpn) -> Option<Huge> {
        match self.slot(page) {
            SlotKind::Huge(huge) => Some(huge),
            _ => None,
        }
    }

    /// The small entry of `page`.
    pub fn get(&self, page: Vpn) -> Option<Entry> {
        let Some(Slot::Table(runs)) = self.slots.get(&(page / HUGE)) else { return None };
        let index = index_of(page);
        let run = runs.get(runs.partition_point(|run| run.end() <= index))?;
        (run.first <= index).then(|| run.at(index))
    }

    /// Sets or clears a small entry; the slot must not hold a huge one. Makes a table where there is none, unless
    /// there is nothing to put there.
    pub fn set(&mut self, page: Vpn, entry: Option<Entry>) {
        if entry.is_none() && !self.slots.contains_key(&(page / HUGE)) {
            return;
        }
        let slot = self.slots.entry(page / HUGE).or_insert_with(|| Slot::Table(Vec::new()));
        let Slot::Table(runs) = slot else { panic!("a small entry below a huge one") };
        set_run(runs, index_of(page), entry);
    }

    /// Makes an empty table where there is nothing.
    pub fn make_table(&mut self, page: Vpn) {
        self.slots.entry(page / HUGE).or_insert_with(|| Slot::Table(Vec::new()));
    }

    /// Sets a huge entry; the slot was empty or huge, or its table is empty.
    pub fn set_huge(&mut self, page: Vpn, huge: Huge) {
        let before = self.slots.insert(page / HUGE, Slot::Huge(huge));
        assert!(
            !matches!(before, Some(Slot::Table(runs)) if !runs.is_empty()),
            "a huge entry replaces no small ones"
        );
    }

    /// Removes the slot: its huge entry, or its empty table.
    pub fn clear_slot(&mut self, page: Vpn) {
        let before = self.slots.remove(&(page / HUGE));
        assert!(
            !matches!(before, Some(Slot::Table(runs)) if !runs.is_empty()),
            "a table with entries is not dropped"
        );
    }

    /// Whether the slot has a table without entries.
    pub fn is_empty_table(&self, page: Vpn) -> bool {
        matches!(self.slots.get(&(page / HUGE)), Some(Slot::Table(runs)) if runs.is_empty())
    }

    /// Small entries of pages `from..to`, in order.
    pub fn entries(&self, from: Vpn, to: Vpn) -> Vec<(Vpn, Entry)> {
        let mut list = Vec::new();
        for (number, slot) in self.slots.range(from / HUGE..to.div_ceil(HUGE)) {
            let Slot::Table(runs) = slot else { continue };
            for run in runs {
                let base = number * HUGE;
                let first = (base + u64::from(run.first)).max(from);
                let last = (base + u64::from(run.end())).min(to);
                list.extend((first..last).map(|page| (page, run.at(index_of(page)))));
            }
        }
        list
    }

    /// First pages of the slots in use that overlap `from..to`.
    pub fn slots(&self, from: Vpn, to: Vpn) -> Vec<Vpn> {
        self.slots.range(from / HUGE..to.div_ceil(HUGE)).map(|(number, _)| number * HUGE).collect()
    }

    /// Number of runs and huge entries: what the table costs.
    pub fn runs(&self) -> usize {
        self.slots
            .values()
            .map(|slot| match slot {
                Slot::Huge(_) => 1,
                Slot::Table(runs) => runs.len(),
            })
            .sum()
    }
}

fn index_of(page: Vpn) -> u16 {
    u16::try_from(page % HUGE).expect("an index of a slot")
}

fn set_run(runs: &mut Vec<Run>, index: u16, entry: Option<Entry>) {
    let position = runs.partition_point(|run| run.end() <= index);
    let new = entry.map(|entry| Run { first: index, count: 1, entry });
    let mut position = match runs.get(position).copied() {
        Some(old) if old.first <= index => {
            let left = (old.first < index).then(|| Run { count: index - old.first, ..old });
            let right = (old.end() > index + 1).then(|| Run {
                first: index + 1,
                count: old.end() - index - 1,
                entry: old.at(index + 1),
            });
            let after_left = position + usize::from(left.is_some());
            runs.splice(position..=position, [left, new, right].into_iter().flatten());
            after_left
        }
        _ => {
            runs.splice(position..position, new);
            position
        }
    };
    if new.is_none() {
        return;
    }
    if position > 0 && joins(&runs[position - 1], &runs[position]) {
        runs[position - 1].count += runs.remove(position).count;
        position -= 1;
    }
    if position + 1 < runs.len() && joins(&runs[position], &runs[position + 1]) {
        runs[position].count += runs.remove(position + 1).count;
    }
}

fn joins(left: &Run, right: &Run) -> bool {
    left.end() == right.first && left.entry.advanced(u64::from(left.count)) == right.entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_agree_with_a_plain_table() {
        let mut table = Table::default();
        let mut plain = alloc::vec![None; 512];
        let mut state = 7_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let page = (state >> 40) % 96;
            let entry = match (state >> 33) % 4 {
                0 => None,
                1 => Some(Entry::Zero),
                2 => Some(Entry::Page { pfn: Pfn(1000 + page), write: true }),
                _ => Some(Entry::Private { pfn: Pfn(5000 - page), write: false }),
            };
            table.set(512 + page, entry);
            plain[usize::try_from(page).unwrap()] = entry;
            let listed = table.entries(512, 1024);
            let expected: Vec<(u64, Entry)> = plain
                .iter()
                .zip(512..)
                .filter_map(|(entry, page)| entry.map(|entry| (page, entry)))
                .collect();
            assert_eq!(listed, expected);
            assert_eq!(table.get(512 + page), entry);
        }
    }

    #[test]
    fn consecutive_pages_are_one_run() {
        let mut table = Table::default();
        for page in [0, 2, 1, 3] {
            table.set(page, Some(Entry::Page { pfn: Pfn(100 + page), write: true }));
        }
        assert_eq!(table.runs(), 1);
        table.set(1, None);
        assert_eq!(table.runs(), 2);
    }
}
