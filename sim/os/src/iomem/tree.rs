//! [`IoMem`]: the tree, and entering and removing ranges.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use peerbus_units::{CpuAddr, Range};

use super::grid::LastSearch;
use super::resource::{Conflict, Descriptor, IoResource, Refusal, ResourceId};
use crate::pci::ResourceFlags;

/// Children of one entry by first address: last address and id.
pub(super) type Children = BTreeMap<CpuAddr, (CpuAddr, ResourceId)>;

/// The tree of physical addresses.
#[derive(Clone, Debug)]
pub struct IoMem {
    nodes: BTreeMap<ResourceId, Node>,
    next: u64,
    descriptors_left: Option<u64>,
    /// The last search downwards, while nothing has been removed since.
    pub(super) searched: Option<LastSearch>,
}

#[derive(Clone, Debug)]
struct Node {
    resource: IoResource,
    parent: Option<ResourceId>,
    children: Children,
}

const ROOT: ResourceId = ResourceId(0);

impl IoMem {
    /// An empty tree of the addresses `0..=end`. On x86 `end` is the last address of the CPU's physical width,
    /// elsewhere the last of 64 bits ([`PhysicalSpace::end`](super::PhysicalSpace::end)).
    pub fn new(end: CpuAddr) -> IoMem {
        let whole = Range::new(CpuAddr(0), end);
        let resource = IoResource::memory(whole.unwrap_or_else(|| unreachable!("0 <= end")), "PCI mem");
        let root = Node { resource, parent: None, children: Children::new() };
        IoMem { nodes: BTreeMap::from([(ROOT, root)]), next: 1, descriptors_left: None, searched: None }
    }

    /// Lets memory suffice for `left` more entries; `None` for any number, as at the start.
    pub fn limit_descriptors(&mut self, left: Option<u64>) {
        self.descriptors_left = left;
    }

    /// True when there is memory for one more entry.
    pub fn has_descriptor(&self) -> bool {
        self.descriptors_left != Some(0)
    }

    /// The whole space. Has no parent and is never removed.
    pub fn root(&self) -> ResourceId {
        ROOT
    }

    /// The entry `id`.
    pub fn get(&self, id: ResourceId) -> Option<&IoResource> {
        self.nodes.get(&id).map(|node| &node.resource)
    }

    /// The entry that `id` lies directly inside of; `None` for the root.
    pub fn parent(&self, id: ResourceId) -> Option<ResourceId> {
        self.nodes.get(&id)?.parent
    }

    /// What lies directly inside of `id`, lowest first.
    pub fn children(&self, id: ResourceId) -> impl DoubleEndedIterator<Item = (ResourceId, &IoResource)> {
        let children = self.nodes.get(&id).map(|node| node.children.values());
        children.into_iter().flatten().filter_map(|(_, child)| Some((*child, self.get(*child)?)))
    }

    /// Everything below the root in the order of `/proc/iomem`: depth (0 below the root), id, entry.
    pub fn walk(&self) -> impl Iterator<Item = (usize, ResourceId, &IoResource)> {
        let mut stack: Vec<(usize, ResourceId)> = self.children(ROOT).rev().map(|(id, _)| (0, id)).collect();
        core::iter::from_fn(move || {
            let (depth, id) = stack.pop()?;
            stack.extend(self.children(id).rev().map(|(child, _)| (depth + 1, child)));
            Some((depth, id, self.get(id)?))
        })
    }

    /// The innermost entry that holds `addr`; the root where nothing is entered, `None` outside of it.
    pub fn find(&self, addr: CpuAddr) -> Option<ResourceId> {
        if !self.get(ROOT)?.range.contains(addr) {
            return None;
        }
        let mut id = ROOT;
        while let Some((_, (last, child))) = self.nodes.get(&id)?.children.range(..=addr).next_back() {
            if *last < addr {
                break;
            }
            id = *child;
        }
        Some(id)
    }

    /// Enters `resource` directly below `parent`, where nothing may overlap it.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] with the lowest overlapping child, or with `parent` itself when the range lies
    /// outside of it.
    pub fn request(&mut self, parent: ResourceId, resource: IoResource) -> Result<ResourceId, Refusal> {
        self.room(parent, resource.range)?;
        self.attach(parent, resource)
    }

    /// Enters `resource` below `parent` as deep as it fits: inside any entry that is larger and holds it, and
    /// around all entries that lie inside of it, an equal one included.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] with the first entry that overlaps the range in part.
    pub fn insert(&mut self, parent: ResourceId, resource: IoResource) -> Result<ResourceId, Refusal> {
        let mut parent = parent;
        while let Err(refusal) = self.room(parent, resource.range) {
            match refusal {
                Refusal::Conflict(found) if !found.outside => {
                    if !found.range.covers(resource.range) || found.range == resource.range {
                        return self.enclose(parent, resource);
                    }
                    parent = found.with;
                }
                other => return Err(other),
            }
        }
        self.attach(parent, resource)
    }

