//! Host bridges known to forward peer-to-peer requests: the kernel's `host_bridge_whitelist`.
//!
//! A host bridge has no ids of its own. The first function of its root bus stands for it, if that one is at 00.0 or
//! is a root port.

use alloc::vec::Vec;

use super::Reason;
use crate::pci::{FunctionIndex, PcieType, Tree};
use crate::profile::Rules;

/// What the allow-list says about one host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listing {
    /// It forwards, to other listed host bridges too.
    Everywhere,
    /// It forwards among its own ports only; the function identifies it.
    Within(FunctionIndex),
    /// Not in the list; the function identifies it.
    NotListed(FunctionIndex),
    /// No function identifies it; the first function of its root bus, where there is one.
    Unidentified(Option<FunctionIndex>),
}

/// The function that stands for the host bridge with that index: the first of the root bus's device list, if it is at
/// 00.0 or is a PCIe root port. The list is in the order of discovery, so this need not be the lowest number.
pub fn identifying_function(tree: &Tree, host_bridge: usize) -> Option<FunctionIndex> {
    let head = head(tree, host_bridge)?;
    let function = &tree[head];
    (function.id.devfn == 0 || function.pcie_type == Some(PcieType::RootPort)).then_some(head)
}

fn head(tree: &Tree, host_bridge: usize) -> Option<FunctionIndex> {
    let root = tree.buses.iter().find(|bus| bus.is_root() && bus.host_bridge == host_bridge)?;
    root.devices.first().copied()
}

/// Looks the host bridge with that index up. The first entry with its ids decides.
pub fn listing(tree: &Tree, rules: &Rules, host_bridge: usize) -> Listing {
    let Some(identifying) = identifying_function(tree, host_bridge) else {
        return Listing::Unidentified(head(tree, host_bridge));
    };
    let function = &tree[identifying];
    let entry = rules.host_bridge_allow_list.iter().find(|entry| {
        entry.vendor == function.vendor && entry.device.is_none_or(|device| device == function.device)
    });
    match entry {
        None => Listing::NotListed(identifying),
        Some(entry) if entry.same_host_bridge => Listing::Within(identifying),
        Some(_) => Listing::Everywhere,
    }
}

/// Why host bridges with these listings do not forward from one to the other; empty when they do. Pass one listing
/// for two functions below the same host bridge.
pub(super) fn objections(listings: &[Listing]) -> Vec<Reason> {
    let collect = |pick: &dyn Fn(&Listing) -> Option<Option<FunctionIndex>>| {
        let picked: Vec<Option<FunctionIndex>> = listings.iter().filter_map(pick).collect();
        (!picked.is_empty()).then(|| picked.into_iter().flatten().collect::<Vec<FunctionIndex>>())
    };
    let not_listed = collect(&|listing| match listing {
        Listing::NotListed(function) => Some(Some(*function)),
        _ => None,
    });
    let differ = collect(&|listing| match listing {
        Listing::Within(function) if listings.len() > 1 => Some(Some(*function)),
        _ => None,
    });
    let unidentified = collect(&|listing| match listing {
        Listing::Unidentified(head) => Some(*head),
        _ => None,
    });
    let reasons = [
        not_listed.map(Reason::HostBridgeNotListed),
        differ.map(Reason::HostBridgesDiffer),
        unidentified.map(Reason::NoIdentifyingFunction),
    ];
    reasons.into_iter().flatten().collect()
}
