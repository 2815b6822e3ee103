//! Assignment of addresses, top-down, bus by bus.
//!
//! The resources of all functions on a bus, bridge windows included, are sorted together: largest alignment
//! first, equals in the order they were found. Everything, wishes included, is tried at once; if that fails,
//! the kinds that failed are released and the required sizes tried alone, then the wishes one by one.

use alloc::vec::Vec;

use peerbus_units::Bytes;

use super::additions::Additions;
use super::resource::{RESOURCES, ResourceFlags, ResourceRef, is_window};
use super::setup::{Saved, Setup, is_disabled_rom};
use super::tree::BusIndex;
use crate::ConfigSpace;

impl<C: ConfigSpace> Setup<'_, C> {
    /// Assigns everything on `bus` and below. Resources left without an address are added to `failed` as
    /// they were before they were given up.
    pub fn assign_bus(&mut self, bus: BusIndex, additions: &mut Option<Additions>, failed: &mut Vec<Saved>) {
        let list = self.sorted(bus);
        let mut none = Additions::default();
        self.assign_sorted(list, additions.as_mut().unwrap_or(&mut none), failed);
        for function in self.tree[bus].devices.clone() {
            if let Some(below) = self.tree[function].subordinate {
                self.assign_bus(below, additions, failed);
            }
        }
    }

    /// Unassigned resources on `bus`, largest alignment first.
    fn sorted(&self, bus: BusIndex) -> Vec<ResourceRef> {
        let functions = self.tree[bus].devices.iter().filter(|f| self.is_assignable(**f));
        let all = functions.flat_map(|f| (0..RESOURCES).map(|number| ResourceRef { function: *f, number }));
        let mut list: Vec<_> = all
            .filter(|at| {
                let resource = self.resource(*at);
                let open = !resource.flags.is_empty() && !resource.is_assigned() && resource.align != 0;
                open && !self.is_switched_off(*at)
            })
            .collect();
        list.sort_by_key(|at| core::cmp::Reverse(self.resource(*at).align));
        list
    }

    fn assign_sorted(
        &mut self,
        mut list: Vec<ResourceRef>,
        additions: &mut Additions,
        failed: &mut Vec<Saved>,
    ) {
        let together = self.rules.try_everything_first || !additions.is_empty();
        if together && self.assign_together(&mut list, additions) {
            self.give_up_unassigned(&list, failed);
            return;
        }
        let skip_optional = self.rules.try_everything_first;
        for at in &list {
            let skipped = skip_optional && self.is_optional(*at);
            if self.resource(*at).size != Bytes::ZERO && !skipped {
                self.assign_one(*at);
            }
        }
        self.serve_additions(&list, additions);
        self.give_up_unassigned(&list, failed);
    }

    /// Tries required and wished-for parts of all resources at once. True when that settled the bus;
    /// otherwise what failed is as before, along with what it shares windows with, and the rest has left the
    /// list.
    fn assign_together(&mut self, list: &mut Vec<ResourceRef>, additions: &mut Additions) -> bool {
        let saved: Vec<_> = list.iter().map(|at| self.save(*at)).collect();
        self.extend(list, additions);
        let mut failures = Vec::new();
        for at in
            list.iter().filter(|at| self.resource(**at).size != Bytes::ZERO).copied().collect::<Vec<_>>()
        {
            let before = self.save(at);
            if !self.assign_one(at) {
                failures.push(before);
            }
        }
        if !self.rules.try_everything_first {
            // A ROM can be placed when someone enables it.
            failures.retain(|f| !is_disabled_rom(f.at.number, self.resource(f.at)));
        }
        if failures.is_empty() {
            for at in list.iter() {
                additions.remove(*at);
            }
            return true;
        }
        let required_failed = failures.iter().any(|f| !self.is_optional(f.at));
        if self.rules.try_everything_first && !required_failed && additions.is_empty() {
            return true;
        }
        let kinds = failures.iter().fold(ResourceFlags::NONE, |kinds, f| kinds | f.flags);
        list.retain(|at| {
            let keeps = self.resource(*at).is_assigned() && !self.must_release(kinds, *at);
            if keeps {
                additions.remove(*at);
            }
            !keeps
        });
        for at in list.iter() {
            self.release(*at);
        }
        saved.iter().filter(|s| list.contains(&s.at)).for_each(|s| self.restore(s));
        false
    }

    /// Enlarges resources by what they wish for; one whose alignment grows moves up in the list.
    fn extend(&mut self, list: &mut Vec<ResourceRef>, additions: &Additions) {
        for position in 0..list.len() {
            let at = list[position];
            let Some(wish) = additions.get(at) else { continue };
            let resource = self.tree.resource_mut(at);
            resource.size = Bytes(resource.size.0.saturating_add(wish.size));
            if !resource.flags.has(ResourceFlags::STARTALIGN) || wish.align <= resource.align {
                continue;
            }
            resource.align = wish.align;
            let smaller = list.iter().position(|other| self.resource(*other).align < wish.align);
            if let Some(target) = smaller.filter(|target| *target < position) {
                list.remove(position);
                list.insert(target, at);
            }
        }
    }

    /// True when failed kinds could have used the room this assigned resource takes. A prefetchable resource
    /// that failed could have gone into a non-prefetchable window.
    fn must_release(&self, failed: ResourceFlags, at: ResourceRef) -> bool {
        let resource = self.resource(at);
        if resource.flags.is_io() {
            return failed.is_io();
        }
        if !resource.flags.has(ResourceFlags::PREFETCH) {
            return resource.flags.is_mem() && failed.is_mem();
        }
        let window = resource.at.and_then(|place| self.tree.window(place.parent));
        let in_plain_window = window.is_some_and(|(flags, _)| !flags.has(ResourceFlags::PREFETCH));
        failed.has(ResourceFlags::PREFETCH) || failed.is_mem() && in_plain_window
    }

    /// Serves wishes one by one; failures change nothing.
    fn serve_additions(&mut self, list: &[ResourceRef], additions: &mut Additions) {
        for at in additions.in_order(list) {
            let Some(wish) = additions.remove(at) else { continue };
            let resource = *self.resource(at);
            if resource.is_assigned() {
                let misaligned = resource
                    .range()
                    .is_some_and(|r| wish.align > 1 && !r.first().0.is_multiple_of(wish.align));
                if wish.size > 0 || misaligned {
                    let align = if wish.align == 0 { resource.align } else { wish.align };
                    if !self.grow(at, wish.size, align) && is_window(at.number) {
                        // The kernel marks a window before it tries, and leaves the mark when it fails.
                        self.tree.resource_mut(at).flags |= ResourceFlags::STARTALIGN;
                    }
                }
            } else if resource.size == Bytes::ZERO || self.is_optional(at) {
                let resource = self.tree.resource_mut(at);
                resource.size = Bytes(resource.size.0.saturating_add(wish.size));
                if is_window(at.number) {
                    resource.align = wish.align;
                }
                if resource.size != Bytes::ZERO {
                    self.assign_one(at);
                }
            }
        }
    }

    fn give_up_unassigned(&mut self, list: &[ResourceRef], failed: &mut Vec<Saved>) {
        for at in list {
            let resource = *self.resource(*at);
            if resource.is_assigned() {
                continue;
            }
            let late_rom = !self.rules.try_everything_first && is_disabled_rom(at.number, &resource);
            if resource.size != Bytes::ZERO || self.rules.unplaced_windows_stay {
                if !late_rom {
                    failed.push(self.save(*at));
                }
                self.reset(*at);
            }
        }
    }
}
