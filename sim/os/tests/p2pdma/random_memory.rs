//! Random life of peer memory: whatever is called in whatever order, nothing is handed out twice, nothing is lost, and
//! unbinding ends when the last user is gone.

use std::collections::BTreeMap;

use peerbus_os::Profile;
use peerbus_os::p2pdma::{MapRequest, MappingId, Unbind};
use peerbus_units::{Bytes, CpuAddr, FunctionId};

use super::worked_memory::{Example, example};
use crate::random::{Random, cases};

const PAGE: u64 = 4096;

/// What should be in use.
#[derive(Default)]
struct Model {
    allocations: Vec<(CpuAddr, u64)>,
    mappings: Vec<MappingId>,
    pins: Vec<CpuAddr>,
    /// References by page of user space.
    pages: BTreeMap<CpuAddr, u64>,
    unbinding: bool,
}

impl Model {
    fn drop_page(&mut self, page: CpuAddr) {
        let references = self.pages.get_mut(&page).unwrap();
        *references -= 1;
        if *references == 0 {
            self.pages.remove(&page);
        }
    }

    /// Pages in use must be apart, and as many as the pool misses.
    fn check(&self, example: &Example, id: FunctionId) {
        let mut used: Vec<(u64, u64)> = self
            .allocations
            .iter()
            .map(|(address, size)| (address.0, size.div_ceil(PAGE) * PAGE))
            .chain(self.pages.keys().map(|page| (page.0, PAGE)))
            .collect();
        used.sort_unstable();
        assert!(used.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "handed out twice");
        let sum: u64 = used.iter().map(|(_, size)| size).sum();
        assert_eq!(example.p2pdma.available(id).0 + sum, example.p2pdma.size(id).0);
        for (page, references) in &self.pages {
            assert_eq!(example.p2pdma.page_references(*page), *references);
        }
        let references: u64 = example.p2pdma.page_maps().iter().map(|map| map.references).sum();
        assert_eq!(references, (self.allocations.len() + self.pages.len()) as u64);
    }
}

fn any<T>(random: &mut Random, list: &[T]) -> Option<usize> {
    (!list.is_empty()).then(|| usize::try_from(random.below(list.len() as u64)).unwrap())
}

fn map(example: &mut Example, id: FunctionId, model: &mut Model, random: &mut Random) {
    let (pages, failing) = (random.below(40), random.below(60));
    let mut left = failing;
    let insert = &mut |_| {
        left = left.checked_sub(1).ok_or("ENOMEM")?;
        Ok(())
    };
    let request = MapRequest { may_share: true, page_offset: 0, pages };
    if let Ok(mapping) = example.p2pdma.map(id, request, insert) {
        assert!(failing >= pages && !model.unbinding);
        let shown = example.p2pdma.mapped_pages(mapping);
        shown.iter().flatten().for_each(|page| assert_eq!(model.pages.insert(*page, 1), None));
        model.mappings.push(mapping);
    }
}

fn unmap(example: &mut Example, model: &mut Model, random: &mut Random) {
    let Some(at) = any(random, &model.mappings) else { return };
    let mapping = model.mappings[at];
    let (from, count) = (random.below(50), random.below(50));
    let [from, count] = [from, count].map(|number| usize::try_from(number).unwrap());
    let gone: Vec<_> =
        example.p2pdma.mapped_pages(mapping).iter().skip(from).take(count).flatten().copied().collect();
    example.p2pdma.unmap(mapping, from, count).unwrap();
    gone.into_iter().for_each(|page| model.drop_page(page));
    if example.p2pdma.mapped_pages(mapping).is_empty() {
        model.mappings.swap_remove(at);
    }
}

fn fork(example: &mut Example, model: &mut Model, random: &mut Random) {
    let Some(at) = any(random, &model.mappings) else { return };
    let child = example.p2pdma.fork(model.mappings[at]).unwrap();
    for page in example.p2pdma.mapped_pages(child).iter().flatten() {
        *model.pages.get_mut(page).unwrap() += 1;
    }
    model.mappings.push(child);
}

fn pin(example: &mut Example, model: &mut Model, random: &mut Random) {
    let pages: Vec<_> = model.pages.keys().copied().collect();
    if let Some(at) = any(random, &pages) {
        assert!(example.p2pdma.get_page(pages[at]));
        *model.pages.get_mut(&pages[at]).unwrap() += 1;
        model.pins.push(pages[at]);
    }
}

/// User space loses its mappings at once; what is pinned or allocated holds the registrations.
fn unbind(example: &mut Example, id: FunctionId, model: &mut Model) -> Unbind {
    let found = example.p2pdma.unbind(id).unwrap();
    model.unbinding = true;
    model.mappings.clear();
    model.pages.clear();
    for page in &model.pins {
        *model.pages.entry(*page).or_default() += 1;
    }
    found
}

fn step(example: &mut Example, id: FunctionId, model: &mut Model, random: &mut Random) {
    match random.below(16) {
        0..5 => {
            let size = 1 + (random.below(1 << 16) << random.below(5));
            let found = example.p2pdma.alloc(id, Bytes(size));
            model.allocations.extend(found.ok().map(|address| (address, size)));
        }
        5..8 => {
            if let Some(at) = any(random, &model.allocations) {
                let (address, size) = model.allocations.swap_remove(at);
                example.p2pdma.free(id, address, Bytes(size)).unwrap();
            }
        }
        8..10 => map(example, id, model, random),
        10..12 => unmap(example, model, random),
        12 => fork(example, model, random),
        13 => pin(example, model, random),
        14 => {
            if let Some(at) = any(random, &model.pins) {
                let page = model.pins.swap_remove(at);
                example.p2pdma.put_page(page).unwrap();
                model.drop_page(page);
            }
        }
        _ if random.below(40) == 0 && !model.unbinding => {
            unbind(example, id, model);
        }
        _ => {}
    }
}

fn run(profile: Profile, seed: u64) {
    let mut random = Random(seed);
    let mut example = example(profile);
    let (a, id) = (example.a, example.id(example.a));
    for (bar, size, offset) in [(0, 4, 0), (4, 2, 0), (0, 2, 8)] {
        example.register(a, bar, size, offset).unwrap();
    }
    let mut model = Model::default();
    for _ in 0..150 {
        step(&mut example, id, &mut model, &mut random);
        if !example.p2pdma.has_state(id) {
            break;
        }
        model.check(&example, id);
    }
    while let Unbind::Wait { references, .. } = unbind(&mut example, id, &mut model) {
        assert!(references > 0);
        model.check(&example, id);
        if let Some((address, size)) = model.allocations.pop() {
            example.p2pdma.free(id, address, Bytes(size)).unwrap();
        } else {
            let page = model.pins.pop().expect("unbinding waits for nothing");
            example.p2pdma.put_page(page).unwrap();
        }
    }
    assert!(model.allocations.is_empty() && model.pins.is_empty(), "{profile} seed {seed}");
    assert!(!example.p2pdma.has_state(id) && example.p2pdma.page_maps().iter().count() == 0);
}

#[test]
fn nothing_is_lost_or_handed_out_twice() {
    let cases = cases(300);
    for seed in 0..cases {
        Profile::ALL.into_iter().for_each(|profile| run(profile, seed));
    }
    println!("{cases} sequences of 150 calls for each of 3 profiles, seeds from 0");
}
