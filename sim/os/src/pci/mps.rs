//! Payload sizes (MPS) and read request sizes (MRRS) of PCI Express functions.
//!
//! A receiver treats a packet with more payload than its own MPS as malformed, and no switch splits packets. So a
//! kernel sets sizes twice: each function when it is found ([`MpsPolicy::Default`] works here alone), and whole
//! hierarchies after scanning ([`configure_bus`]). Only [`MpsPolicy::Safe`] and [`MpsPolicy::PeerToPeer`] promise that
//! any two functions below one root port understand each other; [`MpsPolicy::PeerToPeer`] alone promises it across
//! root ports.
//!
//! Sizes are powers of two from 128 to 4096 bytes; in registers, three bits count from 128.

use alloc::vec::Vec;

use super::regs;
use super::tree::{BusIndex, FunctionIndex, PcieType, Tree};
use crate::{ConfigAccess, ConfigSpace};

/// How payload sizes are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MpsPolicy {
    /// `pci=pcie_bus_tune_off`: as firmware left them.
    Off,
    /// Without an option: a function takes the size of the port above it.
    #[default]
    Default,
    /// `pci=pcie_bus_safe`: per hierarchy the largest size that all its functions support.
    Safe,
    /// `pci=pcie_bus_perf`: per function the largest that it and the port above support; read requests likewise.
    Performance,
    /// `pci=pcie_bus_peer2peer`: 128 bytes everywhere.
    PeerToPeer,
}

/// A line in the kernel's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadEvent {
    /// The function's size is not that of the port above it, and nobody changes it.
    Differs {
        /// Whose.
        function: FunctionIndex,
        /// Its size, in bytes.
        own: u32,
        /// The port's.
        above: u32,
    },
    /// The function cannot take the size it should.
    TooLarge {
        /// Whose.
        function: FunctionIndex,
        /// The size, in bytes.
        wanted: u32,
        /// The largest it supports.
        supported: u32,
    },
    /// No read request size was taken.
    ReadRequestRefused(FunctionIndex),
}

/// Smallest and largest size in bytes.
const SMALLEST: u32 = 128;
const LARGEST: u32 = 4096;

const PAYLOAD_SHIFT: u16 = 5;
const READ_REQUEST_SHIFT: u16 = 12;

