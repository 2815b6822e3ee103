//! [`DmaWork`]: what a call did, counted, so that a CPU can be charged for it.

use core::ops::AddAssign;

/// Steps of one or more calls. Every field only grows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DmaWork {
    /// IOVAs taken from a CPU's cache.
    pub cache_hits: u64,
    /// Cacheable sizes for which the caches had nothing.
    pub cache_misses: u64,
    /// Searches of the tree, second passes not counted.
    pub tree_searches: u64,
    /// Ranges looked at while searching.
    pub tree_steps: u64,
    /// Ranges put into the tree or taken out of it.
    pub tree_changes: u64,
    /// Flushes of a domain's translations.
    pub flushes: u64,
    /// Ranges mapped into or unmapped from an IOMMU table.
    pub table_changes: u64,
    /// Times the map type of a provider was asked for.
    pub provider_questions: u64,
    /// Bytes copied or to be copied through bounce buffers.
    pub bounced_bytes: u64,
}

impl AddAssign for DmaWork {
    fn add_assign(&mut self, other: DmaWork) {
        self.cache_hits += other.cache_hits;
        self.cache_misses += other.cache_misses;
        self.tree_searches += other.tree_searches;
        self.tree_steps += other.tree_steps;
        self.tree_changes += other.tree_changes;
        self.flushes += other.flushes;
        self.table_changes += other.table_changes;
        self.provider_questions += other.provider_questions;
        self.bounced_bytes += other.bounced_bytes;
    }
}
