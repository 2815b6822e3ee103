//! Spare space for hot-plug: windows that are still to be placed grow into what the window above offers.
//!
//! Below a bridge whose window has an address, what is left of that window after the BARs and the smallest
//! possible windows of its bus is divided equally among the hot-plug bridges there, or among all bridges where
//! none is hot-plug capable; then each share is divided in the same way one level down.
//!
//! ```text
//! left  = longest free run of the window − sizes of its unassigned BARs − needs of the unassigned windows
//! share = down(left / number of bridges, alignment of the window)
//! ```
//!
//! A share is a wish: where it finds no room, the window gets what it needs. (All of a window is one run, so
//! only the longest one counts.)
//!
//! What a window above does *not* offer is not shared: below a host bridge, and below windows that are yet to
//! be placed themselves, nothing is known to be left. Where a kernel places everything (machines without
//! firmware, ports found again) hot-plug ports therefore have their 2 MiB and no more, as recorded. Windows
//! that firmware placed and the kernel claimed stay as they are; they are what is shared, never who receives.
//!
//! It is a step of boot and of a hot-plug ([`hot_add`](super::hot_add)), in every kernel. Looking again at all buses
//! ([`rescan`](super::rescan)) shares nothing: what is known of that path names sizing and assignment only, and recordings
//! of it, where windows are all new, cannot tell.

use alloc::vec::Vec;

use super::bridge::granule;
use super::extent::Extent;
use super::resource::{IO_WINDOW, Parent, RESOURCES, ResourceRef, is_window};
use super::setup::Setup;
use super::tree::{BusIndex, FunctionIndex};
use super::wishes::Wishes;
use crate::ConfigSpace;

impl<C: ConfigSpace> Setup<'_, C> {
    /// Shares the free space of all assigned windows of bridges below `bus`.
    pub fn distribute(&self, bus: BusIndex, wishes: &mut Wishes) {
        for function in &self.tree[bus].devices {
            let Some(below) = self.tree[*function].subordinate else { continue };
            for number in IO_WINDOW..RESOURCES {
                self.share_window(ResourceRef { function: *function, number }, below, wishes);
            }
            self.distribute(below, wishes);
        }
    }

    /// Shares what `window`, if it has an address, has free among the bridges on `below`, the bus behind it.
    pub fn share_window(&self, window: ResourceRef, below: BusIndex, wishes: &mut Wishes) {
        if let Some(range) = self.resource(window).range() {
            let (_, longest) = self.tree.space.free(Parent::Window(window), range);
            self.share(below, window.number, longest.0, wishes);
        }
    }

    /// Divides `offered` bytes for windows `number` of the bridges on `bus`.
    fn share(&self, bus: BusIndex, number: usize, offered: u64, wishes: &mut Wishes) {
        let bridges: Vec<_> = self.open_windows(bus, number).collect();
        let hotplug = |function: &FunctionIndex| self.tree[*function].hotplug_bridge;
        let any = bridges.iter().any(hotplug);
        let receive = |function: &FunctionIndex| !any || hotplug(function);
        let receivers = bridges.iter().filter(|function| receive(function)).count();
        let Ok(count @ 1..) = u64::try_from(receivers) else { return };
        let left = offered.saturating_sub(self.needed(bus, number)) / count;
        for function in bridges {
            let window = ResourceRef { function, number };
            let resource = self.resource(window);
            let align = resource.align.max(granule(resource.flags));
            let share = if receive(&function) { left & !(align - 1) } else { 0 };
            let wished = wishes.get(window).unwrap_or(Extent { size: resource.size.0, align });
            let size = resource.size.0.saturating_add(share).max(wished.size);
            if size > wished.size {
                wishes.make(window, Extent { size, ..wished });
            }
            if let Some(below) = self.tree[function].subordinate {
                self.share(below, number, size, wishes);
            }
        }
    }

    /// Bridges on `bus` whose window `number` is wanted and has no address.
    fn open_windows(&self, bus: BusIndex, number: usize) -> impl Iterator<Item = FunctionIndex> + '_ {
        let bridges = self.tree[bus].devices.iter().copied().filter(|f| self.tree[*f].subordinate.is_some());
        bridges.filter(move |function| {
            let window = ResourceRef { function: *function, number };
            let resource = self.resource(window);
            !resource.flags.is_empty() && !resource.is_assigned() && !self.is_switched_off(window)
        })
    }

    /// Bytes that the unassigned resources of `bus` need in window `number` of the bridge above.
    fn needed(&self, bus: BusIndex, number: usize) -> u64 {
        let Some(above) = self.tree[bus].bridge else { return 0 };
        let functions = self.tree[bus].devices.iter();
        let all = functions.flat_map(|f| (0..RESOURCES).map(|number| ResourceRef { function: *f, number }));
        let open = all.filter(|at| {
            let resource = self.resource(*at);
            let counts = is_window(at.number) || !self.is_optional(*at);
            !resource.flags.is_empty()
                && !resource.flags.is_fixed()
                && !resource.is_assigned()
                && counts
                && self.window_for(above, resource.flags) == number
        });
        open.fold(0, |sum, at| sum.saturating_add(self.resource(at).size.0))
    }
}