/// The largest payload `function` supports, in bytes; `None` without PCI Express.
pub fn max_payload_supported(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> Option<u32> {
    let position = tree[function].capabilities.pcie?;
    let capabilities = cs.read_dword(tree[function].id, position + regs::PCIE_DEVICE_CAPABILITIES);
    Some(SMALLEST << (capabilities & 7))
}

/// The payload size programmed into `function`, in bytes; `None` without PCI Express.
pub fn max_payload(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> Option<u32> {
    control(tree, cs, function).map(|word| SMALLEST << (word >> PAYLOAD_SHIFT & 7))
}

/// The read request size programmed into `function`, in bytes; `None` without PCI Express.
pub fn max_read_request(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> Option<u32> {
    control(tree, cs, function).map(|word| SMALLEST << (word >> READ_REQUEST_SHIFT & 7))
}

fn control(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> Option<u16> {
    let position = tree[function].capabilities.pcie?;
    Some(cs.read_word(tree[function].id, position + regs::PCIE_DEVICE_CONTROL))
}

/// Writes three bits of the control register; `size` is in range.
fn write(tree: &Tree, cs: &mut impl ConfigSpace, function: FunctionIndex, shift: u16, size: u32) {
    let (Some(position), Some(word)) = (tree[function].capabilities.pcie, control(tree, cs, function)) else {
        return;
    };
    let code = ((size / SMALLEST).max(1).ilog2() & 7) as u16;
    let word = word & !(7 << shift) | code << shift;
    cs.write_word(tree[function].id, position + regs::PCIE_DEVICE_CONTROL, word);
}

/// Sets the payload size; one that the function does not support is refused, with a line in the log.
fn set_payload(tree: &mut Tree, cs: &mut impl ConfigSpace, function: FunctionIndex, wanted: u32) {
    let Some(supported) = max_payload_supported(tree, cs, function) else { return };
    if wanted > supported.min(LARGEST) {
        tree.payload_log.push(PayloadEvent::TooLarge { function, wanted, supported });
        return;
    }
    write(tree, cs, function, PAYLOAD_SHIFT, wanted);
}

/// Why a read request size is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadRequestError {
    /// EINVAL: not a power of two from 128 to 4096, or no PCI Express function, or it would be raised where the
    /// host bridge forbids that.
    Invalid,
}

/// A driver's wish for the read request size of its function, in bytes. With [`MpsPolicy::Performance`] no more than
/// the payload size is given. `may_grow` is false below host bridges that break when requests become larger.
///
/// # Errors
///
/// The size is none; nothing is written.
pub fn set_read_request(
    tree: &Tree,
    cs: &mut impl ConfigSpace,
    function: FunctionIndex,
    policy: MpsPolicy,
    wanted: u32,
    may_grow: bool,
) -> Result<(), ReadRequestError> {
    let own = max_read_request(tree, cs, function).ok_or(ReadRequestError::Invalid)?;
    if !wanted.is_power_of_two() || !(SMALLEST..=LARGEST).contains(&wanted) {
        return Err(ReadRequestError::Invalid);
    }
    let size = match policy {
        MpsPolicy::Performance => wanted.min(max_payload(tree, cs, function).unwrap_or(wanted)),
        _ => wanted,
    };
    if !may_grow && size > own {
        return Err(ReadRequestError::Invalid);
    }
    write(tree, cs, function, READ_REQUEST_SHIFT, size);
    Ok(())
}

/// Sets the sizes of the functions from `first` on as a kernel does while it finds them and after it has.
pub(super) fn configure(tree: &mut Tree, cs: &mut impl ConfigSpace, policy: MpsPolicy, first: usize) {
    for function in (first..tree.functions.len()).map(FunctionIndex) {
        found(tree, cs, policy, function);
    }
    let below_root = |bus: &BusIndex| tree[*bus].parent.is_some_and(|parent| tree[parent].is_root());
    let mut buses: Vec<BusIndex> = (0..tree.buses.len()).map(BusIndex).filter(below_root).collect();
    // A hierarchy in which nothing is new has its sizes.
    buses.retain(|bus| members(tree, *bus).iter().any(|function| function.0 >= first));
    for bus in buses {
        configure_bus(tree, cs, policy, bus);
    }
}

/// The same after a hot-plug: of the functions from `first` on, and of the hierarchy behind the slot only.
pub(super) fn configure_slot(
    tree: &mut Tree,
    cs: &mut impl ConfigSpace,
    policy: MpsPolicy,
    first: usize,
    slot: BusIndex,
) {
    for function in (first..tree.functions.len()).map(FunctionIndex) {
        found(tree, cs, policy, function);
    }
    configure_bus(tree, cs, policy, slot);
}

/// What happens to the size of a function when it is found, before anything below it is.
fn found(tree: &mut Tree, cs: &mut impl ConfigSpace, policy: MpsPolicy, function: FunctionIndex) {
    let (Some(own), Some(supported)) =
        (max_payload(tree, cs, function), max_payload_supported(tree, cs, function))
    else {
        return;
    };
    if tree[function].physical_function.is_some() {
        return;
    }
    if tree[function].pcie_type == Some(PcieType::IntegratedEndpoint) {
        let size = if policy == MpsPolicy::PeerToPeer { SMALLEST } else { supported };
        return set_payload(tree, cs, function, size);
    }
    let Some((bridge, above)) =
        tree.upstream(function).and_then(|bridge| Some((bridge, max_payload(tree, cs, bridge)?)))
    else {
        return;
    };
    match policy {
        _ if own == above => {}
        MpsPolicy::Off => tree.payload_log.push(PayloadEvent::Differs { function, own, above }),
        MpsPolicy::Default => take_from_above(tree, cs, function, bridge),
        MpsPolicy::Safe | MpsPolicy::Performance | MpsPolicy::PeerToPeer => {}
    }
}

/// The port's size for the function; a root port comes down to what the function supports.
fn take_from_above(
    tree: &mut Tree,
    cs: &mut impl ConfigSpace,
    function: FunctionIndex,
    bridge: FunctionIndex,
) {
    let supported = max_payload_supported(tree, cs, function).unwrap_or(SMALLEST);
    let above = |tree: &Tree, cs: &_| max_payload(tree, cs, bridge).unwrap_or(SMALLEST);
    if supported < above(tree, cs) && tree[bridge].pcie_type == Some(PcieType::RootPort) {
        set_payload(tree, cs, bridge, supported);
    }
    let size = above(tree, cs);
    set_payload(tree, cs, function, size);
}

/// Chooses the sizes of the bridge above `bus` and of everything below it, top down. After a hot-plug `bus` is the
/// slot's. Nothing happens for [`MpsPolicy::Off`] and [`MpsPolicy::Default`], and below a conventional bridge.
pub fn configure_bus(tree: &mut Tree, cs: &mut impl ConfigSpace, policy: MpsPolicy, bus: BusIndex) {
    let members = members(tree, bus);
    let bridge = tree[bus].bridge;
    if bridge.is_none_or(|bridge| tree[bridge].capabilities.pcie.is_none()) {
        return;
    }
    match policy {
        MpsPolicy::Off | MpsPolicy::Default => {}
        MpsPolicy::Safe => {
            let size = common_size(tree, cs, &members);
            members.iter().for_each(|function| set_payload(tree, cs, *function, size));
        }
        MpsPolicy::PeerToPeer => {
            members.iter().for_each(|function| set_payload(tree, cs, *function, SMALLEST));
        }
        MpsPolicy::Performance => members.iter().for_each(|function| largest(tree, cs, *function)),
    }
}

/// The bridge above `bus` and all physical PCI Express functions below it, top down.
fn members(tree: &Tree, bus: BusIndex) -> Vec<FunctionIndex> {
    let mut members: Vec<FunctionIndex> = tree[bus].bridge.into_iter().collect();
    let mut buses = alloc::vec![bus];
    let mut visited = 0;
    while let Some(bus) = buses.get(visited).copied() {
        visited += 1;
        members.extend(&tree[bus].devices);
        buses.extend(tree[bus].devices.iter().filter_map(|function| tree[*function].subordinate));
    }
    members.retain(|function| {
        tree[*function].capabilities.pcie.is_some() && tree[*function].physical_function.is_none()
    });
    members
}

/// The largest size that all support. Below a slot of a switch something smaller may be plugged in later, and the
/// ports above could not follow; a root port can.
fn common_size(tree: &Tree, cs: &impl ConfigSpace, members: &[FunctionIndex]) -> u32 {
    let slot = |function: &FunctionIndex| {
        tree[*function].hotplug_bridge && tree[*function].pcie_type != Some(PcieType::RootPort)
    };
    if members.iter().any(slot) {
        return SMALLEST;
    }
    let sizes = members.iter().filter_map(|function| max_payload_supported(tree, cs, *function));
    sizes.min().unwrap_or(SMALLEST).min(LARGEST)
}

/// The largest payload that the function and the port above it take, and as much for read requests.
fn largest(tree: &mut Tree, cs: &mut impl ConfigSpace, function: FunctionIndex) {
    let supported = max_payload_supported(tree, cs, function).unwrap_or(SMALLEST).min(LARGEST);
    let above = match tree[function].pcie_type {
        Some(PcieType::RootPort) => None,
        _ => tree.upstream(function).and_then(|bridge| max_payload(tree, cs, bridge)),
    };
    set_payload(tree, cs, function, above.map_or(supported, |above| above.min(supported)));
    let payload = max_payload(tree, cs, function).unwrap_or(SMALLEST);
    let halved = core::iter::successors(Some(payload), |size| (*size > SMALLEST).then_some(*size / 2));
    for size in halved {
        if max_read_request(tree, cs, function) != Some(size) && size <= LARGEST {
            write(tree, cs, function, READ_REQUEST_SHIFT, size);
        }
        if max_read_request(tree, cs, function) == Some(size) {
            return;
        }
    }
    tree.payload_log.push(PayloadEvent::ReadRequestRefused(function));
}
