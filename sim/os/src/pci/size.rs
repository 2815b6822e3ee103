//! Sizes of bridge windows, bottom-up.
//!
//! A window needs what its required contents take ([`extent`](super::extent)); what is merely wished for
//! (hot-plug space, optional contents) goes into [`Wishes`]. Without a list of wishes everything counts as
//! required. Per bus: the I/O window first, then the prefetchable one, then the other.

use alloc::vec::Vec;

use peerbus_units::Bytes;

use super::align::{Contents, order};
use super::bridge;
use super::extent::{Extent, Extents, Extra, Ports, cumulative, head, ports};
use super::failure::Cause;
use super::place::Wanted;
use super::resource::{
    IO_WINDOW, MEMORY_WINDOW, PREFETCH_WINDOW, RESOURCES, ResourceFlags, ResourceRef, is_window,
};
use super::setup::Setup;
use super::tree::{BusIndex, FunctionIndex};
use super::wishes::Wishes;
use crate::{ConfigSpace, WindowSizing};

impl<C: ConfigSpace> Setup<'_, C> {
    /// Sizes all windows of bridges on `bus` and below, and those of the bridge above `bus`.
    pub fn size_bridges(&mut self, bus: BusIndex, wishes: &mut Option<Wishes>) {
        for function in self.tree[bus].devices.clone() {
            if let Some(below) = self.tree[function].subordinate {
                self.size_bridges(below, wishes);
            }
        }
        let Some(above) = self.tree[bus].bridge else { return };
        bridge::check_ranges(self.tree, above);
        for number in [IO_WINDOW, PREFETCH_WINDOW, MEMORY_WINDOW] {
            let window = ResourceRef { function: above, number };
            let resource = self.resource(window);
            if resource.flags.is_empty() || resource.is_assigned() {
                continue;
            }
            let contents = self.contents_of(bus, window);
            let extents = match number {
                IO_WINDOW => self.size_io(window, &contents, wishes),
                _ => self.size_memory(bus, window, &contents, wishes),
            };
            self.set_window(window, extents, wishes);
        }
    }

    /// Unassigned resources of the functions on `bus` that will lie in `window`, in the order they were found.
    fn contents_of(&self, bus: BusIndex, window: ResourceRef) -> Vec<ResourceRef> {
        let functions = self.tree[bus].devices.iter().filter(|function| self.is_assignable(**function));
        let all = functions.flat_map(|f| (0..RESOURCES).map(|number| ResourceRef { function: *f, number }));
        all.filter(|at| {
            let resource = self.resource(*at);
            !resource.flags.is_empty()
                && !resource.flags.is_fixed()
                && !resource.is_assigned()
                && !self.is_switched_off(*at)
                && self.window_for(window.function, resource.flags) == window.number
        })
        .collect()
    }

    /// A window that nothing needs.
    pub fn is_switched_off(&self, at: ResourceRef) -> bool {
        is_window(at.number) && self.resource(at).flags.has(ResourceFlags::DISABLED)
    }

    /// Number of the window of `bridge` that a resource with these flags below it belongs in. A prefetchable
    /// one belongs in the prefetchable window, if there is one, unless only that window reaches beyond 4 GiB.
    pub fn window_for(&self, bridge: FunctionIndex, flags: ResourceFlags) -> usize {
        if flags.is_io() {
            return IO_WINDOW;
        }
        let prefetch = self.resource(ResourceRef { function: bridge, number: PREFETCH_WINDOW }).flags;
        let reaches = flags.has(ResourceFlags::MEM_64) || !prefetch.has(ResourceFlags::MEM_64);
        let fits = prefetch.is_mem() && flags.has(ResourceFlags::PREFETCH) && reaches;
        if fits { PREFETCH_WINDOW } else { MEMORY_WINDOW }
    }

    /// Space that hot-plug may take of this window. Without a prefetchable window, 6.x keeps what it would
    /// have got in the other.
    fn spare(&self, window: ResourceRef) -> u64 {
        if !self.tree[window.function].hotplug_bridge {
            return 0;
        }
        let prefetch = ResourceRef { number: PREFETCH_WINDOW, ..window };
        match window.number {
            IO_WINDOW => self.options.hotplug_io,
            PREFETCH_WINDOW => self.options.hotplug_prefetch,
            _ if self.rules.prefetch_spare_moves && self.resource(prefetch).flags.is_empty() => {
                self.options.hotplug_memory.saturating_add(self.options.hotplug_prefetch)
            }
            _ => self.options.hotplug_memory,
        }
    }

    /// Wishes of the contents come from `wishes`; the rest from the window itself.
    fn extra(&self, window: ResourceRef, wished: Extent, wishes: &Option<Wishes>) -> Extra {
        Extra {
            contents: wished.size,
            align: wished.align,
            spare: self.spare(window),
            apart: wishes.is_some(),
            old: self.resource(window).size.0,
        }
    }

    fn size_io(&self, window: ResourceRef, contents: &[ResourceRef], wishes: &Option<Wishes>) -> Extents {
        let (mut sum, mut wished) = (Ports::none(), Extent::default());
        for at in contents {
            let resource = self.resource(*at);
            sum.add(resource.size.0, resource.align);
            let wish = wishes.as_ref().and_then(|wishes| wishes.get(*at));
            let more = wish.map_or(0, |wish| wish.size.saturating_sub(resource.size.0));
            wished.size = wished.size.saturating_add(more);
        }
        ports(&sum, &self.extra(window, wished, wishes), self.rules.io_windows_count_required_twice)
    }

    fn size_memory(
        &mut self,
        bus: BusIndex,
        window: ResourceRef,
        contents: &[ResourceRef],
        wishes: &mut Option<Wishes>,
    ) -> Extents {
        let (mut required, mut wished) = (Contents::default(), Extent::default());
        for at in contents {
            self.add_content(*at, &mut required, &mut wished, wishes);
        }
        let extra = self.extra(window, wished, wishes);
        match self.rules.window_sizing {
            WindowSizing::Head => head(&required, &extra),
            WindowSizing::Cumulative => cumulative(&required, &extra, |extent| {
                !self.rules.relaxed_window_tail || self.upstream_has_room(bus, window, extent)
            }),
        }
    }

    /// Adds one resource to what a window must hold, or to what is wished for.
    fn add_content(
        &mut self,
        at: ResourceRef,
        required: &mut Contents,
        wished: &mut Extent,
        wishes: &mut Option<Wishes>,
    ) {
        let resource = *self.resource(at);
        let (size, align) = (resource.size.0, resource.align);
        if align == 0 {
            return;
        }
        if order(align) >= self.rules.alignment_orders {
            let wanted = Wanted { at, flags: resource.flags, size: resource.size, align };
            self.fail(wanted, Cause::AlignmentTooLarge);
            self.tree.resource_mut(at).flags = ResourceFlags::NONE;
            return;
        }
        let optional = self.is_optional(at);
        let Some(wishes) = wishes.as_mut().filter(|wishes| optional || wishes.get(at).is_some()) else {
            required.add(size, align);
            return;
        };
        if !optional {
            required.add(size, align);
        } else if wishes.get(at).is_none() {
            wishes.make(at, Extent { size, align });
        }
        let all = wishes.get(at).unwrap_or_default();
        let more = if optional { all.size } else { all.size.saturating_sub(size) };
        wished.size = wished.size.saturating_add(more);
        wished.align = wished.align.max(all.align);
    }

    /// True unless the nearest assigned window of this kind above, below the root bus, has no free run for
    /// `extent`.
    fn upstream_has_room(&self, bus: BusIndex, window: ResourceRef, extent: Extent) -> bool {
        let mask = ResourceFlags::TYPE_BITS | ResourceFlags::PREFETCH;
        let kind = self.resource(window).flags & mask;
        let mut above = self.tree[bus].parent;
        while let Some(bus) = above.filter(|bus| !self.tree[*bus].is_root()) {
            let windows = self.tree.bus_windows(bus);
            let same = |parent: &_| self.tree.window(*parent).is_some_and(|(flags, _)| flags & mask == kind);
            if let Some(parent) = windows.into_iter().find(same) {
                return self.placer().has_room(parent, extent.size, extent.align);
            }
            above = self.tree[bus].parent;
        }
        true
    }

    /// Enters the result, or switches the window off when nothing needs it or would like it.
    fn set_window(&mut self, window: ResourceRef, extents: Extents, wishes: &mut Option<Wishes>) {
        let Extents { need, like } = extents;
        let stays = self.rules.unplaced_windows_stay;
        let resource = self.tree.resource_mut(window);
        if need.size == 0 && like.size == 0 {
            resource.flags =
                if stays { resource.flags | ResourceFlags::DISABLED } else { ResourceFlags::NONE };
            return;
        }
        (resource.size, resource.align) = (Bytes(need.size), need.align);
        resource.flags = (resource.flags | ResourceFlags::STARTALIGN) & !ResourceFlags::DISABLED;
        if let Some(wishes) = wishes.as_mut().filter(|_| like.size > need.size) {
            wishes.make(window, like);
        }
    }
}
