//! [`resolve()`]: the kernel's `calc_map_type_and_dist`, step by step.
//!
//! The walk goes up from the provider. At each function the ACS test comes first and the question whether it lies
//! above the client second: the common function is tested, and so are the endpoints. Then the client's side is walked
//! up to below the common function. Distances that follow: 0 for a function and itself, 2 for two functions of one
//! device, 4 for two devices below one switch and also for two below different root ports.

use alloc::vec::Vec;

use super::host_bridge::{listing, objections};
use super::{CpuIdentity, MapType, Reason, Resolution};
use crate::pci::{FunctionIndex, Tree, acs_control};
use crate::{ConfigSpace, Rules};

/// `function` and the bridges above it, lowest first.
pub fn upstream_path(tree: &Tree, function: FunctionIndex) -> impl Iterator<Item = FunctionIndex> {
    core::iter::successors(Some(function), |function| tree.upstream(*function))
}

/// Decides how `client` reaches memory of `provider`. Both must be functions of the tree.
///
/// The same for every profile but for the table of host bridges. Reads the ACS control word of each function walked,
/// anew each time; a function that does not answer reads as all ones, and so redirects.
pub fn resolve(
    tree: &Tree,
    cs: &impl ConfigSpace,
    cpu: &CpuIdentity,
    rules: &Rules,
    provider: FunctionIndex,
    client: FunctionIndex,
) -> Resolution {
    let host_bridge_objections = || {
        let [first, second] = [provider, client].map(|function| tree[tree[function].bus].host_bridge);
        let other = (first != second).then(|| listing(tree, rules, second));
        objections(cpu, listing(tree, rules, first), other)
    };
    let mut redirecting = Vec::new();
    for (provider_steps, node) in (0..).zip(upstream_path(tree, provider)) {
        redirecting.extend(redirects(tree, cs, node).then_some(node));
        if !upstream_path(tree, client).any(|function| function == node) {
            continue;
        }
        let below = || upstream_path(tree, client).take_while(|function| *function != node);
        redirecting.extend(below().filter(|function| redirects(tree, cs, *function)));
        let distance = provider_steps + count(below());
        if redirecting.is_empty() {
            return Resolution { map_type: MapType::BusAddr, distance, reasons: Vec::new() };
        }
        return through_host_bridge(distance, Reason::AcsRedirect(redirecting), host_bridge_objections());
    }
    let distance = count(upstream_path(tree, provider)) + count(upstream_path(tree, client));
    let tops = [provider, client].into_iter().filter_map(|function| upstream_path(tree, function).last());
    through_host_bridge(distance, Reason::NoCommonUpstream(tops.collect()), host_bridge_objections())
}

/// The kernel's `pci_bridge_has_acs_redir`: any function may have the capability, endpoints too.
pub(super) fn redirects(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> bool {
    acs_control(tree, cs, function).is_some_and(|word| word.redirects())
}

/// Length of a path: at most the 256 buses of a domain, and one.
fn count(path: impl Iterator<Item = FunctionIndex>) -> u32 {
    path.fold(0, |count, _| count + 1)
}

/// A path that has to pass the host bridge because of `cause`.
pub(super) fn through_host_bridge(distance: u32, cause: Reason, objections: Vec<Reason>) -> Resolution {
    let map_type = if objections.is_empty() { MapType::ThruHostBridge } else { MapType::NotSupported };
    let reasons = core::iter::once(cause).chain(objections).collect();
    Resolution { map_type, distance, reasons }
}
