//! [`rescan`]: functions that appear after boot.

use alloc::vec::Vec;

use super::boot::{finish, forget_firmware};
use super::options::BootOptions;
use super::scan::rescan_bus;
use super::setup::Setup;
use super::tree::Tree;
use super::wishes::Wishes;
use crate::{ConfigSpace, Rules};

/// `pci_rescan_bus` for every root bus: adds functions that answer and were not there before, sizes the
/// windows above them and assigns addresses, in one round. Nothing that has an address moves, and what the
/// registers of new functions still hold from before is not taken over. Windows of hot-plug bridges get their 2 MiB to
/// spare but no share of what windows above have free; a device that needs more than its port has is for
/// [`hot_add`](super::hot_add), which tries twice.
///
/// One trace remains where the platform reads bridge windows while it scans
/// ([`Platform::reads_bridge_windows`](super::Platform::reads_bridge_windows)): I/O windows, and in 6.x memory
/// windows too, are not sized below what a new bridge's registers still describe.
pub fn rescan(cs: &mut impl ConfigSpace, tree: &mut Tree, rules: &Rules, options: &BootOptions) {
    let known = tree.functions.len();
    for bus in tree.root_buses() {
        rescan_bus(cs, tree, bus);
    }
    forget_firmware(cs, tree, options, known);
    let mut setup = Setup::new(cs, tree, rules, options);
    for bus in setup.tree.root_buses() {
        let mut wishes = Some(Wishes::default());
        setup.size_bridges(bus, &mut wishes);
        setup.assign_bus(bus, &mut wishes, &mut Vec::new());
    }
    finish(setup, known, None);
}
