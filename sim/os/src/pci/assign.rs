//! Assignment of addresses, top-down, bus by bus.
//!
//! The resources of all functions on a bus, bridge windows included, are served together: largest alignment
//! first, equals in the order they were found. Each has a [`Demand`]: what it needs, and what it would like.
//!
//! 1. Everything is tried as it would like to be. If that fits, the bus is settled.
//! 2. Otherwise room is made: what shares windows with the kinds that failed is taken out again.
//! 3. What is out is tried with what it needs, then wishes are granted one by one, as far as room is left.
//! 4. What still has no address is given up: a BAR is cleared, so that smaller ones after a large one that
//!    failed still get theirs.

use alloc::vec::Vec;
use core::cmp::Reverse;

use peerbus_units::Bytes;

use super::extent::Extent;
use super::resource::{RESOURCES, ResourceFlags, ResourceRef, is_window};
use super::setup::{Saved, Setup};
use super::tree::{BusIndex, FunctionIndex};
use super::wishes::Wishes;
use crate::ConfigSpace;

/// What one resource asks for on its bus.
struct Demand {
    /// The resource as it was sized.
    before: Saved,
    /// What it must have; `None` for an optional resource and for a window that only wishes.
    need: Option<Extent>,
    /// What it asks for while everything is tried at once.
    like: Extent,
    /// Its failure alone is no reason to try the bus again.
    optional: bool,
}

impl Demand {
    fn at(&self) -> ResourceRef {
        self.before.at
    }
}

