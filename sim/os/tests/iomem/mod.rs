//! The tree of physical addresses and the search for unused ranges.

mod limits;
mod oracle;
mod recorded;
mod worked;

use peerbus_os::iomem::{IoMem, RegionError, RegionSpace, Searched};
use peerbus_os::{Profile, Rules, RulesOptions};
use peerbus_units::{Bytes, CpuAddr};

fn rules(profile: Profile) -> Rules {
    profile.rules(RulesOptions::default())
}

/// 128 MiB sections below `limit`.
fn space(limit: u64) -> RegionSpace {
    RegionSpace { limit: CpuAddr(limit), section: Bytes::mib(128) }
}

/// Asks for `size` bytes of device memory anywhere in the tree.
fn request(tree: &mut IoMem, rules: &Rules, space: &RegionSpace, size: u64) -> Searched {
    tree.request_free_mem_region(rules, space, tree.root(), Bytes(size), "test")
}

fn first(searched: &Searched) -> Result<u64, RegionError> {
    searched.result.clone().map(|region| region.range.first().0)
}
