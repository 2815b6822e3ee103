//! [`Iotlb`]: what an IOMMU remembers of page tables, and how long it takes to look up the rest.
//!
//! A translation that is remembered costs nothing. For another one a walker reads page tables, one access for each
//! level below the deepest entry that the walk caches hold; there are a few walkers, and a page that is being looked up is
//! not looked up twice. Replacement is least recently used everywhere. Tables have four levels of 512 entries; a page is a
//! leaf of one of the lowest three: 4 KiB, 2 MiB, 1 GiB.
//!
//! Requests of one kind that came in by one port leave in order: a hit behind a miss waits for it.

use peerbus_machine::part::IommuPart;
use peerbus_machine::registers::DomainNumber;

use crate::tlp::Class;

/// log2 of the sizes of pages.
const PAGE_SHIFTS: [u32; 3] = [12, 21, 30];
/// log2 of what an entry of the tables above the lowest one covers, lowest first.
const TABLE_SHIFTS: [u32; 3] = [21, 30, 39];

/// A translation, for addresses that a page holds.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Domain's number plus 1; 0: the entry is free.
    domain: u64,
    /// Address divided by the size.
    page: u64,
    /// log2 of the size.
    shift: u32,
    /// When it was used last.
    used: u64,
    /// It is known from then on.
    ready: u64,
    /// CPU address minus I/O virtual address, modulo 2^64.
    moved: u64,
}

const FREE: Entry = Entry { domain: 0, page: 0, shift: 0, used: 0, ready: 0, moved: 0 };

/// Entries of the tables of one level that the walk caches hold: domain plus 1, number, last use.
#[derive(Clone, Debug)]
struct Tables(Vec<(u64, u64, u64)>);

impl Tables {
    /// Whether it holds the entry, which it will from now on.
    fn use_entry(&mut self, domain: u64, number: u64, clock: u64) -> bool {
        let known = self.0.iter().position(|entry| (entry.0, entry.1) == (domain, number));
        let oldest = || (0..self.0.len()).min_by_key(|index| self.0[*index].2);
        if let Some(place) = known.or_else(oldest) {
            self.0[place] = (domain, number, clock);
        }
        known.is_some()
    }
}

/// State of one IOMMU.
#[derive(Clone, Debug)]
pub(crate) struct Iotlb {
    entries: Vec<Entry>,
    ways: usize,
    /// Per upper level, lowest first.
    tables: [Tables; 3],
    /// When each walker is free.
    walkers: Vec<u64>,
    access: u64,
    /// Counts uses.
    clock: u64,
    /// Per input of the root complex, for posted and other requests: when the last one was through.
    through: Vec<[u64; 2]>,
}

/// What a look-up came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// The request may go on then.
    pub ready: u64,
    /// To be added to its address.
    pub moved: u64,
    /// Accesses to page tables that it took; 0 for a hit.
    pub accesses: u64,
}

impl Iotlb {
    pub fn new(part: &IommuPart, inputs: usize) -> Iotlb {
        let table = Tables(vec![(0, 0, 0); usize::from(part.walk_entries)]);
        Iotlb {
            entries: vec![FREE; usize::from(part.entries)],
            ways: usize::from(part.ways.max(1)),
            tables: [table.clone(), table.clone(), table],
            walkers: vec![0; usize::from(part.walkers.max(1))],
            access: part.access_latency.0,
            clock: 0,
            through: vec![[0; 2]; inputs],
        }
    }

    /// The places of a page.
    fn set(&self, page: u64) -> std::ops::Range<usize> {
        let sets = (self.entries.len() / self.ways).max(1);
        let set = usize::try_from(page % u64::try_from(sets).unwrap_or(1)).unwrap_or(0);
        set * self.ways..(set * self.ways + self.ways).min(self.entries.len())
    }

    fn find(&self, domain: u64, addr: u64) -> Option<usize> {
        PAGE_SHIFTS.into_iter().find_map(|shift| {
            let page = addr >> shift;
            self.set(page).find(|place| {
                let entry = &self.entries[*place];
                entry.domain == domain && entry.shift == shift && entry.page == page
            })
        })
    }

    /// Looks up `addr` of `domain` at `now`; `leaf` tells log2 of the size of its page, and by how much it moves.
    pub fn look_up(
        &mut self,
        domain: DomainNumber,
        addr: u64,
        now: u64,
        leaf: impl FnOnce() -> (u32, u64),
    ) -> Found {
        let domain = u64::from(domain.0) + 1;
        self.clock += 1;
        if let Some(place) = self.find(domain, addr) {
            let entry = &mut self.entries[place];
            entry.used = self.clock;
            return Found { ready: entry.ready.max(now), moved: entry.moved, accesses: 0 };
        }
        let (shift, moved) = leaf();
        let accesses = self.walk(domain, addr, shift);
        let walker = (0..self.walkers.len()).min_by_key(|walker| self.walkers[*walker]).unwrap_or(0);
        let ready = self.walkers[walker].max(now) + accesses * self.access;
        self.walkers[walker] = ready;
        let page = addr >> shift;
        let victim = self.set(page).min_by_key(|place| self.entries[*place].used);
        if let Some(victim) = victim {
            self.entries[victim] = Entry { domain, page, shift, used: self.clock, ready, moved };
        }
        Found { ready, moved, accesses }
    }

    /// Accesses that finding a page of 2^`shift` bytes takes, which leave the walk caches knowing its tables.
    fn walk(&mut self, domain: u64, addr: u64, shift: u32) -> u64 {
        let mut accesses = 1;
        let mut known = false;
        for (tables, covers) in self.tables.iter_mut().zip(TABLE_SHIFTS) {
            if covers <= shift {
                continue;
            }
            known |= tables.use_entry(domain, addr >> covers, self.clock);
            if !known {
                accesses += 1;
            }
        }
        accesses
    }

