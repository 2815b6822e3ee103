//! [`Space`]: who owns which addresses below each window, and the search for free ones.
//!
//! Invariants: claims below one parent do not overlap and are kept by address. [`Space::insert`] and
//! [`Space::remove`] are the only writers.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::{Address, Bytes, CpuAddr, Range};

use super::resource::{Parent, ResourceRef};

/// Addresses owned by a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The addresses.
    pub range: Range<CpuAddr>,
    /// Who owns them.
    pub owner: ResourceRef,
}

/// All claims, by what they lie directly inside of.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Space {
    claims: BTreeMap<Parent, Vec<Claim>>,
}

impl Space {
    /// Claims directly below `parent`, by address.
    pub fn claims(&self, parent: Parent) -> &[Claim] {
        self.claims.get(&parent).map_or(&[], Vec::as_slice)
    }

    /// Enters a claim, or returns the one it overlaps.
    pub(crate) fn insert(&mut self, parent: Parent, claim: Claim) -> Result<(), Claim> {
        let claims = self.claims.entry(parent).or_default();
        let position = claims.partition_point(|other| other.range.last() < claim.range.first());
        match claims.get(position) {
            Some(other) if other.range.overlaps(claim.range) => Err(*other),
            _ => {
                claims.insert(position, claim);
                Ok(())
            }
        }
    }

    /// Removes the claim of `owner` below `parent`, if there is one.
    pub(crate) fn remove(&mut self, parent: Parent, owner: ResourceRef) {
        if let Some(claims) = self.claims.get_mut(&parent) {
            claims.retain(|claim| claim.owner != owner);
        }
    }

    /// The free ranges of `window` below `parent`, lowest first, as if `ignored` owned nothing.
    pub(crate) fn gaps(
        &self,
        parent: Parent,
        window: Range<CpuAddr>,
        ignored: Option<ResourceRef>,
    ) -> Vec<Range<CpuAddr>> {
        let mut gaps = Vec::new();
        let mut rest = Some(window);
        for claim in self.claims(parent).iter().filter(|claim| Some(claim.owner) != ignored) {
            let Some(free) = rest else { break };
            let (below, above) = free.without(claim.range);
            gaps.extend(below);
            rest = above;
        }
        gaps.extend(rest);
        gaps
    }

    /// Free bytes of `window` below `parent`, and the largest run of them.
    pub fn free(&self, parent: Parent, window: Range<CpuAddr>) -> (Bytes, Bytes) {
        let sizes = self.gaps(parent, window, None).into_iter().map(Range::size);
        sizes.fold((Bytes::ZERO, Bytes::ZERO), |(sum, largest), size| {
            (Bytes(sum.0.saturating_add(size.0)), largest.max(size))
        })
    }
}

/// `value` rounded up to a multiple of `align`, a power of two; `None` above 64 bits.
pub(crate) fn align_up(value: u64, align: u64) -> Option<u64> {
    CpuAddr(value).checked_add(align - 1).map(|sum| sum.0 & !(align - 1))
}

#[cfg(test)]
mod tests {
    use super::super::tree::FunctionIndex;
    use super::*;

    const PARENT: Parent = Parent::HostBridge { host_bridge: 0, window: 0 };

    fn claim(number: usize, first: u64, last: u64) -> Claim {
        let owner = ResourceRef { function: FunctionIndex(0), number };
        Claim { range: Range::new(CpuAddr(first), CpuAddr(last)).unwrap(), owner }
    }

    #[test]
    fn claims_do_not_overlap() {
        let mut space = Space::default();
        assert_eq!(space.insert(PARENT, claim(0, 0x2000, 0x2fff)), Ok(()));
        assert_eq!(space.insert(PARENT, claim(1, 0x1000, 0x1fff)), Ok(()));
        assert_eq!(space.insert(PARENT, claim(2, 0x1800, 0x3fff)), Err(claim(1, 0x1000, 0x1fff)));
        let window = Range::new(CpuAddr(0), CpuAddr(0x3fff)).unwrap();
        assert_eq!(space.free(PARENT, window), (Bytes(0x2000), Bytes(0x1000)));
        space.remove(PARENT, claim(1, 0, 0).owner);
        assert_eq!(space.free(PARENT, window), (Bytes(0x3000), Bytes(0x2000)));
        let as_if_empty = space.gaps(PARENT, window, Some(claim(0, 0, 0).owner));
        assert_eq!(as_if_empty, [window]);
    }
}
