//! [`IommuTables`]: what the machine's IOMMUs translate by: a domain for each requester id, a table for each domain.
//!
//! Software writes them, the fabric reads them. All IOMMUs of a machine see the same tables, as if software had
//! programmed each alike. A requester without a domain passes untranslated, as with an IOMMU that is off or passes
//! through. Tables hold runs of addresses, not pages: a gigabyte mapped in one piece is one entry. Writing over a run
//! replaces the part written, as writing page table entries would.

use std::collections::BTreeMap;

use peerbus_units::{CpuAddr, FunctionId, Iova, Range};

/// Number of a translation domain, as software chose it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DomainNumber(pub u32);

/// Where an address of a domain leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Translation {
    /// It lies in a run of addresses that leads to consecutive CPU addresses.
    Mapped {
        /// The run.
        run: Range<Iova>,
        /// CPU address of its first byte.
        to: CpuAddr,
    },
    /// Nowhere, like all of this gap.
    Unmapped(Range<Iova>),
}

/// The tables of a machine.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct IommuTables {
    requesters: BTreeMap<(u32, u16), DomainNumber>,
    /// Last address, and CPU address of the first, by domain and first address. Runs of a domain are disjoint.
    runs: BTreeMap<(DomainNumber, Iova), (Iova, CpuAddr)>,
    small_pages: bool,
}

impl IommuTables {
    /// Has runs entered in pages of 4 KiB alone, whatever their size.
    pub fn use_small_pages(&mut self) {
        self.small_pages = true;
    }

    /// log2 of the largest page that runs are entered in: 1 GiB, or 4 KiB.
    pub fn largest_page(&self) -> u32 {
        if self.small_pages { 12 } else { 30 }
    }

    /// Requests of `segment` with the id `requester` are translated by `domain`; with `None` they pass as they are.
    pub fn attach(&mut self, segment: u32, requester: u16, domain: Option<DomainNumber>) {
        match domain {
            Some(domain) => self.requesters.insert((segment, requester), domain),
            None => self.requesters.remove(&(segment, requester)),
        };
    }

    /// Makes `iova` lead to the CPU addresses from `to` on, whatever it led to before. The part of it that would lead
    /// beyond the last CPU address leads nowhere.
    pub fn map(&mut self, domain: DomainNumber, iova: Range<Iova>, to: CpuAddr) {
        self.unmap(domain, iova);
        let room = iova.last().0 - iova.first().0;
        let last = iova.first().0 + room.min(u64::MAX - to.0);
        self.runs.insert((domain, iova.first()), (Iova(last), to));
    }

    /// Makes `iova` lead nowhere.
    pub fn unmap(&mut self, domain: DomainNumber, iova: Range<Iova>) {
        while let Some((run, to)) = self.last_below(domain, iova.last()).filter(|(run, _)| run.overlaps(iova))
        {
            self.runs.remove(&(domain, run.first()));
            let (below, above) = run.without(iova);
            for part in below.into_iter().chain(above) {
                let moved = CpuAddr(to.0 + (part.first().0 - run.first().0));
                self.runs.insert((domain, part.first()), (part.last(), moved));
            }
            if below.is_some() {
                break;
            }
        }
    }

    /// The domain of requests with the id of `function`; `None`: they pass as they are.
    pub fn domain_of(&self, function: FunctionId) -> Option<DomainNumber> {
        self.requesters.get(&(function.domain, function.requester())).copied()
    }

    /// Where `iova` of `domain` leads.
    pub fn translate(&self, domain: DomainNumber, iova: Iova) -> Translation {
        let below = self.last_below(domain, iova);
        if let Some((run, to)) = below.filter(|(run, _)| run.contains(iova)) {
            return Translation::Mapped { run, to };
        }
        // A run that ends below `iova` does not end at the last address.
        let first = below.map_or(Iova(0), |(run, _)| Iova(run.last().0 + 1));
        let above = self.runs.range((domain, iova)..=(domain, Iova(u64::MAX))).next();
        // Nor does one that starts above it start at 0.
        let last = above.map_or(Iova(u64::MAX), |((_, next), _)| Iova(next.0 - 1));
        let gap = Range::new(first, last).filter(|gap| gap.contains(iova));
        let Some(gap) = gap else { unreachable!("{iova} lies in no run of {domain:?}, hence between two") };
        Translation::Unmapped(gap)
    }

