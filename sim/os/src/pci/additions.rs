//! What resources would like beyond what they need: hot-plug space of windows, optional contents.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::resource::ResourceRef;

/// Wish of one resource.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Addition {
    /// Bytes beyond the required size.
    pub size: u64,
    /// Alignment of the whole.
    pub align: u64,
}

/// Wishes by resource. The latest is served first, as in the kernel's list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Additions {
    wishes: BTreeMap<ResourceRef, (usize, Addition)>,
    added: usize,
}

impl Additions {
    pub fn add(&mut self, at: ResourceRef, addition: Addition) {
        self.wishes.insert(at, (self.added, addition));
        self.added += 1;
    }

    pub fn get(&self, at: ResourceRef) -> Option<Addition> {
        self.wishes.get(&at).map(|(_, addition)| *addition)
    }

    pub fn remove(&mut self, at: ResourceRef) -> Option<Addition> {
        self.wishes.remove(&at).map(|(_, addition)| addition)
    }

    pub fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }

    /// The resources of `among` that have a wish, in the order they are served.
    pub fn in_order(&self, among: &[ResourceRef]) -> Vec<ResourceRef> {
        let mut found: Vec<_> =
            among.iter().filter_map(|at| self.wishes.get(at).map(|(order, _)| (*order, *at))).collect();
        found.sort_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, at)| at).collect()
    }
}
