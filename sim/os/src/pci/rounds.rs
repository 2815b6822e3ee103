//! Rounds of sizing and assignment below one host bridge, and the release of windows between them.

use alloc::vec::Vec;

use super::options::Realloc;
use super::resource::{IOV_FIRST, IOV_LAST, Parent, ResourceFlags, ResourceRef, is_window};
use super::setup::{Saved, Setup};
use super::tree::{BusIndex, FunctionIndex};
use super::wishes::Wishes;
use crate::ConfigSpace;

const CLASS_PCI_BRIDGE: u32 = 0x0604;

impl<C: ConfigSpace> Setup<'_, C> {
    /// `pci_assign_unassigned_root_bus_resources`: one round, or with reallocation as many as the tree is
    /// deep and one more. Only the last keeps wishes apart from what is required. Before round 2, where
    /// a bridge above something that failed leads to no other bridge, its window of that kind is released; from
    /// round 3 on the window goes with the whole subtree below. What fails next is the window one level higher:
    /// hence as many rounds as levels.
    pub fn assign_root_bus(&mut self, bus: BusIndex) {
        let rounds = if self.reallocates(bus) { self.depth(bus) + 1 } else { 1 };
        for round in 1..=rounds {
            let mut wishes = (round == rounds).then(Wishes::default);
            let mut failed = Vec::new();
            self.size_bridges(bus, &mut wishes);
            if let Some(wishes) = &mut wishes {
                self.distribute(bus, wishes);
            }
            self.assign_bus(bus, &mut wishes, &mut failed);
            if failed.is_empty() || round == rounds {
                return;
            }
            for failure in &failed {
                let kind = failure.flags & ResourceFlags::KIND;
                self.release_below(self.tree[failure.at.function].bus, kind, round > 1);
            }
            self.restore_failed(&failed);
        }
    }

    /// What failed as it was before, to be tried again; windows without a kind, which sizing gives them.
    pub fn restore_failed(&mut self, failed: &[Saved]) {
        for failure in failed {
            self.restore(failure);
            if is_window(failure.at.number) {
                self.tree.resource_mut(failure.at).flags = ResourceFlags::NONE;
            }
        }
    }

    /// Releases windows of the kind of `flags`: of the bridge above `bus` and of all below, with what lies in them.
    pub fn release_subtree(&mut self, bus: BusIndex, flags: ResourceFlags) {
        self.release_below(bus, flags & ResourceFlags::KIND, true);
    }

    fn reallocates(&self, bus: BusIndex) -> bool {
        match self.options.realloc {
            Realloc::Off => false,
            Realloc::On => true,
            Realloc::Auto => !self.options.preserve_firmware && self.has_unassigned_iov(bus),
        }
    }

    fn has_unassigned_iov(&self, bus: BusIndex) -> bool {
        self.tree[bus].devices.iter().any(|function| {
            let function = &self.tree[*function];
            let iov = &function.resources[IOV_FIRST..=IOV_LAST];
            iov.iter().any(|r| !r.flags.is_empty() && !r.is_assigned())
                || function.subordinate.is_some_and(|below| self.has_unassigned_iov(below))
        })
    }

    /// Levels of bridges below `bus`.
    fn depth(&self, bus: BusIndex) -> usize {
        let below = self.tree[bus].devices.iter().filter_map(|function| self.tree[*function].subordinate);
        below.map(|bus| self.depth(bus) + 1).max().unwrap_or(0)
    }

    /// Releases windows of `kind` of the bridge above `bus`: of a leaf, or with all below it.
    fn release_below(&mut self, bus: BusIndex, kind: ResourceFlags, whole_subtree: bool) {
        let mut leaf = true;
        for function in self.tree[bus].devices.clone() {
            let Some(below) = self.tree[function].subordinate else { continue };
            leaf = false;
            if whole_subtree && self.tree[function].class_code() == CLASS_PCI_BRIDGE {
                self.release_below(below, kind, true);
            }
        }
        let Some(bridge) = self.tree[bus].bridge else { return };
        if self.tree[bridge].class_code() == CLASS_PCI_BRIDGE && (whole_subtree || leaf) {
            self.release_window(bridge, kind);
        }
    }

    fn release_window(&mut self, bridge: FunctionIndex, kind: ResourceFlags) {
        let number = self.window_for(bridge, kind);
        let at = ResourceRef { function: bridge, number };
        if self.resource(at).is_assigned() {
            self.release_children(at);
            self.release(at);
            self.tree.resource_mut(at).flags = ResourceFlags::NONE;
        }
    }

    fn release_children(&mut self, window: ResourceRef) {
        let children: Vec<_> =
            self.tree.space.claims(Parent::Window(window)).iter().map(|c| c.owner).collect();
        for child in children {
            self.release_children(child);
            self.release(child);
        }
    }
}