    /// The runs of a domain, lowest first.
    pub fn runs(&self, domain: DomainNumber) -> impl Iterator<Item = (Range<Iova>, CpuAddr)> + '_ {
        let all = self.runs.range((domain, Iova(0))..=(domain, Iova(u64::MAX)));
        all.filter_map(|((_, first), (last, to))| Some((Range::new(*first, *last)?, *to)))
    }

    /// True when no domain leads anywhere.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The highest run of a domain that starts at or below `iova`.
    fn last_below(&self, domain: DomainNumber, iova: Iova) -> Option<(Range<Iova>, CpuAddr)> {
        let ((_, first), (last, to)) = self.runs.range((domain, Iova(0))..=(domain, iova)).next_back()?;
        Range::new(*first, *last).map(|run| (run, *to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerbus_units::Address;

    const A: DomainNumber = DomainNumber(1);
    const B: DomainNumber = DomainNumber(2);

    fn range(first: u64, last: u64) -> Range<Iova> {
        Range::new(Iova(first), Iova(last)).unwrap()
    }

    /// CPU address of `iova`.
    fn at(tables: &IommuTables, domain: DomainNumber, iova: u64) -> Option<u64> {
        match tables.translate(domain, Iova(iova)) {
            Translation::Mapped { run, to } => to.checked_add(iova - run.first().0).map(|to| to.0),
            Translation::Unmapped(_) => None,
        }
    }

    #[test]
    fn requesters_have_domains_by_segment_and_id() {
        let mut tables = IommuTables::default();
        let id = |text: &str| text.parse::<FunctionId>().unwrap();
        tables.attach(0, 0x0308, Some(A));
        tables.attach(1, 0x0308, Some(B));
        let of = |tables: &IommuTables| {
            ["0000:03:01.0", "0001:03:01.0", "0000:03:00.0"].map(|text| tables.domain_of(id(text)))
        };
        assert_eq!(of(&tables), [Some(A), Some(B), None]);
        tables.attach(0, 0x0308, None);
        assert_eq!(of(&tables), [None, Some(B), None]);
    }

    #[test]
    fn gaps_reach_to_the_neighbouring_runs_and_the_ends() {
        let mut tables = IommuTables::default();
        let gap = |tables: &IommuTables, iova| match tables.translate(A, Iova(iova)) {
            Translation::Unmapped(gap) => Some(gap),
            Translation::Mapped { .. } => None,
        };
        assert_eq!(gap(&tables, 5), Some(range(0, u64::MAX)));
        tables.map(A, range(0x1000, 0x1fff), CpuAddr(0x7000));
        tables.map(A, range(u64::MAX - 0xfff, u64::MAX), CpuAddr(0x9000));
        tables.map(B, range(0, u64::MAX), CpuAddr(0));
        assert_eq!(gap(&tables, 0xfff), Some(range(0, 0xfff)));
        assert_eq!(gap(&tables, 0x2000), Some(range(0x2000, u64::MAX - 0x1000)));
        let found = [0x1000, 0x1fff, u64::MAX].map(|iova| at(&tables, A, iova));
        assert_eq!(found, [Some(0x7000), Some(0x7fff), Some(0x9fff)]);
    }

    #[test]
    fn a_run_never_leads_beyond_the_last_cpu_address() {
        let mut tables = IommuTables::default();
        tables.map(A, range(0x1000, 0x8fff), CpuAddr(u64::MAX - 0xfff));
        assert_eq!([0x1fff, 0x2000].map(|iova| at(&tables, A, iova)), [Some(u64::MAX), None]);
    }

    /// Random writes to a small space, against an array with an entry for each address.
    #[test]
    fn writing_over_runs_is_as_writing_every_address() {
        let mut seed = 1u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let (mut tables, mut model) = (IommuTables::default(), [None; 40]);
        for _ in 0..3000 {
            let (first, length, to) = (next(40), 1 + next(9), 1000 * next(50));
            let last = (first + length - 1).min(39);
            let maps = next(3) > 0;
            match maps {
                true => tables.map(A, range(first, last), CpuAddr(to)),
                false => tables.unmap(A, range(first, last)),
            }
            for address in first..=last {
                model[usize::try_from(address).unwrap()] = maps.then(|| to + (address - first));
            }
            let found: Vec<_> = (0..40).map(|iova| at(&tables, A, iova)).collect();
            assert_eq!(found, model);
            let runs: Vec<_> = tables.runs(A).map(|(run, _)| run).collect();
            assert!(runs.windows(2).all(|pair| pair[0].last() < pair[1].first()), "{runs:?}");
        }
    }
}
