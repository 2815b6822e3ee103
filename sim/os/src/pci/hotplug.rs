//! [`hot_add`]: a device is plugged into a slot of a running machine.

use alloc::vec::Vec;

use super::boot::{finish, forget_firmware};
use super::options::BootOptions;
use super::resource::{IO_WINDOW, RESOURCES, ResourceRef};
use super::scan::rescan_bus;
use super::setup::Setup;
use super::tree::{BusIndex, FunctionIndex, Tree};
use super::wishes::Wishes;
use crate::{ConfigSpace, Rules};

/// Rounds of a hot-plug, whatever `pci=realloc` says.
const ROUNDS: usize = 2;

/// What happens when a device appears below `bridge`, a port with a slot: functions that answer on the bus behind it and
/// were not there before are added, the windows of the port are sized and everything gets addresses. Of what the port's
/// windows offer, hot-plug bridges that came with the device get their share, as at boot.
///
/// There are two tries. After one that failed the windows of the failing kinds are released, those of `bridge` included,
/// with everything inside them, and sized anew; a port that had too little can thus grow into what the window above it
/// has free. What fails then stays without an address, and its cause is in [`Tree::failures`]. Windows above `bridge` and
/// whatever lies beside it never move. Nothing happens below a bridge that leads to no bus, and a bridge that comes with
/// the device leads to one only where the port has bus numbers left.
pub fn hot_add(
    cs: &mut impl ConfigSpace,
    tree: &mut Tree,
    rules: &Rules,
    options: &BootOptions,
    bridge: FunctionIndex,
) {
    let Some(slot) = tree[bridge].subordinate else { return };
    let known = tree.functions.len();
    rescan_bus(cs, tree, slot);
    forget_firmware(cs, tree, options, known);
    let mut setup = Setup::new(cs, tree, rules, options);
    setup.assign_hot_added(bridge, slot);
    finish(setup, known, Some(slot));
}

impl<C: ConfigSpace> Setup<'_, C> {
    /// `pci_assign_unassigned_bridge_resources`.
    fn assign_hot_added(&mut self, bridge: FunctionIndex, slot: BusIndex) {
        for round in 1..=ROUNDS {
            let mut wishes = Some(Wishes::default());
            let mut failed = Vec::new();
            self.size_bridges(slot, &mut wishes);
            if let Some(wishes) = &mut wishes {
                self.distribute_below(bridge, slot, wishes);
            }
            self.assign_functions(&[bridge], &mut wishes, &mut failed);
            if failed.is_empty() || round == ROUNDS {
                return;
            }
            // A window of the port itself that found no room can only be asked for again.
            for failure in failed.iter().filter(|failure| failure.at.function != bridge) {
                self.release_subtree(self.tree[failure.at.function].bus, failure.flags);
            }
            self.restore_failed(&failed);
        }
    }

    /// Shares what the windows of `bridge` have free among the bridges on `slot`, and so on downwards.
    fn distribute_below(&self, bridge: FunctionIndex, slot: BusIndex, wishes: &mut Wishes) {
        for number in IO_WINDOW..RESOURCES {
            self.share_window(ResourceRef { function: bridge, number }, slot, wishes);
        }
        self.distribute(slot, wishes);
    }
}