    /// The time from which on a request that came in by `input` and could leave at `ready` may: not before those of its
    /// kind that came before it.
    /// One with Relaxed Ordering need not ask.
    pub fn in_order(&mut self, input: u32, class: Class, ready: u64) -> u64 {
        let through = &mut self.through[input as usize][usize::from(class != Class::Posted)];
        *through = ready.max(*through);
        *through
    }

    /// Forgets the page of `addr`, of which it may have learned that there is none.
    pub fn forget_page(&mut self, domain: DomainNumber, addr: u64) {
        if let Some(place) = self.find(u64::from(domain.0) + 1, addr) {
            self.entries[place] = FREE;
        }
    }

    /// Forgets everything: software has changed tables and waits until nothing of the old ones is remembered.
    pub fn invalidate(&mut self) {
        self.entries.fill(FREE);
        self.tables.iter_mut().for_each(|tables| tables.0.fill((0, 0, 0)));
    }

    /// Time that walkers have still to work at `now`, all together.
    pub fn ahead(&self, now: u64) -> u64 {
        self.walkers.iter().map(|free| free.saturating_sub(now)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerbus_units::Picos;

    const A: DomainNumber = DomainNumber(0);
    const NS: u64 = 1000;

    fn iotlb(entries: u16, walk_entries: u16, walkers: u16) -> Iotlb {
        let access_latency = Picos::nanos(100);
        Iotlb::new(&IommuPart { entries, ways: entries, walk_entries, walkers, access_latency }, 1)
    }

    /// Accesses of looking up these addresses one after the other, all of pages of 2^`shift` bytes.
    fn accesses(iotlb: &mut Iotlb, shift: u32, addresses: &[u64]) -> Vec<u64> {
        addresses.iter().map(|addr| iotlb.look_up(A, *addr, 0, || (shift, 0)).accesses).collect()
    }

    #[test]
    fn a_walk_reads_what_the_walk_caches_do_not_hold() {
        let (page, large, huge) = (1 << 12, 1 << 21, 1 << 30);
        let check = |walk_entries, shift, addresses: &[u64], expect: &[u64]| {
            let mut iotlb = iotlb(64, walk_entries, 1);
            assert_eq!(accesses(&mut iotlb, shift, addresses), expect, "{walk_entries} {shift}");
        };
        // Four levels at first, then only what a neighbour does not share.
        check(8, 12, &[0, 0, page, large, huge, 1 << 39], &[4, 0, 1, 2, 3, 4]);
        check(8, 21, &[0, page, large, huge], &[3, 0, 1, 2]);
        check(8, 30, &[0, large, huge], &[2, 0, 1]);
        // Nothing is kept of upper levels.
        check(0, 12, &[0, page, 0], &[4, 4, 0]);
        // One table of a level is kept: coming back to the first reads it again.
        check(1, 12, &[0, large, page], &[4, 2, 2]);
    }

    #[test]
    fn the_page_unused_for_longest_is_forgotten() {
        let mut iotlb = iotlb(2, 8, 1);
        let pages = [0x1000, 0x2000, 0x1000, 0x3000, 0x1000, 0x2000];
        assert_eq!(accesses(&mut iotlb, 12, &pages), [4, 1, 0, 1, 0, 1]);
        iotlb.invalidate();
        assert_eq!(accesses(&mut iotlb, 12, &[0x2000]), [4]);
    }

    #[test]
    fn pages_have_their_place_in_a_set() {
        let mut iotlb = iotlb(4, 8, 1);
        iotlb.ways = 1;
        // Pages 1 and 5 share one of four places, 2 has another.
        assert_eq!(accesses(&mut iotlb, 12, &[0x1000, 0x2000, 0x5000, 0x2000, 0x1000]), [4, 1, 1, 0, 1]);
    }

    #[test]
    fn domains_are_apart() {
        let mut iotlb = iotlb(8, 8, 1);
        assert_eq!(iotlb.look_up(A, 0x1000, 0, || (12, 5)).moved, 5);
        let other = iotlb.look_up(DomainNumber(1), 0x1000, 0, || (12, 7));
        assert_eq!((other.moved, other.accesses), (7, 4));
        assert_eq!(iotlb.look_up(A, 0x1fff, 0, || unreachable!()).moved, 5);
    }

    #[test]
    fn walkers_work_side_by_side_and_a_page_is_looked_up_once() {
        let times = |walkers, addresses: &[u64]| -> Vec<u64> {
            let mut iotlb = iotlb(8, 8, walkers);
            // So that upper levels are known.
            iotlb.look_up(A, 0x1000, 0, || (12, 0));
            let look = |addr: &u64| iotlb.look_up(A, *addr, 10_000 * NS, || (12, 0)).ready / NS - 10_000;
            addresses.iter().map(look).collect()
        };
        assert_eq!(times(1, &[0x2000, 0x2040, 0x3000, 0x1000]), [100, 100, 200, 0]);
        assert_eq!(times(2, &[0x2000, 0x2040, 0x3000, 0x4000]), [100, 100, 100, 200]);
    }

    #[test]
    fn a_hit_behind_a_miss_waits() {
        let mut iotlb = iotlb(8, 8, 1);
        assert_eq!(iotlb.in_order(0, Class::Posted, 100), 100);
        assert_eq!(iotlb.in_order(0, Class::Posted, 50), 100);
        assert_eq!(iotlb.in_order(0, Class::NonPosted, 50), 50);
    }
}
