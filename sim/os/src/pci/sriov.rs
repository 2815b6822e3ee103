//! Virtual functions (Single Root I/O Virtualization): from a capability to functions of their own.
//!
//! A physical function's VF BARs are resources 7–12, each as large as all its virtual functions together
//! could need (size of one × TotalVFs) and aligned to one; they are sized and placed like other BARs, but
//! optional. [`enable_virtual_functions`] cuts them: virtual function `i` owns bytes `i × size` to
//! `(i + 1) × size − 1` of each. Its routing id is the physical function's `+ offset + i × stride`; where that
//! passes the last function of the bus, the virtual function lies on a *virtual bus*, a number without a bridge.
//!
//! Invariant: a virtual function's BARs lie inside its physical function's resources 7–12, entered in the
//! tree's space below them.

use alloc::vec::Vec;
use core::fmt;

use peerbus_units::{Bytes, CpuAddr, FunctionId, Range};

use super::resource::{IOV_FIRST, IOV_LAST, Parent, Place, RESOURCES, Resource, ResourceRef};
use super::space::Claim;
use super::tree::{BridgeWindows, Bus, BusIndex, Function, FunctionIndex, HeaderType, PcieType, Tree};
use super::{capability, regs};
use crate::{ConfigAccess, ConfigSpace};

/// Why virtual functions were not enabled. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VirtualFunctionError {
    /// The function has no usable SR-IOV capability, or is a virtual function itself.
    NotSupported,
    /// More were asked for than the function can have, or none.
    BadNumber {
        /// The most it can have at present (the smaller of InitialVFs and TotalVFs).
        most: u16,
    },
    /// Some are enabled already; their number cannot change while they are.
    AlreadyEnabled,
    /// A VF BAR has no address.
    NoAddress {
        /// Its resource number, 7–12.
        resource: usize,
    },
    /// The routing id of the last one is 0, above all bus numbers, or on a bus that does not lead here.
    NoBusNumber {
        /// The bus number that would be needed.
        bus: u32,
        /// The last one that leads to the physical function.
        last: u8,
    },
}

impl fmt::Display for VirtualFunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VirtualFunctionError::NotSupported => write!(f, "the function cannot have virtual functions"),
            VirtualFunctionError::BadNumber { most } => write!(f, "between 1 and {most} can be enabled"),
            VirtualFunctionError::AlreadyEnabled => write!(f, "virtual functions are enabled already"),
            VirtualFunctionError::NoAddress { resource } => write!(f, "resource {resource} has no address"),
            VirtualFunctionError::NoBusNumber { bus, last } => {
                write!(f, "bus {bus:#04x} is needed, bus numbers up to {last:#04x} lead here")
            }
        }
    }
}

impl core::error::Error for VirtualFunctionError {}

/// Enables `count` virtual functions of `physical` and adds them at the end of the tree, in order.
///
/// Writes NumVFs, VF Enable and VF Memory Space Enable. A virtual function takes vendor and class of its
/// physical function, whose own registers for these read as all ones, and the device id that the capability
/// names.
pub fn enable_virtual_functions(
    tree: &mut Tree,
    cs: &mut impl ConfigSpace,
    physical: FunctionIndex,
    count: u16,
) -> Result<Vec<FunctionIndex>, VirtualFunctionError> {
    let capability = usable_capability(tree, cs, physical, count)?;
    let id = tree[physical].id;
    let before = cs.read_word(id, capability + regs::SRIOV_NUM_VFS);
    // Offset and stride may depend on the number.
    cs.write_word(id, capability + regs::SRIOV_NUM_VFS, count);
    let routing = Routing {
        first: u32::from(id.requester()) + u32::from(cs.read_word(id, capability + regs::SRIOV_VF_OFFSET)),
        stride: u32::from(cs.read_word(id, capability + regs::SRIOV_VF_STRIDE)),
    };
    if let Err(error) = routing.check(tree, physical, count) {
        cs.write_word(id, capability + regs::SRIOV_NUM_VFS, before);
        return Err(error);
    }
    let control = cs.read_word(id, capability + regs::SRIOV_CONTROL);
    let on = regs::SRIOV_CONTROL_VF_ENABLE | regs::SRIOV_CONTROL_VF_MEMORY;
    cs.write_word(id, capability + regs::SRIOV_CONTROL, control | on);
    let device = cs.read_word(id, capability + regs::SRIOV_VF_DEVICE);
    Ok((0..count).map(|index| add(tree, cs, physical, device, routing.id(id.domain, index), index)).collect())
}

/// Offset of the capability, if `count` functions can be enabled as far as the function itself goes.
fn usable_capability(
    tree: &Tree,
    cs: &impl ConfigSpace,
    physical: FunctionIndex,
    count: u16,
) -> Result<u16, VirtualFunctionError> {
    let function = &tree[physical];
    let usable = function.total_vfs > 0 && function.physical_function.is_none();
    let capability = function.capabilities.sriov.filter(|_| usable);
    let capability = capability.ok_or(VirtualFunctionError::NotSupported)?;
    if cs.read_word(function.id, capability + regs::SRIOV_CONTROL) & regs::SRIOV_CONTROL_VF_ENABLE != 0 {
        return Err(VirtualFunctionError::AlreadyEnabled);
    }
    let initial = cs.read_word(function.id, capability + regs::SRIOV_INITIAL_VFS);
    let most = initial.min(function.total_vfs);
    if count == 0 || count > most {
        return Err(VirtualFunctionError::BadNumber { most });
    }
    let lost = tree
        .failures
        .iter()
        .map(|failure| failure.resource)
        .find(|at| at.function == physical && (IOV_FIRST..=IOV_LAST).contains(&at.number));
    let open = (IOV_FIRST..=IOV_LAST).find(|number| {
        let resource = &function.resources[*number];
        !resource.flags.is_empty() && !resource.is_assigned()
    });
    match lost.map(|at| at.number).or(open) {
        Some(resource) => Err(VirtualFunctionError::NoAddress { resource }),
        None => Ok(capability),
    }
}

