//! The tree of physical addresses that calls work on, and the regions they named.

use std::collections::BTreeMap;

use peerbus_os::Rules;
use peerbus_os::iomem::{IoMem, IoMemRules, IoResource, Refusal, RegionSpace, ResourceId};
use peerbus_units::{Bytes, CpuAddr, Range};

use super::call::RegionSetup;
use super::result::Outcome;

/// A tree, how it is searched, and what was found.
#[derive(Clone, Debug)]
pub(super) struct RegionState {
    tree: IoMem,
    base: ResourceId,
    space: RegionSpace,
    rules: Rules,
    /// By id; `None` when nothing was found.
    regions: BTreeMap<u64, Option<ResourceId>>,
}

impl RegionState {
    /// An empty tree. `setup.start` lies below its end.
    pub fn new(setup: &RegionSetup, rules: &Rules) -> RegionState {
        let mut tree = IoMem::new(setup.end);
        let base = match Range::new(setup.start, setup.end).filter(|_| setup.start > CpuAddr(0)) {
            None => tree.root(),
            // The tree is empty and holds all of it: nothing can be in the way.
            Some(part) => tree.request(tree.root(), IoResource::memory(part, "base")).unwrap_or(tree.root()),
        };
        tree.limit_descriptors(setup.descriptors);
        let iomem = IoMemRules { free_region_step: setup.step, ..rules.iomem };
        let rules = Rules { iomem, ..*rules };
        RegionState { tree, base, space: setup.space, rules, regions: BTreeMap::new() }
    }

    /// Nothing on success.
    pub fn busy(&mut self, range: Range<CpuAddr>, name: &str) -> Option<Outcome> {
        let entered = self.tree.insert(self.tree.root(), IoResource::memory(range, name).busy());
        entered.err().map(|refusal| {
            let error = if refusal == Refusal::NoMemory { "ENOMEM" } else { "EBUSY" };
            Outcome::failed(error, format!("{range} {refusal}"))
        })
    }

    pub fn request(&mut self, id: Option<u64>, size: Bytes, upwards: Option<Bytes>) -> Outcome {
        let name = id.map_or_else(|| "region".to_owned(), |id| format!("region {id}"));
        let (tree, rules, space) = (&mut self.tree, &self.rules, &self.space);
        let found = match upwards {
            None => tree.request_free_mem_region(rules, space, self.base, size, name),
            Some(align) => tree.alloc_free_mem_region(rules, space, self.base, size, align, name),
        };
        if let Some(id) = id {
            self.regions.insert(id, found.result.as_ref().ok().map(|region| region.id));
        }
        match found.result {
            Ok(region) => Outcome::Region {
                first: region.range.first().0,
                last: region.range.last().0,
                probes: found.work.probes,
            },
            Err(error) => Outcome::failed(error.errno().unwrap_or("BUG"), error.to_string()),
        }
    }

    /// Nothing on success.
    pub fn release(&mut self, id: u64) -> Option<Outcome> {
        let Some(region) = self.regions.get(&id).copied().flatten() else {
            return Some(Outcome::failed(
                "EINVAL",
                format!("request {id} failed; there is nothing to release"),
            ));
        };
        let released = self.tree.release(region);
        released.err().map(|_| Outcome::failed("EINVAL", format!("request {id} was released before")))
    }
}
