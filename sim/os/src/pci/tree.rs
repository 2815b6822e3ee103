//! [`Tree`]: what enumeration found and assignment decided, as plain data.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use peerbus_units::{BusAddr, CpuAddr, FunctionId, Range};

use super::acs::AcsState;
use super::failure::WhyNot;
use super::host::HostBridge;
use super::mps::PayloadEvent;
use super::resource::{IO_WINDOW, Parent, RESOURCES, Resource, ResourceFlags, ResourceRef};
use super::space::Space;

/// Position of a function in [`Tree::functions`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FunctionIndex(pub usize);

/// Position of a bus in [`Tree::buses`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BusIndex(pub usize);

/// Layout of the first 64 bytes of a function's configuration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderType {
    /// Type 0: an endpoint, or a function of the host.
    Normal,
    /// Type 1: a PCI-to-PCI bridge.
    Bridge,
    /// Type 2: a CardBus bridge. Listed, not scanned behind.
    CardBus,
    /// Any other value: listed, its resources are ignored.
    Unknown(u8),
}

/// Device/port type of the PCI Express capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PcieType {
    /// Endpoint.
    Endpoint,
    /// Legacy endpoint.
    LegacyEndpoint,
    /// Root port of a root complex.
    RootPort,
    /// Upstream port of a switch.
    Upstream,
    /// Downstream port of a switch.
    Downstream,
    /// PCI Express to conventional PCI bridge.
    ToPci,
    /// Conventional PCI to PCI Express bridge.
    FromPci,
    /// Root-complex integrated endpoint.
    IntegratedEndpoint,
    /// Root-complex event collector.
    EventCollector,
    /// A value the specification does not define.
    Unknown(u8),
}

impl PcieType {
    /// The type with that number (bits 7–4 of the capability's flags).
    pub const fn from_number(number: u8) -> PcieType {
        match number {
            0 => PcieType::Endpoint,
            1 => PcieType::LegacyEndpoint,
            4 => PcieType::RootPort,
            5 => PcieType::Upstream,
            6 => PcieType::Downstream,
            7 => PcieType::ToPci,
            8 => PcieType::FromPci,
            9 => PcieType::IntegratedEndpoint,
            10 => PcieType::EventCollector,
            other => PcieType::Unknown(other),
        }
    }

    /// True for ports that lead away from the root: at most one device lies on the link below.
    pub const fn is_downstream_port(self) -> bool {
        matches!(self, PcieType::RootPort | PcieType::Downstream | PcieType::FromPci)
    }
}

/// Offsets of the capabilities this crate uses; `None` where a function has none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Capabilities {
    /// PCI Express.
    pub pcie: Option<u16>,
    /// Access Control Services.
    pub acs: Option<u16>,
    /// Alternative Routing-ID Interpretation.
    pub ari: Option<u16>,
    /// Single Root I/O Virtualization.
    pub sriov: Option<u16>,
    /// Resizable BAR.
    pub rebar: Option<u16>,
}

/// Which windows a bridge implements beyond the mandatory memory window.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BridgeWindows {
    /// An I/O window.
    pub io: bool,
    /// A prefetchable memory window.
    pub prefetch: bool,
    /// The prefetchable window takes 64-bit addresses.
    pub prefetch_64: bool,
}

/// One PCI function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Where it answers.
    pub id: FunctionId,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Base class, sub-class and programming interface (24 bits).
    pub class: u32,
    /// Header layout.
    pub header: HeaderType,
    /// The device has more than one function.
    pub multifunction: bool,
    /// PCI Express type; `None` for a conventional function.
    pub pcie_type: Option<PcieType>,
    /// Capability offsets.
    pub capabilities: Capabilities,
    /// The bus it lies on.
    pub bus: BusIndex,
    /// The bus behind it, if it is a bridge that was scanned.
    pub subordinate: Option<BusIndex>,
    /// For a virtual function, its physical function.
    pub physical_function: Option<FunctionIndex>,
    /// A bridge with a hot-plug capable slot: its windows get spare space.
    pub hotplug_bridge: bool,
    /// Windows it implements, if it is a bridge.
    pub windows: BridgeWindows,
    /// Virtual functions it can have at most (SR-IOV TotalVFs).
    pub total_vfs: u16,
    /// Resources by the kernel's number.
    pub resources: [Resource; RESOURCES],
}

impl Function {
    /// True when a scanned bus may lie behind it.
    pub fn is_bridge(&self) -> bool {
        self.header == HeaderType::Bridge
    }

    /// Base class and sub-class.
    pub fn class_code(&self) -> u32 {
        self.class >> 8
    }
}

/// One PCI bus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bus {
    /// Its number.
    pub number: u8,
    /// Highest bus number below it.
    pub last: u8,
    /// The bus above; `None` for a root bus. For a virtual bus, that of the physical function.
    pub parent: Option<BusIndex>,
    /// The bridge that leads here; `None` for a root bus and for a virtual bus, a number that only virtual
    /// functions use.
    pub bridge: Option<FunctionIndex>,
    /// Index of its host bridge in [`Tree::host_bridges`].
    pub host_bridge: usize,
    /// Functions on it in the order they were found.
    pub devices: Vec<FunctionIndex>,
}

