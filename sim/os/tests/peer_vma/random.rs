//! Random use by processes and importers: slots never lie, promises are kept, nothing is left behind.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_os::peer_vma::{
    CpuFault, Exporter, Importer, MoveObject, ObjectId, PeerVmaError, Policy, ProcessId, VmaId,
};
use peerbus_units::{CpuAddr, DevicePage, DmaAddr};

use super::{GPU, NIC, SAME_SWITCH, behind, exporter, lazy};
use crate::random::{Random, cases};

const PAGES: u64 = 24;
const SLOTS: u64 = 12;

/// A page, through a VMA, for an importer.
type Import = (VmaId, Importer, u64);

struct Life {
    exporter: Exporter,
    object: ObjectId,
    random: Random,
    vmas: Vec<VmaId>,
    /// Pages of VMAs that their process has unmapped.
    gone: BTreeSet<(VmaId, u64)>,
    first: u64,
    moving: Option<u64>,
    /// Addresses that importers have.
    active: BTreeMap<Import, DmaAddr>,
    /// What was mapped once, as long as its VMA exists.
    promised: BTreeSet<Import>,
    /// Addresses that processes have.
    cpu: BTreeMap<(VmaId, u64), CpuAddr>,
}

impl Life {
    fn claims(&self) -> BTreeSet<u64> {
        let imported = self.active.keys().chain(&self.promised).map(|(_, _, page)| *page);
        imported.chain(self.cpu.keys().map(|(_, page)| *page)).collect()
    }

    fn map(&mut self, vma: VmaId) {
        let (first, importer) = (self.random.below(PAGES), self.random.pick(&[NIC, GPU]));
        let pages = 1 + self.random.below((PAGES - first).min(5));
        let claims = self.claims();
        let needed = (first..first + pages).filter(|page| !claims.contains(page)).count() as u64;
        let got = self.exporter.p2p_map(vma, importer, first, pages, true, SAME_SWITCH);
        match got {
            Ok(addresses) => {
                for (page, address) in (first..).zip(addresses) {
                    self.active.insert((vma, importer, page), address);
                    self.promised.insert((vma, importer, page));
                }
            }
            Err(PeerVmaError::Outside) => {
                assert!((first..first + pages).any(|page| self.gone.contains(&(vma, page))));
            }
            Err(PeerVmaError::Wait) => assert!(self.moving.is_some()),
            Err(error) => {
                let left = SLOTS - claims.len() as u64;
                assert!(needed > left, "a promise was broken");
                assert_eq!(error, PeerVmaError::Full { needed, left });
            }
        }
    }

    fn unmap(&mut self) {
        let keys: Vec<Import> = self.active.keys().copied().collect();
        if keys.is_empty() {
            return;
        }
        let (vma, importer, page) = self.random.pick(&keys);
        self.exporter.p2p_unmap(vma, importer, page, 1).unwrap();
        self.active.remove(&(vma, importer, page));
    }

    fn touch(&mut self, vma: VmaId) {
        let page = self.random.below(PAGES);
        let claims = self.claims();
        match self.exporter.touch(vma, page) {
            CpuFault::Mapped(at) => {
                self.cpu.insert((vma, page), at);
            }
            CpuFault::Retry => assert!(self.moving.is_some()),
            CpuFault::SigBus(PeerVmaError::Outside) => assert!(self.gone.contains(&(vma, page))),
            CpuFault::SigBus(_) => assert!(claims.len() as u64 == SLOTS && !claims.contains(&page)),
        }
    }

    fn move_or_finish(&mut self) {
        let to = self.moving.unwrap_or_else(|| 10_000 + self.random.below(10_000));
        self.cpu.clear();
        match self.exporter.move_object(self.object, DevicePage(to)).unwrap() {
            MoveObject::Done => {
                assert!(self.active.is_empty());
                (self.first, self.moving) = (to, None);
            }
            MoveObject::Wait(stale) => {
                self.moving = Some(to);
                let pages: u64 = stale.iter().map(|stale| stale.pages).sum();
                assert_eq!(pages, self.active.len() as u64);
            }
        }
    }

