//! [`Wishes`]: what resources would like to have beyond what they need, kept apart until there is room.
//!
//! Two kinds of wishes: a window that would like to be larger (hot-plug space, room for optional contents), and
//! an optional resource, which needs nothing at all and wishes for all of itself.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::extent::Extent;
use super::resource::ResourceRef;

/// Wishes by resource, and the order in which they were made.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Wishes {
    made: BTreeMap<ResourceRef, (usize, Extent)>,
    count: usize,
}

impl Wishes {
    /// `at` would like to be all of `extent`. A second wish of one resource replaces the first.
    pub fn make(&mut self, at: ResourceRef, extent: Extent) {
        self.made.insert(at, (self.count, extent));
        self.count += 1;
    }

    pub fn get(&self, at: ResourceRef) -> Option<Extent> {
        self.made.get(&at).map(|(_, extent)| *extent)
    }

    pub fn drop(&mut self, at: ResourceRef) {
        self.made.remove(&at);
    }

    pub fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// The wishes of `among`, the latest first. (Machines whose kernel places everything show the order: where
    /// room for hot-plug runs out, the windows sized first go without.)
    pub fn latest_first(&self, among: impl Iterator<Item = ResourceRef>) -> Vec<(ResourceRef, Extent)> {
        let mut found: Vec<_> =
            among.filter_map(|at| self.made.get(&at).map(|(order, extent)| (*order, at, *extent))).collect();
        found.sort_by_key(|(order, at, _)| core::cmp::Reverse((*order, *at)));
        found.into_iter().map(|(_, at, extent)| (at, extent)).collect()
    }
}
