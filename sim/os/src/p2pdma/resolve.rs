//! [`resolve()`]: the kernel's `calc_map_type_and_dist`, step by step.
//!
//! The walk goes up from the provider. At each function, the ACS test comes first and the question whether the
//! function lies above the client second: the common function is tested, and so are the endpoints themselves. Then the
//! client's side is walked up to below the common function. Distances that follow: 0 for a function and itself, 2 for
//! two functions of one device, 4 for two devices below one switch and also for two below different root ports.

use alloc::vec::Vec;

use super::allow_list::{Listing, listing, objections};
use super::{CpuIdentity, MapType, Reason, Resolution, redirects};
use crate::config_space::ConfigSpace;
use crate::pci::{FunctionIndex, Tree};
use crate::profile::Rules;

/// `function` and the bridges above it, lowest first.
pub fn upstream_path(tree: &Tree, function: FunctionIndex) -> impl Iterator<Item = FunctionIndex> {
    core::iter::successors(Some(function), |function| tree.upstream(*function))
}

/// Decides how `client` reaches memory of `provider`.
///
/// The same for every profile but for the allow-list. Reads the ACS control word of each function walked.
pub fn resolve(
    tree: &Tree,
    config_space: &impl ConfigSpace,
    cpu: &CpuIdentity,
    rules: &Rules,
    provider: FunctionIndex,
    client: FunctionIndex,
) -> Resolution {
    let may_forward = || {
        let (first, second) = (tree.host_bridge(provider), tree.host_bridge(client));
        forwarding_objections(cpu, listing(tree, rules, first), (first != second).then(|| listing(tree, rules, second)))
    };
    let mut redirecting = Vec::new();
    for (provider_steps, node) in (0..).zip(upstream_path(tree, provider)) {
        if redirects(tree, config_space, node) {
            redirecting.push(node);
        }
        let below = || upstream_path(tree, client).take_while(|function| *function != node);
        if !upstream_path(tree, client).any(|function| function == node) {
            continue;
        }
        redirecting.extend(below().filter(|function| redirects(tree, config_space, *function)));
        let distance = provider_steps + count(below());
        if redirecting.is_empty() {
            return Resolution { map_type: MapType::BusAddr, distance, reasons: Vec::new() };
        }
        return through_host_bridge(distance, Reason::AcsRedirect(redirecting), may_forward());
    }
    let distance = count(upstream_path(tree, provider)) + count(upstream_path(tree, client));
    let tops = [provider, client].into_iter().filter_map(|function| upstream_path(tree, function).last());
    through_host_bridge(distance, Reason::NoCommonUpstream(tops.collect()), may_forward())
}

/// Number of functions, which is at most the 256 buses of a domain, and one.
fn count(functions: impl Iterator<Item = FunctionIndex>) -> u32 {
    functions.fold(0, |count, _| count + 1)
}

/// Why the CPU and the host bridges do not forward; empty when they do. `second` is absent when both functions lie
/// below the same host bridge.
pub(super) fn forwarding_objections(cpu: &CpuIdentity, first: Listing, second: Option<Listing>) -> Vec<Reason> {
    if cpu.forwards_everywhere() {
        return Vec::new();
    }
    match second {
        None => objections(&[first]),
        Some(second) => objections(&[first, second]),
    }
}

/// A path that has to pass the host bridge because of `cause`.
pub(super) fn through_host_bridge(distance: u32, cause: Reason, objections: Vec<Reason>) -> Resolution {
    let map_type = if objections.is_empty() { MapType::ThruHostBridge } else { MapType::NotSupported };
    let reasons = core::iter::once(cause).chain(objections).collect();
    Resolution { map_type, distance, reasons }
}
