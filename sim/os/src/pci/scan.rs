//! Enumeration: depth first, as `pci_scan_child_bus` and `pci_scan_bridge` do it.
//!
//! All functions of a bus first; then bridges whose bus numbers firmware programmed sensibly, in device
//! order; then the others, which get the next free numbers. Bus numbers are written as they are decided, so
//! functions behind a bridge answer from then on.

use alloc::vec::Vec;

use peerbus_units::FunctionId;

use super::regs;
use super::resource::{RESOURCES, Resource};
use super::tree::{BridgeWindows, Bus, BusIndex, Function, FunctionIndex, HeaderType, PcieType, Tree};
use super::{bars, bridge, capability};
use crate::{ConfigAccess, ConfigSpace};

/// Adds everything below host bridge `host_bridge` to the tree.
pub(crate) fn scan_host_bridge(cs: &mut impl ConfigSpace, tree: &mut Tree, host_bridge: usize) {
    let (first, last) = (tree.host_bridges[host_bridge].bus_first, tree.host_bridges[host_bridge].bus_last);
    if is_known(tree, tree.host_bridges[host_bridge].domain, first) {
        return;
    }
    tree.buses.push(Bus {
        number: first,
        last,
        parent: None,
        bridge: None,
        host_bridge,
        devices: Vec::new(),
    });
    let bus = BusIndex(tree.buses.len() - 1);
    Scan { cs, tree }.child_bus(bus);
}

/// Looks again at every bus below a root bus and adds the functions that appeared since.
pub(crate) fn rescan_bus(cs: &mut impl ConfigSpace, tree: &mut Tree, bus: BusIndex) {
    Scan { cs, tree }.child_bus(bus);
}

fn is_known(tree: &Tree, domain: u32, number: u8) -> bool {
    tree.buses.iter().any(|bus| bus.number == number && tree.host_bridges[bus.host_bridge].domain == domain)
}

/// Bus numbers as a bridge's registers hold them.
struct BusNumbers {
    primary: u8,
    secondary: u8,
    subordinate: u8,
}

struct Scan<'a, C> {
    cs: &'a mut C,
    tree: &'a mut Tree,
}