/// Where virtual functions answer: routing id of the first one and distance between two.
#[derive(Clone, Copy)]
struct Routing {
    first: u32,
    stride: u32,
}

impl Routing {
    fn number(self, index: u16) -> u32 {
        self.first + self.stride * u32::from(index)
    }

    fn id(self, domain: u32, index: u16) -> FunctionId {
        let [devfn, bus, ..] = self.number(index).to_le_bytes();
        FunctionId { domain, bus, devfn }
    }

    /// All routing ids must differ from one another and from other functions, and lead here.
    fn check(self, tree: &Tree, physical: FunctionIndex, count: u16) -> Result<(), VirtualFunctionError> {
        let own = &tree[physical];
        let last = tree[own.bus].last;
        for index in 0..count {
            let number = self.number(index);
            let bus = number >> 8;
            let id = self.id(own.id.domain, index);
            let taken = tree.find(id).is_some() || self.stride == 0 && index > 0;
            if bus > u32::from(last) || taken || tree.is_foreign_bus(id, own.bus) {
                return Err(VirtualFunctionError::NoBusNumber { bus, last });
            }
        }
        Ok(())
    }
}

impl Tree {
    /// True when the bus of `id` exists and is neither `bus` nor a virtual bus of it.
    fn is_foreign_bus(&self, id: FunctionId, bus: BusIndex) -> bool {
        self.bus_numbered(id).is_some_and(|found| {
            found != bus && !(self[found].bridge.is_none() && self[found].parent == Some(bus))
        })
    }

    fn bus_numbered(&self, id: FunctionId) -> Option<BusIndex> {
        let found = self
            .buses
            .iter()
            .position(|bus| bus.number == id.bus && self.host_bridges[bus.host_bridge].domain == id.domain);
        found.map(BusIndex)
    }

    /// The bus on which the virtual function `id` of a function on `physical` lies; added if there is none.
    fn virtual_bus(&mut self, id: FunctionId, physical: BusIndex) -> BusIndex {
        if let Some(known) = self.bus_numbered(id) {
            return known;
        }
        self.buses.push(Bus {
            number: id.bus,
            last: id.bus,
            parent: Some(physical),
            bridge: None,
            host_bridge: self[physical].host_bridge,
            devices: Vec::new(),
        });
        BusIndex(self.buses.len() - 1)
    }
}

fn add(
    tree: &mut Tree,
    cs: &impl ConfigSpace,
    physical: FunctionIndex,
    device: u16,
    id: FunctionId,
    index: u16,
) -> FunctionIndex {
    let bus = tree.virtual_bus(id, tree[physical].bus);
    let capabilities = capability::read(cs, id);
    let own = &tree[physical];
    let function = Function {
        id,
        vendor: own.vendor,
        device,
        class: own.class,
        header: HeaderType::Normal,
        multifunction: own.multifunction,
        pcie_type: capabilities
            .pcie
            .map(|pcie| PcieType::from_number((cs.read_word(id, pcie + regs::PCIE_FLAGS) >> 4 & 0xf) as u8)),
        capabilities,
        bus,
        subordinate: None,
        physical_function: Some(physical),
        hotplug_bridge: false,
        windows: BridgeWindows::default(),
        total_vfs: 0,
        resources: [Resource::default(); RESOURCES],
    };
    tree.functions.push(function);
    let at = FunctionIndex(tree.functions.len() - 1);
    tree[bus].devices.push(at);
    for number in IOV_FIRST..=IOV_LAST {
        cut(tree, ResourceRef { function: physical, number }, at, index);
    }
    at
}

/// Gives virtual function `index` its part of the VF BAR `whole`.
fn cut(tree: &mut Tree, whole: ResourceRef, function: FunctionIndex, index: u16) {
    let all = *tree.resource(whole);
    let Some(range) = all.range() else { return };
    let size = Bytes(all.align);
    let first = CpuAddr(range.first().0 + size.0 * u64::from(index));
    let at = ResourceRef { function, number: whole.number - IOV_FIRST };
    let parent = Parent::Window(whole);
    let part = Range::sized(first, size);
    assert!(part.is_some_and(|part| range.covers(part)), "{at:?} at {first} lies outside {range}");
    let entered = part.map(|range| tree.space.insert(parent, Claim { range, owner: at }));
    assert!(entered == Some(Ok(())), "{at:?} at {first} overlaps {entered:?}");
    let place = Some(Place { first, parent });
    *tree.resource_mut(at) = Resource { flags: all.flags, size, align: size.0, at: place, firmware: None };
}
