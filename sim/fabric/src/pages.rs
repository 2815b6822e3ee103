//! Pages that are not there yet, and the requests by which devices have them brought (PCI Express, Page Request Interface).
//!
//! Memory that is shared with a process need not be pinned: its tables have holes. A device with a cache of translations learns
//! from a translation request that a page has none; if it may, it asks for the page then. Software is told, takes its time,
//! enters the page, and answers; the device asks for the translation again. A request and its answer are packets of the size of
//! those of a translation, and travel with them. Software works on any number of requests at a time.
//!
//! A device without page requests, or without a cache of translations, is refused such a page like any other that has no
//! translation.

use std::collections::BTreeMap;

use peerbus_machine::model::FunctionIndex;
use peerbus_machine::registers::{DomainNumber, Translation};
use peerbus_units::{Address, CpuAddr, Iova, Picos, Range};

use crate::run::Fabric;
use crate::spec::NodeId;

/// log2 of the size of a page that is absent.
const SHIFT: u32 = 12;

/// Pages that are absent, and what software does about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pager {
    /// By domain and page number.
    absent: BTreeMap<(DomainNumber, u64), Absent>,
}

#[derive(Clone, Copy, Debug)]
struct Absent {
    /// Where the page will lead.
    to: CpuAddr,
    /// From its page request at the root complex to the answer.
    software: u64,
}

impl Fabric {
    /// Takes a share of the pages of `range` out of the tables, as they are before a process has used them: `hundredths` of
    /// every hundred, evenly. When a device has asked for one, software has entered it `software` later. Returns how many
    /// pages are absent; none where requests of `requester` are not translated.
    pub fn page_out(
        &mut self,
        requester: FunctionIndex,
        range: Range<Iova>,
        hundredths: u8,
        software: Picos,
    ) -> u64 {
        let Some(domain) = self.decode.domain_of(requester) else { return 0 };
        let (first, last) = (range.first().raw() >> SHIFT, range.last().raw() >> SHIFT);
        let share = |pages: u64| pages * u64::from(hundredths.min(100)) / 100;
        let mut taken = 0;
        for page in first..=last {
            let number = page - first;
            if share(number + 1) == share(number) {
                continue;
            }
            let iova = Iova(page << SHIFT);
            let Translation::Mapped { run, to } = self.decode.iommu.translate(domain, iova) else { continue };
            let at = CpuAddr(to.raw() + (iova.raw() - run.first().raw()));
            self.pager.absent.insert((domain, page), Absent { to: at, software: software.0 });
            self.decode.iommu.unmap(domain, page_range(page));
            taken += 1;
        }
        taken
    }

    /// Whether requests of `requester` are translated.
    pub fn is_translated_for(&self, requester: FunctionIndex) -> bool {
        self.decode.domain_of(requester).is_some()
    }

    /// Whether a device may ask for the page of `addr`: it is only absent.
    pub(crate) fn is_absent(&self, domain: DomainNumber, addr: u64) -> bool {
        self.pager.absent.contains_key(&(domain, addr >> SHIFT))
    }

    /// Time that software takes to bring the page of `addr`; none when another device has had it brought.
    pub(crate) fn time_to_bring(&self, domain: Option<DomainNumber>, addr: u64) -> u64 {
        let absent = domain.and_then(|domain| self.pager.absent.get(&(domain, addr >> SHIFT)));
        absent.map_or(0, |absent| absent.software)
    }

    /// Software has entered the page of `addr`, as IOMMUs that remember only what there was need not be told.
    pub(crate) fn page_in(&mut self, domain: DomainNumber, addr: u64) {
        let page = addr >> SHIFT;
        let Some(Absent { to, .. }) = self.pager.absent.remove(&(domain, page)) else { return };
        self.decode.iommu.map(domain, page_range(page), to);
        self.tables_were_written();
        for iotlb in self.state.iotlbs.iter_mut().flatten() {
            iotlb.forget_page(domain, addr);
        }
    }

    /// Pages that a node's device may ask for at a time; 0 for a device that cannot.
    pub(crate) fn page_requests(&self, node: NodeId) -> usize {
        self.spec.nodes[node.at()].atc.map_or(0, |atc| usize::from(atc.page_requests))
    }
}

fn page_range(page: u64) -> Range<Iova> {
    let first = page << SHIFT;
    Range::new(Iova(first), Iova(first | ((1 << SHIFT) - 1))).expect("a page begins before it ends")
}
