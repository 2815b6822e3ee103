//! The table of host bridges that forward peer-to-peer traffic.

use super::resolve::Reason;
use crate::Rules;
use crate::pci::{FunctionIndex, PcieType, Tree};

/// The function that stands for host bridge `host_bridge`: the first one of its root bus, if it is at 00.0 or
/// is a root port. Other first functions stand for nothing.
pub fn root_device(tree: &Tree, host_bridge: usize) -> Option<FunctionIndex> {
    let root = tree.buses.iter().find(|bus| bus.host_bridge == host_bridge && bus.is_root())?;
    let head = *root.devices.first()?;
    let function = &tree[head];
    (function.id.devfn == 0 || function.pcie_type == Some(PcieType::RootPort)).then_some(head)
}

/// What the table says about one host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Listing {
    /// No function stands for it.
    Unidentified,
    /// `head` is in no row.
    NotListed(FunctionIndex),
    /// The row of `head` allows traffic within the host bridge only.
    SameHostBridge(FunctionIndex),
    /// Listed without condition.
    Listed,
}

/// Looks a host bridge up; the first row that matches decides.
pub(super) fn lookup(tree: &Tree, rules: &Rules, host_bridge: usize) -> Listing {
    let Some(head) = root_device(tree, host_bridge) else { return Listing::Unidentified };
    let (vendor, device) = (tree[head].vendor, tree[head].device);
    let rows = rules.host_bridge_allow_list.iter();
    let mut matching = rows.filter(|row| row.vendor == vendor && row.device.is_none_or(|id| id == device));
    match matching.next() {
        None => Listing::NotListed(head),
        Some(row) if row.same_host_bridge => Listing::SameHostBridge(head),
        Some(_) => Listing::Listed,
    }
}

impl Listing {
    /// Why traffic through this host bridge is refused, if it is. `same`: both ends lie below it.
    pub(super) fn refusal(self, same: bool) -> Option<Reason> {
        match self {
            Listing::Listed => None,
            Listing::SameHostBridge(_) if same => None,
            Listing::SameHostBridge(head) => Some(Reason::HostBridgesDiffer { root_device: head }),
            Listing::NotListed(head) => Some(Reason::HostBridgeNotListed { root_device: head }),
            Listing::Unidentified => Some(Reason::HostBridgeUnidentified),
        }
    }
}
