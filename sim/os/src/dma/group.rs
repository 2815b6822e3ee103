//! [`Groups`]: functions that an IOMMU cannot keep apart.
//!
//! Functions are taken in enumeration order, bridges before what lies below them, and each joins the first group it
//! meets:
//!
//! 1. that of a bridge under whose requester id its requests arrive ([`dma_aliases`]);
//! 2. climbing from there as long as the bridge above is not isolated *up to the root* ([`acs_path`](crate::pci::acs_path)), that of the
//!    bridge reached. It is the bridge's isolation that counts, not the function's: an endpoint below a downstream port
//!    without ACS shares that port's group;
//! 3. that of a function of its bus whose id it uses, or the reverse;
//! 4. if it is one of several functions of a slot and not isolated, that of another such function found before.
//!
//! Otherwise it gets a group of its own, with the lowest number not in use. The ACS words are those of this moment:
//! later changes regroup nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::DmaRules;
use super::alias::{AliasQuirks, dma_aliases};
use crate::ConfigSpace;
use crate::pci::{AcsWord, FunctionIndex, Tree, acs_enabled, acs_path};

/// What a path must do to keep functions apart.
const REQUIRED: AcsWord = AcsWord::ISOLATION;

/// Number of a group, as the kernel shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupNumber(pub u32);

/// Which function is in which group.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Groups {
    of: BTreeMap<FunctionIndex, GroupNumber>,
    members: BTreeMap<GroupNumber, Vec<FunctionIndex>>,
}

/// What grouping needs beside the tree.
#[derive(Clone, Copy, Debug)]
pub struct Grouping<'a, C> {
    /// Enumeration's result.
    pub tree: &'a Tree,
    /// The functions' registers: ACS words are read.
    pub cs: &'a C,
    /// Devices with ids of others.
    pub quirks: &'a AliasQuirks,
    /// The kernel.
    pub rules: &'a DmaRules,
}

impl Groups {
    /// The group of `function`; `None` where no IOMMU covers it.
    pub fn of(&self, function: FunctionIndex) -> Option<GroupNumber> {
        self.of.get(&function).copied()
    }

    /// The functions of a group in the order they joined.
    pub fn members(&self, group: GroupNumber) -> &[FunctionIndex] {
        self.members.get(&group).map_or(&[], Vec::as_slice)
    }

    /// A copy of one group, without the others.
    pub fn only(&self, group: GroupNumber) -> Groups {
        let members = self.members(group);
        Groups {
            of: members.iter().map(|member| (*member, group)).collect(),
            members: [(group, members.to_vec())].into(),
        }
    }

    /// All groups with their members, by number.
    pub fn iter(&self) -> impl Iterator<Item = (GroupNumber, &[FunctionIndex])> {
        self.members.iter().map(|(number, members)| (*number, members.as_slice()))
    }

    /// Groups all functions that `covered` says an IOMMU covers, in enumeration order.
    pub fn probe<C: ConfigSpace>(
        grouping: &Grouping<'_, C>,
        covered: impl Fn(FunctionIndex) -> bool,
    ) -> Groups {
        let mut groups = Groups::default();
        let functions = grouping.tree.iter().map(|(function, _)| function);
        for function in functions.filter(|function| covered(*function)) {
            groups.add(grouping, function);
        }
        groups
    }

    /// Puts `function`, which appeared later, into a group.
    pub fn add<C: ConfigSpace>(
        &mut self,
        grouping: &Grouping<'_, C>,
        function: FunctionIndex,
    ) -> GroupNumber {
        if let Some(group) = self.of(function) {
            return group;
        }
        let group = self.find(grouping, function).unwrap_or_else(|| self.unused());
        self.of.insert(function, group);
        self.members.entry(group).or_default().push(function);
        group
    }

    /// Takes `function`, which went away, out of its group; a group without members is no more.
    pub fn remove(&mut self, function: FunctionIndex) {
        let Some(group) = self.of.remove(&function) else { return };
        if let Some(members) = self.members.get_mut(&group) {
            members.retain(|member| *member != function);
            if members.is_empty() {
                self.members.remove(&group);
            }
        }
    }

