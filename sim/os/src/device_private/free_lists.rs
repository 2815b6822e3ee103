//! [`FreeLists`]: a driver's free private pages.

use alloc::vec::Vec;

use super::Handout;
use crate::pagemap::{MapPage, PageMapId};

/// Two stacks: single pages, and compound pages of 2 MiB by their first page.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FreeLists {
    pages: Vec<MapPage>,
    folios: Vec<MapPage>,
}

impl FreeLists {
    /// Pushes one that is free (again).
    pub fn push(&mut self, page: MapPage, handout: Handout) {
        self.list(handout).push(page);
    }

    /// Pushes several; the last will be the first to be handed out.
    pub fn push_all(&mut self, pages: Vec<MapPage>, handout: Handout) {
        self.list(handout).extend(pages);
    }

    /// Hands out the one that was pushed last; `None`: the driver needs another chunk.
    pub fn pop(&mut self, handout: Handout) -> Option<MapPage> {
        self.list(handout).pop()
    }

    /// Forgets all pages of a map that goes.
    pub fn remove(&mut self, map: PageMapId) {
        self.pages.retain(|page| page.map != map);
        self.folios.retain(|page| page.map != map);
    }

    /// How many are free.
    pub fn len(&self, handout: Handout) -> usize {
        match handout {
            Handout::Pages => self.pages.len(),
            Handout::Folios => self.folios.len(),
        }
    }

    /// None are.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.folios.is_empty()
    }

    fn list(&mut self, handout: Handout) -> &mut Vec<MapPage> {
        match handout {
            Handout::Pages => &mut self.pages,
            Handout::Folios => &mut self.folios,
        }
    }
}
