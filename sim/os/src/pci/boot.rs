//! [`boot`]: from host bridges to functions that decode their addresses.

use super::acs::{acs_ports_bound, acs_program};
use super::bridge;
use super::host::HostBridge;
use super::mps;
use super::options::BootOptions;
use super::program;
use super::scan::scan_host_bridge;
use super::setup::Setup;
use super::tree::{BusIndex, FunctionIndex, Tree};
use super::unplaced;
use crate::{ConfigSpace, Rules};

/// Finds all functions below `host_bridges`, programming bus numbers where firmware's do not make sense.
/// Addresses are read, none is claimed or assigned.
pub fn enumerate(cs: &mut impl ConfigSpace, host_bridges: &[HostBridge]) -> Tree {
    let mut tree = Tree { host_bridges: host_bridges.to_vec(), ..Tree::default() };
    tree.host_bridges.iter_mut().for_each(HostBridge::coalesce);
    for host_bridge in 0..tree.host_bridges.len() {
        scan_host_bridge(cs, &mut tree, host_bridge);
    }
    tree
}

/// Enumerates, claims what firmware assigned (unless [`BootOptions::reassign`]), sizes bridge windows,
/// assigns what has no address, writes BARs and windows, lets every function decode and master, and sets ACS and
/// payload sizes.
///
/// A kernel lets a function decode when a driver binds; here that is done at once, so that traffic can flow.
/// Resources for which there is no room are in [`Tree::failures`], each with its cause.
pub fn boot(
    cs: &mut impl ConfigSpace,
    host_bridges: &[HostBridge],
    rules: &Rules,
    options: &BootOptions,
) -> Tree {
    let mut tree = enumerate(cs, host_bridges);
    if options.reassign {
        let resources = tree.functions.iter_mut().flat_map(|function| &mut function.resources);
        resources.for_each(|resource| resource.firmware = None);
    }
    let mut setup = Setup::new(cs, &mut tree, rules, options);
    if !options.reassign {
        setup.claim_firmware();
    }
    for bus in setup.tree.root_buses() {
        let kept = options.keep.contains(&setup.tree[bus].host_bridge) && !options.reassign;
        if !kept {
            setup.assign_root_bus(bus);
        }
    }
    finish(setup, 0, None);
    tree
}

/// Functions from `first` on appeared on a running machine: what their registers still hold from before is not taken
/// over, but for windows of bridges where the platform reads them while it scans, which count as old sizes.
pub(crate) fn forget_firmware(cs: &impl ConfigSpace, tree: &mut Tree, options: &BootOptions, first: usize) {
    for index in (first..tree.functions.len()).map(FunctionIndex) {
        if options.platform.reads_bridge_windows && tree[index].is_bridge() {
            bridge::read_windows(cs, tree, index);
        }
        tree[index].resources.iter_mut().for_each(|resource| resource.firmware = None);
    }
}

/// Writes what was decided: windows, command registers; lists what failed; and sets ACS and payload sizes of the
/// functions from `first` on, which are those that were not there before; below `slot` alone if they were plugged in there.
pub(crate) fn finish<C: ConfigSpace>(mut setup: Setup<'_, C>, first: usize, slot: Option<BusIndex>) {
    setup.program_bridges();
    let Setup { cs, tree, rules, options, why_not, .. } = setup;
    tree.failures = why_not.into_values().collect();
    for index in (0..tree.functions.len()).map(FunctionIndex) {
        unplaced::park(cs, tree, index);
        program::enable(cs, tree, index);
    }
    acs_program(tree, cs, rules, &options.acs, first);
    acs_ports_bound(tree, cs, rules, &options.acs, first);
    match slot {
        None => mps::configure(tree, cs, options.mps, first),
        Some(slot) => mps::configure_slot(tree, cs, options.mps, first, slot),
    }
}
