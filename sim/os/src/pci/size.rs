//! Sizes of bridge windows, bottom-up.
//!
//! A window gets the required size of what lies inside, computed from alignments
//! ([`Contents`]); what is merely wished for (hot-plug space, optional contents) goes into [`Additions`].
//! Without a list of additions, everything wished for counts as required.

use alloc::vec::Vec;

use peerbus_units::Bytes;

use super::additions::{Addition, Additions};
use super::align::{Contents, order};
use super::bridge::{self, granule};
use super::failure::Cause;
use super::place::Wanted;
use super::resource::{
    IO_WINDOW, MEMORY_WINDOW, PREFETCH_WINDOW, RESOURCES, ResourceFlags, ResourceRef, is_iov, is_window,
};
use super::setup::Setup;
use super::space::align_up;
use super::tree::{BusIndex, FunctionIndex};
use crate::{ConfigSpace, WindowSizing};

/// Sizes up to this many ports count as small: they might be spread around ISA aliases.
const SMALL_IO: u64 = 0x400;

/// Required size, extended size, and alignments of a window.
struct Sized {
    required: u64,
    extended: u64,
    align: u64,
    extended_align: u64,
}

/// Which memory resources of a bus go into the window being sized.
struct Selection {
    window: ResourceRef,
    /// 6.x compares flags under a mask; 7.x asks for each resource which window it would use.
    masked: Option<(ResourceFlags, [ResourceFlags; 3])>,
}

/// Hot-plug space of one bridge.
#[derive(Clone, Copy, Default)]
struct Spare {
    io: u64,
    memory: u64,
    prefetch: u64,
}

