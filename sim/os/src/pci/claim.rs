//! Claiming what firmware assigned.
//!
//! Bridge windows first, parent before child; then BARs of functions that decode, then the others. A BAR
//! survives when every window on the way was claimed and contains it and nothing claimed earlier overlaps
//! it. A window that sticks out of the one above is clipped; one that lies outside is dropped, and with it
//! everything behind.

use alloc::vec::Vec;

use peerbus_units::{Bytes, CpuAddr, Range};

use super::bridge;
use super::failure::Cause;
use super::place::Wanted;
use super::program;
use super::regs;
use super::resource::{IO_WINDOW, Place, RESOURCES, ROM, Resource, ResourceFlags, ResourceRef};
use super::setup::Setup;
use super::space::Claim;
use super::tree::{BusIndex, FunctionIndex};
use crate::{ConfigAccess, ConfigSpace};

impl<C: ConfigSpace> Setup<'_, C> {
    /// Claims firmware's addresses below all host bridges.
    pub fn claim_firmware(&mut self) {
        let roots = self.tree.root_buses();
        for bus in &roots {
            self.claim_windows(*bus);
        }
        for decoding in [true, false] {
            for bus in &roots {
                self.claim_bars(*bus, decoding);
            }
        }
        for bus in &roots {
            self.claim_roms(*bus);
        }
    }

    fn claim_windows(&mut self, bus: BusIndex) {
        for function in self.tree[bus].devices.clone() {
            let Some(below) = self.tree[function].subordinate else { continue };
            bridge::read_windows(self.cs, self.tree, function);
            for number in IO_WINDOW..RESOURCES {
                self.claim_window(ResourceRef { function, number });
            }
            self.claim_windows(below);
        }
    }

    fn claim_window(&mut self, at: ResourceRef) {
        let resource = *self.resource(at);
        if resource.flags.is_empty() {
            return;
        }
        let wish = resource.firmware.filter(|first| first.0 != 0);
        let wish = wish.and_then(|first| Range::sized(first, resource.size));
        let claimed = wish.is_some_and(|range| {
            self.claim(at, range)
                || self.clipped(at, range).is_some_and(|part| {
                    self.tree.resource_mut(at).size = part.size();
                    self.claim(at, part)
                })
        });
        if !claimed {
            let resource = self.tree.resource_mut(at);
            (resource.flags, resource.size, resource.firmware) = (ResourceFlags::NONE, Bytes::ZERO, None);
        }
    }

    /// The part of `range` inside the first window above that it overlaps; `None` when that is all of it.
    fn clipped(&self, at: ResourceRef, range: Range<CpuAddr>) -> Option<Range<CpuAddr>> {
        let flags = self.resource(at).flags;
        let windows = self.tree.bus_windows(self.tree[at.function].bus).into_iter();
        let windows = windows.filter_map(|parent| self.tree.window(parent));
        let mut parts = windows
            .filter(|(kind, _)| kind.same_type(flags))
            .filter_map(|(_, whole)| whole.intersection(range));
        parts.next().filter(|part| *part != range)
    }

    /// Enters a resource at the addresses firmware gave it.
    fn claim(&mut self, at: ResourceRef, range: Range<CpuAddr>) -> bool {
        let Some(parent) = self.containing_window(at, range) else { return false };
        if self.tree.space.insert(parent, Claim { range, owner: at }).is_err() {
            return false;
        }
        let resource = self.tree.resource_mut(at);
        resource.at = Some(Place { first: range.first(), parent });
        resource.firmware = None;
        true
    }

    fn functions_below(&self, bus: BusIndex) -> Vec<FunctionIndex> {
        let mut found = Vec::new();
        for function in &self.tree[bus].devices {
            found.push(*function);
            if let Some(below) = self.tree[*function].subordinate {
                found.extend(self.functions_below(below));
            }
        }
        found
    }

    fn claim_bars(&mut self, bus: BusIndex, decoding: bool) {
        for function in self.functions_below(bus) {
            let command = self.cs.read_word(self.tree[function].id, regs::COMMAND);
            for number in (0..IO_WINDOW).filter(|number| *number != ROM) {
                let at = ResourceRef { function, number };
                let flag =
                    if self.resource(at).flags.is_io() { regs::COMMAND_IO } else { regs::COMMAND_MEMORY };
                if (command & flag != 0) == decoding {
                    self.claim_bar(at);
                }
            }
            let rom = self.tree[function].resources[ROM].flags;
            if decoding && rom.has(ResourceFlags::ROM_ENABLE) {
                program::disable_rom(self.cs, self.tree, function);
            }
        }
    }

    /// Claims one BAR, or leaves it to be assigned with firmware's address as the last resort; an immovable one is left
    /// as it is.
    fn claim_bar(&mut self, at: ResourceRef) {
        let resource = *self.resource(at);
        let wish = resource.firmware.and_then(|first| Range::sized(first, resource.size));
        let Some(range) = wish.filter(|_| !resource.flags.is_empty() && !resource.is_assigned()) else {
            return;
        };
        if !self.claim(at, range) && resource.flags.is_fixed() {
            let Resource { flags, size, align, .. } = resource;
            self.fail(Wanted { at, flags, size, align }, Cause::Immovable);
        }
    }

    /// Expansion ROMs keep firmware's addresses where nothing else took them.
    fn claim_roms(&mut self, bus: BusIndex) {
        for function in self.functions_below(bus) {
            let at = ResourceRef { function, number: ROM };
            self.claim_bar(at);
            self.tree.resource_mut(at).firmware = None;
        }
    }
}