    /// Claims `range` for a driver: a busy entry in the innermost entry that holds it and is not busy. The new
    /// entry has its parent's type and use.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] with the busy entry in the way, or with the one that holds the range in part.
    pub fn request_region(
        &mut self,
        parent: ResourceId,
        range: Range<CpuAddr>,
        name: impl Into<String>,
    ) -> Result<ResourceId, Refusal> {
        let mut parent = parent;
        while let Err(refusal) = self.room(parent, range) {
            match refusal {
                Refusal::Conflict(found) if !found.outside && !self.is_busy(found.with) => {
                    parent = found.with;
                }
                other => return Err(other),
            }
        }
        let above = self.get(parent).ok_or(Refusal::Unknown(parent))?;
        let flags = (above.flags & ResourceFlags::TYPE_BITS) | ResourceFlags::BUSY;
        let resource = IoResource { range, name: name.into(), flags, descriptor: above.descriptor };
        self.attach(parent, resource)
    }

    /// Removes the busy entry that is exactly `range`, with everything inside of it.
    ///
    /// # Errors
    /// [`Refusal::NotRequested`] when there is none.
    pub fn release_region(
        &mut self,
        parent: ResourceId,
        range: Range<CpuAddr>,
    ) -> Result<IoResource, Refusal> {
        let mut at = parent;
        loop {
            let node = self.nodes.get(&at).ok_or(Refusal::Unknown(at))?;
            let below = node.children.range(..=range.first()).next_back();
            let holder = below.filter(|(_, (last, _))| range.last() <= *last);
            let Some((_, (_, child))) = holder else { return Err(Refusal::NotRequested(range)) };
            let exact = self.get(*child).is_some_and(|found| found.range == range);
            match (self.is_busy(*child), exact) {
                (true, true) => return self.release(*child),
                (true, false) => return Err(Refusal::NotRequested(range)),
                (false, _) => at = *child,
            }
        }
    }

    /// Removes `id` with everything inside of it.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] or [`Refusal::Root`].
    pub fn release(&mut self, id: ResourceId) -> Result<IoResource, Refusal> {
        let node = self.detach(id)?;
        let mut inside: Vec<ResourceId> = node.children.values().map(|(_, child)| *child).collect();
        while let Some(child) = inside.pop() {
            if let Some(gone) = self.nodes.remove(&child) {
                inside.extend(gone.children.values().map(|(_, child)| *child));
                self.give_back();
            }
        }
        Ok(node.resource)
    }

    /// Removes `id` alone: what lies inside of it moves up to its parent. The inverse of [`IoMem::insert`].
    ///
    /// # Errors
    /// [`Refusal::Unknown`] or [`Refusal::Root`].
    pub fn remove(&mut self, id: ResourceId) -> Result<IoResource, Refusal> {
        let node = self.detach(id)?;
        let parent = node.parent.unwrap_or(ROOT);
        for (_, child) in node.children.values() {
            if let Some(moved) = self.nodes.get_mut(child) {
                moved.parent = Some(parent);
            }
        }
        if let Some(above) = self.nodes.get_mut(&parent) {
            above.children.extend(node.children);
        }
        Ok(node.resource)
    }

    /// Addresses taken directly below `id`; none when there is no such entry.
    pub(super) fn occupied(&self, id: ResourceId) -> &Children {
        const NONE: &Children = &Children::new();
        self.nodes.get(&id).map_or(NONE, |node| &node.children)
    }