    fn unused(&self) -> GroupNumber {
        let free = (0..).zip(self.members.keys()).find(|(number, used)| *number != used.0);
        let count = || u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        GroupNumber(free.map_or_else(count, |(number, _)| number))
    }

    fn find<C: ConfigSpace>(
        &self,
        grouping: &Grouping<'_, C>,
        function: FunctionIndex,
    ) -> Option<GroupNumber> {
        let last = match self.by_alias(grouping, function) {
            ControlFlow::Break(group) => return Some(group),
            ControlFlow::Continue(last) => last,
        };
        let top = match self.by_climbing(grouping, last) {
            ControlFlow::Break(group) => return Some(group),
            ControlFlow::Continue(top) => top,
        };
        let mut seen = BTreeSet::new();
        self.by_quirk(grouping, top, &mut seen).or_else(|| self.by_slot(grouping, top, &mut seen))
    }

    /// Step 1: a group met on the way, or the last function that puts an id on the requests.
    fn by_alias<C>(
        &self,
        grouping: &Grouping<'_, C>,
        function: FunctionIndex,
    ) -> ControlFlow<GroupNumber, FunctionIndex> {
        let mut last = function;
        for alias in dma_aliases(grouping.tree, grouping.quirks, grouping.rules, function) {
            last = alias.function;
            if let Some(group) = self.of(last) {
                return ControlFlow::Break(group);
            }
        }
        ControlFlow::Continue(last)
    }

    /// Step 2: a group met on the way, or the highest function reached.
    fn by_climbing<C: ConfigSpace>(
        &self,
        grouping: &Grouping<'_, C>,
        from: FunctionIndex,
    ) -> ControlFlow<GroupNumber, FunctionIndex> {
        let Grouping { tree, cs, .. } = grouping;
        let mut top = from;
        while let Some(bridge) = tree.upstream(top) {
            if acs_path(tree, *cs, bridge, None, REQUIRED) {
                break;
            }
            top = bridge;
            if let Some(group) = self.of(bridge) {
                return ControlFlow::Break(group);
            }
        }
        ControlFlow::Continue(top)
    }

    /// Step 3: the group of a function of the bus that shares ids with `function`, directly or over others.
    fn by_quirk<C>(
        &self,
        grouping: &Grouping<'_, C>,
        function: FunctionIndex,
        seen: &mut BTreeSet<FunctionIndex>,
    ) -> Option<GroupNumber> {
        let mut waiting = Vec::from([function]);
        while let Some(next) = waiting.pop() {
            if !seen.insert(next) {
                continue;
            }
            if let Some(group) = self.of(next) {
                return Some(group);
            }
            let tree = grouping.tree;
            let others = tree[tree[next].bus].devices.iter().filter(|other| **other != next);
            // Last first, so that the first found is looked at first.
            waiting.extend(others.rev().filter(|other| grouping.quirks.are_aliases(tree, next, **other)));
        }
        None
    }

    /// Step 4: the group of another function of the slot, or of one that shares ids with it.
    fn by_slot<C: ConfigSpace>(
        &self,
        grouping: &Grouping<'_, C>,
        function: FunctionIndex,
        seen: &mut BTreeSet<FunctionIndex>,
    ) -> Option<GroupNumber> {
        let mates = self.slot_mates(grouping, function);
        mates.into_iter().find_map(|mate| self.by_quirk(grouping, mate, seen))
    }

    /// The other functions of the slot that are not isolated, if `function` is not.
    fn slot_mates<C: ConfigSpace>(
        &self,
        grouping: &Grouping<'_, C>,
        function: FunctionIndex,
    ) -> Vec<FunctionIndex> {
        let Grouping { tree, cs, .. } = grouping;
        let isolated = |function| acs_enabled(tree, *cs, function, REQUIRED);
        if !is_multifunction(tree, function) || isolated(function) {
            return Vec::new();
        }
        let slot = |at: FunctionIndex| tree[at].id.device();
        let others = tree[tree[function].bus].devices.iter().copied();
        others.filter(|at| *at != function && slot(*at) == slot(function) && !isolated(*at)).collect()
    }
}

/// A virtual function never counts as one of several.
fn is_multifunction(tree: &Tree, function: FunctionIndex) -> bool {
    tree[function].multifunction && tree[function].physical_function.is_none()
}