impl<C: ConfigSpace> Setup<'_, C> {
    /// Assigns everything on `bus` and below. Resources left without an address are added to `failed` as
    /// they were before they were given up.
    pub fn assign_bus(&mut self, bus: BusIndex, wishes: &mut Option<Wishes>, failed: &mut Vec<Saved>) {
        self.assign_functions(&self.tree[bus].devices.clone(), wishes, failed);
    }

    /// [`assign_bus`](Self::assign_bus) for some functions of one bus and what lies below them.
    pub fn assign_functions(
        &mut self,
        functions: &[FunctionIndex],
        wishes: &mut Option<Wishes>,
        failed: &mut Vec<Saved>,
    ) {
        let mut none = Wishes::default();
        self.settle(functions, wishes.as_mut().unwrap_or(&mut none), failed);
        for function in functions {
            if let Some(below) = self.tree[*function].subordinate {
                self.assign_bus(below, wishes, failed);
            }
        }
    }

    fn settle(&mut self, functions: &[FunctionIndex], wishes: &mut Wishes, failed: &mut Vec<Saved>) {
        let demands = self.demands(functions, wishes);
        let liked: Vec<_> = demands.iter().map(|demand| (demand.at(), demand.like)).collect();
        self.attempt(&liked);
        if self.is_worth_a_second_attempt(&demands, wishes) {
            let open = self.make_room(demands);
            let needed: Vec<_> = open.iter().filter_map(|demand| Some((demand.at(), demand.need?))).collect();
            self.attempt(&needed);
            self.grant(&open, wishes);
            self.give_up(&open, failed);
        } else {
            self.give_up(&demands, failed);
        }
        // What this bus wished for is decided, one way or the other.
        liked.iter().for_each(|(at, _)| wishes.drop(*at));
    }

    /// Demands of the unassigned resources of `functions`, largest alignment first, wishes included; among equals,
    /// what needs that alignment comes before what wishes for it. The order stays for all attempts.
    fn demands(&self, functions: &[FunctionIndex], wishes: &Wishes) -> Vec<Demand> {
        let functions = functions.iter().filter(|f| self.is_assignable(**f));
        let all = functions.flat_map(|f| (0..RESOURCES).map(|number| ResourceRef { function: *f, number }));
        let open = all.filter(|at| {
            let resource = self.resource(*at);
            let wanted = !resource.flags.is_empty() && !resource.flags.is_fixed();
            let open = wanted && !resource.is_assigned() && resource.align != 0;
            open && !self.is_switched_off(*at)
        });
        let mut demands: Vec<_> = open.map(|at| self.demand(at, wishes.get(at))).collect();
        demands.sort_by_key(|demand| Reverse((demand.like.align, demand.before.align)));
        demands
    }

    fn demand(&self, at: ResourceRef, wish: Option<Extent>) -> Demand {
        let before = self.save(at);
        let own = Extent { size: before.size.0, align: before.align };
        let optional = self.is_optional(at);
        let waits = optional && (wish.is_some() || self.rules.optional_may_fail);
        let like = wish.map_or(own, |wish| Extent { align: wish.align.max(own.align), ..wish });
        Demand { before, need: (!waits && own.size > 0).then_some(own), like, optional }
    }

    /// Tries to place each resource at the extent beside it, in this order.
    fn attempt(&mut self, asked: &[(ResourceRef, Extent)]) {
        for (at, extent) in asked.iter().filter(|(_, extent)| extent.size > 0) {
            self.set_extent(*at, *extent);
            self.assign_one(*at);
        }
    }

    fn set_extent(&mut self, at: ResourceRef, extent: Extent) {
        let resource = self.tree.resource_mut(at);
        (resource.size, resource.align) = (Bytes(extent.size), extent.align);
    }

    /// True when something failed, and something that others could use instead can be left out. Where nothing
    /// in the tree wishes for more, kernels with
    /// [`optional_may_fail`](crate::Rules::optional_may_fail) put up with failures of optional resources.
    fn is_worth_a_second_attempt(&self, demands: &[Demand], wishes: &Wishes) -> bool {
        let mut failed = demands.iter().filter(|demand| self.is_open(demand)).peekable();
        let failing = failed.peek().is_some();
        let only_optional = failed.all(|demand| demand.optional);
        let bearable = self.rules.optional_may_fail && only_optional && wishes.is_empty();
        failing && !bearable && demands.iter().any(|demand| demand.need != Some(demand.like))
    }

    fn is_open(&self, demand: &Demand) -> bool {
        demand.like.size > 0 && !self.resource(demand.at()).is_assigned()
    }

    /// Takes out what holds room that failed kinds could use; returns the demands without an address, as they
    /// were before. What is left in has all it would like.
    fn make_room(&mut self, demands: Vec<Demand>) -> Vec<Demand> {
        let failed = demands.iter().filter(|demand| self.is_open(demand));
        let kinds = failed.fold(ResourceFlags::NONE, |kinds, demand| kinds | demand.before.flags);
        let (open, _): (Vec<_>, Vec<_>) = demands.into_iter().partition(|demand| {
            !self.resource(demand.at()).is_assigned() || self.holds_room_for(kinds, demand.at())
        });
        for demand in &open {
            self.release(demand.at());
            self.restore(&demand.before);
        }
        open
    }

    /// True when failed kinds could have used the room this assigned resource takes. A prefetchable resource
    /// that failed could have gone into a non-prefetchable window.
    fn holds_room_for(&self, failed: ResourceFlags, at: ResourceRef) -> bool {
        let resource = self.resource(at);
        if resource.flags.is_io() {
            return failed.is_io();
        }
        let window = resource.at.and_then(|place| self.tree.window(place.parent));
        let in_prefetch_window = window.is_some_and(|(flags, _)| flags.has(ResourceFlags::PREFETCH));
        let prefetches = resource.flags.has(ResourceFlags::PREFETCH);
        prefetches && failed.has(ResourceFlags::PREFETCH)
            || failed.is_mem() && !(prefetches && in_prefetch_window)
    }

    /// Grants wishes one by one; those for which there is no room change nothing.
    fn grant(&mut self, open: &[Demand], wishes: &Wishes) {
        for (at, wish) in wishes.latest_first(open.iter().map(Demand::at)) {
            let needs_nothing = open.iter().any(|demand| demand.at() == at && demand.need.is_none());
            if !self.resource(at).is_assigned() {
                if needs_nothing {
                    self.attempt(&[(at, wish)]);
                }
            } else if !self.grow(at, wish) && is_window(at.number) {
                // The mark of a sized window comes back with the attempt (shown by the flags of windows that
                // the kernel could not enlarge where it placed everything itself).
                self.tree.resource_mut(at).flags |= ResourceFlags::STARTALIGN;
            }
        }
    }

    fn give_up(&mut self, demands: &[Demand], failed: &mut Vec<Saved>) {
        for demand in demands {
            if !self.resource(demand.at()).is_assigned() {
                failed.push(demand.before);
                self.reset(demand.at());
            }
        }
    }
}