    /// Says what `id` is used for.
    pub(super) fn describe(&mut self, id: ResourceId, descriptor: Descriptor) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.resource.descriptor = descriptor;
        }
    }

    /// Nothing when `range` is free directly below `parent`.
    fn room(&self, parent: ResourceId, range: Range<CpuAddr>) -> Result<(), Refusal> {
        let node = self.nodes.get(&parent).ok_or(Refusal::Unknown(parent))?;
        if !node.resource.range.covers(range) {
            return Err(self.conflict(parent, true));
        }
        match overlapping(&node.children, range).next() {
            Some(child) => Err(self.conflict(child, false)),
            None => Ok(()),
        }
    }

    fn is_busy(&self, id: ResourceId) -> bool {
        self.get(id).is_some_and(|resource| resource.flags.has(ResourceFlags::BUSY))
    }

    fn conflict(&self, with: ResourceId, outside: bool) -> Refusal {
        match self.get(with) {
            Some(found) => {
                Refusal::Conflict(Conflict { with, range: found.range, name: found.name.clone(), outside })
            }
            None => Refusal::Unknown(with),
        }
    }

    /// Enters `resource` below `parent` around every child it overlaps; all of them must lie inside.
    fn enclose(&mut self, parent: ResourceId, resource: IoResource) -> Result<ResourceId, Refusal> {
        let node = self.nodes.get(&parent).ok_or(Refusal::Unknown(parent))?;
        let inside: Vec<ResourceId> = overlapping(&node.children, resource.range).collect();
        let partial = inside
            .iter()
            .find(|child| self.get(**child).is_some_and(|found| !resource.range.covers(found.range)));
        if let Some(child) = partial {
            return Err(self.conflict(*child, false));
        }
        if !self.has_descriptor() {
            return Err(Refusal::NoMemory);
        }
        let adopted: Vec<Node> = inside.iter().filter_map(|child| self.unlink(*child)).collect();
        let id = self.attach(parent, resource)?;
        for (child, mut node) in inside.into_iter().zip(adopted) {
            node.parent = Some(id);
            self.link(id, child, node);
        }
        Ok(id)
    }

    fn attach(&mut self, parent: ResourceId, resource: IoResource) -> Result<ResourceId, Refusal> {
        match &mut self.descriptors_left {
            Some(0) => return Err(Refusal::NoMemory),
            Some(left) => *left -= 1,
            None => {}
        }
        let id = ResourceId(self.next);
        self.next += 1;
        self.link(parent, id, Node { resource, parent: Some(parent), children: Children::new() });
        Ok(id)
    }

    fn link(&mut self, parent: ResourceId, id: ResourceId, node: Node) {
        let range = node.resource.range;
        if let Some(above) = self.nodes.get_mut(&parent) {
            assert!(above.resource.range.covers(range), "{range} lies outside of its parent");
            assert!(overlapping(&above.children, range).next().is_none(), "{range} overlaps a sibling");
            above.children.insert(range.first(), (range.last(), id));
        }
        self.nodes.insert(id, node);
    }

    fn unlink(&mut self, id: ResourceId) -> Option<Node> {
        self.searched = None;
        let node = self.nodes.remove(&id)?;
        if let Some(above) = node.parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            above.children.remove(&node.resource.range.first());
        }
        Some(node)
    }

    fn detach(&mut self, id: ResourceId) -> Result<Node, Refusal> {
        if id == ROOT {
            return Err(Refusal::Root);
        }
        let node = self.unlink(id).ok_or(Refusal::Unknown(id))?;
        self.give_back();
        Ok(node)
    }

    fn give_back(&mut self) {
        self.descriptors_left = self.descriptors_left.map(|left| left.saturating_add(1));
    }
}

