//! Random lives of page maps against a plain model: every sub-section by itself.

use std::collections::BTreeMap;

use peerbus_os::Profile;
use peerbus_os::device_private::{Platform, PrivateDesign};
use peerbus_os::pagemap::{KernelMemory, MapPage, MemoryType, Owner, PageMapId, PageMapRequest, Unmap};
use peerbus_units::{Bytes, CpuAddr};

use super::{MIB, platform, range};
use crate::random::{Random, cases};

const FREE: u64 = 1 << 40;
/// Sub-sections of the part of memory that is played with.
const SUBS: u64 = 256;
const MEMORY: KernelMemory = KernelMemory { free: Bytes::gib(1), reserve: Bytes(0) };

/// A page map as it should be.
struct Map {
    first: u64,
    count: u64,
    dying: bool,
    /// Compound pages of 2 MiB that are out.
    out: Vec<MapPage>,
}

struct Life {
    platform: Platform,
    random: Random,
    /// Owner of each sub-section in the index.
    index: BTreeMap<u64, PageMapId>,
    /// Who made the page structs of each sub-section that has some.
    structs: BTreeMap<u64, PageMapId>,
    maps: BTreeMap<PageMapId, Map>,
}

impl Life {
    fn any(&mut self) -> Option<PageMapId> {
        let names: Vec<PageMapId> = self.maps.keys().copied().collect();
        (!names.is_empty()).then(|| self.random.pick(&names))
    }

    fn make(&mut self) {
        let first = self.random.below(SUBS);
        let count = (1 + self.random.below(80)).min(SUBS - first);
        let request = PageMapRequest::device(
            MemoryType::Private,
            range(FREE + first * 2 * MIB, count * 2 * MIB),
            Owner(1),
        );
        let live = |sub| self.index.get(&sub).is_some_and(|id| !self.maps[id].dying);
        let refused = live(first) || live(first + count - 1);
        let Platform { rules, layout, page_maps, memory, .. } = &mut self.platform;
        let made = page_maps.memremap(&rules.pagemap, layout, memory, &request);
        assert_eq!(made.is_err(), refused);
        if let Ok(id) = made {
            for sub in first..first + count {
                self.index.insert(sub, id);
                self.structs.entry(sub).or_insert(id);
            }
            self.maps.insert(id, Map { first, count, dying: false, out: Vec::new() });
        }
    }

    fn hand_out(&mut self, id: PageMapId) {
        let map = self.maps.get_mut(&id).unwrap();
        let page = MapPage { map: id, index: self.random.below(map.count) * 512 };
        // A driver hands nothing out twice.
        if !map.out.contains(&page) {
            let handed = self.platform.page_maps.hand_out(&self.platform.rules.pagemap, page, 9);
            assert_eq!(handed.is_err(), map.dying);
            if handed.is_ok() {
                map.out.push(page);
            }
        }
    }

    fn free(&mut self, id: PageMapId) {
        if let Some(page) = self.maps.get_mut(&id).unwrap().out.pop() {
            assert_eq!(self.platform.page_maps.free(page, 9), Ok(()));
        }
    }

    fn unmap(&mut self, id: PageMapId) {
        let map = self.maps.get_mut(&id).unwrap();
        map.dying = true;
        let references = 512 * map.out.len() as u64;
        let Platform { layout, page_maps, memory, .. } = &mut self.platform;
        let unmap = page_maps.memunmap(&layout.shape, memory, id);
        if references > 0 {
            assert_eq!(unmap, Ok(Unmap::Wait { references }));
            return;
        }
        assert_eq!(unmap, Ok(Unmap::Done));
        self.index.retain(|_, owner| *owner != id);
        self.structs.retain(|_, maker| *maker != id);
        self.maps.remove(&id);
    }

    fn check(&self) {
        for sub in 0..SUBS {
            let address = CpuAddr(FREE + sub * 2 * MIB + 4096);
            let owner = self.index.get(&sub);
            let expect =
                owner.map(|map| MapPage { map: *map, index: (sub - self.maps[map].first) * 512 + 1 });
            assert_eq!(self.platform.page_maps.find(address), expect, "sub-section {sub}");
            let has = self.platform.page_maps.vmemmap().has_page(address);
            assert_eq!(has, self.structs.contains_key(&sub), "sub-section {sub}");
        }
        let taken = Bytes((self.structs.len() as u64) << 15);
        assert_eq!(MEMORY.free - self.platform.memory.free, taken);
    }
}

#[test]
fn page_maps_agree_with_single_pages() {
    for seed in 0..cases(60) {
        println!("seed {seed}");
        let mut platform = platform(Profile::Linux_7_3, PrivateDesign::PhysicalSpace);
        platform.memory = MEMORY;
        let (index, structs, maps) = Default::default();
        let mut life = Life { platform, random: Random(seed), index, structs, maps };
        for _ in 0..200 {
            match (life.random.below(4), life.any()) {
                (0, _) => life.make(),
                (1, Some(id)) => life.hand_out(id),
                (2, Some(id)) => life.free(id),
                (_, Some(id)) => life.unmap(id),
                (_, None) => {}
            }
            life.check();
        }
    }
}