impl Bus {
    /// True for the bus directly below a host bridge.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }
}

/// A PCI system: host bridges, buses and functions in the kernel's order, and what is assigned where.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tree {
    /// Host bridges in the order given.
    pub host_bridges: Vec<HostBridge>,
    /// Buses in the order they were found; root buses are those without a parent.
    pub buses: Vec<Bus>,
    /// Functions in the kernel's global order: all of a bus, then what lies behind each of its bridges. What
    /// appeared later (rescan, virtual functions) follows at the end.
    pub functions: Vec<Function>,
    /// Who owns which addresses below which window.
    pub space: Space,
    /// Resources without an address, each with its cause, by function and number.
    pub failures: Vec<WhyNot>,
    /// What is known about Access Control Services beside the registers.
    pub acs: AcsState,
    /// What was said about payload sizes.
    pub payload_log: Vec<PayloadEvent>,
}

impl Index<FunctionIndex> for Tree {
    type Output = Function;
    fn index(&self, index: FunctionIndex) -> &Function {
        &self.functions[index.0]
    }
}

impl IndexMut<FunctionIndex> for Tree {
    fn index_mut(&mut self, index: FunctionIndex) -> &mut Function {
        &mut self.functions[index.0]
    }
}

impl Index<BusIndex> for Tree {
    type Output = Bus;
    fn index(&self, index: BusIndex) -> &Bus {
        &self.buses[index.0]
    }
}

impl IndexMut<BusIndex> for Tree {
    fn index_mut(&mut self, index: BusIndex) -> &mut Bus {
        &mut self.buses[index.0]
    }
}

impl Tree {
    /// The function that answers at `id`.
    pub fn find(&self, id: FunctionId) -> Option<FunctionIndex> {
        self.functions.iter().position(|function| function.id == id).map(FunctionIndex)
    }

    /// All functions with their positions.
    pub fn iter(&self) -> impl Iterator<Item = (FunctionIndex, &Function)> {
        self.functions.iter().enumerate().map(|(index, function)| (FunctionIndex(index), function))
    }

    /// The bridge above `function`, as the kernel's peer-to-peer code sees it: a virtual function counts as
    /// lying on the bus of its physical function. `None` for a function on a root bus.
    pub fn upstream(&self, function: FunctionIndex) -> Option<FunctionIndex> {
        let function = self[function].physical_function.unwrap_or(function);
        self[self[function].bus].bridge
    }

    /// The bridge that leads to `bus`; for a virtual bus, to that of the physical functions. `None` for a root bus.
    pub(crate) fn bridge_above(&self, bus: BusIndex) -> Option<FunctionIndex> {
        core::iter::successors(Some(bus), |bus| self[*bus].parent.filter(|_| self[*bus].bridge.is_none()))
            .find_map(|bus| self[bus].bridge)
    }

    /// The host bridge `function` lies below.
    pub fn host_bridge_of(&self, function: FunctionIndex) -> &HostBridge {
        &self.host_bridges[self[self[function].bus].host_bridge]
    }

    /// The resource `at`.
    pub fn resource(&self, at: ResourceRef) -> &Resource {
        &self[at.function].resources[at.number]
    }

    pub(crate) fn resource_mut(&mut self, at: ResourceRef) -> &mut Resource {
        &mut self[at.function].resources[at.number]
    }

    /// Bus address of the first byte of an assigned resource.
    pub fn bus_address(&self, at: ResourceRef) -> Option<BusAddr> {
        let resource = self.resource(at);
        let range = resource.range()?;
        Some(self.host_bridge_of(at.function).to_bus(resource.flags, range))
    }

    /// Kind and addresses of what `parent` names, while it is assigned.
    pub(crate) fn window(&self, parent: Parent) -> Option<(ResourceFlags, Range<CpuAddr>)> {
        match parent {
            Parent::HostBridge { host_bridge, window } => {
                let window = self.host_bridges.get(host_bridge)?.windows.get(window)?;
                Some((window.kind.flags(), window.cpu))
            }
            Parent::Window(at) => {
                let resource = self.resource(at);
                resource.range().map(|range| (resource.flags, range))
            }
            Parent::Outside { .. } => None,
        }
    }

    /// The assigned windows through which `bus` is reached, in the order the kernel tries them.
    pub(crate) fn bus_windows(&self, bus: BusIndex) -> Vec<Parent> {
        let mut windows = Vec::new();
        match (self[bus].bridge, self[bus].parent) {
            (None, Some(physical)) => return self.bus_windows(physical),
            (None, None) => {
                let host_bridge = self[bus].host_bridge;
                let count = self.host_bridges[host_bridge].windows.len();
                windows.extend((0..count).map(|window| Parent::HostBridge { host_bridge, window }));
            }
            (Some(bridge), _) => {
                let own = (IO_WINDOW..RESOURCES).map(|number| ResourceRef { function: bridge, number });
                windows.extend(own.filter(|at| self.resource(*at).is_assigned()).map(Parent::Window));
            }
        }
        windows
    }

    /// Root buses in the order of their host bridges.
    pub(crate) fn root_buses(&self) -> Vec<BusIndex> {
        (0..self.buses.len()).map(BusIndex).filter(|bus| self[*bus].is_root()).collect()
    }
}