/// Children that share an address with `range`, lowest first.
fn overlapping(children: &Children, range: Range<CpuAddr>) -> impl Iterator<Item = ResourceId> + '_ {
    // Siblings do not overlap, so of those that begin before the range only the nearest can reach into it.
    let before = children.range(..range.first()).next_back().filter(|(_, (last, _))| *last >= range.first());
    let within = children.range(range.first()..=range.last());
    before.into_iter().chain(within).map(|(_, (_, id))| *id)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn range(first: u64, last: u64) -> Range<CpuAddr> {
        Range::new(CpuAddr(first), CpuAddr(last)).unwrap()
    }

    fn named(first: u64, last: u64, name: &str) -> IoResource {
        IoResource::memory(range(first, last), name)
    }

    fn tree() -> (IoMem, ResourceId) {
        let mut tree = IoMem::new(CpuAddr(0xffff));
        let window = tree.request(tree.root(), named(0x1000, 0x4fff, "window")).unwrap();
        tree.request(window, named(0x2000, 0x2fff, "bar")).unwrap();
        tree.request(tree.root(), named(0x8000, 0x8fff, "ram").busy()).unwrap();
        (tree, window)
    }

    fn listing(tree: &IoMem) -> Vec<String> {
        tree.walk().map(|(depth, _, found)| format!("{depth}{}", found.name)).collect()
    }

    /// The refusal's text, or where the entry went.
    fn outcome(tree: &IoMem, result: Result<ResourceId, Refusal>) -> String {
        match result {
            Ok(id) => format!("in {}", tree.get(tree.parent(id).unwrap()).unwrap().name),
            Err(refusal) => format!("{refusal}"),
        }
    }

    #[test]
    fn request_takes_no_overlap() {
        for (first, last, expected) in [
            (0x5000, 0x7fff, "in PCI mem"),
            (0x0, 0xfff, "in PCI mem"),
            (0x4fff, 0x5000, "overlaps window [0x1000-0x4fff]"),
            (0x0, 0xffff, "overlaps window [0x1000-0x4fff]"),
            (0x8fff, 0x9000, "overlaps ram [0x8000-0x8fff]"),
            (0xffff, 0x1_0000, "lies outside of PCI mem [0x0-0xffff]"),
        ] {
            let (mut tree, _) = tree();
            let result = tree.request(tree.root(), named(first, last, "new"));
            assert_eq!(outcome(&tree, result), expected, "{first:#x}-{last:#x}");
        }
    }

    #[test]
    fn insert_goes_inside_and_around() {
        for (first, last, expected, after) in [
            (0x3000, 0x3fff, "in window", "0window 1bar 1new 0ram"),
            (0x2100, 0x21ff, "in bar", "0window 1bar 2new 0ram"),
            (0x1000, 0x4fff, "in PCI mem", "0new 1window 2bar 0ram"),
            (0x2000, 0x2fff, "in window", "0window 1new 2bar 0ram"),
            (0x1000, 0x8fff, "in PCI mem", "0new 1window 2bar 1ram"),
            (0x0, 0xffff, "in PCI mem", "0new 1window 2bar 1ram"),
            (0x1000, 0x8ffe, "overlaps ram [0x8000-0x8fff]", "0window 1bar 0ram"),
            (0x2800, 0x37ff, "overlaps bar [0x2000-0x2fff]", "0window 1bar 0ram"),
        ] {
            let (mut tree, _) = tree();
            let result = tree.insert(tree.root(), named(first, last, "new"));
            assert_eq!(outcome(&tree, result.clone()), expected, "{first:#x}-{last:#x}");
            assert_eq!(listing(&tree).join(" "), after, "{first:#x}-{last:#x}");
            if let Ok(id) = result {
                tree.remove(id).unwrap();
                assert_eq!(listing(&tree).join(" "), "0window 1bar 0ram", "remove undoes insert");
            }
        }
    }

    #[test]
    fn regions_are_requested_in_what_is_not_busy() {
        let (mut tree, _) = tree();
        for (first, last, expected) in [
            (0x2000, 0x2fff, "in bar"),
            (0x2000, 0x2fff, "overlaps driver [0x2000-0x2fff]"),
            (0x4000, 0x4fff, "in window"),
            (0x4800, 0x5800, "lies outside of window [0x1000-0x4fff]"),
            (0x8000, 0x80ff, "overlaps ram [0x8000-0x8fff]"),
            (0x9000, 0x90ff, "in PCI mem"),
        ] {
            let result = tree.request_region(tree.root(), range(first, last), "driver");
            assert_eq!(outcome(&tree, result), expected, "{first:#x}-{last:#x}");
        }
        let root = tree.root();
        assert_eq!(
            tree.release_region(root, range(0x2000, 0x27ff)),
            Err(Refusal::NotRequested(range(0x2000, 0x27ff)))
        );
        assert!(tree.release_region(root, range(0x2000, 0x2fff)).is_ok());
        assert!(tree.release_region(root, range(0x2000, 0x2fff)).is_err(), "the BAR itself is not busy");
        assert_eq!(listing(&tree).join(" "), "0window 1bar 1driver 0ram 0driver");
    }

    #[test]
    fn ids_are_not_used_again() {
        let (mut tree, window) = tree();
        assert_eq!(tree.find(CpuAddr(0x2000)).and_then(|id| tree.parent(id)), Some(window));
        assert_eq!(tree.find(CpuAddr(0x7000)), Some(tree.root()));
        assert_eq!(tree.find(CpuAddr(0x1_0000)), None);
        tree.release(window).unwrap();
        assert_eq!(listing(&tree).join(" "), "0ram");
        let root = tree.root();
        tree.request(root, named(0x1000, 0x4fff, "window")).unwrap();
        assert_eq!(tree.release(window), Err(Refusal::Unknown(window)));
        assert_eq!(tree.request(window, named(0x1000, 0x1fff, "x")), Err(Refusal::Unknown(window)));
        assert_eq!(tree.release(root), Err(Refusal::Root));
    }

    #[test]
    fn memory_for_entries_runs_out() {
        let (mut tree, window) = tree();
        tree.limit_descriptors(Some(1));
        let root = tree.root();
        tree.insert(root, named(0, 0xffff, "all")).unwrap();
        assert_eq!(tree.insert(root, named(0x1000, 0x8fff, "most")), Err(Refusal::NoMemory));
        assert_eq!(listing(&tree).join(" "), "0all 1window 2bar 1ram");
        tree.release(window).unwrap();
        let all = tree.find(CpuAddr(0)).unwrap();
        assert!(tree.request(all, named(0, 1, "a")).is_ok() && tree.request(all, named(2, 3, "b")).is_ok());
        assert_eq!(tree.request(all, named(4, 5, "c")), Err(Refusal::NoMemory));
    }
}