    fn munmap(&mut self, vma: VmaId) {
        let first = self.random.below(PAGES);
        let pages = 1 + self.random.below(PAGES - first);
        let stale = self.exporter.munmap(vma, first, pages).unwrap();
        let inside = |page: u64| first <= page && page < first + pages;
        let named: u64 = stale.iter().map(|stale| stale.pages).sum();
        let active = self.active.keys().filter(|(of, _, page)| *of == vma && inside(*page));
        assert_eq!(named, active.count() as u64);
        self.promised.retain(|(of, _, page)| *of != vma || !inside(*page));
        self.cpu.retain(|(of, page), _| *of != vma || !inside(*page));
        self.gone.extend((first..first + pages).map(|page| (vma, page)));
        if (0..PAGES).all(|page| self.gone.contains(&(vma, page))) {
            assert_eq!(self.exporter.vma(vma), None);
            self.vmas.retain(|other| *other != vma);
        }
    }

    fn fork(&mut self, vma: VmaId) {
        let child = self.exporter.fork(vma, ProcessId(9)).unwrap();
        let seen: Vec<(u64, CpuAddr)> =
            self.cpu.iter().filter(|((of, _), _)| *of == vma).map(|((_, page), at)| (*page, *at)).collect();
        self.cpu.extend(seen.into_iter().map(|(page, at)| ((child, page), at)));
        let gone: Vec<u64> = self.gone.iter().filter(|(of, _)| *of == vma).map(|(_, page)| *page).collect();
        self.gone.extend(gone.into_iter().map(|page| (child, page)));
        self.vmas.push(child);
    }

    fn close(&mut self, vma: VmaId) {
        self.exporter.close(vma).unwrap();
        self.vmas.retain(|other| *other != vma);
        self.promised.retain(|(of, _, _)| *of != vma);
        self.cpu.retain(|(of, _), _| *of != vma);
    }

    fn check(&self) {
        assert_eq!(self.exporter.claims(), self.claims().len() as u64);
        for ((_, _, page), address) in &self.active {
            assert_eq!(behind(&self.exporter, *address), Some(self.first + page));
        }
        for ((_, page), address) in &self.cpu {
            let expect = Some((DevicePage(self.first + page), 0));
            assert_eq!(self.exporter.aperture().translate(*address), expect);
        }
        let mapped = self.active.keys().map(|(_, _, page)| *page);
        let shown: BTreeSet<u64> = mapped.chain(self.cpu.keys().map(|(_, page)| *page)).collect();
        assert_eq!(self.exporter.aperture().used(), shown.len() as u64);
    }
}

#[test]
fn apertures_agree_with_a_plain_model() {
    for seed in 0..cases(150) {
        println!("seed {seed}");
        let (exporter, object) = exporter(SLOTS, PAGES, Policy::default());
        let (vmas, gone, active, promised, cpu) = Default::default();
        let (random, first, moving) = (Random(seed), 1000, None);
        let mut life = Life { exporter, object, random, vmas, gone, first, moving, active, promised, cpu };
        for _ in 0..300 {
            let vma = (!life.vmas.is_empty()).then(|| life.random.pick(&life.vmas.clone()));
            match (life.random.below(23), vma) {
                (0..8, Some(vma)) => life.map(vma),
                (8..12, _) => life.unmap(),
                (12..16, Some(vma)) => life.touch(vma),
                (16, _) => life.move_or_finish(),
                (17, Some(vma)) => life.close(vma),
                (18, Some(vma)) if life.vmas.len() < 8 => life.fork(vma),
                (19, Some(vma)) => life.munmap(vma),
                _ => life.vmas.extend(life.exporter.mmap(lazy(object, PAGES))),
            }
            life.check();
        }
    }
}