impl<C: ConfigSpace> Setup<'_, C> {
    /// Sizes all windows of bridges on `bus` and below, and those of the bridge above `bus`.
    pub fn size_bridges(&mut self, bus: BusIndex, additions: &mut Option<Additions>) {
        for function in self.tree[bus].devices.clone() {
            if let Some(below) = self.tree[function].subordinate {
                self.size_bridges(below, additions);
            }
        }
        let Some(above) = self.tree[bus].bridge else { return };
        bridge::check_ranges(self.tree, above);
        let spare = match self.tree[above].hotplug_bridge {
            true => Spare {
                io: self.options.hotplug_io,
                memory: self.options.hotplug_memory,
                prefetch: self.options.hotplug_prefetch,
            },
            false => Spare::default(),
        };
        self.size_io(bus, above, spare.io, additions);
        match self.rules.window_sizing {
            WindowSizing::Cumulative => self.size_memory_by_mask(bus, above, spare, additions),
            WindowSizing::Head => self.size_memory_by_use(bus, above, spare, additions),
        }
    }

    /// 6.x: 64-bit prefetchable resources into a 64-bit prefetchable window and the rest into the other; or
    /// all prefetchable ones into a 32-bit one; or everything into one window.
    fn size_memory_by_mask(
        &mut self,
        bus: BusIndex,
        above: FunctionIndex,
        spare: Spare,
        additions: &mut Option<Additions>,
    ) {
        let mem = ResourceFlags::MEM;
        let prefetch = mem | ResourceFlags::PREFETCH;
        let prefetch_64 = prefetch | ResourceFlags::MEM_64;
        let window = ResourceRef { function: above, number: PREFETCH_WINDOW };
        let memory = ResourceRef { function: above, number: MEMORY_WINDOW };
        let flags = self.resource(window).flags;
        let (others, spare_memory) = if flags.has(prefetch_64) {
            let selection = Selection { window, masked: Some((prefetch_64, [prefetch_64; 3])) };
            self.size_memory(bus, selection, spare.prefetch, additions);
            ((prefetch_64, [mem, prefetch, mem | ResourceFlags::MEM_64]), spare.memory)
        } else if flags.has(prefetch) {
            let selection = Selection { window, masked: Some((prefetch, [prefetch; 3])) };
            self.size_memory(bus, selection, spare.prefetch, additions);
            ((prefetch, [mem; 3]), spare.memory)
        } else {
            ((mem, [mem; 3]), spare.memory + spare.prefetch)
        };
        self.size_memory(bus, Selection { window: memory, masked: Some(others) }, spare_memory, additions);
    }

    /// 7.x: each resource into the window it will be placed in.
    fn size_memory_by_use(
        &mut self,
        bus: BusIndex,
        above: FunctionIndex,
        spare: Spare,
        additions: &mut Option<Additions>,
    ) {
        let window = ResourceRef { function: above, number: PREFETCH_WINDOW };
        if self.resource(window).flags.has(ResourceFlags::PREFETCH) {
            self.size_memory(bus, Selection { window, masked: None }, spare.prefetch, additions);
        }
        let window = ResourceRef { function: above, number: MEMORY_WINDOW };
        self.size_memory(bus, Selection { window, masked: None }, spare.memory, additions);
    }

    /// Unassigned resources of the functions on `bus`, in the kernel's order.
    fn unassigned(&self, bus: BusIndex) -> Vec<ResourceRef> {
        let functions = self.tree[bus].devices.iter();
        let all = functions.flat_map(|f| (0..RESOURCES).map(|number| ResourceRef { function: *f, number }));
        all.filter(|at| !self.resource(*at).flags.is_empty() && !self.resource(*at).is_assigned())
            .filter(|at| !self.is_switched_off(*at))
            .collect()
    }

    /// A window that nothing needs.
    pub fn is_switched_off(&self, at: ResourceRef) -> bool {
        is_window(at.number) && self.resource(at).flags.has(ResourceFlags::DISABLED)
    }

    fn size_io(
        &mut self,
        bus: BusIndex,
        above: FunctionIndex,
        spare: u64,
        additions: &mut Option<Additions>,
    ) {
        let window = ResourceRef { function: above, number: IO_WINDOW };
        let resource = *self.resource(window);
        if !resource.flags.is_io() || resource.is_assigned() {
            return;
        }
        let (mut small, mut large, mut wished, mut align) = (0u64, 0u64, 0u64, granule(ResourceFlags::IO));
        for at in self.unassigned(bus) {
            let content = self.resource(at);
            if content.flags.is_io() {
                let size = content.size.0;
                if size < SMALL_IO {
                    small += size
                } else {
                    large = large.saturating_add(size)
                }
                align = align.max(content.align);
                wished += additions.as_ref().and_then(|list| list.get(at)).map_or(0, |wish| wish.size);
            }
        }
        let old = resource.size.0;
        let round = |size: u64| align_up(size.max(old), align).unwrap_or(u64::MAX);
        let at_once = if additions.is_some() { 0 } else { spare };
        let required = round(small.max(at_once).saturating_add(large));
        let extended = if additions.is_some() && (spare > 0 || wished > 0) {
            let large = if self.rules.io_windows_count_required_twice { required } else { large };
            round(small.saturating_add(large).max(spare).saturating_add(wished))
        } else {
            required
        };
        self.set_window(window, &Sized { required, extended, align, extended_align: align }, additions);
    }

    fn is_selected(&self, selection: &Selection, at: ResourceRef) -> bool {
        let flags = self.resource(at).flags;
        match selection.masked {
            Some((mask, types)) => types.contains(&(flags & mask)),
            None => {
                self.is_assignable(at.function)
                    && self.window_of(selection.window.function, flags) == Some(selection.window.number)
            }
        }
    }

    /// The window of `bridge` that a resource with these flags below it is placed in (7.x).
    fn window_of(&self, bridge: FunctionIndex, flags: ResourceFlags) -> Option<usize> {
        if !flags.is_mem() {
            return None;
        }
        let prefetch = self.tree[bridge].resources[PREFETCH_WINDOW].flags;
        let fits =
            prefetch.is_mem() && (flags.has(ResourceFlags::MEM_64) || !prefetch.has(ResourceFlags::MEM_64));
        let wants = flags.has(ResourceFlags::PREFETCH);
        Some(if wants && fits { PREFETCH_WINDOW } else { MEMORY_WINDOW })
    }

    fn size_memory(
        &mut self,
        bus: BusIndex,
        selection: Selection,
        spare: u64,
        additions: &mut Option<Additions>,
    ) {
        let window = selection.window;
        let resource = *self.resource(window);
        if resource.is_assigned() {
            return;
        }
        let mut contents = Contents::default();
        let mut wished = Addition::default();
        for at in self.unassigned(bus) {
            if self.is_selected(&selection, at) {
                self.add_content(at, &mut contents, &mut wished, additions);
            }
        }
        let sized = match self.rules.window_sizing {
            WindowSizing::Cumulative => {
                self.cumulative(bus, window, &contents, wished, spare, additions.is_some())
            }
            WindowSizing::Head => self.head(&contents, wished, spare, additions.is_some()),
        };
        self.set_window(window, &sized, additions);
    }

    /// Adds one resource to the contents of a window, or to what is wished for.
    fn add_content(
        &mut self,
        at: ResourceRef,
        contents: &mut Contents,
        wished: &mut Addition,
        additions: &mut Option<Additions>,
    ) {
        let resource = *self.resource(at);
        let align = resource.align;
        if align == 0 {
            return;
        }
        if order(align) >= self.rules.alignment_orders {
            self.fail(
                Wanted { at, flags: resource.flags, size: resource.size, align },
                Cause::AlignmentTooLarge,
            );
            self.tree.resource_mut(at).flags = ResourceFlags::NONE;
            return;
        }
        let Some(list) = additions else {
            contents.add(resource.size.0, align);
            return;
        };
        let wish = list.get(at);
        if let Some(wish) = wish {
            wished.size = wished.size.saturating_add(wish.size);
            wished.align = wished.align.max(wish.align);
        }
        if !self.is_optional(at) {
            contents.add(resource.size.0, align);
            return;
        }
        wished.size = wished.size.saturating_add(resource.size.0);
        wished.align = wished.align.max(align);
        let Some(list) = additions else { return };
        if is_iov(at.number) && !self.rules.optional_roms_and_empty_windows {
            // Required is nothing; all of it is wished for.
            list.add(at, Addition { size: resource.size.0, align: 0 });
            self.tree.resource_mut(at).size = Bytes::ZERO;
        } else if wish.is_none() {
            list.add(at, Addition { size: 0, align });
        }
    }

    /// 7.x: sums rounded to the granule.
    fn head(&self, contents: &Contents, wished: Addition, spare: u64, listed: bool) -> Sized {
        let granule = granule(ResourceFlags::MEM);
        let round = |size: u64| align_up(size, granule).unwrap_or(u64::MAX);
        let align = contents.alignment(WindowSizing::Head).max(granule);
        let required = round(contents.size.max(if listed { 0 } else { spare }));
        let wants_more = listed && (spare > 0 || wished.size > 0);
        let extended =
            if wants_more { round(contents.size.saturating_add(wished.size).max(spare)) } else { 0 };
        let extended_align = if wants_more { align.max(wished.align) } else { align };
        Sized { required, extended, align, extended_align }
    }

    /// 6.x: sums rounded to the alignment of the window.
    fn cumulative(
        &self,
        bus: BusIndex,
        window: ResourceRef,
        contents: &Contents,
        wished: Addition,
        spare: u64,
        listed: bool,
    ) -> Sized {
        let granule = granule(ResourceFlags::MEM);
        let old = self.resource(window).size.0;
        let least = contents.size.max(if listed { 0 } else { spare });
        let round = |size: u64, align: u64| align_up(size.max(old), align).unwrap_or(u64::MAX);
        let mut align = contents.alignment(WindowSizing::Cumulative).max(granule);
        let mut required = round(least, align);
        let mut extended_align = align.max(wished.align);
        if self.rules.relaxed_window_tail
            && required > 0
            && !self.upstream_has_room(bus, window, required, align)
        {
            align = contents.largest_alignment().max(granule);
            required = round(least, granule);
            extended_align = granule.max(align);
        }
        let extended = if listed && (spare > 0 || wished.size > 0) {
            round(least.max(spare).saturating_add(wished.size), extended_align)
        } else {
            required
        };
        Sized { required, extended, align, extended_align }
    }

    /// True unless the nearest assigned window of this kind above (below the root bus) has no free run for
    /// `size` at `align`.
    fn upstream_has_room(&self, bus: BusIndex, window: ResourceRef, size: u64, align: u64) -> bool {
        let mask = ResourceFlags::TYPE_BITS | ResourceFlags::PREFETCH;
        let kind = self.resource(window).flags & mask;
        let mut above = self.tree[bus].parent;
        while let Some(bus) = above.filter(|bus| !self.tree[*bus].is_root()) {
            let windows = self.tree.bus_windows(bus);
            let same = |parent: &_| self.tree.window(*parent).is_some_and(|(flags, _)| flags & mask == kind);
            if let Some(parent) = windows.into_iter().find(same) {
                return self.placer().has_room(parent, size, align);
            }
            above = self.tree[bus].parent;
        }
        true
    }

    /// Enters the result, or switches the window off when nothing needs it.
    fn set_window(&mut self, window: ResourceRef, sized: &Sized, additions: &mut Option<Additions>) {
        let stays = self.rules.unplaced_windows_stay;
        let resource = self.tree.resource_mut(window);
        if sized.required == 0 && sized.extended == 0 {
            if stays {
                resource.flags |= ResourceFlags::DISABLED;
            } else {
                resource.flags = ResourceFlags::NONE;
            }
            return;
        }
        (resource.size, resource.align) = (Bytes(sized.required), sized.align);
        resource.flags |= ResourceFlags::STARTALIGN;
        let more = sized.extended > sized.required;
        let aligned = stays && sized.extended_align > sized.align;
        if sized.required > 0 || more && additions.is_some() {
            resource.flags = resource.flags & !ResourceFlags::DISABLED;
        }
        if let Some(list) = additions.as_mut().filter(|_| more || aligned) {
            let size = sized.extended.saturating_sub(sized.required);
            list.add(window, Addition { size, align: sized.extended_align });
        }
    }
}
