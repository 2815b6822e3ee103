//! The table of host bridges that forward peer-to-peer traffic.
//!
//! A host bridge has no ids of its own. The first function of its root bus stands for it, if that one is at 00.0 or
//! is a root port.

use alloc::vec::Vec;

use super::{CpuIdentity, Reason};
use crate::pci::{FunctionIndex, PcieType, Tree};
use crate::{AllowedHostBridge, Rules};

/// What the table says about one host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listing {
    /// Listed without condition.
    Listed,
    /// The row of the function that stands for it allows traffic within the host bridge only.
    SameHostBridge(FunctionIndex),
    /// The function that stands for it is in no row.
    NotListed(FunctionIndex),
    /// No function stands for it. The first function of its root bus, where there is one.
    Unidentified(Option<FunctionIndex>),
}

/// The function that stands for the host bridge with that index: the first one of its root bus, if it is at 00.0 or
/// is a root port. Other first functions stand for nothing. First in order of discovery, so not always the lowest.
pub fn root_device(tree: &Tree, host_bridge: usize) -> Option<FunctionIndex> {
    let head = head(tree, host_bridge)?;
    let function = &tree[head];
    (function.id.devfn == 0 || function.pcie_type == Some(PcieType::RootPort)).then_some(head)
}

/// The first function of the root bus of the host bridge with that index, whether or not it stands for it.
pub fn head(tree: &Tree, host_bridge: usize) -> Option<FunctionIndex> {
    let root = tree.buses.iter().find(|bus| bus.host_bridge == host_bridge && bus.is_root())?;
    root.devices.first().copied()
}

/// Looks the host bridge with that index up; the first row that matches decides.
pub fn listing(tree: &Tree, rules: &Rules, host_bridge: usize) -> Listing {
    let Some(device) = root_device(tree, host_bridge) else {
        return Listing::Unidentified(head(tree, host_bridge));
    };
    match allowed_row(rules, tree[device].vendor, tree[device].device) {
        None => Listing::NotListed(device),
        Some(row) if row.same_host_bridge => Listing::SameHostBridge(device),
        Some(_) => Listing::Listed,
    }
}

/// The row that decides about a host bridge for which a function with these ids stands: the first that matches.
pub fn allowed_row(rules: &Rules, vendor: u16, device: u16) -> Option<AllowedHostBridge> {
    let rows = rules.also_listed.iter().flatten().chain(rules.host_bridge_allow_list);
    let mut matching =
        rows.filter(|row| row.vendor == vendor && row.device.is_none_or(|listed| listed == device));
    matching.next().copied()
}

/// Why traffic through these host bridges is refused; empty when it is not. `second` is absent when both functions
/// lie below the same one.
///
/// The kernel does not look at the second host bridge once the first has refused. Both are named here: whoever
/// wants the path to work has to know, and the kernel logs neither for two host bridges.
pub(super) fn objections(cpu: &CpuIdentity, first: Listing, second: Option<Listing>) -> Vec<Reason> {
    if cpu.forwards_peer_to_peer() {
        return Vec::new();
    }
    let mut not_listed = Vec::new();
    let mut differ = Vec::new();
    let mut heads = Vec::new();
    let mut unidentified = false;
    for listing in [Some(first), second].into_iter().flatten() {
        match listing {
            Listing::Listed => {}
            Listing::SameHostBridge(device) => differ.extend(second.map(|_| device)),
            Listing::NotListed(device) => not_listed.push(device),
            Listing::Unidentified(head) => {
                unidentified = true;
                heads.extend(head);
            }
        }
    }
    let reasons = [
        (!not_listed.is_empty()).then_some(Reason::HostBridgeNotListed(not_listed)),
        (!differ.is_empty()).then_some(Reason::HostBridgesDiffer(differ)),
        unidentified.then_some(Reason::NoIdentifyingFunction(heads)),
    ];
    reasons.into_iter().flatten().collect()
}