impl<C: ConfigSpace> Scan<'_, C> {
    /// Scans `bus` and all below; returns the highest bus number used.
    fn child_bus(&mut self, bus: BusIndex) -> u8 {
        self.slots(bus);
        let devices = self.tree[bus].devices.clone();
        let virtual_buses = devices.iter().map(|f| self.virtual_function_buses(*f)).max().unwrap_or(0);
        let mut max = self.tree[bus].number.max(virtual_buses);
        let bridges: Vec<_> = devices.into_iter().filter(|f| self.tree[*f].is_bridge()).collect();
        for bridge in &bridges {
            max = self.configured_bridge(bus, *bridge, max);
        }
        for bridge in &bridges {
            if self.tree[*bridge].subordinate.is_none() {
                max = self.unconfigured_bridge(bus, *bridge, max);
            }
        }
        max
    }

    fn slots(&mut self, bus: BusIndex) {
        let above = self.tree[bus].bridge;
        let one_child = above.and_then(|b| self.tree[b].pcie_type).is_some_and(PcieType::is_downstream_port);
        for device in 0..if one_child { 1 } else { 32 } {
            self.slot(bus, device);
        }
    }

    fn slot(&mut self, bus: BusIndex, device: u8) {
        let domain = self.tree.host_bridges[self.tree[bus].host_bridge].domain;
        let base = FunctionId::new(domain, self.tree[bus].number, device, 0);
        let mut next = Some(0u8);
        while let Some(function) = next {
            let id = FunctionId { devfn: base.devfn.wrapping_add(function), ..base };
            let found = self.function(bus, id);
            match found {
                Some(index) if function > 0 => self.tree[index].multifunction = true,
                Some(index) => self.forward_alternative_ids(bus, index),
                None if function == 0 => return,
                None => {}
            }
            next = self.next_function(bus, found, function);
        }
    }

    /// The function number to look at after `function`: the next one, or with ARI what the function says.
    fn next_function(&self, bus: BusIndex, found: Option<FunctionIndex>, function: u8) -> Option<u8> {
        if self.forwards_alternative_ids(bus) {
            let id = found.map(|index| (self.tree[index].id, self.tree[index].capabilities.ari));
            let (id, Some(ari)) = id? else { return None };
            let next = self.cs.read_word(id, ari + regs::ARI_CAPABILITY) >> 8;
            return u8::try_from(next).ok().filter(|next| *next > function);
        }
        let more = found.is_none_or(|index| self.tree[index].multifunction);
        (function < 7 && more).then(|| function + 1)
    }

    fn forwards_alternative_ids(&self, bus: BusIndex) -> bool {
        let Some((id, pcie)) = self.bridge_capability(bus) else { return false };
        self.cs.read_word(id, pcie + regs::PCIE_DEVICE_CONTROL_2) & regs::PCIE_ARI_FORWARDING != 0
    }

    fn bridge_capability(&self, bus: BusIndex) -> Option<(FunctionId, u16)> {
        let bridge = &self.tree[self.tree[bus].bridge?];
        let forwards = bridge.pcie_type.is_some_and(PcieType::is_downstream_port);
        bridge.capabilities.pcie.filter(|_| forwards).map(|pcie| (bridge.id, pcie))
    }

    /// Sets ARI forwarding in the port above device 0 to whether that device can use it.
    fn forward_alternative_ids(&mut self, bus: BusIndex, function: FunctionIndex) {
        let Some((id, pcie)) = self.bridge_capability(bus) else { return };
        let able = self.cs.read_word(id, pcie + regs::PCIE_DEVICE_CAPABILITIES_2) & regs::PCIE_ARI_FORWARDING;
        if able == 0 || self.tree[function].id.devfn != 0 {
            return;
        }
        let control = self.cs.read_word(id, pcie + regs::PCIE_DEVICE_CONTROL_2) & !regs::PCIE_ARI_FORWARDING;
        let ari = self.tree[function].capabilities.ari.map_or(0, |_| regs::PCIE_ARI_FORWARDING);
        self.cs.write_word(id, pcie + regs::PCIE_DEVICE_CONTROL_2, control | ari);
    }

    /// The function at `id`, if one answers; added when it is new.
    fn function(&mut self, bus: BusIndex, id: FunctionId) -> Option<FunctionIndex> {
        let known = self.tree[bus].devices.iter().copied().find(|function| self.tree[*function].id == id);
        if known.is_some() {
            return known;
        }
        let ids = self.cs.read_dword(id, regs::VENDOR_ID);
        if matches!(ids, u32::MAX | 0 | 0x0000_ffff | 0xffff_0000) {
            return None;
        }
        let header = self.cs.read_byte(id, regs::HEADER_TYPE);
        let capabilities = capability::read(self.cs, id);
        let flags = capabilities.pcie.map(|pcie| (pcie, self.cs.read_word(id, pcie + regs::PCIE_FLAGS)));
        let pcie_type = flags.map(|(_, flags)| PcieType::from_number((flags >> 4 & 0xf) as u8));
        let slot = flags.filter(|(_, flags)| {
            pcie_type.is_some_and(PcieType::is_downstream_port) && flags & regs::PCIE_FLAGS_SLOT != 0
        });
        let hotplug_bridge = slot.is_some_and(|(pcie, _)| {
            let slot = self.cs.read_dword(id, pcie + regs::PCIE_SLOT_CAPABILITIES);
            slot != u32::MAX && slot & regs::PCIE_SLOT_HOTPLUG_CAPABLE != 0
        });
        let header_type = match header & 0x7f {
            0 => HeaderType::Normal,
            1 => HeaderType::Bridge,
            2 => HeaderType::CardBus,
            other => HeaderType::Unknown(other),
        };
        self.tree.functions.push(Function {
            id,
            vendor: (ids & 0xffff) as u16,
            device: (ids >> 16) as u16,
            class: self.cs.read_dword(id, regs::CLASS_REVISION) >> 8,
            header: header_type,
            multifunction: header & 0x80 != 0,
            pcie_type,
            capabilities,
            bus,
            subordinate: None,
            physical_function: None,
            hotplug_bridge: hotplug_bridge && header_type == HeaderType::Bridge,
            windows: BridgeWindows::default(),
            total_vfs: 0,
            resources: [Resource::default(); RESOURCES],
        });
        let index = FunctionIndex(self.tree.functions.len() - 1);
        self.tree[bus].devices.push(index);
        self.read_resources(index);
        Some(index)
    }

    fn read_resources(&mut self, function: FunctionIndex) {
        bars::read_bases(self.cs, self.tree, function);
        if self.tree[function].is_bridge() {
            self.tree[function].windows = bridge::detect(self.cs, self.tree[function].id);
        }
        let kind = self.tree[function].pcie_type;
        if matches!(kind, Some(PcieType::Endpoint | PcieType::IntegratedEndpoint)) {
            bars::read_sriov(self.cs, self.tree, function);
        }
    }

    /// Highest bus number that virtual functions of `function` could need.
    fn virtual_function_buses(&mut self, function: FunctionIndex) -> u8 {
        let (id, total) = (self.tree[function].id, self.tree[function].total_vfs);
        let Some(capability) = self.tree[function].capabilities.sriov.filter(|_| total > 0) else { return 0 };
        if self.cs.read_word(id, capability + regs::SRIOV_CONTROL) & regs::SRIOV_CONTROL_VF_ENABLE != 0 {
            // The number must not change while they are enabled; where they lie is in the tree.
            let own = self.tree.functions.iter().filter(|f| f.physical_function == Some(function));
            return own.map(|f| f.id.bus).max().unwrap_or(0);
        }
        let mut last = 0;
        for count in 1..=total {
            self.cs.write_word(id, capability + regs::SRIOV_NUM_VFS, count);
            let offset = u32::from(self.cs.read_word(id, capability + regs::SRIOV_VF_OFFSET));
            let stride = u32::from(self.cs.read_word(id, capability + regs::SRIOV_VF_STRIDE));
            let requester = u32::from(id.requester()) + offset + stride * u32::from(count - 1);
            last = last.max(requester >> 8);
        }
        self.cs.write_word(id, capability + regs::SRIOV_NUM_VFS, 0);
        u8::try_from(last).unwrap_or(u8::MAX)
    }

    fn bus_numbers(&self, bus: BusIndex, bridge: FunctionIndex) -> BusNumbers {
        let register = self.cs.read_dword(self.tree[bridge].id, regs::PRIMARY_BUS);
        let [primary, secondary, subordinate, _] = register.to_le_bytes();
        // Some bridges have the primary number hard-wired to 0.
        let hard_wired = primary == 0 && secondary != 0 && subordinate != 0;
        let primary = if hard_wired { self.tree[bus].number } else { primary };
        BusNumbers { primary, secondary, subordinate }
    }

    /// Scans behind `bridge` if firmware gave it sensible bus numbers; otherwise closes it for now.
    fn configured_bridge(&mut self, bus: BusIndex, bridge: FunctionIndex, max: u8) -> u8 {
        let numbers = self.bus_numbers(bus, bridge);
        if let Some(child) = self.tree[bridge].subordinate {
            self.child_bus(child);
            return max.max(numbers.subordinate);
        }
        let domain = self.tree[bridge].id.domain;
        let own = self.tree[bus].number;
        let sensible = numbers.primary == own
            && own < numbers.secondary
            && numbers.secondary <= numbers.subordinate
            && numbers.secondary <= self.tree[bus].last
            && !is_known(self.tree, domain, numbers.secondary);
        if !sensible {
            let id = self.tree[bridge].id;
            let register = self.cs.read_dword(id, regs::PRIMARY_BUS);
            if register & 0x00ff_ff00 != 0 {
                self.cs.write_dword(id, regs::PRIMARY_BUS, register & 0xff00_0000);
            }
            return max;
        }
        let child = self.add_bus(bus, bridge, numbers.secondary, numbers.subordinate);
        self.without_master_abort(bridge, |scan| scan.child_bus(child));
        max.max(numbers.subordinate)
    }

    /// Gives `bridge` the next bus number, if there is one, and scans behind it.
    fn unconfigured_bridge(&mut self, bus: BusIndex, bridge: FunctionIndex, max: u8) -> u8 {
        let id = self.tree[bridge].id;
        let last = self.tree[bus].last;
        if max >= last || is_known(self.tree, id.domain, max + 1) {
            return max;
        }
        let latency = self.cs.read_dword(id, regs::PRIMARY_BUS) & 0xff00_0000;
        let numbers = u32::from_le_bytes([self.tree[bus].number, max + 1, last, 0]);
        self.cs.write_dword(id, regs::PRIMARY_BUS, latency | numbers);
        let child = self.add_bus(bus, bridge, max + 1, last);
        let used = self.without_master_abort(bridge, |scan| scan.child_bus(child));
        self.tree[child].last = used;
        self.cs.write_byte(id, regs::SUBORDINATE_BUS, used);
        used
    }

    fn add_bus(&mut self, parent: BusIndex, bridge: FunctionIndex, number: u8, last: u8) -> BusIndex {
        let host_bridge = self.tree[parent].host_bridge;
        let bus = Bus {
            number,
            last,
            parent: Some(parent),
            bridge: Some(bridge),
            host_bridge,
            devices: Vec::new(),
        };
        self.tree.buses.push(bus);
        let index = BusIndex(self.tree.buses.len() - 1);
        self.tree[bridge].subordinate = Some(index);
        index
    }

    /// Runs `scan` with master-abort reporting of `bridge` off: looking for absent functions is no error.
    fn without_master_abort<R>(&mut self, bridge: FunctionIndex, scan: impl FnOnce(&mut Self) -> R) -> R {
        let id = self.tree[bridge].id;
        let control = self.cs.read_word(id, regs::BRIDGE_CONTROL);
        self.cs.write_word(id, regs::BRIDGE_CONTROL, control & !regs::BRIDGE_CONTROL_MASTER_ABORT);
        let result = scan(self);
        self.cs.write_word(id, regs::SECONDARY_STATUS, 0xffff);
        self.cs.write_word(id, regs::BRIDGE_CONTROL, control);
        result
    }
}
