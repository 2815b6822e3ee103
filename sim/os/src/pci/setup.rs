//! State of one assignment run, and the moves every step of it is made of.
//!
//! The steps: [`claim`](super::claim) what firmware assigned, [`size`](super::size) the windows bottom-up,
//! [`distribute`](super::distribute) what is left, [`assign`](super::assign) top-down, [`rounds`](super::rounds) of these. Each is an `impl` of
//! [`Setup`] in its own file.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::{Bytes, CpuAddr, Range};

use super::extent::Extent;
use super::failure::{Cause, WhyNot};
use super::options::BootOptions;
use super::place::{Placer, Wanted};
use super::resource::{Parent, Place, ROM, Resource, ResourceFlags, ResourceRef, is_iov, is_window};
use super::space::Claim;
use super::tree::{FunctionIndex, Tree};
use super::{bridge, program};
use crate::{ConfigSpace, Rules};

/// Class codes whose functions keep what firmware gave them.
const CLASS_NOT_DEFINED: u32 = 0x0000;
const CLASS_HOST_BRIDGE: u32 = 0x0600;
const CLASS_INTERRUPT_CONTROLLER: u32 = 0x0800;

/// Everything the steps of assignment work on.
pub(crate) struct Setup<'a, C> {
    pub cs: &'a mut C,
    pub tree: &'a mut Tree,
    pub rules: &'a Rules,
    pub options: &'a BootOptions,
    /// The last failure of each resource that has no address.
    pub why_not: BTreeMap<ResourceRef, WhyNot>,
}

/// A resource as it was before a step that may have to be undone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved {
    pub at: ResourceRef,
    pub flags: ResourceFlags,
    pub size: Bytes,
    pub align: u64,
}

impl<'a, C: ConfigSpace> Setup<'a, C> {
    /// Continues with what `tree` says failed before.
    pub fn new(
        cs: &'a mut C,
        tree: &'a mut Tree,
        rules: &'a Rules,
        options: &'a BootOptions,
    ) -> Setup<'a, C> {
        let why_not = tree.failures.iter().map(|failure| (failure.resource, failure.clone())).collect();
        Setup { cs, tree, rules, options, why_not }
    }
}

