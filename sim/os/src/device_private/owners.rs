//! [`OwnerGroups`]: devices that use each other's private memory as their own.
//!
//! A device joins an owner only if an interconnect connects it with *every* device that has this owner already;
//! otherwise it gets an owner of its own. Which owner, if several would do, depends on the order in which devices come.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::pagemap::Owner;

/// Owners and their devices, of a driver whose number for a device is `D`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnerGroups<D> {
    groups: BTreeMap<Owner, Vec<D>>,
    next: u64,
}

impl<D> Default for OwnerGroups<D> {
    fn default() -> OwnerGroups<D> {
        OwnerGroups { groups: BTreeMap::new(), next: 0 }
    }
}

impl<D: Copy + PartialEq> OwnerGroups<D> {
    /// A device's owner: the oldest all of whose devices are `connected` with it, or a new one. A device that has one
    /// keeps it.
    pub fn join(&mut self, device: D, connected: impl Fn(D, D) -> bool) -> Owner {
        if let Some(owner) = self.owner(device) {
            return owner;
        }
        let mesh = |members: &[D]| members.iter().all(|member| connected(*member, device));
        if let Some((owner, members)) = self.groups.iter_mut().find(|(_, members)| mesh(members)) {
            members.push(device);
            return *owner;
        }
        let owner = Owner(self.next);
        self.next += 1;
        self.groups.insert(owner, [device].into());
        owner
    }

    /// The device is gone; its owner with the last of its devices.
    pub fn leave(&mut self, device: D) {
        self.groups.retain(|_, members| {
            members.retain(|member| *member != device);
            !members.is_empty()
        });
    }

    /// The owner of a device.
    pub fn owner(&self, device: D) -> Option<Owner> {
        self.groups.iter().find(|(_, members)| members.contains(&device)).map(|(owner, _)| *owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_full_mesh() {
        // A chain: each device is connected with its neighbours only.
        let chain = |a: u32, b: u32| a.abs_diff(b) == 1;
        let mut groups = OwnerGroups::default();
        assert_eq!([0, 1, 2, 3, 1].map(|device| groups.join(device, chain).0), [0, 0, 1, 1, 0]);
        let mut groups = OwnerGroups::default();
        assert_eq!([0, 2, 1, 3].map(|device| groups.join(device, chain).0), [0, 1, 0, 1]);
        groups.leave(0);
        assert_eq!(groups.owner(0), None);
        assert_eq!(groups.join(9, chain), Owner(2));
        groups.leave(1);
        assert_eq!(groups.join(0, chain), Owner(3), "an owner that is gone does not come back");
        let mut all = OwnerGroups::default();
        assert_eq!([0, 1, 2, 3].map(|device| all.join(device, |_, _| true).0), [0; 4]);
    }
}
