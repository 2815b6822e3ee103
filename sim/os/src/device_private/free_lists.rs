//! [`FreeLists`]: a driver's free private pages.

use alloc::vec::Vec;

use super::Handout;
use crate::pagemap::{MapPage, PageMapId};

/// Two stacks: single pages, and compound pages of 2 MiB by their first page.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FreeLists {
    pages: Stack,
    folios: Stack,
}

/// Pages that follow each other are one run: a chunk that was never used costs as much as one page.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Stack {
    runs: Vec<Run>,
}

/// `count` pages or compound pages from `first` on; never none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    first: MapPage,
    count: u64,
}

impl Stack {
    fn push(&mut self, page: MapPage, step: u64) {
        match self.runs.last_mut() {
            Some(Run { first, count })
                if first.map == page.map && first.index + *count * step == page.index =>
            {
                *count += 1;
            }
            _ => self.runs.push(Run { first: page, count: 1 }),
        }
    }

    fn pop(&mut self, step: u64) -> Option<MapPage> {
        let Run { first, count } = self.runs.last_mut()?;
        *count -= 1;
        let page = MapPage { index: first.index + *count * step, ..*first };
        if *count == 0 {
            self.runs.pop();
        }
        Some(page)
    }
}

impl FreeLists {
    /// Pushes one that is free (again).
    pub fn push(&mut self, page: MapPage, handout: Handout) {
        self.list(handout).push(page, handout.pages());
    }

    /// Pushes several; the last will be the first to be handed out.
    pub fn push_all(&mut self, pages: impl IntoIterator<Item = MapPage>, handout: Handout) {
        pages.into_iter().for_each(|page| self.push(page, handout));
    }

    /// Hands out the one that was pushed last; `None`: the driver needs another chunk.
    pub fn pop(&mut self, handout: Handout) -> Option<MapPage> {
        self.list(handout).pop(handout.pages())
    }

    /// Breaks one free compound page into single ones; false where there is none.
    pub fn split(&mut self) -> bool {
        let Some(folio) = self.pop(Handout::Folios) else { return false };
        let pages = Handout::Folios.pages();
        self.pages.runs.push(Run { first: folio, count: pages });
        true
    }

    /// Makes compound pages of those whose single pages are all free; false where there is none.
    pub fn gather(&mut self) -> bool {
        let whole = Handout::Folios.pages();
        let mut runs = core::mem::take(&mut self.pages.runs);
        runs.sort_unstable_by_key(|run| (run.first.map, run.first.index));
        let mut joined: Vec<Run> = Vec::new();
        for run in runs {
            match joined.last_mut() {
                Some(last)
                    if last.first.map == run.first.map
                        && last.first.index + last.count == run.first.index =>
                {
                    last.count += run.count;
                }
                _ => joined.push(run),
            }
        }
        let before = self.len(Handout::Folios);
        for Run { first, count } in joined {
            let end = first.index + count;
            let (from, to) = (first.index.next_multiple_of(whole), end / whole * whole);
            let page = |index| MapPage { index, ..first };
            if from >= to {
                self.pages.runs.push(Run { first, count });
                continue;
            }
            let sides = [(first.index, from), (to, end)];
            for (start, end) in sides.into_iter().filter(|(start, end)| start < end) {
                self.pages.runs.push(Run { first: page(start), count: end - start });
            }
            (from..to).step_by(512).for_each(|index| self.push(page(index), Handout::Folios));
        }
        self.len(Handout::Folios) > before
    }

    /// Forgets all pages of a map that goes.
    pub fn remove(&mut self, map: PageMapId) {
        for handout in [Handout::Pages, Handout::Folios] {
            self.list(handout).runs.retain(|run| run.first.map != map);
        }
    }

    /// How many are free.
    pub fn len(&self, handout: Handout) -> usize {
        let list = match handout {
            Handout::Pages => &self.pages,
            Handout::Folios => &self.folios,
        };
        usize::try_from(list.runs.iter().map(|run| run.count).sum::<u64>()).unwrap_or(usize::MAX)
    }

    /// None are.
    pub fn is_empty(&self) -> bool {
        self.pages.runs.is_empty() && self.folios.runs.is_empty()
    }

    fn list(&mut self, handout: Handout) -> &mut Stack {
        match handout {
            Handout::Pages => &mut self.pages,
            Handout::Folios => &mut self.folios,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_agree_with_plain_ones() {
        let (mut lists, mut plain) = (FreeLists::default(), [Vec::new(), Vec::new()]);
        let mut state = 3_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (handout, list) = match state >> 40 & 1 {
                0 => (Handout::Pages, &mut plain[0]),
                _ => (Handout::Folios, &mut plain[1]),
            };
            if state >> 41 & 1 == 0 {
                let map = PageMapId(u32::from(state >> 42 & 7 == 0));
                let page = MapPage { map, index: (state >> 45 & 15) * handout.pages() };
                lists.push(page, handout);
                list.push(page);
            } else {
                assert_eq!(lists.pop(handout), list.pop());
            }
            assert_eq!(lists.len(handout), list.len());
        }
        lists.remove(PageMapId(0));
        let left = |list: &Vec<MapPage>| list.iter().filter(|page| page.map == PageMapId(1)).count();
        assert_eq!(
            (lists.len(Handout::Pages), lists.len(Handout::Folios)),
            (left(&plain[0]), left(&plain[1]))
        );
    }

    #[test]
    fn compound_pages_are_broken_and_gathered() {
        let mut lists = FreeLists::default();
        let page = |index| MapPage { map: PageMapId(0), index };
        lists.push_all((0..4).map(|piece| page(512 * piece)), Handout::Folios);
        assert!(lists.split() && lists.split());
        assert_eq!((lists.len(Handout::Pages), lists.len(Handout::Folios)), (1024, 2));
        let held = lists.pop(Handout::Pages).unwrap();
        assert!(lists.gather());
        assert_eq!((lists.len(Handout::Pages), lists.len(Handout::Folios)), (511, 3));
        assert!(!lists.gather());
        lists.push(held, Handout::Pages);
        assert!(lists.gather());
        assert_eq!((lists.len(Handout::Pages), lists.len(Handout::Folios)), (0, 4));
    }

    #[test]
    fn pages_that_follow_each_other_are_one_run() {
        let mut lists = FreeLists::default();
        lists.push_all((0..65536).map(|index| MapPage { map: PageMapId(0), index }), Handout::Pages);
        assert_eq!((lists.pages.runs.len(), lists.len(Handout::Pages)), (1, 65536));
    }
}