impl<C: ConfigSpace> Setup<'_, C> {
    pub fn placer(&self) -> Placer<'_> {
        Placer { tree: self.tree, rules: self.rules, platform: &self.options.platform }
    }

    pub fn resource(&self, at: ResourceRef) -> &Resource {
        self.tree.resource(at)
    }

    /// True when the kernel assigns resources of this function at all.
    pub fn is_assignable(&self, function: FunctionIndex) -> bool {
        match self.tree[function].class_code() {
            CLASS_NOT_DEFINED | CLASS_HOST_BRIDGE => false,
            CLASS_INTERRUPT_CONTROLLER => !program::decodes(self.cs, self.tree[function].id),
            _ => true,
        }
    }

    /// True for a resource that may stay without an address.
    pub fn is_optional(&self, at: ResourceRef) -> bool {
        if is_iov(at.number) {
            return true;
        }
        let resource = self.resource(at);
        self.rules.optional_roms_and_empty_windows
            && match at.number {
                ROM => !resource.flags.has(ResourceFlags::ROM_ENABLE),
                number => is_window(number) && resource.size == Bytes::ZERO,
            }
    }

    pub fn save(&self, at: ResourceRef) -> Saved {
        let resource = self.resource(at);
        Saved { at, flags: resource.flags, size: resource.size, align: resource.align }
    }

    pub fn restore(&mut self, saved: &Saved) {
        let resource = self.tree.resource_mut(saved.at);
        (resource.flags, resource.size, resource.align) = (saved.flags, saved.size, saved.align);
    }

    /// `pci_assign_resource`: finds an address and enters the resource there. A failure is recorded with its
    /// cause and leaves the resource unset.
    pub fn assign_one(&mut self, at: ResourceRef) -> bool {
        let resource = *self.resource(at);
        let wanted = Wanted { at, flags: resource.flags, size: resource.size, align: resource.align };
        assert!(resource.align.is_power_of_two(), "{at:?} was never sized: {resource:?}");
        match self.placer().find(wanted) {
            Some(place) => {
                self.enter(at, place);
                true
            }
            None => {
                let considered = self.placer().considered(wanted);
                let placed = self.revert_to_firmware(wanted);
                if !placed {
                    self.tree.resource_mut(at).flags |= ResourceFlags::UNSET;
                    self.fail(wanted, Cause::NoSpace(considered));
                }
                placed
            }
        }
    }

    /// Gives an assigned resource another extent, moving it if need be. Nothing changes when there is no room.
    pub fn grow(&mut self, at: ResourceRef, extent: Extent) -> bool {
        let resource = *self.resource(at);
        let Some(old) = resource.at else { return false };
        let Extent { size, align } = extent;
        let wanted = Wanted { at, flags: resource.flags, size: Bytes(size), align };
        let Some(place) = self.placer().find(wanted) else { return false };
        self.tree.space.remove(old.parent, at);
        let resource = self.tree.resource_mut(at);
        (resource.size, resource.align) = (Bytes(size), align);
        self.enter(at, place);
        true
    }

    /// Enters a resource at a place known to be free.
    pub fn enter(&mut self, at: ResourceRef, place: Place) {
        let size = self.resource(at).size;
        let range = Range::sized(place.first, size);
        let entered = range.map(|range| self.tree.space.insert(place.parent, Claim { range, owner: at }));
        assert!(entered == Some(Ok(())), "{at:?} of {size} was placed over {entered:?} at {}", place.first);
        let resource = self.tree.resource_mut(at);
        resource.at = Some(place);
        resource.flags = resource.flags & !(ResourceFlags::UNSET | ResourceFlags::STARTALIGN);
        self.why_not.remove(&at);
        if !is_window(at.number) {
            program::write_bar(self.cs, self.tree, at);
        }
    }

    /// Takes a resource out of the space; its size and kind stay.
    pub fn release(&mut self, at: ResourceRef) {
        if let Some(place) = self.tree.resource_mut(at).at.take() {
            self.tree.space.remove(place.parent, at);
        }
    }

    /// Gives a resource up after assignment failed.
    pub fn reset(&mut self, at: ResourceRef) {
        let keep = self.rules.unplaced_windows_stay && is_window(at.number);
        let resource = self.tree.resource_mut(at);
        if keep {
            resource.flags |= ResourceFlags::UNSET;
        } else {
            (resource.flags, resource.size, resource.align) = (ResourceFlags::NONE, Bytes::ZERO, 0);
        }
    }

    pub fn fail(&mut self, wanted: Wanted, cause: Cause) {
        let Wanted { at, flags, size, align } = wanted;
        let function = self.tree[at.function].id;
        self.why_not.insert(at, WhyNot { function, resource: at, flags, size, align, cause });
    }

    /// The last resort: the address where firmware had it, if a window on its bus contains it. On a root bus
    /// a range outside all windows is taken too, if no RAM lies there.
    fn revert_to_firmware(&mut self, wanted: Wanted) -> bool {
        let Some(first) = self.resource(wanted.at).firmware else { return false };
        let Some(range) = Range::sized(first, wanted.size) else { return false };
        let parent = match self.containing_window(wanted.at, range) {
            Some(parent) => parent,
            None if self.tree.upstream(wanted.at.function).is_some() => return false,
            None if self.is_taken(wanted.flags, range) => return false,
            None => Parent::Outside { io: wanted.flags.is_io() },
        };
        let free = self.tree.space.claims(parent).iter().all(|claim| !claim.range.overlaps(range));
        if free {
            self.enter(wanted.at, Place { first, parent });
        }
        free
    }

    /// True when something at the top of the tree of ports or physical addresses has part of `range`: a window of a host
    /// bridge, or RAM.
    fn is_taken(&self, flags: ResourceFlags, range: Range<CpuAddr>) -> bool {
        let windows = self.tree.host_bridges.iter().flat_map(|host| &host.windows);
        let memory = self.options.platform.taken.iter().any(|taken| taken.overlaps(range));
        windows.filter(|w| w.kind.flags().same_type(flags)).any(|w| w.cpu.overlaps(range))
            || flags.is_mem() && memory
    }

    /// The window on the resource's bus that contains `range`; none when that window prefetches and the
    /// resource does not.
    pub fn containing_window(&self, at: ResourceRef, range: Range<CpuAddr>) -> Option<Parent> {
        let flags = self.resource(at).flags;
        let windows = self.tree.bus_windows(self.tree[at.function].bus);
        let contains = |parent: &Parent| {
            self.tree
                .window(*parent)
                .is_some_and(|(kind, whole)| kind.same_type(flags) && whole.covers(range))
        };
        let parent = windows.into_iter().find(contains)?;
        let prefetches = self.tree.window(parent).is_some_and(|(kind, _)| kind.has(ResourceFlags::PREFETCH));
        (!prefetches || flags.has(ResourceFlags::PREFETCH)).then_some(parent)
    }

    /// Writes the windows of every bridge below host bridges, parents first.
    pub fn program_bridges(&mut self) {
        let bridges: Vec<_> =
            self.tree.iter().filter(|(_, f)| f.subordinate.is_some()).map(|(i, _)| i).collect();
        for bridge in bridges {
            bridge::setup(self.cs, self.tree, bridge);
        }
    }
}
