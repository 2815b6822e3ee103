//! Trees written down directly, as enumeration would leave them, and the ACS words of their functions.

use std::collections::BTreeMap;

use peerbus_os::p2pdma::{Resolution, resolve};
use peerbus_os::pci::{
    BridgeWindows, Bus, BusIndex, Capabilities, Function, FunctionIndex, HeaderType, HostBridge, PcieType,
    Resource, Tree,
};
use peerbus_os::{ConfigSpace, CpuIdentity, CpuVendor, Profile, Rules, RulesOptions, Width};
use peerbus_units::FunctionId;

/// Where all functions with ACS have the capability here.
const ACS: u16 = 0x148;

/// An Intel CPU: only the table of host bridges counts.
pub const INTEL: CpuIdentity = CpuIdentity { vendor: CpuVendor::Intel, family: 6, model: 85, x86: true };
/// The first Zen.
pub const ZEN: CpuIdentity = CpuIdentity { vendor: CpuVendor::Amd, family: 0x17, model: 1, x86: true };

pub fn rules(profile: Profile) -> Rules {
    profile.rules(RulesOptions::default())
}

/// A machine under construction, and then under question.
#[derive(Clone, Default)]
pub struct Machine {
    pub tree: Tree,
    /// ACS capability and control words; the functions in here have the capability.
    acs: BTreeMap<FunctionId, [u16; 2]>,
}

impl Machine {
    /// A host bridge with root bus `number`; returns the bus.
    pub fn host(&mut self, domain: u32, number: u8) -> BusIndex {
        self.tree.host_bridges.push(HostBridge {
            domain,
            bus_first: number,
            bus_last: 0xff,
            windows: Vec::new(),
        });
        let host_bridge = self.tree.host_bridges.len() - 1;
        self.tree.buses.push(Bus {
            number,
            last: 0xff,
            parent: None,
            bridge: None,
            host_bridge,
            devices: Vec::new(),
        });
        BusIndex(self.tree.buses.len() - 1)
    }

    /// A function with header type 0, on `bus`.
    pub fn function(&mut self, bus: BusIndex, device: u8, function: u8) -> FunctionIndex {
        let host_bridge = self.tree[bus].host_bridge;
        let domain = self.tree.host_bridges[host_bridge].domain;
        let index = FunctionIndex(self.tree.functions.len());
        self.tree.functions.push(Function {
            id: FunctionId::new(domain, self.tree[bus].number, device, function),
            vendor: 0x1b36,
            device: 5,
            class: 0x00_ff00,
            header: HeaderType::Normal,
            multifunction: function != 0,
            pcie_type: Some(PcieType::Endpoint),
            capabilities: Capabilities::default(),
            bus,
            subordinate: None,
            physical_function: None,
            hotplug_bridge: false,
            windows: BridgeWindows::default(),
            total_vfs: 0,
            resources: [Resource::default(); 16],
        });
        self.tree[bus].devices.push(index);
        index
    }

    /// A bridge on `bus` with bus `number` below it; returns both.
    pub fn bridge(
        &mut self,
        bus: BusIndex,
        device: u8,
        kind: PcieType,
        number: u8,
    ) -> (FunctionIndex, BusIndex) {
        let index = self.function(bus, device, 0);
        self.tree[index].pcie_type = Some(kind);
        (index, self.bus_below(index, number))
    }

    /// Makes a bridge of `bridge`, with bus `number` below it.
    pub fn bus_below(&mut self, bridge: FunctionIndex, number: u8) -> BusIndex {
        let below = BusIndex(self.tree.buses.len());
        let (parent, host_bridge) = (self.tree[bridge].bus, self.tree[self.tree[bridge].bus].host_bridge);
        let (parent, above) = (Some(parent), Some(bridge));
        self.tree.buses.push(Bus {
            number,
            last: number,
            parent,
            bridge: above,
            host_bridge,
            devices: Vec::new(),
        });
        let function = &mut self.tree[bridge];
        (function.header, function.class, function.subordinate) =
            (HeaderType::Bridge, 0x06_0400, Some(below));
        below
    }

    pub fn set_ids(&mut self, function: FunctionIndex, vendor: u16, device: u16) {
        (self.tree[function].vendor, self.tree[function].device) = (vendor, device);
    }

    /// Gives `function` an ACS capability that can set every bit, with that control word.
    pub fn set_acs(&mut self, function: FunctionIndex, word: u16) {
        self.set_acs_words(function, [0x7f, word]);
    }

    /// Gives `function` an ACS capability with these capability and control words.
    pub fn set_acs_words(&mut self, function: FunctionIndex, words: [u16; 2]) {
        self.tree[function].capabilities.acs = Some(ACS);
        self.acs.insert(self.tree[function].id, words);
    }

    /// Takes all ACS capabilities away.
    pub fn clear_acs(&mut self) {
        self.acs.clear();
        self.tree.functions.iter_mut().for_each(|function| function.capabilities.acs = None);
    }

    pub fn resolve(
        &self,
        cpu: &CpuIdentity,
        profile: Profile,
        provider: FunctionIndex,
        client: FunctionIndex,
    ) -> Resolution {
        resolve(&self.tree, self, cpu, &rules(profile), provider, client)
    }
}

impl ConfigSpace for Machine {
    fn read(&self, function: FunctionId, offset: u16, width: Width) -> u32 {
        assert!(matches!(offset - ACS, 4 | 6) && width == Width::Word, "only ACS words are to be read");
        let which = usize::from(offset == ACS + 6);
        self.acs.get(&function).map_or(0xffff, |words| u32::from(words[which]))
    }

    fn write(&mut self, function: FunctionId, offset: u16, _: Width, _: u32) {
        panic!("a decision wrote {offset:#x} of {function}");
    }
}
